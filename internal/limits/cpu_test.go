package limits

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// thread is a Process whose turns on the CPU are scripted: who runs, for how long, one after the other in real time.
type thread struct {
	mu         sync.Mutex
	began      time.Time
	turns      []turn
	ended      []Context
	killed     bool
	stubborn   bool // nothing can be interrupted
	restless   bool // a termination ends one turn, and the next ones come all the same
	blind      bool // nobody can be told from another
	terminated map[Context]time.Duration
}

type turn struct {
	who Context // 0: the thread is idle
	d   time.Duration
}

// at returns the clock and who runs, after so much wall time.
func (p *thread) at(wall time.Duration) (cpu time.Duration, who Context, used map[Context]time.Duration) {
	used = map[Context]time.Duration{}
	for _, t := range p.turns {
		d := min(t.d, wall)
		if t.who != 0 {
			if _, gone := p.terminated[t.who]; gone {
				continue
			}
			cpu += d
			used[t.who] += d
		}
		if wall < t.d {
			return cpu, t.who, used
		}
		wall -= d
	}
	return cpu, 0, used
}

func (p *thread) CPUTime() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cpu, _, _ := p.at(time.Since(p.began))
	return cpu, nil
}

func (p *thread) Current() (Context, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blind {
		return 0, ErrBlind
	}
	_, who, _ := p.at(time.Since(p.began))
	return who, nil
}

func (p *thread) Terminate(_ context.Context, c Context) (Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, who, used := p.at(time.Since(p.began))
	switch {
	case who != c:
		return Absent, nil
	case p.stubborn:
		return Overdue, nil
	}
	p.ended = append(p.ended, c)
	if p.restless {
		p.cut(time.Since(p.began))
		return Terminated, nil
	}
	// From here on the clock stands still for it; what it has used stays used.
	for i, t := range p.turns {
		if t.who == c {
			p.turns[i].d = 0
		}
	}
	p.turns = append([]turn{{c, used[c]}}, p.turns...)
	return Terminated, nil
}

// cut ends the turn that is under way after so much wall time.
func (p *thread) cut(wall time.Duration) {
	for i, t := range p.turns {
		if wall < t.d {
			p.turns[i].d = wall
			return
		}
		wall -= t.d
	}
}

func (p *thread) Kill() { p.killed = true }

const ms = time.Millisecond

// meter runs the turns under a limit of 10 ms with so many invocations and returns the thread afterwards.
func meter(t *testing.T, invocations int, stubborn bool, turns ...turn) (p *thread, claims int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p = &thread{began: time.Now(), turns: turns, stubborn: stubborn}
		m := New(p, 10*ms)
		for range invocations {
			m.Begin()
		}
		time.Sleep(300 * ms)
		for m.Claim() {
			claims++
		}
		for range invocations {
			m.End()
		}
		m.Close()
	})
	return p, claims
}

func TestMeter(t *testing.T) {
	for name, c := range map[string]struct {
		invocations int
		turns       []turn
		ended       Context
	}{
		"spin-alone":               {1, []turn{{1, 200 * ms}}, 1},
		"spin-among-100":           {100, []turn{{0, 5 * ms}, {1, 200 * ms}}, 1},
		"9ms-in-three-alone":       {1, []turn{{1, 3 * ms}, {0, 20 * ms}, {1, 3 * ms}, {0, 20 * ms}, {1, 3 * ms}}, 0},
		"9ms-in-three-among-100":   {100, []turn{{1, 3 * ms}, {0, 20 * ms}, {1, 3 * ms}, {0, 20 * ms}, {1, 3 * ms}}, 0},
		"12ms-in-three-alone":      {1, []turn{{1, 4 * ms}, {0, 20 * ms}, {1, 4 * ms}, {0, 20 * ms}, {1, 4 * ms}}, 1},
		"12ms-in-three-among-100":  {100, []turn{{1, 4 * ms}, {0, 20 * ms}, {1, 4 * ms}, {0, 20 * ms}, {1, 4 * ms}}, 1},
		"many-small-ones":          {100, []turn{{1, ms}, {2, ms}, {3, ms}, {4, ms}, {5, ms}, {6, ms}, {7, ms}, {8, ms}, {9, ms}, {10, ms}, {11, ms}, {12, ms}}, 0},
		"the-innocent-runs-first":  {2, []turn{{1, 8 * ms}, {2, 100 * ms}}, 2},
		"the-innocent-runs-after":  {2, []turn{{1, 9 * ms}, {0, ms}, {2, 5 * ms}, {0, ms}, {3, 5 * ms}}, 0},
		"turns-too-short-to-see":   {1, shortTurns(), 1},
		"long-wait-before-a-spin":  {1, []turn{{0, 200 * ms}, {1, 50 * ms}}, 1},
		"spin-after-the-response":  {0, nil, 0},
		"nothing-runs-for-a-while": {3, []turn{{0, 100 * ms}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, claims := meter(t, c.invocations, false, c.turns...)
			switch {
			case p.killed:
				t.Error("the process was killed")
			case c.ended == 0 && (len(p.ended) > 0 || claims > 0):
				t.Errorf("ended %v, %d claims; want none", p.ended, claims)
			case c.ended != 0 && (len(p.ended) != 1 || p.ended[0] != c.ended || claims != 1):
				t.Errorf("ended %v, %d claims; want %v alone", p.ended, claims, c.ended)
			}
		})
	}
}

