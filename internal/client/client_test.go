package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/wire"
)

const acct = atoll.AccountID("0123456789abcdef0123456789abcdef")

// record is a call as a server saw it.
type record struct {
	line, ctype, body string
}

// server answers each call with the next of answers, and keeps what was asked.
func server(t *testing.T, answers ...string) (*Client, *[]record) {
	t.Helper()
	var seen []record
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("Authorization: %q", got)
		}
		seen = append(seen, record{r.Method + " " + r.RequestURI, r.Header.Get("Content-Type"), string(body)})
		if len(answers) == 0 {
			t.Errorf("one call too many: %s %s", r.Method, r.RequestURI)
			return
		}
		answer := answers[0]
		answers = answers[1:]
		if status, rest, ok := strings.Cut(answer, " "); ok && len(status) == 3 {
			w.WriteHeader(map[string]int{"400": 400, "401": 401, "404": 404, "409": 409, "502": 502}[status])
			answer = rest
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return newClient(t, srv.URL), &seen
}

func newClient(t *testing.T, base string) *Client {
	t.Helper()
	c, err := New(base, "secret", Options{Account: acct})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ok(result string) string {
	return `{"success":true,"errors":[],"messages":[],"result":` + result + `}`
}

var (
	user  = atoll.ScriptRef{Namespace: "my ns", Name: "alice"}
	owned = atoll.ScriptRef{Name: "dispatcher"}
)

// Each method asks what the API's reference says, with every name escaped as one segment.
func TestCallsAskWhatTheAPISays(t *testing.T) {
	const A = "/client/v4/accounts/0123456789abcdef0123456789abcdef"
	const NS = A + "/workers/dispatch/namespaces/my%20ns"
	type calls = func(ctx context.Context, c *Client) error
	yes, no, name, cpu := true, false, "new", int64(50)
	for _, c := range []struct {
		line, body string
		call       calls
	}{
		{"GET /client/v4/accounts", "", func(ctx context.Context, c *Client) error { _, err := c.Accounts(ctx); return err }},

		{"GET " + A + "/workers/dispatch/namespaces?page=1&per_page=1000", "", func(ctx context.Context, c *Client) error { _, err := c.Namespaces(ctx); return err }},
		{"POST " + A + "/workers/dispatch/namespaces", `{"name":"my ns","trusted_workers":false}`, func(ctx context.Context, c *Client) error {
			_, err := c.CreateNamespace(ctx, "my ns", false)
			return err
		}},
		{"GET " + NS, "", func(ctx context.Context, c *Client) error { _, err := c.Namespace(ctx, "my ns"); return err }},
		{"PATCH " + NS, `{"name":"new"}`, func(ctx context.Context, c *Client) error {
			_, err := c.ChangeNamespace(ctx, "my ns", wire.NamespaceChange{Name: &name})
			return err
		}},
		{"PATCH " + NS, `{"trusted_workers":true}`, func(ctx context.Context, c *Client) error {
			_, err := c.ChangeNamespace(ctx, "my ns", wire.NamespaceChange{TrustedWorkers: &yes})
			return err
		}},
		{"PATCH " + NS, `{"limits":{"cpu_ms":50,"memory_mb":null},"jitless":false}`, func(ctx context.Context, c *Client) error {
			_, err := c.ChangeNamespace(ctx, "my ns", wire.NamespaceChange{Jitless: wire.Some(&no),
				Limits: wire.Some(&wire.LimitsChange{CPUMs: wire.Some(&cpu), MemoryMB: wire.Some[int](nil)})})
			return err
		}},
		{"DELETE " + NS, "", func(ctx context.Context, c *Client) error { return c.DeleteNamespace(ctx, "my ns") }},

		{"GET " + NS + "/scripts/alice", "", func(ctx context.Context, c *Client) error { _, err := c.Script(ctx, user); return err }},
		{"GET " + A + "/workers/services/dispatcher", "", func(ctx context.Context, c *Client) error { _, err := c.Script(ctx, owned); return err }},
		{"GET " + NS + "/scripts/alice/settings", "", func(ctx context.Context, c *Client) error { _, err := c.Settings(ctx, user); return err }},
		{"DELETE " + NS + "/scripts/alice", "", func(ctx context.Context, c *Client) error { return c.DeleteScript(ctx, user) }},
		{"DELETE " + A + "/workers/scripts/dispatcher", "", func(ctx context.Context, c *Client) error { return c.DeleteScript(ctx, owned) }},
		{"DELETE " + NS + "/scripts?tags=a%3Ayes", "", func(ctx context.Context, c *Client) error {
			_, err := c.DeleteScripts(ctx, "my ns", "a:yes")
			return err
		}},

		{"GET " + NS + "/scripts/alice/tags", "", func(ctx context.Context, c *Client) error { _, err := c.Tags(ctx, user); return err }},
		{"PUT " + NS + "/scripts/alice/tags", `["a","b"]`, func(ctx context.Context, c *Client) error {
			_, err := c.SetTags(ctx, user, []string{"a", "b"})
			return err
		}},
		{"PUT " + NS + "/scripts/alice/tags", `[]`, func(ctx context.Context, c *Client) error { _, err := c.SetTags(ctx, user, nil); return err }},
		{"PUT " + NS + "/scripts/alice/tags/site:1%2Fa%20b", "", func(ctx context.Context, c *Client) error { return c.AddTag(ctx, user, "site:1/a b") }},
		{"DELETE " + NS + "/scripts/alice/tags/%2E%2E", "", func(ctx context.Context, c *Client) error { return c.RemoveTag(ctx, user, "..") }},
		{"GET " + A + "/workers/scripts/dispatcher/tags", "", func(ctx context.Context, c *Client) error { _, err := c.Tags(ctx, owned); return err }},

		{"GET " + NS + "/scripts/alice/secrets", "", func(ctx context.Context, c *Client) error { _, err := c.Secrets(ctx, user); return err }},
		{"PUT " + A + "/workers/scripts/dispatcher/secrets", `{"name":"KEY","type":"secret_text","text":"v"}`, func(ctx context.Context, c *Client) error { _, err := c.PutSecret(ctx, owned, "KEY", "v"); return err }},
		{"DELETE " + NS + "/scripts/alice/secrets/KEY?url_encoded=true", "", func(ctx context.Context, c *Client) error { return c.DeleteSecret(ctx, user, "KEY") }},

		{"GET " + A + "/workers/scripts/dispatcher/versions?per_page=5", "", func(ctx context.Context, c *Client) error { _, err := c.Versions(ctx, owned, 5); return err }},
		{"GET " + NS + "/scripts/alice/versions/v1", "", func(ctx context.Context, c *Client) error { _, err := c.Version(ctx, user, "v1"); return err }},
		{"GET " + NS + "/scripts/alice/deployments", "", func(ctx context.Context, c *Client) error { _, err := c.Deployments(ctx, user); return err }},
		{"POST " + NS + "/scripts/alice/deployments", `{"annotations":{"workers/message":"why"},"strategy":"percentage","versions":[{"percentage":100,"version_id":"v1"}]}`,
			func(ctx context.Context, c *Client) error {
				_, err := c.DeployVersion(ctx, user, "v1", "why")
				return err
			}},

		{"GET /client/v4/zones?account.id=0123456789abcdef0123456789abcdef&name=z&page=1&per_page=1000", "", func(ctx context.Context, c *Client) error { _, err := c.Zones(ctx, "z"); return err }},
		{"POST /client/v4/zones", `{"name":"z","account":{"id":"0123456789abcdef0123456789abcdef","name":""}}`, func(ctx context.Context, c *Client) error { _, err := c.CreateZone(ctx, "z"); return err }},
		{"GET /client/v4/zones/z1/workers/routes", "", func(ctx context.Context, c *Client) error { _, err := c.Routes(ctx, "z1"); return err }},
		{"POST /client/v4/zones/z1/workers/routes", `{"pattern":"*/*","script":"s"}`, func(ctx context.Context, c *Client) error {
			_, err := c.CreateRoute(ctx, "z1", wire.Route{Pattern: "*/*", Script: "s"})
			return err
		}},
		{"PUT /client/v4/zones/z1/workers/routes/r1", `{"pattern":"*/*"}`, func(ctx context.Context, c *Client) error {
			_, err := c.ChangeRoute(ctx, "z1", wire.Route{ID: "r1", Pattern: "*/*"})
			return err
		}},
		{"DELETE /client/v4/zones/z1/workers/routes/r1", "", func(ctx context.Context, c *Client) error { return c.DeleteRoute(ctx, "z1", "r1") }},

		{"GET " + A + "/tokens?page=1&per_page=1000", "", func(ctx context.Context, c *Client) error { _, err := c.Tokens(ctx); return err }},
		{"POST " + A + "/tokens", `{"name":"ci","policies":null}`, func(ctx context.Context, c *Client) error {
			_, err := c.CreateToken(ctx, wire.TokenRequest{Name: "ci"})
			return err
		}},
		{"DELETE " + A + "/tokens/t1", "", func(ctx context.Context, c *Client) error { return c.DeleteToken(ctx, "t1") }},

		{"GET " + A + "/storage/kv/namespaces?direction=asc&order=title&page=1&per_page=1000", "", func(ctx context.Context, c *Client) error { _, err := c.KVNamespaces(ctx); return err }},
		{"POST " + A + "/storage/kv/namespaces", `{"title":"t"}`, func(ctx context.Context, c *Client) error { _, err := c.CreateKVNamespace(ctx, "t"); return err }},
		{"PUT " + A + "/storage/kv/namespaces/k1", `{"title":"t"}`, func(ctx context.Context, c *Client) error { return c.RenameKVNamespace(ctx, "k1", "t") }},
		{"DELETE " + A + "/storage/kv/namespaces/k1", "", func(ctx context.Context, c *Client) error { return c.DeleteKVNamespace(ctx, "k1") }},
		{"PUT " + A + "/storage/kv/namespaces/k1/values/a%2Fb%3Fc%25?expiration_ttl=3600", "value", func(ctx context.Context, c *Client) error {
			return c.KVPut(ctx, "k1", "a/b?c%", []byte("value"), KVOptions{TTL: time.Hour})
		}},
		{"DELETE " + A + "/storage/kv/namespaces/k1/values/..%2Fx", "", func(ctx context.Context, c *Client) error { return c.KVDelete(ctx, "k1", "../x") }},
	} {
		client, seen := server(t, ok("null"))
		if err := c.call(t.Context(), client); err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		got := (*seen)[0]
		if got.line != c.line || got.body != c.body {
			t.Errorf("asked %s\n%s\nwant  %s\n%s", got.line, got.body, c.line, c.body)
		}
	}
}

func TestKVGetCopiesBytes(t *testing.T) {
	client, _ := server(t, "\x00bytes\xff")
	var buf bytes.Buffer
	if err := client.KVGet(t.Context(), "k1", "key", &buf); err != nil || buf.String() != "\x00bytes\xff" {
		t.Errorf("%q, %v", buf.String(), err)
	}
	client, _ = server(t, `404 {"success":false,"errors":[{"code":10009,"message":"get: 'key not found'"}]}`)
	if err := client.KVGet(t.Context(), "k1", "key", &buf); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing key: %v", err)
	}
}

