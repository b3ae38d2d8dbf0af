package hostile_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// claim is a test as docs/security.md names it: package, function, and perhaps a subtest.
var claim = regexp.MustCompile("`([a-z]+)\\.(Test[A-Za-z0-9]+)((?:/[a-z0-9-]+)*)`")

// TestClaimsAreHeld looks for every test that docs/security.md names.
func TestClaimsAreHeld(t *testing.T) {
	doc, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Skip("there are no documents beside this test") // where it runs as an ordinary user
	}
	sources := map[string]string{}
	cases := map[string]bool{}
	for group, list := range groups("", &site{canary: &httptest.Server{}}) {
		cases["/"+group] = true
		for _, a := range list {
			cases["/"+group+"/"+a.name] = true
		}
	}
	claims := claim.FindAllStringSubmatch(string(doc), -1)
	if len(claims) < 80 {
		t.Errorf("only %d claims", len(claims))
	}
	for _, c := range claims {
		pkg, function, subtest := c[1], c[2], c[3]
		if sources[pkg] == "" {
			sources[pkg] = read(t, "../"+pkg+"/*_test.go") + read(t, "../*/"+pkg+"/*_test.go") + read(t, "../../test/"+pkg+"/*_test.go") + read(t, "../"+pkg+"/testdata/escape/*.go")
		}
		switch {
		case !strings.Contains(sources[pkg], "func "+function+"(t *testing.T)"):
			t.Errorf("there is no %s.%s", pkg, function)
		case subtest == "":
		case pkg == "hostile" && !cases[subtest], pkg != "hostile" && !strings.Contains(sources[pkg], `"`+subtest[1:]+`"`):
			t.Errorf("%s.%s has no %s", pkg, function, subtest)
		}
	}
}

func read(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
