// Package limits meters what invocations use. A [Meter] holds those of one process to their CPU limit, and has the one that
// is over it stopped while the others go on.
//
// It decides from clocks and does no I/O of its own: a [Process] tells it the time and does what it says. It knows no HTTP.
//
// # How CPU time is told apart
//
// All invocations of a process run on one thread, one at a time, and have the same limit. The process has one CPU clock for
// all. Whose JavaScript runs at a moment is known by its context, which is never used twice: an invocation's work after its
// response and its timers run in its context too. So a Meter looks at both, now and then, and charges what the clock has
// advanced to the contexts it has seen; type ledger says how.
//
// A Durable Object handles all its events in one context, and each of them may use the limit. Where one has begun since the
// last look, the context's account begins anew.
//
// Looks are rare until a context has been seen that may be on its way to its limit, and then frequent, 50 times a limit. When
// a context may be over it, the process is stopped, because only then is its clock exact, and the context is ended if it is.
//
//   - One that has the process to itself, or runs while others wait, is ended 1 to 3 ms after its limit by the process's
//     clock: the first millisecond is taken for the engine's own work before, between and after its turns.
//   - One that takes turns with others that are busy is ended when it is over its limit beyond reasonable doubt, as a rule
//     below twice its limit. Where dozens of contexts take turns shorter than the time between looks, it can be several times
//     as much: TestRandomTurns has the figures.
//   - One that runs again after a long silence is not seen at once: up to one limit, or 100 ms if that is less, is doubtful.
//     When a process has been silent altogether for 5 s it can be half a second.
//   - Where the machine does not let the node run, looks come late, and all of this is later by as much.
//
// Garbage is collected in the middle of whatever allocates next, for all that has been allocated before: the first 250 ms of
// it that a context is seen to do are not its own. Contexts are not ended meanwhile, which cannot be interrupted.
//
// All contexts of a process together may use twice the limit for each invocation that has begun, so that a Worker gains
// nothing by calling itself. JavaScript that runs in no context at all, such as finalizers, has its process killed if it
// does not end.
//
// # Concurrency
//
// A Meter may be used concurrently. It runs one goroutine while its process is in use, and for some seconds after; then a
// timer looks at the clock twice a second. Close ends both.
package limits

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Context names whose JavaScript runs; 0 is nobody's. A process numbers them in the order in which it makes them.
type Context uint64

// Sight is what a process is seen to do at one moment.
type Sight struct {
	Current Context // whose JavaScript runs
	Place   uintptr // where Current is kept
	Event   uint64  // tells one event that Current handles from the next; 0: none is in progress
	Entered bool    // JavaScript runs: where Current is 0, it is that of no invocation
	Started Context // the newest context

	Collecting bool // it collects garbage, in the middle of what Current runs
}

// Process is what a Meter watches.
type Process interface {
	// CPUTime is the CPU time the process has used.
	CPUTime() (time.Duration, error)
	// Look tells what the process does at this moment. The error is ErrBlind where that can never be told.
	Look() (Sight, error)
	// Asleep tells whether the process waits for something to do.
	Asleep() (bool, error)
	// Alive tells whether a context that was seen at place has work left.
	Alive(c Context, place uintptr) (bool, error)
	// Event tells which event a context that was seen at place handles, as Sight does.
	Event(c Context, place uintptr) (uint64, error)
	// Terminate stops the process and ends what c runs, if it runs at this moment and over, asked in the stop, says so. It
	// returns Overdue when that could not be interrupted before late has returned true. After an error the process has to
	// be killed.
	Terminate(c Context, over, late func() bool) (Outcome, error)
	// Kill ends the process, which is over its CPU limit, and says why it had to be.
	Kill(why error)
}

// Outcome is what came of a termination.
type Outcome int

// The outcomes.
const (
	Absent     Outcome = iota // it was not running any more
	Terminated                // it has been ended
	Overdue                   // it runs on, in something that cannot be interrupted
)

// ErrBlind says that processes cannot be looked into. They can only be killed, then, when nothing but a hog explains what
// their clock shows.
var ErrBlind = errors.New("processes cannot be looked into")

