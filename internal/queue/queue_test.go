package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

const account = atoll.AccountID("0123456789abcdef0123456789abcdef")

var worker = atoll.ScriptRef{Account: account, Name: "worker"}

// rig is a store whose consumer Worker is a function, in a bubble of synctest's.
type rig struct {
	*Store
	t    *testing.T
	dir  string
	opts Options
	stop func()
}

func newRig(t *testing.T, opts Options) *rig {
	r := &rig{t: t, dir: t.TempDir(), opts: opts}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	s, err := Open(nil, r.dir, r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Store = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			r.t.Error(err)
		}
	}
	synctest.Wait()
}

// bubble runs f with a rig of its own.
func bubble(t *testing.T, deliver Deliver, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Deliver: deliver})
		defer func() { r.stop() }()
		f(t, r)
	})
}

func (r *rig) make(name Name) ID {
	r.t.Helper()
	q, err := r.CreateQueue(r.t.Context(), account, name, DefaultSettings)
	if err != nil {
		r.t.Fatal(err)
	}
	return q.ID
}

func (r *rig) consume(id ID, change func(*Consumer)) {
	r.t.Helper()
	c := DefaultConsumer(Worker)
	c.Script = worker
	change(&c)
	if _, err := r.AddConsumer(r.t.Context(), account, id, c); err != nil {
		r.t.Fatal(err)
	}
}

