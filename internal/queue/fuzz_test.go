package queue

import (
	"encoding/binary"
	"encoding/json"
	"testing"
)

// What a Worker's process says became of a batch never settles a message twice, and none that is not of the batch.
func FuzzParseOutcome(f *testing.F) {
	f.Add([]byte(`{"ok":true,"ackAll":false,"retryAll":true,"retryDelay":5,"acks":["a"],"retries":{"b":null,"c":7},"exception":null}`))
	f.Add([]byte(`{"ok":false,"acks":["a","a"],"retries":{"a":-1},"exception":{"name":"Error","message":"x"}}`))
	f.Add([]byte(`{"retries":null,"retryDelay":99999999999}`))
	c := &Consumer{Retries: 1, RetryDelay: 3}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, _, err := ParseOutcome(data)
		if err != nil {
			return
		}
		list := []Message{{ID: "a", seq: 1, Attempts: 1}, {ID: "b", seq: 2, Attempts: 2}, {ID: "c", seq: 3, Attempts: 1}}
		v := o.judge(c, list)
		seen := map[int64]int{}
		for _, seq := range append(append([]int64{}, v.done...), v.failed...) {
			seen[seq]++
		}
		for _, a := range v.again {
			seen[a.seq]++
			if a.delay < 0 || a.delay > MaxDelay {
				t.Errorf("delay %d", a.delay)
			}
		}
		if len(seen) != 3 || seen[1] != 1 || seen[2] != 1 || seen[3] != 1 {
			t.Errorf("%s settles %v", data, seen)
		}
	})
}

func FuzzParseSent(f *testing.F) {
	f.Add("/message", "json", []byte(`{"a":1}`))
	f.Add("/batch", "", []byte(`{"messages":[{"body":"aGk=","contentType":"text","delaySecs":3},{"body":""}]}`))
	f.Fuzz(func(t *testing.T, path, format string, body []byte) {
		list, err := parseSent(path, format, body)
		if err != nil {
			return
		}
		held, err := checkBatch(list)
		if err == nil && (held.count != int64(len(list)) || held.count > MaxBatch || held.bytes > maxBatchBytes) {
			t.Errorf("%+v of %d messages", held, len(list))
		}
	})
}

func FuzzParseLease(f *testing.F) {
	f.Add(leaseID(1, -1))
	f.Add("")
	f.Fuzz(func(t *testing.T, id string) {
		if seq, nonce, ok := parseLease(id); ok && leaseID(seq, nonce) != id {
			t.Errorf("%q is another lease's id", id)
		}
	})
}

// A batch says how long its description and each body are.
func TestEncode(t *testing.T) {
	b := &Batch{Queue: "jobs", Messages: []Message{{ID: "a", Type: Text, Body: []byte("one")}, {ID: "b", Type: Bytes, Body: []byte{}}, {ID: "c", Type: JSON, Body: []byte("{}")}}}
	data := b.Encode()
	head := binary.BigEndian.Uint32(data)
	var told struct {
		Queue    string
		Messages []struct{ Length int }
	}
	if err := json.Unmarshal(data[4:4+head], &told); err != nil {
		t.Fatal(err)
	}
	if rest := string(data[4+head:]); rest != "one{}" || told.Queue != "jobs" || len(told.Messages) != 3 || told.Messages[0].Length != 3 || told.Messages[1].Length != 0 {
		t.Errorf("%+v and %q", told, rest)
	}
}
