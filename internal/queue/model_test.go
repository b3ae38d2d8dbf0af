package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// A message of the model carries what its consumer will do with it, attempt after attempt: "ack", "retry N" after N
// seconds, "throw", "ack-throw" or "retry-all N". After the last one it is acknowledged.
type modelMessage struct {
	ID       int
	Plan     []string
	attempts int
	due      int64 // milliseconds since the start, as all times here
	stored   int64
	seq      int
	lease    string
}

// model is two queues: "jobs" with a consumer Worker that gets one batch at a time, and "dead", which is pulled from and has
// the dead letters of the other.
type model struct {
	jobs, dead []*modelMessage
	batch      int
	wait       int64
	retries    int
	retryDelay int64
	paused     bool
	retention  int64
	seq        int
	window     []*modelMessage // found due; looked for again once it has no full batch: what is due at the same time has no order
	log        []string        // deliveries
}

func (m *model) take(list *[]*modelMessage, x *modelMessage) {
	*list = slices.DeleteFunc(*list, func(y *modelMessage) bool { return y == x })
}

func ready(list []*modelMessage, at int64) []*modelMessage {
	var out []*modelMessage
	for _, x := range list {
		if x.due <= at {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b *modelMessage) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq)) })
	return out
}

// run delivers what is due from one time to another.
func (m *model) run(at, until int64) {
	for !m.paused {
		if len(m.window) < m.batch {
			m.window = ready(m.unexpired(at), at)
		}
		now := m.window
		if len(now) >= m.batch || len(now) > 0 && now[0].due+m.wait <= at {
			n := min(m.batch, len(now))
			m.window = now[n:]
			m.deliver(at, slices.DeleteFunc(slices.Clone(now[:n]), func(x *modelMessage) bool { return !slices.Contains(m.unexpired(at), x) }))
			continue
		}
		next := until + 1
		if len(now) > 0 {
			next = min(next, now[0].due+m.wait)
		}
		for _, x := range m.jobs {
			if x.due > at {
				next = min(next, x.due)
			}
		}
		if next > until {
			return
		}
		at = next
	}
}

// step is what a message's consumer does at this attempt.
func (x *modelMessage) step(attempt int) (act string, delay int64) {
	act = "ack"
	if attempt < len(x.Plan) {
		act = x.Plan[attempt]
	}
	fmt.Sscanf(act, "retry-all %d", &delay)
	fmt.Sscanf(act, "retry %d", &delay)
	act, _, _ = strings.Cut(act, " ")
	return act, delay
}

func (m *model) deliver(at int64, batch []*modelMessage) {
	var text []string
	throws, all := false, int64(-1)
	if len(batch) == 0 {
		return // purged
	}
	for _, x := range batch {
		text = append(text, fmt.Sprintf("%d/%d", x.ID, x.attempts+1))
		act, delay := x.step(x.attempts)
		throws = throws || strings.HasSuffix(act, "throw")
		if act == "retry-all" {
			all = delay // the last call's delay is the one that counts
		}
	}
	m.log = append(m.log, fmt.Sprintf("%d: %s", at, strings.Join(text, " ")))
	for _, x := range batch {
		act, delay := x.step(x.attempts)
		retryAfter := m.retryDelay
		switch {
		case act == "ack-throw":
			m.take(&m.jobs, x)
			continue
		case act == "retry":
			retryAfter = delay
		case all >= 0:
			retryAfter = all
		case !throws:
			m.take(&m.jobs, x)
			continue
		}
		x.attempts++
		x.due = at + retryAfter*1000
		if x.attempts > m.retries {
			m.take(&m.jobs, x)
			x.attempts, x.due, x.stored = 0, at, at
			m.dead = append(m.dead, x)
		}
	}
}

// unexpired are the jobs whose retention has not ended: others are not delivered, though the sweeper may not have come yet.
func (m *model) unexpired(at int64) []*modelMessage {
	return slices.DeleteFunc(slices.Clone(m.jobs), func(x *modelMessage) bool { return x.stored <= at-m.retention })
}

func (m *model) sweep(at int64) { m.jobs = m.unexpired(at) }

