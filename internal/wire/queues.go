package wire

import "encoding/json"

// Queue is a message queue.
type Queue struct {
	ID             string          `json:"queue_id"`
	Name           string          `json:"queue_name"`
	CreatedOn      Time            `json:"created_on"`
	ModifiedOn     Time            `json:"modified_on"`
	Producers      []QueueProducer `json:"producers"` // the first of them
	ProducersTotal int             `json:"producers_total_count"`
	Consumers      []QueueConsumer `json:"consumers"`
	ConsumersTotal int             `json:"consumers_total_count"`
	Settings       QueueSettings   `json:"settings"`
}

// QueueSettings are what a queue does by itself, in seconds.
type QueueSettings struct {
	DeliveryDelay          *int64 `json:"delivery_delay,omitempty"`
	DeliveryPaused         *bool  `json:"delivery_paused,omitempty"`
	MessageRetentionPeriod *int64 `json:"message_retention_period,omitempty"`
}

// QueueProducer is a script that sends to a queue. DispatchNamespace is ours: Cloudflare does not tell.
type QueueProducer struct {
	Type              string `json:"type"`
	Script            string `json:"script"`
	DispatchNamespace string `json:"dispatch_namespace,omitempty"`
}

// QueueBody is the body that makes or changes a queue; what is absent stays.
type QueueBody struct {
	Name         string         `json:"queue_name,omitempty"`
	Jurisdiction string         `json:"jurisdiction,omitempty"`
	Settings     *QueueSettings `json:"settings,omitempty"`
}

// QueueConsumer is what takes a queue's messages. Script names a user Worker together with its namespace, so that it is not
// taken for the account's script of the same name; ScriptName is the name alone.
type QueueConsumer struct {
	ID                string                `json:"consumer_id"`
	Type              string                `json:"type"`
	QueueName         string                `json:"queue_name"`
	Script            string                `json:"script,omitempty"`
	ScriptName        string                `json:"script_name,omitempty"`
	DispatchNamespace string                `json:"dispatch_namespace,omitempty"`
	DeadLetterQueue   string                `json:"dead_letter_queue,omitempty"`
	CreatedOn         Time                  `json:"created_on"`
	Settings          QueueConsumerSettings `json:"settings"`
}

// QueueConsumerSettings are how a consumer gets its messages.
type QueueConsumerSettings struct {
	BatchSize           *int64 `json:"batch_size,omitempty"`
	MaxRetries          *int64 `json:"max_retries,omitempty"`
	MaxWaitTimeMs       *int64 `json:"max_wait_time_ms,omitempty"`
	MaxConcurrency      *int64 `json:"max_concurrency,omitempty"`
	RetryDelay          *int64 `json:"retry_delay,omitempty"` // seconds
	VisibilityTimeoutMs *int64 `json:"visibility_timeout_ms,omitempty"`
}

// QueueConsumerBody is the body that makes or replaces a consumer. DispatchNamespace is ours: the namespace of the script.
type QueueConsumerBody struct {
	Type              string                `json:"type"`
	ScriptName        string                `json:"script_name,omitempty"`
	DispatchNamespace string                `json:"dispatch_namespace,omitempty"`
	DeadLetterQueue   string                `json:"dead_letter_queue,omitempty"`
	Settings          QueueConsumerSettings `json:"settings"`
}

// QueueMessage is a message to send. ContentType is "json", also where it is absent, or "text", whose body is a string.
type QueueMessage struct {
	Body         json.RawMessage `json:"body"`
	ContentType  string          `json:"content_type,omitempty"`
	DelaySeconds *int64          `json:"delay_seconds,omitempty"`
}

// QueueMessages are messages to send at once.
type QueueMessages struct {
	Messages     []QueueMessage `json:"messages"`
	DelaySeconds *int64         `json:"delay_seconds,omitempty"`
}

// QueueMetrics are what a queue holds; a time of 0 is none.
type QueueMetrics struct {
	BacklogBytes           int64 `json:"backlog_bytes"`
	BacklogCount           int64 `json:"backlog_count"`
	OldestMessageTimestamp int64 `json:"oldest_message_timestamp_ms"`
}

// QueueMetadata stands beside an answer about messages.
type QueueMetadata struct {
	Metrics QueueMetrics `json:"metrics"`
}

// QueueSent is the answer to messages that were sent.
type QueueSent struct {
	Metadata QueueMetadata `json:"metadata"`
}

// QueuePull asks for messages. VisibilityTimeout is an older name of VisibilityTimeoutMs.
type QueuePull struct {
	BatchSize           int64 `json:"batch_size,omitempty"`
	VisibilityTimeoutMs int64 `json:"visibility_timeout_ms,omitempty"`
	VisibilityTimeout   int64 `json:"visibility_timeout,omitempty"`
}

// QueuePulled is the answer to a pull.
type QueuePulled struct {
	Messages     []PulledMessage `json:"messages"`
	BacklogCount int64           `json:"message_backlog_count"`
	Metadata     QueueMetadata   `json:"metadata"`
}

// PulledMessage is one message of a pull. Its body is base64 unless its content type is "text".
type PulledMessage struct {
	ID          string            `json:"id"`
	LeaseID     string            `json:"lease_id"`
	Attempts    int64             `json:"attempts"`
	TimestampMs int64             `json:"timestamp_ms"`
	Metadata    map[string]string `json:"metadata"`
	Body        string            `json:"body"`
}

// QueueAcks acknowledges pulled messages, and has others delivered again.
type QueueAcks struct {
	Acks    []QueueLease `json:"acks,omitempty"`
	Retries []QueueLease `json:"retries,omitempty"`
}

// QueueLease is one pulled message. DelaySeconds is of a retry.
type QueueLease struct {
	LeaseID      string `json:"lease_id"`
	DelaySeconds *int64 `json:"delay_seconds,omitempty"`
}

// QueueAcked is the answer to QueueAcks: warnings by lease.
type QueueAcked struct {
	AckCount   int64             `json:"ackCount"`
	RetryCount int64             `json:"retryCount"`
	Warnings   map[string]string `json:"warnings"`
}

// QueuePurge is the body that purges a queue.
type QueuePurge struct {
	Confirmed bool `json:"delete_messages_permanently"`
}

// QueuePurged is the state of a queue's last purge.
type QueuePurged struct {
	Completed bool  `json:"completed"`
	StartedAt *Time `json:"started_at"`
}
