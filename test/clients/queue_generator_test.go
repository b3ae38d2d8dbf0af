package clients_test

import (
	"math/rand/v2"
	"strconv"
)

// queueGenerator makes what a producer may do.
type queueGenerator struct {
	rng    *rand.Rand
	tokens int
}

func (g *queueGenerator) one(list ...any) any { return list[g.rng.IntN(len(list))] }

func (g *queueGenerator) chance(n int) bool { return g.rng.IntN(n) == 0 }

func (g *queueGenerator) step() map[string]any {
	queue := g.one("calm", "calm", "single", "strict", "slow").(string)
	switch g.rng.IntN(12) {
	case 0:
		return map[string]any{"op": "odd", "queue": queue, "what": g.one("null", "number", "text", "object", "empty", "strings", "nothing")}
	case 1, 2, 3:
		list := []map[string]any{}
		for range g.one(1, 2, 3, 5, 7).(int) {
			m := g.message(queue)
			if named := m["payload"].(map[string]any)["named"]; named == "function" || named == "symbol" {
				m["payload"] = map[string]any{"named": "date"} // miniflare sends a part of the batch before it fails
			}
			list = append(list, m)
		}
		if g.chance(6) {
			list = g.tooMuch()
		}
		s := map[string]any{"op": "batch", "queue": queue, "messages": list, "iterable": g.chance(3)}
		if o := g.delay(); o != nil {
			s["options"] = map[string]any{"delaySeconds": o}
		}
		return s
	}
	return map[string]any{"op": "send", "queue": queue, "message": g.message(queue)}
}

func (g *queueGenerator) delay() any {
	switch {
	case g.chance(6):
		return g.one(0, 1)
	case g.chance(25):
		return g.one(-1, 86401, 1.7, "1", "x", -0.5, 1e12)
	}
	return nil
}

// tooMuch is a batch that has too many messages, or too large ones.
func (g *queueGenerator) tooMuch() []map[string]any {
	size, n := g.one(10, 128_000, 128_001, 100_000).(int), 0
	switch size {
	case 10:
		n = 101
	case 128_001:
		n = 1
	default:
		n = 3
	}
	var list []map[string]any
	for range n {
		list = append(list, map[string]any{"bare": true, "payload": map[string]any{"size": size}, "type": "text", "options": map[string]any{"contentType": "text"}})
	}
	return list
}

var queueNamed = []any{"date", "map", "set", "bigint", "regexp", "error", "nan", "zero", "infinity", "undefined", "holes", "floats", "buffer", "view", "part", "boxed", "cyclic", "function", "symbol", "promise",
	"response", "stream", "lone", "nul", "tojson", "klass", "getter", "bytes"}

func (g *queueGenerator) message(queue string) map[string]any {
	g.tokens++
	m := map[string]any{"token": "m" + strconv.Itoa(g.tokens), "plan": g.plan(queue)}
	o := map[string]any{}
	if t := g.one(nil, "text", "json", "bytes", "v8", "v8"); t != nil {
		m["type"], o["contentType"] = t, t
	}
	switch g.rng.IntN(4) {
	case 0:
		m["payload"] = map[string]any{"named": g.one(queueNamed...)}
	case 1:
		m["payload"] = map[string]any{"size": g.one(0, 1, 1000, 50_000, 127_900, 128_001), "bytes": m["type"] == "v8" && g.chance(2)}
	default:
		m["payload"] = map[string]any{"value": g.one("text", "", "é語😀", 42, 1.5e300, true, nil, []any{1, "2", nil}, map[string]any{"a": map[string]any{"é": []any{}}}, map[string]any{"__proto__": 1})}
	}
	if g.chance(6) {
		m["bare"], m["plan"] = true, nil
	}
	if g.chance(25) {
		o["contentType"] = g.one("TEXT", "Json", "xml", "", "application/json", 5)
		if m["type"] = o["contentType"]; o["contentType"] == 5 {
			m["type"] = "json"
		}
	}
	if d := g.delay(); d != nil {
		o["delaySeconds"] = d
	}
	if len(o) > 0 || g.chance(2) {
		m["options"] = o
	}
	return m
}

// plan is what becomes of a message, attempt by attempt. Where batches have several messages, each says something of itself
// alone.
func (g *queueGenerator) plan(queue string) []queueAction {
	plan := []queueAction{}
	for range g.one(0, 1, 1, 2, 3).(int) {
		a := g.calls()
		if queue != "calm" {
			a = g.batch(a)
		}
		plan = append(plan, a)
	}
	return plan
}

func (g *queueGenerator) calls() queueAction {
	a := queueAction{Message: g.one([]string(nil), []string{"ack"}, []string{"retry"}, []string{"retry"}, []string{"retry"}, []string{"ack", "retry"}, []string{"retry", "ack"}, []string{"ack", "ack"}).([]string)}
	if g.chance(5) {
		a.Delay = 1
	}
	return a
}

func (g *queueGenerator) batch(a queueAction) queueAction {
	if g.chance(2) {
		a.Message = nil
	}
	a.Batch = g.one([]string(nil), []string(nil), []string{"ackAll"}, []string{"retryAll"}, []string{"ackAll", "retryAll"}, []string{"retryAll", "ackAll"}).([]string)
	a.End = g.one("", "", "throw", "later").(string)
	return a
}

// groupSize is how many messages have a batch to themselves.
const groupSize = 4

// groups sends a batch to each of the queues that get but that: all its messages say the same of the batch.
func (g *queueGenerator) groups() []map[string]any {
	var steps []map[string]any
	for i := range groupCount {
		one := []queueAction{g.batch(queueAction{}), g.batch(queueAction{})}
		var list []map[string]any
		for range groupSize {
			m := g.message("calm")
			m["payload"], m["options"], m["type"] = map[string]any{"value": "grouped"}, map[string]any{}, "json"
			delete(m, "bare")
			var plan []queueAction
			for _, a := range one {
				a.Message = g.calls().Message
				plan = append(plan, a)
			}
			m["plan"] = plan
			list = append(list, m)
		}
		steps = append(steps, map[string]any{"op": "batch", "queue": "group" + strconv.Itoa(i), "messages": list})
	}
	return steps
}
