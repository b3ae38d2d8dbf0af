package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/auth"
	"atoll.dev/atoll/internal/fault"
)

// serveOne returns an API of one route with this handler.
func serveOne(n *node, do func(*API, *request) (any, error)) http.Handler {
	a := &API{lg: newLogger(n.t), Deps: n.deps}
	return a.router([]endpoint{{"POST", "/x/{name}", auth.Member, do}, {"GET", "/x/{name}", auth.Member, do}})
}

func TestRenderErrors(t *testing.T) {
	n := newNode(t)
	for name, test := range map[string]struct {
		err     error
		status  int
		code    int
		message string
		header  string
	}{
		"unknown":   {errors.New("secret detail"), 500, 10013, "unknown error", ""},
		"internal":  {fault.New(fault.Internal, 1, "secret detail"), 500, 10013, "unknown error", ""},
		"wrapped":   {fmt.Errorf("secret detail: %w", fault.New(fault.Invalid, 10021, "bad <x>")), 400, 10021, "bad <x>", ""},
		"conflict":  {fault.New(fault.Conflict, 10020, "there"), 409, 10020, "there", "X-Should-Retry"},
		"limited":   {fault.New(fault.Limited, 10022, "slow"), 429, 10022, "slow", "Retry-After"},
		"busy":      {fault.New(fault.Unavailable, 10013, "busy"), 503, 10013, "busy", "Retry-After"},
		"full":      {fault.New(fault.Full, 10013, "full"), 507, 10013, "full", ""},
		"forbidden": {fault.New(fault.Forbidden, 9109, "no"), 403, 9109, "no", ""},
		"large":     {fault.New(fault.TooLarge, 10027, "big"), 413, 10027, "big", ""},
		"type":      {fault.New(fault.Unsupported, 10001, "type"), 415, 10001, "type", ""},
		"condition": {fault.New(fault.Precondition, 10079, "tag"), 412, 10079, "tag", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", Prefix+"/x/y", nil)
			r.Header.Set("Authorization", "Bearer "+theToken)
			serveOne(n, func(*API, *request) (any, error) { return nil, test.err }).ServeHTTP(w, r)
			body := w.Body.String()
			if w.Code != test.status || !strings.Contains(body, fmt.Sprintf(`"code":%d`, test.code)) || !strings.Contains(body, test.message) ||
				strings.Contains(body, "secret detail") || !strings.Contains(body, `"result":null`) {
				t.Errorf("status %d: %s", w.Code, body)
			}
			if test.header != "" && w.Header().Get(test.header) == "" {
				t.Errorf("no %s", test.header)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	n := newNode(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", Prefix+"/x/y", nil)
	r.Header.Set("Authorization", "Bearer "+theToken)
	serveOne(n, func(*API, *request) (any, error) { panic("secret detail") }).ServeHTTP(w, r)
	if w.Code != 500 || !strings.Contains(w.Body.String(), "10013") || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestUnwritableResult(t *testing.T) {
	n := newNode(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", Prefix+"/x/y", nil)
	r.Header.Set("Authorization", "Bearer "+theToken)
	serveOne(n, func(*API, *request) (any, error) { return func() {}, nil }).ServeHTTP(w, r)
	if w.Code != 500 || !strings.Contains(w.Body.String(), "10013") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// TestRawBreaksOff holds that a client does not take a part of a raw answer for the whole.
func TestRawBreaksOff(t *testing.T) {
	n := newNode(t)
	for name, size := range map[string]int64{"known-size": 10, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(serveOne(n, func(*API, *request) (any, error) {
				return raw{contentType: "text/plain", size: size, write: func(w io.Writer) error {
					io.WriteString(w, "part")
					return errors.New("the disk broke")
				}}, nil
			}))
			defer server.Close()
			req, err := http.NewRequest("GET", server.URL+Prefix+"/x/y", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+theToken)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return // broken off before the header: as good
			}
			defer res.Body.Close()
			if b, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("the answer ends well, with %q", b)
			}
		})
	}
}

func TestParamIsDecodedOnce(t *testing.T) {
	n := newNode(t)
	var got string
	h := serveOne(n, func(_ *API, q *request) (any, error) {
		got = q.path("name")
		return nil, nil
	})
	for path, want := range map[string]string{"a%2Fb": "a/b", "%252F": "%2F", "a+b": "a+b", "a%20b": "a b", "%25": "%", "%E2%82%AC": "€",
		"..": "..", "%2e%2e": ".."} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", Prefix+"/x/"+path, nil)
		r.Header.Set("Authorization", "Bearer "+theToken)
		got = "not called"
		h.ServeHTTP(w, r)
		if w.Code != 200 || got != want {
			t.Errorf("%q: status %d, parameter %q, want %q", path, w.Code, got, want)
		}
	}
}

func TestBodyIsBounded(t *testing.T) {
	n := newNode(t)
	n.deps.MaxBody = 100
	var read int64
	h := serveOne(n, func(_ *API, q *request) (any, error) {
		var err error
		read, err = io.Copy(io.Discard, q.Body)
		return nil, err
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", Prefix+"/x/y", strings.NewReader(strings.Repeat("x", 1000)))
	r.Header.Set("Authorization", "Bearer "+theToken)
	h.ServeHTTP(w, r)
	if w.Code != 413 || read > 101 {
		t.Errorf("status %d after %d bytes: %s", w.Code, read, w.Body)
	}
}

func TestStoreFailure(t *testing.T) {
	n := newNode(t)
	if err := n.db.Close(); err != nil {
		t.Fatal(err)
	}
	n.fails(500, 10013, "GET", "/accounts", "")
	n.fails(500, 10013, "GET", inProd+"x", "")
}

func TestClientGone(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(context.Background())
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", Prefix+"/x/y", nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+theToken)
	serveOne(n, func(_ *API, q *request) (any, error) {
		cancel()
		return nil, fmt.Errorf("find script: %w", q.Context().Err())
	}).ServeHTTP(w, r)
	if w.Body.Len() != 0 {
		t.Errorf("somebody was answered: %s", w.Body)
	}
}
