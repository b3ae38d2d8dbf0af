package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"atoll.dev/atoll/internal/client"
	"atoll.dev/atoll/internal/wire"
)

func queueCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Message queues",
		Long:  "A queue keeps messages until a consumer Worker, or whoever pulls them, has acknowledged them. QUEUE is a name.",
	}
	cmd.AddCommand(queueCreateCmd(r), queueListCmd(r), queueGetCmd(r), queueSetCmd(r), queuePauseCmd(r, true), queuePauseCmd(r, false),
		&cobra.Command{
			Use: "purge QUEUE", Short: "Delete all messages of a queue", Args: cobra.ExactArgs(1),
			RunE: r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
				if err := c.PurgeQueue(ctx, q.ID); err != nil {
					return err
				}
				return r.done(nil, "Purged queue %s", q.Name)
			}),
		},
		&cobra.Command{
			Use: "delete QUEUE", Short: "Delete a queue with its messages", Args: cobra.ExactArgs(1),
			RunE: r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
				if err := c.DeleteQueue(ctx, q.ID); err != nil {
					return err
				}
				return r.done(nil, "Deleted queue %s", q.Name)
			}),
		},
		queueConsumerCmd(r), queueSendCmd(r), queuePullCmd(r))
	return cmd
}

// queueFlags are the settings of a queue.
type queueFlags struct{ delay, retention time.Duration }

func (f *queueFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.delay, "delay", 0, "deliver messages after this `TIME`, such as 30s, where their sender says nothing else")
	cmd.Flags().DurationVar(&f.retention, "retention", 96*time.Hour, "forget a message that nobody has acknowledged after this `TIME`")
}

// settings are those whose flags are set.
func (f *queueFlags) settings(cmd *cobra.Command) (s wire.QueueSettings) {
	set := func(name string, d time.Duration, v **int64) {
		if cmd.Flags().Changed(name) {
			n := int64(d / time.Second)
			*v = &n
		}
	}
	set("delay", f.delay, &s.DeliveryDelay)
	set("retention", f.retention, &s.MessageRetentionPeriod)
	return s
}

func queueCreateCmd(r *remote) *cobra.Command {
	f := &queueFlags{}
	cmd := &cobra.Command{Use: "create QUEUE", Short: "Make a queue", Args: cobra.ExactArgs(1)}
	cmd.RunE = r.run(func(ctx context.Context, c *client.Client, args []string) error {
		q, err := c.CreateQueue(ctx, args[0], f.settings(cmd))
		if err != nil {
			return err
		}
		return r.done(q, "Made queue %s (%s)", q.Name, q.ID)
	})
	f.add(cmd)
	return cmd
}

func queueSetCmd(r *remote) *cobra.Command {
	f := &queueFlags{}
	cmd := &cobra.Command{Use: "set QUEUE", Short: "Change the settings of a queue", Args: cobra.ExactArgs(1)}
	cmd.RunE = r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
		q, err := c.UpdateQueue(ctx, q.ID, f.settings(cmd))
		if err != nil {
			return err
		}
		return r.done(q, "Queue %s: messages are delayed for %s and kept for %s", q.Name, seconds(q.Settings.DeliveryDelay), seconds(q.Settings.MessageRetentionPeriod))
	})
	f.add(cmd)
	return cmd
}

func seconds(n *int64) string {
	if n == nil {
		return "-"
	}
	return (time.Duration(*n) * time.Second).String()
}

func queueListCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the queues", Args: cobra.NoArgs,
		RunE: r.run(func(ctx context.Context, c *client.Client, _ []string) error {
			list, err := c.Queues(ctx)
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(r.std.Out, list)
			}
			t := table{head: []string{"NAME", "CONSUMER", "PRODUCERS", "ID"}}
			for _, q := range list {
				t.add(q.Name, consumerText(q), strconv.Itoa(q.ProducersTotal), q.ID)
			}
			return t.write(r.std.Out, "No queues. Make one with 'atoll queue create NAME'.")
		}),
	}
}

// consumerText says who takes a queue's messages.
func consumerText(q wire.Queue) string {
	switch {
	case len(q.Consumers) == 0:
		return "none"
	case q.Consumers[0].Script == "":
		return "pulled"
	}
	return q.Consumers[0].Script
}