// shortTurns are 40 ms in turns of 0.1 ms that no look is likely to hit, and a last one that is seen.
func shortTurns() (list []turn) {
	for range 150 {
		list = append(list, turn{1, 100 * time.Microsecond}, turn{0, 900 * time.Microsecond})
	}
	return append(list, turn{1, 30 * ms})
}

func TestOverdueIsKilled(t *testing.T) {
	if p, _ := meter(t, 1, true, turn{1, 200 * ms}); !p.killed {
		t.Error("what cannot be interrupted was left alone")
	}
}

// An invocation with many timers is stopped in one of them, and goes on with the next.
func TestWhoGoesOnIsKilled(t *testing.T) {
	for name, c := range map[string]struct {
		turns  []turn
		killed bool
	}{
		"for-ever":         {repeat(1, 200, 50*ms, 0), true},
		"in-short-turns":   {repeat(1, 200, 2*ms, 2*ms), true},
		"for-a-few-timers": {repeat(1, 4, 50*ms, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &thread{began: time.Now(), turns: c.turns, restless: true}
				m := New(p, 10*ms)
				m.Begin()
				m.Begin()
				time.Sleep(time.Second)
				m.Close()
				if p.killed != c.killed || len(p.ended) == 0 {
					t.Errorf("killed: %v after %d terminations; want %v", p.killed, len(p.ended), c.killed)
				}
			})
		})
	}
}

// repeat is n turns of c with pauses between.
func repeat(c Context, n int, d, pause time.Duration) (list []turn) {
	for range n {
		list = append(list, turn{c, d}, turn{0, pause})
	}
	return list
}

// A Worker that calls itself inside its process has a new context for each slice of its work.
func TestNewContextsAreNoNewTime(t *testing.T) {
	for name, c := range map[string]struct {
		invocations int
		killed      bool
	}{
		"of-one":     {1, true},
		"of-as-many": {100, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &thread{began: time.Now()}
				for i := range Context(100) {
					p.turns = append(p.turns, turn{i + 1, 8 * ms})
				}
				m := New(p, 10*ms)
				for range c.invocations {
					m.Begin()
				}
				time.Sleep(time.Second)
				m.Close()
				if p.killed != c.killed || len(p.ended) > 0 {
					t.Errorf("killed: %v, ended %v; want %v and none", p.killed, p.ended, c.killed)
				}
			})
		})
	}
}

func TestWorkAfterTheResponseIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &thread{began: time.Now(), turns: []turn{{0, 20 * time.Second}, {1, 5 * time.Second}}}
		m := New(p, 10*ms)
		m.Begin()
		m.End()
		time.Sleep(22 * time.Second)
		p.mu.Lock()
		if len(p.ended) != 1 {
			t.Errorf("ended %v", p.ended)
		}
		p.mu.Unlock()
		time.Sleep(20 * time.Second)
		m.mu.Lock()
		if m.running {
			t.Error("an idle process is still watched")
		}
		m.mu.Unlock()
		m.Close()
	})
}

func TestClaimsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(&thread{}, ms)
		m.ended = []time.Time{time.Now()}
		time.Sleep(claimable)
		if m.Claim() {
			t.Error("an old termination was claimed")
		}
	})
}

func TestBlind(t *testing.T) {
	for name, c := range map[string]struct {
		invocations int
		turns       []turn
		killed      bool
	}{
		"alone-over":       {1, []turn{{0, 5 * ms}, {1, 50 * ms}}, true},
		"alone-under":      {1, []turn{{1, 4 * ms}, {0, 30 * ms}, {1, 4 * ms}}, false},
		"many-hog":         {5, []turn{{1, 3 * time.Second}}, true},
		"many-with-pauses": {50, []turn{{1, 600 * ms}, {0, 200 * ms}, {1, 600 * ms}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &thread{began: time.Now(), turns: c.turns, blind: true}
				m := New(p, 10*ms)
				for range c.invocations {
					m.Begin()
				}
				time.Sleep(3 * time.Second)
				m.Close()
				if p.killed != c.killed {
					t.Errorf("killed: %v, want %v", p.killed, c.killed)
				}
			})
		})
	}
}
