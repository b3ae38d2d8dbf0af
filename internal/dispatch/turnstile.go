package dispatch

import (
	"context"
	"sync"
	"time"
)

// turnstile lets requests into a platform Worker, which all tenants share and which does one thing at a time. Only so many
// may wait in its process for its attention; the others wait here, a queue a tenant, and the tenants take turns. So a tenant
// that sends as many requests as it can delays its own, and those of others by no more than their number asks for.
//
// A request has had the Worker's attention when it has sent something or answered, and all have when its processes have
// nothing to do. One that has not had it after a second is not waited for, nor is one with a body, which the Worker may want
// to read first: so nobody's slow requests keep anybody out. Who is inside is the engine's to choose among, and it is not fair: measured with
// 300 requests of one tenant under way, another's single one took 0.26 s and up to 6 s without the turnstile, 0.06 s and
// up to 0.11 s with it.
type turnstile struct {
	width int
	cpu   func() time.Duration // what the Worker's processes have used

	mu      sync.Mutex
	passed  []*pass // oldest first; some may be done
	inside  int     // of them not done
	queues  map[string][]*pass
	turns   []string // the tenants that have a queue, next first
	waiting int
	ticking bool          // somebody waits, and again will be called
	used    time.Duration // what cpu told
	looked  time.Time     // when
}

// pass is one request's way through a turnstile.
type pass struct {
	gate *turnstile
	at   time.Time     // when it was let in
	in   chan struct{} // closed when it is; nil where it did not have to wait
	done bool
	gone bool // it waits no more
}

const (
	// widthPerCore is how many requests may wait in a process for each core: enough to keep it busy.
	widthPerCore = 16
	// attention is how long a request is taken to wait for the Worker's attention, at the most.
	attention = time.Second
	// glance is how often it is looked whether the processes have anything to do, while somebody waits.
	glance = 100 * time.Millisecond
	// maxWaiting is how many requests of one tenant may wait here.
	maxWaiting = 4000
)

// enter waits for a tenant's turn. Its pass is to be given back by leave.
func (g *turnstile) enter(ctx context.Context, tenant string) (*pass, error) {
	p := &pass{gate: g}
	g.mu.Lock()
	now := time.Now()
	g.expireLocked(now, attention)
	if g.inside < g.width && g.waiting == 0 {
		g.letInLocked(p, now)
		g.mu.Unlock()
		return p, nil
	}
	if len(g.queues[tenant]) >= maxWaiting {
		g.mu.Unlock()
		return nil, ErrBusy
	}
	p.in = make(chan struct{})
	if g.queues == nil {
		g.queues = map[string][]*pass{}
	}
	if len(g.queues[tenant]) == 0 {
		g.turns = append(g.turns, tenant)
	}
	g.queues[tenant] = append(g.queues[tenant], p)
	g.waiting++
	g.admitLocked(now)
	g.mu.Unlock()
	select {
	case <-p.in:
		return p, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.at.IsZero() {
		p.gone = true
		g.waiting--
	} else {
		g.leaveLocked(p, time.Now())
	}
	return nil, context.Cause(ctx)
}

// leave says that the request has had the Worker's attention. It may be called again, and of no pass.
func (p *pass) leave() {
	if p == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaveLocked(p, time.Now())
}

// turn waits until it is the turn of the call's tenant to call a platform Worker; nil: nobody has to wait.
func (s *script) turn(ctx context.Context, c Call) (*pass, error) {
	if c.Tenant == "" || s.ref.Namespace != "" {
		return nil, nil
	}
	p, err := s.gate.enter(ctx, c.Tenant)
	if err == nil && c.Request.Body != nil {
		p.leave() // the Worker may read it first, and the client take its time
	}
	return p, err
}

func (g *turnstile) leaveLocked(p *pass, now time.Time) {
	if p.done {
		return
	}
	p.done = true
	g.inside--
	g.expireLocked(now, attention)
	g.admitLocked(now)
}

func (g *turnstile) letInLocked(p *pass, now time.Time) {
	p.at = now
	g.passed = append(g.passed, p)
	g.inside++
}

// expireLocked stops waiting for those that have been inside for so long.
func (g *turnstile) expireLocked(now time.Time, d time.Duration) {
	n := 0
	for n < len(g.passed) && (g.passed[n].done || now.Sub(g.passed[n].at) >= d) {
		if !g.passed[n].done {
			g.passed[n].done = true
			g.inside--
		}
		n++
	}
	clear(g.passed[:n])
	g.passed = g.passed[n:]
}

// admitLocked lets in whose turn it is, while there is room, and sees to it that it is called again while somebody waits.
func (g *turnstile) admitLocked(now time.Time) {
	for g.inside < g.width && g.waiting > 0 {
		tenant := g.turns[0]
		p := g.queues[tenant][0]
		g.turns = g.turns[1:]
		if rest := g.queues[tenant][1:]; len(rest) > 0 {
			g.queues[tenant] = rest
			g.turns = append(g.turns, tenant)
		} else {
			delete(g.queues, tenant)
		}
		if p.gone {
			continue
		}
		g.waiting--
		g.letInLocked(p, now)
		close(p.in)
	}
	if g.waiting == 0 {
		g.turns, g.queues = nil, nil // those that are left have gone
		return
	}
	if !g.ticking {
		g.ticking = true
		time.AfterFunc(glance, g.again)
	}
}

// again looks whether those inside are still to be waited for.
func (g *turnstile) again() {
	used := g.cpu()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	d := now.Sub(g.looked)
	enough := attention
	if d < 10*glance && used-g.used < d/10 {
		enough = glance
	}
	g.used, g.looked, g.ticking = used, now, false
	g.expireLocked(now, enough)
	g.admitLocked(now)
}

// cpuTime is what the script's processes have used.
func (s *script) cpuTime() (sum time.Duration) {
	s.mu.Lock()
	procs := s.procs
	s.mu.Unlock()
	for _, p := range procs {
		used, _ := p.CPUTime() // it has ended: it uses none
		sum += used
	}
	return sum
}
