package wire

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// TestTime holds that times as text sort as times do, which clients rely on, and that they survive the way.
func TestTime(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.FixedZone("", 3600))
	var texts []string
	for _, d := range []time.Duration{0, time.Microsecond, 100 * time.Millisecond, time.Second, 10 * time.Hour} {
		b, err := json.Marshal(Time{start.Add(d)})
		if err != nil {
			t.Fatal(err)
		}
		var back Time
		if err := json.Unmarshal(b, &back); err != nil || !back.Equal(start.Add(d)) {
			t.Errorf("%s comes back as %v, %v", b, back, err)
		}
		texts = append(texts, string(b))
	}
	if texts[0] != `"2026-11-23T11:00:00.000000Z"` || !slices.IsSorted(texts) {
		t.Errorf("times are %q", texts)
	}
	if b, err := json.Marshal(Time{}); err != nil || string(b) != "null" {
		t.Errorf("the zero time is %s, %v", b, err)
	}
	if b, err := json.Marshal(TokenRequest{Name: "x"}); err != nil || string(b) != `{"name":"x","policies":null}` {
		t.Errorf("a request without a time is %s, %v", b, err)
	}
}

// TestOptional holds that what is missing, what is null and what is zero stay apart on the way there and back.
func TestOptional(t *testing.T) {
	for _, text := range []string{`{}`, `{"limits":null}`, `{"limits":{}}`, `{"limits":{"cpu_ms":null,"memory_mb":0},"jitless":false}`} {
		var c NamespaceChange
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(c); err != nil || string(b) != text {
			t.Errorf("%s comes back as %s, %v", text, b, err)
		}
	}
}
