package dispatch

import (
	"time"

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

// stand has what happens inside the process's objects belong to an invocation of its own, with the limits and the outbound
// parameters of the call that came last: an object's alarm is no call's, and must not miss the outbound Worker either.
func stand(p *isolate.Process, limits invocation.Limits, out *invocation.Outbound) {
	p.Invocations.Stand(invocation.Options{Ray: p.ObjectsTag, Limits: limits, Outbound: out})
}
