package client

import (
	"context"
	"net/http"
	"net/url"

	"atoll.dev/atoll/internal/wire"
)

func queuePath(more ...string) string { return path(append([]string{"queues"}, more...)...) }

// Queues lists the queues.
func (c *Client) Queues(ctx context.Context) ([]wire.Queue, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: queuePath()}, callIn[[]wire.Queue])
}

// QueuesNamed lists the queues of that name: one, or none.
func (c *Client) QueuesNamed(ctx context.Context, name string) ([]wire.Queue, error) {
	return doIn[[]wire.Queue](ctx, c, request{method: http.MethodGet, path: queuePath(), query: url.Values{"name": {name}}})
}

// CreateQueue makes a queue.
func (c *Client) CreateQueue(ctx context.Context, name string, settings wire.QueueSettings) (wire.Queue, error) {
	return doIn[wire.Queue](ctx, c, request{method: http.MethodPost, path: queuePath(), body: wire.QueueBody{Name: name, Settings: &settings}})
}

// UpdateQueue changes those settings of a queue that are there.
func (c *Client) UpdateQueue(ctx context.Context, id string, settings wire.QueueSettings) (wire.Queue, error) {
	return doIn[wire.Queue](ctx, c, request{method: http.MethodPatch, path: queuePath(id), body: wire.QueueBody{Settings: &settings}})
}

// DeleteQueue deletes a queue with its messages.
func (c *Client) DeleteQueue(ctx context.Context, id string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: queuePath(id)})
}

// PurgeQueue deletes the messages of a queue.
func (c *Client) PurgeQueue(ctx context.Context, id string) error {
	return c.execIn(ctx, request{method: http.MethodPost, path: queuePath(id, "purge"), body: wire.QueuePurge{Confirmed: true}})
}

// QueueMetrics returns what a queue holds.
func (c *Client) QueueMetrics(ctx context.Context, id string) (wire.QueueMetrics, error) {
	return doIn[wire.QueueMetrics](ctx, c, request{method: http.MethodGet, path: queuePath(id, "metrics")})
}

// AddQueueConsumer gives a queue a consumer.
func (c *Client) AddQueueConsumer(ctx context.Context, id string, body wire.QueueConsumerBody) (wire.QueueConsumer, error) {
	return doIn[wire.QueueConsumer](ctx, c, request{method: http.MethodPost, path: queuePath(id, "consumers"), body: body})
}

// RemoveQueueConsumer takes a consumer off a queue.
func (c *Client) RemoveQueueConsumer(ctx context.Context, id, consumer string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: queuePath(id, "consumers", consumer)})
}

// SendMessage sends a message to a queue.
func (c *Client) SendMessage(ctx context.Context, id string, m wire.QueueMessage) error {
	return c.execIn(ctx, request{method: http.MethodPost, path: queuePath(id, "messages"), body: m})
}

// PullMessages leases messages of a queue.
func (c *Client) PullMessages(ctx context.Context, id string, p wire.QueuePull) (wire.QueuePulled, error) {
	return doIn[wire.QueuePulled](ctx, c, request{method: http.MethodPost, path: queuePath(id, "messages", "pull"), body: p})
}

// AckMessages acknowledges messages that were pulled.
func (c *Client) AckMessages(ctx context.Context, id string, a wire.QueueAcks) (wire.QueueAcked, error) {
	return doIn[wire.QueueAcked](ctx, c, request{method: http.MethodPost, path: queuePath(id, "messages", "ack"), body: a})
}
