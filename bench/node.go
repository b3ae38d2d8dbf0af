package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

// namespace is the dispatch namespace of all scenarios, dispatcher their dispatch Worker.
const (
	namespace  = atoll.NamespaceName("bench")
	dispatcher = atoll.ScriptName("dispatcher")
)

// node is a running atoll serve.
type node struct {
	b       *bench
	flags   []string // of serve, beside those of every node
	proc    *process
	data    string
	edge    string // host:port
	api     string // URL
	account string
	token   string
	client  *client.Client
}

// buildAtoll builds the program that is measured, unless one is named.
func (b *bench) buildAtoll() error {
	if b.atoll = b.opts.atoll; b.atoll != "" || b.opts.bare {
		return nil
	}
	b.say("building atoll")
	b.atoll = filepath.Join(b.dir, "atoll")
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.atoll, "./cmd/atoll")
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build atoll: %w\n%s", err, out)
	}
	return nil
}

// startNode starts a node with an empty data directory.
func (b *bench) startNode(flags ...string) (*node, error) {
	data, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	n := &node{b: b, flags: flags, data: data}
	return n, n.start()
}

var readyLine = regexp.MustCompile(`^atoll: ready edge=http://(\S+) api=(\S+) account=([0-9a-f]{32})$`)

// start starts the process, and returns when it serves.
func (n *node) start() error {
	cmd := exec.Command(n.b.atoll, append([]string{"serve", "--data", n.data, "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0",
		"--workerd", n.b.workerd.Path, "--zone", zone, "--log-level", "warn"}, n.flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	if n.proc, err = n.b.start("atoll", cmd); err != nil {
		return err
	}
	ready := make(chan []string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n') // an end without the line is no match
		ready <- readyLine.FindStringSubmatch(strings.TrimSpace(line))
		io.Copy(io.Discard, r)
	}()
	select {
	case m := <-ready:
		if m == nil {
			n.stop()
			return fmt.Errorf("atoll serve did not become ready: %s", n.proc.said())
		}
		n.edge, n.api, n.account = m[1], m[2], m[3]
	case <-time.After(maxAnswer):
		n.stop()
		return fmt.Errorf("atoll serve was not ready after %s: %s", maxAnswer, n.proc.said())
	case <-n.b.ctx.Done():
		n.stop()
		return context.Cause(n.b.ctx)
	}
	token, err := os.ReadFile(filepath.Join(n.data, "api-token"))
	if err != nil {
		n.stop()
		return fmt.Errorf("read token: %w", err)
	}
	n.token = strings.TrimSpace(string(token))
	n.client, err = client.New(n.api, n.token, client.Options{
		Account: atoll.AccountID(n.account),
		HTTP:    &http.Client{Timeout: maxAnswer, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	})
	return err
}

func (n *node) stop() { n.proc.stop() }

// restart stops the node and starts it with the same data.
func (n *node) restart() error {
	n.stop()
	return n.start()
}

// pids are the node's process and those of the Workers.
func (n *node) pids() []int { return tree(n.proc.pid()) }

// isolates are the processes of workerd alone.
func (n *node) isolates() (list []int) {
	for _, pid := range n.pids() {
		if name(pid) == "workerd" {
			list = append(list, pid)
		}
	}
	return list
}

func (n *node) server() *server { return &server{"tcp", n.edge, n.pids, n.stop} }

// user names a user Worker.
func user(name string) atoll.ScriptRef {
	return atoll.ScriptRef{Namespace: namespace, Name: atoll.ScriptName(name)}
}

// host is where the edge answers for a user Worker.
func host(name string) string { return name + "." + zone }

// deploy uploads an ES module as a script.
func (n *node) deploy(ref atoll.ScriptRef, script string, bindings ...map[string]any) error {
	return n.deployMigrated(ref, script, nil, bindings...)
}

// deployMigrated uploads one with migrations of its Durable Objects, nil for none.
func (n *node) deployMigrated(ref atoll.ScriptRef, script string, migrations map[string]any, bindings ...map[string]any) error {
	meta := map[string]any{"main_module": "worker.js", "compatibility_date": compatibilityDate}
	if len(bindings) > 0 {
		meta["bindings"] = bindings
	}
	if migrations != nil {
		meta["migrations"] = migrations
	}
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	_, err := n.client.Deploy(ctx, ref, client.Upload{
		Metadata: meta,
		Files:    []client.File{{Name: "worker.js", ContentType: "application/javascript+module", Data: []byte(script)}},
	})
	if err != nil {
		return fmt.Errorf("deploy %s: %w", ref, err)
	}
	return nil
}

// platform makes the namespace, a dispatch Worker with a binding to it, and the route.
func (n *node) platform(script string) error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	if _, err := n.client.CreateNamespace(ctx, namespace, false); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	if err := n.deploy(atoll.ScriptRef{Name: dispatcher}, script, dispatchBinding("DISPATCHER", namespace)); err != nil {
		return err
	}
	return n.route()
}

func dispatchBinding(name string, ns atoll.NamespaceName) map[string]any {
	return map[string]any{"type": "dispatch_namespace", "name": name, "namespace": string(ns)}
}

// route leads every host of the zone to the dispatch Worker.
func (n *node) route() error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	z, err := n.zone(ctx)
	if err != nil {
		return err
	}
	if _, err := n.client.CreateRoute(ctx, z, wire.Route{Pattern: "*." + zone + "/*", Script: string(dispatcher)}); err != nil {
		return fmt.Errorf("make route: %w", err)
	}
	return nil
}

// zone is the id of the node's own zone.
func (n *node) zone(ctx context.Context) (string, error) {
	zones, err := n.client.Zones(ctx, zone)
	if err != nil || len(zones) != 1 {
		return "", fmt.Errorf("find zone %s: %w", zone, errors.Join(err, ctx.Err()))
	}
	return zones[0].ID, nil
}

// ask sends one request through the edge and expects a body.
func (n *node) ask(name, want string) error {
	c, err := dial("tcp", n.edge)
	if err != nil {
		return err
	}
	defer c.Close()
	res, _, err := c.do(request(host(name), "/"))
	return check(res, err, want)
}

// check says what is wrong with an answer.
func check(res response, err error, want string) error {
	if err != nil {
		return err
	}
	if res.status != http.StatusOK || string(res.body) != want {
		return fmt.Errorf("answer %d %.200q, not %q", res.status, res.body, want)
	}
	return nil
}
