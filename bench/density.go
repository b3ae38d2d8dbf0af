package main

import (
	"fmt"
	"net"
	"path/filepath"
)

// The subjects of density.
const (
	bareProcess  = "bare workerd"
	atollProcess = "atoll, each script"
	fewWarm      = "10 warm scripts"
	manyWarm     = "all warm"
)

func warmName(i int) string { return fmt.Sprintf("warm-%d", i) }

// density measures what many warm scripts occupy, and whether a request costs more beside them.
func (b *bench) density() error {
	count := b.opts.warm
	t := newTable(fmt.Sprintf("%d warm hello-world scripts", count), []column{{Name: "PSS MB each", Digits: 2}, {Name: "RSS MB each", Digits: 1}}, bareProcess, atollProcess)
	t.ID = "density"
	if err := b.bareProcesses(t, count); err != nil {
		return fmt.Errorf("%s: %w", bareProcess, err)
	}
	if b.opts.bare {
		t.finish()
		b.publish(t)
		return nil
	}
	n, err := b.startNode()
	if err != nil {
		return err
	}
	defer n.stop()
	if err := n.warmAll(t, count); err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	t.finish([2]string{atollProcess, bareProcess})
	b.publish(t)
	return nil
}

// bareProcesses starts so many with the same flags, asks each once and looks at their memory.
func (b *bench) bareProcesses(t *table, count int) error {
	var list []*process
	defer func() {
		for _, p := range list {
			p.kill()
		}
	}()
	var pids []int
	for i := range count {
		path := filepath.Join(b.dir, fmt.Sprintf("bare-%d.sock", i))
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		l.SetUnlinkOnClose(false)
		p, err := b.startBare("bare", bareConfig(helloScript, nil), l)
		if err != nil {
			return err
		}
		list, pids = append(list, p), append(pids, p.pid())
		c, err := dial("unix", path)
		if err != nil {
			return err
		}
		res, _, err := c.do(request(host(helloName), "/"))
		c.Close()
		if err := check(res, err, helloText); err != nil {
			return fmt.Errorf("%w: %s", err, p.said())
		}
	}
	rss, pss := memory(pids)
	t.add(bareProcess, mb(pss)/float64(count), mb(rss)/float64(count))
	return nil
}

// warmAll does the same with scripts of a node, whose own memory is told apart.
func (n *node) warmAll(t *table, count int) error {
	b := n.b
	if err := n.platform(dispatchScript); err != nil {
		return err
	}
	for i := range count {
		if err := n.deploy(user(warmName(i)), helloScript); err != nil {
			return err
		}
	}
	if err := n.deploy(user(helloName), helloScript); err != nil {
		return err
	}
	if err := n.restart(); err != nil { // what deploying has left in memory is not measured
		return err
	}
	cost := newTable(fmt.Sprintf("The chain beside %d warm scripts, closed loop, 8 connections", count), loadColumns, fewWarm, manyWarm)
	cost.ID = "warm"
	hello := subjectServer{fewWarm, n.server()}
	if _, err := b.offer(helloLoad(hello.server, 8, b.opts.duration)); err != nil {
		return err
	}
	noise := b.listen()
	for i := range count {
		if i == 10 {
			if err := n.costs(cost, fewWarm); err != nil {
				return err
			}
		}
		if err := n.ask(warmName(i), helloText); err != nil {
			return fmt.Errorf("%s: %w", warmName(i), err)
		}
	}
	if err := n.costs(cost, manyWarm); err != nil {
		return err
	}
	isolates := n.isolates()
	rss, pss := memory(isolates)
	t.add(atollProcess, mb(pss)/float64(len(isolates)), mb(rss)/float64(len(isolates)))
	rss, pss = memory([]int{n.proc.pid()})
	t.note("the node itself: %.0f MB PSS, %.0f MB RSS; %d processes, dispatch Worker and spare ones included", mb(pss), mb(rss), len(isolates))
	cost.note("%s", noise.heard())
	cost.finish([2]string{manyWarm, fewWarm})
	b.publish(cost)
	return nil
}

// costs samples the hello Worker's load.
func (n *node) costs(t *table, subject string) error {
	for range n.b.opts.pairs {
		if err := n.b.sample(t, subjectServer{subject, n.server()}, helloLoad(n.server(), 8, n.b.opts.duration)); err != nil {
			return err
		}
	}
	return nil
}
