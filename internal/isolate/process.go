package isolate

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/invocation"
	"atoll.dev/atoll/internal/limits"
	"atoll.dev/atoll/internal/sandbox"
	"atoll.dev/atoll/internal/terminate"
)

// spare is a sandboxed process; without an owner it waits for its configuration.
type spare struct {
	id       string
	in       string // path of the socket it listens on
	rpc      string // likewise, for RPC sessions
	out      net.Listener
	outGuest string // the directory of its socket as the process sees it

	objectsGuest string // the directory of Durable Objects as the process sees it
	stdin        io.WriteCloser
	proc         *sandbox.Process
	output       *ring
	drained      chan struct{} // closed when all its output has been read
	owner        atomic.Pointer[Process]
}

// Process is one isolate process serving one version.
type Process struct {
	ID     string
	Spec   Spec
	Client *hop.Client
	CPU    time.Duration // the limit of each of its invocations, see Limit
	Meter  *limits.Meter // holds them to it

	// Outbound is the key of the outbound Worker that the subrequests of each of its invocations go to; empty: there is none.
	// It is the dispatcher's, set before the first.
	Outbound string

	Invocations invocation.Registry // the events it is handling
	ObjectsTag  string              // of the one invocation that all events inside Durable Objects belong to

	Bound sync.Map // what the border has made of the version's bindings, by their index

	*spare
	secret  string // tells its connections for RPC from what its code asks for, see Lane
	lanes   laneTable
	lg      *slog.Logger
	usage   usage       // of watchPriority
	hurries atomic.Bool // it is waited for, and does not yield
	tracer  func() *terminate.Engine
	killed  atomic.Bool
	ended   atomic.Pointer[error] // why, where the node ended it
	mu      struct {
		sync.Mutex
		retired  bool
		onRetire []func()
		holds    int
		sockets  int // of them WebSockets
		lastUse  time.Time
		soon     bool // retired, and WebSockets do not keep it
	}
}

// Done is closed when the process has exited.
func (p *Process) Done() <-chan struct{} { return p.proc.Done() }

// Exited is closed when the process has exited and its output has been read to the end.
func (p *Process) Exited() <-chan struct{} { return p.drained }

// Crashed waits for the end and tells whether something other than Kill brought it.
func (p *Process) Crashed() bool {
	return p.proc.ExitState().Signal != syscall.SIGKILL || !p.killed.Load()
}

// Pid is the process's id in the node's PID namespace.
func (p *Process) Pid() int { return p.proc.Pid() }

// CPUTime is the processor time that all threads of the process have used.
func (p *Process) CPUTime() (time.Duration, error) { return p.proc.CPUTime() }

// Output is the end of what the process wrote to stdout and stderr.
func (p *Process) Output() []byte { return p.output.Bytes() }

// Kill ends the process at once.
func (p *Process) Kill() {
	p.killed.Store(true)
	p.proc.Kill()
}

// Acquire counts one more request on the process. It fails when the process takes no more.
func (p *Process) Acquire() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.retired {
		return false
	}
	p.mu.holds++
	return true
}

// Hold counts one more request on the process for somebody who has acquired it already, whether or not it takes new ones.
func (p *Process) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.holds++
}

// Release takes back one Acquire or Hold.
func (p *Process) Release() {
	p.mu.Lock()
	p.mu.holds--
	p.mu.lastUse = time.Now()
	drained := p.mu.retired && p.drainedLocked()
	p.mu.Unlock()
	if drained {
		go p.finish()
	}
}

// drainedLocked tells whether the process holds nothing that a retired one is to finish.
func (p *Process) drainedLocked() bool {
	return p.mu.holds == 0 || p.mu.soon && p.mu.holds == p.mu.sockets
}

// WebSocket says that a request held has become a WebSocket, or is another connection that nothing may be going on by. closed
// must be called before the request is released.
func (p *Process) WebSocket() (closed func()) {
	p.mu.Lock()
	p.mu.sockets++
	drained := p.mu.retired && p.drainedLocked()
	p.mu.Unlock()
	if drained {
		go p.finish()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.sockets--
	}
}

