package route

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

func table(t *testing.T, routes ...string) *Table {
	t.Helper()
	var list []Route
	for _, r := range routes {
		pattern, script, _ := strings.Cut(r, " ")
		p, err := ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Route{Pattern: p, Script: atoll.ScriptRef{Name: atoll.ScriptName(script)}})
	}
	return Compile(list)
}

func TestLookup(t *testing.T) {
	tab := table(t, "*/* all", "*.example.com/* sub", "*example.com/* both", "example.com/* apex", "example.com/images/* images",
		"example.com/images/cat exact", "example.com/off/*", "https://secure.test/* tls", "bare.test root", "tree.test* tree")
	for _, c := range []struct{ url, want string }{
		{"http other.test /", "all"},
		{"http www.example.com /a", "sub"},
		{"http WWW.Example.COM /a", "sub"},
		{"http myexample.com /a", "both"},
		{"http example.com /a", "apex"},
		{"http example.com /images/dog", "images"},
		{"http example.com /images/cat", "exact"},
		{"http example.com /off/x", ""},
		{"http secure.test /", "all"},
		{"https secure.test /", "tls"},
		{"http bare.test /", "root"},
		{"http bare.test /x", "all"},
		{"http tree.test /x", "tree"},
		{"http example.com /Images/dog", "apex"},
	} {
		f := strings.Fields(c.url)
		r, ok := tab.Lookup(f[0], f[1], f[2])
		if string(r.Script.Name) != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.url, r.Script.Name, ok, c.want)
		}
	}
	p, err := ParsePattern("*.routed.test/*")
	if err != nil {
		t.Fatal(err)
	}
	routed := Compile([]Route{{Pattern: p, Router: &atoll.Router{Kind: atoll.BySubdomain}}})
	if r, ok := routed.Lookup("http", "a.routed.test", "/"); !ok || r.Router == nil {
		t.Errorf("a route with a router: %+v, %v", r, ok)
	}
	if _, ok := table(t).Lookup("http", "a", "/"); ok {
		t.Error("an empty table matched")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, bad := range []string{"", "/", "/*", "a.*.com/*", "example.com/*/x", "example.com/?q", "ftp://a/*", "exa mple.com/*", "a/b#c", strings.Repeat("a", 2000) + "/*"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("%q was accepted as %+v", bad, p)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	f.Add("*.example.com/a*", "www.example.com", "/ab")
	f.Fuzz(func(t *testing.T, pattern, host, path string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		Compile([]Route{{Pattern: p, Script: atoll.ScriptRef{Name: "a"}}}).Lookup("http", host, path)
	})
}
