package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// The subjects of bindings.
const (
	byMiniflare = "miniflare"
	byAtoll     = "atoll"
)

// bindingRow is one use of a binding by one Worker, which a node and miniflare both run. A new one needs nothing else than
// to stand in bindingRows.
type bindingRow struct {
	name   string
	script string
	// bind makes what the Worker's bindings lead to, and returns them as an upload's metadata has them.
	bind func(context.Context, *node) ([]map[string]any, error)
	// options are the same bindings as miniflare's options of a Worker have them.
	options map[string]any
	// migrations are of the classes of Durable Objects that the Worker has, as an upload's metadata has them.
	migrations map[string]any
	// prepare is the path of a request that is made once before anything is measured, where one is needed.
	prepare string
	// path is that of the measured requests, which are all alike; each is answered with want.
	path, want string
}

// bindingRows are measured one after the other, each row with a Worker, a node's script and a miniflare of its own.
var bindingRows = []bindingRow{
	{name: "KV get", script: kvScript, bind: bindKV, options: kvOptions, prepare: "/prepare", path: "/get", want: kvValue},
	{name: "KV put", script: kvScript, bind: bindKV, options: kvOptions, path: "/put", want: "put"},
	{name: "D1 select", script: d1Script, bind: bindD1, options: d1Options, prepare: "/prepare", path: "/select", want: "name 500"},
	{name: "D1 insert", script: d1Script, bind: bindD1, options: d1Options, prepare: "/prepare", path: "/insert", want: "done"},
	{name: "R2 get 1 KB", script: r2Script, bind: bindR2, options: r2Options, prepare: "/prepare", path: "/get-small", want: "1000"},
	{name: "R2 put 1 KB", script: r2Script, bind: bindR2, options: r2Options, path: "/put-small", want: "1000"},
	{name: "R2 get 10 MB", script: r2Script, bind: bindR2, options: r2Options, prepare: "/prepare", path: "/get-large", want: "10000000"},
	{name: "R2 put 10 MB", script: r2Script, bind: bindR2, options: r2Options, path: "/put-large", want: "10000000"},
	{name: "Durable Object get", script: objectScript, bind: bindObject, options: objectOptions, migrations: objectMigrations, prepare: "/count", path: "/get", want: "counted"},
	{name: "Durable Object count", script: objectScript, bind: bindObject, options: objectOptions, migrations: objectMigrations, prepare: "/count", path: "/count", want: "counted"},
}

const (
	kvValue  = `{"plan":"enterprise","limits":{"cpuMs":50}}`
	kvScript = `let n = 0;
export default {
  async fetch(request, env) {
    switch (new URL(request.url).pathname) {
      case "/prepare":
        await env.KV.put("key", '` + kvValue + `');
        return new Response("ready");
      case "/get":
        return new Response(await env.KV.get("key"));
      case "/put":
        await env.KV.put("key-" + n++ % 1000, '` + kvValue + `');
        return new Response("put");
    }
  },
};`
)

var kvOptions = map[string]any{"kvNamespaces": map[string]any{"KV": "bench"}}

func bindKV(ctx context.Context, n *node) ([]map[string]any, error) {
	ns, err := n.client.CreateKVNamespace(ctx, fmt.Sprintf("bench-%d", time.Now().UnixNano()))
	if err != nil {
		return nil, fmt.Errorf("create KV namespace: %w", err)
	}
	return []map[string]any{{"type": "kv_namespace", "name": "KV", "namespace_id": ns.ID}}, nil
}

// bindingConnections and bindingRequests are of the load on each row: a turn goes on until each connection has had some
// answers, however large they are.
const (
	bindingConnections = 8
	bindingRequests    = 3 * bindingConnections
)

// bindings measures what a Worker does with its bindings beside the same Worker under miniflare, both reached by a request to
// the Worker itself, without a dispatch Worker before it.
func (b *bench) bindings() error {
	var n *node
	if !b.opts.bare {
		var err error
		if n, err = b.startNode(); err != nil {
			return err
		}
		defer n.stop()
	}
	for i, row := range bindingRows {
		if b.opts.rows != "" && !listed(b.opts.rows, row.name) {
			continue
		}
		if err := b.bindingTable(n, fmt.Sprintf("row%d", i), row); errors.Is(err, errNoMiniflare) {
			b.say("%v", err)
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	return nil
}

func (b *bench) bindingTable(n *node, script string, row bindingRow) error {
	mf, err := b.startMiniflare(miniflareWorker("main", row.script, row.options))
	if err != nil {
		return fmt.Errorf("start miniflare: %w", err)
	}
	defer mf.close()
	subjects := []subjectServer{{byMiniflare, mf}}
	if n != nil {
		if err := n.bound(script, row); err != nil {
			return fmt.Errorf("%w\n%s", err, n.proc.said())
		}
		subjects = append(subjects, subjectServer{byAtoll, n.server()})
	}
	rowLoad := func(s subjectServer, d time.Duration) load {
		return load{Network: s.network, Address: s.address, Request: request(host(script), row.path), Want: row.want,
			Connections: bindingConnections, Duration: d, AtLeast: bindingRequests}
	}
	t := newTable(fmt.Sprintf("%s, closed loop, %d connections (%d turns of %s, or %d requests if these take longer)",
		row.name, bindingConnections, b.opts.pairs, b.opts.duration, bindingRequests),
		loadColumns, byMiniflare, byAtoll)
	t.ID = "bindings/" + row.name
	for _, s := range subjects {
		if err := s.prepare(script, row); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if _, err := b.offer(rowLoad(s, time.Second)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	noise := b.listen()
	for range b.opts.pairs {
		for _, s := range subjects {
			if err := b.sample(t, s, rowLoad(s, b.opts.duration)); err != nil {
				return err
			}
		}
	}
	t.note("%s", noise.heard())
	t.finish([2]string{byAtoll, byMiniflare})
	b.publish(t)
	return nil
}

// prepare makes the row's request that comes before all others.
func (s subjectServer) prepare(script string, row bindingRow) error {
	if row.prepare == "" {
		return nil
	}
	c, err := dial(s.network, s.address)
	if err != nil {
		return err
	}
	defer c.Close()
	res, _, err := c.do(request(host(script), row.prepare))
	if err == nil && res.status != 200 {
		err = fmt.Errorf("prepare: answer %d %.200q", res.status, res.body)
	}
	return err
}

// bound deploys a row's Worker as a script of the account, at a host of its own.
func (n *node) bound(script string, row bindingRow) error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	bindings, err := row.bind(ctx, n)
	if err != nil {
		return err
	}
	if err := n.deployMigrated(atoll.ScriptRef{Name: atoll.ScriptName(script)}, row.script, row.migrations, bindings...); err != nil {
		return err
	}
	z, err := n.zone(ctx)
	if err != nil {
		return err
	}
	if _, err := n.client.CreateRoute(ctx, z, wire.Route{Pattern: host(script) + "/*", Script: script}); err != nil {
		return fmt.Errorf("make route: %w", err)
	}
	return nil
}