// Why a process was killed.
var (
	errHog     = errors.New("its requests get no answer and it is busy")
	errStray   = errors.New("code that runs for no invocation does not end")
	errOverdue = errors.New("an invocation over its CPU limit cannot be interrupted")
	errSwarm   = errors.New("it uses more CPU time than all its invocations together may")
	errUndead  = errors.New("an invocation over its CPU limit goes on however often it is ended")
)

const (
	// minGrace is how much CPU time a termination may take, or one limit if that is more, before the process is killed.
	minGrace = 50 * time.Millisecond
	// graceWall is how much longer it may take by the wall clock on a busy machine.
	graceWall = 60
	// claimable is how long a termination may be claimed by the exchange that it broke.
	claimable = 2 * time.Second
	// linger is how long after the last response the process is looked at as if it were in use.
	linger = 5 * time.Second
	// napFor is the time between two looks at the clock of a process that is not in use.
	napFor = 500 * time.Millisecond
	// maxStray is how much time JavaScript that runs for no invocation may take beyond a limit: a Worker that loads is
	// allowed a second, and finalizers are thought not to take more.
	maxStray = 1500 * time.Millisecond
	// share is what each invocation may use by how many of its limits, whatever the contexts are in which it does: a Worker
	// can call itself inside its process, each time in a new context that nobody has begun.
	share = 2
	// overshoot is by how much an invocation that is stopped may have passed its limit, as a rule.
	overshoot = 20 * time.Millisecond
	// maxShares is how many shares that were not used may be saved.
	maxShares = 100
	// maxEnds is how often a context is terminated before its process is killed.
	maxEnds = 10
)

// MaxCooldown is the longest Cooldown.
const MaxCooldown = time.Second

// Meter holds the invocations of one process to their CPU limit. A nil Meter holds nobody to anything.
type Meter struct {
	proc  Process
	bound atomic.Int64        // the limit, in nanoseconds
	lost  atomic.Int64        // what invocations that were ended had used, in nanoseconds
	cool  atomic.Int64        // until when none should begin, in nanoseconds since made; written by the goroutine
	made  time.Time           // when the Meter was
	pause func(time.Duration) // set by tests: what waits for the next look instead of a timer
	dice  *rand.Rand          // of the goroutine
	done  chan struct{}       // closed by Close
	wake  chan struct{}       // ends a rest
	group sync.WaitGroup
	books *ledger // of the goroutine

	mu      sync.Mutex
	live    int           // invocations whose response has not ended
	ends    int           // counts End
	start   time.Duration // the clock when the last invocation began that found no other, or a little before
	readAt  time.Time     // when the clock was read for that
	read    time.Duration // and what it showed
	newest  time.Time     // when the last invocation began
	lastEnd time.Time
	running bool      // the goroutine
	resting time.Time // until when it is, at the latest
	nap     *time.Timer
	closed  bool
	claims  []time.Time   // terminations nobody has claimed
	joined  bool          // an invocation has begun that found another
	open    int           // counts Open, less what was closed
	budget  time.Duration // what all contexts together may use yet
}

// New returns a Meter of a process whose every invocation may use so much CPU time.
func New(p Process, limit time.Duration) *Meter {
	alive := func(c Context, place uintptr) bool {
		yes, err := p.Alive(c, place)
		return yes || err != nil
	}
	m := &Meter{proc: p, made: time.Now(), dice: rand.New(rand.NewPCG(rand.Uint64(), 0)),
		done: make(chan struct{}), wake: make(chan struct{}, 1), books: newLedger(limit, alive, p.Event)}
	m.bound.Store(int64(limit))
	return m
}

// Limit is what each invocation may use; 0 of a nil Meter.
func (m *Meter) Limit() time.Duration {
	if m == nil {
		return 0
	}
	return time.Duration(m.bound.Load())
}

// Lost is the CPU time that was used by invocations that have been ended, and so was of no use to anybody.
func (m *Meter) Lost() time.Duration {
	if m == nil {
		return 0
	}
	return time.Duration(m.lost.Load())
}

