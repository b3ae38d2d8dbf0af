// Package isolate runs one version of one script in one sandboxed workerd process.
//
// A [Factory] keeps a few spare processes that are already exec'd and sandboxed, waiting for a configuration on standard
// input; [Factory.Start] takes one and feeds it. A [Process] answers requests on a Unix socket through its Client; what
// its code sends out arrives at the Factory's Outward handler, which learns from [From] which process sent it.
//
// The package decides nothing about when a process is started or stopped: package dispatch does. Its invariant: a process
// belongs to one version of one script from the moment it is fed until it is gone, and no configuration, which holds
// secrets, is ever in a file, an argument or an environment variable. Two processes never have the storage of one Durable
// Object class, see [Disks].
//
// # Concurrency
//
// Everything may be called concurrently. A Process counts its requests (Acquire, Release); one that was retired takes no
// new ones and is killed when the last has ended.
package isolate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/prefault"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/terminate"
	"atoll.dev/atoll/internal/workerd"
)

// Options configure a Factory.
type Options struct {
	Dir           string // for the sockets; emptied at New
	Spares        int    // spare processes to keep at the least; more while they run out
	Memory        int    // of an isolate whose Spec sets none, in MiB; DefaultMemory
	LogBytes      int64  // that an invocation may write to its console; DefaultLogBytes
	WithoutLimits bool   // watch nobody's memory, to measure what that costs

	Objects Disks // where Durable Objects are stored; nil: Workers have none
}

// Disks are the directories in which Durable Objects are stored, one for each class.
type Disks interface {
	// Root is the directory that they are in, each by the id of its class.
	Root() string
	// Take waits until nobody else uses a class's directory. It is the caller's while any process has the lock open.
	Take(ctx context.Context, class string) (dir string, lock *os.File, err error)
}

// Factory starts isolate processes.
type Factory struct {
	lg     *slog.Logger
	bin    workerd.Binary
	box    *sandbox.Sandbox
	opts   Options
	out    *hop.Front
	group  errgroup.Group
	ctx    context.Context // cancelled by Close
	cancel context.CancelCauseFunc
	wake   chan struct{}
	tracer func() *terminate.Engine
	pages  atomic.Pointer[prefault.Pages] // that a start touches, once known

	mu     sync.Mutex
	spares []*spare
	demand demand
	live   map[*spare]bool
	closed bool
}

// ErrClosed says that the factory, and with it the node, is stopping.
var ErrClosed = errors.New("the node is stopping")

// New returns a Factory whose processes send what leaves them to outward. Run must be called.
func New(lg *slog.Logger, bin workerd.Binary, box *sandbox.Sandbox, outward http.Handler, opts Options) (*Factory, error) {
	opts.Memory = cmp.Or(opts.Memory, DefaultMemory)
	opts.LogBytes = cmp.Or(opts.LogBytes, DefaultLogBytes)
	if err := os.RemoveAll(opts.Dir); err != nil {
		return nil, fmt.Errorf("clear %s: %w", opts.Dir, err)
	}
	// Others may pass through but not list: the sandbox's own uid reaches its socket by a name nobody can guess.
	if err := os.MkdirAll(opts.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	f := &Factory{lg: lg, bin: bin, box: box, opts: opts, wake: make(chan struct{}, 1), live: map[*spare]bool{},
		demand: demand{least: opts.Spares, want: opts.Spares},
		tracer: loadTracer(lg, bin.Path)}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.out = hop.NewFront(&http.Server{
		Handler:        outward,
		MaxHeaderBytes: 256 << 10,
		ErrorLog:       slog.NewLogLogger(lg.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, processKey{}, c.(*outConn).spare)
		},
	})
	return f, nil
}

// Run keeps the spare processes until ctx is done, then kills every process and returns when all are gone.
func (f *Factory) Run(ctx context.Context) error {
	if !f.opts.WithoutLimits {
		f.group.Go(func() error { return f.watchMemory(f.ctx) })
	}
	f.keepSpares(ctx)
	return f.close()
}

func (f *Factory) close() error {
	f.cancel(ErrClosed)
	f.mu.Lock()
	f.closed = true
	for s := range f.live {
		if p := s.owner.Load(); p != nil {
			p.Kill()
		} else {
			s.proc.Kill()
		}
	}
	f.mu.Unlock()
	err := f.group.Wait()
	f.out.Close()
	return err
}

// Start feeds a spare process the configuration of spec. It returns at once: requests wait in the socket until the Worker
// has loaded, and fail when it does not load. Where the Worker has Durable Objects, it waits until the process that had their
// storage before has ended.
func (f *Factory) Start(spec Spec) (*Process, error) {
	var s *spare
	spec.Memory = cmp.Or(spec.Memory, f.opts.Memory)
	disks, err := f.disks(spec)
	if err != nil {
		return nil, err
	}
	defer disks.close()
	if spec.Memory == f.opts.Memory && !spec.Jitless && len(disks.locks) == 0 {
		s = f.take()
	}
	if s == nil {
		if s, err = f.spawn(spec.Memory, spec.Jitless, disks); err != nil {
			return nil, fmt.Errorf("start process: %w", err)
		}
	}
	return f.feed(s, spec)
}