func queueGetCmd(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "get QUEUE", Short: "Show a queue and what it holds", Args: cobra.ExactArgs(1),
		RunE: r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
			m, err := c.QueueMetrics(ctx, q.ID)
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(r.std.Out, struct {
					wire.Queue
					Metrics wire.QueueMetrics `json:"metrics"`
				}{q, m})
			}
			state := "delivering"
			if q.Settings.DeliveryPaused != nil && *q.Settings.DeliveryPaused {
				state = "paused"
			}
			return fields(r.std.Out, "Name", q.Name, "ID", q.ID, "State", state, "Consumer", consumerText(q), "Producers", strconv.Itoa(q.ProducersTotal),
				"Delay", seconds(q.Settings.DeliveryDelay), "Retention", seconds(q.Settings.MessageRetentionPeriod),
				"Messages", fmt.Sprintf("%d (%d bytes)", m.BacklogCount, m.BacklogBytes))
		}),
	}
}

func queuePauseCmd(r *remote, pause bool) *cobra.Command {
	cmd := &cobra.Command{Use: "pause QUEUE", Short: "Deliver no messages of a queue for now", Args: cobra.ExactArgs(1)}
	done := "Paused queue %s"
	if !pause {
		cmd.Use, cmd.Short, done = "resume QUEUE", "Deliver a queue's messages again", "Resumed queue %s"
	}
	cmd.RunE = r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
		q, err := c.UpdateQueue(ctx, q.ID, wire.QueueSettings{DeliveryPaused: &pause})
		if err != nil {
			return err
		}
		return r.done(q, done, q.Name)
	})
	return cmd
}

func queueConsumerCmd(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "consumer", Short: "Who takes the messages of a queue"}
	cmd.AddCommand(queueConsumerAddCmd(r), &cobra.Command{
		Use: "remove QUEUE", Short: "Take the consumer off a queue; messages wait", Args: cobra.ExactArgs(1),
		RunE: r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
			if len(q.Consumers) == 0 {
				return fmt.Errorf("queue %s has no consumer", q.Name)
			}
			if err := c.RemoveQueueConsumer(ctx, q.ID, q.Consumers[0].ID); err != nil {
				return err
			}
			return r.done(nil, "Queue %s has no consumer any more", q.Name)
		}),
	})
	return cmd
}

// consumerFlags are the settings of a consumer.
type consumerFlags struct {
	namespace, dead             string
	pull                        bool
	batch, retries, concurrency int64
	wait, delay, visibility     time.Duration
}

func queueConsumerAddCmd(r *remote) *cobra.Command {
	f := &consumerFlags{}
	cmd := &cobra.Command{
		Use: "add QUEUE [SCRIPT]", Short: "Give a queue a consumer", Args: cobra.RangeArgs(1, 2),
		Long:    "Gives a queue a consumer: the queue() handler of SCRIPT, or with --pull whoever pulls messages over the API.",
		Example: "  atoll queue consumer add jobs worker --batch-size 20 --dead-letter-queue jobs-failed\n  atoll queue consumer add jobs customer-a --namespace production\n  atoll queue consumer add jobs --pull",
	}
	cmd.RunE = r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, args []string) error {
		if f.pull == (len(args) == 2) {
			return hint(&usageError{fmt.Errorf("give either SCRIPT or --pull")}, "'atoll queue consumer add --help' shows how to use it")
		}
		body := f.body(cmd)
		if len(args) == 2 {
			body.ScriptName = args[1]
		}
		consumer, err := c.AddQueueConsumer(ctx, q.ID, body)
		if err != nil {
			return err
		}
		if f.pull {
			return r.done(consumer, "Messages of queue %s are pulled", q.Name)
		}
		return r.done(consumer, "Messages of queue %s go to %s", q.Name, consumer.Script)
	})
	flags := cmd.Flags()
	flags.StringVar(&f.namespace, "namespace", "", "the dispatch `NAMESPACE` of SCRIPT; without it, SCRIPT is the account's")
	flags.BoolVar(&f.pull, "pull", false, "messages are pulled")
	flags.Int64Var(&f.batch, "batch-size", 10, "messages at once, at the `MOST`; 5 where they are pulled")
	flags.DurationVar(&f.wait, "batch-timeout", 5*time.Second, "how much `TIME` to wait for a full batch")
	flags.Int64Var(&f.retries, "retries", 3, "how `OFTEN` a message is delivered again")
	flags.DurationVar(&f.delay, "retry-delay", 0, "`TIME` until then")
	flags.Int64Var(&f.concurrency, "concurrency", 0, "batches delivered at once, at the `MOST`; the node decides without it")
	flags.DurationVar(&f.visibility, "visibility-timeout", 30*time.Second, "`TIME` for which pulled messages are leased")
	flags.StringVar(&f.dead, "dead-letter-queue", "", "the `QUEUE` for messages that failed too often; made where it is missing")
	return cmd
}

