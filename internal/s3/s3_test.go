package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/r2"
)

const (
	account = "0123456789abcdef0123456789abcdef"
	other   = "fedcba9876543210fedcba9876543210"
	key     = "key"
	secret  = "secret"
)

// rig is a Handler with a bucket, served under both forms of address.
type rig struct {
	t     testing.TB
	store *r2.Store
	url   string
	now   time.Time
}

func newRig(t testing.TB) *rig {
	t.Helper()
	store, err := r2.Open(nil, t.TempDir(), r2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for _, a := range []atoll.AccountID{account, other} {
		if _, err := store.CreateBucket(context.Background(), r2.Ref{Account: a, Name: "one"}, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{t: t, store: store, now: time.Date(2026, 11, 28, 5, 0, 0, 0, time.UTC)}
	keys := func(_ context.Context, id string) (auth.Principal, string, error) {
		if id != key {
			return auth.Principal{}, "", fault.New(fault.Unauthenticated, 10000, "Authentication error")
		}
		return auth.Principal{TokenID: id, Account: account, Scope: auth.Scope{Write: true}}, secret, nil
	}
	server := httptest.NewServer(New(nil, store, keys, account, func() time.Time { return r.now }))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// request is what send signs and sends.
type request struct {
	method, path, host string
	header             map[string]string
	body               string
	payload            string // empty: the body's SHA-256
	chunks             []string
	trailer            string // a line behind the chunks, without its end
	tamper             func(*http.Request, *string)
}

// send signs a request as the specification says, by code of its own, and returns status, S3's code and body.
func (r *rig) send(q request) (status int, code, body string) {
	r.t.Helper()
	if q.payload == "" {
		sum := sha256.Sum256([]byte(q.body))
		q.payload = hex.EncodeToString(sum[:])
	}
	at := r.now.Format(amzTime)
	req, err := http.NewRequest(q.method, r.url+q.path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if q.host != "" {
		req.Host = q.host
	}
	names, values := []string{"host", "x-amz-content-sha256", "x-amz-date"}, map[string]string{"host": req.Host, "x-amz-content-sha256": q.payload, "x-amz-date": at}
	for name, v := range q.header {
		req.Header.Set(name, v)
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			names, values[name] = append(names, name), v
		}
	}
	slices.Sort(names)
	req.Header.Set("X-Amz-Content-Sha256", q.payload)
	req.Header.Set("X-Amz-Date", at)
	var lines string
	for _, n := range names {
		lines += n + ":" + values[n] + "\n"
	}
	path, query, _ := strings.Cut(q.path, "?")
	if query != "" && !strings.Contains(query, "=") {
		query += "="
	}
	signed := strings.Join(names, ";")
	sum := sha256.Sum256([]byte(strings.Join([]string{q.method, path, query, lines, signed, q.payload}, "\n")))
	scope := at[:8] + "/auto/s3/aws4_request"
	k := mac(mac(mac(mac([]byte("AWS4"+secret), at[:8]), "auto"), "s3"), "aws4_request")
	sig := hex.EncodeToString(mac(k, "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+key+"/"+scope+", SignedHeaders="+signed+", Signature="+sig)
	if q.chunks != nil {
		q.body = chunked(q, k, at, scope, sig)
	}
	if q.tamper != nil {
		q.tamper(req, &q.body)
	}
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(q.body)), int64(len(q.body))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var e struct{ Code string }
	if res.StatusCode >= 400 {
		if err := xml.Unmarshal(b, &e); err != nil && len(b) > 0 {
			r.t.Errorf("status %d without an error in XML: %q", res.StatusCode, b)
		}
	}
	return res.StatusCode, e.Code, string(b)
}

// chunked writes a body in chunks, signed where its payload says so.
func chunked(q request, k []byte, at, scope, previous string) string {
	var b strings.Builder
	empty := sha256.Sum256(nil)
	for _, c := range append(q.chunks, "") {
		fmt.Fprintf(&b, "%x", len(c))
		if q.payload != streamUnsignedTrailer {
			sum := sha256.Sum256([]byte(c))
			previous = hex.EncodeToString(mac(k, strings.Join([]string{"AWS4-HMAC-SHA256-PAYLOAD", at, scope, previous, hex.EncodeToString(empty[:]), hex.EncodeToString(sum[:])}, "\n")))
			b.WriteString(";chunk-signature=" + previous)
		}
		b.WriteString("\r\n" + c)
		if c != "" {
			b.WriteString("\r\n")
		}
	}
	if q.trailer != "" {
		b.WriteString(q.trailer + "\r\n")
		if q.payload == streamSignedTrailer {
			sum := sha256.Sum256([]byte(q.trailer + "\n"))
			b.WriteString("x-amz-trailer-signature:" + hex.EncodeToString(mac(k, strings.Join([]string{"AWS4-HMAC-SHA256-TRAILER", at, scope, previous, hex.EncodeToString(sum[:])}, "\n"))) + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

func (r *rig) content(key string) string {
	r.t.Helper()
	_, body, err := r.store.Get(context.Background(), r2.Ref{Account: account, Name: "one"}, key, r2.GetOptions{})
	if fault.KindOf(err) == fault.NotFound {
		return "(none)"
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer body.Close()
	var b bytes.Buffer
	if _, err := body.WriteTo(&b); err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

func TestSignature(t *testing.T) {
	r := newRig(t)
	put := request{method: "PUT", path: "/s3/one/k", body: "hello"}
	if status, _, body := r.send(put); status != 200 || r.content("k") != "hello" {
		t.Fatalf("%d %s", status, body)
	}
	for _, c := range []struct {
		name, code string
		tamper     func(*http.Request, *string)
	}{
		{"body", "XAmzContentSHA256Mismatch", func(_ *http.Request, b *string) { *b = "jello" }},
		{"longer-body", "XAmzContentSHA256Mismatch", func(_ *http.Request, b *string) { *b += "!" }},
		{"path", "SignatureDoesNotMatch", func(q *http.Request, _ *string) { q.URL.Path = "/s3/one/other" }},
		{"method", "SignatureDoesNotMatch", func(q *http.Request, _ *string) { q.Method = "DELETE" }},
		{"query", "SignatureDoesNotMatch", func(q *http.Request, _ *string) { q.URL.RawQuery = "uploads" }},
		{"host", "SignatureDoesNotMatch", func(q *http.Request, _ *string) { q.Host = "elsewhere" }},
		{"payload", "SignatureDoesNotMatch", func(q *http.Request, _ *string) { q.Header.Set("X-Amz-Content-Sha256", unsigned) }},
		{"no-payload", "InvalidRequest", func(q *http.Request, _ *string) { q.Header.Del("X-Amz-Content-Sha256") }},
		{"odd-payload", "SignatureDoesNotMatch", func(q *http.Request, _ *string) { q.Header.Set("X-Amz-Content-Sha256", "odd") }},
		{"date", "SignatureDoesNotMatch", func(q *http.Request, _ *string) {
			q.Header.Set("X-Amz-Date", r.now.Add(time.Second).Format(amzTime))
		}},
		{"old", "RequestTimeTooSkewed", func(q *http.Request, _ *string) {
			q.Header.Set("X-Amz-Date", r.now.Add(-time.Hour).Format(amzTime))
		}},
		{"no-authorization", "InvalidArgument", func(q *http.Request, _ *string) { q.Header.Del("Authorization") }},
		{"bearer", "InvalidRequest", func(q *http.Request, _ *string) { q.Header.Set("Authorization", "Bearer "+secret) }},
		{"session", "InvalidArgument", func(q *http.Request, _ *string) { q.Header.Set("X-Amz-Security-Token", "x") }},
		{"host-unsigned", "Unauthorized", func(q *http.Request, _ *string) {
			q.Header.Set("Authorization", strings.Replace(q.Header.Get("Authorization"), "host;", "", 1))
		}},
		{"key", "Unauthorized", func(q *http.Request, _ *string) {
			q.Header.Set("Authorization", strings.Replace(q.Header.Get("Authorization"), "=key/", "=nokey/", 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := put
			q.tamper = c.tamper
			if status, code, body := r.send(q); status < 400 || code != c.code {
				t.Errorf("%d %s", status, body)
			}
			if r.content("k") != "hello" || r.content("other") != "(none)" {
				t.Error("it was stored")
			}
		})
	}
}

// A link that was signed to put one object is good for that alone: what its holder adds, such as that the object be a copy of
// another one, is refused.
func TestUnsignedHeaders(t *testing.T) {
	r := newRig(t)
	for key, text := range map[string]string{"secret": "of the account", "mine": "old"} {
		if _, err := r.store.Put(t.Context(), r2.Ref{Account: account, Name: "one"}, key, strings.NewReader(text), r2.PutOptions{Length: -1}); err != nil {
			t.Fatal(err)
		}
	}
	link := func(method, path string) string {
		at := r.now.Format(amzTime)
		scope := at[:8] + "/auto/s3/aws4_request"
		query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + url.QueryEscape(key+"/"+scope) + "&X-Amz-Date=" + at + "&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
		host := strings.TrimPrefix(r.url, "http://")
		sum := sha256.Sum256([]byte(method + "\n" + path + "\n" + query + "\nhost:" + host + "\n\nhost\nUNSIGNED-PAYLOAD"))
		k := mac(mac(mac(mac([]byte("AWS4"+secret), at[:8]), "auto"), "s3"), "aws4_request")
		return r.url + path + "?" + query + "&X-Amz-Signature=" + hex.EncodeToString(mac(k, "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	}
	for _, c := range []struct {
		name, header, value string
		want                int
	}{
		{"plain", "X-Plain", "1", 200}, {"payload", "X-Amz-Content-Sha256", unsigned, 200}, {"copy", "X-Amz-Copy-Source", "/one/secret", 403},
		{"metadata", "X-Amz-Meta-Role", "admin", 403}, {"class", "x-amz-storage-class", "STANDARD_IA", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest("PUT", link("PUT", "/s3/one/mine"), strings.NewReader("new"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(c.header, c.value)
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := r.content("mine"); res.StatusCode != c.want || strings.Contains(got, "account") {
				t.Errorf("status %d, and the object is %q", res.StatusCode, got)
			}
		})
	}
	if status, code, _ := r.send(request{method: "PUT", path: "/s3/one/mine", tamper: func(q *http.Request, _ *string) { q.Header.Set("X-Amz-Copy-Source", "/one/secret") }}); status != 403 || code != "AccessDenied" {
		t.Errorf("by the header Authorization: %d %s", status, code)
	}
}

func TestChunks(t *testing.T) {
	r := newRig(t)
	content := strings.Repeat("0123456789abcdef", 10_000)
	sum := crc32.ChecksumIEEE([]byte(content))
	trailer := "x-amz-checksum-crc32:" + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
	for _, payload := range []string{streamSigned, streamSignedTrailer, streamUnsignedTrailer} {
		put := request{method: "PUT", path: "/s3/one/k", payload: payload, chunks: []string{content[:100_000], content[100_000:]},
			header: map[string]string{"X-Amz-Decoded-Content-Length": fmt.Sprint(len(content)), "Content-Encoding": "aws-chunked"}}
		if payload != streamSigned {
			put.trailer, put.header["X-Amz-Trailer"] = trailer, "x-amz-checksum-crc32"
		}
		if status, _, body := r.send(put); status != 200 || r.content("k") != content {
			t.Errorf("%s: %d %s", payload, status, body)
		}
		o, err := r.store.Head(t.Context(), r2.Ref{Account: account, Name: "one"}, "k")
		if err != nil || o.HTTP.ContentEncoding != "" || (o.Sums["crc32"] != "") != (put.trailer != "") {
			t.Errorf("%s: %+v, %v", payload, o, err)
		}
		if status, _, _ := r.send(request{method: "DELETE", path: "/s3/one/k"}); status != 204 {
			t.Errorf("%d", status)
		}
		wrong := map[string]func(*http.Request, *string){
			"cut":       func(_ *http.Request, b *string) { *b = (*b)[:len(*b)/2] },
			"shorter":   func(_ *http.Request, b *string) { *b = strings.Replace(*b, "0123456789abcdef\r\n", "\r\n", 1) },
			"no-length": func(q *http.Request, _ *string) { q.Header.Del("X-Amz-Decoded-Content-Length") },
			"other-length": func(q *http.Request, _ *string) {
				q.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(len(content)-1))
			},
			"no-chunks": func(_ *http.Request, b *string) { *b = content },
			"huge":      func(_ *http.Request, b *string) { *b = "ffffffffffffffffffff\r\n" + *b },
		}
		if payload != streamUnsignedTrailer {
			wrong["changed"] = func(_ *http.Request, b *string) { *b = strings.Replace(*b, "0123", "0124", 1) }
			wrong["signature"] = func(_ *http.Request, b *string) { *b = strings.Replace(*b, "signature=", "signature=0", 2) }
		}
		if put.trailer != "" {
			wrong["trailer"] = func(_ *http.Request, b *string) { *b = strings.Replace(*b, "crc32:", "crc32:AAAA", 1) }
			wrong["long-trailer"] = func(_ *http.Request, b *string) {
				*b = strings.Replace(*b, "crc32:", "crc32:"+strings.Repeat("A", 1<<20), 1)
			}
		}
		for name, tamper := range wrong {
			q := put
			q.tamper = tamper
			if status, _, body := r.send(q); status < 400 || status == 500 || r.content("k") != "(none)" {
				t.Errorf("%s, %s: %d %s", payload, name, status, body)
			}
		}
	}
}

// The host may say which account it is about; a key of another is refused, whatever the bucket's name.
func TestHost(t *testing.T) {
	r := newRig(t)
	host := account + ".r2.example.test"
	if status, _, body := r.send(request{method: "PUT", path: "/one/a%20b/c", host: host, body: "x"}); status != 200 || r.content("a b/c") != "x" {
		t.Errorf("%d %s", status, body)
	}
	if status, code, _ := r.send(request{method: "GET", path: "/one/a%20b/c", host: other + ".r2.example.test"}); status != 403 || code != "AccessDenied" {
		t.Errorf("%d %s", status, code)
	}
	if status, code, _ := r.send(request{method: "GET", path: "/one?cors", host: host}); status != 501 || code != "NotImplemented" {
		t.Errorf("%d %s", status, code)
	}
	if status, code, _ := r.send(request{method: "POST", path: "/one?delete", host: host, body: "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 1001) + "</Delete>"}); status != 400 || code != "MalformedXML" {
		t.Errorf("%d %s", status, code)
	}
	for _, c := range []struct {
		host, path string
		want       bool
	}{{host, "/x", true}, {"localhost", "/s3", true}, {"localhost", "/s3/b/k", true}, {"localhost", "/s3x", false}, {"localhost", "/client/v4/s3", false}, {"x.r2.example", "/", false}} {
		if got := Serves(&http.Request{Host: c.host, URL: &url.URL{Path: c.path}}); got != c.want {
			t.Errorf("%s%s: %v", c.host, c.path, got)
		}
	}
}

// FuzzChunks reads anything as chunks: it ends, and never yields more than it was given.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n"), false)
	f.Add([]byte("5;chunk-signature=00\r\nhello\r\n0;chunk-signature=00\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, text []byte, signed bool) {
		payload := streamUnsignedTrailer
		if signed {
			payload = streamSignedTrailer
		}
		req, _ := http.NewRequest("PUT", "http://x/", bytes.NewReader(text))
		req.Header.Set("X-Amz-Decoded-Content-Length", "5")
		b, err := newBody(req, signature{payload: payload}, []byte("key"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		if len(got) > len(text) || signed && len(got) > 0 && err == nil {
			t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
		}
	})
}

// FuzzRequest sends anything as a request's line and headers: nobody without the secret gets further than an error.
func FuzzRequest(f *testing.F) {
	r := newRig(f)
	f.Add("GET", "/s3/one/k?X-Amz-Credential=key/20261128/auto/s3/aws4_request&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261128T050000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=60&X-Amz-Signature="+emptySum, "")
	f.Add("PUT", "/s3/one/k", "AWS4-HMAC-SHA256 Credential=key/20261128/auto/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="+emptySum)
	h := New(nil, r.store, func(context.Context, string) (auth.Principal, string, error) {
		return auth.Principal{TokenID: key, Scope: auth.Scope{Write: true}}, "not to be guessed", nil
	}, account, func() time.Time { return r.now })
	f.Fuzz(func(t *testing.T, method, target, authorization string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		req := &http.Request{Method: method, URL: u, RequestURI: target, Host: "x", Header: http.Header{"Authorization": {authorization},
			"X-Amz-Content-Sha256": {emptySum}, "X-Amz-Date": {r.now.Format(amzTime)}}, Body: http.NoBody}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// FuzzXML parses anything as the bodies that are XML.
func FuzzXML(f *testing.F) {
	f.Add([]byte("<Delete><Object><Key>k</Key></Object><Quiet>true</Quiet></Delete>"))
	f.Add([]byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var v struct {
			Object []struct{ Key, VersionId string }
			Part   []struct {
				PartNumber int
				ETag       string
			}
			Quiet bool
		}
		_ = parseXML(text, &v)
	})
}
