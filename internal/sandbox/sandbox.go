// Package sandbox starts one program, as a rule workerd, where it can reach nothing but what it was handed: in user,
// mount, PID, IPC, UTS and network namespaces of its own, with an empty read-only root, no capabilities, no way to gain
// any, and limits on what it may use.
//
// It is not a container runtime: there are no images, no networks between children, no program other than the one
// named, and it does not know what a Worker is. It does not restart what dies; package isolate does.
//
// Invariant: a child of a Sandbox never outlives it. Every child has PDEATHSIG set, which the kernel ties to
// the thread that is its parent (prctl(2)), here that of one goroutine locked to it; Close kills and reaps what is left.
//
// Concurrency: every method may be called from any goroutine. The children are set up by the program itself, executed
// again as "atoll-sandbox" (see Main): between fork and exec Go runs a single thread and can do little.
package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Options say how children are confined where that is the node's choice; the zero value is the whole sandbox.
type Options struct {
	// Insecure runs programs plainly: no namespaces, no root of their own. For kernels that allow none of it.
	Insecure bool
	// UIDs is the range of user and group ids a privileged node gives its children, one each while they live. The zero
	// value picks a range that no distribution hands out. Where the node may not set ids, children share its own.
	UIDs UIDRange
	// Log is told of what could not be had; nil discards.
	Log *slog.Logger
}

// ErrClosed is returned by Start after Close.
var ErrClosed = errors.New("sandbox is closed")

var errInsecure = errors.New("switched off: the node runs insecurely")

// Sandbox starts confined processes and sees that none is left behind.
type Sandbox struct {
	opts           Options
	lg             *slog.Logger
	forks          chan request
	done           chan struct{} // closed when the forking goroutine has ended
	null           *os.File
	filter, frozen []unix.SockFilter // of system calls; the latter for a Command with NoNewCode
	uids           *uidPool
	threadsCounted bool
	elf            elfCache
	groups         *cgroups // nil where groupsErr says why
	groupsErr      error

	mu     sync.Mutex // guards what follows
	closed bool
	procs  map[*Process]struct{}
	idle   sync.WaitGroup // one for each process not yet reaped and each Start under way
}

// New returns a Sandbox. Its Close must be called; nothing it started survives that.
func New(opts Options) (*Sandbox, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open null device: %w", err)
	}
	uids, err := newUIDPool(opts.UIDs)
	if err != nil {
		return nil, errors.Join(err, null.Close())
	}
	s := &Sandbox{
		opts:           opts,
		lg:             cmp.Or(opts.Log, slog.New(slog.DiscardHandler)),
		forks:          make(chan request),
		done:           make(chan struct{}),
		null:           null,
		filter:         filter(allRules(false)),
		frozen:         filter(allRules(true)),
		uids:           uids,
		threadsCounted: countsThreads(opts.Insecure, uids),
		procs:          map[*Process]struct{}{},
	}
	if opts.Insecure {
		s.groupsErr = errInsecure
	} else if s.groups, s.groupsErr = ownCgroups(); s.groupsErr != nil {
		s.groups = nil
	}
	go s.forkAll()
	return s, nil
}

// Close kills every process, waits until all are reaped, and ends the forking thread.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closed = true
	var errs []error
	for p := range s.procs {
		errs = append(errs, p.Kill())
	}
	s.mu.Unlock()
	s.idle.Wait()
	close(s.forks)
	<-s.done
	return errors.Join(append(errs, s.null.Close())...)
}

// begin counts a Start in, so that Close waits for it.
func (s *Sandbox) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.idle.Add(1)
	return nil
}

// adopt makes p one of the processes that Close ends.
func (s *Sandbox) adopt(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[p] = struct{}{}
	s.idle.Add(1)
	if s.closed {
		_ = p.Kill()
	}
}

// forget is called once p is reaped.
func (s *Sandbox) forget(p *Process) {
	s.mu.Lock()
	delete(s.procs, p)
	s.mu.Unlock()
	s.takeBack(p.lent)
	s.idle.Done()
}

// request is an order on its way to the forking goroutine.
type request struct {
	order order
	files []uintptr
	reply chan<- forked
}

type forked struct {
	pid int
	err error
}

// order has a child forked.
func (s *Sandbox) order(o order, files []uintptr) (int, error) {
	reply := make(chan forked, 1)
	s.forks <- request{o, files, reply}
	got := <-reply
	return got.pid, got.err
}

// forkAll has every child forked, on one thread that lives as long as the Sandbox: the parent death signal of a child is
// sent when the thread that counts as its parent ends, which for Go's ordinary threads may be any time.
func (s *Sandbox) forkAll() {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	defer close(s.done)
	var f *forker
	for r := range s.forks {
		var got forked
		for range 2 { // once more if the forker has been killed
			if f == nil {
				if f, got.err = startForker(s.null); got.err != nil {
					break
				}
			}
			if got.pid, got.err = f.fork(r.order, r.files); !errors.Is(got.err, errForkerLost) {
				break
			}
			f.close()
			f = nil
		}
		r.reply <- got
	}
	if f != nil {
		f.close()
	}
}
