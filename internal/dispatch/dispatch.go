// Package dispatch decides which isolate process serves a request to a script, and carries the request there.
//
// It starts a process when a script without one is called, starts more for a busy script, retires those of a version that
// is no longer deployed, and stops the idle. What a script's active version is it asks its [Source] once and remembers
// until [Dispatcher.Publish] says otherwise.
//
// # Invariant
//
// A request is served by one version from its first byte to its last: the version is read once, the process is held until
// the response's body has been closed, and a retired process finishes what it holds.
//
// # Concurrency
//
// A Dispatcher may be used concurrently. There is one lock a script and one for the table of scripts; neither is held
// while a process is started, fed or waited for.
package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/isolate"
)

// Source is where the active version of a script is read.
type Source interface {
	// Script returns the script with its active version loaded, or a fault of kind NotFound.
	Script(ctx context.Context, ref atoll.ScriptRef) (*atoll.Script, error)
	// SetOutbound remembers the outbound Worker of a script with Durable Objects, which Script returns.
	SetOutbound(ctx context.Context, ref atoll.ScriptRef, outbound json.RawMessage) error
}

// Alarms are those of Durable Objects.
type Alarms interface {
	// NextAlarm tells when the next alarm of a class's objects is due.
	NextAlarm(ctx context.Context, class string) (at time.Time, ok bool, err error)
	// Ended is told that the process that had the classes' objects has ended: from now on somebody else has to see to it
	// that it is started when an alarm is due.
	Ended(classes ...string)
}

// Starter starts isolate processes.
type Starter interface {
	Start(isolate.Spec) (*isolate.Process, error)
}

// Options configure a Dispatcher; zero values mean the defaults.
type Options struct {
	IdleAfter     time.Duration     // stop a process that has been idle for so long; 5 minutes
	MaxPerCores   int               // processes a script, at the most; the number of cores
	MinMemory     float64           // stop idle processes while less than this part of memory is available; 0.1
	MinIdle       float64           // start no more processes for busy scripts while less than this part of the machine's CPU time is idle; 0.15
	StartupCPU    time.Duration     // CPU time a Worker may use to load, over what an empty one uses; 1 s
	Wall          time.Duration     // how long a request may take, WebSockets aside; 15 minutes
	MaxConcurrent int               // requests a script handles at once; 1,000
	MaxWebSockets int               // of them WebSockets; 1,000
	Limits        invocation.Limits // of an invocation whose script sets none; 30 s of CPU time and 10,000 subrequests
	WithoutLimits bool              // hold nobody to CPU and wall time, to measure what that costs
	Alarms        Alarms            // of Durable Objects; nil: nobody cares
	Sites         *assets.Sites     // serve scripts' static assets; nil: scripts have none
}

// Dispatcher owns the isolate processes of a node.
type Dispatcher struct {
	alarmLooks alarmLooks

	lg     *slog.Logger
	source Source
	start  Starter
	load   func(hash string) ([]byte, error)
	opts   Options

	mu      sync.Mutex
	scripts map[atoll.ScriptRef]*script
	warm    map[atoll.VersionID]*isolate.Process // validated, not yet published
}

// New returns a Dispatcher that reads modules by load.
func New(lg *slog.Logger, source Source, start Starter, load func(hash string) ([]byte, error), opts Options) *Dispatcher {
	if opts.IdleAfter == 0 {
		opts.IdleAfter = 5 * time.Minute
	}
	if opts.MaxPerCores == 0 {
		opts.MaxPerCores = runtime.NumCPU()
	}
	if opts.MinMemory == 0 {
		opts.MinMemory = 0.1
	}
	if opts.Wall == 0 {
		opts.Wall = 15 * time.Minute
	}
	if opts.MaxConcurrent == 0 {
		opts.MaxConcurrent = 1000
	}
	if opts.MaxWebSockets == 0 {
		opts.MaxWebSockets = 1000
	}
	if opts.Limits.CPU == 0 {
		opts.Limits.CPU = 30 * time.Second
	}
	if opts.Limits.SubRequests == 0 {
		opts.Limits.SubRequests = 10_000
	}
	if opts.MinIdle == 0 {
		opts.MinIdle = 0.15
	}
	if opts.StartupCPU == 0 {
		opts.StartupCPU = time.Second
	}
	return &Dispatcher{lg: lg, source: source, start: start, load: load, opts: opts,
		scripts: map[atoll.ScriptRef]*script{}, warm: map[atoll.VersionID]*isolate.Process{}}
}

