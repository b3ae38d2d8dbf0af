package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// The subjects of router: the same user Worker of one node, reached in three ways.
const (
	routedByWorker    = "dispatch Worker"
	routedBySubdomain = "router, subdomain"
	routedByKV        = "router, KV record"
)

// routes of router: hosts by subject.
var routedHosts = map[string]string{
	routedByWorker:    host(helloName),
	routedBySubdomain: helloName + ".routed.test",
	routedByKV:        "shop.hosts.test",
}

// router measures built-in routers beside a dispatch Worker.
func (b *bench) router() error {
	if b.opts.bare {
		return nil
	}
	srv, err := b.startRouted()
	if err != nil {
		return err
	}
	defer srv.close()
	subjects := []string{routedByWorker, routedBySubdomain, routedByKV}
	return b.loads("router", "A dispatch Worker and built-in routers", subjectsOf(srv, subjects), func(s subjectServer) string {
		return request(routedHosts[s.name], "/")
	}, helloText, [2]string{routedBySubdomain, routedByWorker}, [2]string{routedByKV, routedByWorker})
}

// subjectsOf are several names of one server.
func subjectsOf(srv *server, names []string) (list []subjectServer) {
	for _, n := range names {
		list = append(list, subjectServer{n, srv})
	}
	return list
}

// startRouted starts a node on which all of routedHosts lead to the hello Worker.
func (b *bench) startRouted() (*server, error) {
	n, err := b.startNode()
	if err != nil {
		return nil, err
	}
	if err = n.platform(dispatchScript); err == nil {
		err = n.deploy(user(helloName), helloScript)
	}
	if err == nil {
		err = n.routers()
	}
	if err != nil {
		n.stop()
		return nil, fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return n.server(), nil
}

func (n *node) routers() error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	table, err := n.client.CreateKVNamespace(ctx, "hosts")
	if err != nil {
		return fmt.Errorf("create KV namespace: %w", err)
	}
	record := `{"script":"` + helloName + `","limits":{"cpuMs":50,"subRequests":50}}`
	if err := n.client.KVPut(ctx, table.ID, routedHosts[routedByKV], []byte(record), client.KVOptions{}); err != nil {
		return fmt.Errorf("put record: %w", err)
	}
	for _, r := range []wire.Route{
		{Pattern: "*.routed.test/*", Router: &wire.Router{Kind: "subdomain", Namespace: string(namespace)}},
		{Pattern: "*.hosts.test/*", Router: &wire.Router{Kind: "kv", Namespace: string(namespace), KVNamespaceID: table.ID}},
	} {
		z, err := n.client.CreateZone(ctx, strings.TrimSuffix(strings.TrimPrefix(r.Pattern, "*."), "/*"))
		if err != nil {
			return fmt.Errorf("create zone: %w", err)
		}
		if _, err := n.client.CreateRoute(ctx, z.ID, r); err != nil {
			return fmt.Errorf("make route: %w", err)
		}
	}
	return nil
}

// loads measures subjects in turns at each number of connections, and publishes a table for each.
func (b *bench) loads(id, title string, subjects []subjectServer, ask func(subjectServer) string, want string, ratios ...[2]string) error {
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	offered := func(s subjectServer, connections int, d time.Duration) load {
		return load{Network: s.network, Address: s.address, Request: ask(s), Want: want, Connections: connections, Duration: d}
	}
	for _, s := range subjects { // what is compiled, opened and scaled out at first is not measured
		if _, err := b.offer(offered(s, 8, 2*time.Second)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, connections := range b.opts.connections {
		t := newTable(fmt.Sprintf("%s, closed loop, %d connections (%d turns of %s)", title, connections, b.opts.pairs, b.opts.duration), loadColumns, names...)
		t.ID = fmt.Sprintf("%s/%d", id, connections)
		noise := b.listen()
		for range b.opts.pairs {
			for _, s := range subjects {
				if err := b.sample(t, s, offered(s, connections, b.opts.duration)); err != nil {
					return err
				}
			}
		}
		t.note("%s", noise.heard())
		t.finish(ratios...)
		b.publish(t)
	}
	return nil
}
