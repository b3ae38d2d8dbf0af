package node

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/cron"
	"atoll.dev/atoll/internal/deploy"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/objects"
	"atoll.dev/atoll/internal/route"
)

// publishRoutes gives the edge the routes as they are in the store.
func (n *node) publishRoutes(ctx context.Context) error {
	stored, err := n.store.AllRoutes(ctx)
	if err != nil {
		return fmt.Errorf("read routes: %w", err)
	}
	var routes []route.Route
	for _, r := range stored {
		p, err := route.ParsePattern(r.Pattern)
		if err != nil {
			n.lg.Error("route left out", "pattern", r.Pattern, "err", err)
			continue
		}
		routes = append(routes, route.Route{Pattern: p, Script: atoll.ScriptRef{Account: r.Account, Name: r.Script}, Router: r.Router})
	}
	n.edge.Publish(route.Compile(routes))
	return nil
}

// record reads a built-in router's record.
func (n *node) record(ctx context.Context, namespace, key string, most int64) ([]byte, bool, error) {
	v, ok, err := n.kv.Get(ctx, kv.NamespaceID(namespace), kv.Key(key))
	if err != nil || !ok {
		return nil, false, err
	}
	defer v.Close()
	if v.Size > most {
		return nil, false, fmt.Errorf("it has %d bytes, more than %d", v.Size, most)
	}
	b, err := v.Bytes()
	return b, err == nil, err
}

// publishSchedules gives the clock the cron triggers as they are in the store.
func (n *node) publishSchedules(ctx context.Context) error {
	stored, err := n.store.AllSchedules(ctx)
	if err != nil {
		return fmt.Errorf("read cron triggers: %w", err)
	}
	var triggers []cron.Trigger
	for _, s := range stored {
		e, err := cron.Parse(s.Cron)
		if err != nil {
			n.lg.Error("cron trigger left out", "script", s.Ref.String(), "cron", s.Cron, "err", err)
			continue
		}
		triggers = append(triggers, cron.Trigger{Script: s.Ref, Expr: e})
	}
	n.clock.Set(triggers)
	return nil
}

// fire calls a script's scheduled handler.
func (n *node) fire(ctx context.Context, t cron.Trigger, minute time.Time) error {
	_, err := n.calls.Event(ctx, t.Script, map[string]any{"type": "scheduled", "cron": t.Expr.String(), "scheduledTime": minute.UnixMilli()})
	return err
}

// alarms are the alarms of Durable Objects as package dispatch wants them.
type alarms struct {
	*objects.Store
	*objects.Clock
}

// wake has the process of a class's objects started.
func (n *node) wake(ctx context.Context, class string) error {
	ref, err := n.store.ClassScript(ctx, class)
	if err != nil {
		return err
	}
	return n.calls.Wake(ctx, ref)
}

// runner is the dispatcher as package deploy wants it.
type runner struct {
	*dispatch.Dispatcher
	node *node
}

// Publish implements deploy.Runner.
func (r runner) Publish(ref atoll.ScriptRef) {
	r.Dispatcher.Publish(ref)
	r.node.mayBeDeleted()
}

// suspendWithin is how long a process may take to end, which is killed well before.
const suspendWithin = 30 * time.Second

// Suspend implements deploy.Runner. It takes the locks of the classes' storage itself, so that no process can have it,
// whichever one it is.
func (r runner) Suspend(ctx context.Context, ref atoll.ScriptRef, classes []string) (resume func(), err error) {
	start, err := r.Dispatcher.Suspend(ctx, ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, suspendWithin, fault.Newf(fault.Unavailable, 10013, "The process of script '%s' has not ended in time.", ref.Name))
	defer cancel()
	var locks []*os.File
	resume = func() {
		for _, l := range locks {
			l.Close()
		}
		start()
		r.node.alarms.Ended(classes...) // whoever was woken for an alarm meanwhile may not have been the one that has them now
	}
	for _, class := range slices.Sorted(slices.Values(classes)) {
		_, lock, err := r.node.objects.Take(ctx, class)
		if err != nil {
			resume()
			return nil, err
		}
		locks = append(locks, lock)
	}
	return resume, nil
}

// Validate implements deploy.Runner.
func (r runner) Validate(ctx context.Context, v *atoll.Version, ref atoll.ScriptRef, load func(string) ([]byte, error)) (deploy.Started, error) {
	s, err := r.Dispatcher.Validate(ctx, v, ref, load)
	return deploy.Started(s), err
}