// consumer does to a batch what its messages plan, as a Worker's queue() would through the wrapper.
func (k *planned) deliver(_ context.Context, _ atoll.ScriptRef, b *Batch) (Outcome, error) {
	o := Outcome{OK: true, Retries: map[string]*int64{}}
	var text []string
	for _, msg := range b.Messages {
		var x modelMessage
		if err := json.Unmarshal(msg.Body, &x); err != nil {
			return o, err
		}
		k.ids[msg.ID] = x.ID
		text = append(text, fmt.Sprintf("%d/%d", x.ID, msg.Attempts))
		act, delay := x.step(int(msg.Attempts) - 1)
		switch act {
		case "ack-throw":
			o.Acks = append(o.Acks, msg.ID)
			o.OK = false
		case "throw":
			o.OK = false
		case "retry":
			o.Retries[msg.ID] = &delay
		case "retry-all":
			o.RetryAll, o.RetryDelay = true, &delay
		}
	}
	k.log = append(k.log, fmt.Sprintf("%d: %s", time.Since(k.start).Milliseconds(), strings.Join(text, " ")))
	return o, nil
}

type planned struct {
	start time.Time
	log   []string
	ids   map[string]int
}

// TestAgainstModel does random operations on queues and on the model, and compares every delivery with its time, its order
// and its attempts, every pull, and what is left. QUEUE_TEST_SEED repeats a run.
func TestAgainstModel(t *testing.T) {
	seeds := []uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()}
	if s := os.Getenv("QUEUE_TEST_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		synctest.Test(t, func(t *testing.T) { runModel(t, seed, 400) })
	}
}

