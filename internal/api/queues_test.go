package api

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// handling makes a script of what handles these events, bound to a queue of that name or to none.
func (n *node) handling(ref atoll.ScriptRef, queue string, events ...string) {
	n.t.Helper()
	n.put(ref, "export default {}", func(v *atoll.Version) {
		v.Handlers = events
		if queue != "" {
			v.Bindings = []atoll.Binding{{Name: "Q", Type: "queue", Fields: json.RawMessage(`{"name":"Q","type":"queue","queue_name":"` + queue + `"}`)}}
		}
	})
}

func TestQueues(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	var q wire.Queue
	n.ok(&q, "POST", "ACCT/queues", `{"queue_name":"jobs"}`, "Content-Type: text/plain;charset=UTF-8")
	if len(q.ID) != 32 || q.Name != "jobs" || *q.Settings.MessageRetentionPeriod != 345600 || len(q.Consumers) != 0 || len(q.Producers) != 0 {
		t.Errorf("made: %+v", q)
	}
	one := "ACCT/queues/" + q.ID
	n.fails(409, 11009, "POST", "ACCT/queues", `{"queue_name":"jobs"}`)
	n.fails(400, 11003, "POST", "ACCT/queues", `{"queue_name":"no spaces"}`)
	n.fails(400, 100128, "POST", "ACCT/queues", `{"queue_name":"x","settings":{"delivery_delay":86401}}`)
	n.fails(400, 100128, "POST", "ACCT/queues", `{"queue_name":"x","jurisdiction":"eu"}`)
	n.fails(404, 11000, "GET", "ACCT/queues/"+strings.Repeat("0", 32), "")
	n.fails(404, 11000, "GET", "ACCT/queues/jobs", "")

	n.ok(&q, "PATCH", one, `{"queue_name":"jobs","settings":{"delivery_paused":true,"delivery_delay":3}}`)
	n.ok(&q, "PATCH", one, `{"settings":{"delivery_paused":false}}`)
	if *q.Settings.DeliveryPaused || *q.Settings.DeliveryDelay != 3 {
		t.Errorf("after PATCH: %+v", q.Settings)
	}
	n.ok(&q, "PUT", one, `{"queue_name":"tasks","settings":{"message_retention_period":60}}`)
	if q.Name != "tasks" || *q.Settings.DeliveryDelay != 0 || *q.Settings.MessageRetentionPeriod != 60 {
		t.Errorf("after PUT: %+v", q)
	}
	var list []wire.Queue
	n.ok(&list, "GET", "ACCT/queues?name=nope&name=tasks&page=1", "")
	if len(list) != 1 || list[0].ID != q.ID {
		t.Errorf("by name: %+v", list)
	}
	n.ok(&list, "GET", "ACCT/queues?page=2", "")
	if len(list) != 0 {
		t.Errorf("the second page: %+v", list)
	}

	producer := atoll.ScriptRef{Account: theAccount, Namespace: "production", Name: "sender"}
	n.handling(producer, "tasks", "fetch")
	n.ok(&q, "GET", one, "")
	if q.ProducersTotal != 1 || q.Producers[0] != (wire.QueueProducer{Type: "worker", Script: "sender", DispatchNamespace: "production"}) {
		t.Errorf("producers: %+v", q)
	}
	n.fails(400, 11005, "DELETE", one, "")
	n.fails(400, 11005, "PATCH", one, `{"queue_name":"other"}`)
	n.handling(producer, "", "fetch") // a new version, without the binding
	n.ok(nil, "DELETE", one, "")
	n.fails(404, 11000, "GET", one, "")
}

func TestQueueConsumers(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	var q wire.Queue
	n.ok(&q, "POST", "ACCT/queues", `{"queue_name":"jobs"}`)
	all := "ACCT/queues/" + q.ID + "/consumers"
	user := atoll.ScriptRef{Account: theAccount, Namespace: "production", Name: "worker"}
	n.handling(user, "", "fetch", "queue")
	n.fails(404, 10007, "POST", all, `{"type":"worker","script_name":"worker"}`) // the account has none
	n.fails(404, 10092, "POST", all, `{"type":"worker","script_name":"other","dispatch_namespace":"production"}`)
	n.handling(atoll.ScriptRef{Account: theAccount, Name: "deaf"}, "", "fetch")
	n.fails(400, 11001, "POST", all, `{"type":"worker","script_name":"deaf"}`)
	n.fails(400, 100127, "POST", all, `{"type":"r2_bucket"}`)
	n.fails(400, 100127, "POST", all, `{"type":"http_pull","settings":{"batch_size":0}}`)
	var c wire.QueueConsumer
	n.ok(&c, "POST", all, `{"type":"worker","script_name":"worker","dispatch_namespace":"production","environment_name":"","dead_letter_queue":"failed","settings":{"max_concurrency":null}}`)
	if c.Script != "production/worker" || c.ScriptName != "worker" || c.DispatchNamespace != "production" || c.DeadLetterQueue != "failed" ||
		*c.Settings.BatchSize != 10 || *c.Settings.MaxRetries != 3 || *c.Settings.MaxWaitTimeMs != 5000 || c.Settings.MaxConcurrency != nil {
		t.Errorf("made: %+v", c)
	}
	n.fails(409, 11004, "POST", all, `{"type":"http_pull"}`)
	n.fails(404, 11000, "PUT", all+"/"+strings.Repeat("0", 32), `{"type":"http_pull"}`)
	var dead []wire.Queue
	n.ok(&dead, "GET", "ACCT/queues?name=failed", "")
	if len(dead) != 1 {
		t.Errorf("the dead letter queue was not made: %+v", dead)
	}

	path := "ACCT/workers/dispatch/namespaces/production/scripts/worker"
	n.fails(400, 10064, "DELETE", path, "")
	n.ok(nil, "DELETE", path+"?force=true", "")
	var list []wire.QueueConsumer
	n.ok(&list, "GET", all, "")
	if len(list) != 0 {
		t.Errorf("consumers of a deleted script: %+v", list)
	}
	n.ok(&c, "POST", all, `{"type":"http_pull","settings":{"visibility_timeout_ms":1000}}`)
	n.ok(&c, "PUT", all+"/"+c.ID, `{"type":"http_pull","settings":{"batch_size":7}}`)
	n.ok(&c, "GET", all+"/"+c.ID, "")
	if *c.Settings.BatchSize != 7 || *c.Settings.VisibilityTimeoutMs != 30000 {
		t.Errorf("replaced: %+v", c.Settings)
	}
	n.ok(nil, "DELETE", all+"/"+c.ID, "")
	n.fails(404, 11000, "GET", all+"/"+c.ID, "")
}

