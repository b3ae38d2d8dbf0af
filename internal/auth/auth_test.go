package auth

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/store"
)

const account = "0123456789abcdef0123456789abcdef"

func TestAuthenticate(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	key, err := store.LoadKey(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(nil, dir, key)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.EnsureAccount(ctx, account, "Atoll"); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a, err := New(db, "the-node-token", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	scope := Scope{NamespaceID: "ns"}
	forever, brief := Mint(), Mint()
	for text, expires := range map[string]time.Time{forever: {}, brief: now.Add(time.Minute)} {
		if err := db.PutToken(ctx, store.Token{Name: "t", Account: account, Hash: Hash(text), Scope: scope.Encode(), Expires: expires}); err != nil {
			t.Fatal(err)
		}
	}

	node, err := a.Authenticate(ctx, http.Header{"Authorization": {"bearer the-node-token"}})
	if err != nil || node.Account != "" || !node.Scope.Write || len(node.TokenID) != 32 {
		t.Errorf("the node's token is %+v, %v", node, err)
	}
	for _, h := range []http.Header{
		{"Authorization": {"Bearer " + forever}}, {"Authorization": {"Bearer " + brief}},
		{"X-Auth-Key": {forever}, "X-Auth-Email": {"a@b.c"}},
	} {
		p, err := a.Authenticate(ctx, h)
		if err != nil || p.Account != account || p.Scope != scope || p.TokenID == "" {
			t.Errorf("%v is %+v, %v", h, p, err)
		}
	}
	for name, test := range map[string]struct {
		header http.Header
		code   int
	}{
		"none":           {nil, 10000},
		"unknown":        {http.Header{"Authorization": {"Bearer nope"}}, 10000},
		"unknown-key":    {http.Header{"X-Auth-Key": {"nope"}}, 10000},
		"email-alone":    {http.Header{"X-Auth-Email": {"a@b.c"}}, 10000},
		"basic":          {http.Header{"Authorization": {"Basic eDp5"}}, 6003},
		"no-token":       {http.Header{"Authorization": {"Bearer "}}, 6003},
		"no-scheme":      {http.Header{"Authorization": {forever}}, 6003},
		"too-long":       {http.Header{"Authorization": {"Bearer " + strings.Repeat("x", 2000)}}, 6003},
		"hash-of-a-hash": {http.Header{"Authorization": {"Bearer " + node.TokenID}}, 10000},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Authenticate(ctx, test.header)
			if f := fault.Of(err); f == nil || f.Code != test.code {
				t.Errorf("error %v, want code %d", err, test.code)
			}
		})
	}

	now = now.Add(time.Minute)
	if _, err := a.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + brief}}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an expired token: %v", err)
	}
	if _, err := New(db, "short", nil); err == nil {
		t.Error("a node's token of five characters is accepted")
	}
	db.Close()
	if _, err := a.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + forever}}); fault.KindOf(err) != fault.Internal {
		t.Errorf("with a closed store: %v", err)
	}
}

func TestRefusal(t *testing.T) {
	if f := fault.Of(Verify.Refusal(errUnknown)); f.Code != 1000 || f.Kind != fault.Unauthenticated {
		t.Errorf("verify refuses with %+v", f)
	}
	if err := Verify.Refusal(errFormat); err != error(errFormat) {
		t.Errorf("verify refuses a malformed header with %v", err)
	}
	if err := AccountRead.Refusal(errUnknown); err != error(errUnknown) {
		t.Errorf("account:read refuses with %v", err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add("Bearer x", "")
	f.Add("", "key")
	f.Add("bearer  x y ", "key")
	f.Fuzz(func(t *testing.T, authorization, key string) {
		text, err := token(http.Header{"Authorization": {authorization}, "X-Auth-Key": {key}})
		if (err == nil) == (text == "") {
			t.Errorf("token %q with error %v", text, err)
		}
		if err != nil && fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("error %v", err)
		}
	})
}
