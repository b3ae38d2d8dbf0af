package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/kv"
	"atoll.dev/atoll/internal/wire"
)

const kvNamespaces = "ACCT/storage/kv/namespaces"

// newKV makes a KV namespace and returns its path.
func (n *node) newKV(title string) string {
	n.t.Helper()
	var ns wire.KVNamespace
	n.ok(&ns, "POST", kvNamespaces, `{"title":"`+title+`"}`)
	return kvNamespaces + "/" + ns.ID
}

// message wants the first error's message.
func (a answer) message(t testing.TB, want string) {
	t.Helper()
	if len(a.Errors) == 0 || a.Errors[0].Message != want {
		t.Errorf("got %+v, want message %q", a.Errors, want)
	}
}

func TestKVNamespaces(t *testing.T) {
	n := newNode(t)
	beta, alpha := n.newKV("beta"), n.newKV("alpha")
	n.fails(400, 10014, "POST", kvNamespaces, `{"title":"beta"}`).
		message(t, "a namespace with this account ID and title already exists")
	n.fails(400, 10014, "PUT", alpha, `{"title":"beta"}`)
	n.fails(400, 10019, "POST", kvNamespaces, `{}`)

	titles := func(query string) (titles []string, info *wire.ResultInfo) {
		t.Helper()
		var list []wire.KVNamespace
		a := n.ok(&list, "GET", kvNamespaces+query, "")
		for _, ns := range list {
			if len(ns.ID) != 32 || !ns.SupportsURLEncoding {
				t.Errorf("%+v", ns)
			}
			titles = append(titles, ns.Title)
		}
		return titles, a.ResultInfo
	}
	for query, want := range map[string][]string{
		"?per_page=1000&order=title&direction=asc":         {"alpha", "beta"},
		"?per_page=1000&order=title&direction=desc":        {"beta", "alpha"},
		"?per_page=1000&order=title&direction=asc&page=2":  nil,
		"?per_page=1&order=title&direction=asc&page=2":     {"beta"},
		"?per_page=1&order=title&direction=asc&page=99999": nil,
	} {
		got, info := titles(query)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
		if info == nil || *info.TotalCount != 2 || info.Count != len(want) {
			t.Errorf("%s: %+v", query, info)
		}
	}

	var ns wire.KVNamespace
	n.ok(&ns, "PUT", alpha, `{"title":"gamma"}`)
	n.ok(&ns, "GET", alpha, "")
	if ns.Title != "gamma" {
		t.Errorf("renamed: %+v", ns)
	}
	n.ok(nil, "PUT", alpha+"/values/k", "v")
	n.ok(nil, "DELETE", alpha, "")
	missing := kvNamespaces + "/" + strings.Repeat("0", 32)
	for _, gone := range []string{alpha, missing} {
		n.fails(404, 10013, "GET", gone, "").message(t, "get: 'namespace not found'")
		n.fails(404, 10013, "PUT", gone, `{"title":"x"}`)
		n.fails(404, 10013, "DELETE", gone, "")
		n.fails(404, 10013, "GET", gone+"/keys", "").message(t, "list keys: 'namespace not found'")
		n.fails(404, 10013, "GET", gone+"/values/k", "").message(t, "get: 'namespace not found'")
		n.fails(404, 10013, "PUT", gone+"/values/k", "v").message(t, "put: 'namespace not found'")
		n.fails(404, 10013, "DELETE", gone+"/values/k", "").message(t, "remove key: 'namespace not found'")
		n.fails(404, 10013, "PUT", gone+"/bulk", "[]")
		n.fails(404, 10013, "POST", gone+"/bulk/delete", "[]")
		n.fails(404, 10013, "POST", gone+"/bulk/get", `{"keys":["k"]}`).message(t, "bulk get keys: 'namespace not found'")
	}
	n.fails(400, 10011, "GET", kvNamespaces+"/short", "")
	n.ok(nil, "GET", beta, "")
}

