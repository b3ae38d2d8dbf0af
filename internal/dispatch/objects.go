package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

// A script with Durable Objects has one process at a time, whatever its calls ask for: its objects live there, and nobody
// else may have their storage. So that process is replaced, and not joined by another one, when a call has to go to another
// version or by another outbound Worker; and its CPU limit is the lowest that any of its calls has had.

// pickOnlyLocked is pick for a script with Durable Objects.
func (s *script) pickOnlyLocked(k kind) (*isolate.Process, <-chan struct{}, error) {
	for _, p := range s.procs {
		if p.Spec.Version.ID != k.version.ID || p.Outbound != k.outbound {
			continue
		}
		if p.Acquire() {
			p.Lower(k.cpu)
			return p, nil, nil
		}
	}
	p, wait, err := s.mayAddLocked()
	if p != nil || wait != nil || err != nil {
		return p, wait, err
	}
	for _, old := range s.procs { // whoever starts the new one waits for its end
		go old.RetireWithin(objectsGrace)
	}
	s.procs = nil
	return nil, nil, nil
}

// objectsGrace is how long a process with Durable Objects may go on with what it holds once it is to be replaced. All other
// requests of the script wait meanwhile.
const objectsGrace = 10 * time.Second

// retire lets a process finish what it holds.
func (d *Dispatcher) retire(p *isolate.Process) {
	if len(p.Spec.Classes) > 0 {
		p.RetireWithin(objectsGrace)
		return
	}
	p.Retire()
}

// Suspend ends the script's processes, those that are being replaced already aside, and has nobody start another one until
// resume is called: whoever would, waits as for a start that is in progress.
func (d *Dispatcher) Suspend(ctx context.Context, ref atoll.ScriptRef) (resume func(), err error) {
	for {
		s := d.script(ref)
		s.mu.Lock()
		if s.gone {
			s.mu.Unlock()
			continue // there is another one by now
		}
		if starting := s.starting; starting != nil {
			s.mu.Unlock()
			if err := await(ctx, starting); err != nil {
				return nil, err
			}
			continue
		}
		s.starting = make(chan struct{})
		old := s.procs
		s.procs = nil
		s.mu.Unlock()
		for _, p := range old {
			d.retire(p)
		}
		return func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			close(s.starting)
			s.starting = nil
		}, nil
	}
}

