// Package limits meters what invocations use. [Meter] holds those of one process to their CPU limit, and has the one that
// is over it stopped while the others go on.
//
// It decides from clocks and does no I/O of its own: a [Process] tells it the time and does what it says. It knows no HTTP.
//
// # How CPU time is told apart
//
// All invocations of a process run on one thread, one at a time, and have the same limit. The process's CPU clock is exact,
// but is one for all. Whose JavaScript runs at a moment is known by its context, which is never used twice. So a Meter
// looks at both, again and again, and charges what the clock has advanced to the context that ran at the look's two ends.
// An invocation that has the process to itself is charged exactly. Among others the error is at most one interval at each
// end of each turn it takes on the thread; what begins and ends between two looks is charged to nobody.
//
// An invocation younger than its limit cannot be over it, since CPU time does not pass faster than wall time, and looks
// begin only when one has lived for a part of its limit: short invocations cost two calls and no look.
//
// What is over its limit stays over it: it is stopped whenever it is seen to run again, and its process is killed when that
// goes on. So is a process that has used more than all of its invocations together may, with a margin.
//
// # Concurrency
//
// A Meter may be used concurrently. It runs one goroutine while its process is in use and for the time that waitUntil work
// may last after that; Close ends it.
package limits

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Context names whose JavaScript runs; 0 is nobody's.
type Context uint64

// Process is what a Meter watches.
type Process interface {
	// CPUTime is the CPU time the process has used.
	CPUTime() (time.Duration, error)
	// Current tells whose JavaScript the process runs at this moment. It fails while that cannot be told, with ErrBlind
	// where it never can.
	Current() (Context, error)
	// Terminate ends what c runs, if it runs. It returns Overdue when that cannot be interrupted, and in any case soon
	// after ctx is done.
	Terminate(ctx context.Context, c Context) (Outcome, error)
	// Kill ends the process, which is over its CPU limit.
	Kill()
}

// ErrBlind says that nothing but the process's clock can be seen. An invocation that has the process to itself is held to
// its limit all the same; several at once are when they keep the thread busy without a pause. What is over is killed with
// its process.
var ErrBlind = errors.New("cannot see whose JavaScript a process runs")

// blindHog is how long several invocations may keep the thread busy that cannot be told apart.
const blindHog = time.Second

// Outcome is what came of a termination.
type Outcome int

// The outcomes.
const (
	Absent     Outcome = iota // it was not running any more
	Terminated                // it has been ended
	Overdue                   // it runs on, in something that cannot be interrupted
)

const (
	// linger is how long work may go on after the last response: waitUntil's time.
	linger = 30 * time.Second
	// patience is how long a termination may take at the most. As a rule Process gives up long before, by CPU time.
	patience = 2 * time.Second
	// overshoot is by how much an invocation that is stopped may have passed its limit, as a rule.
	overshoot = 20 * time.Millisecond
	// engineShare is the CPU time of a process that is nobody's, such as the end of its loading.
	engineShare = 250 * time.Millisecond
	// claimable is how long a termination may be claimed by the exchange that it broke.
	claimable = 2 * time.Second
)

// Meter holds the invocations of one process to their CPU limit.
type Meter struct {
	proc  Process
	limit time.Duration
	done  chan struct{} // closed by Close
	group sync.WaitGroup

	mu      sync.Mutex
	live    int           // invocations whose response has not ended
	begun   int           // invocations so far
	before  int           // of them, those that began before the watch
	start   time.Duration // the clock when the watch began, or the process had loaded
	lastEnd time.Time
	running bool // the goroutine
	closed  bool
	ended   []time.Time // terminations nobody has claimed
}

// New returns a Meter of a process whose every invocation may use so much CPU time.
func New(p Process, limit time.Duration) *Meter {
	return &Meter{proc: p, limit: limit, done: make(chan struct{})}
}

// Close ends the watch.
func (m *Meter) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.done)
	}
	m.mu.Unlock()
	m.group.Wait()
	return nil
}

// Begin says that an invocation is about to begin.
func (m *Meter) Begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live++
	m.begun++
	if m.running || m.closed {
		return
	}
	m.start, _ = m.proc.CPUTime() // a process that is gone needs no limit
	m.before = m.begun - 1
	m.running = true
	m.group.Go(m.run)
}

// End says that an invocation's response has ended.
func (m *Meter) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live--
	m.lastEnd = time.Now()
}

// Claim reports whether an exchange that has just broken off did so because its invocation was terminated. Each termination
// can be claimed once, for a short time.
func (m *Meter) Claim() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.ended) > 0 {
		at := m.ended[0]
		m.ended = m.ended[1:]
		if now.Sub(at) < claimable {
			return true
		}
	}
	return false
}

// clamp returns d, but no less than low and no more than high.
func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }

// The intervals between looks.
func (m *Meter) busy() time.Duration {
	return clamp(m.limit/20, 500*time.Microsecond, 20*time.Millisecond)
}
func (m *Meter) quiet() time.Duration {
	return clamp(m.limit/10, time.Millisecond, 50*time.Millisecond)
}
func (m *Meter) asleep() time.Duration {
	return clamp(m.limit/2, 50*time.Millisecond, 250*time.Millisecond)
}

