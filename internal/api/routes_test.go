package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/auth"
)

// documented is a row of a table in docs/api.md: method, path, permission. The method "any" is all five.
var documented = regexp.MustCompile("(?m)^\\| (GET|POST|PUT|PATCH|DELETE|any) \\| `([^`]+)` \\| ([a-z:]+) \\|")

// TestRoutesAreDocumented compares the route table with docs/api.md: every route has a permission and is there, and
// nothing else is.
func TestRoutesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]bool{}
	for _, m := range documented.FindAllStringSubmatch(string(doc), -1) {
		method, path, may := m[1], m[2], m[3]
		if method == "any" {
			for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				docs[m+" "+path+" "+may] = true
			}
			continue
		}
		rest, isScript := strings.CutPrefix(path, "S")
		if !isScript {
			docs[method+" "+path+" "+may] = true
			continue
		}
		// The page has scripts of a namespace and those of the account in one row.
		in, out := "namespace:"+may, "account:"+may
		if may == "probe" {
			in, out = "namespace:read", "probe"
		}
		docs[method+" "+userWorkers+rest+" "+in] = true
		docs[method+" "+accountScripts+rest+" "+out] = true
	}
	for _, rt := range routes() {
		if rt.may <= auth.Nobody || rt.may > auth.Probe {
			t.Errorf("%s %s has no permission", rt.method, rt.pattern)
		}
		row := fmt.Sprintf("%s %s %s", rt.method, rt.pattern, rt.may)
		if !docs[row] {
			t.Errorf("docs/api.md has no row %s", row)
		}
		delete(docs, row)
	}
	for row := range docs {
		t.Errorf("docs/api.md has a route that is not there, or with another permission: %s", row)
	}
}

// TestEveryRouteNeedsToken asks every route without a token, and with one that may do nothing in the account.
func TestEveryRouteNeedsToken(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"staging"}`)
	var zones []struct{ ID string }
	zone := n.send("GET", "/zones", theToken, "").Result
	if err := jsonInto(zone, &zones); err != nil {
		t.Fatal(err)
	}
	staging, reader := n.mint(true, "staging"), n.mint(false, "")
	fill := strings.NewReplacer("{account}", theAccount, "{namespace}", "production", "{script}", "x", "{zone}", zones[0].ID,
		"{token}", "x", "{route}", "x", "{secret}", "x", "{tag}", "x", "{version}", "x", "{deployment}", "x", "{kv}", "x", "{database}", "x", "{transfer}", "x", "*", "x")
	for _, rt := range routes() {
		path := fill.Replace(rt.pattern)
		code := 10000
		if rt.may == auth.Verify {
			code = 1000
		}
		n.refused(401, code, "", rt.method, path, "")
		if rt.may == auth.Session { // which is none of the API's tokens
			n.refused(401, code, theToken, rt.method, path, "")
			continue
		}
		if rt.may == auth.AccountWrite || rt.may == auth.NamespaceWrite {
			n.refused(403, 9109, reader, rt.method, path, "")
		}
		switch {
		case rt.may == auth.Probe:
			n.refused(404, 10007, staging, rt.method, path, "")
		case rt.may > auth.Member:
			n.refused(403, 9109, staging, rt.method, path, "")
		}
		other := strings.ReplaceAll(path, theAccount, "ffffffffffffffffffffffffffffffff")
		if other != path {
			n.refused(403, 9109, reader, rt.method, other, "")
			n.refused(404, 7003, theToken, rt.method, other, "")
		}
	}
}

func TestNoRoute(t *testing.T) {
	n := newNode(t)
	for _, path := range []string{"/nope", "/", "", "/accounts/", "/accounts//workers/scripts", "ACCT/nope", "ACCT/workers/scripts/",
		"ACCT/workers/scripts/x/y/z/content", "ACCT//workers/scripts"} {
		a := n.fails(404, 7003, "GET", path, "")
		if len(a.Errors) != 2 && path != "/accounts/" && path != "/accounts//workers/scripts" {
			t.Errorf("%q: errors %v, want 7003 and 7000", path, a.Errors)
		}
	}
	a := n.fails(405, 7001, "POST", "/accounts", "")
	if got := a.header.Get("Allow"); got != "GET, HEAD, OPTIONS" {
		t.Errorf("Allow: %q", got)
	}
	a = n.send("OPTIONS", "ACCT/workers/dispatch/namespaces", "", "")
	if a.status != 204 || a.header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("OPTIONS: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := n.send("OPTIONS", "/nope", "", ""); a.status != 404 {
		t.Errorf("OPTIONS of nothing: %d", a.status)
	}
	a = n.send("HEAD", "/accounts", theToken, "")
	if a.status != 200 || a.body != "" || a.header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d, %d bytes, Content-Length %s", a.status, len(a.body), a.header.Get("Content-Length"))
	}
	for _, id := range []string{"x", strings.Repeat("g", 32), strings.ToUpper(theAccount[16:]) + theAccount[16:]} {
		n.fails(404, 7003, "GET", "/accounts/"+id, "")
	}
}

// FuzzRouter sends odd paths: whatever they are, the answer is an envelope, no path reaches a handler without a token, and
// none is a failure of the node.
func FuzzRouter(f *testing.F) {
	for _, path := range []string{"/accounts", "/accounts/%2e%2e", "/a%00b", "//", "/%", "/accounts/{account}", "/accounts/" + theAccount +
		"/workers/scripts/a%2fb/tags/%25", "/accounts/" + theAccount + "/workers/dispatch/namespaces/%ff/scripts/x/tags/a%26b",
		"/zones/*/workers/routes", "/accounts/" + theAccount + "/workers/scripts/x/secrets/%F0%9F%92%A9?url_encoded=true"} {
		f.Add("GET", path, true)
		f.Add("DELETE", path, false)
	}
	n := newNode(f)
	f.Fuzz(func(t *testing.T, method, path string, known bool) {
		target, err := url.ParseRequestURI(Prefix + path)
		if err != nil || !isMethod.MatchString(method) {
			return // net/http refuses these
		}
		r := &http.Request{Method: method, URL: target, Header: http.Header{}, Body: http.NoBody}
		if known {
			r.Header.Set("Authorization", "Bearer "+theToken)
		}
		w := httptest.NewRecorder()
		n.handler.ServeHTTP(w, r)
		if w.Code == 500 || (!known && w.Code < 300 && method != "OPTIONS") {
			t.Errorf("%s %q: status %d: %s", method, path, w.Code, w.Body)
		}
		if body := w.Body.Bytes(); len(body) > 0 {
			var v struct{ Success *bool }
			if err := jsonInto(body, &v); err != nil || v.Success == nil {
				t.Errorf("%s %q: no envelope: %s", method, path, body)
			}
		}
	})
}

var isMethod = regexp.MustCompile(`^[A-Z]{1,20}$`)
