package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"atoll.dev/atoll/internal/atoll"
)

// The dispatch Worker of a platform that looks the customer's plan up in KV; under miniflare the user Worker is a service.
const (
	planScript = `const plans = { enterprise: { cpuMs: 50, subRequests: 50 }, pro: { cpuMs: 20, subRequests: 20 }, free: { cpuMs: 10, subRequests: 5 } };
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const name = url.hostname.split(".")[0];
    if (url.pathname === "/prepare") {
      await env.CUSTOMERS_KV.put(name, "enterprise");
      return new Response("ready");
    }
    const limits = plans[await env.CUSTOMERS_KV.get(name)] ?? plans.free;
    return await GET(name, limits).fetch(request);
  },
};`
	atollGet     = `env.DISPATCHER.get(name, {}, { limits })`
	miniflareGet = `env[name]`
)

func planning(get string) string { return strings.Replace(planScript, "GET(name, limits)", get, 1) }

// plans measures the chain with a KV lookup of the customer's plan on the way.
func (b *bench) plans() error {
	var subjects []subjectServer
	defer func() {
		for _, s := range subjects {
			s.close()
		}
	}()
	mf, err := b.startMiniflare(
		miniflareWorker("dispatcher", planning(miniflareGet), map[string]any{"serviceBindings": map[string]any{helloName: helloName},
			"kvNamespaces": map[string]any{"CUSTOMERS_KV": "customers"}}),
		miniflareWorker(helloName, helloScript, nil))
	switch {
	case errors.Is(err, errNoMiniflare):
		b.say("%v", err)
	case err != nil:
		return fmt.Errorf("start miniflare: %w", err)
	default:
		subjects = append(subjects, subjectServer{byMiniflare, mf})
	}
	if !b.opts.bare {
		n, err := b.startNode()
		if err != nil {
			return err
		}
		subjects = append(subjects, subjectServer{byAtoll, n.server()})
		if err := n.plans(); err != nil {
			return fmt.Errorf("%w\n%s", err, n.proc.said())
		}
	}
	for _, s := range subjects {
		if err := s.prepare(helloName, bindingRow{prepare: "/prepare"}); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return b.loads("plans", "A dispatch Worker that looks the plan up in KV", subjects,
		func(subjectServer) string { return request(host(helloName), "/") }, helloText, [2]string{byAtoll, byMiniflare})
}

func (n *node) plans() error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	if _, err := n.client.CreateNamespace(ctx, namespace, false); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	table, err := n.client.CreateKVNamespace(ctx, "customers")
	if err != nil {
		return fmt.Errorf("create KV namespace: %w", err)
	}
	err = n.deploy(atoll.ScriptRef{Name: dispatcher}, planning(atollGet), dispatchBinding("DISPATCHER", namespace),
		map[string]any{"type": "kv_namespace", "name": "CUSTOMERS_KV", "namespace_id": table.ID})
	if err == nil {
		err = n.deploy(user(helloName), helloScript)
	}
	if err == nil {
		err = n.route()
	}
	return err
}