// RetireWithin is Retire for a process that another one waits for: its WebSockets end with the last of its requests, and
// after the grace everything does.
func (p *Process) RetireWithin(grace time.Duration) {
	time.AfterFunc(grace, p.Kill)
	p.mu.Lock()
	p.mu.soon = true
	drained := p.drainedLocked()
	p.retire(drained)
}

// Retire lets the process finish what it holds, its waitUntil work included, and nothing more; it is killed after that.
func (p *Process) Retire() {
	p.mu.Lock()
	p.retire(p.mu.holds == 0 && !p.mu.retired)
}

// retire unlocks the process.
func (p *Process) retire(drained bool) {
	p.mu.retired = true
	told := p.mu.onRetire
	p.mu.onRetire = nil
	p.mu.Unlock()
	for _, f := range told {
		f()
	}
	if drained {
		go p.finish()
	}
}

// waitUntil is how long work may go on after the response:
// https://developers.cloudflare.com/workers/runtime-apis/context/#waituntil
const waitUntil = 30 * time.Second

// finish kills the process when its waitUntil work has ended.
func (p *Process) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), waitUntil)
	defer cancel()
	res, err := p.Client.Do(ctx, &hop.Request{Method: http.MethodGet, Target: "/", Host: "atoll", Extra: []string{HeaderControl, askDrain}})
	if err == nil {
		res.Body.Close()
	}
	p.Kill()
}

// Load returns how many requests the process holds and, where there are none, since when.
func (p *Process) Load() (holds int, lastUse time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.holds, p.mu.lastUse
}

type processKey struct{}

// From returns the process that sent a request to the Factory's outward handler.
func From(ctx context.Context) *Process {
	s, _ := ctx.Value(processKey{}).(*spare)
	if s == nil {
		return nil
	}
	return s.owner.Load()
}

// processFiles bounds what a process may have open: a dispatch Worker holds two connections for each request that passes
// through it, of all tenants together.
const processFiles = 32 << 10

// maxOut is how many connections to the node a process of a user Worker may have at once; more wait. Without it the requests
// that a few Workers never end would take all the descriptors that the node has.
const maxOut = 1024

// outListener marks the connections of one process, and bounds them.
type outListener struct {
	net.Listener
	spare *spare
	slots chan struct{}
}

func newOutListener(s *spare) *outListener {
	return &outListener{s.out, s, make(chan struct{}, maxOut)}
}

func (l *outListener) Accept() (net.Conn, error) {
	var c net.Conn
	for c == nil || !l.isOwn(c.(*net.UnixConn)) {
		if c != nil {
			c.Close()
		}
		var err error
		if c, err = l.Listener.Accept(); err != nil {
			return nil, http.ErrServerClosed
		}
	}
	conn := &outConn{Conn: hop.NewConn(c).(*hop.Conn), spare: l.spare}
	if p := l.spare.owner.Load(); p != nil && p.Spec.Ref.Namespace == "" {
		return conn, nil
	}
	select {
	case l.slots <- struct{}{}:
		conn.slots = l.slots
		return conn, nil
	case <-l.spare.proc.Done():
		c.Close()
		return nil, http.ErrServerClosed
	}
}

// isOwn tells whether a connection is the process's own. Every user of the host can read the socket's name in
// /proc/net/unix, and whoever connects to it speaks for the process.
func (l *outListener) isOwn(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	var perr error
	err = raw.Control(func(fd uintptr) { peer, perr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return err == nil && perr == nil && int(peer.Pid) == l.spare.proc.Pid()
}

type outConn struct {
	*hop.Conn
	spare *spare
	slots chan struct{} // nil: it takes none
	once  sync.Once
}

func (c *outConn) Close() error {
	c.once.Do(func() {
		if c.slots != nil {
			<-c.slots
		}
	})
	return c.Conn.Close()
}
