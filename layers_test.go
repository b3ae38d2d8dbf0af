// Package atoll_test holds the tests of the repository as a whole: which package may import which, that every package
// introduces itself, that subtests can be named on a command line, and what no file may hold.
//
// It is not where behaviour is tested. Its invariant: it parses the files itself instead of asking the go command, whose
// cached answer would hide a bad import. Nothing here runs concurrently.
package atoll_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "atoll.dev/atoll"

// layers lists the packages under internal from the bottom up. A package imports those of lower layers only, and of the
// first layer those named before it; siblings do not import each other.
var layers = [][]string{
	{"fault", "atoll", "wire", "turns"}, // words: the standard library only
	{"durable", "sqlite"},               // files
	{"limits", "route", "hop", "invocation", "sandbox", "prefault", "terminate", "workerd", "upload", "store"},                 // leaves
	{"auth", "kv", "d1", "r2", "queue", "analytics", "ratelimit", "objects", "cache", "assets", "egress", "isolate", "router"}, // services
	{"dispatch"},                            // which process serves a version
	{"binding", "deploy", "cron", "backup"}, // decisions
	{"edge", "api", "s3"},                   // faces
	{"node"},                                // wiring
	{"nodetest"},                            // a whole node in a test
}

// clientSide is the other program in the binary: it talks to a node over HTTP, and sees the words alone.
var clientSide = []string{"client", "cli"}

// exceptions are imports that the layers forbid and we want, each with its reason.
var exceptions = map[[2]string]string{
	{"cli", "client"}: "the commands are a client of the REST API",
}

// forbidden are imports that the layers would allow and that would couple what must stay apart.
var forbidden = []struct {
	from []string
	to   []string
	why  string
}{
	{[]string{"edge"}, []string{"store", "auth", "deploy", "upload", "wire"},
		"traffic flows while the control plane is down"},
	{[]string{"dispatch", "isolate", "binding", "egress"}, []string{"auth", "wire", "upload"},
		"the data plane knows nothing of API tokens and REST shapes"},
	{[]string{"sandbox", "limits", "route"}, []string{"hop", "wire"},
		"these know nothing of HTTP"},
	{[]string{"store", "kv", "d1", "r2", "queue", "assets", "deploy"}, []string{"wire"},
		"REST shapes are for the border, and are never stored"},
}

// libraries say which packages may import which module from outside; "test" stands for every _test.go file. A module
// that is not here is imported nowhere: adding one is a decision, and has a line in docs/dependencies.md.
var libraries = map[string][]string{
	"github.com/go-chi/chi/v5":        {"api"},
	"github.com/google/go-cmp":        {"test"},
	"github.com/klauspost/compress":   {"edge", "upload", "deploy", "assets"},
	"github.com/adhocore/gronx":       {"cron"},
	"github.com/golang-jwt/jwt/v5":    {"assets"},
	"github.com/rogpeppe/go-internal": {"test"},
	"github.com/spf13/cobra":          {"cli"},
	"github.com/spf13/pflag":          {"cli"},
	"github.com/zeebo/blake3":         {"assets"},
	"github.com/vektah/gqlparser":     {"api"},
	"golang.org/x/net":                {"edge", "hop", "egress", "dispatch", "isolate", "node", "api", "test"},
	"golang.org/x/sync":               {"anyone"},
	"golang.org/x/sys":                {"anyone"},
	"modernc.org/sqlite":              {"sqlite", "kv", "d1"},
	"modernc.org/libc":                {"d1"},
}

func TestLayers(t *testing.T) {
	level := map[string]int{}
	for i, names := range layers {
		for _, n := range names {
			level[n] = i
		}
	}
	for _, f := range goFiles(t) {
		if f.test || !strings.HasPrefix(f.path, "internal/") {
			continue
		}
		for _, imp := range f.internalImports() {
			if why := refused(level, f.pkg, imp); why != "" {
				t.Errorf("%s: %s may not import %s: %s", f.path, f.pkg, imp, why)
			}
		}
	}
}

