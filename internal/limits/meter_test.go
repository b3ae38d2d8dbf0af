package limits

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func TestMeter(t *testing.T) {
	for _, c := range []struct {
		name        string
		invocations int
		turns       []turn
		ended       Context       // who is
		after       time.Duration // at the latest
	}{
		{"spin-alone", 1, []turn{{1, 200 * ms}}, 1, 11 * ms},
		{"spin-among-100", 100, []turn{{99, ms / 10}, {idle, 300 * ms}, {100, 200 * ms}}, 100, 12 * ms},
		{"spin-after-a-cold-start", 1, []turn{{idle, 20 * ms}, {loading, 100 * ms}, {atWork, 3 * ms}, {1, 200 * ms}}, 1, 11 * ms},
		{"9ms-in-three-alone", 1, inSlices(1, 3, 3*ms, 20*ms), 0, 0},
		{"9ms-in-three-among-100", 100, append([]turn{{99, ms}, {idle, 300 * ms}}, inSlices(100, 3, 3*ms, 20*ms)...), 0, 0},
		{"12ms-in-three-alone", 1, inSlices(1, 3, 4*ms, 20*ms), 1, 115 * ms / 10},
		{"12ms-in-three-among-100", 100, append([]turn{{99, ms}, {idle, 300 * ms}}, inSlices(100, 3, 4*ms, 20*ms)...), 100, 12 * ms},
		{"many-small-ones", 100, mix(100, 1, ms), 0, 0},
		{"the-innocent-runs-first", 2, []turn{{1, 9 * ms}, {2, 100 * ms}}, 2, 14 * ms},
		{"the-innocent-runs-after", 2, []turn{{1, 9 * ms}, {idle, ms}, {2, 9 * ms}, {idle, ms}, {3, 9 * ms}}, 0, 0},
		{"turns-too-short-to-see", 1, append(inSlices(1, 300, ms/10, ms*9/10), turn{1, 30 * ms}), 1, 20 * ms},
		{"short-turns-among-others", 100, append(mix(4, 80, ms/10), turn{1, 30 * ms}), 1, 25 * ms},
		{"long-wait-before-a-spin", 1, []turn{{idle, 200 * ms}, {1, 50 * ms}}, 1, 20 * ms},
		{"bodies-are-nobodys-time", 1, []turn{{1, ms}, {atWork, 100 * ms}, {1, 5 * ms}, {atWork, 100 * ms}}, 0, 0},
		{"nothing-runs-for-a-while", 3, []turn{{idle, 100 * ms}}, 0, 0},
	} {
		for _, tick := range []time.Duration{0, 4 * ms} {
			t.Run(c.name+map[bool]string{true: "-by-ticks"}[tick > 0], func(t *testing.T) {
				p := &thread{turns: c.turns, tick: tick}
				var later time.Duration
				if c.invocations == 100 && len(c.turns) > 1 && c.turns[1].who == idle {
					later = c.turns[0].d + c.turns[1].d
				}
				claims := p.script(t, c.invocations, later)
				if p.killed > 0 {
					t.Errorf("the process was killed after %v", p.killed)
				}
				after, ok := p.ended[c.ended]
				switch {
				case c.ended == 0 && (len(p.ended) > 0 || claims > 0):
					t.Errorf("ended %v, %d claims; want none", p.ended, claims)
				case c.ended != 0 && (!ok || len(p.ended) != 1 || claims != 1):
					t.Errorf("ended %v, %d claims; want %v alone", p.ended, claims, c.ended)
				case after > c.after:
					t.Errorf("ended after %v, later than %v", after, c.after)
				}
				t.Logf("ended after %v", after)
			})
		}
	}
}

// Whatever the turns, nobody who stays under the limit is ended, and everybody who goes far beyond it is; the latter is later
// where the machine is so busy that looks come late.
func TestRandomTurns(t *testing.T) {
	for _, c := range []struct {
		name     string
		stalls   bool
		detached bool
		hog      time.Duration // what those want that go beyond
	}{
		{"looks-in-time", false, false, 100 * ms},
		{"looks-come-late", true, false, 200 * ms},
		{"in-the-background", false, true, 100 * ms},
		{"looks-come-late-in-the-background", true, true, 200 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(300) {
				p := &thread{tick: time.Duration(seed%3) * 2 * ms, detached: c.detached}
				if c.stalls {
					p.stalls = rand.New(rand.NewPCG(seed, 2))
				}
				p.randomTurns(t, seed, c.hog)
			}
		})
	}
}

