package limits

import (
	"time"

	"atoll.dev/atoll/internal/terminate"
)

// look is what a process was seen to do, and how much processor time it had used by then.
type look struct {
	terminate.Sight
	at      time.Time
	cpu     time.Duration
	running bool // the clock was advancing just then
}

// ledger charges a process's processor time to the requests it serves, by looks at it now and then. It is plain
// arithmetic: Meter does the looking.
//
// Between two looks that see the same request, and no new one, all time is that request's. Otherwise the time since it was
// last known whose it is goes to the request that is seen, in shares: as many as others may have run meanwhile. Those
// shares are doubtful, and doubt is in a request's favour: it is over its limit when the time that is surely its own
// reaches it, or when all that was charged reaches one and a half times as much.
//
// Looks are at moments of the wall clock, and what is wanted are moments of the processor clock. So a look that finds the
// process asleep decides nothing: what was used since the last telling look stays to be charged. One that finds it at work
// of its own (reading requests, moving bodies) charges that to nobody.
type ledger struct {
	limit  time.Duration
	period time.Duration // between looks at a request that may be on its way to its limit

	last     look
	active   time.Time         // when the clock was last seen to have advanced
	carry    time.Duration     // used since the last telling look
	told     terminate.Context // the newest context at that look
	stray    time.Duration     // of JavaScript that no request runs, in a row
	accounts map[terminate.Context]*account
	recent   [8]terminate.Context // seen by the last telling looks
	next     int                  // place in recent
}

// account is what one request has used.
type account struct {
	sure     time.Duration
	doubtful time.Duration
	seen     time.Time
	ended    int // how often it has been terminated
}

// The bounds of the time between two looks.
const (
	minPeriod = 200 * time.Microsecond
	maxPeriod = 5 * time.Millisecond
	minRest   = 5 * time.Millisecond
	maxRest   = 100 * time.Millisecond
)

func newLedger(limit time.Duration) *ledger {
	return &ledger{limit: limit, period: min(max(limit/50, minPeriod), maxPeriod), accounts: map[terminate.Context]*account{}}
}

// start takes a first look, or the first after a time in which nobody looked. used is the process's time at a moment since
// which at most one request has begun.
func (l *ledger) start(now look, used time.Duration) {
	l.last = look{at: now.at, cpu: used, Sight: terminate.Sight{Started: now.Started}}
	l.carry, l.stray, l.active = 0, 0, now.at
	l.told = now.Started
	if now.Current == now.Started && now.Current != terminate.None {
		l.told-- // the request that has begun
	}
	l.add(now)
}

// add takes one more look.
func (l *ledger) add(now look) {
	used := now.cpu - l.last.cpu
	l.carry += used
	if used > 0 {
		l.active = now.at
	}
	switch {
	case now.Current != terminate.None:
		l.charge(now)
		l.tell(now)
		l.stray = 0
	case now.Entered:
		if l.last.Entered && l.last.Current == terminate.None {
			l.stray += used
		} else {
			l.stray = 0
		}
		l.tell(now)
	default:
		if now.running {
			l.tell(now)
		}
		l.stray = 0
	}
	l.last = now
}

// tell says that all time up to now has its owner.
func (l *ledger) tell(now look) { l.carry, l.told = 0, now.Started }

// charge charges what is to be charged to the request that is seen.
func (l *ledger) charge(now look) {
	a := l.accounts[now.Current]
	if a == nil {
		l.forget(now.at)
		a = &account{}
		l.accounts[now.Current] = a
	}
	a.seen = now.at
	others := l.others(now)
	switch same := l.last.Current == now.Current && now.cpu-l.last.cpu <= 4*l.period; {
	case same && l.told == now.Started:
		a.sure += l.carry
	case others == 0:
		sure := min(l.carry, max(l.limit/4, 4*l.period))
		a.sure += sure
		a.doubtful += l.carry - sure // there may have been requests that wait, as a rule, and that no look has seen
	default:
		a.doubtful += min(l.carry/time.Duration(1+others), l.limit/4)
	}
	l.recent[l.next] = now.Current
	l.next = (l.next + 1) % len(l.recent)
}

// others is how many requests other than the one seen may have run since the last telling look: those that were made
// since, and those that other looks have seen of late.
func (l *ledger) others(now look) int {
	n := int(now.Started - l.told)
	if now.Current > l.told && n > 0 {
		n--
	}
	for i, c := range l.recent {
		if c == terminate.None || c == now.Current {
			continue
		}
		first := true
		for _, d := range l.recent[:i] {
			first = first && c != d
		}
		if first && now.at.Sub(l.accounts[c].seen) < 50*l.period {
			n++
		}
	}
	return n
}

// over tells whether the request that the last look saw has used more than it may.
func (l *ledger) over() bool {
	a := l.accounts[l.last.Current]
	return a != nil && (a.sure >= l.limit || a.sure+a.doubtful >= l.limit*3/2)
}

// forgetAfter is after how long a request that does not run is forgotten. Requests that wait longer are as new.
const forgetAfter = 10 * time.Minute

// forget drops the accounts of requests that have ended: most of those not seen for a while, once there are many.
func (l *ledger) forget(now time.Time) {
	if len(l.accounts) < 1024 {
		return
	}
	for keep := forgetAfter; len(l.accounts) >= 1024; keep /= 4 {
		for c, a := range l.accounts {
			if now.Sub(a.seen) >= keep {
				delete(l.accounts, c)
			}
		}
	}
	for i, c := range l.recent {
		if l.accounts[c] == nil {
			l.recent[i] = terminate.None
		}
	}
}

// flights are the requests that have been sent to a process and not been answered whole.
type flights struct {
	n              int
	oldest, newest time.Time // when they began
}

// wait is how long it will take at least until the next look is worth its while.
func (l *ledger) wait(f flights) time.Duration {
	now := l.last
	if a := l.accounts[now.Current]; a != nil {
		if left := l.limit - a.sure; left > 0 {
			return min(max(left, minPeriod/2), l.period)
		}
		return l.period
	}
	if now.Entered || l.suspects(now.at) {
		return l.period
	}
	rest := min(max(l.limit, minRest), maxRest)
	if idle := now.at.Sub(l.active); idle > 0 {
		rest = min(max(idle/8, l.period), rest)
	}
	if f.n == 0 {
		return rest
	}
	// A request is looked at when it is old enough to have used a part of its limit.
	young := l.limit / 4
	switch {
	case now.at.Sub(f.newest) < young:
		rest = min(rest, young-now.at.Sub(f.newest))
	case now.at.Sub(l.active) <= 0:
		rest = min(rest, l.limit/8)
	}
	if until := young - now.at.Sub(f.oldest); until > 0 {
		rest = min(rest, until)
	}
	return max(rest, l.period)
}

// suspects tells whether a request that has used a part of its limit was seen a moment ago.
func (l *ledger) suspects(now time.Time) bool {
	for _, c := range l.recent {
		a := l.accounts[c]
		if a != nil && a.sure+a.doubtful >= l.limit/8 && now.Sub(a.seen) < 10*l.period {
			return true
		}
	}
	return false
}
