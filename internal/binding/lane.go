package binding

import (
	"context"
	"sync"
	"time"

	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/isolate"
)

const (
	// laneIdle is how long a lane without a session is kept.
	laneIdle = 60 * time.Second
	// laneQuiet is how long a lane to a replaced process is kept after its last session: sessions may be on their way.
	laneQuiet = time.Second
	// laneStale is how long one may have sessions.
	laneStale = 5 * time.Minute
	// laneTold is how long it is remembered what became of a lane, and laneFailed that none came about.
	laneTold   = 5 * time.Second
	laneFailed = time.Second
	// laneLook is how often lanes are looked at.
	laneLook = 250 * time.Millisecond
)

// laneKey names one of the ways to a called Worker that a service binding of a process has to choose from for RPC.
type laneKey struct {
	process       *isolate.Process // that calls
	binding, lane int
}

// lane is such a way, to one process of the Worker that is called. The engine takes it by one connection, or by several
// that it makes at the same time.
type lane struct {
	key   laneKey
	ctx   context.Context // ends with the lane
	cut   context.CancelFunc
	asked chan struct{} // closed when the process has asked to be connected
	ready chan struct{} // closed when line or err is set
	line  *dispatch.Line
	err   error

	// Guarded by the lanes' lock.
	connections int
	sessions    map[*visit]struct{}
	lastUse     time.Time
	stale       time.Time // since it is to take no new sessions; zero: it takes them
	worn        bool      // for the age of a session, and not for its process, which has been replaced
	over        bool
	ended       time.Time // since when it is over
	overdue     bool      // a session has lasted for too long
}

// visit is a session by a lane.
type visit struct {
	lane  *lane
	since time.Time
}

// lanes are those of all processes. The zero value is ready to use.
//
// A session may last as long as a request. Nothing ends one without its connection, so a lane with an older one takes no
// new ones, and ends when one has lasted twice as long: by then the others have had their time, too.
type lanes struct {
	mu       sync.Mutex
	all      map[laneKey]*lane
	sessions map[*isolate.Process]int // by who calls
}

// maxSessions is how many RPC sessions a user Worker's process may have called at once: each is a connection of the process
// that is called, which may serve all others, too. It is what it may have of other connections.
const maxSessions = 1024

// begin counts a session by a lane; nil where its caller has as many as it may.
func (ls *lanes) begin(l *lane) *visit {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	p := l.key.process
	if ls.sessions[p] >= maxSessions && p.Spec.Ref.Namespace != "" {
		return nil
	}
	if ls.sessions == nil {
		ls.sessions = map[*isolate.Process]int{}
	}
	ls.sessions[p]++
	v := &visit{l, time.Now()}
	if l.sessions == nil {
		l.sessions = map[*visit]struct{}{}
	}
	l.sessions[v] = struct{}{}
	l.lastUse = v.since
	if !l.stale.IsZero() {
		p.RepeatLanes() // it has not heard
	}
	return v
}

// done says that a session has ended.
func (ls *lanes) done(v *visit) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	p := v.lane.key.process
	if ls.sessions[p]--; ls.sessions[p] == 0 {
		delete(ls.sessions, p)
	}
	delete(v.lane.sessions, v)
	v.lane.lastUse = time.Now()
}

// ask returns the lane that a process asks to be connected by, and whether it is the first to ask for it, and so to say
// where it leads. leave must be called.
func (ls *lanes) ask(key laneKey) (l *lane, first bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l = ls.all[key]; l == nil || l.over {
		l = ls.addLocked(key)
	}
	l.connections++
	select {
	case <-l.asked:
		return l, false
	default:
		close(l.asked)
		return l, true
	}
}

// await returns the lane that a session comes by, which may not be connected yet.
func (ls *lanes) await(key laneKey) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.all[key]; l != nil && (!l.over || l.err != nil) {
		return l
	}
	return ls.addLocked(key)
}

func (ls *lanes) addLocked(key laneKey) *lane {
	l := &lane{key: key, asked: make(chan struct{}), ready: make(chan struct{}), lastUse: time.Now()}
	l.ctx, l.cut = context.WithCancel(context.Background())
	if ls.all == nil {
		ls.all = map[laneKey]*lane{}
	}
	ls.all[key] = l
	return l
}

