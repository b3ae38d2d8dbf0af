package node_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/node"
)

// bySubdomain is the documentation's dispatch Worker that passes a context on.
const bySubdomain = `
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const workerName = url.hostname.split(".")[0];

    const contextFromDispatcher = {
      customer_name: workerName,
      url: request.url,
    };

    const userWorker = env.DISPATCHER.get(
      workerName,
      {},
      {
        outbound: {
          customer_context: contextFromDispatcher,
        },
      }
    );

    return await userWorker.fetch(request);
  },
};`

// documented is the documentation's outbound Worker, with other hosts and with a generateJWT, which it leaves out.
const documented = `
function generateJWT(customer) { return "jwt-of-" + customer; }
export default {
  async fetch(request, env, ctx) {
    // Access parameters from dispatch Worker
    const customerName = env.customer_name;
    const originalUrl = env.url;

    // Log all subrequests
    ctx.waitUntil(
      fetch("https://logs.example.localhost:PORT", {
        method: "POST",
        body: JSON.stringify({
          customer_name: customerName,
          original_url: originalUrl,
          subrequest_url: request.url,
        }),
      })
    );

    const url = new URL(request.url);

    // Block certain domains
    const blockedDomains = ["malicious-site.localhost", "spam-api.localhost"];
    if (blockedDomains.some(domain => url.hostname.includes(domain))) {
      return new Response("Domain blocked", { status: 403 });
    }

    // Inject authentication for internal APIs
    if (url.hostname === "api.example.localhost") {
      const jwt = generateJWT(customerName);
      const headers = new Headers(request.headers);
      headers.set("Authorization", "Bearer " + jwt);

      const newRequest = new Request(request, { headers });
      return fetch(newRequest);
    }

    // Allow all other requests
    return fetch(request);
  },
};`

var customerContext = map[string]any{"worker": map[string]any{"service": "outbound-worker"}, "params": []any{map[string]any{"name": "customer_context"}}}

// fetching is a user Worker that fetches what the query's "to" says and passes the answer on.
const fetching = `
export default {
  async fetch(request) {
    const to = new URL(request.url).searchParams.get("to");
    try {
      const response = await fetch(to, { headers: { "x-from": "user" } });
      return new Response(response.status + " " + await response.text());
    } catch (e) {
      return new Response(e.name + ": " + e.message, { status: 500 });
    }
  },
};`

func TestDocumentedOutboundWorker(t *testing.T) {
	ca := newAuthority(t)
	logged := make(chan string, 10)
	port := ca.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		if host == "logs.example.localhost" {
			b, _ := io.ReadAll(r.Body)
			logged <- string(b)
			return
		}
		fmt.Fprintf(w, "%s %s %s %q %q", host, r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("X-From"))
	}), "logs.example.localhost", "api.example.localhost", "other.localhost")
	r := newRig(t, node.Config{EgressAllow: []string{"127.0.0.0/8", "::1"}, EgressCA: ca.file})
	r.put("outbound-worker", strings.ReplaceAll(documented, "PORT", port))
	r.put("production/alice", fetching)
	r.dispatcher(bySubdomain, customerContext)
	for _, c := range []struct{ to, want string }{
		{"https://malicious-site.localhost/", "403 Domain blocked"},
		{"https://sub.spam-api.localhost:81/", "403 Domain blocked"},
		{"https://api.example.localhost:" + port + "/v1?a=b", `200 api.example.localhost GET /v1?a=b "Bearer jwt-of-alice" "user"`},
		{"https://other.localhost:" + port + "/x", `200 other.localhost GET /x "" "user"`},
	} {
		r.want("alice", "/page?to="+c.to, 200, c.want)
		var entry struct {
			Customer    string `json:"customer_name"`
			OriginalURL string `json:"original_url"`
			Subrequest  string `json:"subrequest_url"`
		}
		select {
		case line := <-logged:
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no log was received")
		}
		if entry.Customer != "alice" || entry.Subrequest != c.to || entry.OriginalURL != "http://alice.atoll.localhost/page?to="+c.to {
			t.Errorf("%s: logged %+v", c.to, entry)
		}
	}
}

// A script's concurrent dispatches never see each other's parameters, whatever they wait for in between.
func TestOutboundParametersAreNeverMixed(t *testing.T) {
	const dispatches, rounds = 200, 3
	r := newRig(t, node.Config{})
	r.put("outbound-worker", `
		import { env as imported } from "cloudflare:workers";
		export default { async fetch(request, env, ctx) {
			const before = env.id + " " + env.nested.id + " " + imported.id + " " + imported.customer.id;
			await scheduler.wait(Math.random() * 20);
			await Promise.resolve();
			const after = env.id + " " + env.nested.id + " " + imported.id + " " + imported.customer.id;
			return Response.json({ before, after, undeclared: env.undeclared ?? null, own: env.OWN, asked: new URL(request.url).pathname });
		} }`, map[string]any{"type": "plain_text", "name": "OWN", "text": "own"})
	r.put("production/shared", `
		let current = 0, most = 0;
		export default { async fetch(request) {
			most = Math.max(most, ++current);
			const { pathname } = new URL(request.url);
			await scheduler.wait(Math.random() * 20);
			const inner = async () => (await fetch("https://example.com" + pathname)).text();
			const both = await Promise.all([inner(), new Promise((resolve) => setTimeout(() => resolve(inner()), Math.random() * 20))]);
			const stream = new ReadableStream({ async pull(c) { c.enqueue(new TextEncoder().encode(await inner())); c.close(); } });
			both.push(await new Response(stream).text());
			current--;
			return Response.json({ both, most });
		} }`)
	r.dispatcher(`export default { fetch(request, env) {
		const id = new URL(request.url).pathname.slice(1);
		return env.DISPATCHER.get("shared", {}, { outbound: { customer: { id, OWN: "shadow" }, nested: { id }, undeclared: id } }).fetch(request);
	} }`, map[string]any{"worker": map[string]any{"service": "outbound-worker"}, "params": []any{"customer", "nested"}})
	mixed, answered, most := 0, 0, 0
	var mu sync.Mutex
	for range rounds {
		var wg sync.WaitGroup
		for i := range dispatches {
			wg.Go(func() {
				id := fmt.Sprintf("id-%d", i)
				status, body := r.get("shared", "/"+id)
				var got struct {
					Both []string
					Most int
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
					t.Errorf("%s: %d %q, %v", id, status, body, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				most = max(most, got.Most)
				line := strings.Join([]string{id, id, id, id}, " ")
				want := fmt.Sprintf(`{"before":%q,"after":%q,"undeclared":null,"own":"own","asked":"/%s"}`, line, line, id)
				for _, b := range got.Both {
					answered++
					if b != want {
						mixed++
						t.Errorf("%s: %s", id, b)
					}
				}
			})
		}
		wg.Wait()
	}
	if answered != dispatches*rounds*3 {
		t.Errorf("%d subrequests answered, want %d", answered, dispatches*rounds*3)
	}
	t.Logf("%d subrequests, %d of them with other parameters than theirs; at most %d requests in an isolate at once", answered, mixed, most)
	if most < 10 {
		t.Errorf("at most %d requests at once in an isolate: that proves little", most)
	}
}
