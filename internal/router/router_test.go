package router

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/invocation"
)

const account = atoll.AccountID("0123456789abcdef0123456789abcdef")

// kept is a KV namespace.
func kept(pairs map[string]string) Records {
	return func(_ context.Context, ns, key string, most int64) ([]byte, bool, error) {
		if ns != "table" {
			return nil, false, fault.New(fault.NotFound, 10013, "no such namespace")
		}
		v, ok := pairs[key]
		if int64(len(v)) > most {
			return nil, false, errors.New("too long")
		}
		return []byte(v), ok, nil
	}
}

func limits(ms, n int64) invocation.Limits {
	return invocation.Limits{CPU: time.Duration(ms) * time.Millisecond, SubRequests: n}
}

func TestFind(t *testing.T) {
	plans := map[string]atoll.Limits{"pro": {CPUMs: 20, SubRequests: 20}, "unbounded": {}}
	sub := &atoll.Router{Kind: atoll.BySubdomain, Namespace: "production", Limits: atoll.Limits{CPUMs: 10, SubRequests: 5}}
	path := &atoll.Router{Kind: atoll.ByPath, Namespace: "production"}
	customers := &atoll.Router{Kind: atoll.BySubdomain, Namespace: "production", KV: "table", Plans: plans, Limits: atoll.Limits{CPUMs: 10, SubRequests: 5}}
	hosts := &atoll.Router{Kind: atoll.ByKV, Namespace: "production", KV: "table", Plans: plans, Limits: atoll.Limits{CPUMs: 10}}
	records := kept(map[string]string{
		"plain": "pro", "odd-plan": "gold", "unbounded": "unbounded", "own": `{"limits":{"cpuMs":2.5}}`, "alias": `{"script":"alice","plan":"pro"}`,
		"blank": " ", "shop.example": "alice\n", "full.example": `{"script":"bob","limits":{"cpuMs":1e9,"subRequests":7}}`,
		"nameless.example": `{"plan":"pro"}`, "bad-name.example": "../alice", "..": "alice",
	})
	for _, c := range []struct {
		name       string
		router     *atoll.Router
		host, path string
		want       string // the script; empty: nobody
		limits     invocation.Limits
	}{
		{"subdomain", sub, "alice.example.com", "/x", "alice", limits(10, 5)},
		{"upper-case-host", sub, "ALICE.example.com", "/x", "alice", limits(10, 5)},
		{"first-of-many-labels", sub, "a.b.example.com", "/", "a", limits(10, 5)},
		{"no-label", sub, ".example.com", "/", "", limits(0, 0)},
		{"no-host", sub, "", "/", "", limits(0, 0)},
		{"not-a-name", sub, "a%2f.example.com", "/", "", limits(0, 0)},
		{"path", path, "example.com", "/alice/x", "alice", limits(0, 0)},
		{"path-alone", path, "example.com", "/alice", "alice", limits(0, 0)},
		{"path-of-upper-case", path, "example.com", "/Alice", "Alice", limits(0, 0)},
		{"two-slashes", path, "example.com", "//alice/x", "alice", limits(0, 0)},
		{"no-path", path, "example.com", "/", "", limits(0, 0)},
		{"dots", path, "example.com", "/../alice", "", limits(0, 0)},
		{"escaped", path, "example.com", "/%61lice", "", limits(0, 0)},
		{"plan", customers, "plain.example.com", "/", "plain", limits(20, 20)},
		{"unknown-plan", customers, "odd-plan.example.com", "/", "odd-plan", limits(10, 5)},
		{"plan-without-limits", customers, "unbounded.example.com", "/", "unbounded", limits(0, 0)},
		{"no-record", customers, "new.example.com", "/", "new", limits(10, 5)},
		{"blank-record", customers, "blank.example.com", "/", "blank", limits(10, 5)},
		{"own-limits", customers, "own.example.com", "/", "own", invocation.Limits{CPU: 2500 * time.Microsecond}},
		{"another-script", customers, "alias.example.com", "/", "alice", limits(20, 20)},
		{"host", hosts, "Shop.Example", "/", "alice", limits(10, 0)},
		{"host-with-record", hosts, "full.example", "/", "bob", limits(300_000, 7)},
		{"host-unknown", hosts, "other.example", "/", "", limits(0, 0)},
		{"record-without-script", hosts, "nameless.example", "/", "", limits(0, 0)},
		{"record-with-a-bad-name", hosts, "bad-name.example", "/", "", limits(0, 0)},
		{"long-host", hosts, strings.Repeat("a", 600), "/", "", limits(0, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Find(t.Context(), account, c.router, c.host, c.path, records)
			if c.want == "" {
				if fault.KindOf(err) != fault.NotFound {
					t.Errorf("found %+v, %v", got, err)
				}
				return
			}
			want := Target{Script: atoll.ScriptRef{Account: account, Namespace: "production", Name: atoll.ScriptName(c.want)}, Limits: c.limits}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v, %s", err, diff)
			}
		})
	}
}