// Cooldown is how long an invocation that wants to begin should wait, a second at the most. Of the time in which its
// invocations are ended one after the other, a process has half: so a Worker that uses up its limit again and again has half of
// a processor, and half as many invocations to be looked after and ended. What is on its way goes on meanwhile.
func (m *Meter) Cooldown() time.Duration {
	if m == nil {
		return 0
	}
	return max(0, time.Duration(m.cool.Load())-time.Since(m.made))
}

// lose notes what an invocation that has just been ended had used.
func (m *Meter) lose(used time.Duration) {
	m.lost.Add(int64(used))
	now := time.Since(m.made)
	began := max(time.Duration(m.cool.Load()), now-used)
	m.cool.Store(int64(min(began+2*used, now+MaxCooldown)))
}

// Lower makes the limit a lower one, from now on and for those in progress, too. It never makes it higher.
func (m *Meter) Lower(limit time.Duration) {
	if m == nil {
		return
	}
	for old := m.bound.Load(); int64(limit) < old; old = m.bound.Load() {
		if m.bound.CompareAndSwap(old, int64(limit)) {
			return
		}
	}
}

// Close ends the watch.
func (m *Meter) Close() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.done)
	}
	if m.nap != nil {
		m.nap.Stop()
	}
	m.mu.Unlock()
	m.group.Wait()
	return nil
}

// Begin says that an invocation is about to begin.
func (m *Meter) Begin() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.live++
	m.newest = now
	m.budget = min(m.budget+m.share(), maxShares*m.share())
	if m.joined = m.live > 1; !m.joined {
		m.readLocked(now)
	}
	if !m.running {
		m.watchLocked()
	} else if m.resting.Sub(now) > m.Limit()/4 {
		m.resting = now
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// Open says that from now on the process runs contexts that nobody begins by Begin: it has objects with alarms, or somebody
// calls its methods through a session that stays open. Each of them may use its limit, but what they use together is not
// bounded by the number of invocations, and no time is charged to an invocation because it is the only one. closed says that
// this is over.
func (m *Meter) Open() (closed func()) {
	if m == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	if !m.running && !m.closed {
		m.watchLocked()
	}
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open--
		m.budget = max(m.budget, m.share())
	})
}

// staleness is which part of a limit a reading of the clock may be old: since then the process has used at most as much, and
// a reading is a system call that a short request would feel.
const staleness = 200

// readLocked notes the clock for an invocation that begins alone.
func (m *Meter) readLocked(now time.Time) {
	if now.Sub(m.readAt) > m.Limit()/staleness {
		used, err := m.proc.CPUTime()
		if err != nil {
			return
		}
		m.readAt, m.read = now, used
	}
	m.start = m.read
}

// share is what an invocation may use in all its contexts.
func (m *Meter) share() time.Duration { return share*m.Limit() + overshoot }

// End says that an invocation's response has ended.
func (m *Meter) End() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live--
	m.ends++
	m.lastEnd = time.Now()
}

// Claim reports whether an exchange that has just broken off did so because its invocation was terminated. Each termination
// can be claimed once, for a short time.
func (m *Meter) Claim() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for len(m.claims) > 0 {
		at := m.claims[0]
		m.claims = m.claims[1:]
		if now.Sub(at) < claimable {
			return true
		}
	}
	return false
}

// watchLocked starts the goroutine.
func (m *Meter) watchLocked() {
	if m.closed {
		return
	}
	if m.nap != nil {
		m.nap.Stop()
	}
	m.running, m.lastEnd = true, time.Now()
	m.group.Go(m.run)
}

// napLocked has the clock looked at later: work after the response may begin again at any time.
func (m *Meter) napLocked(used time.Duration) {
	m.nap = time.AfterFunc(napFor, func() {
		now, err := m.proc.CPUTime()
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case err != nil, m.closed, m.running:
		case now-used > m.Limit()/2:
			m.start = now // whose that was is not known
			m.watchLocked()
		default:
			m.napLocked(now)
		}
	})
}
