package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/r2"
	"atoll.dev/atoll/internal/wire"
)

func TestR2Buckets(t *testing.T) {
	n := newNode(t)
	n.fails(404, 10006, "GET", "ACCT/r2/buckets/nope", "") // wrangler's provisioning asks so, and knows this code
	n.fails(404, 10006, "DELETE", "ACCT/r2/buckets/nope", "")
	n.fails(400, 10005, "POST", "ACCT/r2/buckets", `{"name":"Nope"}`)
	n.fails(400, 10029, "POST", "ACCT/r2/buckets", `{"name":"one","storageClass":"x"}`)
	n.fails(400, 10029, "POST", "ACCT/r2/buckets", `{"name":"one"}`, "Cf-R2-Jurisdiction: eu")
	var b wire.R2Bucket
	n.ok(&b, "POST", "ACCT/r2/buckets", `{"name":"one","locationHint":"weur"}`, "Content-Type: text/plain;charset=UTF-8")
	if b.Name != "one" || b.Location != "WEUR" || b.StorageClass != "Standard" || b.Created.IsZero() {
		t.Errorf("%+v", b)
	}
	n.fails(409, 10073, "POST", "ACCT/r2/buckets", `{"name":"one"}`)
	for _, name := range []string{"two", "three"} {
		n.ok(nil, "POST", "ACCT/r2/buckets", `{"name":"`+name+`"}`)
	}
	var list wire.R2Buckets
	a := n.ok(&list, "GET", "ACCT/r2/buckets?per_page=2", "")
	if len(list.Buckets) != 2 || list.Buckets[1].Name != "three" || a.ResultInfo.Cursor != "three" {
		t.Errorf("%+v, %+v", list, a.ResultInfo)
	}
	a = n.ok(&list, "GET", "ACCT/r2/buckets?per_page=2&cursor="+a.ResultInfo.Cursor, "")
	if len(list.Buckets) != 1 || list.Buckets[0].Name != "two" || a.ResultInfo.Cursor != "" {
		t.Errorf("%+v, %+v", list, a.ResultInfo)
	}
	n.ok(&b, "PATCH", "ACCT/r2/buckets/two", "", "Cf-R2-Storage-Class: InfrequentAccess")
	if b.StorageClass != "InfrequentAccess" {
		t.Errorf("%+v", b)
	}
	n.ok(nil, "PUT", "ACCT/r2/buckets/one/objects/k", "v")
	n.fails(409, 10008, "DELETE", "ACCT/r2/buckets/one", "")
	n.ok(nil, "DELETE", "ACCT/r2/buckets/two", "")
	n.fails(400, 10015, "GET", "ACCT/r2/buckets/one/cors", "")

	read, elsewhere := n.mint(false, ""), ""
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	elsewhere = n.mint(true, "production")
	for _, c := range []struct{ method, path, body string }{
		{"POST", "ACCT/r2/buckets", `{"name":"four"}`},
		{"PATCH", "ACCT/r2/buckets/one", ""},
		{"DELETE", "ACCT/r2/buckets/one", ""},
		{"PUT", "ACCT/r2/buckets/one/objects/k", "x"},
		{"DELETE", "ACCT/r2/buckets/one/objects/k", ""},
		{"DELETE", "ACCT/r2/buckets/one/objects", `["k"]`},
	} {
		n.refused(403, 9109, read, c.method, c.path, c.body)
		n.refused(403, 9109, elsewhere, c.method, c.path, c.body)
	}
	n.refused(403, 9109, elsewhere, "GET", "ACCT/r2/buckets/one/objects/k", "")
	if a := n.send("GET", "ACCT/r2/buckets/one/objects/k", read, ""); a.status != 200 || a.body != "v" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

func TestR2Objects(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", "ACCT/r2/buckets", `{"name":"one"}`)
	const all = "ACCT/r2/buckets/one/objects"
	n.fails(404, 10007, "GET", all+"/nope", "")
	n.fails(404, 10006, "GET", "ACCT/r2/buckets/nope/objects/k", "")
	n.fails(404, 10006, "PUT", "ACCT/r2/buckets/nope/objects/k", "x")
	n.fails(404, 10006, "GET", "ACCT/r2/buckets/nope/objects", "")
	n.fails(400, 10020, "PUT", all+"/"+strings.Repeat("k", r2.MaxKey+1), "x")
	n.fails(400, 10029, "PUT", all+"/k", "x", "Expires: soon")
	n.fails(400, 10029, "PUT", all+"/k", "x", "Cf-R2-Custom-Metadata: 7")
	n.fails(400, 10012, "PUT", all+"/k", "x", `Cf-R2-Custom-Metadata: {"a":"`+strings.Repeat("b", r2.MaxMetadata)+`"}`)
	keys := []string{"dir/hello.txt", "dir/k e.txt", "dir//x", "é", "a%b", "a?b", "#"}
	for _, key := range keys {
		var o wire.R2Object
		n.ok(&o, "PUT", all+"/"+escape(key), "hello "+key, "Content-Type: text/plain", "Content-Disposition: inline", "Cache-Control: max-age=60",
			"Expires: Fri, 01 Jan 2027 00:00:00 GMT", `Cf-R2-Custom-Metadata: {"who":"me"}`, "Cf-R2-Storage-Class: InfrequentAccess")
		if o.Key != key || o.Size != int64(len("hello "+key)) || len(o.Version) != 32 || o.Custom["who"] != "me" || o.HTTP.CacheExpiry.Year() != 2027 || o.StorageClass != "InfrequentAccess" {
			t.Errorf("%+v", o)
		}
		a := n.ok(nil, "GET", all+"/"+escape(key), "")
		if a.body != "hello "+key || a.header.Get("Content-Type") != "text/plain" || a.header.Get("Etag") != `"`+o.ETag+`"` || a.header.Get("X-R2-Custom-Metadata-Who") != "me" {
			t.Errorf("%q %v", a.body, a.header)
		}
		var head wire.R2Object
		n.ok(&head, "GET", all+"/"+escape(key), "", "Cf-Metadata-Only: true")
		if head.ETag != o.ETag || head.HTTP.CacheControl != "max-age=60" {
			t.Errorf("%+v", head)
		}
		if a := n.send(http.MethodHead, all+"/"+escape(key), theToken, ""); a.status != 200 || a.header.Get("Content-Length") == "" {
			t.Errorf("%d %v", a.status, a.header)
		}
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	n.ok(nil, "PUT", all+"/big", big)
	if a := n.ok(nil, "GET", all+"/big", ""); a.body != big {
		t.Errorf("%d other bytes", len(a.body))
	}
	var list []wire.R2Object
	a := n.ok(&list, "GET", all+"?delimiter=/&per_page=2", "")
	if len(list)+len(a.ResultInfo.Delimited) != 2 || !*a.ResultInfo.Truncated || a.ResultInfo.Cursor == "" {
		t.Errorf("%+v, %+v", list, a.ResultInfo)
	}
	var got []string
	for cursor := "start"; cursor != ""; {
		a := n.ok(&list, "GET", all+"?per_page=3&cursor="+strings.TrimPrefix(cursor, "start"), "")
		for _, o := range list {
			got = append(got, o.Key)
		}
		cursor = a.ResultInfo.Cursor
	}
	want := append([]string{"big"}, keys...)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	n.ok(nil, "DELETE", all+"/big", "")
	n.ok(nil, "DELETE", all+"/big", "")
	n.fails(400, 10029, "DELETE", all, `{}`)
	n.fails(400, 10029, "DELETE", all, `[]`)
	text, _ := json.Marshal(keys)
	n.ok(nil, "DELETE", all, string(text))
	if a := n.ok(&list, "GET", all, ""); len(list) != 0 || *a.ResultInfo.Truncated {
		t.Errorf("%+v", list)
	}
	n.ok(nil, "DELETE", "ACCT/r2/buckets/one", "")
}

// escape escapes a key as wrangler does, segment by segment.
func escape(key string) string {
	r := strings.NewReplacer("%", "%25", " ", "%20", "?", "%3F", "#", "%23", "é", "%C3%A9")
	return r.Replace(key)
}