// randomTurns plays what a seed makes of contexts that take turns. Most stay below the limit, some want as much as a hog.
func (p *thread) randomTurns(t *testing.T, seed uint64, hog time.Duration) {
	r := rand.New(rand.NewPCG(seed, 1))
	contexts := 1 + r.IntN(40)
	turnMean := time.Duration(100+r.IntN(4000)) * time.Microsecond
	idleMean := time.Duration(r.IntN(3)) * turnMean * time.Duration(r.IntN(4))
	wants := make([]time.Duration, contexts)
	for i := range wants {
		wants[i] = time.Duration(r.Int64N(int64(95*ms))) / 10
		if r.IntN(5) == 0 {
			wants[i] = hog
		}
	}
	total := make([]time.Duration, contexts)
	first := 0 // contexts begin in order
	for open := contexts; open > 0; {
		i := r.IntN(min(contexts, first+3))
		if i >= first {
			i = first
			first++
		}
		if first > contexts {
			first = contexts
		}
		if total[i] >= wants[i] {
			open = 0
			for j := range wants {
				if total[j] < wants[j] {
					open++
				}
			}
			continue
		}
		d := min(time.Duration(r.ExpFloat64()*float64(turnMean))+10*time.Microsecond, wants[i]-total[i])
		total[i] += d
		p.turns = append(p.turns, turn{Context(i + 1), d})
		if idleMean > 0 {
			p.turns = append(p.turns, turn{idle, time.Duration(r.ExpFloat64() * float64(idleMean))})
		}
		if r.IntN(4) == 0 {
			p.turns = append(p.turns, turn{atWork, time.Duration(r.IntN(100)) * time.Microsecond})
		}
	}
	p.script(t, contexts, 0)
	if p.killed > 0 {
		t.Errorf("seed %d: killed", seed)
	}
	for i, want := range wants {
		after, ended := p.ended[Context(i+1)]
		switch {
		case want < 10*ms && ended:
			t.Errorf("seed %d: %d of %d contexts, turns of %v, rests of %v: one that wanted %v was ended after %v", seed, i+1, contexts, turnMean, idleMean, want, after)
		case want == hog && !ended:
			t.Errorf("seed %d: %d of %d contexts, turns of %v, rests of %v: went on", seed, i+1, contexts, turnMean, idleMean)
		case ended && after > hog-5*ms:
			t.Errorf("seed %d: %d of %d contexts, turns of %v, rests of %v: ended after %v", seed, i+1, contexts, turnMean, idleMean, after)
		}
	}
}

// Whoever happens to run when garbage is collected is not ended for it, unless it goes on for longer than that takes.
func TestCollections(t *testing.T) {
	var short []turn // every other of which collects
	collects := map[int]bool{}
	for range 40 {
		collects[len(short)+1] = true
		short = append(short, turn{1, ms / 5}, turn{1, 3 * ms})
	}
	for _, c := range []struct {
		name        string
		invocations int
		turns       []turn
		collects    map[int]bool
		ended       Context
	}{
		{"alone", 1, []turn{{1, 2 * ms}, {1, 100 * ms}, {1, 2 * ms}}, map[int]bool{1: true}, 0},
		{"among-others", 100, append(mix(5, 3, ms), turn{1, 120 * ms}, turn{1, ms}, turn{2, 2 * ms}), map[int]bool{15: true}, 0},
		{"many-short-ones", 1, short, collects, 0},
		{"of-a-hog", 1, []turn{{1, 5 * ms}, {1, 100 * ms}, {1, 100 * ms}}, map[int]bool{1: true}, 1},
		{"without-end", 1, []turn{{1, ms}, {1, 300 * ms}, {1, ms}, {1, 300 * ms}, {1, 5 * ms}}, map[int]bool{1: true, 3: true}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &thread{turns: c.turns, collects: c.collects}
			p.script(t, c.invocations, 0)
			_, ended := p.ended[c.ended]
			if p.killed > 0 || c.ended == 0 && len(p.ended) > 0 || c.ended != 0 && !ended {
				t.Errorf("ended %v, killed after %v; want %v ended", p.ended, p.killed, c.ended)
			}
		})
	}
}

func TestKill(t *testing.T) {
	for _, c := range []struct {
		name string
		p    *thread
		want time.Duration // when, at the latest; 0 is never
	}{
		{"uninterruptible", &thread{stubborn: true, turns: []turn{{1, 200 * ms}}}, 65 * ms},
		{"finalizer", &thread{turns: []turn{{1, ms}, {loading, 5 * time.Second}}}, 1600 * ms},
		{"swarm", &thread{turns: mix(1000, 1, 5*ms)}, 100 * ms},
		{"slow-start", &thread{turns: []turn{{loading, 1400 * ms}, {1, ms}}}, 0},
		{"blind", &thread{blind: true, turns: []turn{{atWork, 100 * ms}, {1, 5 * time.Second}}}, 1600 * ms},
		{"blind-and-slow-start", &thread{blind: true, turns: []turn{{loading, 1400 * ms}, {1, ms}}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.p.script(t, 1, 0)
			if (c.p.killed > 0) != (c.want > 0) || c.p.killed > c.want {
				t.Errorf("killed after %v, want %v", c.p.killed, c.want)
			}
		})
	}
}