func (f *consumerFlags) body(cmd *cobra.Command) wire.QueueConsumerBody {
	b := wire.QueueConsumerBody{Type: "worker", DispatchNamespace: f.namespace, DeadLetterQueue: f.dead}
	if f.pull {
		b.Type = "http_pull"
	}
	set := func(name string, n int64, v **int64) {
		if cmd.Flags().Changed(name) {
			*v = &n
		}
	}
	set("batch-size", f.batch, &b.Settings.BatchSize)
	set("batch-timeout", f.wait.Milliseconds(), &b.Settings.MaxWaitTimeMs)
	set("retries", f.retries, &b.Settings.MaxRetries)
	set("retry-delay", int64(f.delay/time.Second), &b.Settings.RetryDelay)
	set("concurrency", f.concurrency, &b.Settings.MaxConcurrency)
	set("visibility-timeout", f.visibility.Milliseconds(), &b.Settings.VisibilityTimeoutMs)
	return b
}

func queueSendCmd(r *remote) *cobra.Command {
	var delay time.Duration
	var isJSON bool
	cmd := &cobra.Command{Use: "send QUEUE MESSAGE", Short: "Send a message", Args: cobra.ExactArgs(2)}
	cmd.RunE = r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, args []string) error {
		m := wire.QueueMessage{ContentType: "json", Body: json.RawMessage(args[1])}
		if !isJSON {
			m.ContentType = "text"
			m.Body, _ = json.Marshal(args[1]) // a string always marshals
		}
		if cmd.Flags().Changed("delay") {
			n := int64(delay / time.Second)
			m.DelaySeconds = &n
		}
		if err := c.SendMessage(ctx, q.ID, m); err != nil {
			return err
		}
		return r.done(nil, "Sent a message to queue %s", q.Name)
	})
	cmd.Flags().BoolVar(&isJSON, "json-body", false, "MESSAGE is JSON, not text")
	cmd.Flags().DurationVar(&delay, "delay", 0, "deliver it after this `TIME`")
	return cmd
}

func queuePullCmd(r *remote) *cobra.Command {
	var count int64
	var ack bool
	cmd := &cobra.Command{
		Use: "pull QUEUE", Short: "Pull messages", Args: cobra.ExactArgs(1),
		Long: "Pulls messages of a queue whose consumer is --pull and prints each on a line. With --ack they are acknowledged; without it they come again.",
	}
	cmd.RunE = r.onQueue(func(ctx context.Context, c *client.Client, q wire.Queue, _ []string) error {
		got, err := c.PullMessages(ctx, q.ID, wire.QueuePull{BatchSize: count})
		if err != nil {
			return err
		}
		var acks wire.QueueAcks
		for _, m := range got.Messages {
			acks.Acks = append(acks.Acks, wire.QueueLease{LeaseID: m.LeaseID})
		}
		if r.json {
			err = printJSON(r.std.Out, got.Messages)
		} else {
			err = printMessages(r, got.Messages)
		}
		if err == nil && ack && len(acks.Acks) > 0 {
			_, err = c.AckMessages(ctx, q.ID, acks)
		}
		return err
	})
	cmd.Flags().Int64Var(&count, "count", 0, "how `MANY` at the most; without it, the consumer's batch size")
	cmd.Flags().BoolVar(&ack, "ack", false, "acknowledge them once they are printed")
	return cmd
}

func printMessages(r *remote, list []wire.PulledMessage) error {
	for _, m := range list {
		text := m.Body
		if m.Metadata["CF-Content-Type"] == "json" {
			if b, err := base64.StdEncoding.DecodeString(m.Body); err == nil {
				text = string(b)
			}
		}
		if _, err := fmt.Fprintln(r.std.Out, text); err != nil {
			return err
		}
	}
	return nil
}

// onQueue is run for commands whose first argument names a queue.
func (r *remote) onQueue(f func(ctx context.Context, c *client.Client, q wire.Queue, args []string) error) func(*cobra.Command, []string) error {
	return r.run(func(ctx context.Context, c *client.Client, args []string) error {
		list, err := c.QueuesNamed(ctx, args[0])
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return hint(fmt.Errorf("there is no queue %s", args[0]), "'atoll queue list' shows the queues, 'atoll queue create' makes one")
		}
		return f(ctx, c, list[0], args)
	})
}
