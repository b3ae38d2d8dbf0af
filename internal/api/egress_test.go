package api

import (
	"slices"
	"testing"

	"atoll.dev/atoll/internal/wire"
)

func TestEgressRules(t *testing.T) {
	n := newNode(t)
	const ns = "ACCT/workers/dispatch/namespaces/production"
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	for _, path := range []string{ns + "/egress", ns + "/scripts/alice/egress", "ACCT/workers/scripts/router/egress"} {
		var r wire.EgressRules
		if a := n.ok(&r, "GET", path, ""); r.Allow == nil || len(r.Allow)+len(r.Deny)+len(r.Ports) > 0 || r.TCP != nil || r.ModifiedOn != nil {
			t.Errorf("%s at first: %s", path, a.Result)
		}
		n.ok(&r, "PUT", path, `{"allow":["*.example.com","10.0.0.0/8"],"deny":["x.example.com"],"ports":["443"],"tcp":true}`)
		a := n.ok(&r, "GET", path, "")
		if !slices.Equal(r.Allow, []string{"*.example.com", "10.0.0.0/8"}) || !slices.Equal(r.Deny, []string{"x.example.com"}) || !slices.Equal(r.Ports, []string{"443"}) || r.TCP == nil || !*r.TCP || r.ModifiedOn == nil {
			t.Errorf("%s: %s", path, a.Result)
		}
		n.ok(nil, "PUT", path, string(a.Result)) // what was read can be written
		for _, bad := range []string{`{"allow":["https://x"]}`, `{"deny":["*x.com"]}`, `{"ports":["0"]}`} {
			n.fails(400, 10021, "PUT", path, bad)
		}
		for _, bad := range []string{`{"denied":["x"]}`, `{"allow":"x"}`, `[]`, `{} {}`, `{`, ""} {
			n.fails(400, 10026, "PUT", path, bad)
		}
	}
	var r wire.EgressRules
	n.ok(&r, "GET", ns+"/egress", "")
	if r.Scripts == nil || !slices.Equal(*r.Scripts, []string{"alice"}) {
		t.Errorf("scripts with rules: %+v", r)
	}
	for range 2 {
		n.ok(nil, "DELETE", ns+"/scripts/alice/egress", "")
	}
	n.ok(&r, "GET", ns+"/scripts/alice/egress", "")
	if len(r.Allow) > 0 {
		t.Errorf("after deletion: %+v", r)
	}
	for _, want := range []string{"egress production/", "egress production/alice", "egress /router"} {
		if !slices.Contains(n.changed, want) {
			t.Errorf("nobody was told of %s: %q", want, n.changed)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		n.fails(404, 100119, method, "ACCT/workers/dispatch/namespaces/nope/egress", `{}`)
		n.fails(404, 100119, method, "ACCT/workers/dispatch/namespaces/nope/scripts/x/egress", `{}`)
	}
}