// What cannot be read is no reason to call without limits, nor the client's mistake.
func TestFindFailsClosed(t *testing.T) {
	for name, value := range map[string]string{
		"not-json": `{"script":`, "limits-of-words": `{"limits":{"cpuMs":"10"}}`, "negative": `{"limits":{"cpuMs":-1}}`, "too-long": strings.Repeat("x", MaxRecord+1),
	} {
		r := &atoll.Router{Kind: atoll.BySubdomain, Namespace: "production", KV: "table"}
		t.Run(name, func(t *testing.T) {
			got, err := Find(t.Context(), account, r, "a.example", "/", kept(map[string]string{"a": value}))
			if err == nil || fault.Of(err) != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	t.Run("namespace-gone", func(t *testing.T) {
		r := &atoll.Router{Kind: atoll.ByKV, Namespace: "production", KV: "gone"}
		got, err := Find(t.Context(), account, r, "a.example", "/", kept(nil))
		if err == nil || fault.Of(err) != nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestOutbound(t *testing.T) {
	r := &atoll.Router{Kind: atoll.BySubdomain, Namespace: "production", KV: "table",
		Outbound: &atoll.RouterOutbound{Service: "outbound", Parameters: []string{"customer", "unset"}}}
	records := kept(map[string]string{"a": `{"outbound":{"customer":{"id":1},"other":2}}`})
	for host, want := range map[string]map[string]json.RawMessage{
		"a.example": {"customer": json.RawMessage(`{"id":1}`)},
		"b.example": {},
	} {
		got, err := Find(t.Context(), account, r, host, "/", records)
		if err != nil {
			t.Fatal(err)
		}
		worker := atoll.ScriptRef{Account: account, Name: "outbound"}
		if diff := cmp.Diff(&invocation.Outbound{Worker: worker, Params: want}, got.Outbound); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("alice.example.com", "/alice/x", `{"script":"bob","plan":"free","limits":{"cpuMs":10,"subRequests":5},"outbound":{"a":1}}`)
	f.Add("", "//", "pro")
	f.Fuzz(func(t *testing.T, host, path, value string) {
		records := func(context.Context, string, string, int64) ([]byte, bool, error) {
			return []byte(value), value != "", nil
		}
		for _, kind := range []atoll.RouterKind{atoll.BySubdomain, atoll.ByPath, atoll.ByKV} {
			r := &atoll.Router{Kind: kind, Namespace: "production", KV: "table", Limits: atoll.Limits{CPUMs: 10},
				Outbound: &atoll.RouterOutbound{Service: "outbound", Parameters: []string{"a"}}}
			got, err := Find(t.Context(), account, r, host, path, records)
			if err != nil {
				continue
			}
			if _, err := atoll.ParseScriptName(string(got.Script.Name)); err != nil || got.Script.Namespace != "production" {
				t.Errorf("found %v", got.Script)
			}
			if got.Limits.CPU < 0 || got.Limits.SubRequests < 0 || got.Outbound == nil {
				t.Errorf("with %+v", got)
			}
		}
	})
}
