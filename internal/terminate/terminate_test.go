package terminate

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Whatever keeps a request busy can be ended, save long built-in functions.
func TestTerminate(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, name := range []string{"loop", "microtasks", "regex", "finally", "wasm", "clone", "stringify", "sort", "getter", "proxy", "promises", "timer"} {
		t.Run(name, func(t *testing.T) {
			r := r.with(t)
			waiting := r.background(10, "/wait?ms=100")
			a := r.background(1, "/"+name)
			if got := r.terminate(r.busy()); got != Terminated {
				t.Errorf("%v", got)
			}
			if got := a.String(); got != `1x "500 Internal Server Error"` {
				t.Errorf("the request was answered %s", got)
			}
			if got := waiting.String(); got != `10x "200 waited"` {
				t.Errorf("those that waited were answered %s", got)
			}
			r.want("/", 200, "hello")
		})
	}
}

// Work after the response runs in its request's context, and is ended like it.
func TestTerminateAfterResponse(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.want("/after", 200, "answered")
	if got := r.terminate(r.busy()); got != Terminated {
		t.Errorf("%v", got)
	}
	r.want("/", 200, "hello")
}

// Three hundred terminations in one process: everything else it does goes on, and its globals stay.
func TestTerminateManyTimes(t *testing.T) {
	r := newRig(t, rigOptions{})
	waiting := r.background(100, "/wait?ms=3000")
	streams := r.background(10, "/stream?ms=2000")
	for n := 1; n <= 300; n++ {
		a := r.background(1, "/loop")
		c := r.busy()
		if got := r.terminate(c); got != Terminated {
			t.Fatalf("%d: %v", n, got)
		}
		if got := r.terminate(c); got != Absent {
			t.Fatalf("%d, again: %v", n, got)
		}
		if got := a.String(); got != `1x "500 Internal Server Error"` {
			t.Fatalf("%d: answered %s", n, got)
		}
		r.want("/count", 200, fmt.Sprint(n))
	}
	if got := waiting.String(); got != `100x "200 waited"` {
		t.Errorf("those that waited were answered %s", got)
	}
	if got := streams.String(); got != `10x "200 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 "` {
		t.Errorf("those that streamed were answered %s", got)
	}
}

// Under a load of short requests nearly every termination comes too late. Each request that fails is one that a
// termination has reported, and each that was reported fails.
func TestTerminateUnderLoad(t *testing.T) {
	r := newRig(t, rigOptions{})
	var clients sync.WaitGroup
	var stop atomic.Bool
	var failed, answered atomic.Int64
	for i := range 8 {
		path, want := "/work", "89995,89995,89995"
		if i%2 == 0 {
			path, want = "/", "hello"
		}
		clients.Go(func() {
			for !stop.Load() {
				switch status, body := r.get(path); {
				case status == 500:
					failed.Add(1)
				case status != 200 || body != want:
					t.Errorf("%s: answered %d %q", path, status, body)
				default:
					answered.Add(1)
				}
			}
		})
	}
	outcomes := map[Outcome]int{}
	wanted := map[Context]bool{}
	for n := 0; n < 1000; {
		c, err := r.target.Current()
		if err != nil {
			t.Fatal(err)
		}
		if c == None || wanted[c] {
			continue
		}
		if n++; n%2 == 0 { // the request of a moment ago: as a rule another one runs by now
			pause(50 * time.Microsecond)
		}
		o := r.terminate(c)
		outcomes[o]++
		wanted[c] = true
	}
	stop.Store(true)
	clients.Wait()
	t.Logf("%v; %d requests failed, %d were answered", outcomes, failed.Load(), answered.Load())
	if int64(outcomes[Terminated]) != failed.Load() {
		t.Errorf("%d terminations, but %d requests failed", outcomes[Terminated], failed.Load())
	}
	for range 100 {
		r.want("/work", 200, "89995,89995,89995")
	}
}

