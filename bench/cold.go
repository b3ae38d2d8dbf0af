package main

import (
	"fmt"
	"time"
)

// The subjects of cold and live.
const (
	bareSpawn   = "bare workerd serve, text config"
	bareBinary  = "bare workerd serve, binary config"
	atollCold   = "atoll, never-run script"
	atollDeploy = "atoll, deploy"
)

// rest is between two samples: a start soon after another is not what is measured, and the node fills up its spares.
const rest = 500 * time.Millisecond

// spawns measures, for every sample of a scenario's own subjects, bare workerd from spawn to the first byte of its first
// answer, whose connection waits for it from the beginning.
func (b *bench) spawns(t *table) error {
	config, err := b.textConfig()
	if err != nil {
		return err
	}
	for _, subject := range []string{bareSpawn, bareBinary} {
		d, err := b.spawn(subject, config)
		if err != nil {
			return fmt.Errorf("%s: %w", subject, err)
		}
		t.add(subject, ms(d))
		if err := b.sleep(rest); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) spawn(subject, config string) (time.Duration, error) {
	l, err := listenTCP()
	if err != nil {
		return 0, err
	}
	defer l.Close()
	c, err := dial("tcp", l.Addr().String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	var p *process
	if subject == bareSpawn {
		p, err = b.startWorkerd("spawn", l, nil, config)
	} else {
		p, err = b.startBare("spawn", bareConfig(helloScript, nil), l)
	}
	if err != nil {
		return 0, err
	}
	defer p.kill()
	res, first, err := c.do(request(host(helloName), "/"))
	if err := check(res, err, helloText); err != nil {
		return 0, fmt.Errorf("%w: %s", err, p.said())
	}
	return first.Sub(began), nil
}

// sleep waits, unless the run is to end.
func (b *bench) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

// cold measures the first request to scripts that have never run since the node started.
func (b *bench) cold() error {
	samples := 4 * b.opts.pairs
	t := newTable(fmt.Sprintf("Cold start, client to first byte (%d turns)", samples), []column{{Name: "ms", Digits: 1}},
		bareSpawn, bareBinary, atollCold)
	t.ID = "cold"
	var n *node
	if !b.opts.bare {
		var err error
		if n, err = b.startNode(); err != nil {
			return err
		}
		defer n.stop()
		if err := n.coldScripts(samples); err != nil {
			return fmt.Errorf("%w\n%s", err, n.proc.said())
		}
	}
	noise := b.listen()
	for i := range samples {
		if err := b.spawns(t); err != nil {
			return err
		}
		if n == nil {
			continue
		}
		d, err := n.first(coldName(i), helloText)
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", coldName(i), err, n.proc.said())
		}
		t.add(atollCold, ms(d))
		if err := b.sleep(rest); err != nil {
			return err
		}
	}
	t.note("%s", noise.heard())
	if n == nil {
		t.finish()
	} else {
		t.finish([2]string{atollCold, bareSpawn}, [2]string{atollCold, bareBinary})
		t.note("the dispatch Worker is warm; the user Workers were deployed, then the node restarted")
	}
	b.publish(t)
	return nil
}

func coldName(i int) string { return fmt.Sprintf("cold-%d", i) }

// coldScripts deploys the scripts, restarts the node so that none of them has a process, and wakes the dispatch Worker.
func (n *node) coldScripts(count int) error {
	if err := n.platform(dispatchScript); err != nil {
		return err
	}
	for i := range count {
		if err := n.deploy(user(coldName(i)), helloScript); err != nil {
			return err
		}
	}
	if err := n.deploy(user(helloName), helloScript); err != nil {
		return err
	}
	if err := n.restart(); err != nil {
		return err
	}
	if err := n.ask(helloName, helloText); err != nil {
		return err
	}
	return n.b.sleep(rest)
}

// first asks over a new connection and returns how long it took to the first byte.
func (n *node) first(name, want string) (time.Duration, error) {
	began := time.Now()
	c, err := dial("tcp", n.edge)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	res, first, err := c.do(request(host(name), "/"))
	if err := check(res, err, want); err != nil {
		return 0, err
	}
	return first.Sub(began), nil
}
