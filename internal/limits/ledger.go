package limits

import (
	"math"
	"slices"
	"time"
)

// look is what a process was seen to do, and how much processor time it had used by then.
type look struct {
	Sight
	at     time.Time
	cpu    time.Duration
	asleep bool // it waits for something to do
}

// ledger charges a process's processor time to the contexts it runs, by looks at it now and then. It is plain arithmetic:
// Meter does the looking.
//
// The clock of a process that runs on another processor lags: the kernel brings it up to date when the thread is switched
// out and at its ticks, every 4 ms as a rule (thread_group_cputime). So each stretch between two looks is given to whom the
// looks saw, and when the clock advances the time is divided among the stretches since it last did.
//
// A stretch between two looks that see the same context is that context's. One at whose end alone a context is seen, or at
// whose beginning, is charged to it too, less a share for each context made meanwhile. Where others have been seen of late
// that is right only on the average. So the error is estimated, and doubt is in the context's favour: it is over its limit
// when what it has used beyond reasonable doubt reaches it.
//
// What was used in a stretch between two looks that find the process asleep stays to be charged to the next context seen.
// What was used in one that ends in the engine's own work (reading requests, moving bodies) is charged to nobody.
type ledger struct {
	limit  time.Duration
	period time.Duration // between looks at a context that may be on its way to its limit
	alive  func(Context, uintptr) bool
	event  func(Context, uintptr) (uint64, error)

	last     look
	active   time.Time     // of the last look that did not find the process asleep
	pending  []stretch     // since the clock advanced last
	carry    time.Duration // to be charged to the next context seen
	born     Context       // the newest that may have used it
	lone     bool          // no other invocation has begun since
	spent    time.Duration // charged to contexts so far, and used to collect garbage
	waste    time.Duration // of it the latter
	base     time.Duration // the clock when the last invocation began that found no other
	told     Context       // the newest context at the last look that told whose the time was
	stray    time.Duration // used in a row by JavaScript that runs in no context
	accounts map[Context]*account
	recent   [8]Context // the contexts seen last, the newest first
}

// stretch is a time between two looks.
type stretch struct {
	owner Context
	d     time.Duration
	edge  bool // the owner was seen at one end only
	waste bool // garbage was collected
	fresh int  // contexts, other than the owner, made meanwhile
}

// The owners that are no context.
const (
	engine  Context = 0           // the engine's own work
	stray   Context = ^Context(0) // JavaScript that runs in no context
	unknown Context = stray - 1
)

// account is what one context has used.
type account struct {
	place    uintptr
	event    uint64
	first    time.Duration // the clock before it was seen first
	sure     time.Duration
	engine   time.Duration // the engine's own work, which is not the context's
	waste    time.Duration // used to collect garbage
	doubtful time.Duration
	variance float64 // of what is doubtful
	seen     time.Time
	ended    int // how often it has been terminated
}

// around is how much the engine uses for an invocation before, between and after its turns, a few of them at least.
const around = time.Millisecond

// forgivenWaste is how much time to collect garbage is not charged to the context in which it happens: what a full heap takes.
const forgivenWaste = 250 * time.Millisecond

// collect notes a time in which garbage was collected.
func (a *account) collect(d time.Duration) {
	a.waste += d
	a.sure += min(d, max(0, a.waste-forgivenWaste))
}

// lone charges a time in which the engine did nothing else than run the context, and its own work for it.
func (a *account) lone(d time.Duration) {
	engine := min(d, around-a.engine)
	a.engine += engine
	a.sure += d - engine
}

// doubt charges a time of which perhaps all and perhaps nothing is the context's own.
func (a *account) doubt(d time.Duration, weight float64) {
	a.doubtful += d
	a.variance += weight * weight * float64(d) * float64(d)
}

// renew begins the account anew, for another event.
func (a *account) renew(event uint64, cpu time.Duration) {
	*a = account{place: a.place, event: event, first: cpu, seen: a.seen}
}

// least is what the context has used beyond reasonable doubt: three standard deviations.
func (a *account) least() time.Duration {
	return a.sure + max(0, a.doubtful-3*time.Duration(math.Sqrt(a.variance)))
}

// The bounds of the time between two looks.
const (
	minPeriod = 200 * time.Microsecond
	maxPeriod = 5 * time.Millisecond
	minRest   = 5 * time.Millisecond
	maxRest   = 100 * time.Millisecond
)

func newLedger(limit time.Duration, alive func(Context, uintptr) bool, event func(Context, uintptr) (uint64, error)) *ledger {
	return &ledger{event: event, limit: limit, pending: make([]stretch, 0, 64), period: clamp(limit/50, minPeriod, maxPeriod), alive: alive, accounts: map[Context]*account{}}
}

// bound sets the limit.
func (l *ledger) bound(limit time.Duration) {
	if limit != l.limit {
		l.limit, l.period = limit, clamp(limit/50, minPeriod, maxPeriod)
	}
}

