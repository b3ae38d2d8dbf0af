package api

import (
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/queue"
	"atoll.dev/atoll/internal/wire"
)

// showConsumers lists a queue's consumers: one, or none.
func showConsumers(x queue.Queue) []wire.QueueConsumer {
	if x.Consumer == nil {
		return []wire.QueueConsumer{}
	}
	return []wire.QueueConsumer{showConsumer(x.Name, *x.Consumer)}
}

func showConsumer(name queue.Name, c queue.Consumer) wire.QueueConsumer {
	out := wire.QueueConsumer{ID: string(c.ID), Type: string(c.Type), QueueName: string(name), DeadLetterQueue: string(c.DeadLetter),
		CreatedOn: wire.Time{Time: c.Created},
		Settings:  wire.QueueConsumerSettings{BatchSize: &c.Batch, MaxRetries: &c.Retries, RetryDelay: &c.RetryDelay}}
	if c.Type == queue.Pull {
		visibility := c.Visibility.Milliseconds()
		out.Settings.VisibilityTimeoutMs = &visibility
		return out
	}
	wait := c.Wait.Milliseconds()
	out.Settings.MaxWaitTimeMs = &wait
	if c.Concurrency != 0 {
		out.Settings.MaxConcurrency = &c.Concurrency
	}
	out.Script, out.ScriptName, out.DispatchNamespace = c.Script.String(), string(c.Script.Name), string(c.Script.Namespace)
	return out
}

// consumer reads the body of a request as a consumer.
func (a *API) consumer(q *request) (queue.Consumer, error) {
	var in wire.QueueConsumerBody
	if err := q.decode(&in); err != nil {
		return queue.Consumer{}, err
	}
	if in.Type == "" && in.ScriptName != "" {
		in.Type = string(queue.Worker)
	}
	c := queue.DefaultConsumer(queue.ConsumerType(in.Type))
	if in.DeadLetterQueue != "" {
		var err error
		if c.DeadLetter, err = queue.ParseName(in.DeadLetterQueue); err != nil {
			return c, err
		}
	}
	set(&c.Batch, in.Settings.BatchSize)
	set(&c.Retries, in.Settings.MaxRetries)
	set(&c.RetryDelay, in.Settings.RetryDelay)
	if c.Type == queue.Pull {
		setMillis(&c.Visibility, in.Settings.VisibilityTimeoutMs)
		return c, nil
	}
	setMillis(&c.Wait, in.Settings.MaxWaitTimeMs)
	if n := in.Settings.MaxConcurrency; n != nil {
		if *n < 1 {
			return c, fault.New(fault.Invalid, 100127, "max_concurrency must be from 1 to 250, or null.")
		}
		c.Concurrency = *n
	}
	if c.Type != queue.Worker {
		return c, nil // the queue says what is wrong with it
	}
	var err error
	c.Script, err = a.consumerScript(q, in)
	return c, err
}

// setMillis is set for a time that a body has in milliseconds.
func setMillis(v *time.Duration, sent *int64) {
	if sent != nil {
		*v = time.Duration(min(max(*sent, -1), 1<<40)) * time.Millisecond
	}
}

// consumerScript returns the script that is to be a consumer, which must handle queue events.
func (a *API) consumerScript(q *request, in wire.QueueConsumerBody) (ref atoll.ScriptRef, err error) {
	ref.Account = q.account
	if ref.Name, err = atoll.ParseScriptName(in.ScriptName); err != nil {
		return ref, err
	}
	if in.DispatchNamespace != "" {
		if ref.Namespace, err = atoll.ParseNamespaceName(in.DispatchNamespace); err != nil {
			return ref, err
		}
	}
	s, err := a.Store.Script(q.Context(), ref)
	if err != nil {
		return ref, err
	}
	if s.Version == nil || !slices.Contains(s.Version.Handlers, "queue") {
		return ref, fault.Newf(fault.Invalid, 11001, "Worker '%s' has no queue() handler.", ref)
	}
	return ref, nil
}

func (a *API) listConsumers(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	return paged(q, showConsumers(x))
}

func (a *API) postConsumer(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	c, err := a.consumer(q)
	if err == nil {
		c, err = a.Queues.AddConsumer(q.Context(), q.account, x.ID, c)
	}
	if err != nil {
		return nil, err
	}
	return showConsumer(x.Name, c), nil
}

// consumerID returns the queue of the path, and the id of the consumer that it names.
func (a *API) consumerID(q *request) (queue.Queue, queue.ID, error) {
	x, err := a.queue(q)
	if err != nil {
		return x, "", err
	}
	id, err := queue.ParseID(q.path("consumer"))
	if err != nil || x.Consumer == nil || x.Consumer.ID != id {
		return x, "", fault.New(fault.NotFound, 11000, "Consumer not found.")
	}
	return x, id, nil
}

func (a *API) getConsumer(q *request) (any, error) {
	x, _, err := a.consumerID(q)
	if err != nil {
		return nil, err
	}
	return showConsumer(x.Name, *x.Consumer), nil
}

func (a *API) putConsumer(q *request) (any, error) {
	x, id, err := a.consumerID(q)
	if err != nil {
		return nil, err
	}
	c, err := a.consumer(q)
	if err == nil {
		c, err = a.Queues.UpdateConsumer(q.Context(), q.account, x.ID, id, c)
	}
	if err != nil {
		return nil, err
	}
	return showConsumer(x.Name, c), nil
}

func (a *API) deleteConsumer(q *request) (any, error) {
	x, id, err := a.consumerID(q)
	if err == nil {
		err = a.Queues.RemoveConsumer(q.Context(), q.account, x.ID, id)
	}
	return nil, err
}