// run looks at the process until nobody uses it any more.
func (m *Meter) run() {
	m.mu.Lock()
	s := sampler{last: m.start}
	m.mu.Unlock()
	wait := m.quiet() // the first look comes when an invocation has lived for a part of its limit
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-m.done:
			return
		case <-timer.C:
		}
		used, err := m.proc.CPUTime()
		if err != nil {
			m.stopped()
			return // the process is gone
		}
		advanced := used > s.last
		now, err := m.proc.Current()
		switch {
		case err == nil:
			s.look(used, now, wait, m.lone())
		case errors.Is(err, ErrBlind):
			if s.blind(used, m.lone(), m.limit) {
				m.proc.Kill()
			}
			now = 0
		default: // it is still loading, which is nobody's time
			s.last, s.before, now = used, 0, 0
			m.loading(used)
		}
		if m.exceeds(used) {
			m.proc.Kill()
		}
		if now != 0 && s.charged[now] >= m.limit {
			if s.defies(now) {
				m.proc.Kill()
			} else {
				m.terminate(now)
			}
		}
		switch live, over := m.inUse(); {
		case over:
			return
		case advanced && now != 0:
			wait = m.busy()
		case live > 0:
			wait = min(max(2*wait, m.busy()), m.quiet())
		default:
			wait = min(2*wait, m.asleep())
		}
		timer.Reset(wait)
	}
}

// loading says that nobody's code has run up to this time.
func (m *Meter) loading(used time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.start = used
}

// exceeds tells whether the process has used more than all of its invocations together may, whatever the contexts were that
// it used it in: a Worker can call itself inside its process, each time in a new context that nobody has begun.
func (m *Meter) exceeds(used time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return used-m.start > time.Duration(m.begun-m.before)*(2*m.limit+overshoot)+engineShare
}

// lone names the invocation that has had the process to itself, by its number; 0 where there are none or several.
func (m *Meter) lone() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live != 1 {
		return 0
	}
	return m.begun
}

// inUse tells how many invocations are live, and ends the watch when waitUntil work can no longer be going on.
func (m *Meter) inUse() (live int, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == 0 && time.Since(m.lastEnd) > linger {
		m.running = false
		return 0, true
	}
	return m.live, false
}

func (m *Meter) stopped() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
}

// terminate ends what c runs, and the process where that cannot be ended.
func (m *Meter) terminate(c Context) {
	// Noted before, since the exchange may break off before Terminate returns.
	m.mu.Lock()
	m.ended = append(m.ended, time.Now())
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	outcome, err := m.proc.Terminate(ctx, c)
	switch {
	case err != nil || outcome == Overdue:
		m.proc.Kill()
	case outcome == Absent:
		m.mu.Lock()
		if n := len(m.ended); n > 0 {
			m.ended = m.ended[:n-1]
		}
		m.mu.Unlock()
	}
}

// sampler charges CPU time to contexts.
type sampler struct {
	last    time.Duration // the clock at the last look
	before  Context       // who ran then
	charged map[Context]time.Duration

	lone  int           // the invocation that had the process to itself at the last look
	spare time.Duration // what has run between looks since, in turns too short to be seen

	stops map[Context]int // how often each of those over the limit has been seen running
	seen  time.Time       // when the last look was, where that matters
}

// look charges what the clock has advanced since the last look, which was to be an interval ago, to who ran at its ends.
// lone is the number of the one invocation there is, or 0.
func (s *sampler) look(used time.Duration, now Context, interval time.Duration, lone int) {
	d, before := used-s.last, s.before
	s.last, s.before = used, now
	if lone == 0 || lone != s.lone {
		s.spare = 0
	}
	s.lone = lone
	if d <= 0 {
		return
	}
	turn := d
	if lone == 0 {
		// A look that comes late has missed turns of others.
		turn = min(d, 2*interval)
	}
	switch {
	case before == 0 && now == 0:
		s.spare += d
	case before == now:
		s.charge(now, d)
	case before == 0:
		if _, known := s.charged[now]; !known {
			// What ran before it was first seen may have been the process, loading.
			turn, s.spare = min(turn, interval), 0
		}
		s.charge(now, turn)
	case now == 0:
		s.charge(before, turn)
	default:
		s.charge(before, turn/2)
		s.charge(now, turn/2)
	}
}

// blind tells whether what runs is over the limit, where nobody can be told from another.
func (s *sampler) blind(used time.Duration, lone int, limit time.Duration) (over bool) {
	now := time.Now()
	d, wall := used-s.last, now.Sub(s.seen)
	s.last, s.seen = used, now
	if lone != s.lone || lone == 0 && d < wall*8/10 {
		s.spare = 0
	}
	s.lone = lone
	s.spare += d
	if lone == 0 {
		limit = max(limit, blindHog)
	}
	return s.spare >= limit
}

// chances is how often an invocation over its limit may be found running. What is terminated is one turn on the thread, such
// as one timer's function, and an invocation may have thousands of timers.
const chances = 10

// defies tells whether c, which is over its limit, has been stopped often enough.
func (s *sampler) defies(c Context) bool {
	if s.stops == nil || len(s.stops) >= maxCharged {
		s.stops = map[Context]int{c: s.stops[c]}
	}
	s.stops[c]++
	return s.stops[c] > chances
}

// maxCharged bounds the contexts that are remembered.
const maxCharged = 4096

func (s *sampler) charge(c Context, d time.Duration) {
	if s.charged == nil || len(s.charged) >= maxCharged {
		// Most of those who are forgotten have ended long ago, and few of the others are near their limit.
		s.charged = map[Context]time.Duration{c: s.charged[c]}
	}
	s.charged[c] += d
	if s.lone != 0 {
		s.charged[c] += s.spare
		s.spare = 0
	}
}
