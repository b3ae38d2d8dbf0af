package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The patterns of .assetsignore, by what gitignore(5) says of them.
func TestIgnore(t *testing.T) {
	for _, c := range []struct {
		patterns string
		yes, no  string
	}{
		{"draft.txt", "draft.txt a/draft.txt", "draft.txt.html adraft.txt"},
		{"/draft.txt", "draft.txt", "a/draft.txt"},
		{"*.map", "app.js.map a/b.map", "map app.maps"},
		{"a/*.js", "a/x.js", "a/b/x.js b/a/x.js"},
		{"build/", "build/ a/build/", "build"},
		{"**/tmp", "tmp a/b/tmp", "tmpx"},
		{"a/**/z", "a/z a/b/z a/b/c/z", "z a/zz"},
		{"logs/**", "logs/a logs/a/b", "logs"},
		{"*.txt\n!keep.txt", "a.txt", "keep.txt"},
		{"# comment\n\n\\#x", "#x", "comment"},
		{"a?c", "abc", "ac a/c"},
		{"[ab].js\n[!x]y", "a.js b.js zy", "c.js xy"},
		{"trailing   ", "trailing", ""},
		{"[", "[", "x"},
		{"[z-a]", "", "z"},
		{"a(b).js", "a(b).js", "ab.js"},
	} {
		g := parseIgnore(c.patterns)
		for _, set := range []struct {
			paths string
			want  bool
		}{{c.yes, true}, {c.no, false}} {
			for _, p := range strings.Fields(set.paths) {
				name, dir := strings.CutSuffix(p, "/")
				if got := g.match(name, dir); got != set.want {
					t.Errorf("%q: %s is ignored: %v", c.patterns, p, got)
				}
			}
		}
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("a/**/b\n!x\n[a-z]", "a/b")
	f.Fuzz(func(t *testing.T, patterns, path string) { parseIgnore(patterns).match(path, false) })
}

func TestReadSite(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"index.html": "hi", "a/b.css": "", "a/draft/x.txt": "x", "_headers": "h", "_redirects": "r", "_worker.js": "w",
		".assetsignore": "draft\n", ".well-known/t": "hi", "a/_headers": "a file"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("index.html", filepath.Join(dir, "link.html")); err != nil {
		t.Fatal(err)
	}
	s, err := readSite(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/index.html", "/a/b.css", "/.well-known/t", "/a/_headers", "/link.html"} {
		if _, ok := s.manifest[path]; !ok {
			t.Errorf("%s is not there", path)
		}
	}
	if len(s.manifest) != 5 || len(s.byHash) != 3 || s.size != 12 || s.headers != "h" || s.redirects != "r" || filepath.Base(s.worker) != "_worker.js" {
		t.Errorf("site is %+v", s)
	}
	if got := s.manifest["/index.html"].Hash; got != "8f434346648f6b96df89dda901c5176b" {
		t.Errorf("hash is %s", got)
	}
	if _, err := readSite(filepath.Join(dir, "nope")); err == nil {
		t.Error("read a folder that is not there")
	}
}
