package binding

import (
	"encoding/json"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/isolate"
)

// open makes a lane that leads somewhere.
func open(ls *lanes, key laneKey) *lane {
	l, _ := ls.ask(key)
	ls.leads(l, nil, nil)
	return l
}

func TestLanesMeet(t *testing.T) {
	var ls lanes
	key := laneKey{&isolate.Process{}, 0, 0}
	waiting := ls.await(key)
	l, first := ls.ask(key)
	if l != waiting || !first {
		t.Error("the lane that a session waits for is not the one that is asked for")
	}
	if again, first := ls.ask(key); again != l || first {
		t.Error("a second connection has a lane of its own")
	}
	ls.leads(l, nil, nil)
	ls.leave(l)
	if l.over {
		t.Error("the lane is over while it has a connection")
	}
	ls.leave(l)
	if !l.over || l.ctx.Err() == nil {
		t.Error("the lane is not over without a connection")
	}
	if next := ls.await(key); next == l {
		t.Error("a session waits for a lane that is over")
	}

	failed, _ := ls.ask(laneKey{key.process, 1, 0})
	ls.leads(failed, nil, dispatch.ErrCrashed)
	ls.leave(failed)
	if l := ls.await(laneKey{key.process, 1, 0}); l.err == nil {
		t.Error("a session is not told that its lane leads nowhere")
	}
	if _, first := ls.ask(laneKey{key.process, 1, 0}); !first {
		t.Error("a lane that led nowhere is not tried again")
	}
}

// A replaced process's lane gives way to the next. What has been held for longest breaks off one deploy before its lane is
// needed again.
func TestLanesReplace(t *testing.T) {
	var ls lanes
	p := &isolate.Process{}
	var all []*lane
	next := 0
	for i := range isolate.Lanes + 3 {
		l := open(&ls, laneKey{p, 0, next})
		all = append(all, l)
		ls.replace(l)
		var told map[int]int
		if err := json.Unmarshal([]byte(p.LaneNews()), &told); err != nil {
			t.Fatal(err)
		}
		next = told[0]
		if other := ls.all[laneKey{p, 0, next}]; other != nil && !other.over {
			t.Errorf("deploy %d: lane %d is told while it leads elsewhere", i, next)
		}
		for j, l := range all {
			if want := i-j >= isolate.Lanes-2; l.over != want {
				t.Errorf("after deploy %d, what came by lane %d of deploy %d is over: %v", i, l.key.lane, j, l.over)
			}
		}
	}
	last := all[len(all)-1]
	ls.replace(last)
	if last.over {
		t.Error("a process that was replaced before is replaced again")
	}
}

func TestLanesUseless(t *testing.T) {
	var ls lanes
	now := time.Now()
	for _, c := range []struct {
		name            string
		sessions        int
		sinceUse, stale time.Duration // ago; 0: it is not stale
		want            bool
	}{
		{"busy", 1, time.Hour, 0, false},
		{"idle", 0, laneIdle + 1, 0, true},
		{"resting", 0, laneIdle - 1, 0, false},
		{"stale-and-quiet", 0, laneQuiet + 1, laneQuiet + 1, true},
		{"stale-and-just-used", 0, 1, laneQuiet + 1, false},
		{"just-stale", 0, laneQuiet + 1, 1, false},
		{"stale-and-busy", 1, laneQuiet + 1, laneStale - 1, false},
		{"stale-and-busy-for-too-long", 1, 1, laneStale + 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &lane{sessions: map[*visit]struct{}{}, lastUse: now.Add(-c.sinceUse)}
			for range c.sessions {
				l.sessions[&visit{lane: l}] = struct{}{}
			}
			if c.stale > 0 {
				l.stale = now.Add(-c.stale)
			}
			if got := ls.useless(l, now); got != c.want {
				t.Errorf("useless: %v", got)
			}
		})
	}
}

// A user Worker calls by so many sessions at once and no more, whatever the lanes, and others call none the less.
func TestSessionsOfACaller(t *testing.T) {
	var ls lanes
	mallory := &isolate.Process{Spec: isolate.Spec{Ref: atoll.ScriptRef{Namespace: "production"}}}
	one, two := open(&ls, laneKey{mallory, 0, 0}), open(&ls, laneKey{mallory, 1, 0})
	var all []*visit
	for i := range maxSessions {
		v := ls.begin([]*lane{one, two}[i%2])
		if v == nil {
			t.Fatalf("session %d is refused", i)
		}
		all = append(all, v)
	}
	if ls.begin(one) != nil || ls.begin(two) != nil {
		t.Error("there are more sessions than there may be")
	}
	for _, p := range []*isolate.Process{{Spec: mallory.Spec}, {}} {
		if v := ls.begin(open(&ls, laneKey{p, 0, 0})); v == nil {
			t.Error("another's session is refused")
		} else {
			ls.done(v)
		}
	}
	ls.done(all[0])
	if all[0] = ls.begin(two); all[0] == nil {
		t.Error("there is no room after a session has ended")
	}
	for _, v := range all {
		ls.done(v)
	}
	if len(ls.sessions)+len(one.sessions)+len(two.sessions) != 0 {
		t.Errorf("%d callers are remembered", len(ls.sessions))
	}
}

// A lane with a session that lasts for too long takes no more, and ends later, when those that it has taken have had their
// time, too.
func TestLanesWear(t *testing.T) {
	const wall = time.Minute
	for _, c := range []struct {
		name          string
		ages          []time.Duration
		worn, overdue bool
	}{
		{"nobody", nil, false, false},
		{"young", []time.Duration{0, wall}, false, false},
		{"old", []time.Duration{0, wall + 1}, true, false},
		{"not-too-old", []time.Duration{2 * wall, wall / 2}, true, false},
		{"too-old", []time.Duration{1, 2*wall + 1}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ls lanes
			l, now := open(&ls, laneKey{&isolate.Process{}, 0, 0}), time.Now()
			for _, age := range c.ages {
				ls.begin(l).since = now.Add(-age)
			}
			if worn := ls.wear(l, now, wall); worn != c.worn || ls.outlasted(l) != c.overdue {
				t.Errorf("worn %v, overdue %v", worn, ls.outlasted(l))
			}
			if !c.worn {
				return
			}
			ls.replace(l)
			if ls.wear(l, now, wall) {
				t.Error("a lane is worn out twice")
			}
			if ls.useless(l, now.Add(wall/2+laneStale)) {
				t.Error("sessions end as if the process had been replaced")
			}
			l.key.process.RepeatLanes()
			if l.key.process.LaneNews() != `{"0":1}` {
				t.Errorf("the calling process is told %s", l.key.process.LaneNews())
			}
		})
	}
}