// clamp returns d, but no less than low and no more than high.
func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }

// start takes a first look, or the first after a time in which nobody looked.
func (l *ledger) start(now look) {
	l.last = look{at: now.at, cpu: min(l.base, now.cpu)}
	l.pending, l.carry, l.stray = l.pending[:0], 0, 0
	l.told = now.Started
	if now.Current == now.Started && now.Current != 0 {
		l.told--
	}
	l.add(now)
}

// add takes one more look.
func (l *ledger) add(now look) {
	d := max(now.at.Sub(l.last.at), 1)
	if now.Current != 0 {
		l.see(now)
	}
	if !now.asleep {
		l.active = now.at
	}
	l.visit(now)
	was, is := owner(l.last), owner(now)
	s := stretch{owner: is, d: d, edge: was != is, waste: now.Collecting || l.last.Collecting && l.late(d)}
	switch {
	case is == unknown && l.accounts[was] != nil:
		s.owner = was
	case is == engine && l.accounts[was] != nil:
		l.pending = append(l.pending, stretch{owner: was, d: d / 2, edge: true, fresh: l.fresh(now, was)})
		s.d -= d / 2
	}
	s.fresh = l.fresh(now, s.owner)
	l.pending = append(l.pending, s)
	if s.owner != unknown {
		l.told = now.Started
	}
	used := now.cpu - l.last.cpu
	l.last = now
	if used > 0 || now.asleep || len(l.pending) == cap(l.pending) { // the clock of a thread that sleeps is exact
		l.settle(used)
	}
	if now.asleep && used > 0 {
		l.bury()
	}
}

// visit looks whether contexts that have used a part of their limit and do not run at this moment have come to another
// event. As a rule they have none in between, and the next one that is seen may be in the place of the last.
func (l *ledger) visit(now look) {
	for _, c := range l.recent {
		a := l.accounts[c]
		if a == nil || c == now.Current || a.event == 0 || a.sure+a.doubtful < l.limit/8 {
			continue
		}
		if event, err := l.event(c, a.place); err == nil && event != a.event {
			a.renew(event, now.cpu)
		}
	}
}

// owner is whose time it is at a look.
func owner(now look) Context {
	switch {
	case now.Current != 0:
		return now.Current
	case now.Entered:
		return stray
	case now.asleep:
		return unknown
	}
	return engine
}

// see notes that a context was seen.
func (l *ledger) see(now look) {
	a := l.accounts[now.Current]
	if a == nil {
		l.forget(now.at)
		a = &account{place: now.Place, event: now.Event, first: l.last.cpu - l.carry}
		l.accounts[now.Current] = a
	}
	if a.event != now.Event {
		a.renew(now.Event, l.last.cpu)
	}
	a.seen = now.at
	at := slices.Index(l.recent[:], now.Current)
	if at < 0 {
		at = len(l.recent) - 1
	}
	copy(l.recent[1:at+1], l.recent[:at])
	l.recent[0] = now.Current
}

// settle divides what was used among the stretches that are pending.
func (l *ledger) settle(used time.Duration) {
	var all time.Duration
	for _, s := range l.pending {
		all += s.d
	}
	if !l.lone {
		used = min(used, all) // the rest was used before, when the clock lagged, and perhaps by others
	}
	for _, s := range l.pending {
		l.charge(s, time.Duration(float64(used)*float64(s.d)/float64(all)))
	}
	l.pending = l.pending[:0]
}

// charge charges what was used in a stretch to its owner.
func (l *ledger) charge(s stretch, used time.Duration) {
	if s.owner == stray {
		l.stray += used
	} else {
		l.stray = 0
	}
	if s.owner == unknown {
		l.carry, l.born = l.carry+used, l.last.Started
		if !l.lone {
			l.carry = min(l.carry, l.limit/4)
		}
		return
	}
	carry := l.carry
	if s.edge {
		l.carry = 0
	}
	a := l.accounts[s.owner]
	if a == nil {
		l.carry = 0
		return
	}
	if s.waste {
		a.collect(used)
		l.carry = 0
		l.spent, l.waste = l.spent+used, l.waste+used
		return
	}
	before := a.sure + a.doubtful
	alone := s.fresh == 0 && !l.others(s.owner, l.long()+s.d)
	late := l.late(s.d)
	switch {
	case !s.edge && s.fresh == 0 && !late && !l.others(s.owner, 10*l.period), !s.edge && alone && (l.lone || !late):
		a.sure += used
	case !s.edge && !late:
		a.doubt(used/time.Duration(1+s.fresh), 0.4)
	case alone && l.lone:
		if s.owner <= l.born {
			used += carry
		}
		a.lone(min(used, l.last.cpu-l.base))
	case alone: // contexts may have run that no look has seen: those that wait, as a rule
		sure := min(used, max(l.limit/4, 4*l.period))
		a.sure += sure
		a.doubt(used-sure, 0.7)
	default:
		a.doubt(min(used/time.Duration(1+s.fresh), l.limit/4), 0.7)
	}
	if s.edge && s.owner <= l.born && !(alone && l.lone) {
		a.doubt(carry, 0.7)
	}
	l.spent += a.sure + a.doubtful - before
}

