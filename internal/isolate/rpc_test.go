package isolate

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

// A connection for RPC is what the process's own configuration asks for, and nothing that looks like it.
func TestLane(t *testing.T) {
	p := &Process{secret: "5ec4e7", Spec: Spec{Version: &atoll.Version{Bindings: []atoll.Binding{{Type: "kv_namespace"}, {Type: "service"}}}}}
	for lane := range Lanes {
		if b, l, ok := p.Lane(laneHost(p.secret, 1, lane)); b != 1 || l != lane || !ok {
			t.Errorf("lane %d is read as %d %d %v", lane, b, l, ok)
		}
	}
	for _, host := range []string{"", "example.com:80", laneHost("other", 1, 0), laneHost("", 1, 0), laneHost(p.secret, 0, 0), laneHost(p.secret, 2, 0),
		laneHost(p.secret, -1, 0), laneHost(p.secret, 1, Lanes), laneHost(p.secret, 1, -1), laneHost(p.secret, 1, 0) + ":80",
		lanePrefix + p.secret, lanePrefix + p.secret + ".1", lanePrefix + p.secret + ".1.0.0", strings.ToUpper(laneHost(p.secret, 1, 0))} {
		if _, _, ok := p.Lane(host); ok {
			t.Errorf("%q is taken for a lane", host)
		}
	}
	if p.LaneNews() != "" {
		t.Error("there are news of lanes that have not changed")
	}
	p.SetLane(1, 2)
	if got := p.LaneNews(); got != `{"1":2}` {
		t.Errorf("news of lanes: %s", got)
	}
}

func FuzzLane(f *testing.F) {
	p := &Process{secret: "5ec4e7", Spec: Spec{Version: &atoll.Version{Bindings: []atoll.Binding{{Type: "service"}}}}}
	f.Add(laneHost(p.secret, 0, 1))
	f.Add("atoll-rpc.x.0.0")
	f.Fuzz(func(t *testing.T, host string) {
		if b, l, ok := p.Lane(host); ok && (b != 0 || l < 0 || l >= Lanes || !strings.HasPrefix(host, "atoll-rpc.5ec4e7.")) {
			t.Errorf("%q is lane %d of binding %d", host, l, b)
		}
	})
}