// A built-in function that does not look whether it should end is told from one that does.
func TestOverdue(t *testing.T) {
	r := newRig(t, rigOptions{})
	a := r.background(1, "/json")
	c := r.busy()
	overdue := 0
	for range 20 {
		o, err := r.target.Terminate(c, nil, after(5*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if o == Overdue {
			overdue++
			continue
		}
		break
	}
	t.Logf("overdue %d times", overdue)
	if overdue == 0 {
		t.Error("it ended at once: this test needs a slower function")
	}
	r.proc.Kill()
	a.Wait()
	if _, err := r.target.Terminate(c, nil, after(time.Minute)); !errors.Is(err, ErrGone) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := r.target.Current(); !errors.Is(err, ErrGone) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := r.engine.Attach(r.proc.Pid()); !errors.Is(err, ErrGone) {
		t.Errorf("attach after its end: %v", err)
	}
}

// A process that dies while its thread is held is reaped by its sandbox, with the signal that ended it.
func TestDeathInStop(t *testing.T) {
	for range 5 {
		r := newRig(t, rigOptions{})
		a := r.background(1, "/json")
		c := r.busy()
		done := make(chan error, 1)
		go func() {
			_, err := r.target.Terminate(c, nil, after(time.Minute))
			done <- err
		}()
		for !r.traced() {
			pause(100 * time.Microsecond)
		}
		r.proc.Kill()
		if got := r.proc.ExitState(); got.Signal != syscall.SIGKILL {
			t.Errorf("ended by %v", got)
		}
		if err := <-done; err != nil && !errors.Is(err, ErrGone) {
			t.Errorf("the termination: %v", err)
		}
		a.Wait()
	}
}

// Signals that come while the thread is held reach it later.
func TestSignals(t *testing.T) {
	r := newRig(t, rigOptions{})
	var stop atomic.Bool
	var sender sync.WaitGroup
	sender.Go(func() {
		for !stop.Load() {
			r.proc.Signal(syscall.SIGWINCH) // ignored by default
			r.proc.Signal(syscall.SIGCONT)
			pause(200 * time.Microsecond)
		}
	})
	for range 50 {
		a := r.background(1, "/loop")
		if got := r.terminate(r.busy()); got != Terminated {
			t.Errorf("%v", got)
		}
		a.Wait()
	}
	stop.Store(true)
	sender.Wait()
	r.want("/", 200, "hello")
	if err := r.proc.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := r.proc.ExitState(); got.Code != 0 {
		t.Errorf("asked to stop, it ended by %v", got)
	}
}

// A process that is stopped as a whole is left alone.
func TestStoppedProcess(t *testing.T) {
	r := newRig(t, rigOptions{})
	a := r.background(1, "/loop")
	c := r.busy()
	if err := r.proc.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	o, err := r.target.Terminate(c, nil, after(50*time.Millisecond))
	t.Log(o, err)
	if err := r.proc.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if o != Terminated {
		if got := r.terminate(c); got != Terminated {
			t.Errorf("%v", got)
		}
	}
	a.Wait()
	r.want("/", 200, "hello")
}

// The process's own system calls are restarted as if it had not been stopped: here that of a process which waits.
func TestIdle(t *testing.T) {
	r := newRig(t, rigOptions{})
	for range 100 {
		if _, err := r.engine.Attach(r.proc.Pid()); err != nil {
			t.Fatal(err)
		}
	}
	r.want("/", 200, "hello")
}

// Each request is a new context, and contexts are numbered in their order.
func TestLook(t *testing.T) {
	r := newRig(t, rigOptions{})
	if s, err := r.target.Look(); s != (Sight{Started: 1}) || err != nil {
		t.Errorf("idle: %+v, %v", s, err)
	}
	for n := Context(2); n < 5; n++ {
		a := r.background(1, "/loop")
		c := r.busy()
		s, err := r.target.Look()
		if s.Current != c || !s.Entered || s.Started != n || c != n || err != nil {
			t.Errorf("request %d: %+v, %v", n, s, err)
		}
		if alive, err := r.target.Alive(c, s.Place); !alive || err != nil {
			t.Errorf("a request that runs is alive: %v, %v", alive, err)
		}
		if alive, err := r.target.Alive(c+1, s.Place); alive || err != nil {
			t.Errorf("a later one in its place is alive: %v, %v", alive, err)
		}
		r.terminate(c)
		a.Wait()
		r.settle()
		if alive, err := r.target.Alive(c, s.Place); alive || err != nil {
			t.Errorf("a request that has ended is alive: %v, %v", alive, err)
		}
	}
	if alive, err := r.target.Alive(1, 8); alive || err != nil {
		t.Errorf("a request at no address is alive: %v, %v", alive, err)
	}
	var collected bool
	// A function that runs after garbage collection runs for no request.
	a := r.background(1, "/garbage")
	for deadline := time.Now().Add(10 * time.Second); !collected && time.Now().Before(deadline); pause(time.Millisecond) {
		s, err := r.target.Look()
		if err != nil {
			t.Fatal(err)
		}
		collected = s.Current == None && s.Entered
	}
	if !collected {
		t.Error("JavaScript that no request runs was not seen")
	}
	r.proc.Kill()
	a.Wait()
}

// A request is alive while it has work after its response.
func TestAlive(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.want("/later?ms=300", 200, "answered")
	s := r.sighting()
	if alive, err := r.target.Alive(s.Current, s.Place); !alive || err != nil {
		t.Errorf("after the response: %v, %v", alive, err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; pause(time.Millisecond) {
		alive, err := r.target.Alive(s.Current, s.Place)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("after its work: %v, %v", alive, err)
		}
		if !alive {
			break
		}
	}
}

// Attach may come before the process has been loaded.
func TestAttachEarly(t *testing.T) {
	r := newRig(t, rigOptions{early: true})
	for {
		target, err := r.engine.Attach(r.proc.Pid())
		if errors.Is(err, ErrNotReady) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		target.Close()
		break
	}
	r.want("/", 200, "hello")
}

// Attach refuses what is not the engine.
func TestAttachRefuses(t *testing.T) {
	r := newRig(t, rigOptions{})
	if _, err := r.engine.Attach(os.Getpid()); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("itself: %v", err)
	}
}
