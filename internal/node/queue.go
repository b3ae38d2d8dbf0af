package node

import (
	"context"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/queue"
)

func (n *node) openQueues() (*queue.Store, error) {
	return queue.Open(n.lg, n.cfg.Data, queue.Options{Deliver: n.deliver,
		AccountBytes: n.cfg.Limits.QueueStorage, QueueBytes: n.cfg.Limits.QueueBacklog})
}

// deliver calls a script's queue handler. Whatever ends the handler once it has begun is an attempt that failed; where it
// could not begin, the batch waits.
func (n *node) deliver(ctx context.Context, script atoll.ScriptRef, b *queue.Batch) (queue.Outcome, error) {
	answer, err := n.calls.Deliver(ctx, script, b.Encode(), queue.MaxOutcome)
	if err != nil && (ctx.Err() != nil || !dispatch.Called(err)) {
		return queue.Outcome{}, err
	}
	var outcome queue.Outcome
	var exception string
	if err == nil {
		outcome, exception, err = queue.ParseOutcome(answer)
	}
	if err != nil {
		exception = err.Error()
	}
	if exception != "" {
		n.lg.Info("queue handler failed", "account", script.Account, "script", script.String(), "queue", b.Queue, "messages", len(b.Messages), "err", exception)
	}
	return outcome, nil
}
