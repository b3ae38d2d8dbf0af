package limits

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// thread is a Process whose turns on the CPU are scripted: who runs, for how long, one after the other in real time.
type thread struct {
	turns    []turn
	events   map[int]uint64 // handled in turns, by their index
	collects map[int]bool   // turns in which garbage is collected, by their index
	stubborn bool           // nothing can be interrupted
	blind    bool
	tick     time.Duration // how often the clock is brought up to date while the thread runs; 0 is always
	stopped  bool          // nothing runs
	stalls   *rand.Rand    // has whoever looks wait for the processor now and then; nil is never
	detached bool          // invocations are answered at once, and work on in the background

	mu     sync.Mutex
	looks  int
	now    time.Time     // until when the turns have been played
	i      int           // the turn under way
	played time.Duration // of it
	cpu    time.Duration
	clock  time.Duration // cpu as it was when the clock was brought up to date last
	synced time.Time
	newest Context
	used   map[Context]time.Duration
	ended  map[Context]time.Duration // those terminated, and what they had used by then
	total  map[Context]time.Duration // what the turns come to
	killed time.Duration             // the clock when it was, 0 is never
}

// turn is what the thread does for a time: nothing, run a context, or something for none.
type turn struct {
	who Context
	d   time.Duration
}

// The turns that are no context's.
const (
	idle    Context = 0
	atWork  Context = 1 << 32 // of its own
	loading Context = 1 << 33 // JavaScript that no invocation runs
)

func (p *thread) begin() {
	p.now, p.used, p.ended = time.Now(), map[Context]time.Duration{}, map[Context]time.Duration{}
	p.playLocked()
}

// playLocked plays the turns up to now and returns who runs. A turn of one that was terminated is over at once.
func (p *thread) playLocked() (who Context) {
	left := time.Since(p.now)
	p.now = p.now.Add(left)
	if p.stopped {
		left = 0
	}
	for p.i < len(p.turns) {
		t := p.turns[p.i]
		if _, over := p.ended[t.who]; over {
			p.i, p.played = p.i+1, 0
			continue
		}
		d := min(t.d-p.played, left)
		p.played += d
		left -= d
		if t.who != idle {
			p.cpu += d
			p.used[t.who] += d
		}
		if t.who < atWork {
			p.newest = max(p.newest, t.who)
		}
		if p.played < t.d {
			return t.who
		}
		p.i, p.played = p.i+1, 0
	}
	return idle
}

// stall is a time in which a busy machine does not let the Meter run.
func (p *thread) stall() {
	if p.stalls != nil && p.stalls.IntN(50) == 0 {
		time.Sleep(time.Duration(p.stalls.ExpFloat64() * float64(10*ms)))
	}
}

func (p *thread) CPUTime() (time.Duration, error) {
	p.stall()
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.playLocked()
	if who == idle || p.tick == 0 || p.now.Sub(p.synced) >= p.tick {
		p.clock, p.synced = p.cpu, p.now
	}
	return p.clock, nil
}

func (p *thread) Look() (Sight, error) {
	p.stall()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	if p.blind {
		return Sight{}, ErrBlind
	}
	who := p.playLocked()
	s := Sight{Current: who, Entered: who != idle && who != atWork, Started: p.newest}
	if who != idle {
		s.Event = p.events[p.i]
	}
	if who >= atWork {
		s.Current = 0
	}
	s.Collecting = p.collects[p.i]
	return s, nil
}

func (p *thread) Asleep() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.playLocked() == idle, nil
}

// Alive has contexts live until their last turn.
func (p *thread) Alive(c Context, place uintptr) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.playLocked()
	_, ended := p.ended[c]
	return !ended && p.used[c] < p.wants(c), nil
}

// Event has contexts handle an event in their turns alone.
func (p *thread) Event(c Context, _ uintptr) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.playLocked() == c {
		return p.events[p.i], nil
	}
	return 0, nil
}

func (p *thread) wants(c Context) time.Duration {
	if p.total == nil {
		p.total = map[Context]time.Duration{}
		for _, t := range p.turns {
			p.total[t.who] += t.d
		}
	}
	return p.total[c]
}

func (p *thread) Terminate(c Context, over, late func() bool) (Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := p.playLocked()
	p.clock, p.synced = p.cpu, p.now
	p.stopped = true
	p.mu.Unlock()
	sure := over()
	p.mu.Lock()
	p.stopped = false
	switch {
	case who != c || !sure || p.collects[p.i]:
		return Absent, nil
	case p.stubborn:
		p.mu.Unlock()
		defer p.mu.Lock()
		for !late() {
			time.Sleep(ms)
		}
		return Overdue, nil
	}
	p.ended[c] = p.used[c]
	return Terminated, nil
}

func (p *thread) Kill(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.playLocked()
	p.killed, p.turns = p.cpu, nil
}

const ms = time.Millisecond

// newMeter returns a Meter with a limit of 10 ms that lives by the bubble's time, and does the same at every run.
func newMeter(p Process) *Meter {
	m := New(p, 10*ms)
	m.pause, m.dice = time.Sleep, rand.New(rand.NewPCG(1, 2))
	return m
}

// script runs the turns under a limit of 10 ms, with so many invocations, of which the last begins later, and returns how
// many claims there were.
func (p *thread) script(t *testing.T, invocations int, later time.Duration) (claims int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p.begin()
		m := newMeter(p)
		for range invocations - 1 {
			m.Begin()
		}
		var all time.Duration
		for _, t := range p.turns {
			all += t.d
		}
		time.Sleep(later)
		m.Begin()
		end := func() {
			for range invocations {
				m.End()
			}
		}
		if p.detached {
			end()
		}
		time.Sleep(all - later)
		for m.Claim() {
			claims++
		}
		if !p.detached {
			end()
		}
		m.Close()
	})
	return claims
}

// inSlices are n turns of a context, with rests between.
func inSlices(c Context, n int, d, rest time.Duration) (list []turn) {
	for range n {
		list = append(list, turn{c, d}, turn{idle, rest})
	}
	return list
}

// mix is n turns of each of some contexts, taken in turn.
func mix(contexts Context, n int, d time.Duration) (list []turn) {
	for range n {
		for c := range contexts {
			list = append(list, turn{c + 1, d})
		}
	}
	return list
}