// stand has what happens inside the process's objects belong to an invocation of its own, with the limits and the outbound
// parameters of the call that came last: an object's alarm is no call's, and must not miss the outbound Worker either. So
// that is remembered on disk before the first call by it gets through.
func (d *Dispatcher) stand(ctx context.Context, s *script, p *isolate.Process, limits invocation.Limits, out *invocation.Outbound) error {
	p.Invocations.Stand(invocation.Options{Ray: p.ObjectsTag, Limits: limits, Outbound: out})
	now := time.Now()
	s.mu.Lock()
	stale := !s.outbound.is(out, now)
	s.mu.Unlock()
	if !stale {
		return nil
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("write outbound Worker: %w", err)
	}
	if err := d.source.SetOutbound(ctx, s.ref, text); err != nil {
		return fmt.Errorf("remember outbound Worker: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbound = outbound{out, now}
	return nil
}

// outbound is what is remembered of how a script was dispatched.
type outbound struct {
	last *invocation.Outbound
	at   time.Time // when it was written
}

// outboundAge is how long the parameters of an outbound Worker that are remembered may be behind those of the last call.
const outboundAge = time.Minute

// is tells whether o is what need be remembered of a call.
func (o outbound) is(out *invocation.Outbound, now time.Time) bool {
	if o.last.Key() != out.Key() {
		return false
	}
	return out == nil || now.Sub(o.at) < outboundAge || reflect.DeepEqual(o.last.Params, out.Params)
}

// read takes what stand has written.
func (o *outbound) read(text json.RawMessage) {
	*o = outbound{}
	if len(text) > 0 && json.Unmarshal(text, &o.last) != nil {
		o.last = nil
	}
}

// outboundOfEvents is the outbound Worker of what calls a script though nobody dispatches it, such as a queue: with Durable
// Objects that of the last dispatch, for its objects have but one.
func (d *Dispatcher) outboundOfEvents(ctx context.Context, s *script) *invocation.Outbound {
	if _, _, err := d.active(ctx, s); err != nil {
		return nil // acquire will say so
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.classes) == 0 {
		return nil
	}
	return s.outbound.last
}

// Wake starts the process of a script with Durable Objects, where it does not run, for its alarms.
func (d *Dispatcher) Wake(ctx context.Context, ref atoll.ScriptRef) error {
	s := d.script(ref)
	if _, _, err := d.active(ctx, s); err != nil {
		return err
	}
	out, needed, err := s.asleep(ctx)
	if err != nil || !needed {
		return err
	}
	p, limits, err := d.acquire(ctx, ref, invocation.Limits{}, out.Key())
	if err != nil {
		return err
	}
	defer p.Release()
	if len(p.Spec.Classes) == 0 {
		return nil
	}
	d.lg.Info("Durable Objects woken for an alarm", "script", ref.String(), "isolate", p.ID)
	return d.stand(ctx, s, p, limits, out)
}

// asleep tells whether the script has objects and no process, and by which outbound Worker one is to be started. One that a
// call has started, or is starting, sees to the alarms itself, whatever its outbound Worker: if an alarm replaced it, and the
// call that again, neither would get anywhere.
func (s *script) asleep(ctx context.Context) (out *invocation.Outbound, yes bool, err error) {
	for {
		s.mu.Lock()
		out, yes = s.outbound.last, len(s.classes) > 0 && len(s.procs) == 0
		starting := s.starting
		s.mu.Unlock()
		if !yes || starting == nil {
			return out, yes, nil
		}
		if err := await(ctx, starting); err != nil {
			return nil, false, err
		}
	}
}

// alarmSoon is how long before an alarm a process is not worth stopping, at the most.
const alarmSoon = time.Minute

// alarmFresh is for how long what was found of a process's alarms is believed.
const alarmFresh = 5 * time.Second

// alarmLooks are what was found of the alarms of idle processes. They are read in the background: a file of many takes a
// while, and others are not to wait for it.
type alarmLooks struct {
	mu   sync.Mutex
	all  map[*isolate.Process]*alarmLook
	runs sync.WaitGroup
}

type alarmLook struct {
	busy bool
	when time.Time // found; zero: nothing has been
	calm bool      // nothing is about to ring
}

// alarmed tells whether an alarm of the process's objects is about to ring, or is ringing, or may be: it is looked at again
// in a second.
func (d *Dispatcher) alarmed(ctx context.Context, p *isolate.Process, now time.Time) bool {
	if d.opts.Alarms == nil || len(p.Spec.Classes) == 0 {
		return false
	}
	ls := &d.alarmLooks
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.all[p]
	if l == nil {
		if ls.all == nil {
			ls.all = map[*isolate.Process]*alarmLook{}
		}
		l = &alarmLook{}
		ls.all[p] = l
	}
	if !l.busy {
		l.busy = true
		ls.runs.Go(func() {
			calm := d.calm(ctx, p, now)
			ls.mu.Lock()
			defer ls.mu.Unlock()
			l.busy, l.when, l.calm = false, time.Now(), calm
		})
	}
	return !l.calm || time.Since(l.when) > alarmFresh
}

// calm tells that no alarm of the process's objects is about to ring.
func (d *Dispatcher) calm(ctx context.Context, p *isolate.Process, now time.Time) bool {
	for _, c := range p.Spec.Classes {
		at, ok, err := d.opts.Alarms.NextAlarm(ctx, c.ID)
		if err != nil || ok && at.Before(now.Add(min(alarmSoon, d.opts.IdleAfter))) {
			return false
		}
	}
	return true
}

// prune forgets the processes that have ended.
func (ls *alarmLooks) prune() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for p := range ls.all {
		select {
		case <-p.Done():
			delete(ls.all, p)
		default:
		}
	}
}

// rest hands the alarms of a process that has ended over.
func (d *Dispatcher) rest(p *isolate.Process) {
	if d.opts.Alarms == nil || p.Spec.Volatile {
		return
	}
	for _, c := range p.Spec.Classes {
		d.opts.Alarms.Ended(c.ID)
	}
}

// ObjectProcesses returns the processes that have Durable Objects.
func (d *Dispatcher) ObjectProcesses() (list []*isolate.Process) {
	for _, s := range d.all() {
		s.mu.Lock()
		for _, p := range s.procs {
			if len(p.Spec.Classes) > 0 {
				list = append(list, p)
			}
		}
		s.mu.Unlock()
	}
	return list
}
