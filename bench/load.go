package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// load is a closed loop, in which each connection sends its next request when it has the answer to the one before, or with a
// Rate an open one: requests are sent when they are due, and wait for a connection where all are in use. Their latency
// counts from when they were due, so that a server that stalls is not asked less for it.
//
// It ends after its Duration, or when AtLeast requests have been answered if that is later: a rate of requests that take
// longer than the load would be none.
type load struct {
	Network     string        `json:"network"` // "tcp" or "unix"
	Address     string        `json:"address"`
	Request     string        `json:"request"`
	Want        string        `json:"want"` // the body of the right answer
	Connections int           `json:"connections"`
	Duration    time.Duration `json:"duration"`
	AtLeast     int64         `json:"at_least,omitempty"`
	Rate        float64       `json:"rate,omitempty"` // requests/s of an open loop; 0: a closed one
}

// loadResult is what came of a load.
type loadResult struct {
	Requests   int64         `json:"requests"`
	Errors     int64         `json:"errors"` // other answers, and none
	FirstError string        `json:"first_error,omitempty"`
	Elapsed    time.Duration `json:"elapsed"`
	CPU        time.Duration `json:"cpu"` // of the generator
	Latency    histogram     `json:"latency"`
}

func (r *loadResult) rate() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// loadMain is the program of the load generator's process: a load on standard input, its result on standard output.
func loadMain(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1) // it keeps next to nothing
	var l load
	if err := json.NewDecoder(in).Decode(&l); err != nil {
		return fmt.Errorf("read load: %w", err)
	}
	g := &generator{load: l, request: []byte(l.Request), want: []byte(l.Want)}
	if err := g.run(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(g.result)
}

// generator runs a load on one thread with epoll(7), which costs a third of what goroutines on net.Conn do.
type generator struct {
	load
	request, want []byte
	epoll         int
	conns         []*loadConn
	result        loadResult

	// Of an open loop:
	timer int         // a timerfd
	start time.Time   // when the first request was due
	sent  int         // requests that have been due
	queue []time.Time // those of them that wait for a connection
	idle  []int
}

type loadConn struct {
	fd   int
	sent time.Time
	buf  []byte
	n    int
}

// stall is how long no answer at all may come before the generator gives up.
const stall = 20 * time.Second

func (g *generator) run() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	defer unix.Close(epoll)
	g.epoll = epoll
	for i := range g.Connections {
		g.conns = append(g.conns, &loadConn{buf: make([]byte, len(g.want)+64<<10)})
		if err := g.connect(i); err != nil {
			return err
		}
	}
	before := ownCPU()
	start := time.Now()
	if g.Rate > 0 {
		if err := g.tick(start); err != nil {
			return err
		}
		defer unix.Close(g.timer)
	} else {
		for i := range g.conns {
			g.send(i)
		}
	}
	err = g.loop(start)
	g.result.Elapsed = time.Since(start)
	g.result.CPU = ownCPU() - before
	for _, c := range g.conns {
		unix.Close(c.fd)
	}
	return err
}

func (g *generator) loop(start time.Time) error {
	events := make([]unix.EpollEvent, 64)
	end, last, done := start.Add(g.Duration), start, int64(0)
	for {
		n, err := unix.EpollWait(g.epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == timerEvent {
				g.due()
			} else {
				g.ready(int(e.Fd))
			}
		}
		now := time.Now()
		if now.After(end) && g.result.Requests >= g.AtLeast {
			return nil
		}
		if sum := g.result.Requests + g.result.Errors; sum != done {
			done, last = sum, now
		} else if now.Sub(last) > stall {
			return fmt.Errorf("no answer for %s", stall)
		}
		if g.result.Errors > 10_000 {
			return nil
		}
	}
}

