package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/fault"
)

func TestARefusalKeepsItsCode(t *testing.T) {
	client, _ := server(t, `404 {"success":false,"errors":[{"code":10092,"message":"no such script"},{"code":1,"message":"more"}],"result":null}`)
	_, err := client.Script(t.Context(), user)
	var e *Error
	if !errors.As(err, &e) || e.Status != 404 || e.Code != 10092 || e.Message != "no such script" {
		t.Fatalf("error: %#v", err)
	}
	if f := fault.Of(err); f == nil || f.Kind != fault.NotFound || f.Code != 10092 {
		t.Errorf("fault: %+v", f)
	}
	if want := "no such script [code: 10092]\nmore [code: 1]"; err.Error() != want {
		t.Errorf("text: %q", err.Error())
	}
}

func TestASuccessThatIsNoneIsAnError(t *testing.T) {
	client, _ := server(t, `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}`)
	if _, err := client.Script(t.Context(), user); fault.Of(err) == nil || fault.Of(err).Code != 10000 {
		t.Errorf("error: %v", err)
	}
	client, _ = server(t, `409 {"success":false}`)
	if _, err := client.Script(t.Context(), user); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "409 without a reason") {
		t.Errorf("error: %v", err)
	}
}

func TestKindsFollowTheStatus(t *testing.T) {
	for status, kind := range map[int]fault.Kind{400: fault.Invalid, 401: fault.Unauthenticated, 403: fault.Forbidden,
		404: fault.NotFound, 409: fault.Conflict, 412: fault.Precondition, 413: fault.TooLarge, 415: fault.Unsupported,
		429: fault.Limited, 500: fault.Internal, 503: fault.Unavailable, 507: fault.Full} {
		if got := kindOf(status); got != kind {
			t.Errorf("%d is %v, want %v", status, got, kind)
		}
	}
}

func TestWhatIsNotTheAPIIsSaidToBe(t *testing.T) {
	for _, answer := range []string{"502 <html>bad gateway", "hello"} {
		client, _ := server(t, answer)
		_, err := client.Script(t.Context(), user)
		var f *Foreign
		if !errors.As(err, &f) || !strings.Contains(err.Error(), "which is not Atoll's API") {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// A redirect must not be followed: it would carry the request, though not the token, to another host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	srv := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusFound))
	defer srv.Close()
	_, err := newClient(t, srv.URL).Script(t.Context(), user)
	var f *Foreign
	if !errors.As(err, &f) || f.Status != http.StatusFound {
		t.Errorf("error: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	_, err := newClient(t, srv.URL).Script(t.Context(), user)
	var u *Unreachable
	if !errors.As(err, &u) || !strings.HasPrefix(err.Error(), "no answer from "+srv.URL+"/client/v4: ") || strings.Count(err.Error(), srv.URL) != 1 {
		t.Errorf("error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, srv.URL).Script(ctx, user); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNewTakesAddressesAsTheyAreWritten(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8081":             "http://127.0.0.1:8081/client/v4",
		"127.0.0.1:8081":                    "http://127.0.0.1:8081/client/v4",
		"https://api.example/client/v4/":    "https://api.example/client/v4",
		"https://api.example/atoll":         "https://api.example/atoll/client/v4",
		"http://[::1]:8081/client/v4":       "http://[::1]:8081/client/v4",
		"ftp://x":                           "",
		"":                                  "",
		"http://":                           "",
		"http://a b":                        "",
		"http://127.0.0.1:8081/client/v4//": "http://127.0.0.1:8081/client/v4",
	} {
		c, err := New(in, "", Options{})
		switch {
		case want == "" && err == nil:
			t.Errorf("New(%q) is accepted as %s", in, c.base)
		case want != "" && (err != nil || c.base != want):
			t.Errorf("New(%q) = %v, %v", in, c, err)
		}
	}
}
