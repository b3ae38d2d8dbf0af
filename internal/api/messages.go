package api

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/queue"
	"atoll.dev/atoll/internal/wire"
)

func showMetrics(m queue.Metrics) wire.QueueMetrics {
	out := wire.QueueMetrics{BacklogBytes: m.Bytes, BacklogCount: m.Count}
	if !m.Oldest.IsZero() {
		out.OldestMessageTimestamp = m.Oldest.UnixMilli()
	}
	return out
}

// postMessage sends one message: https://developers.cloudflare.com/queues/examples/publish-to-a-queue-via-http/
func (a *API) postMessage(q *request) (any, error) {
	var in wire.QueueMessage
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	return a.sendMessages(q, wire.QueueMessages{Messages: []wire.QueueMessage{in}})
}

func (a *API) postMessages(q *request) (any, error) {
	var in wire.QueueMessages
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	return a.sendMessages(q, in)
}

func (a *API) sendMessages(q *request, in wire.QueueMessages) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	list := make([]queue.Outgoing, len(in.Messages))
	for i, m := range in.Messages {
		if list[i], err = outgoing(m); err != nil {
			return nil, err
		}
	}
	m, err := a.Queues.Send(q.Context(), q.account, x.Name, in.DelaySeconds, list)
	return wire.QueueSent{Metadata: wire.QueueMetadata{Metrics: showMetrics(m)}}, err
}

func outgoing(m wire.QueueMessage) (queue.Outgoing, error) {
	out := queue.Outgoing{Type: queue.JSON, Body: m.Body, Delay: m.DelaySeconds}
	if m.Body == nil {
		return out, fault.New(fault.Invalid, 10021, "a message needs a body")
	}
	switch m.ContentType {
	case "", "json":
		return out, nil
	case "text":
		var text string
		if json.Unmarshal(m.Body, &text) != nil {
			return out, fault.New(fault.Invalid, 10021, "the body of a message of content_type text must be a string")
		}
		out.Type, out.Body = queue.Text, []byte(text)
		return out, nil
	}
	return out, fault.Newf(fault.Invalid, 10021, "content_type must be json or text, not %.32q", m.ContentType)
}

// pullMessages leases messages to the caller, who has a while to acknowledge them.
func (a *API) pullMessages(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	var in wire.QueuePull
	if q.ContentLength != 0 { // all of it has a default
		if err := q.decode(&in); err != nil {
			return nil, err
		}
	}
	if in.VisibilityTimeoutMs == 0 {
		in.VisibilityTimeoutMs = in.VisibilityTimeout
	}
	var lease time.Duration
	setMillis(&lease, &in.VisibilityTimeoutMs)
	got, m, err := a.Queues.Pull(q.Context(), q.account, x.ID, in.BatchSize, lease)
	if err != nil {
		return nil, err
	}
	out := wire.QueuePulled{Messages: make([]wire.PulledMessage, len(got)), BacklogCount: m.Count, Metadata: wire.QueueMetadata{Metrics: showMetrics(m)}}
	for i, p := range got {
		out.Messages[i] = wire.PulledMessage{ID: p.ID, LeaseID: p.Lease, Attempts: p.Attempts, TimestampMs: p.Sent.UnixMilli(),
			Metadata: map[string]string{"CF-Content-Type": string(p.Type)}, Body: bodyText(p.Message)}
	}
	return out, nil
}

// bodyText is a body as it stands in JSON: https://developers.cloudflare.com/queues/configuration/pull-consumers/#content-types
func bodyText(m queue.Message) string {
	if m.Type == queue.Text {
		return string(m.Body)
	}
	return base64.StdEncoding.EncodeToString(m.Body)
}

func (a *API) ackMessages(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	var in wire.QueueAcks
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	acks := make([]string, len(in.Acks))
	for i, l := range in.Acks {
		acks[i] = l.LeaseID
	}
	retries := make([]queue.Retry, len(in.Retries))
	for i, l := range in.Retries {
		retries[i] = queue.Retry{Lease: l.LeaseID, Delay: l.DelaySeconds}
	}
	done, err := a.Queues.Ack(q.Context(), q.account, x.ID, acks, retries)
	return wire.QueueAcked{AckCount: done.Acks, RetryCount: done.Retries, Warnings: done.Warnings}, err
}