// TestKVOtherAccount has one account's token use another's namespace by its id.
func TestKVOtherAccount(t *testing.T) {
	n := newNode(t)
	path := n.newKV("one")
	n.ok(nil, "PUT", path+"/values/k", "secret")
	other := strings.Repeat("f", 32)
	if err := n.db.EnsureAccount(context.Background(), atoll.AccountID(other), "Other"); err != nil {
		t.Fatal(err)
	}
	theirs := strings.ReplaceAll(path, "ACCT", "/accounts/"+other)
	n.fails(404, 10013, "GET", theirs+"/values/k", "")
	n.fails(404, 10013, "PUT", theirs+"/values/k", "theirs")
	n.fails(404, 10013, "DELETE", theirs, "")
	n.fails(404, 10013, "GET", theirs+"/keys", "")
	n.fails(404, 10013, "POST", theirs+"/bulk/get", `{"keys":["k"]}`)
	if got := n.send("GET", path+"/values/k", theToken, ""); got.body != "secret" {
		t.Errorf("the value is now %q", got.body)
	}
}

func TestKVKeysInPaths(t *testing.T) {
	n := newNode(t)
	path := n.newKV("one")
	for i, c := range []struct{ sent, key string }{
		{"plain", "plain"},
		{"dir%2Fkey%20with%20space", "dir/key with space"},
		{"dir/raw/slash", "dir/raw/slash"},
		{"%2F", "/"},
		{"/", "/"},
		{"a//b", "a//b"},
		{"trailing/", "trailing/"},
		{"%252F", "%2F"},
		{"a+b", "a+b"},
		{"a%3Fb%23c", "a?b#c"},
		{"%C3%A9%F0%9F%98%80", "é😀"},
		{"a%2F..%2Fb", "a/../b"},
		{"x:y,z;@!$&'()*", "x:y,z;@!$&'()*"},
		{strings.Repeat("k", 512), strings.Repeat("k", 512)},
	} {
		value := fmt.Sprint("value ", i)
		n.ok(nil, "PUT", path+"/values/"+c.sent, value)
		if a := n.send("GET", path+"/values/"+c.sent, theToken, ""); a.status != 200 || a.body != value {
			t.Errorf("get %q: %d %q", c.sent, a.status, a.body)
		}
		var got wire.KVValues
		keys, _ := json.Marshal(map[string][]string{"keys": {c.key}})
		n.ok(&got, "POST", path+"/bulk/get", string(keys))
		var values map[string]string
		if err := json.Unmarshal(got.Values, &values); err != nil || values[c.key] != value {
			t.Errorf("%q is not stored as %q: %s", c.sent, c.key, got.Values)
		}
		n.ok(nil, "DELETE", path+"/values/"+c.sent, "")
		n.fails(404, 10009, "GET", path+"/values/"+c.sent, "").message(t, "get: 'key not found'")
	}
	n.fails(400, 10036, "PUT", path+"/values/"+strings.Repeat("k", 513), "v").
		message(t, "put: 'UTF-8 encoded length of 513 exceeds key length limit of 512.'")
	n.fails(400, 10012, "PUT", path+"/values/%2E%2E", "v")
	n.fails(400, 10012, "PUT", path+"/values/%ff", "v")
	n.fails(400, 10012, "PUT", path+"/values/", "v")
}

// formOf writes a form as wrangler does, its parts without content types.
func formOf(t *testing.T, parts ...string) (body, header string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + parts[i] + `"`}})
		if err != nil {
			t.Fatal(err)
		}
		part.Write([]byte(parts[i+1]))
	}
	w.Close()
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