func TestQueueMessages(t *testing.T) {
	n := newNode(t)
	var q wire.Queue
	n.ok(&q, "POST", "ACCT/queues", `{"queue_name":"jobs"}`)
	one := "ACCT/queues/" + q.ID
	n.fails(400, 10021, "POST", one+"/messages/pull", `{}`) // nobody pulls yet
	n.ok(nil, "POST", one+"/consumers", `{"type":"http_pull","settings":{"max_retries":1}}`)
	var sent wire.QueueSent
	n.ok(&sent, "POST", one+"/messages", `{"body":{"a":1}}`)
	n.ok(&sent, "POST", one+"/messages/batch", `{"messages":[{"body":"text","content_type":"text"},{"body":"later","delay_seconds":3600}]}`)
	if m := sent.Metadata.Metrics; m.BacklogCount != 3 || m.BacklogBytes == 0 || m.OldestMessageTimestamp == 0 {
		t.Errorf("metrics: %+v", m)
	}
	for body, status := range map[string]int{`{}`: 400, `{"body":1,"content_type":"text"}`: 400, `{"body":1,"content_type":"bytes"}`: 400,
		`{"body":1,"delay_seconds":-1}`: 400, `{"body":"` + strings.Repeat("x", 128_000) + `"}`: 413} {
		n.fails(status, 10021, "POST", one+"/messages", body)
	}
	var pulled wire.QueuePulled
	n.ok(&pulled, "POST", one+"/messages/pull", `{"batch_size":10,"visibility_timeout_ms":60000}`)
	if len(pulled.Messages) != 2 || pulled.BacklogCount != 3 {
		t.Fatalf("pulled: %+v", pulled)
	}
	first, second := pulled.Messages[0], pulled.Messages[1]
	if first.Body != base64.StdEncoding.EncodeToString([]byte(`{"a":1}`)) || first.Metadata["CF-Content-Type"] != "json" || first.Attempts != 1 ||
		second.Body != "text" || second.Metadata["CF-Content-Type"] != "text" || len(second.ID) != 32 || second.TimestampMs == 0 {
		t.Errorf("pulled: %+v", pulled.Messages)
	}
	n.ok(&pulled, "POST", one+"/messages/pull", "")
	if len(pulled.Messages) != 0 {
		t.Errorf("pulled again: %+v", pulled.Messages)
	}
	var acked wire.QueueAcked
	n.ok(&acked, "POST", one+"/messages/ack", `{"acks":[{"lease_id":"`+first.LeaseID+`"},{"lease_id":"made-up"}],"retries":[{"lease_id":"`+second.LeaseID+`","delay_seconds":0}]}`)
	if acked.AckCount != 1 || acked.RetryCount != 1 || len(acked.Warnings) != 1 || acked.Warnings["made-up"] == "" {
		t.Errorf("acknowledged: %+v", acked)
	}
	n.ok(&pulled, "POST", one+"/messages/pull", "")
	if len(pulled.Messages) != 1 || pulled.Messages[0].ID != second.ID || pulled.Messages[0].Attempts != 2 {
		t.Errorf("after a retry: %+v", pulled.Messages)
	}
	n.fails(400, 10021, "POST", one+"/purge", `{}`)
	n.ok(nil, "POST", one+"/purge", `{"delete_messages_permanently":true}`)
	var m wire.QueueMetrics
	if n.ok(&m, "GET", one+"/metrics", ""); m != (wire.QueueMetrics{}) {
		t.Errorf("after a purge: %+v", m)
	}
	var purged wire.QueuePurged
	if n.ok(&purged, "GET", one+"/purge", ""); !purged.Completed || purged.StartedAt == nil {
		t.Errorf("the purge: %+v", purged)
	}
}
