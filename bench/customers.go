package main

import (
	"fmt"
	"os"
	"time"
)

const customerCount = 200

// customers deploys 200 different Workers, restarts the node, asks each of them twice, and looks at what they occupy.
func (b *bench) customers() error {
	n, err := b.startNode()
	if err != nil {
		return err
	}
	defer n.stop()
	if err := n.customers(); err != nil {
		return fmt.Errorf("%w\n%s", err, n.proc.said())
	}
	return nil
}

func (n *node) customers() error {
	b := n.b
	if err := n.platform(dispatchScript); err != nil {
		return err
	}
	names, texts := make([]string, customerCount), make([]string, customerCount)
	for i := range names {
		names[i], texts[i] = fmt.Sprintf("customer-%d", i), fmt.Sprintf("Hello from customer %d!", i)
	}
	noise := b.listen()
	deploys, err := each(names, func(i int) error {
		return n.deploy(user(names[i]), `export default { fetch() { return new Response("`+texts[i]+`"); } };`)
	})
	if err != nil {
		return err
	}
	b.say("deployed; restarting the node")
	if err := n.restart(); err != nil {
		return err
	}
	if err := n.wake(); err != nil {
		return err
	}
	ask := func(i int) error { return n.ask(names[i], texts[i]) }
	cold, err := each(names, ask)
	if err != nil {
		return err
	}
	warm, err := each(names, ask)
	if err != nil {
		return err
	}
	t := newTable(fmt.Sprintf("%d customers, one after the other", customerCount),
		[]column{{Name: "p50 ms", Digits: 1}, {Name: "p99 ms", Digits: 1}, {Name: "answered", Sum: true}}, "deploy", "first request", "second request")
	for i, list := range [][]float64{deploys, cold, warm} {
		t.add(t.Subjects[i].Name, median(list), quantile(list, 0.99), float64(len(list)))
	}
	t.note("%s", noise.heard())
	t.finish()
	b.publish(t)
	b.publish(n.memoryTable())
	return nil
}

// wake sends a request to no customer, which starts the dispatch Worker.
func (n *node) wake() error {
	c, err := dial("tcp", n.edge)
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.do(request(host("nobody"), "/"))
	return err
}

// each calls f for every name in turn and returns how many ms each call took.
func each(names []string, f func(i int) error) ([]float64, error) {
	var list []float64
	for i, name := range names {
		began := time.Now()
		if err := f(i); err != nil {
			return list, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, ms(time.Since(began)))
	}
	return list, nil
}

// memoryTable is what the node and its isolate processes occupy.
func (n *node) memoryTable() *table {
	isolates := n.isolates()
	t := newTable(fmt.Sprintf("Memory with %d processes of workerd, spare ones included", len(isolates)),
		[]column{{Name: "RSS MB", Digits: 1}, {Name: "PSS MB", Digits: 1}}, "node", "workerd, all", "workerd, each")
	rss, pss := memory([]int{n.proc.pid()})
	t.add("node", mb(rss), mb(pss))
	rss, pss = memory(isolates)
	t.add("workerd, all", mb(rss), mb(pss))
	count := float64(max(len(isolates), 1))
	t.add("workerd, each", mb(rss)/count, mb(pss)/count)
	if os.Geteuid() != 0 && pss == 0 {
		t.note("the memory of sandboxed processes is visible to root alone here")
	}
	t.finish()
	return t
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }
