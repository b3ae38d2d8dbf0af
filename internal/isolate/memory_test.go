package isolate

import (
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		name string
		ref  atoll.ScriptRef
		more int64 // than an idle one may use, with 3,000 requests
	}{
		{"user-worker", atoll.ScriptRef{Namespace: "production", Name: "alice"}, 0},
		{"platform-worker", atoll.ScriptRef{Name: "dispatcher"}, 3000 * passing},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Process{Spec: Spec{Ref: c.ref, Memory: 128}}
			idle := p.memoryLimit()
			for range 3000 {
				p.Acquire()
			}
			if more := p.memoryLimit() - idle; more != c.more {
				t.Errorf("%d bytes more, want %d", more, c.more)
			}
		})
	}
}
