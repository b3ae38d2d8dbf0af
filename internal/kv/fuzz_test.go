package kv

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzHandler sends what a Worker could make the binding send. Whatever it is, the status is one that the protocol knows,
// answers are JSON where they should be, and a value that was accepted can be read again.
func FuzzHandler(f *testing.F) {
	f.Add("GET", "/key?urlencoded=true&cache_ttl=60", "", "")
	f.Add("GET", "/?prefix=a&key_count_limit=10&cursor=YQ", "", "")
	f.Add("PUT", "/a%2Fb?urlencoded=true&expiration_ttl=60", `{"a":1}`, "value")
	f.Add("PUT", "/%ff?urlencoded=true&expiration=99999999999", `"é"`, "\xff\xe2\x82")
	f.Add("DELETE", "/key?urlencoded=true", "", "")
	f.Add("POST", "/bulk/get", "", `{"keys":["key","a/b","%"],"type":"json","withMetadata":true,"cacheTtl":"60"}`)
	s := openStore(f, f.TempDir(), Options{})
	id := newSpace(f, s, "one")
	h := s.Handler(id)
	f.Fuzz(func(t *testing.T, method, target, metadata, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !slices.Contains([]string{"GET", "PUT", "DELETE", "POST", "HEAD"}, method) {
			return
		}
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL = u
		if metadata != "" {
			r.Header.Set(headerMetadata, metadata)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case !slices.Contains([]int{200, 400, 404, 405, 413, 414}, w.Code):
			t.Fatalf("status %d", w.Code)
		case w.Code == http.StatusOK && w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()):
			t.Fatalf("answered %q", w.Body)
		case method != "PUT" || w.Code != http.StatusOK:
			return
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, &http.Request{Method: "GET", URL: u, Body: http.NoBody})
		if w.Code == http.StatusBadRequest && u.Query().Get("cache_ttl") != "" {
			return
		}
		if w.Code != http.StatusOK || w.Body.String() != body {
			t.Fatalf("status %d, value %q, put %q", w.Code, w.Body, body)
		}
	})
}

func FuzzDecodeText(f *testing.F) {
	f.Add([]byte("\ufefftext"))
	f.Add([]byte("a\xe2\x82b\xf0\x90\xf0\x80\xc0\xed\xa0"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := decodeText(data)
		if !utf8.ValidString(s) {
			t.Errorf("decodes to %q", s)
		}
		if utf8.Valid(data) && s != strings.TrimPrefix(string(data), "\ufeff") {
			t.Errorf("valid text changes to %q", s)
		}
	})
}
