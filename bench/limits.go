package main

import (
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The subjects of limits.
const (
	spinning      = "spin, cpuMs 10"
	withLimits    = "atoll chain"
	withoutLimits = "atoll chain --without-limits"
	alone         = "alone"
	besideLoop    = "beside a busy loop that is no Worker"
	besideHog     = "beside a hog at its limit"
)

const (
	spins        = 200
	waiters      = 100
	limitPairs   = 100                    // at the least
	limitTurn    = 300 * time.Millisecond // short: what the machine has to spare is much the same in both turns of a pair then
	hogName      = "hog"
	neighborRate = 200             // requests/s, well below what the machine can do
	neighborTime = 5 * time.Second // at the least: a thousand requests, of which p99 is the tenth worst
)

// limitedDispatch gives every call 10 ms, and tells what it is thrown.
const limitedDispatch = `export default {
  async fetch(request, env) {
    const name = new URL(request.url).hostname.split(".")[0];
    try {
      return await env.DISPATCHER.get(name, {}, { limits: { cpuMs: 10, subRequests: 5 } }).fetch(request);
    } catch (e) {
      return new Response(e.message, { status: 429 });
    }
  },
};`

// hogScript spins where it is asked to, and otherwise counts how often it was asked, in a global.
const hogScript = `let count = 0;
export default {
  async fetch(request) {
    switch (new URL(request.url).pathname) {
      case "/spin": for (;;);
      case "/wait": await scheduler.wait(1000); return new Response("waited");
      default: return new Response(String(++count));
    }
  },
};`

const (
	stoppedStatus = 429
	stoppedText   = "Worker exceeded CPU time limit."
)

// limits measures how exactly CPU limits are kept, what they cost, and what a neighbor feels.
func (b *bench) limits() error {
	if b.opts.bare {
		return nil
	}
	n, err := b.startNode()
	if err != nil {
		return err
	}
	defer n.stop()
	if err = n.limited(); err == nil {
		err = n.exactness()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	n.stop()
	return b.overhead()
}

// limited deploys a tenant that spins where it is asked to, one that does not, and a dispatch Worker that limits both.
func (n *node) limited() error {
	err := n.platform(limitedDispatch)
	for name, script := range map[string]string{hogName: hogScript, helloName: helloScript} {
		if err == nil {
			err = n.deploy(user(name), script)
		}
	}
	return err
}

// hog measures what a tenant feels of another at its limit.
func (b *bench) hog() error {
	if b.opts.bare {
		return nil
	}
	n, err := b.startNode()
	if err != nil {
		return err
	}
	defer n.stop()
	if err = n.limited(); err == nil {
		err = n.neighbor()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return nil
}

// exactness has a warm isolate spin over its limit again and again, while a hundred requests wait in it.
func (n *node) exactness() error {
	c, err := dial("tcp", n.edge)
	if err != nil {
		return err
	}
	defer c.Close()
	spin := func() error {
		res, _, err := c.do(request(host(hogName), "/spin"))
		if err == nil && (res.status != stoppedStatus || string(res.body) != stoppedText) {
			err = fmt.Errorf("a spin was answered %d %.200q", res.status, res.body)
		}
		return err
	}
	if err := n.ask(hogName, "1"); err != nil { // starts it
		return err
	}
	pid, err := n.busiest(spin)
	if err != nil {
		return err
	}
	var over atomic.Bool
	var waited atomic.Int64
	var group errgroup.Group
	var ready sync.WaitGroup
	ready.Add(waiters)
	for range waiters {
		group.Go(func() error { return n.waiter(&over, &waited, ready.Done) })
	}
	ready.Wait()
	noise := n.b.listen()
	t := newTable(fmt.Sprintf("A spin's CPU time by its process's clock, among %d requests that wait in the same isolate (%d turns)", waiters, spins),
		[]column{{Name: "ms", Digits: 2}}, spinning)
	t.ID = "exactness"
	turns := spins
	if n.b.opts.quick {
		turns = 20
	}
	for range turns {
		before := clock(pid)
		if err = spin(); err != nil {
			break
		}
		t.add(spinning, ms(clock(pid)-before))
	}
	over.Store(true)
	if waitErr := group.Wait(); err == nil {
		err = waitErr
	}
	if err == nil {
		err = n.ask(hogName, "2") // the isolate is the one that counted to 1
	}
	if err != nil {
		return err
	}
	samples := t.subject(spinning).Samples[0]
	t.note("a tenth took more than %.1f ms; %d requests that waited meanwhile were answered, none was lost; the isolate kept its globals",
		quantile(samples, 0.9), waited.Load())
	t.note("%s", noise.heard())
	t.finish()
	n.b.publish(t)
	return nil
}

// waiter keeps one request waiting in the isolate until the spins are over. It calls ready before its first answer.
func (n *node) waiter(over *atomic.Bool, waited *atomic.Int64, ready func()) error {
	c, err := dial("tcp", n.edge)
	ready()
	if err != nil {
		return err
	}
	defer c.Close()
	for !over.Load() {
		res, _, err := c.do(request(host(hogName), "/wait"))
		if err := check(res, err, "waited"); err != nil {
			return fmt.Errorf("a request that waited: %w", err)
		}
		waited.Add(1)
	}
	return nil
}

// busiest returns the isolate process whose clock advances most while f runs.
func (n *node) busiest(f func() error) (pid int, err error) {
	before := map[int]time.Duration{}
	for _, p := range n.isolates() {
		before[p] = clock(p)
	}
	err = f()
	var most time.Duration
	for p, then := range before {
		if used := clock(p) - then; used > most {
			pid, most = p, used
		}
	}
	return pid, err
}

// clock is the processor time of a process to the nanosecond, by its CPU clock; see clock_getcpuclockid(3).
func clock(pid int) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// neighbor measures one tenant's latency while another, always at its limit, uses whatever a script can. What a loop does to
// it that is a program of the machine's own tells what part of that is the machine's.
func (n *node) neighbor() error {
	d := max(n.b.opts.duration, neighborTime)
	if n.b.opts.quick {
		d = n.b.opts.duration
	}
	t := newTable(fmt.Sprintf("A tenant's latency at %d requests/s, 8 connections (%d turns of %s)", neighborRate, n.b.opts.pairs, d),
		[]column{{Name: "p50 ms", Digits: 2}, {Name: "p99 ms", Digits: 2}, {Name: "errors", Sum: true}}, alone, besideLoop, besideHog)
	t.ID = "neighbor"
	if err := n.ask(helloName, helloText); err != nil {
		return err
	}
	l := helloLoad(n.server(), 8, d)
	l.Rate = neighborRate
	noise := n.b.listen()
	for range n.b.opts.pairs {
		for _, subject := range []string{alone, besideLoop, besideHog} {
			end := func() error { return nil }
			switch subject {
			case besideLoop:
				loop, err := n.b.loop()
				if err != nil {
					return err
				}
				end = func() error { loop.kill(); return nil }
			case besideHog:
				end = n.hog(2)
			}
			res, err := n.b.offer(l)
			if hogErr := end(); err == nil {
				err = hogErr
			}
			if err != nil {
				return err
			}
			t.add(subject, ms(res.Latency.quantile(0.5)), ms(res.Latency.quantile(0.99)), float64(res.Errors))
		}
	}
	t.note("%s", noise.heard())
	t.finish([2]string{besideLoop, alone}, [2]string{besideHog, alone}, [2]string{besideHog, besideLoop})
	n.b.publish(t)
	return nil
}

// loop is a program that uses a processor, in a session of its own as an isolate's process is.
func (b *bench) loop() (*process, error) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return b.start("loop", cmd)
}

// hog keeps so many requests spinning in one tenant's Worker until end is called.
func (n *node) hog(connections int) (end func() error) {
	var over atomic.Bool
	var group errgroup.Group
	for range connections {
		group.Go(func() error {
			c, err := dial("tcp", n.edge)
			if err != nil {
				return err
			}
			defer c.Close()
			for !over.Load() {
				res, _, err := c.do(request(host(hogName), "/spin"))
				if err != nil || res.status != stoppedStatus {
					return fmt.Errorf("a spin was answered %d %.200q, %w", res.status, res.body, err)
				}
			}
			return nil
		})
	}
	return func() error {
		over.Store(true)
		return group.Wait()
	}
}

// overhead compares the chain on a node with limits and on one without.
func (b *bench) overhead() error {
	var subjects []subjectServer
	defer func() {
		for _, s := range subjects {
			s.close()
		}
	}()
	for _, s := range []struct {
		name  string
		flags []string
	}{{withoutLimits, []string{"--without-limits"}}, {withLimits, nil}} {
		srv, err := b.startAtollChain(s.flags...)
		if err != nil {
			return err
		}
		subjects = append(subjects, subjectServer{s.name, srv})
		if _, err := b.offer(helloLoad(srv, 8, 2*time.Second)); err != nil {
			return err
		}
	}
	pairs := max(limitPairs, b.opts.pairs)
	if b.opts.quick {
		pairs = b.opts.pairs
	}
	t := newTable(fmt.Sprintf("Overhead of limits on the chain, closed loop, 8 connections (%d turns of %s)", pairs, limitTurn),
		loadColumns, withoutLimits, withLimits)
	t.ID = "overhead"
	noise := b.listen()
	for i := range pairs {
		for j := range subjects { // who comes first changes, lest it matter
			if err := b.sample(t, subjects[(i+j)%2], helloLoad(subjects[(i+j)%2].server, 8, limitTurn)); err != nil {
				return err
			}
		}
	}
	t.finish([2]string{withLimits, withoutLimits})
	low, high := medianInterval(t.pairRatios(withLimits, withoutLimits, 0))
	t.note("the median ratio of requests/s is in %.3f to %.3f with 95%% confidence", low, high)
	low, high = medianInterval(t.pairRatios(withLimits, withoutLimits, 3))
	t.note("that of CPU time a request in %.3f to %.3f", low, high)
	t.note("%s", noise.heard())
	b.publish(t)
	return nil
}
