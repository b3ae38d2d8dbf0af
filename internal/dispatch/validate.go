package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/isolate"
	"atoll.dev/atoll/internal/workerd"
)

// Started is what a Worker that loaded says of itself.
type Started struct {
	Handlers  []string              `json:"handlers"` // of its default export
	Named     []atoll.NamedHandlers `json:"named_handlers"`
	StartupMs int64                 `json:"startup_ms"`
}

// warmFor is how long a validated process waits to be published.
const warmFor = 30 * time.Second

// Validate starts v and asks what it handles. A Worker that does not start is a fault of kind Invalid, code 10021, with
// JavaScript's own message. The process stays warm for a Publish that soon follows.
func (d *Dispatcher) Validate(ctx context.Context, v *atoll.Version, ref atoll.ScriptRef, load func(hash string) ([]byte, error)) (Started, error) {
	began := time.Now()
	// Its Durable Objects have no storage: another version may be using it.
	p, err := d.start.Start(isolate.Spec{Ref: ref, Version: v, Load: load, Classes: v.Classes, Volatile: true})
	if err != nil {
		return Started{}, fmt.Errorf("start %s: %w", ref, err)
	}
	started, err := d.ask(ctx, p)
	if err != nil {
		p.Retire()
		return Started{}, err
	}
	started.StartupMs = time.Since(began).Milliseconds()
	if len(v.Classes) > 0 {
		p.Kill() // it serves nobody without storage
		return started, nil
	}
	d.keepWarm(p)
	time.AfterFunc(warmFor, func() { d.cool(v.ID, p) })
	return started, nil
}

// keepWarm keeps a validated process until it is published, and only the last one of a script that is deployed again and
// again.
func (d *Dispatcher) keepWarm(p *isolate.Process) {
	var replaced []*isolate.Process
	d.mu.Lock()
	for id, q := range d.warm {
		if q.Spec.Ref == p.Spec.Ref {
			replaced = append(replaced, q)
			delete(d.warm, id)
		}
	}
	d.warm[p.Spec.Version.ID] = p
	d.mu.Unlock()
	for _, q := range replaced {
		q.Retire()
	}
}

// cool retires a validated process that nobody published.
func (d *Dispatcher) cool(id atoll.VersionID, p *isolate.Process) {
	d.mu.Lock()
	unused := d.warm[id] == p
	if unused {
		delete(d.warm, id)
	}
	d.mu.Unlock()
	if unused {
		p.Retire()
	}
}

// ask puts the wrapper's question to a process that is starting, and watches its start meanwhile.
func (d *Dispatcher) ask(ctx context.Context, p *isolate.Process) (Started, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errStartTimeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go d.watchStart(ctx, p, stop)

	res, err := p.Client.Do(ctx, isolate.Exports())
	if err != nil {
		if f := fault.Of(err); f != nil {
			return Started{}, err
		}
		select {
		case <-p.Exited():
		case <-time.After(time.Second):
		}
		if message, ok := workerd.ParseStartupError(p.Output()); ok {
			return Started{}, fault.New(fault.Invalid, 10021, message)
		}
		return Started{}, fmt.Errorf("validate %s: %w; output: %s", p.Spec.Ref, err, p.Output())
	}
	defer res.Body.Close()
	var started Started
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&started); err != nil {
		return Started{}, fmt.Errorf("validate %s: %w", p.Spec.Ref, err)
	}
	return started, nil
}

var (
	errStartCPU     = fault.New(fault.Invalid, 10021, "Script startup exceeded CPU time limit.")
	errStartTimeout = fault.New(fault.Invalid, 10021, "Script startup timed out.")
)

// engineStart is the CPU time that workerd itself needs to serve an empty Worker, generously.
const engineStart = 250 * time.Millisecond

// watchStart ends a start that uses more CPU time than it may.
func (d *Dispatcher) watchStart(ctx context.Context, p *isolate.Process, stop context.CancelCauseFunc) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Done():
			return
		case <-tick.C:
			if used, err := p.CPUTime(); err == nil && used > d.opts.StartupCPU+engineStart {
				stop(errStartCPU)
				p.Kill()
				return
			}
		}
	}
}