// script is what the dispatcher knows of one script.
type script struct {
	ref atoll.ScriptRef

	mu       sync.Mutex
	gone     bool           // removed from the table
	version  *atoll.Version // nil: to be read
	settings atoll.NamespaceSettings
	classes  []atoll.Class // of Durable Objects; not empty: see objects.go
	outbound outbound
	changes  int // counts Publish
	procs    []*isolate.Process
	replaced []*isolate.Process // of versions before, which finish what they hold
	starting chan struct{}      // closed when the start in progress has ended; nil: none is
	crashes  int                // in a row
	retryAt  time.Time          // no start before
	lastUse  time.Time
	requests int // in progress
	sockets  int // of them WebSockets

	gate turnstile // of a platform Worker
}

// acquire returns a process of the script's active version whose invocations all have the CPU limit and the outbound Worker
// that apply to a call with limits of its own, held once, and all the limits of the call.
func (d *Dispatcher) acquire(ctx context.Context, ref atoll.ScriptRef, own invocation.Limits, outbound string) (*isolate.Process, invocation.Limits, error) {
	for {
		s := d.script(ref)
		version, changes, err := d.active(ctx, s)
		if err != nil {
			return nil, own, err
		}
		limits := d.limits(version, s.namespace(), own)
		k := kind{version, limits.CPU, outbound}
		p, wait, err := s.pick(k, changes)
		switch {
		case err != nil:
			return nil, limits, err
		case p != nil:
			return p, limits, nil
		case wait != nil:
			if err := await(ctx, wait); err != nil {
				return nil, limits, err
			}
		default:
			if err := d.add(s, k); err != nil {
				return nil, limits, err
			}
		}
	}
}

// await waits for the end of a start that is in progress.
func await(ctx context.Context, start <-chan struct{}) error {
	select {
	case <-start:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// kind is what the processes of a script differ by. Those of one version that share a CPU limit and an outbound Worker can
// stand in for each other. No process has invocations of different limits, which keeps it simple to say which of them is
// over, nor of different outbound Workers, so that nothing its code sends out can miss the one it is to go to.
type kind struct {
	version  *atoll.Version
	cpu      time.Duration
	outbound string
}

func (k kind) of(p *isolate.Process) bool {
	return p.Spec.Version.ID == k.version.ID && p.CPU == k.cpu && p.Outbound == k.outbound
}

func (d *Dispatcher) script(ref atoll.ScriptRef) *script {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.scripts[ref]
	if s == nil {
		s = &script{ref: ref, lastUse: time.Now()}
		s.gate.width, s.gate.cpu = widthPerCore*d.opts.MaxPerCores, s.cpuTime
		d.scripts[ref] = s
	}
	return s
}

// active returns the script's active version, reading it where it is not remembered, and how many changes it has seen.
func (d *Dispatcher) active(ctx context.Context, s *script) (*atoll.Version, int, error) {
	for {
		s.mu.Lock()
		version, changes := s.version, s.changes
		s.mu.Unlock()
		if version != nil {
			return version, changes, nil
		}
		sc, err := d.source.Script(ctx, s.ref)
		if err != nil {
			d.forget(s)
			return nil, 0, fmt.Errorf("read script %s: %w", s.ref, err)
		}
		if sc.Version == nil {
			d.forget(s)
			return nil, 0, s.ref.NotFound()
		}
		s.mu.Lock()
		if s.changes == changes {
			s.version, s.settings, s.classes = sc.Version, sc.Settings, sc.Classes
			s.outbound.read(sc.Outbound)
		}
		s.mu.Unlock()
	}
}

// spec is what a process of the script is started with.
func (s *script) spec(version *atoll.Version) isolate.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return isolate.Spec{Ref: s.ref, Version: version, Memory: s.settings.MemoryMB, Jitless: s.settings.Jitless, Classes: s.classes}
}

// namespace returns the settings of the script's namespace, as they were when its version was read.
func (s *script) namespace() atoll.NamespaceSettings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// forget drops a script without processes from the table.
func (d *Dispatcher) forget(s *script) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.procs) == 0 && s.starting == nil && s.requests == 0 && d.scripts[s.ref] == s {
		s.gone = true
		delete(d.scripts, s.ref)
	}
}

// pick holds the least loaded process of the kind. Without one it returns a channel to wait for when a start is in
// progress, or nothing, and then the caller has been chosen to start one.
func (s *script) pick(k kind, changes int) (*isolate.Process, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || s.changes != changes {
		done := make(chan struct{})
		close(done)
		return nil, done, nil // look again
	}
	s.lastUse = time.Now()
	if len(s.classes) > 0 {
		return s.pickOnlyLocked(k)
	}
	var best *isolate.Process
	least := 0
	for _, p := range s.procs {
		if !k.of(p) {
			continue
		}
		if n, _ := p.Load(); best == nil || n < least {
			best, least = p, n
		}
	}
	if best != nil && best.Acquire() {
		return best, nil, nil
	}
	return s.mayAddLocked()
}