func TestKVValues(t *testing.T) {
	n := newNode(t)
	path := n.newKV("one")
	binary := "\x00\xff\r\n\xef\xbb\xbf"
	a := n.ok(nil, "PUT", path+"/values/bin", binary, "Content-Type: text/plain;charset=UTF-8")
	if string(a.Result) != "{}" {
		t.Errorf("put answers %s", a.Result)
	}
	a = n.send("GET", path+"/values/bin", theToken, "")
	if a.body != binary || a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("Expiration") != "" {
		t.Errorf("%q %v", a.body, a.header)
	}
	if a := n.ok(nil, "GET", path+"/metadata/bin", ""); string(a.Result) != "null" {
		t.Errorf("metadata of none: %s", a.Result)
	}

	body, header := formOf(t, "value", binary, "metadata", `{ "who": "me" }`)
	n.ok(nil, "PUT", path+"/values/form?expiration_ttl=3600", body, header)
	a = n.send("GET", path+"/values/form", theToken, "")
	if at, err := strconv.ParseInt(a.header.Get("Expiration"), 10, 64); err != nil || at < time.Now().Unix()+3500 || a.body != binary {
		t.Errorf("%q %v", a.body, a.header)
	}
	if a := n.ok(nil, "GET", path+"/metadata/form", ""); string(a.Result) != `{"who":"me"}` {
		t.Errorf("metadata: %s", a.Result)
	}
	large := strings.Repeat("0123456789abcdef", 3<<16)
	body, header = formOf(t, "metadata", "1", "value", large)
	n.ok(nil, "PUT", path+"/values/large", body, header)
	if a := n.send("GET", path+"/values/large", theToken, ""); a.body != large {
		t.Errorf("%d bytes", len(a.body))
	}
	if a := n.send("HEAD", path+"/values/large", theToken, ""); a.header.Get("Content-Length") != strconv.Itoa(len(large)) {
		t.Errorf("HEAD: %v", a.header)
	}

	for _, c := range []struct {
		status, code int
		query        string
		parts        []string
		message      string
	}{
		{400, 10012, "", []string{"metadata", "1"}, "put: 'missing value'"},
		{400, 10012, "", []string{"value", "1", "value", "2"}, "put: 'more than one value'"},
		{400, 10012, "", []string{"value", "1", "metadata", "{"}, "put: 'metadata must be valid json'"},
		{400, 10012, "", []string{"value", "1", "metadata[a]", "1"}, "put: 'metadata must be one field of JSON text, but \"metadata[a]\" is a part of it that lost its type: give the SDK a string made by JSON.stringify'"},
		{413, 10024, "", []string{"value", "1", "metadata", `"` + strings.Repeat("x", 1023) + `"`}, "put: 'Metadata length of 1025 exceeds limit of 1024.'"},
		{400, 10034, "?expiration_ttl=59", []string{"value", "1"}, "put: 'Invalid expiration_ttl of 59. Expiration TTL must be at least 60.'"},
		{413, 10024, "", []string{"value", strings.Repeat("x", kv.MaxValue+1)}, "put: 'Value length of 26214401 exceeds limit of 26214400.'"},
	} {
		body, header := formOf(t, c.parts...)
		n.fails(c.status, c.code, "PUT", path+"/values/bad"+c.query, body, header).message(t, c.message)
	}
	n.fails(413, 10024, "PUT", path+"/values/bad", strings.Repeat("x", kv.MaxValue+1)).
		message(t, "put: 'Value length of 26214401 exceeds limit of 26214400.'")
	n.fails(400, 10012, "PUT", path+"/values/bad", "no form", "Content-Type: multipart/form-data; boundary=x")
	n.fails(404, 10009, "GET", path+"/values/bad", "")
}

