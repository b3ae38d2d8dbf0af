package isolate

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"atoll.dev/atoll/internal/limits"
	"atoll.dev/atoll/internal/terminate"
)

// loadTracer reads the engine's symbols, which takes a while, and returns a function that waits for them. It returns nil
// where they cannot be had; processes over their limit are killed then.
func loadTracer(lg *slog.Logger, path string) func() *terminate.Engine {
	done := make(chan struct{})
	var engine *terminate.Engine
	go func() {
		defer close(done)
		var err error
		if engine, err = terminate.Load(path); err != nil {
			lg.Warn("invocations over their CPU limit cannot be stopped alone: their process is killed", "err", err)
		}
	}()
	return func() *terminate.Engine {
		<-done
		return engine
	}
}

// Traceable tells why an invocation of the process cannot be stopped alone here, nil where it can.
func (p *Process) Traceable() error {
	engine := p.tracer()
	if engine == nil {
		return errors.New("the engine's symbols cannot be read")
	}
	return engine.Probe(p.Pid())
}

// ErrCPU is why a process was ended that could not be made to stop an invocation over its CPU limit.
var ErrCPU = errors.New("the CPU limit was exceeded")

// Limit gives the process a CPU limit for each of its invocations. It is called once, before the first.
func (p *Process) Limit(cpu time.Duration) {
	p.CPU = cpu
	t := &traced{process: p}
	p.Meter = limits.New(t, cpu)
	if len(p.Spec.Classes) > 0 {
		p.Meter.Open() // for good: alarms and WebSockets' messages come by themselves
	}
	go func() { // ends with the process
		<-p.Done()
		p.Meter.Close()
		t.close()
	}()
}

// Lower makes the limit a lower one, where it is not yet, for all invocations of the process. CPU stays as it was.
func (p *Process) Lower(cpu time.Duration) { p.Meter.Lower(cpu) }

// traced is a process as its meter sees it. It attaches to the process when it is first asked who runs, since a process
// that has not loaded cannot be attached to.
type traced struct {
	process *Process

	mu     sync.Mutex
	target *terminate.Target
}

// CPUTime implements limits.Process.
func (t *traced) CPUTime() (time.Duration, error) { return t.process.CPUTime() }

// Kill implements limits.Process.
func (t *traced) Kill(why error) { t.process.End(fmt.Errorf("%w: %w", ErrCPU, why)) }

func (t *traced) attach() (*terminate.Target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.target != nil {
		return t.target, nil
	}
	engine := t.process.tracer()
	if engine == nil {
		return nil, limits.ErrBlind
	}
	target, err := engine.Attach(t.process.Pid())
	switch {
	case errors.Is(err, terminate.ErrNotReady), errors.Is(err, terminate.ErrGone):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", limits.ErrBlind, err)
	}
	t.target = target
	return target, nil
}

func (t *traced) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.target != nil {
		t.target.Close()
	}
}

// Look implements limits.Process.
func (t *traced) Look() (limits.Sight, error) {
	target, err := t.attach()
	if err != nil {
		return limits.Sight{}, err
	}
	s, err := target.Look()
	if errors.Is(err, terminate.ErrInDoubt) {
		t.Kill(err)
	}
	return limits.Sight{
		Current: limits.Context(s.Current), Place: s.Place, Event: uint64(s.Event), Entered: s.Entered, Started: limits.Context(s.Started),
		Collecting: s.Collecting,
	}, err
}

// Asleep implements limits.Process.
func (t *traced) Asleep() (bool, error) {
	target, err := t.attach()
	if err != nil {
		return false, err
	}
	return target.Asleep()
}

// Alive implements limits.Process.
func (t *traced) Alive(c limits.Context, place uintptr) (bool, error) {
	target, err := t.attach()
	if err != nil {
		return false, err
	}
	return target.Alive(terminate.Context(c), place)
}

// Event implements limits.Process.
func (t *traced) Event(c limits.Context, place uintptr) (uint64, error) {
	target, err := t.attach()
	if err != nil {
		return 0, err
	}
	event, err := target.Event(terminate.Context(c), place)
	return uint64(event), err
}

// Terminate implements limits.Process.
func (t *traced) Terminate(c limits.Context, over, late func() bool) (limits.Outcome, error) {
	target, err := t.attach()
	if err != nil {
		return limits.Absent, err
	}
	outcome, err := target.Terminate(terminate.Context(c), over, t.process.hurried(late))
	t.process.hurries.Store(false)
	switch outcome {
	case terminate.Terminated:
		return limits.Terminated, err
	case terminate.Overdue:
		return limits.Overdue, err
	}
	return limits.Absent, err
}
