package clients_test

import (
	"net/http"
	"strings"
	"testing"
)

// The examples of Analytics Engine and of rate limits, deployed by wrangler.
func TestWranglerPointsAndLimits(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	matches(t, n.wrangler("../../../examples/bindings/analytics-engine").ok("deploy"), `env\.VISITS \(visits\)\s+Analytics Engine Dataset`)
	n.route("visits."+zone+"/*", "visits")
	if got := n.get("visits."+zone, "/a/b"); got.Status != 200 || got.Body != "You are at /a/b\n" {
		t.Errorf("visits: %d %q", got.Status, got.Body)
	}
	got := n.call("POST", n.acct()+"/analytics_engine/sql", "text/plain", "SELECT count() FROM visits")
	if got.Status != 400 || !strings.Contains(got.Body, "analytics") {
		t.Errorf("a query: %d %s", got.Status, got.Body)
	}

	matches(t, n.wrangler("../../../examples/bindings/ratelimit").ok("deploy"), `env\.LIMITER`)
	n.route("limited."+zone+"/*", "limited")
	ask := func(customer string) int {
		t.Helper()
		req, err := http.NewRequest("GET", n.edge+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "limited." + zone
		req.Header.Set("X-Customer", customer)
		return n.do(req).Status
	}
	refused := 0
	for range 12 { // no period of a minute has more than five, and no more than two of them are met
		if ask("alice") == 429 {
			refused++
		}
	}
	if refused < 2 {
		t.Errorf("%d of 12 requests were refused", refused)
	}
	if got := ask("bob"); got != 200 {
		t.Errorf("another key: %d", got)
	}
}
