package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

// Line is a hold of a process that takes RPC sessions: it keeps the process from being stopped until Close.
type Line struct {
	Process *isolate.Process

	d      *Dispatcher
	limits invocation.Limits
	opened time.Time
	closed func()
	once   sync.Once
}

// Hold takes hold of a process of the script's active version whose subrequests go to the outbound Worker of that key. The
// error's chain is that of Do.
func (d *Dispatcher) Hold(ctx context.Context, ref atoll.ScriptRef, outbound string) (*Line, error) {
	p, limits, err := d.acquire(ctx, ref, invocation.Limits{}, outbound)
	if err != nil {
		return nil, err
	}
	return &Line{Process: p, d: d, limits: limits, opened: time.Now(), closed: p.WebSocket()}, nil
}

// Connect makes a connection for sessions of the line. The error's chain has hop.ErrRefused where the process has died.
func (l *Line) Connect(ctx context.Context) (net.Conn, error) {
	c, err := l.Process.RPC(ctx)
	switch ref := l.Process.Spec.Ref; {
	case err == nil:
		return c, nil
	case errors.Is(err, hop.ErrRefused):
		<-l.Process.Done() // as in try
		l.d.script(ref).remove(l.Process)
	case ctx.Err() == nil:
		err = l.d.ending(l.Process, l.opened)
	}
	return nil, fmt.Errorf("call %s: %w", l.Process.Spec.Ref, err)
}

// Close lets go of the process.
func (l *Line) Close() {
	l.once.Do(func() {
		l.closed()
		l.Process.Release()
	})
}

// forEver is longer than anything lasts.
const forEver = 1000 * 24 * time.Hour

// Wall is how long a session over the line may last.
func (l *Line) Wall() time.Duration {
	if l.d.opts.WithoutLimits {
		return forEver
	}
	return l.d.opts.Wall
}

// Session is an invocation that came by a line: one call by RPC, and what is called of what it has returned.
type Session struct {
	*invocation.Invocation
	process *isolate.Process
	leave   func()
}

// Begin registers a session that is about to come by the line, or refuses it. Its limits are the script's own.
func (l *Line) Begin(o invocation.Options) (*Session, error) {
	ref := l.Process.Spec.Ref
	if o.Hops > maxHops {
		return nil, fmt.Errorf("call %s: %w", ref, ErrTooDeep)
	}
	leave, err := l.d.script(ref).enter(false, l.d.opts)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", ref, err)
	}
	o.Limits = l.limits
	if len(l.Process.Spec.Classes) > 0 {
		if err := l.d.stand(context.Background(), l.d.script(ref), l.Process, l.limits, o.Outbound); err != nil {
			leave()
			return nil, err
		}
	}
	l.Process.Hold()
	l.Process.Meter.Begin()
	return &Session{l.Process.Invocations.Begin(o), l.Process, leave}, nil
}

// End says that the session's calls have ended; its waitUntil work may go on.
func (s *Session) End() {
	s.Invocation.End()
	s.process.Meter.End()
	s.process.Release()
	s.leave()
}

// brokenWait is how long it may take until the end of a process is known after its connections have ended.
const brokenWait = time.Second

// Broken tells why a session over the line may have broken off: the limit that was exceeded, the end of the process; nil
// where nothing is known of.
func (l *Line) Broken() error {
	if l.Process.Meter.Claim() {
		return ErrCPU
	}
	wait := time.NewTimer(brokenWait)
	defer wait.Stop()
	select {
	case <-l.Process.Done():
		return l.d.ending(l.Process, l.opened)
	case <-wait.C:
		return nil
	}
}
