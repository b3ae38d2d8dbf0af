package invocation

import (
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

func TestOutboundKey(t *testing.T) {
	a := atoll.ScriptRef{Name: "a"}
	var none *Outbound
	seen := map[string]bool{none.Key(): true}
	if none.Key() != "" {
		t.Errorf("the key of none is %q", none.Key())
	}
	for _, o := range []*Outbound{{Worker: a}, {Worker: a, Entrypoint: "E"}, {Worker: atoll.ScriptRef{Name: "b"}}} {
		if seen[o.Key()] {
			t.Errorf("%+v has the key of another", o)
		}
		seen[o.Key()] = true
	}
}

func TestDeepest(t *testing.T) {
	var r Registry
	if r.Deepest() != 0 {
		t.Error("there is nobody")
	}
	first := r.Begin(Options{Hops: 3})
	r.Begin(Options{Hops: 7})
	r.Begin(Options{Hops: 5})
	first.End()
	if n := r.Deepest(); n != 7 {
		t.Errorf("%d hops", n)
	}
}
