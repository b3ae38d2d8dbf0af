package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/atoll"
)

// The two namespaces of scripts100k, and what they are called in the table.
const (
	few  = atoll.NamespaceName("few")
	many = atoll.NamespaceName("many")

	uploaders = 32
)

// pickScript dispatches into the namespace that the second label of the host names.
const pickScript = `export default {
  fetch(request, env) {
    const [name, namespace] = new URL(request.url).hostname.split(".");
    return env[namespace].get(name).fetch(request);
  },
};`

// scripts fills one dispatch namespace with 100,000 scripts and another with 10, and compares lists and dispatches.
func (b *bench) scripts() error {
	n, err := b.startNode()
	if err != nil {
		return err
	}
	defer n.stop()
	if err := n.fill(); err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	if err := n.compareSizes(); err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return nil
}

func scriptName(i int) string { return fmt.Sprintf("script-%06d", i) }

// fill deploys the scripts. All have the same code, which the node validates once.
func (n *node) fill() error {
	b := n.b
	for _, ns := range []atoll.NamespaceName{few, many} {
		if _, err := n.client.CreateNamespace(b.ctx, ns, false); err != nil {
			return fmt.Errorf("create namespace: %w", err)
		}
	}
	if err := n.deploy(atoll.ScriptRef{Name: dispatcher}, pickScript, dispatchBinding(string(few), few), dispatchBinding(string(many), many)); err != nil {
		return err
	}
	if err := n.route(); err != nil {
		return err
	}
	if _, err := n.deployAll(few, 10); err != nil {
		return err
	}
	noise := b.listen()
	rates, err := n.deployAll(many, b.opts.scripts)
	if err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%d deploys through the API, %d at a time", b.opts.scripts, uploaders),
		[]column{{Name: "deploys/s"}}, "first tenth", "last tenth", "all")
	t.add("first tenth", rates[0])
	t.add("last tenth", rates[len(rates)-1])
	var seconds float64
	for _, r := range rates {
		seconds += 1 / r
	}
	t.add("all", float64(len(rates))/seconds)
	t.note("%s", noise.heard())
	rss, _ := memory([]int{n.proc.pid()})
	t.note("the node occupies %.0f MB afterwards", mb(rss))
	t.finish([2]string{"last tenth", "first tenth"})
	b.publish(t)
	return nil
}

// deployAll deploys scripts concurrently and returns the rate of each tenth.
func (n *node) deployAll(ns atoll.NamespaceName, count int) (rates []float64, err error) {
	tenth := count / 10
	for part := range 10 {
		began := time.Now()
		var next atomic.Int64
		g, ctx := errgroup.WithContext(n.b.ctx)
		for range uploaders {
			g.Go(func() error {
				for ctx.Err() == nil {
					i := int(next.Add(1)) - 1
					if i >= tenth {
						return nil
					}
					ref := atoll.ScriptRef{Namespace: ns, Name: atoll.ScriptName(scriptName(part*tenth + i))}
					if err := n.deploy(ref, helloScript); err != nil {
						return err
					}
				}
				return ctx.Err()
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		rates = append(rates, float64(tenth)/time.Since(began).Seconds())
		n.b.say("%s: %d of %d deployed, %.0f/s", ns, (part+1)*tenth, count, rates[part])
	}
	return rates, nil
}

// compareSizes restarts the node and measures both namespaces in turns.
func (n *node) compareSizes() error {
	if err := n.restart(); err != nil {
		return err
	}
	if err := n.wake(); err != nil {
		return err
	}
	title := fmt.Sprintf("A namespace with %d scripts beside one with 10, ", n.b.opts.scripts)
	// Each of the 10 has one first dispatch.
	first := newTable(title+"first dispatch (10 turns)", []column{{Name: "ms", Digits: 1}}, string(few), string(many))
	err := n.takeTurns(first, 10, func(label string, _ atoll.NamespaceName, _ string) ([]float64, error) {
		d, err := n.first(label, helloText)
		if err == nil {
			err = n.b.sleep(rest)
		}
		return []float64{ms(d)}, err
	})
	if err != nil {
		return err
	}
	turns := 4 * n.b.opts.pairs
	warm := newTable(fmt.Sprintf("%swarm (%d turns)", title, turns), []column{{Name: "list 10 ms", Digits: 2}, {Name: "get ms", Digits: 2},
		{Name: "dispatch p50 ms", Digits: 3}, {Name: "dispatch/s"}}, string(few), string(many))
	return n.takeTurns(warm, turns, n.sizeSample)
}

// takeTurns samples both namespaces in turns, at scripts spread over each, and publishes the table.
func (n *node) takeTurns(t *table, turns int, sample func(label string, ns atoll.NamespaceName, name string) ([]float64, error)) error {
	count := map[atoll.NamespaceName]int{few: 10, many: n.b.opts.scripts}
	noise := n.b.listen()
	for i := range turns {
		for _, ns := range []atoll.NamespaceName{few, many} {
			name := scriptName(i * count[ns] / turns)
			values, err := sample(name+"."+string(ns), ns, name)
			if err != nil {
				return fmt.Errorf("%s in %s: %w", name, ns, err)
			}
			t.add(string(ns), values...)
		}
	}
	t.note("%s", noise.heard())
	t.finish([2]string{string(many), string(few)})
	n.b.publish(t)
	return nil
}

// sizeSample measures a namespace's list, and one script of it by the API and through the edge, where it is warm.
func (n *node) sizeSample(label string, ns atoll.NamespaceName, name string) ([]float64, error) {
	base := n.api + "/client/v4/accounts/" + n.account + "/workers/dispatch/namespaces/" + string(ns) + "/scripts"
	list, err := n.repeat(20, func() error { return n.get(base + "?limit=10") })
	if err != nil {
		return nil, err
	}
	get, err := n.repeat(20, func() error { return n.get(base + "/" + name) })
	if err != nil {
		return nil, err
	}
	if _, err := n.first(label, helloText); err != nil {
		return nil, err
	}
	l := helloLoad(n.server(), 1, time.Second)
	l.Request = request(host(label), "/")
	res, err := n.b.offer(l)
	if err != nil {
		return nil, err
	}
	if res.Errors > 0 {
		return nil, fmt.Errorf("%d errors, first: %s", res.Errors, res.FirstError)
	}
	return []float64{list, get, ms(res.Latency.quantile(0.5)), res.rate()}, nil
}

// repeat returns the median of f's durations in ms.
func (n *node) repeat(times int, f func() error) (float64, error) {
	list, err := each(make([]string, times), func(int) error { return f() })
	return median(list), err
}

// get reads an URL of the API whole.
func (n *node) get(url string) error {
	ctx, cancel := context.WithTimeout(n.b.ctx, maxAnswer)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %d %.200q %w", url, res.StatusCode, body, err)
	}
	return nil
}
