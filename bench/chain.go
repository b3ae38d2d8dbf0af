package main

import (
	"errors"
	"fmt"
	"time"
)

// The subjects of chain.
const (
	bareHello      = "bare hello"
	bareChain      = "bare chain"
	miniflareChain = "miniflare chain"
	atollChain     = "atoll chain"
)

var loadColumns = []column{
	{Name: "requests/s"}, {Name: "p50 ms", Digits: 2}, {Name: "p99 ms", Digits: 2}, {Name: "CPU us/request"}, {Name: "errors", Sum: true},
}

// subjectServer is a server under its name in the table.
type subjectServer struct {
	name string
	*server
}

// chain measures the way of a request: one bare workerd, two in a row, miniflare, and all of Atoll.
func (b *bench) chain() error {
	subjects, end, err := b.chainServers()
	defer end()
	if err != nil {
		return err
	}
	for _, s := range subjects { // what is compiled, opened and scaled out at first is not measured
		if _, err := b.offer(helloLoad(s.server, 8, 3*time.Second)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, connections := range b.opts.connections {
		if err := b.chainTable(subjects, connections); err != nil {
			return err
		}
	}
	return nil
}

// chainServers starts what chain compares; end ends it and is never nil.
func (b *bench) chainServers() (list []subjectServer, end func(), err error) {
	end = func() {
		for _, s := range list {
			s.close()
		}
	}
	starts := []struct {
		name  string
		start func() (*server, error)
	}{
		{bareHello, b.startHello}, {bareChain, b.startChain}, {miniflareChain, b.startMiniflareChain},
		{atollChain, func() (*server, error) { return b.startAtollChain() }},
	}
	for _, s := range starts {
		if s.name == atollChain && b.opts.bare {
			continue
		}
		srv, err := s.start()
		if errors.Is(err, errNoMiniflare) {
			b.say("%v", err)
			continue
		}
		if err != nil {
			return list, end, fmt.Errorf("start %s: %w", s.name, err)
		}
		list = append(list, subjectServer{s.name, srv})
	}
	return list, end, nil
}

func (b *bench) startAtollChain(flags ...string) (*server, error) {
	n, err := b.startNode(flags...)
	if err != nil {
		return nil, err
	}
	if err = n.platform(dispatchScript); err == nil {
		err = n.deploy(user(helloName), helloScript)
	}
	if err == nil {
		err = n.ask(helloName, helloText)
	}
	if err != nil {
		n.stop()
		return nil, fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return n.server(), nil
}

func helloLoad(s *server, connections int, d time.Duration) load {
	return load{Network: s.network, Address: s.address, Request: request(host(helloName), "/"), Want: helloText,
		Connections: connections, Duration: d}
}

// chainTable measures the subjects in turns at one number of connections.
func (b *bench) chainTable(subjects []subjectServer, connections int) error {
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	t := newTable(fmt.Sprintf("The chain, closed loop, %d connections (%d turns of %s)", connections, b.opts.pairs, b.opts.duration),
		loadColumns, names...)
	t.ID = fmt.Sprintf("chain/%d", connections)
	n := b.listen()
	for range b.opts.pairs {
		for _, s := range subjects {
			if err := b.sample(t, s, helloLoad(s.server, connections, b.opts.duration)); err != nil {
				return err
			}
		}
	}
	t.note("%s", n.heard())
	if last := subjects[len(subjects)-1]; last.name == atollChain {
		t.note("atoll used %d processes, spare ones included", len(last.pids()))
	}
	t.finish([2]string{bareChain, bareHello}, [2]string{atollChain, bareChain}, [2]string{atollChain, miniflareChain})
	b.publish(t)
	return nil
}

// sample offers a load once and adds what came of it to the table.
func (b *bench) sample(t *table, s subjectServer, l load) error {
	before := cpuTime(s.pids(), false)
	res, err := b.offer(l)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	cpu := since(before, cpuTime(s.pids(), false))
	if res.Errors > 0 {
		b.say("%s: %d errors, first: %s", s.name, res.Errors, res.FirstError)
	}
	perRequest := cpu.Seconds() * 1e6 / float64(max(res.Requests, 1))
	t.add(s.name, res.rate(), ms(res.Latency.quantile(0.5)), ms(res.Latency.quantile(0.99)), perRequest, float64(res.Errors))
	return nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
