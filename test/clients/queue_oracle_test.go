package clients_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestQueueOracle has the same Worker, producer and consumer in one, send and get the same generated messages on the node and
// on miniflare. It compares what every call returned or threw, and every message as it was seen in every delivery; how often
// and where that was is compared with what the documentation says of the plan that the message carries.
func TestQueueOracle(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	code := oracleWorker(t, "queue-oracle")
	ours := &queueSide{t: t, name: "ours", base: n.edge, host: oracleHost, seen: map[string]bool{}}
	theirs := &queueSide{t: t, name: "miniflare", base: queuesOnMiniflare(t, code), seen: map[string]bool{}, wins: true}
	n.oracleQueues(code)
	g := &queueGenerator{rng: oracleRandom(t)}
	count := oracleCount(320)
	refused, differing := 0, 0
	for done := 0; done < count; {
		var steps []map[string]any
		for len(steps) < 40 {
			steps = append(steps, g.step())
		}
		if done == 0 {
			steps = append(steps, g.groups()...)
		}
		a, b := oracleSteps(t, ours.base, ours.host, steps), oracleSteps(t, theirs.base, theirs.host, steps)
		for i, step := range steps {
			x, y := ours.sent(step, a[i]), theirs.sent(step, b[i])
			if x["error"] != nil {
				refused++
			}
			if !reflect.DeepEqual(x, y) && !queueKnown(x, y) {
				oracleDiffers(t, done+i, step, x, y)
				if differing++; differing > 10 {
					t.FailNow()
				}
			}
		}
		done += len(steps)
	}
	ours.collect()
	theirs.collect()
	bodies := map[string]string{}
	theirs.check(bodies)
	ours.check(bodies)
	t.Logf("%d operations, of which %d were refused; %d deliveries, %d on miniflare", count, refused, ours.total, theirs.total)
	if refused < count/20 || refused > count/2 {
		t.Error("the generator is out of balance")
	}
}

// A queueConsumer is how a queue of the oracle is consumed; one whose messages may fail too often has a queue for them.
type queueConsumer struct {
	name                                string
	batch, retries, retryDelay, timeout int
	dead                                string
}

// groupCount is how many queues have their batches of one sendBatch() each.
const groupCount = 24

func queueConsumers() []queueConsumer {
	list := []queueConsumer{
		{"calm", 10, 2, 0, 0, "calm-dead"}, {"single", 1, 2, 0, 0, "single-dead"}, {"strict", 1, 0, 0, 0, ""}, {"slow", 1, 1, 1, 0, "single-dead"},
		{"calm-dead", 10, 1, 0, 0, ""}, {"single-dead", 10, 1, 0, 0, ""}, {"groups-dead", 10, 1, 0, 0, ""},
	}
	for i := range groupCount {
		list = append(list, queueConsumer{"group" + strconv.Itoa(i), groupSize, 1, 0, 1, "groups-dead"})
	}
	return list
}

