package clients_test

import "testing"

// The example of service bindings, two Workers deployed by wrangler, and the called one deployed again.
func TestExampleService(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	shop := n.example("bindings/service/shop")
	matches(t, shop.fails("deploy"), `Could not resolve service binding 'HEALTH'. Target script 'billing' not found`)
	billing := n.example("bindings/service/billing")
	billing.ok("deploy")
	matches(t, shop.ok("deploy"), `env.BILLING \(billing#Billing\)`)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/health", "", 200, "billing is up\n"},
		{"POST", "/", `[["tea",4],["cups",12]]`, 200, "tea: 4\ncups: 12\nshop pays 16\nA new invoice is of 0\n"},
		{"POST", "/", `[["nothing",0]]`, 400, "RangeError: a price of 0 for nothing\n"},
	} {
		if got := n.sends(c.method, "shop", c.path, c.body); got.Status != c.status || got.Body != c.want {
			t.Errorf("%s %s: %d %q", c.method, c.body, got.Status, got.Body)
		}
	}
	billing.edit("src/index.js", "pays", "owes")
	billing.ok("deploy")
	if got := n.sends("POST", "shop", "/", `[["tea",4]]`); got.Body != "tea: 4\nshop owes 4\nA new invoice is of 0\n" {
		t.Errorf("after a deploy of the called Worker: %d %q", got.Status, got.Body)
	}
}
