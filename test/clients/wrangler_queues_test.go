package clients_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// order posts a body to a page of a host.
func (n *node) order(host, path, body string) answer {
	n.t.Helper()
	req, err := http.NewRequest("POST", n.edge+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = host
	return n.do(req)
}

// Every wrangler queues command against the API.
func TestWranglerQueues(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	w.write("worker.js", `export default { fetch: () => new Response("hi"), queue() {} };`)
	matches(t, w.ok("queues", "create", "jobs", "--delivery-delay-secs", "2", "--message-retention-period-secs", "3600"), `Created queue 'jobs'`)
	matches(t, w.fails("queues", "create", "jobs"), `already taken.*\[code: 11009\]`)
	matches(t, w.fails("queues", "create", "no spaces"), `code: 11003`)
	matches(t, w.fails("queues", "create", "far", "--jurisdiction", "eu"), `settings are invalid|jurisdiction`)
	matches(t, w.ok("queues", "list"), `jobs`)
	matches(t, w.ok("queues", "info", "jobs"), `Queue Name: jobs\nQueue ID: [0-9a-f]{32}\n(?s:.*)Number of Producers: 0\nNumber of Consumers: 0`)
	matches(t, w.fails("queues", "info", "nope"), `Queue "nope" does not exist`)
	matches(t, w.ok("queues", "update", "jobs", "--delivery-delay-secs", "0"), `Updated queue jobs`)

	w.fails("queues", "consumer", "add", "jobs", "worker")
	w.ok("deploy", "worker.js", "--name", "worker", "--compatibility-date", "2026-01-01")
	w.ok("queues", "consumer", "add", "jobs", "worker", "--batch-size", "7", "--batch-timeout", "2", "--message-retries", "4",
		"--dead-letter-queue", "failed", "--max-concurrency", "3", "--retry-delay-secs", "9")
	var consumers []struct {
		Type, Script string
		DeadLetter   string         `json:"dead_letter_queue"`
		Settings     map[string]int `json:"settings"`
	}
	if err := json.Unmarshal([]byte(jsonIn(w.ok("queues", "consumer", "list", "jobs", "--json"))), &consumers); err != nil {
		t.Fatal(err)
	}
	if len(consumers) != 1 || consumers[0].Script != "worker" || consumers[0].DeadLetter != "failed" || consumers[0].Settings["batch_size"] != 7 ||
		consumers[0].Settings["max_wait_time_ms"] != 2000 || consumers[0].Settings["max_concurrency"] != 3 || consumers[0].Settings["retry_delay"] != 9 {
		t.Errorf("consumers: %+v", consumers)
	}
	matches(t, w.ok("queues", "consumer", "worker", "list", "jobs"), `worker`)
	matches(t, w.fails("queues", "consumer", "worker", "add", "jobs", "worker"), `code: 11004`)
	if got := n.call("DELETE", n.acct()+"/workers/scripts/worker", "", ""); got.Status != 400 || !strings.Contains(got.Body, "10064") {
		t.Errorf("a consumer is deleted: %d %s", got.Status, got.Body)
	}
	matches(t, w.ok("queues", "info", "failed"), `Queue Name: failed`)
	matches(t, w.ok("queues", "pause-delivery", "jobs"), `Paused message delivery for queue jobs`)
	matches(t, w.ok("queues", "resume-delivery", "jobs"), `Resumed message delivery for queue jobs`)
	w.ok("queues", "consumer", "remove", "jobs", "worker")
	matches(t, w.ok("queues", "consumer", "http", "add", "jobs", "--batch-size", "3", "--visibility-timeout-secs", "60"), `Added consumer to queue jobs`)
	matches(t, w.ok("queues", "consumer", "http", "list", "jobs"), `60000`)
	matches(t, w.ok("queues", "info", "jobs"), `HTTP Pull Consumer`)
	n.purges(w, "jobs")
	w.ok("queues", "consumer", "http", "remove", "jobs")
	matches(t, w.ok("queues", "subscription", "list", "jobs"), `No event subscriptions`)
	w.ok("queues", "delete", "jobs")
	if out := w.ok("queues", "list"); strings.Contains(out, "jobs") {
		t.Errorf("the deleted queue is listed:\n%s", out)
	}
}

// purges has wrangler empty a queue that has messages, and looks at the purge's status.
func (n *node) purges(w *wrangler, name string) {
	n.t.Helper()
	var list []struct {
		ID string `json:"queue_id"`
	}
	n.result("GET", n.acct()+"/queues?name="+name, "", "", &list)
	if len(list) != 1 {
		n.t.Fatalf("queues named %s: %v", name, list)
	}
	queue := n.acct() + "/queues/" + list[0].ID
	backlog := func() (count int) {
		var m struct {
			Count int `json:"backlog_count"`
		}
		n.result("GET", queue+"/metrics", "", "", &m)
		return m.Count
	}
	n.result("POST", queue+"/messages/batch", "application/json", `{"messages":[{"body":1},{"body":2,"delay_seconds":60}]}`, nil)
	if got := backlog(); got != 2 {
		n.t.Fatalf("%d messages, want 2", got)
	}
	w.fails("queues", "purge", name) // it asks, and nobody answers
	if got := backlog(); got != 2 {
		n.t.Errorf("%d messages after a purge that was not confirmed", got)
	}
	matches(n.t, w.ok("queues", "purge", name, "--force"), `Purged Queue '`+name+`'`)
	var status struct {
		Completed bool
		StartedAt time.Time `json:"started_at"`
	}
	n.result("GET", queue+"/purge", "", "", &status)
	if got := backlog(); got != 0 || !status.Completed || time.Since(status.StartedAt) > time.Minute {
		n.t.Errorf("%d messages after a purge, %+v", got, status)
	}
}

// The example with a producer and a consumer: its first deploy, its second, and what it does. And a queue that is bound stays.
func TestWranglerQueueWorker(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("../../../examples/bindings/queue")
	matches(t, w.ok("deploy"), `Consumer for reports`) // wrangler makes the queue
	w.edit("src/index.js", "all is well", "all is very well")
	w.edit("wrangler.jsonc", `"max_batch_timeout": 1`, `"max_batch_timeout": 0`)
	matches(t, w.ok("deploy"), `Consumer for reports`)
	matches(t, w.ok("queues", "info", "reports"), `Number of Producers: 1\nProducers: worker:reports\nNumber of Consumers: 1\nConsumers: worker:reports`)

	n.route("reports."+zone+"/*", "reports")
	host := "reports." + zone
	if got := n.order(host, "/orders", `["january","smarch"]`); got.Status != 202 || got.Body != "2 ordered\n" {
		t.Fatalf("the order: %d %q", got.Status, got.Body)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := n.get(host, "/reports/january")
		if got.Status == 200 && got.Body == "The report of january: all is very well.\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the report: %d %q", got.Status, got.Body)
		}
	}
	matches(t, w.fails("queues", "delete", "reports"), `code: 11005`)
	matches(t, w.ok("queues", "info", "reports-failed"), `reports-failed`)
}
