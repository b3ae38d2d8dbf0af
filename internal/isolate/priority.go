package isolate

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A user Worker that uses much of a processor yields to those that use little: nobody loses anything while the machine has
// time to spare, and on a busy one a tenant's short request does not wait behind another's loop.
const (
	yieldNice = 15 // of a Worker that uses much; 0 is everybody else's
	// Those that lately have run more than half of the time that they did not wait for a processor use much, until that is
	// less than a quarter. On a machine that is busy beyond its means nobody gets half a processor.
	yieldAbove = 0.5
	yieldBelow = 0.25
	// yieldMemory is how much of what lately was is left after one look.
	yieldMemory = 0.7
)

// usage is how much of a processor a process has used lately.
type usage struct {
	at       time.Time
	spent    spent
	part     float64
	yielding bool
}

// spent is the time that a thread has run, and waited to.
type spent struct{ run, wait time.Duration }

// look takes the thread's clocks and tells whether its priority is to change.
func (u *usage) look(now time.Time, s spent) (change bool) {
	wall := now.Sub(u.at)
	run, wait := s.run-u.spent.run, s.wait-u.spent.wait
	first := u.at.IsZero()
	u.at, u.spent = now, s
	if first || wall <= 0 {
		return false
	}
	// A process that was not in use is not looked at: what it used once has faded by now.
	rounds := max(1, float64(wall)/float64(watchEvery))
	kept := 1.0
	for range int(min(rounds, 50)) {
		kept *= yieldMemory
	}
	u.part = kept*u.part + (1-kept)*float64(run)/float64(max(wall-wait, run, 1))
	if u.yielding && u.part < yieldBelow || !u.yielding && u.part > yieldAbove {
		u.yielding = !u.yielding
		return true
	}
	return false
}

// watchPriority has the process yield while it uses much. It is called by one goroutine.
func (p *Process) watchPriority(now time.Time) {
	if p.Spec.Ref.Namespace == "" {
		return // all tenants wait for a platform Worker
	}
	if p.hurries.Load() {
		p.usage = usage{}
		return
	}
	s, err := threadTime(p.Pid())
	if err != nil || !p.usage.look(now, s) {
		return
	}
	nice := 0
	if p.usage.yielding {
		nice = yieldNice
	}
	if err := setNice(p.Pid(), nice); err != nil {
		p.lg.Debug("priority not changed", "script", p.Spec.Ref.String(), "isolate", p.ID, "nice", nice, "err", err)
	}
}

// hurryAfter is how long a process that yields may take to obey before it does not yield any more.
const hurryAfter = 100 * time.Millisecond

// hurried returns late, which is asked while the process is waited for, and has the process no longer yield when that takes
// a while: it would be killed for what is only the others' due.
func (p *Process) hurried(late func() bool) func() bool {
	began := time.Now()
	return func() bool {
		if time.Since(began) > hurryAfter && !p.hurries.Swap(true) && p.Spec.Ref.Namespace != "" {
			if err := setNice(p.Pid(), 0); err != nil {
				p.lg.Debug("priority not changed", "script", p.Spec.Ref.String(), "isolate", p.ID, "nice", 0, "err", err)
			}
		}
		return late()
	}
}

// threadTime reads the times of a process's first thread, which runs its JavaScript: "Per-task statistics" of the kernel's
// scheduler/sched-stats.rst.
func threadTime(pid int) (s spent, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err == nil {
		_, err = fmt.Sscan(string(b), (*int64)(&s.run), (*int64)(&s.wait))
	}
	return s, err
}

// setNice sets the priority of a process that leads a session. Where the kernel groups sessions (sched(7), autogroup), the
// group's is what counts, and everybody may set it back; elsewhere it takes privileges to do so, and without them nothing
// is changed.
func setNice(pid, nice int) error {
	err := os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(nice)), 0)
	if err == nil && autogrouped() {
		return nil
	}
	if os.Geteuid() != 0 {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, pid, nice)
}

func autogrouped() bool {
	b, err := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled")
	return err == nil && len(b) > 0 && b[0] == '1'
}
