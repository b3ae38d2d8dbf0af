package isolate

import (
	"context"
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

// ErrCPU is why a process was ended that could not be made to stop an invocation over its CPU limit.
var ErrCPU = errors.New("the CPU limit was exceeded")

// Limit gives the process a CPU limit for each of its invocations. It is called once, before the first.
func (p *Process) Limit(cpu time.Duration) {
	p.CPU = cpu
	t := &traced{process: p}
	p.Meter = limits.New(t, cpu)
	go func() { // ends with the process
		<-p.Done()
		p.Meter.Close()
		t.close()
	}()
}

// grace is the CPU time that code may use which is to stop. By the wall clock, what waits for its turn on a busy machine
// would pass for what cannot be stopped.
const grace = 100 * time.Millisecond

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
func (t *traced) Kill() { t.process.End(ErrCPU) }

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

// Current implements limits.Process.
func (t *traced) Current() (limits.Context, error) {
	target, err := t.attach()
	if err != nil {
		return 0, err
	}
	c, err := target.Current()
	return limits.Context(c), err
}

// Terminate implements limits.Process.
func (t *traced) Terminate(ctx context.Context, c limits.Context) (limits.Outcome, error) {
	target, err := t.attach()
	if err != nil {
		return limits.Absent, err
	}
	began, err := t.CPUTime()
	if err != nil {
		return limits.Absent, err
	}
	outcome, err := target.Terminate(terminate.Context(c), func() bool {
		used, err := t.CPUTime()
		return err != nil || used-began > grace || ctx.Err() != nil
	})
	switch {
	case err != nil:
		return limits.Absent, err
	case outcome == terminate.Terminated, outcome == terminate.Missed:
		// Missed is also how it looks when a built-in function, structuredClone() for one, has obeyed by itself.
		return limits.Terminated, nil
	case outcome == terminate.Overdue:
		return limits.Overdue, nil
	}
	return limits.Absent, nil
}