func TestKVKeys(t *testing.T) {
	n := newNode(t)
	path := n.newKV("one")
	n.ok(nil, "PUT", path+"/bulk", `[{"key":"b","value":"1"},{"key":"a/1","value":"1","metadata":{"n":1}},
		{"key":"a/2","value":"1","expiration":99999999999},{"key":"c","value":"1"}]`)
	list := func(query string) string {
		t.Helper()
		a := n.ok(nil, "GET", path+"/keys"+query, "")
		return fmt.Sprintf("%s %d %v", a.Result, a.ResultInfo.Count, a.ResultInfo.Cursor != "")
	}
	for query, want := range map[string]string{
		"?prefix=a%2F":         `[{"name":"a/1","metadata":{"n":1}},{"name":"a/2","expiration":99999999999}] 2 false`,
		"?prefix=a%2F&limit=1": `[{"name":"a/1","metadata":{"n":1}}] 1 true`,
		"?prefix=x":            `[] 0 false`,
	} {
		if got := list(query); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	cursor := n.ok(nil, "GET", path+"/keys?limit=2", "").ResultInfo.Cursor
	if got := list("?cursor=" + cursor); got != `[{"name":"b"},{"name":"c"}] 2 false` {
		t.Error(got)
	}
	n.fails(400, 10028, "GET", path+"/keys?limit=1001", "")
	n.fails(400, 10012, "GET", path+"/keys?cursor=%25", "")
}

func TestKVBulk(t *testing.T) {
	n := newNode(t)
	path := n.newKV("one")
	bulk := func(method, more, body string) wire.KVBulk {
		t.Helper()
		var out wire.KVBulk
		n.ok(&out, method, path+more, body)
		if out.UnsuccessfulKeys == nil {
			t.Errorf("%s %s: unsuccessful_keys is null", method, more)
		}
		return out
	}
	values := func(body string) string {
		t.Helper()
		var out wire.KVValues
		n.ok(&out, "POST", path+"/bulk/get", body)
		return string(out.Values)
	}
	got := bulk("PUT", "/bulk", `[{"key":"a","value":"1"},{"key":"b","value":"Mg==","base64":true,"metadata":{"n":2},
		"expiration_ttl":null,"expiration":99999999999},{"key":"j","value":"{\"x\":[1]}"}]`)
	if got.SuccessfulKeyCount != 3 {
		t.Errorf("%+v", got)
	}
	for body, want := range map[string]string{
		`{"keys":["b","a","none"]}`:                     `{"b":"2","a":"1","none":null}`,
		`{"keys":["j"],"type":"json"}`:                  `{"j":{"x":[1]}}`,
		`{"keys":["b","none"],"withMetadata":true}`:     `{"b":{"value":"2","metadata":{"n":2},"expiration":99999999999},"none":null}`,
		`{"keys":["a"],"type":"text","cacheTtl":"300"}`: `{"a":"1"}`,
	} {
		if got := values(body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if got := bulk("DELETE", "/bulk", `["a","none"]`); got.SuccessfulKeyCount != 2 {
		t.Errorf("%+v", got)
	}
	if got := bulk("POST", "/bulk/delete", `["b"]`); got.SuccessfulKeyCount != 1 {
		t.Errorf("%+v", got)
	}
	if got := values(`{"keys":["a","b","j"]}`); got != `{"a":null,"b":null,"j":"{\"x\":[1]}"}` {
		t.Error(got)
	}

	// A body that is wrong anywhere is refused whole.
	for body, want := range map[string]string{
		`{}`:                                    "bulk put keys: 'the request body must be a JSON array of key-value pairs'",
		`[{"key":"x","value":"1"},{}]`:          "bulk put keys: 'pair 1: Key names must not be empty'",
		`[{"key":"x","value":"1"},{"key":"y"}]`: "bulk put keys: 'pair 1: missing value'",
		`[{"key":"x","value":"1"},{"key":"y","value":"%","base64":true}]`:   "bulk put keys: 'pair 1: could not base64-decode value'",
		`[{"key":"x","value":"1"},{"key":"y","value":"","expiration":1.5}]`: "bulk put keys: 'pair 1: Invalid expiration of 1.5. Please specify integer greater than the current number of seconds since the UNIX epoch.'",
		`[{"key":"x","value":"1"}] []`:                                      "bulk put keys: 'there is more than one JSON value in the request body'",
		`[{"key":"x","value":"1"}`:                                          "bulk put keys: 'could not parse the request body as JSON: EOF'",
	} {
		a := n.send("PUT", path+"/bulk", theToken, body)
		if a.status != 400 {
			t.Errorf("%s: %d", body, a.status)
		}
		a.message(t, want)
	}
	n.fails(404, 10009, "GET", path+"/values/x", "")
	n.fails(400, 10012, "DELETE", path+"/bulk", `["x", 1]`)
	n.fails(400, 10012, "DELETE", path+"/bulk", ``)
	n.fails(400, 10029, "POST", path+"/bulk/get", `{"keys":[]}`)
	n.fails(400, 10012, "POST", path+"/bulk/get", `{"keys":["j","j"],"type":"arrayBuffer"}`)
}

// TestKVBulkLimits stores as much as a bulk write may hold, and a little more.
func TestKVBulkLimits(t *testing.T) {
	n := newNode(t)
	path := n.newKV("one")
	many := func(count int) (pairs, keys string) {
		var p, k []string
		for i := range count {
			p = append(p, fmt.Sprintf(`{"key":"%d","value":"%d"}`, i, i))
			k = append(k, fmt.Sprintf(`"%d"`, i))
		}
		return "[" + strings.Join(p, ",") + "]", "[" + strings.Join(k, ",") + "]"
	}
	pairs, keys := many(kv.MaxBulkKeys)
	var out wire.KVBulk
	n.ok(&out, "PUT", path+"/bulk", pairs)
	if out.SuccessfulKeyCount != kv.MaxBulkKeys {
		t.Errorf("put %d", out.SuccessfulKeyCount)
	}
	if a := n.send("GET", path+"/values/9999", theToken, ""); a.body != "9999" {
		t.Errorf("the last value is %q", a.body)
	}
	n.ok(&out, "DELETE", path+"/bulk", keys)
	if out.SuccessfulKeyCount != kv.MaxBulkKeys {
		t.Errorf("deleted %d", out.SuccessfulKeyCount)
	}
	pairs, keys = many(kv.MaxBulkKeys + 1)
	n.fails(400, 10028, "PUT", path+"/bulk", pairs)
	n.fails(400, 10028, "DELETE", path+"/bulk", keys)

	value := base64.StdEncoding.EncodeToString(make([]byte, kv.MaxValue))
	pair := func(key string) string { return `{"key":"` + key + `","base64":true,"value":"` + value + `"}` }
	n.ok(&out, "PUT", path+"/bulk", "["+pair("1")+","+pair("2")+","+pair("3")+"]")
	if out.SuccessfulKeyCount != 3 {
		t.Errorf("put %d large values", out.SuccessfulKeyCount)
	}
	n.fails(413, 10024, "PUT", path+"/bulk", "["+pair("4")+","+pair("5")+","+pair("6")+","+pair("7")+"]")
	n.fails(404, 10009, "GET", path+"/values/4", "")
}

// FuzzKV sends any body to the routes that parse one.
func FuzzKV(f *testing.F) {
	f.Add(uint8(0), "", `[{"key":"a","value":"Mg==","base64":true,"expiration_ttl":60,"metadata":{"n":2}}]`)
	f.Add(uint8(1), "", `["a","b"]`)
	f.Add(uint8(2), "", `{"keys":["a"],"type":"json","withMetadata":true}`)
	f.Add(uint8(3), "multipart/form-data; boundary=x",
		"--x\r\nContent-Disposition: form-data; name=value\r\n\r\nv\r\n--x\r\nContent-Disposition: form-data; name=metadata\r\n\r\n1\r\n--x--\r\n")
	f.Add(uint8(4), "", `{"title":"x"}`)
	n := newNode(f)
	one := strings.ReplaceAll(n.newKV("one"), "ACCT", "/accounts/"+theAccount)
	routes := [][2]string{{"PUT", "/bulk"}, {"POST", "/bulk/delete"}, {"POST", "/bulk/get"}, {"PUT", "/values/k"}, {"PUT", ""}}
	f.Fuzz(func(t *testing.T, route uint8, contentType, body string) {
		to := routes[int(route)%len(routes)]
		r := httptest.NewRequest(to[0], "http://node"+Prefix+one+to[1], strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+theToken)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		n.handler.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %d %s", to[0], to[1], w.Code, w.Body)
		}
	})
}