func runModel(t *testing.T, seed uint64, steps int) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	k := &planned{ids: map[string]int{}}
	m := &model{retention: 200_000}
	r := newRig(t, Options{Deliver: k.deliver})
	defer func() { r.stop() }()
	k.start = time.Now()
	started := k.start // when the sweeper did
	q, err := r.CreateQueue(t.Context(), account, "jobs", Settings{Retention: 200})
	if err != nil {
		t.Fatal(err)
	}
	jobs, dead := q.ID, r.make("dead")
	if _, err := r.AddConsumer(t.Context(), account, dead, Consumer{Type: Pull, Batch: 5, Retries: 2, RetryDelay: 4, Visibility: 6 * time.Second, Wait: 1}); err != nil {
		t.Fatal(err)
	}
	configure := func() {
		m.batch, m.wait, m.retries, m.retryDelay = 1+rnd.IntN(6), int64(rnd.IntN(40))*100, rnd.IntN(4), int64(rnd.IntN(5))
		c := DefaultConsumer(Worker)
		c.Script, c.DeadLetter, c.Concurrency = worker, "dead", 1
		c.Batch, c.Wait, c.Retries, c.RetryDelay = int64(m.batch), time.Duration(m.wait)*time.Millisecond, int64(m.retries), m.retryDelay
		if q, _ := r.Queue(t.Context(), account, jobs); q.Consumer == nil {
			_, err = r.AddConsumer(t.Context(), account, jobs, c)
		} else {
			_, err = r.UpdateConsumer(t.Context(), account, jobs, q.Consumer.ID, c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	configure()
	at := func() int64 { return time.Since(k.start).Milliseconds() }
	leases := map[string]*modelMessage{}
	next := 0
	for step := range steps {
		from := at()
		switch op := rnd.IntN(100); {
		case op < 35:
			m.send(t, r, rnd, &next, from)
		case op < 65: // time passes, past the ticks of the sweeper one by one
			for end := from + int64(rnd.IntN(120))*100; at() < end; {
				tick := started.Add(30 * time.Second * time.Duration(1+time.Since(started)/(30*time.Second))).Sub(k.start).Milliseconds()
				until := min(tick, end)
				m.run(at(), until)
				if until == tick {
					m.sweep(tick)
				}
				time.Sleep(time.Duration(until-at()) * time.Millisecond)
				synctest.Wait()
			}
		case op < 80:
			m.pull(t, r, rnd, dead, k, leases, from)
		case op < 90:
			m.ack(t, r, rnd, dead, leases, from)
		case op < 93:
			configure()
		case op < 96:
			m.paused = !m.paused
			m.window = nil
			if _, err := r.UpdateQueue(t.Context(), account, jobs, "jobs", Settings{Retention: 200, Paused: m.paused}); err != nil {
				t.Fatal(err)
			}
		case op < 98:
			r.stop()
			m.sweep(from) // as a start does
			m.window = nil
			r.open()
			started = time.Now()
			synctest.Wait()
			m.run(from, at())
		case op < 99:
			if _, err := r.Purge(t.Context(), account, jobs); err != nil {
				t.Fatal(err)
			}
			m.jobs = nil
		}
		synctest.Wait()
		m.run(at(), at())
		m.compare(t, r, k, step, jobs, dead)
		if t.Failed() {
			return
		}
	}
	if len(m.log) < 50 || next < 100 {
		t.Errorf("%d deliveries of %d messages are no test", len(m.log), next)
	}
}

func (m *model) send(t *testing.T, r *rig, rnd *rand.Rand, next *int, at int64) {
	acts := []string{"ack", "throw", "ack-throw", "retry 0", "retry 3", "retry 12", "retry-all 2"}
	list := make([]Outgoing, 1+rnd.IntN(5))
	for i := range list {
		*next++
		m.seq++
		x := &modelMessage{ID: *next, due: at, stored: at, seq: m.seq}
		for range rnd.IntN(4) {
			x.Plan = append(x.Plan, acts[rnd.IntN(len(acts))])
		}
		if rnd.IntN(3) == 0 {
			delay := int64(rnd.IntN(20))
			x.due += delay * 1000
			list[i].Delay = &delay
		}
		list[i].Type = JSON
		list[i].Body, _ = json.Marshal(x)
		m.jobs = append(m.jobs, x)
	}
	if _, err := r.Send(t.Context(), account, "jobs", nil, list); err != nil {
		t.Fatal(err)
	}
}

func (m *model) pull(t *testing.T, r *rig, rnd *rand.Rand, dead ID, k *planned, leases map[string]*modelMessage, at int64) {
	count, lease := 1+rnd.IntN(6), 1+rnd.IntN(15)
	got, _, err := r.Pull(t.Context(), account, dead, int64(count), time.Duration(lease)*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var want []*modelMessage
	for {
		want = nil
		list := ready(m.dead, at)
		dropped := false
		for _, x := range list[:min(count, len(list))] {
			if x.attempts > 2 { // it has been pulled three times
				m.take(&m.dead, x)
				dropped = true
				continue
			}
			want = append(want, x)
		}
		if len(want) > 0 || !dropped {
			break
		}
	}
	if len(got) != len(want) {
		t.Fatalf("a pull of %d got %d messages, want %d", count, len(got), len(want))
	}
	for i, x := range want {
		x.attempts++
		x.due = at + int64(lease)*1000
		x.lease = got[i].Lease
		leases[x.lease] = x
		var body modelMessage
		if err := json.Unmarshal(got[i].Body, &body); err != nil || body.ID != x.ID || int(got[i].Attempts) != x.attempts || k.ids[got[i].ID] != x.ID {
			t.Fatalf("pulled %s, attempt %d, want message %d, attempt %d", got[i].Body, got[i].Attempts, x.ID, x.attempts)
		}
	}
}

// ack acknowledges some leases, has others' messages delivered again, and tries a few that are not valid any more.
func (m *model) ack(t *testing.T, r *rig, rnd *rand.Rand, dead ID, leases map[string]*modelMessage, at int64) {
	var acks []string
	var retries []Retry
	valid, again := int64(0), int64(0)
	for lease, x := range leases {
		if len(acks)+len(retries) >= 3 {
			break
		}
		held := x.lease == lease && slices.Contains(m.dead, x)
		delete(leases, lease)
		if rnd.IntN(2) == 0 {
			acks = append(acks, lease)
			if held {
				valid++
				m.take(&m.dead, x)
			}
			continue
		}
		delay := int64(rnd.IntN(9))
		retries = append(retries, Retry{Lease: lease, Delay: &delay})
		if held {
			again++
			x.due, x.lease = at+delay*1000, ""
			if x.attempts > 2 {
				m.take(&m.dead, x)
			}
		}
	}
	got, err := r.Ack(t.Context(), account, dead, acks, retries)
	if err != nil {
		t.Fatal(err)
	}
	if got.Acks != valid || got.Retries != again || len(got.Warnings) != len(acks)+len(retries)-int(valid+again) {
		t.Fatalf("acknowledged %+v, want %d and %d of %d", got, valid, again, len(acks)+len(retries))
	}
}

func (m *model) compare(t *testing.T, r *rig, k *planned, step int, jobs, dead ID) {
	t.Helper()
	for i := range max(len(m.log), len(k.log)) {
		got, want := "nothing", "nothing"
		if i < len(k.log) {
			got = k.log[i]
		}
		if i < len(m.log) {
			want = m.log[i]
		}
		if got != want {
			t.Errorf("step %d: delivery %d is %q, want %q", step, i, got, want)
			return
		}
	}
	if got := r.count(jobs); got != int64(len(m.jobs)) {
		t.Errorf("step %d: %d jobs, want %d", step, got, len(m.jobs))
	}
	if got := r.count(dead); got != int64(len(m.dead)) {
		t.Errorf("step %d: %d dead letters, want %d", step, got, len(m.dead))
	}
}