// oracleQueues makes the queues, and uploads the Worker as the producer and the consumer of all.
func (n *node) oracleQueues(code string) {
	n.t.Helper()
	var ns struct{ ID string }
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"records"}`, &ns)
	bindings := []map[string]string{{"type": "kv_namespace", "name": "RECORDS", "namespace_id": ns.ID}}
	ids := map[string]string{}
	for _, c := range queueConsumers() {
		var q struct {
			ID string `json:"queue_id"`
		}
		n.result("POST", n.acct()+"/queues", "application/json", `{"queue_name":"`+c.name+`"}`, &q)
		ids[c.name] = q.ID
		bindings = append(bindings, map[string]string{"type": "queue", "name": strings.ReplaceAll(c.name, "-", "_"), "queue_name": c.name})
	}
	text, err := json.Marshal(bindings)
	if err != nil {
		n.t.Fatal(err)
	}
	n.oracleOrdinary(code, string(text))
	for _, c := range queueConsumers() {
		body := fmt.Sprintf(`{"type":"worker","script_name":"oracle","dead_letter_queue":%q,"settings":{"batch_size":%d,"max_retries":%d,"retry_delay":%d,"max_wait_time_ms":%d}}`,
			c.dead, c.batch, c.retries, c.retryDelay, c.timeout*1000)
		n.result("POST", n.acct()+"/queues/"+ids[c.name]+"/consumers", "application/json", strings.Replace(body, `"dead_letter_queue":"",`, "", 1), nil)
	}
}

func queuesOnMiniflare(t *testing.T, code string) string {
	t.Helper()
	producers, consumers := map[string]string{}, map[string]any{}
	for _, c := range queueConsumers() {
		producers[strings.ReplaceAll(c.name, "-", "_")] = c.name
		o := map[string]any{"maxBatchSize": c.batch, "maxBatchTimeout": c.timeout, "maxRetries": c.retries, "retryDelay": c.retryDelay}
		if c.dead != "" {
			o["deadLetterQueue"] = c.dead
		}
		consumers[c.name] = o
	}
	return onMiniflare(t, code, map[string]any{"kvNamespaces": map[string]string{"RECORDS": "records"}, "queueProducers": producers, "queueConsumers": consumers})
}

// queueKnown tells whether two errors that differ do so on purpose, in the way that docs/queues.md says: where miniflare fails,
// the node says why.
func queueKnown(a, b map[string]any) bool {
	x, y := fmt.Sprint(a["error"]), fmt.Sprint(b["error"])
	for _, call := range []string{"send", "sendBatch"} {
		failed := "Error: Queue " + call + " failed: "
		why, ok := strings.CutPrefix(x, failed)
		if ok && y == failed+"Internal Server Error" && (strings.HasPrefix(why, "message delay ") || strings.Contains(why, "must be JSON")) {
			return true
		}
	}
	return false
}

// A queueSide is one of the two.
type queueSide struct {
	t                *testing.T
	name, base, host string
	wins             bool // a batch that is retried as a whole or fails is so with the messages that were acknowledged, too
	messages         []*queueMessage
	bare             int // messages that carry no plan
	seen             map[string]bool
	deliveries       map[string][]queueDelivery // by token
	total            int
}

// A queueMessage is one that was sent, and when.
type queueMessage struct {
	queue, token string
	plan         []queueAction
	delay        float64 // seconds
	at           float64
	payload      any
}

// A queueAction is what the consumer does with a message in an attempt: calls of the message, calls of its batch, and how it
// ends.
type queueAction struct {
	Message []string `json:"message,omitempty"`
	Batch   []string `json:"batch,omitempty"`
	End     string   `json:"end,omitempty"`
	Delay   int      `json:"delay,omitempty"`
}

type queueDelivery struct {
	Queue, Token   string
	Attempts, Size int
	Body           json.RawMessage
	At             float64
	ID, Metrics    string
	Recent         bool
}

// sent notes the messages of a step that went well, and returns the answer without its time.
func (s *queueSide) sent(step map[string]any, answer any) map[string]any {
	m := answer.(map[string]any)
	at := m["at"].(float64)
	delete(m, "at")
	if m["error"] != nil {
		return m
	}
	list, _ := step["messages"].([]map[string]any)
	if one, ok := step["message"].(map[string]any); ok {
		list = append(list, one)
	}
	for _, x := range list {
		if x["bare"] != nil {
			s.bare++
			continue
		}
		delay := 0.0
		for _, o := range []any{step["options"], x["options"]} {
			if o, ok := o.(map[string]any); ok && o["delaySeconds"] != nil {
				delay, _ = strconv.ParseFloat(fmt.Sprint(o["delaySeconds"]), 64)
			}
		}
		s.messages = append(s.messages, &queueMessage{step["queue"].(string), x["token"].(string), x["plan"].([]queueAction), float64(int(delay)), at, x["payload"]})
	}
	return m
}

// expected lists the deliveries of a message, each as queue and attempt.
func (s *queueSide) expected(m *queueMessage) (list []string) {
	all := queueConsumers()
	c := all[slices.IndexFunc(all, func(c queueConsumer) bool { return c.name == m.queue })]
	for attempt := 1; ; attempt++ {
		list = append(list, fmt.Sprint(c.name, " ", attempt))
		var a queueAction
		if attempt <= len(m.plan) {
			a = m.plan[attempt-1]
		}
		if s.done(a) {
			return list
		}
		if attempt > c.retries {
			break
		}
	}
	if c.dead != "" {
		list = append(list, c.dead+" 1")
	}
	return list
}

// done tells whether a message is acknowledged by what the consumer does. What was said of the message goes first, then what
// was said of the batch, then how it ended: https://developers.cloudflare.com/queues/configuration/batching-retries/
func (s *queueSide) done(a queueAction) bool {
	first := func(calls []string) string {
		if len(calls) == 0 {
			return ""
		}
		return calls[0]
	}
	failed := a.End != "" // what was passed to waitUntil() counts, too
	if s.wins && (failed || first(a.Batch) == "retryAll") {
		return false
	}
	switch {
	case len(a.Message) > 0:
		return first(a.Message) == "ack"
	case len(a.Batch) > 0:
		return first(a.Batch) == "ackAll"
	}
	return !failed
}

// collect waits until all is delivered that is to be, and a little longer for what is not.
func (s *queueSide) collect() {
	s.t.Helper()
	want := s.bare
	for _, m := range s.messages {
		want += len(s.expected(m))
	}
	s.deliveries = map[string][]queueDelivery{}
	for end, late := time.Now().Add(60*time.Second), false; ; {
		names := []string{}
		for name := range s.seen {
			names = append(names, name)
		}
		answer := oracleSteps(s.t, s.base, s.host, []map[string]any{{"op": "records", "seen": names, "wait": 300}})[0].(map[string]any)
		for name, v := range answer {
			text, _ := json.Marshal(v)
			var list []queueDelivery
			if err := json.Unmarshal(text, &list); err != nil {
				s.t.Fatalf("%s: %v in %.300s", s.name, err, text)
			}
			s.seen[name] = true
			s.total += len(list)
			for _, d := range list {
				s.deliveries[d.Token] = append(s.deliveries[d.Token], d)
			}
		}
		if late || time.Now().After(end) {
			break
		}
		late = s.total >= want && len(answer) == 0
	}
	if s.total != want {
		s.t.Errorf("%s: %d deliveries, want %d", s.name, s.total, want)
	}
}

// check compares the deliveries with what is expected, and the bodies with the other side's.
func (s *queueSide) check(bodies map[string]string) {
	s.t.Helper()
	for _, m := range s.messages {
		list := s.deliveries[m.token]
		slices.SortFunc(list, func(a, b queueDelivery) int { return cmp.Compare(a.At, b.At) })
		var got []string
		last := m.at
		for i, d := range list {
			got = append(got, fmt.Sprint(d.Queue, " ", d.Attempts))
			s.alike(bodies, d.Token, queueBody(d.Body))
			if wait := s.delay(m, i); !s.wins && d.Queue == m.queue && d.At-last < wait*1000-50 {
				s.t.Errorf("%s: %s comes after %v ms, not %v s: %+v", s.name, m.token, d.At-last, wait, *m)
			}
			last = d.At
			if d.ID != "string" || !d.Recent || d.Metrics != "number" {
				s.t.Errorf("%s: %+v", s.name, d)
			}
			if d.Size > 10 || d.Size > 1 && (d.Queue == "single" || d.Queue == "strict" || d.Queue == "slow") || d.Size > groupSize && strings.HasPrefix(d.Queue, "group") && d.Queue != "groups-dead" {
				s.t.Errorf("%s: a batch of %d from %s", s.name, d.Size, d.Queue)
			}
			if i == 0 && strings.HasPrefix(d.Queue, "group") && d.Size != groupSize {
				s.t.Errorf("%s: the batch of %s has %d", s.name, m.token, d.Size)
			}
		}
		if want := s.expected(m); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			text, _ := json.Marshal([]any{m.payload, m.plan})
			s.t.Errorf("%s: %s with payload and plan %.500s is delivered %q, want %q", s.name, m.token, text, got, want)
		}
	}
	var bare []string
	for _, d := range s.deliveries[""] {
		bare = append(bare, fmt.Sprint(d.Queue, " ", d.Attempts, " ", queueBody(d.Body)))
	}
	slices.Sort(bare)
	s.alike(bodies, "", strings.Join(bare, "\n"))
}

// queueBytes are the two forms of a body of bytes: miniflare's is an ArrayBuffer.
var queueBytes = regexp.MustCompile(`^\{"(?:ArrayBuffer|Uint8Array)":("[^"]*").*\}$`)

func queueBody(shown json.RawMessage) string {
	return queueBytes.ReplaceAllString(string(shown), "bytes $1")
}

func (s *queueSide) alike(bodies map[string]string, token, body string) {
	if other, ok := bodies[token]; ok && other != body {
		mine, others := strings.Split(body, "\n"), strings.Split(other, "\n")
		without := func(a, b []string) []string {
			return slices.DeleteFunc(slices.Clone(a), func(x string) bool { return slices.Contains(b, x) })
		}
		s.t.Errorf("%s: body of %q is %.500q (%d), elsewhere %.500q (%d)", s.name, token, without(mine, others), len(mine), without(others, mine), len(others))
	}
	bodies[token] = body
}

// delay is how long a delivery is later than the one before, or than the sending, at the least.
func (s *queueSide) delay(m *queueMessage, i int) float64 {
	if i == 0 {
		return m.delay
	}
	if i > len(m.plan) {
		return 0
	}
	if a := m.plan[i-1]; a.Delay > 0 && (slices.Contains(a.Message, "retry") || len(a.Message) == 0 && slices.Contains(a.Batch, "retryAll")) {
		return float64(a.Delay)
	}
	if m.queue == "slow" {
		return 1
	}
	return 0
}
