package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/workerd"
)

// The subjects of subrequest: a user Worker that fetches from an origin, a third workerd, and answers with what it gets.
const (
	bareFetch      = "bare fetch"
	bareChainFetch = "bare chain"
	bareOutbound   = "bare chain, outbound"
	atollFetch     = "atoll"
	atollOutbound  = "atoll, outbound"
)

const (
	fetchScript    = `export default { fetch() { return fetch("http://ORIGIN/"); } };`
	outboundScript = `export default { fetch(request) { return fetch(request); } };`
	outboundName   = atoll.ScriptName("outbound")
)

// subrequest measures a user Worker with one subrequest, with and without an outbound Worker on its way.
func (b *bench) subrequest() error {
	origin, err := b.startHello()
	if err != nil {
		return fmt.Errorf("start origin: %w", err)
	}
	defer origin.close()
	var subjects []subjectServer
	defer func() {
		for _, s := range subjects {
			s.close()
		}
	}()
	for _, s := range []struct {
		name  string
		start func(origin string) (*server, error)
	}{
		{bareFetch, b.startFetch},
		{bareChainFetch, func(o string) (*server, error) { return b.startFetchChain(o, false) }},
		{bareOutbound, func(o string) (*server, error) { return b.startFetchChain(o, true) }},
		{atollFetch, func(o string) (*server, error) { return b.startAtollFetch(o, false) }},
		{atollOutbound, func(o string) (*server, error) { return b.startAtollFetch(o, true) }},
	} {
		if b.opts.bare && strings.HasPrefix(s.name, "atoll") {
			continue
		}
		srv, err := s.start(origin.address)
		if err != nil {
			return fmt.Errorf("start %s: %w", s.name, err)
		}
		subjects = append(subjects, subjectServer{s.name, srv})
	}
	for _, s := range subjects {
		if _, err := b.offer(helloLoad(s.server, 8, 3*time.Second)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, connections := range b.opts.connections {
		if err := b.subrequestTable(subjects, connections); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) subrequestTable(subjects []subjectServer, connections int) error {
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	t := newTable(fmt.Sprintf("One subrequest, closed loop, %d connections (%d turns of %s)", connections, b.opts.pairs, b.opts.duration),
		loadColumns, names...)
	t.ID = fmt.Sprintf("subrequest/%d", connections)
	noise := b.listen()
	for range b.opts.pairs {
		for _, s := range subjects {
			if err := b.sample(t, s, helloLoad(s.server, connections, b.opts.duration)); err != nil {
				return err
			}
		}
	}
	t.note("%s", noise.heard())
	t.note("the CPU time is that of the subjects, without their origin's")
	pairs := [][2]string{{bareChainFetch, bareFetch}, {bareOutbound, bareChainFetch}}
	if len(subjects) > 3 {
		pairs = append(pairs, [2]string{atollFetch, bareChainFetch}, [2]string{atollOutbound, bareOutbound}, [2]string{atollOutbound, atollFetch})
	}
	t.finish(pairs...)
	b.publish(t)
	return nil
}

// withNetwork lets a bare Worker reach loopback.
func withNetwork(cfg workerd.Config) workerd.Config {
	cfg.Services = append(cfg.Services, workerd.Service{Name: "internet", Kind: workerd.Network{Allow: []string{"private"}}})
	return cfg
}

// startFetch starts one workerd whose Worker fetches.
func (b *bench) startFetch(origin string) (*server, error) {
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	p, err := b.startBare("fetch", withNetwork(bareConfig(fetching(origin), nil)), l)
	if err != nil {
		return nil, err
	}
	return &server{"tcp", l.Addr().String(), func() []int { return []int{p.pid()} }, p.kill}, nil
}

func fetching(origin string) string { return strings.Replace(fetchScript, "ORIGIN", origin, 1) }

// startFetchChain starts a dispatch Worker before the Worker that fetches, and an outbound Worker behind it, each a process.
func (b *bench) startFetchChain(origin string, outbound bool) (_ *server, err error) {
	dir, err := os.MkdirTemp(b.dir, "chain-")
	if err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	var list []*process
	end := func() {
		for _, p := range list {
			p.kill()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	start := func(name string, cfg workerd.Config, l net.Listener) error {
		p, err := b.startBare(name, cfg, l)
		if err == nil {
			list = append(list, p)
		}
		return err
	}
	unix := func(name string, cfg workerd.Config) (path string, err error) {
		path = filepath.Join(dir, name)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return "", fmt.Errorf("listen: %w", err)
		}
		l.SetUnlinkOnClose(false)
		return path, start(name, cfg, l)
	}
	user := withNetwork(bareConfig(fetching(origin), nil))
	if outbound {
		path, err := unix("outbound", withNetwork(bareConfig(outboundScript, nil)))
		if err != nil {
			return nil, err
		}
		user = bareConfig(fetching(origin), nil)
		user.Services = append(user.Services, workerd.Service{Name: "internet", Kind: workerd.External{Address: "unix:" + path}})
	}
	path, err := unix("user", user)
	if err != nil {
		return nil, err
	}
	l, err := listenTCP()
	if err != nil {
		return nil, err
	}
	if err := start("dispatch", bareConfig(bareDispatchScript, map[string]string{helloName: path}), l); err != nil {
		return nil, err
	}
	pids := func() (pids []int) {
		for _, p := range list {
			pids = append(pids, p.pid())
		}
		return pids
	}
	return &server{"tcp", l.Addr().String(), pids, end}, nil
}

func (b *bench) startAtollFetch(origin string, outbound bool) (*server, error) {
	n, err := b.startNode("--egress-allow", "127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	if err := n.fetching(origin, outbound); err != nil {
		n.stop()
		return nil, fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return n.server(), nil
}

func (n *node) fetching(origin string, outbound bool) error {
	if err := n.platform(dispatchScript); err != nil {
		return err
	}
	if outbound {
		if err := n.deploy(atoll.ScriptRef{Name: outboundName}, outboundScript); err != nil {
			return err
		}
		binding := dispatchBinding("DISPATCHER", namespace)
		binding["outbound"] = map[string]any{"worker": map[string]any{"service": outboundName}}
		if err := n.deploy(atoll.ScriptRef{Name: dispatcher}, dispatchScript, binding); err != nil {
			return err
		}
	}
	if err := n.deploy(user(helloName), fetching(origin)); err != nil {
		return err
	}
	return n.ask(helloName, helloText)
}