// put sends texts.
func (r *rig) put(name Name, texts ...string) {
	r.t.Helper()
	list := make([]Outgoing, len(texts))
	for i, text := range texts {
		list[i] = Outgoing{Type: Text, Body: []byte(text)}
	}
	if _, err := r.Send(r.t.Context(), account, name, nil, list); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) count(id ID) int64 {
	r.t.Helper()
	m, err := r.Metrics(r.t.Context(), account, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return m.Count
}

// sink is a consumer Worker that notes what it gets.
type sink struct {
	mu      sync.Mutex
	batches []string
	say     func(*Batch) (Outcome, error) // nil: all is fine
}

func (k *sink) deliver(_ context.Context, script atoll.ScriptRef, b *Batch) (Outcome, error) {
	if script != worker {
		return Outcome{}, fmt.Errorf("%s is called", script)
	}
	var texts []string
	for _, m := range b.Messages {
		texts = append(texts, fmt.Sprintf("%s/%d", m.Body, m.Attempts))
	}
	k.mu.Lock()
	k.batches = append(k.batches, strings.Join(texts, " "))
	say := k.say
	k.mu.Unlock()
	if say == nil {
		return Outcome{OK: true}, nil
	}
	return say(b)
}

// got waits a while, and returns the batches since it was last asked.
func (k *sink) got(d time.Duration) string {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.batches
	k.batches = nil
	return strings.Join(list, ", ")
}

func want(t *testing.T, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBatching(t *testing.T) {
	k := &sink{}
	bubble(t, k.deliver, func(t *testing.T, r *rig) {
		id := r.make("jobs")
		r.put("jobs", "early")
		want(t, k.got(time.Hour), "")
		r.consume(id, func(c *Consumer) { c.Batch, c.Wait = 3, 2*time.Second })
		want(t, k.got(0), "early/1") // its time has passed long ago
		r.put("jobs", "a", "b")
		want(t, k.got(1999*time.Millisecond), "")
		want(t, k.got(time.Millisecond), "a/1 b/1")
		r.put("jobs", "c", "d", "e", "f")
		want(t, k.got(0), "c/1 d/1 e/1")
		want(t, k.got(2*time.Second), "f/1")
		want(t, r.count(id), int64(0))
	})
}

func TestDelays(t *testing.T) {
	k := &sink{}
	bubble(t, k.deliver, func(t *testing.T, r *rig) {
		q, err := r.CreateQueue(t.Context(), account, "jobs", Settings{Delay: 10, Retention: 60})
		if err != nil {
			t.Fatal(err)
		}
		r.consume(q.ID, func(c *Consumer) { c.Wait = 0 })
		r.put("jobs", "queue's")
		two, three := int64(2), int64(3)
		if _, err := r.Send(t.Context(), account, "jobs", &three, []Outgoing{{Type: Text, Body: []byte("own"), Delay: &two}, {Type: Text, Body: []byte("batch's")}}); err != nil {
			t.Fatal(err)
		}
		want(t, k.got(1999*time.Millisecond), "")
		want(t, k.got(time.Millisecond), "own/1")
		want(t, k.got(time.Second), "batch's/1")
		want(t, k.got(7*time.Second), "queue's/1")
	})
}

// What is settled while the pump looks for more is not delivered as it was before: a retry waits for its delay, though
// batches end all the time.
func TestRetriesWaitAmongOthers(t *testing.T) {
	hour := int64(3600)
	k := &sink{say: func(b *Batch) (Outcome, error) {
		o := Outcome{OK: true, Retries: map[string]*int64{}}
		for _, m := range b.Messages {
			if m.Attempts == 1 {
				o.Retries[m.ID] = &hour
			}
		}
		return o, nil
	}}
	bubble(t, k.deliver, func(t *testing.T, r *rig) {
		id := r.make("jobs")
		r.consume(id, func(c *Consumer) { c.Wait, c.Batch, c.Concurrency = 0, 1, 50 })
		for i := range 30 {
			texts := make([]string, 20)
			for j := range texts {
				texts[j] = fmt.Sprint(i, "-", j)
			}
			r.put("jobs", texts...)
		}
		if early := k.got(59 * time.Minute); strings.Contains(early, "/2") {
			t.Errorf("%d of 600 retries are early", strings.Count(early, "/2"))
		}
		want(t, strings.Count(k.got(time.Minute), "/2"), 600)
		want(t, r.count(id), int64(0))
	})
}

func TestPause(t *testing.T) {
	k := &sink{}
	bubble(t, k.deliver, func(t *testing.T, r *rig) {
		id := r.make("jobs")
		r.consume(id, func(c *Consumer) { c.Wait = 0 })
		set := func(paused bool) {
			x := DefaultSettings
			x.Paused = paused
			if _, err := r.UpdateQueue(t.Context(), account, id, "jobs", x); err != nil {
				t.Fatal(err)
			}
		}
		set(true)
		r.put("jobs", "a")
		want(t, k.got(time.Hour), "")
		set(false)
		want(t, k.got(0), "a/1")
	})
}

// A consumer that cannot be called uses up no attempts, and is asked more and more rarely.
func TestNotCalled(t *testing.T) {
	k := &sink{say: func(*Batch) (Outcome, error) { return Outcome{}, errors.New("not there") }}
	bubble(t, k.deliver, func(t *testing.T, r *rig) {
		id := r.make("jobs")
		r.consume(id, func(c *Consumer) { c.Wait = 0 })
		r.put("jobs", "a")
		want(t, k.got(0), "a/1")
		want(t, k.got(99*time.Millisecond), "")
		want(t, k.got(time.Millisecond), "a/1")
		k.got(time.Hour)
		tries := strings.Count(k.got(time.Hour), "a/1")
		if tries < 100 || tries > 121 {
			t.Errorf("%d tries in an hour, want one every 30 s", tries)
		}
		k.mu.Lock()
		k.say = nil
		k.mu.Unlock()
		want(t, k.got(time.Minute), "a/1")
		want(t, r.count(id), int64(0))
	})
}

// Batches are delivered beside each other, as many as the consumer allows.
func TestConcurrency(t *testing.T) {
	release := make(chan struct{})
	k := &sink{say: func(*Batch) (Outcome, error) { <-release; return Outcome{OK: true}, nil }}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		r := newRig(t, Options{Deliver: k.deliver})
		defer func() { r.stop() }()
		id := r.make("jobs")
		r.consume(id, func(c *Consumer) { c.Wait, c.Batch, c.Concurrency = 0, 1, 2 })
		r.put("jobs", "a", "b", "c")
		want(t, len(strings.Split(k.got(time.Hour), ", ")), 2)
		release <- struct{}{}
		want(t, k.got(0), "c/1")
		want(t, r.count(id), int64(2))
		close(release)
		want(t, k.got(0), "")
		want(t, r.count(id), int64(0))
	})
}