func TestKVPutWithMetadataIsAForm(t *testing.T) {
	client, seen := server(t, ok("null"))
	err := client.KVPut(t.Context(), "k1", "key", []byte("\x00v"), KVOptions{Metadata: json.RawMessage(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	form := parts(t, (*seen)[0])
	want := []part{{"value", "", "", "\x00v"}, {"metadata", "", "", `{"a":1}`}}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
}

// part is one part of a form as a server reads it.
type part struct{ Name, File, Type, Body string }

func parts(t *testing.T, r record) []part {
	t.Helper()
	_, params, err := mime.ParseMediaType(r.ctype)
	if err != nil {
		t.Fatal(err)
	}
	var out []part
	mr := multipart.NewReader(strings.NewReader(r.body), params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		// FileName keeps only the last element of a path, so the header is read here.
		_, disposition, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, part{p.FormName(), disposition["filename"], p.Header.Get("Content-Type"), string(b)})
	}
}

func TestDeployUploadsAForm(t *testing.T) {
	client, seen := server(t, ok(`{"id":"alice","deployment_id":"v1","startup_time_ms":7,"tags":["x"]}`))
	up, err := client.Deploy(t.Context(), user, Upload{
		Metadata: map[string]any{"main_module": "index.js"},
		Files:    []File{{"index.js", "application/javascript+module", []byte("js")}, {"lib/a \"b\".txt", "text/plain", []byte("text")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if up.ID != "alice" || up.DeploymentID != "v1" || up.StartupTimeMs != 7 || !slices.Equal(up.Tags, []string{"x"}) {
		t.Errorf("answer: %+v", up)
	}
	if want := "PUT /client/v4/accounts/" + string(acct) + "/workers/dispatch/namespaces/my%20ns/scripts/alice?excludeScript=true"; (*seen)[0].line != want {
		t.Errorf("asked %s", (*seen)[0].line)
	}
	want := []part{
		{"metadata", "", "application/json", `{"main_module":"index.js"}`},
		{"index.js", "index.js", "application/javascript+module", "js"},
		{"lib/a \"b\".txt", "lib/a \"b\".txt", "text/plain", "text"},
	}
	if diff := cmp.Diff(want, parts(t, (*seen)[0])); diff != "" {
		t.Error(diff)
	}
}

func TestScriptsFollowTheCursor(t *testing.T) {
	client, seen := server(t,
		`{"success":true,"result":[{"id":"a"},{"id":"b"}],"result_info":{"count":2,"cursor":"c1"}}`,
		`{"success":true,"result":[{"id":"c"}],"result_info":{"count":1}}`)
	var names []string
	for s, err := range client.Scripts(t.Context(), "my ns", "a:yes") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.ID)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("names: %v", names)
	}
	if !strings.HasSuffix((*seen)[0].line, "/scripts?limit=1000&tags=a%3Ayes") || !strings.HasSuffix((*seen)[1].line, "/scripts?cursor=c1&limit=1000&tags=a%3Ayes") {
		t.Errorf("asked %v", *seen)
	}
}

func TestACursorThatDoesNotMoveEndsTheList(t *testing.T) {
	same := `{"success":true,"result":[{"id":"a"}],"result_info":{"count":1,"cursor":"c"}}`
	client, _ := server(t, same, same)
	var last error
	for _, err := range client.Scripts(t.Context(), "", "") {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "cursor does not move") {
		t.Errorf("error: %v", last)
	}
}

func TestPagesAreGathered(t *testing.T) {
	client, seen := server(t,
		`{"success":true,"result":[{"title":"a"},{"title":"b"}],"result_info":{"page":1,"per_page":2,"count":2,"total_count":3}}`,
		`{"success":true,"result":[{"title":"c"}],"result_info":{"page":2,"per_page":2,"count":1,"total_count":3}}`)
	list, err := client.KVNamespaces(t.Context())
	if err != nil || len(list) != 3 || len(*seen) != 2 {
		t.Errorf("%v, %v after %d calls", list, err, len(*seen))
	}
}

func TestDeleteScriptsGoesOnWhileThereAreMore(t *testing.T) {
	client, seen := server(t,
		ok(`{"deleted":[{"id":"a"},{"id":"b"}],"deleted_count":2,"has_more":true}`),
		ok(`{"deleted":[{"id":"c"}],"deleted_count":1,"has_more":false}`))
	names, err := client.DeleteScripts(t.Context(), "my ns", "a:yes")
	if err != nil || !slices.Equal(names, []string{"a", "b", "c"}) || len(*seen) != 2 {
		t.Errorf("%v, %v after %d calls", names, err, len(*seen))
	}
}

func TestTheAccountIsDiscoveredOnce(t *testing.T) {
	client, seen := server(t, ok(`[{"id":"`+string(acct)+`","name":"mine"}]`), ok("[]"), ok("[]"))
	client.account.Store(nil)
	for range 2 {
		if _, err := client.Secrets(t.Context(), owned); err != nil {
			t.Fatal(err)
		}
	}
	if len(*seen) != 3 || !strings.Contains((*seen)[2].line, string(acct)) {
		t.Errorf("asked %v", *seen)
	}
	client, _ = server(t, ok(`[{"id":"a"},{"id":"b"}]`))
	client.account.Store(nil)
	if _, err := client.Account(t.Context()); err == nil || !strings.Contains(err.Error(), "2 accounts") {
		t.Errorf("two accounts: %v", err)
	}
}