// late tells whether the second of two looks was so late that much can have happened meanwhile.
func (l *ledger) late(d time.Duration) bool { return d > 10*l.period }

// long is for how long a context that was seen once may be behind what was used between two looks.
func (l *ledger) long() time.Duration { return max(20*l.limit, 100*time.Millisecond) }

// fresh is how many contexts other than c were made since the last telling look.
func (l *ledger) fresh(now look, c Context) int {
	n := int(now.Started - l.told)
	if c > l.told && c <= now.Started {
		n--
	}
	return max(n, 0)
}

// others tells whether contexts other than c were seen of late and had work left when the process was last asleep, or have
// now where one invocation is alone.
func (l *ledger) others(c Context, d time.Duration) bool {
	for _, o := range l.recent {
		if o == 0 || o == c {
			continue
		}
		a := l.accounts[o]
		if l.last.at.Sub(a.seen) <= d && !(l.lone && !l.alive(o, a.place)) {
			return true
		}
	}
	return false
}

// bury forgets the contexts seen last that have no work left. The process is asleep, so they have used nothing since.
func (l *ledger) bury() {
	for i, c := range l.recent {
		if c != 0 && !l.alive(c, l.accounts[c].place) {
			l.recent[i] = 0
			delete(l.accounts, c)
		}
	}
}

// over tells whether the context that the last look saw has used more than it may.
func (l *ledger) over() bool {
	a := l.accounts[l.last.Current]
	return a != nil && !l.last.Collecting && a.least() >= l.limit && l.last.cpu-a.first >= l.limit
}

// mayBeOver tells whether that is so, or will turn out to be when the clock advances.
func (l *ledger) mayBeOver() bool {
	a := l.accounts[l.last.Current]
	return a != nil && !l.last.Collecting && a.least()+l.running() >= l.limit
}

// running is for how long the context that the last look saw has been running without the clock's having advanced.
func (l *ledger) running() (d time.Duration) {
	for _, s := range l.pending {
		if s.owner == l.last.Current && !s.waste {
			d += s.d
		}
	}
	return d
}

const (
	// maxAccounts bounds how many contexts are remembered.
	maxAccounts = 4096
	// forgetAfter is how long a context that does not run is remembered; less where there are too many.
	forgetAfter = 10 * time.Minute
)

// forget makes room for one more account. Most contexts not seen for a while have ended.
func (l *ledger) forget(now time.Time) {
	if len(l.accounts) < maxAccounts {
		return
	}
	for keep := forgetAfter; len(l.accounts) > maxAccounts/2; keep /= 4 {
		for c, a := range l.accounts {
			if now.Sub(a.seen) >= keep {
				delete(l.accounts, c)
			}
		}
	}
	for i, c := range l.recent {
		if l.accounts[c] == nil {
			l.recent[i] = 0
		}
	}
}

// wait is how long the next look can wait while some invocations are live, the newest begun at the given time.
func (l *ledger) wait(live int, newest time.Time) time.Duration {
	now := l.last
	if now.Collecting {
		return l.period
	}
	if a := l.accounts[now.Current]; a != nil {
		switch left := l.limit - a.least() - l.running(); {
		case left <= 0:
			return l.period
		case a.sure+a.doubtful+l.running() < l.limit/8: // as most that are seen will have ended by the next look
			return max(l.limit/16, l.period)
		case l.lone && !l.others(now.Current, l.long()): // looks add nothing to what the clock tells
			return clamp(left, minPeriod/2, max(l.limit/16, l.period))
		default:
			return clamp(left, minPeriod/2, l.period)
		}
	}
	if now.Entered || l.owes(10*l.period) {
		return l.period
	}
	rest := clamp(l.limit, minRest, maxRest)
	idle := now.at.Sub(l.active)
	switch {
	case now.asleep && (live == 0 || l.lone && now.cpu-l.base < l.limit/8) && !l.owes(math.MaxInt64):
		rest = clamp(idle/4, l.limit/8, rest)
	case now.asleep:
		rest = clamp(idle/16, l.period, rest)
	}
	if live == 0 {
		return rest
	}
	// One that has just begun is looked at when it is old enough to have used a part of its limit.
	if young := l.limit/4 - now.at.Sub(newest); young > 0 {
		return clamp(young, l.period, rest)
	}
	if !now.asleep {
		return clamp(l.limit/8, l.period, rest)
	}
	return rest
}

// owes tells whether a context that has used a part of its limit, and was seen so short a time ago, may run again.
func (l *ledger) owes(ago time.Duration) bool {
	for _, c := range l.recent {
		a := l.accounts[c]
		if a != nil && a.sure+a.doubtful >= l.limit/8 && l.last.at.Sub(a.seen) < ago {
			return true
		}
	}
	return false
}