// What is being delivered when the node stops or the queue is purged, deleted or told to rest is settled or comes again, and
// nothing is counted twice.
func TestGoneMeanwhile(t *testing.T) {
	for name, act := range map[string]func(t *testing.T, r *rig, id ID){
		"purged": func(t *testing.T, r *rig, id ID) {
			if _, err := r.Purge(t.Context(), account, id); err != nil {
				t.Fatal(err)
			}
		},
		"deleted": func(t *testing.T, r *rig, id ID) {
			if err := r.DeleteQueue(t.Context(), account, id); err != nil {
				t.Fatal(err)
			}
		},
		"no-consumer": func(t *testing.T, r *rig, id ID) {
			if err := r.ScriptGone(t.Context(), worker); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := &sink{}
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				k.say = func(*Batch) (Outcome, error) { <-release; return Outcome{RetryAll: true}, nil }
				r := newRig(t, Options{Deliver: k.deliver, AccountBytes: 1000})
				defer func() { r.stop() }()
				id := r.make("jobs")
				r.consume(id, func(c *Consumer) { c.Wait = 0 })
				r.put("jobs", "a", "b")
				want(t, k.got(0), "a/1 b/1")
				act(t, r, id)
				close(release)
				k.got(time.Minute)
				want(t, r.usage[account].Load(), map[string]int64{"no-consumer": 2 + 2*messageBytes}[name])
				rows, _, _ := r.held(t)
				want(t, rows, map[string]int64{"no-consumer": 2}[name])
			})
		})
	}
}

// held counts the rows of messages, and those of deleted queues.
func (r *rig) held(t *testing.T) (messages, dead int64, err error) {
	t.Helper()
	messages, err = countRows(r.Store, "messages")
	if err == nil {
		dead, err = countRows(r.Store, "dead")
	}
	if err != nil {
		t.Fatal(err)
	}
	return messages, dead, nil
}

func TestRestart(t *testing.T) {
	k := &sink{say: func(*Batch) (Outcome, error) { return Outcome{}, nil }} // it throws
	bubble(t, k.deliver, func(t *testing.T, r *rig) {
		id := r.make("jobs")
		r.consume(id, func(c *Consumer) { c.Wait, c.RetryDelay, c.DeadLetter = 0, 10, "dead" })
		r.put("jobs", "a")
		want(t, k.got(10*time.Second), "a/1, a/2")
		r.stop()
		r.open()
		if q, err := r.Queue(t.Context(), account, id); err != nil || q.Consumer == nil || q.Consumer.DeadLetter != "dead" || q.Consumer.Script != worker {
			t.Errorf("after a restart: %+v %v", q, err)
		}
		want(t, r.count(id), int64(1))
		want(t, k.got(20*time.Second), "a/3, a/4")
		want(t, r.count(id), int64(0))
		dead, err := r.named(account, "dead")
		if err != nil {
			t.Fatal(err)
		}
		want(t, r.count(dead.id), int64(1))
	})
}

func TestRetention(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		q, err := r.CreateQueue(t.Context(), account, "jobs", Settings{Retention: 60})
		if err != nil {
			t.Fatal(err)
		}
		other := r.make("other")
		r.put("jobs", "a")
		r.put("other", "b")
		time.Sleep(59 * time.Second)
		want(t, r.count(q.ID), int64(1))
		time.Sleep(31 * time.Second)
		synctest.Wait()
		want(t, r.count(q.ID), int64(0))
		want(t, r.count(other), int64(1))
	})
}

func TestQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{AccountBytes: 2*messageBytes + 10, QueueBytes: messageBytes + 6})
		defer func() { r.stop() }()
		one := r.make("one")
		r.make("two")
		send := func(name Name, n int) error {
			_, err := r.Send(t.Context(), account, name, nil, []Outgoing{{Type: Bytes, Body: make([]byte, n)}})
			return err
		}
		for _, c := range []struct {
			name Name
			n    int
			full bool
		}{{"one", 7, true}, {"one", 6, false}, {"one", 0, true}, {"two", 5, true}, {"two", 4, false}, {"two", 0, true}} {
			if err := send(c.name, c.n); (fault.KindOf(err) == fault.Full) != c.full || !c.full && err != nil {
				t.Errorf("%d bytes to %s: %v", c.n, c.name, err)
			}
		}
		if _, err := r.Purge(t.Context(), account, one); err != nil {
			t.Fatal(err)
		}
		if err := send("one", 2); err != nil {
			t.Errorf("after a purge: %v", err)
		}
		if got := r.usage[account].Load(); got != 2*messageBytes+6 {
			t.Errorf("the account has %d bytes", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		id := r.make("jobs")
		other := atoll.AccountID("ffffffffffffffffffffffffffffffff")
		big := Outgoing{Type: Bytes, Body: make([]byte, MaxMessage+1)}
		half := Outgoing{Type: Bytes, Body: make([]byte, MaxMessage)}
		wrong, late := int64(-1), int64(MaxDelay+1)
		send := func(list ...Outgoing) error {
			_, err := r.Send(t.Context(), account, "jobs", nil, list)
			return err
		}
		consumer := func(change func(*Consumer)) error {
			c := DefaultConsumer(Worker)
			c.Script = worker
			change(&c)
			_, err := r.AddConsumer(t.Context(), account, id, c)
			return err
		}
		for what, c := range map[string]struct {
			err  error
			kind fault.Kind
			code int
		}{
			"taken name":      {second(r.CreateQueue(t.Context(), account, "jobs", DefaultSettings)), fault.Conflict, 11009},
			"retention":       {second(r.CreateQueue(t.Context(), account, "x", Settings{Retention: 59})), fault.Invalid, 100128},
			"delay":           {second(r.CreateQueue(t.Context(), account, "x", Settings{Retention: 60, Delay: MaxDelay + 1})), fault.Invalid, 100128},
			"another's queue": {second(r.Queue(t.Context(), other, id)), fault.NotFound, 11000},
			"another's send":  {second(r.Send(t.Context(), other, "jobs", nil, []Outgoing{{Type: Text}})), fault.NotFound, 11000},
			"no message":      {send(), fault.Invalid, 10021},
			"large message":   {send(big), fault.TooLarge, 10021},
			"large batch":     {send(half, half, half), fault.TooLarge, 10021},
			"many messages":   {send(make([]Outgoing, 101)...), fault.TooLarge, 10021},
			"type":            {send(Outgoing{Type: "xml"}), fault.Invalid, 10021},
			"not text":        {send(Outgoing{Type: Text, Body: []byte{0xff}}), fault.Invalid, 10021},
			"not json":        {send(Outgoing{Type: JSON, Body: []byte("{")}), fault.Invalid, 10021},
			"past":            {send(Outgoing{Type: Text, Delay: &wrong}), fault.Invalid, 10021},
			"far future":      {send(Outgoing{Type: Text, Delay: &late}), fault.Invalid, 10021},
			"batch size":      {consumer(func(c *Consumer) { c.Batch = 101 }), fault.Invalid, 100127},
			"wait":            {consumer(func(c *Consumer) { c.Wait = maxWait + 1 }), fault.Invalid, 100127},
			"retries":         {consumer(func(c *Consumer) { c.Retries = 101 }), fault.Invalid, 100127},
			"concurrency":     {consumer(func(c *Consumer) { c.Concurrency = 251 }), fault.Invalid, 100127},
			"own dead letter": {consumer(func(c *Consumer) { c.DeadLetter = "jobs" }), fault.Invalid, 100127},
			"no script":       {consumer(func(c *Consumer) { c.Script.Name = "" }), fault.Invalid, 100127},
			"pull":            {second3(r.Pull(t.Context(), account, id, 0, 0)), fault.Invalid, 10021},
		} {
			if f := fault.Of(c.err); f == nil || f.Kind != c.kind || f.Code != c.code {
				t.Errorf("%s: %v", what, c.err)
			}
		}
		want(t, r.count(id), int64(0))
		want(t, r.usage[account].Load(), int64(0))
		if err := consumer(func(*Consumer) {}); err != nil {
			t.Fatal(err)
		}
		if f := fault.Of(consumer(func(*Consumer) {})); f == nil || f.Code != 11004 {
			t.Errorf("a second consumer: %v", f)
		}
	})
}

