package api

import (
	"slices"
	"strings"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/queue"
	"atoll.dev/atoll/internal/wire"
)

// queue returns the queue of the path, which is the account's.
func (a *API) queue(q *request) (queue.Queue, error) {
	id, err := queue.ParseID(q.path("queue"))
	if err != nil {
		return queue.Queue{}, err
	}
	return a.Queues.Queue(q.Context(), q.account, id)
}

// maxProducers is how many of a queue's producers are shown; a platform may have any number.
const maxProducers = 100

func (a *API) showQueue(q *request, x queue.Queue) (wire.Queue, error) {
	refs, total, err := a.Store.Producers(q.Context(), q.account, string(x.Name), maxProducers)
	if err != nil {
		return wire.Queue{}, err
	}
	out := wire.Queue{ID: string(x.ID), Name: string(x.Name), CreatedOn: wire.Time{Time: x.Created}, ModifiedOn: wire.Time{Time: x.Modified},
		Producers: make([]wire.QueueProducer, len(refs)), ProducersTotal: total, Consumers: showConsumers(x), Settings: showQueueSettings(x.Settings)}
	for i, ref := range refs {
		out.Producers[i] = wire.QueueProducer{Type: "worker", Script: string(ref.Name), DispatchNamespace: string(ref.Namespace)}
	}
	out.ConsumersTotal = len(out.Consumers)
	return out, nil
}

func showQueueSettings(x queue.Settings) wire.QueueSettings {
	return wire.QueueSettings{DeliveryDelay: &x.Delay, DeliveryPaused: &x.Paused, MessageRetentionPeriod: &x.Retention}
}

// changeSettings returns x with what the body sets.
func changeSettings(x queue.Settings, in *wire.QueueSettings) queue.Settings {
	if in == nil {
		return x
	}
	set(&x.Delay, in.DeliveryDelay)
	set(&x.Paused, in.DeliveryPaused)
	set(&x.Retention, in.MessageRetentionPeriod)
	return x
}

// set changes v to what a body has for it, where it has something.
func set[T any](v *T, sent *T) {
	if sent != nil {
		*v = *sent
	}
}

// listQueues lists the account's queues, or those of the names that ?name= gives, any number of times.
func (a *API) listQueues(q *request) (any, error) {
	names := q.URL.Query()["name"]
	list := a.Queues.Queues(q.Context(), q.account)
	if len(names) > 0 {
		list = slices.DeleteFunc(list, func(x queue.Queue) bool { return !slices.Contains(names, string(x.Name)) })
	}
	answer, err := paged(q, list)
	if err != nil {
		return nil, err
	}
	p := answer.(page)
	out := make([]wire.Queue, 0, len(list))
	for _, x := range p.items.([]queue.Queue) {
		shown, err := a.showQueue(q, x)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return page{out, p.info}, nil
}

func (a *API) postQueue(q *request) (any, error) {
	var in wire.QueueBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Jurisdiction != "" {
		return nil, fault.New(fault.Invalid, 100128, "jurisdiction is not supported: a queue's messages are where this node is.")
	}
	name, err := queue.ParseName(in.Name)
	if err != nil {
		return nil, err
	}
	x, err := a.Queues.CreateQueue(q.Context(), q.account, name, changeSettings(queue.DefaultSettings, in.Settings))
	if err != nil {
		return nil, err
	}
	return a.showQueue(q, x)
}

func (a *API) getQueue(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	return a.showQueue(q, x)
}

// putQueue replaces a queue's settings; those that are absent become the defaults.
func (a *API) putQueue(q *request) (any, error) { return a.updateQueue(q, queue.DefaultSettings, true) }

// patchQueue changes the settings that are there.
func (a *API) patchQueue(q *request) (any, error) { return a.updateQueue(q, queue.Settings{}, false) }

func (a *API) updateQueue(q *request, base queue.Settings, whole bool) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	var in wire.QueueBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	name := x.Name
	if in.Name != "" {
		if name, err = queue.ParseName(in.Name); err != nil {
			return nil, err
		}
	}
	if name != x.Name {
		if err := a.unbound(q, x); err != nil { // bindings are by the name
			return nil, err
		}
	}
	if !whole {
		base = x.Settings
	}
	if x, err = a.Queues.UpdateQueue(q.Context(), q.account, x.ID, name, changeSettings(base, in.Settings)); err != nil {
		return nil, err
	}
	return a.showQueue(q, x)
}

// unbound refuses to take a queue's name away from the Workers that are bound to it.
func (a *API) unbound(q *request, x queue.Queue) error {
	refs, total, err := a.Store.Producers(q.Context(), q.account, string(x.Name), 5)
	if err != nil || total == 0 {
		return err
	}
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref.String()
	}
	if total > len(refs) {
		names = append(names, "...")
	}
	return fault.Newf(fault.Invalid, 11005, "Queue '%s' is in use: %d Workers are bound to it (%s). Remove the bindings first.", x.Name, total, strings.Join(names, ", "))
}

// deleteQueue deletes a queue with its messages and its consumer, but not one that a Worker may send to.
func (a *API) deleteQueue(q *request) (any, error) {
	x, err := a.queue(q)
	if err == nil {
		err = a.unbound(q, x)
	}
	if err == nil {
		err = a.Queues.DeleteQueue(q.Context(), q.account, x.ID)
	}
	return nil, err
}

func (a *API) getQueueMetrics(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	m, err := a.Queues.Metrics(q.Context(), q.account, x.ID)
	return showMetrics(m), err
}

func (a *API) postPurge(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	var in wire.QueuePurge
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if !in.Confirmed {
		return nil, fault.New(fault.Invalid, 10021, "delete_messages_permanently must be true: a purge cannot be undone.")
	}
	if x, err = a.Queues.Purge(q.Context(), q.account, x.ID); err != nil {
		return nil, err
	}
	return a.showQueue(q, x)
}

// getPurge tells when the queue was purged last. A purge is over when it is answered.
func (a *API) getPurge(q *request) (any, error) {
	x, err := a.queue(q)
	if err != nil {
		return nil, err
	}
	at, err := a.Queues.Purged(q.Context(), q.account, x.ID)
	if err != nil {
		return nil, err
	}
	out := wire.QueuePurged{Completed: true}
	if !at.IsZero() {
		out.StartedAt = &wire.Time{Time: at}
	}
	return out, nil
}

// listSubscriptions answers that no events are sent to queues: there are no sources of any.
func (a *API) listSubscriptions(q *request) (any, error) { return paged(q, []struct{}{}) }
