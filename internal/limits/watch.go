package limits

import (
	"errors"
	"time"
)

// run looks at the process until it is not in use any more, or has ended.
func (m *Meter) run() {
	first := true
	var dark progress
	pause := m.pause
	if pause == nil {
		t := newTimer()
		defer func() { _ = t.close() }()
		pause = t.wait
	}
	for {
		m.books.bound(m.Limit())
		now, err := m.look()
		switch {
		case errors.Is(err, ErrBlind):
			if dark.hog(m, now) {
				m.proc.Kill(errHog)
				m.stop(0, false)
				return
			}
		case err != nil: // the process is gone
			m.stop(0, false)
			return
		case first:
			m.books.base, m.books.lone = m.company()
			m.books.start(now)
			first = false
		default:
			m.books.base, m.books.lone = m.company()
			m.books.add(now)
		}
		if !m.judge() {
			m.stop(0, false)
			return
		}
		wait, on := m.next(now, err != nil)
		if !on || !m.rest(wait, pause) {
			return
		}
	}
}

// company tells when the last invocation began that found no other, and whether it is the only one still.
func (m *Meter) company() (since time.Duration, lone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.start, m.live <= 1 && !m.joined && m.open == 0
}

// look looks at the process. One during which the node had to wait for the processor tells of several moments, so it is taken
// again.
func (m *Meter) look() (now look, err error) {
	for range 5 {
		if now, err = m.glance(); err != nil || time.Since(now.at) < minPeriod {
			break
		}
	}
	return now, err
}

// glance is one try at that. While the process is loading it sees nobody.
func (m *Meter) glance() (look, error) {
	now := look{at: time.Now()}
	var err error
	if now.cpu, err = m.proc.CPUTime(); err != nil {
		return now, err
	}
	if now.Sight, err = m.proc.Look(); err != nil {
		if !errors.Is(err, ErrBlind) {
			err = nil // it is loading, which is no invocation's time
		}
		return now, err
	}
	if now.Current == 0 && !now.Entered {
		now.asleep, err = m.proc.Asleep()
	}
	return now, err
}

// judge acts on the last look. It returns false when the process has been killed.
func (m *Meter) judge() bool {
	var why error
	switch {
	case m.books.stray > m.Limit()+maxStray:
		why = errStray
	case m.spend():
		why = errSwarm
	case m.books.mayBeOver():
		why = m.terminate(m.books.last.Current)
	}
	if why != nil {
		m.proc.Kill(why)
	}
	return why == nil
}

// spend takes what contexts have used off the budget, and tells whether that has been used up.
func (m *Meter) spend() bool {
	spent := m.books.spent
	m.books.spent = 0
	if spent == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open > 0 {
		return false
	}
	m.budget -= spent
	return m.budget < -m.share()-min(m.books.waste, forgivenWaste)
}

// terminate ends what c runs, if it has used more than it may. An error means that the process has to be killed.
func (m *Meter) terminate(c Context) error {
	a := m.books.accounts[c]
	// Noted before, since the exchange may break off before Terminate returns.
	m.mu.Lock()
	m.claims = append(m.claims, time.Now())
	m.mu.Unlock()
	over := func() bool { // the process is stopped now, and its clock is exact
		now, err := m.look()
		if err == nil {
			m.books.add(now)
		}
		return err == nil && now.Current == c && m.books.over()
	}
	outcome, err := m.proc.Terminate(c, over, m.late())
	if outcome == Terminated {
		if a.ended++; a.ended == 1 {
			m.lose(a.sure + a.doubtful)
		}
		if a.ended > maxEnds {
			return errUndead
		}
		return nil
	}
	m.mu.Lock()
	if n := len(m.claims); n > 0 {
		m.claims = m.claims[:n-1]
	}
	m.mu.Unlock()
	if err == nil && outcome == Overdue {
		err = errOverdue
	}
	return err
}

// late returns a function that tells whether a termination takes too long, by the process's own clock: on a busy machine
// it may have to wait for the processor.
func (m *Meter) late() func() bool {
	grace := max(m.Limit(), minGrace)
	start, _ := m.proc.CPUTime()
	end := time.Now().Add(graceWall * grace)
	return func() bool {
		used, err := m.proc.CPUTime()
		return err != nil || used-start > grace || time.Now().After(end)
	}
}

// next is how long to wait for the next look; false ends the goroutine.
func (m *Meter) next(now look, blind bool) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == 0 && now.at.Sub(m.lastEnd) > linger && now.at.Sub(m.books.active) > linger {
		m.stopLocked(now.cpu, true)
		return 0, false
	}
	wait := clamp(m.Limit()/4, maxPeriod, maxRest)
	if !blind {
		wait = m.books.wait(m.live, m.newest)
	}
	m.resting = now.at.Add(wait)
	return wait, true
}

// rest waits, by pause where it is short, and less than that when an invocation begins meanwhile. It returns false when the
// Meter is closed.
func (m *Meter) rest(d time.Duration, pause func(time.Duration)) bool {
	// Looks that kept time would see one of two contexts in step with them, and never the other.
	d = d*3/4 + time.Duration(m.dice.Int64N(int64(d/2)))
	if d < 2*time.Millisecond {
		pause(d)
		select {
		case <-m.done:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-m.done:
		return false
	case <-timer.C:
		return true
	case <-m.wake:
		timer.Reset(m.Limit() / 4)
	}
	select {
	case <-m.done:
		return false
	case <-timer.C:
		return true
	}
}

func (m *Meter) stop(used time.Duration, nap bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopLocked(used, nap)
}

func (m *Meter) stopLocked(used time.Duration, nap bool) {
	m.running = false
	if nap && !m.closed {
		m.napLocked(used)
	}
}

// progress is how a hog is told where nobody can be seen: the thread is busy, and nobody gets an answer.
type progress struct {
	ends int
	cpu  time.Duration // when the last answer was seen to end
	at   time.Time
}

// hog tells whether one invocation must have used more than its limit. With others about it takes twice as much to be sure.
func (p *progress) hog(m *Meter, now look) bool {
	m.mu.Lock()
	live, ends, newest := m.live, m.ends, m.newest
	m.mu.Unlock()
	if p.at.IsZero() || ends != p.ends || live == 0 {
		*p = progress{ends, now.cpu, now.at}
		return false
	}
	used := now.cpu - p.cpu
	if ends == 0 {
		used -= maxStray // it may still be loading
	}
	if live == 1 && newest.Before(p.at) {
		return used > m.Limit()
	}
	return used > max(2*m.Limit(), minGrace)
}