// The table itself: a few imports it must refuse, and some it must not.
func TestLayersRefuse(t *testing.T) {
	level := map[string]int{}
	for i, names := range layers {
		for _, n := range names {
			level[n] = i
		}
	}
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"deploy", "store", true},
		{"store", "deploy", false},
		{"edge", "api", false},
		{"edge", "store", false},
		{"edge", "dispatch", true},
		{"cli", "client", true},
		{"cli", "store", false},
		{"client", "wire", true},
		{"wire", "atoll", true},
		{"fault", "atoll", false},
		{"kv/kvtest", "kv", true},
		{"unheard-of", "fault", false},
	} {
		if why := refused(level, c.from, c.to); (why == "") != c.ok {
			t.Errorf("%s importing %s: %q", c.from, c.to, why)
		}
	}
}

// refused returns why package from may not import package to, both named by their folder under internal, or "".
func refused(level map[string]int, from, to string) string {
	from, to = noun(from), noun(to)
	if from == to || exceptions[[2]string{from, to}] != "" {
		return ""
	}
	for _, f := range forbidden {
		if slices.Contains(f.from, from) && slices.Contains(f.to, to) {
			return f.why
		}
	}
	lower, known := level[to]
	if slices.Contains(clientSide, from) {
		if !known || lower > 0 {
			return "the client side sees the words (" + strings.Join(layers[0], ", ") + ") alone"
		}
		return ""
	}
	upper, ok := level[from]
	switch {
	case !ok:
		return "it is in no layer of layers_test.go"
	case !known:
		return "that is in no layer of layers_test.go"
	case lower < upper, upper == 0 && slices.Index(layers[0], to) < slices.Index(layers[0], from):
		return ""
	}
	return "imports go down the layers"
}

func TestLibraries(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.imports {
			first, _, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") || imp == module || strings.HasPrefix(imp, module+"/") {
				continue
			}
			users, ok := libraries[moduleOf(imp)]
			switch {
			case !ok:
				t.Errorf("%s: %s is in no line of libraries in layers_test.go", f.path, imp)
			case slices.Contains(users, "anyone"), slices.Contains(users, noun(f.pkg)), f.test && slices.Contains(users, "test"):
			case f.test && len(users) > 0: // a test may use what the product uses
			default:
				t.Errorf("%s: %s is for %s", f.path, imp, strings.Join(users, ", "))
			}
		}
	}
}

// moduleOf returns the entry of libraries that an import path belongs to.
func moduleOf(imp string) string {
	for ; imp != "."; imp = path.Dir(imp) {
		if _, ok := libraries[imp]; ok {
			return imp
		}
	}
	return ""
}

// The test kits (nodetest and the like) link package testing, so no product code may import them.
func TestKitsAreForTests(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || strings.HasSuffix(f.pkg, "test") {
			continue
		}
		for _, imp := range f.internalImports() {
			if strings.HasSuffix(imp, "test") {
				t.Errorf("%s: %s is for tests only", f.path, imp)
			}
		}
	}
}

func TestOnlyTheProgramJoinsClientAndServer(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.internalImports() {
			if imp == "node" && !slices.Contains([]string{"cmd/atoll", "nodetest", "node", "hostile"}, f.pkg) {
				t.Errorf("%s: only cmd/atoll and the tests of a whole node import node", f.path)
			}
		}
	}
}

func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{} // folder: the files with a package comment
	short := map[string]bool{}
	product := map[string]bool{}
	for _, f := range goFiles(t) {
		dir := path.Dir(f.path)
		product[dir] = product[dir] || !f.test
	}
	for _, f := range goFiles(t) {
		dir := path.Dir(f.path)
		if f.test && product[dir] {
			if f.doc != "" && !strings.HasSuffix(f.name, "_test") {
				t.Errorf("%s: the package comment belongs into a file of the package, not of its tests", f.path)
			}
			continue
		}
		if f.doc == "" {
			if _, ok := docs[dir]; !ok {
				docs[dir] = nil
			}
			continue
		}
		docs[dir] = append(docs[dir], f.path)
		short[dir] = len(strings.Fields(f.doc)) < 30
		want := "Package " + f.name + " "
		if f.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(f.doc, want) {
			t.Errorf("%s: the package comment does not begin with %q", f.path, want)
		}
	}
	for dir, files := range docs {
		switch {
		case len(files) == 0:
			t.Errorf("%s: no file has a package comment", dir)
		case len(files) > 1:
			t.Errorf("%s: more than one package comment: %s", dir, strings.Join(files, ", "))
		case short[dir]:
			t.Errorf("%s: its package comment should say what it is, what it is not, its invariant and its concurrency", dir)
		}
	}
}