func second[T any](_ T, err error) error        { return err }
func second3[T, U any](_ T, _ U, e error) error { return e }

func countRows(s *Store, table string) (int64, error) {
	return sqlite.One(context.Background(), s.db.Reads(), sqlite.Value[int64], "SELECT count(*) FROM "+table)
}

// A consumer that fails whatever it gets cannot fill its dead letter queue beyond the bound of a queue, and loses nothing by
// it: what has no room there stays where it is, and goes there when there is room.
func TestDeadLettersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &sink{say: func(*Batch) (Outcome, error) { return Outcome{}, nil }} // it throws
		r := newRig(t, Options{Deliver: k.deliver, QueueBytes: 5 * (messageBytes + 1)})
		defer func() { r.stop() }()
		jobs, dead := r.make("jobs"), r.make("dead")
		both := func(wantJobs, wantDead int64) {
			t.Helper()
			synctest.Wait()
			if j, d := r.count(jobs), r.count(dead); j != wantJobs || d != wantDead {
				t.Errorf("%d messages and %d dead letters, want %d and %d", j, d, wantJobs, wantDead)
			}
			if got := r.usage[account].Load(); got != (wantJobs+wantDead)*(messageBytes+1) {
				t.Errorf("the account has %d bytes", got)
			}
		}
		r.consume(jobs, func(c *Consumer) { c.Wait, c.Retries, c.DeadLetter = 0, 0, "dead" })
		r.put("jobs", "a", "b", "c")
		time.Sleep(time.Second)
		both(0, 3)
		r.put("jobs", "d", "e", "f", "g")
		time.Sleep(time.Second)
		both(2, 5)
		k.got(0)
		want(t, k.got(50*time.Second), "") // it is no loop
		want(t, k.got(20*time.Second), "f/1 g/1")
		both(2, 5)
		r.stop()
		r.open()
		both(2, 5)
		if _, err := r.Purge(t.Context(), account, dead); err != nil {
			t.Fatal(err)
		}
		both(2, 0)
		time.Sleep(70 * time.Second)
		both(0, 2)
	})
}

// What is pulled too often stays in the same way, and does not come back at once.
func TestDeadLettersOfPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{QueueBytes: 2 * (messageBytes + 1)})
		defer func() { r.stop() }()
		jobs, dead := r.make("jobs"), r.make("dead")
		c := DefaultConsumer(Pull)
		c.Retries, c.DeadLetter = 0, "dead"
		if _, err := r.AddConsumer(t.Context(), account, jobs, c); err != nil {
			t.Fatal(err)
		}
		pull := func(n int) {
			t.Helper()
			got, _, err := r.Pull(t.Context(), account, jobs, 10, time.Second)
			if err != nil || len(got) != n {
				t.Errorf("pulled %d messages, %v, want %d", len(got), err, n)
			}
		}
		r.put("dead", "x")
		r.put("jobs", "a", "b")
		pull(2)
		time.Sleep(2 * time.Second)
		pull(0)
		want(t, r.count(jobs), int64(1))
		want(t, r.count(dead), int64(2))
		if _, err := r.Purge(t.Context(), account, dead); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Second)
		pull(0)
		want(t, r.count(jobs), int64(0))
		want(t, r.count(dead), int64(1))
	})
}