// mayAddLocked chooses the caller to start a process, or returns a channel to wait for while somebody else does.
func (s *script) mayAddLocked() (*isolate.Process, <-chan struct{}, error) {
	if s.starting != nil {
		return nil, s.starting, nil
	}
	if s.lastUse.Before(s.retryAt) {
		return nil, nil, ErrCrashLoop
	}
	s.starting = make(chan struct{})
	return nil, nil, nil
}

// add starts one more process of the kind, or takes the one that validated its version. Its caller has set s.starting.
func (d *Dispatcher) add(s *script, k kind) error {
	version := k.version
	spec := s.spec(version)
	spec.Load = d.load
	var p *isolate.Process
	if spec.Memory == 0 && !spec.Jitless && len(spec.Classes) == 0 { // it was validated without them
		p = d.takeWarm(version.ID)
	}
	var err error
	if p == nil {
		p, err = d.start.Start(spec)
	}
	if err == nil {
		if p.CPU = k.cpu; !d.opts.WithoutLimits {
			p.Limit(k.cpu)
		}
		p.Outbound = k.outbound
	}
	s.mu.Lock()
	close(s.starting)
	s.starting = nil
	current := err == nil && !s.gone && s.version == version
	if current {
		s.procs = append(s.procs, p)
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.ref, err)
	}
	if !current {
		d.retire(p)
		return nil
	}
	go d.watch(s, p, time.Now()) // ends with the process, which the factory ends
	return nil
}

// takeWarm returns the process that validated a version, or nil.
func (d *Dispatcher) takeWarm(id atoll.VersionID) *isolate.Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.warm[id]
	delete(d.warm, id)
	return p
}

// healthyAfter is how long a process must have lived for its death not to count as one of a crash loop.
const healthyAfter = 10 * time.Second

// watch takes a process off its script when it has exited, and delays the next start when it crashed young.
func (d *Dispatcher) watch(s *script, p *isolate.Process, started time.Time) {
	<-p.Exited()
	s.remove(p)
	d.rest(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.Crashed() {
		return
	}
	now := time.Now()
	s.crashes++
	if now.Sub(started) > healthyAfter {
		s.crashes = 1
	}
	s.retryAt = now.Add(backOff(s.crashes))
	d.lg.Warn("isolate process died", "script", s.ref.String(), "version", p.Spec.Version.ID, "isolate", p.ID,
		"crashes", s.crashes, "output", string(p.Output()))
}

// remove takes p off its script.
func (s *script) remove(p *isolate.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs = slices.DeleteFunc(slices.Clone(s.procs), func(q *isolate.Process) bool { return q == p })
}

// backOff is how long a script that crashed n times in a row is left alone: not at all the first time, at most 30 s.
func backOff(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(100*time.Millisecond<<min(n-2, 10), 30*time.Second)
}

// Publish says that ref has another active version, or none. The next request sees it; processes of the version before
// finish what they hold.
func (d *Dispatcher) Publish(ref atoll.ScriptRef) {
	d.mu.Lock()
	s := d.scripts[ref]
	d.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	s.version = nil
	s.changes++
	s.crashes, s.retryAt = 0, time.Time{}
	old := s.procs
	s.procs = nil
	over := s.replaceLocked(old)
	s.mu.Unlock()
	for _, p := range old {
		d.retire(p)
	}
	for _, p := range over {
		p.Kill()
	}
}

// maxReplaced is how many processes of replaced versions a script may have. Each lives for as long as a client holds a
// request to it, such as a WebSocket, and a script can be deployed again at any time.
const maxReplaced = 8

// replaceLocked notes processes that have been replaced and returns those that are too many, oldest first.
func (s *script) replaceLocked(old []*isolate.Process) (over []*isolate.Process) {
	s.replaced = slices.DeleteFunc(s.replaced, func(p *isolate.Process) bool {
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})
	s.replaced = append(s.replaced, old...)
	over = slices.Clone(s.replaced[:max(0, len(s.replaced)-maxReplaced)])
	s.replaced = s.replaced[len(over):]
	return over
}

// Processes returns how many processes serve scripts.
func (d *Dispatcher) Processes() int {
	n := 0
	for _, s := range d.all() {
		s.mu.Lock()
		n += len(s.procs)
		s.mu.Unlock()
	}
	return n
}

// PublishNamespace is Publish for every script of a dispatch namespace.
func (d *Dispatcher) PublishNamespace(account atoll.AccountID, ns atoll.NamespaceName) {
	for _, s := range d.all() {
		if s.ref.Account == account && s.ref.Namespace == ns {
			d.Publish(s.ref)
		}
	}
}