// One that comes to life again and again after its end is as good as one that cannot be ended.
func TestManyLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &thread{turns: []turn{{1, time.Second}}}
		p.begin()
		m := newMeter(&undead{p})
		m.Begin()
		time.Sleep(100 * ms)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.killed == 0 || p.killed > 20*ms {
			t.Errorf("killed after %v", p.killed)
		}
		m.Close()
	})
}

// undead is a thread whose contexts go on after their end.
type undead struct{ *thread }

func (u *undead) Terminate(Context, func() bool, func() bool) (Outcome, error) {
	return Terminated, nil
}

func TestWorkAfterTheResponseIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &thread{turns: []turn{{1, ms}, {0, 20 * time.Second}, {1, 15 * time.Second}}}
		p.begin()
		m := newMeter(p)
		m.Begin()
		m.End()
		time.Sleep(15 * time.Second)
		m.mu.Lock()
		if m.running {
			t.Error("an idle process is still watched")
		}
		m.mu.Unlock()
		time.Sleep(8 * time.Second)
		p.mu.Lock()
		if len(p.ended) != 1 {
			t.Errorf("ended %v", p.ended)
		}
		t.Logf("ended after %v", p.ended)
		p.mu.Unlock()
		time.Sleep(20 * time.Second)
		m.mu.Lock()
		if m.running {
			t.Error("an idle process is watched again")
		}
		m.mu.Unlock()
		m.Close()
	})
}

func TestClaimsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(&thread{}, ms)
		m.claims = []time.Time{time.Now(), time.Now().Add(time.Second)}
		time.Sleep(claimable)
		if !m.Claim() {
			t.Error("a termination cannot be claimed")
		}
		if m.Claim() {
			t.Error("an old termination was claimed, or one was claimed twice")
		}
	})
}

func TestNilMeter(t *testing.T) {
	var m *Meter
	m.Begin()
	m.End()
	if m.Claim() || m.Close() != nil {
		t.Error("a Meter that is not there did something")
	}
}

// A context that handles one event after the other may use its limit for each of them, and no more for one; whether or not
// the next is in the place of the last, and though nobody has begun them.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name   string
		turns  []turn
		events map[int]uint64
		ended  bool
	}{
		{"one-after-the-other", inSlices(1, 40, 4*ms, ms), nil, false},
		{"in-the-same-place-without-a-pause", []turn{{1, 6 * ms}, {atWork, 3 * ms}, {1, 6 * ms}, {atWork, 3 * ms}, {1, 6 * ms}}, nil, false},
		{"interleaved", []turn{{1, 6 * ms}, {1, 6 * ms}, {1, 6 * ms}}, map[int]uint64{0: 7, 1: 8, 2: 9}, false},
		{"a-spin-after-others", append(inSlices(1, 10, 4*ms, ms), turn{1, 100 * ms}), nil, true},
		{"a-spin-at-once", []turn{{idle, 6 * time.Second}, {1, 2 * time.Second}}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.events == nil {
					c.events = map[int]uint64{}
					for i := range c.turns {
						c.events[i] = 7
					}
				}
				p := &thread{turns: c.turns, events: c.events}
				p.begin()
				m := newMeter(p)
				m.Open()
				time.Sleep(10 * time.Second)
				p.mu.Lock()
				p.playLocked()
				ended, killed := p.ended, p.killed
				p.mu.Unlock()
				m.Close()
				if _, ok := ended[1]; ok != c.ended || killed > 0 {
					t.Errorf("ended %v, killed %v", ended, killed)
				}
			})
		})
	}
}

// gone is a process that has ended.
type gone struct{ thread }

func (*gone) CPUTime() (time.Duration, error) { return 0, errors.New("gone") }

func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(&gone{}, ms)
		m.Begin()
		m.End()
		synctest.Wait()
		m.Close()
	})
}

func TestForget(t *testing.T) {
	l := newLedger(10*ms, func(Context, uintptr) bool { return true }, nil)
	at := time.Unix(0, 0)
	for i := range 3 * maxAccounts {
		at = at.Add(ms)
		l.add(look{Sight: Sight{Current: Context(i + 1), Started: Context(i + 1), Entered: true}, at: at, cpu: time.Duration(i) * ms})
		if len(l.accounts) > maxAccounts {
			t.Fatal(len(l.accounts))
		}
	}
	if l.over() {
		t.Error("one that has used a little is over its limit")
	}
}

// Requests that use little are hardly looked at, however many there are.
func TestFewLooks(t *testing.T) {
	const requests = 200
	synctest.Test(t, func(t *testing.T) {
		p := &thread{}
		for c := range Context(requests) {
			p.turns = append(p.turns, turn{c + 1, 300 * time.Microsecond}, turn{idle, 4700 * time.Microsecond})
		}
		p.begin()
		m := newMeter(p)
		for range requests {
			m.Begin()
			time.Sleep(ms)
			m.End()
			time.Sleep(4 * ms)
		}
		m.Close()
		if p.looks > 2*requests {
			t.Errorf("%d looks at %d requests that each used a thirtieth of their limit", p.looks, requests)
		}
		t.Logf("%d looks", p.looks)
	})
}