// pipeSize is how much a pipe takes before anybody reads it: pipe(7). A user who has too many gets smaller ones; to write then
// waits until the process reads.
const pipeSize = 64 << 10

// feed makes a spare the process of spec.
func (f *Factory) feed(s *spare, spec Spec) (*Process, error) {
	p := &Process{ID: s.id, Spec: spec, Client: hop.NewClient(s.in), ObjectsTag: invocation.NewRay(), spare: s, secret: atoll.NewID(), lg: f.lg, tracer: f.tracer}
	message, err := configure(spec, f.bin, p, f.opts.LogBytes)
	if err != nil {
		s.proc.Kill()
		return nil, err
	}
	p.mu.lastUse = time.Now()
	s.owner.Store(p)
	write := func() error {
		s.stdin.Write(message) // an error means that the process is gone, which Done tells
		s.stdin.Close()
		return nil
	}
	if len(message) > pipeSize {
		f.group.Go(write)
	} else {
		write()
	}
	return p, nil
}

// spawn starts a process that waits for its configuration, may use so many MiB, and may make code to execute unless it is
// to run without a compiler.
func (f *Factory) spawn(memory int, jitless bool, disks disks) (_ *spare, err error) {
	s := &spare{id: atoll.NewID(), output: &ring{}, drained: make(chan struct{})}
	dir := filepath.Join(f.opts.Dir, s.id)
	s.in, s.rpc = filepath.Join(dir, "in.sock"), filepath.Join(dir, "rpc.sock")
	out := filepath.Join(dir, "out")
	var undo []func()
	defer func() {
		if err != nil {
			for _, u := range undo {
				u()
			}
		}
	}()
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, err
	}
	undo = append(undo, func() { os.RemoveAll(dir) })
	if err := os.Mkdir(out, 0o711); err != nil {
		return nil, err
	}
	inFile, err := listen(s.in)
	if err != nil {
		return nil, err
	}
	defer inFile.Close() // the process has its own copy
	rpcFile, err := listen(s.rpc)
	if err != nil {
		return nil, err
	}
	defer rpcFile.Close()
	bind := sandbox.Bind{Host: out, Guest: "/run/out"}
	s.outGuest = f.box.Guest(bind)
	if f.opts.Objects != nil {
		s.objectsGuest = f.box.Guest(sandbox.Bind{Host: f.opts.Objects.Root(), Guest: objectsGuest})
	}
	outSocket := filepath.Join(out, "sock")
	if s.out, err = net.Listen("unix", outSocket); err != nil {
		return nil, err
	}
	undo = append(undo, func() { s.out.Close() })
	if err := os.Chmod(outSocket, 0o666); err != nil {
		return nil, err
	}
	childIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer childIn.Close()
	undo = append(undo, func() { stdin.Close() })
	output, childOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer childOut.Close()
	undo = append(undo, func() { output.Close() })
	s.stdin = stdin
	s.proc, err = f.box.Start(sandbox.Command{
		Path:   f.bin.Path,
		Args:   []string{"serve", "--binary", "--socket-fd", "http=3", "--socket-fd", "rpc=4", "-"},
		Stdin:  childIn,
		Stdout: childOut,
		Stderr: childOut,
		Files:  append([]*os.File{inFile, rpcFile}, disks.locks...),
		Binds:  append([]sandbox.Bind{bind}, disks.binds...),
		Limits: sandbox.Limits{Data: dataLimit(memory), Files: processFiles, FileBytes: objectBytes},

		NoNewCode: jitless,
	})
	if err != nil {
		return nil, err
	}
	if err := letOverflow(childOut); err != nil {
		s.proc.Kill()
		return nil, err
	}
	f.mu.Lock()
	closed := f.closed
	f.live[s] = true
	f.mu.Unlock()
	f.group.Go(func() error {
		s.drain(output)
		close(s.drained)
		return nil
	})
	f.group.Go(func() error { f.out.Serve(newOutListener(s)); return nil })
	f.group.Go(func() error {
		<-s.proc.Done()
		select {
		case <-s.drained:
		case <-time.After(time.Second): // somebody else holds the pipe
		}
		output.Close()
		s.out.Close()
		stdin.Close()
		os.RemoveAll(dir)
		f.mu.Lock()
		delete(f.live, s)
		f.mu.Unlock()
		if p := s.owner.Load(); p != nil {
			p.Client.Close()
		}
		return nil
	})
	if closed {
		s.proc.Kill()
		return nil, ErrClosed
	}
	return s, nil
}

// listen makes a socket for a process to listen on.
func listen(path string) (*os.File, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
}
