package queue

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Encode writes the batch as the wrapper in front of a Worker reads it (js/queue.js of package isolate): the length of a
// description in four bytes, the description in JSON, and the messages' bodies one after the other.
func (b *Batch) Encode() []byte {
	type message struct {
		ID          string      `json:"id"`
		Timestamp   int64       `json:"timestamp"`
		Attempts    int64       `json:"attempts"`
		ContentType ContentType `json:"contentType"`
		Length      int         `json:"length"`
	}
	told := struct {
		Queue    Name      `json:"queue"`
		Metrics  metrics   `json:"metrics"`
		Messages []message `json:"messages"`
	}{b.Queue, shown(b.Metrics), make([]message, len(b.Messages))}
	size := 0
	for i, m := range b.Messages {
		told.Messages[i] = message{m.ID, m.Sent.UnixMilli(), m.Attempts, m.Type, len(m.Body)}
		size += len(m.Body)
	}
	head, _ := json.Marshal(told) // strings and numbers always marshal
	out := make([]byte, 0, 4+len(head)+size)
	out = binary.BigEndian.AppendUint32(out, uint32(len(head)))
	out = append(out, head...)
	for _, m := range b.Messages {
		out = append(out, m.Body...)
	}
	return out
}

// MaxOutcome bounds the answer to a batch.
const MaxOutcome = 64 << 10

// ParseOutcome reads what the wrapper says became of a batch, and what the Worker threw, if it did: "NAME: MESSAGE". The
// Worker shares the wrapper's process, so any of it may be made up; it speaks of this batch alone, whatever it says.
func ParseOutcome(data []byte) (o Outcome, exception string, err error) {
	var in struct {
		OK         bool              `json:"ok"`
		AckAll     bool              `json:"ackAll"`
		RetryAll   bool              `json:"retryAll"`
		RetryDelay *int64            `json:"retryDelay"`
		Acks       []string          `json:"acks"`
		Retries    map[string]*int64 `json:"retries"`
		Exception  *struct{ Name, Message string }
	}
	if len(data) > MaxOutcome {
		return o, "", fmt.Errorf("the outcome of a batch has %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return o, "", fmt.Errorf("read outcome of a batch: %w", err)
	}
	if in.Exception != nil {
		exception = in.Exception.Name + ": " + in.Exception.Message
	}
	return Outcome{OK: in.OK, AckAll: in.AckAll, RetryAll: in.RetryAll, RetryDelay: in.RetryDelay, Acks: in.Acks, Retries: in.Retries}, exception, nil
}