var kebab = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// A subtest's name must survive being pasted behind -run, so names are kebab-case: those given to t.Run as a literal,
// and those of the fields called name in the tables of a file that calls t.Run(x.name, ...).
func TestSubtestNames(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test {
			continue
		}
		byField := false
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			if fun, ok := call.Fun.(*ast.SelectorExpr); !ok || fun.Sel.Name != "Run" {
				return true
			}
			switch arg := call.Args[0].(type) {
			case *ast.BasicLit:
				checkSubtestName(t, f, arg)
			case *ast.SelectorExpr:
				byField = byField || arg.Sel.Name == "name"
			}
			return true
		})
		if !byField {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, ok := kv.Key.(*ast.Ident)
			lit, isLit := kv.Value.(*ast.BasicLit)
			if ok && isLit && key.Name == "name" {
				checkSubtestName(t, f, lit)
			}
			return true
		})
	}
}

func checkSubtestName(t *testing.T, f *goFile, lit *ast.BasicLit) {
	t.Helper()
	name, err := strconv.Unquote(lit.Value)
	if err == nil && lit.Kind == token.STRING && !kebab.MatchString(name) {
		t.Errorf("%s:%d: subtest name %q is not kebab-case", f.path, f.fset.Position(lit.Pos()).Line, name)
	}
}

// maxLines is where a file has stopped being about one thing.
const maxLines = 600

func TestFileSizes(t *testing.T) {
	for _, f := range goFiles(t) {
		switch lines := strings.Count(f.text, "\n"); {
		case lines > maxLines:
			t.Errorf("%s: %d lines, at most %d", f.path, lines, maxLines)
		case lines > maxLines-100:
			t.Logf("%s: %d lines is long", f.path, lines)
		}
	}
}

// The names of package registries are the business of the machine, not of the repository: lock files come without them.
func TestNoRegistryNames(t *testing.T) {
	hosts := []string{"registry.npm" + "js", "registry.yarn" + "pkg", "proxy.go" + "lang", "sum.go" + "lang", "deb.deb" + "ian.org"}
	walk(t, func(p string) {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hosts {
			if strings.Contains(string(text), h) {
				t.Errorf("%s: names the registry %s", p, h)
			}
		}
	})
}

// goFile is one Go file of the module, parsed.
type goFile struct {
	path    string // slash-separated, from the root
	pkg     string // its folder under internal, or its folder, or "" for the root
	name    string // of the package clause
	test    bool
	doc     string
	text    string
	imports []string
	syntax  *ast.File
	fset    *token.FileSet
}

// internalImports returns the packages under internal that f imports, by their folder.
func (f *goFile) internalImports() []string {
	var out []string
	for _, imp := range f.imports {
		if rest, ok := strings.CutPrefix(imp, module+"/internal/"); ok {
			out = append(out, rest)
		}
	}
	return out
}

// goFiles parses every Go file of this module; nested modules (tools, test/clients/gosdk) are not of it.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var out []*goFile
	walk(t, func(p string) {
		if path.Ext(p) != ".go" || nested(p) {
			return
		}
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		syntax, err := parser.ParseFile(fset, p, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		f := &goFile{path: p, name: syntax.Name.Name, test: strings.HasSuffix(p, "_test.go"), text: string(text),
			syntax: syntax, fset: fset}
		if dir := path.Dir(p); dir != "." {
			f.pkg = strings.TrimPrefix(dir, "internal/")
		}
		if syntax.Doc != nil {
			f.doc = syntax.Doc.Text()
		}
		for _, spec := range syntax.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			f.imports = append(f.imports, imp)
		}
		out = append(out, f)
	})
	if len(out) == 0 {
		t.Fatal("found no Go file")
	}
	return out
}

// nested says whether a folder above p, other than the root, has a go.mod of its own.
func nested(p string) bool {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

// walk calls f with each file of the repository, without what git or a build put there.
func walk(t *testing.T, f func(p string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "node_modules", "bin", "atoll-data", "atoll-demo":
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			f(filepath.ToSlash(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// noun returns the first element of a package's folder: kv/kvtest belongs to kv.
func noun(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}