// find returns a lane that has led somewhere, though it may be over, or nil.
func (ls *lanes) find(key laneKey) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.all[key]
	if l == nil || l.line == nil {
		return nil
	}
	return l
}

// leads says where the lane leads to, or why to nothing.
func (ls *lanes) leads(l *lane, line *dispatch.Line, err error) {
	ls.mu.Lock()
	l.line, l.err = line, err
	ls.mu.Unlock()
	close(l.ready)
}

// leave takes back one ask. The last one ends the lane.
func (ls *lanes) leave(l *lane) {
	ls.mu.Lock()
	l.connections--
	last := l.connections == 0
	ls.mu.Unlock()
	if last {
		ls.end(l)
	}
}

// end says that the lane is over: the next that asks for it gets another. What became of it is remembered for a while.
func (ls *lanes) end(l *lane) {
	ls.mu.Lock()
	if l.over {
		ls.mu.Unlock()
		return
	}
	l.over, l.ended = true, time.Now()
	told := laneTold
	if l.err != nil {
		told = laneFailed
	}
	ls.mu.Unlock()
	l.cut()
	if l.line != nil {
		l.line.Close()
	}
	time.AfterFunc(told, func() { ls.forget(l) })
}

func (ls *lanes) forget(l *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.all[l.key] == l {
		delete(ls.all, l.key)
	}
}

// replace says that the lane takes no new sessions, and has the calling process use another lane. One more is
// always kept free for the next time, so that the engine has seen its connection end by then: where there is none, the lane
// that has been stale for longest ends, and its sessions break off.
func (ls *lanes) replace(l *lane) {
	if oldest := ls.replaced(l); oldest != nil {
		ls.end(oldest)
	}
}

func (ls *lanes) replaced(l *lane) (oldest *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.over || !l.stale.IsZero() {
		return nil
	}
	l.stale = time.Now()
	next, free := -1, 0
	var since time.Time // the next one has been free
	for i := 1; i < isolate.Lanes; i++ {
		key := l.key
		key.lane = (l.key.lane + i) % isolate.Lanes
		other := ls.all[key]
		switch {
		case other != nil && !other.over:
			if oldest == nil || other.stale.Before(oldest.stale) {
				oldest = other
			}
			continue
		case other == nil && (next < 0 || !since.IsZero()):
			next, since = key.lane, time.Time{}
		case other != nil && (next < 0 || other.ended.Before(since)):
			next, since = key.lane, other.ended
		}
		free++
	}
	if next < 0 {
		next = oldest.key.lane
	}
	if free > 1 {
		oldest = nil
	}
	l.key.process.SetLane(l.key.binding, next)
	return oldest
}

// tend ends the lane when it is of no more use, and returns when the lane is over. wall is how long a session may last.
func (ls *lanes) tend(l *lane, wall time.Duration) {
	tick := time.NewTicker(laneLook)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case now := <-tick.C:
			if ls.wear(l, now, wall) {
				ls.replace(l)
			}
			if ls.useless(l, now) || ls.outlasted(l) {
				ls.end(l)
				return
			}
		}
	}
}

// wear looks at the age of a lane's sessions, and tells whether the lane is to take no more from now on.
func (ls *lanes) wear(l *lane, now time.Time, wall time.Duration) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var age time.Duration
	for v := range l.sessions {
		age = max(age, now.Sub(v.since))
	}
	l.overdue = age > 2*wall
	if age <= wall || !l.stale.IsZero() {
		return false
	}
	l.worn = true
	return true
}

// outlasted tells whether a lane has ended, or is to, since a session lasted for too long.
func (ls *lanes) outlasted(l *lane) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.overdue
}

func (ls *lanes) useless(l *lane, now time.Time) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	idle := len(l.sessions) == 0
	if idle && now.Sub(l.lastUse) > laneIdle {
		return true
	}
	if l.stale.IsZero() {
		return false
	}
	quiet := idle && now.Sub(l.lastUse) > laneQuiet && now.Sub(l.stale) > laneQuiet
	return quiet || !l.worn && now.Sub(l.stale) > laneStale
}