// connect makes connection i. The index, not the descriptor, is what epoll gives back.
func (g *generator) connect(i int) error {
	domain, addr, err := sockaddr(g.Network, g.Address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Connect(fd, addr); err != nil {
		unix.Close(fd)
		return fmt.Errorf("connect to %s: %w", g.Address, err)
	}
	if domain != unix.AF_UNIX {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("setsockopt: %w", err)
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("fcntl: %w", err)
	}
	g.conns[i].fd, g.conns[i].n = fd, 0
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
	if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func sockaddr(network, address string) (domain int, addr unix.Sockaddr, err error) {
	if network == "unix" {
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: address}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, nil, err
	}
	ip := net.ParseIP(host).To4()
	number, err := strconv.Atoi(port)
	if ip == nil || err != nil {
		return 0, nil, fmt.Errorf("%s is not an IPv4 address with a port", address)
	}
	return unix.AF_INET, &unix.SockaddrInet4{Port: number, Addr: [4]byte(ip)}, nil
}

// timerEvent is the timer's number among those of connections.
const timerEvent = -1

// tick starts the timer of an open loop.
func (g *generator) tick(start time.Time) (err error) {
	g.start = start
	for i := range g.conns {
		g.idle = append(g.idle, i)
	}
	if g.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	every := unix.NsecToTimespec(int64(float64(time.Second) / g.Rate))
	if err := unix.TimerfdSettime(g.timer, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: timerEvent}
	if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, g.timer, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// due sends the requests whose time has come.
func (g *generator) due() {
	var count [8]byte
	unix.Read(g.timer, count[:]) // how often it has fired is known from the time
	for {
		at := g.start.Add(time.Duration(float64(g.sent) / g.Rate * float64(time.Second)))
		if at.After(time.Now()) {
			return
		}
		g.sent++
		if n := len(g.idle); n > 0 {
			i := g.idle[n-1]
			g.idle = g.idle[:n-1]
			g.sendAt(i, at)
		} else {
			g.queue = append(g.queue, at)
		}
	}
}

// next sends a connection's next request, if it has one.
func (g *generator) next(i int) {
	switch {
	case g.Rate == 0:
		g.send(i)
	case len(g.queue) > 0:
		at := g.queue[0]
		g.queue = g.queue[1:]
		g.sendAt(i, at)
	default:
		g.idle = append(g.idle, i)
	}
}

func (g *generator) send(i int) { g.sendAt(i, time.Now()) }

func (g *generator) sendAt(i int, at time.Time) {
	c := g.conns[i]
	c.sent = at
	// A request is far smaller than a socket's buffer, which is empty: anything but all of it is a failure.
	if n, err := unix.Write(c.fd, g.request); err != nil || n < len(g.request) {
		g.fail(i, fmt.Errorf("write: %w", err))
	}
}

// ready reads what has come for connection i.
func (g *generator) ready(i int) {
	c := g.conns[i]
	if c.n == len(c.buf) {
		g.fail(i, fmt.Errorf("a response of more than %d bytes", len(c.buf)))
		return
	}
	n, err := unix.Read(c.fd, c.buf[c.n:])
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		g.fail(i, fmt.Errorf("connection ended: %w", errors.Join(err, io.EOF)))
		return
	}
	c.n += n
	res, n, err := parse(c.buf[:c.n])
	switch {
	case err != nil:
		g.fail(i, err)
		return
	case n == 0:
		return
	case res.status != 200 || !bytes.Equal(res.body, g.want):
		g.wrong(fmt.Errorf("answer %d %.200q", res.status, res.body))
	default:
		g.result.Requests++
		g.result.Latency.add(time.Since(c.sent))
	}
	if n < c.n || res.close {
		g.fail(i, errors.New("connection not to be used again"))
		return
	}
	c.n = 0
	g.next(i)
}

func (g *generator) wrong(err error) {
	g.result.Errors++
	if g.result.FirstError == "" {
		g.result.FirstError = err.Error()
	}
}

// fail counts an error and replaces the connection.
func (g *generator) fail(i int, err error) {
	g.wrong(err)
	unix.Close(g.conns[i].fd)
	if g.result.Errors > 10_000 {
		return
	}
	if err := g.connect(i); err != nil {
		g.result.Errors += 10_000 // nothing listens any more
		return
	}
	g.next(i)
}

func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
