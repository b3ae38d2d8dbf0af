package dispatch_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
)

// Only so many requests wait in the process of a platform Worker for its attention. One that has sent something has had it,
// one with a body may wait for its client, and what is for nobody in particular waits for nobody.
func TestTenantsTakeTurnsAtAPlatformWorker(t *testing.T) {
	const many = 100
	const work = `for (let i = 0, n = 0; i < 10; i++) {
		for (let j = 0; j < 2e5; j++) n += j % 7;
		await scheduler.wait(1);
	}`
	r := newRig(t, dispatch.Options{MaxPerCores: 1})
	origin := r.origin(func(w http.ResponseWriter, _ *http.Request) {})
	for i, c := range []struct {
		name, tenant, first string
		body                bool
		limited             bool
	}{
		{"working", "a.test", work, false, true},
		{"waiting", "a.test", "", false, false},
		{"sending", "a.test", fmt.Sprintf("await fetch(%q);", origin) + work, false, false},
		{"with-body", "a.test", work, true, false},
		{"nobodys", "", work, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := platform(fmt.Sprintf("dispatcher-%d", i))
			r.put(ref, `let inside = 0, most = 0;
			export default { async fetch(request) {
				if (new URL(request.url).pathname === "/most") return new Response(String(most));
				most = Math.max(most, ++inside);
				`+c.first+`
				await scheduler.wait(500);
				inside--;
				return new Response();
			} }`)
			ask := func(target string, body bool) string {
				req := &hop.Request{Method: "GET", Host: "x.test", Target: target}
				if body {
					req.Method, req.Body, req.Length = "POST", strings.NewReader("x"), 1
				}
				reply, err := r.Do(context.Background(), dispatch.Call{Script: ref, Proto: "https", Tenant: c.tenant, Request: req})
				if err != nil {
					t.Error(err)
					return ""
				}
				defer reply.Close()
				b, _ := io.ReadAll(reply.Body)
				return string(b)
			}
			ask("/most", false) // it is awake
			var wg sync.WaitGroup
			for range many {
				wg.Go(func() { ask("/", c.body) })
			}
			wg.Wait()
			var most int
			fmt.Sscan(ask("/most", false), &most)
			if c.limited && most > many*2/3 || !c.limited && most <= 16 {
				t.Errorf("%d requests were inside at once", most)
			}
		})
	}
}
