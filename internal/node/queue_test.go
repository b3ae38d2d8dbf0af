package node_test

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/node"
)

//go:embed testdata/queues.js
var queuesWorker string

// delivered is a message as the Worker of testdata/queues.js got it.
type delivered struct {
	Queue    string
	ID       string
	Attempts int
	At       bool
	Body     any
}

// queues makes queues of these names and returns their ids.
func (r *rig) queues(names ...string) map[string]string {
	r.t.Helper()
	ids := map[string]string{}
	for _, name := range names {
		var q struct {
			ID string `json:"queue_id"`
		}
		r.call("POST", r.acct("/queues"), `{"queue_name":"`+name+`"}`, &q)
		ids[name] = q.ID
	}
	return ids
}

// consume makes a script the consumer of a queue.
func (r *rig) consume(queue, script, settings string) {
	r.t.Helper()
	ns, name, ok := strings.Cut(script, "/")
	if !ok {
		ns, name = "", script
	}
	r.call("POST", r.acct("/queues/"+queue+"/consumers"), fmt.Sprintf(`{"type":"worker","script_name":%q,"dispatch_namespace":%q,%s}`, name, ns, settings), nil)
}

// post sends a body to a host and returns the answer's.
func (r *rig) post(host, path, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest("POST", r.edge+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = host + "." + zone
	return r.do(req)
}

// got waits until the host's Worker has got so many messages.
func (r *rig) got(host string, n int) []delivered {
	r.t.Helper()
	_, body := r.get(host, fmt.Sprintf("/got?n=%d", n))
	var list []delivered
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		r.t.Fatalf("%v: %.500s", err, body)
	}
	if len(list) < n {
		r.t.Fatalf("%d messages were delivered, not %d: %.500s", len(list), n, body)
	}
	return list
}

func sendTo(queue string) map[string]any {
	return map[string]any{"type": "queue", "name": "QUEUE", "queue_name": queue}
}

// Messages of every content type go from a Worker through a queue to a Worker.
func TestQueueContentTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t, node.Config{})
	ids := r.queues("jobs")
	r.put("shop", queuesWorker, sendTo("jobs"))
	r.route("shop."+zone+"/*", "shop")
	r.consume(ids["jobs"], "shop", `"settings":{"batch_size":2,"max_wait_time_ms":20}`)

	status, answer := r.post("shop", "/send", `{"body":{"a":[1,"x",null]}}`)
	if status != 200 || !strings.Contains(answer, `"backlogCount":`) {
		t.Errorf("send: %d %s", status, answer)
	}
	r.got("shop", 1)
	r.want("shop", "/bytes", 200, "sent")
	r.got("shop", 3)
	_, want := r.get("shop", "/v8")
	list := r.got("shop", 4)
	if list[0].Queue != "jobs" || len(list[0].ID) != 32 || list[0].Attempts != 1 || !list[0].At {
		t.Errorf("the first message: %+v", list[0])
	}
	if body, _ := json.Marshal(list[0].Body); string(body) != `{"a":[1,"x",null]}` {
		t.Errorf("json: %s", body)
	}
	if got := fmt.Sprint(list[1].Body); got != "[object Uint8Array] Uint8Array(0 3 in 3){0:number 0,1:number 255,2:number 1}" {
		t.Errorf("bytes: %s", got)
	}
	if list[2].Body != "café €" {
		t.Errorf("text: %v", list[2].Body)
	}
	if list[3].Body != want {
		t.Errorf("v8: got\n%v\nwant\n%s", list[3].Body, want)
	}
}

// What a queue() does with its messages decides what becomes of them.
func TestQueueOutcomes(t *testing.T) {
	t.Parallel()
	r := newRig(t, node.Config{})
	ids := r.queues("jobs")
	r.put("production/shop", queuesWorker, sendTo("jobs"))
	r.put("letters", strings.ReplaceAll(queuesWorker, "?.act", "?.none")) // which does nothing it is told to
	r.route("letters."+zone+"/*", "letters")
	r.dispatcher(`export default { fetch: (request, env) => env.DISPATCHER.get("shop").fetch(request) };`, nil)
	r.consume(ids["jobs"], "production/shop", `"dead_letter_queue":"letters","settings":{"batch_size":2,"max_wait_time_ms":0,"max_retries":1}`)
	var queues []struct {
		ID   string `json:"queue_id"`
		Name string `json:"queue_name"`
	}
	r.call("GET", r.acct("/queues?name=letters"), "", &queues)
	if len(queues) != 1 {
		t.Fatalf("the dead letter queue was not made: %+v", queues)
	}
	r.consume(queues[0].ID, "letters", `"settings":{"max_wait_time_ms":0}`)

	n := 0
	// send sends a batch and returns how often each message was delivered once all is settled: a last message tells.
	send := func(messages string, deliveries int) map[string]int {
		t.Helper()
		if status, answer := r.post("shop", "/batch", `{"messages":[`+messages+`]}`); status != 200 {
			t.Fatalf("sendBatch: %d %s", status, answer)
		}
		list := r.got("shop", n+deliveries)[n:]
		n += deliveries
		count := map[string]int{}
		for _, m := range list {
			act := m.Body.(map[string]any)["act"].(string)
			if count[act]++; m.Attempts != count[act] {
				t.Errorf("delivery %d of %s says attempt %d", count[act], act, m.Attempts)
			}
		}
		return count
	}
	for _, c := range []struct{ messages, want string }{
		{`{"body":{"act":"ack-throw"}},{"body":{"act":"fine"}}`, "map[ack-throw:1 fine:2]"},
		{`{"body":{"act":"retry","delay":0}},{"body":{"act":"fine"}}`, "map[fine:1 retry:2]"},
		{`{"body":{"act":"reject"}}`, "map[reject:2]"},
		{`{"body":{"act":"throw"}}`, "map[throw:2]"},
	} {
		deliveries := 0
		for _, d := range c.want {
			if d >= '1' && d <= '9' {
				deliveries += int(d - '0')
			}
		}
		if got := fmt.Sprint(send(c.messages, deliveries)); got != c.want {
			t.Errorf("%s: %s, want %s", c.messages, got, c.want)
		}
	}
	var dead []string
	for _, m := range r.got("letters", 3) {
		dead = append(dead, m.Body.(map[string]any)["act"].(string))
		if m.Queue != "letters" || m.Attempts != 1 {
			t.Errorf("a dead letter: %+v", m)
		}
	}
	if got := fmt.Sprint(dead); got != "[retry reject throw]" {
		t.Errorf("dead letters: %s", got)
	}
	r.want("shop", "/metrics", 200, `{"backlogCount":0,"backlogBytes":0}`)
}
