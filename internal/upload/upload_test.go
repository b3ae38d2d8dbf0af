package upload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"atoll.dev/atoll/internal/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/read.txtar")

// recorded is a request of a real client, from testdata.
type recorded struct {
	name   string
	header http.Header
	body   []byte
}

func recordings(t testing.TB) []recorded {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.http")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	var list []recorded
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		list = append(list, recorded{strings.TrimSuffix(filepath.Base(path), ".http"), req.Header, body})
	}
	return list
}

// read reads a recording as the endpoint it was sent to does, into text.
func (r recorded) read() string {
	ct, body := r.header.Get("Content-Type"), bytes.NewReader(r.body)
	var v any
	var err error
	switch {
	case strings.HasSuffix(r.name, "-settings"):
		v, err = ReadSettings(ct, body, Limits{})
	case strings.HasSuffix(r.name, "-content"):
		v, err = ReadContent(ct, r.header, body, Limits{})
	default:
		v, err = Read(ct, r.header, body, Limits{})
	}
	return show(v, err)
}

// show is an upload or an error as readable text.
func show(v any, err error) string {
	if err != nil {
		return fmt.Sprintf("error %v %d: %v\n", fault.KindOf(err), fault.Of(err).Code, err)
	}
	if up, ok := v.(*Upload); ok {
		type file struct{ Name, Type, ContentType, Data string }
		files := []file{}
		for _, f := range up.Modules {
			files = append(files, file{f.Name, string(f.Type), f.ContentType, string(f.Data)})
		}
		v = map[string]any{"Metadata": up.Metadata, "Modules": files}
	}
	flat, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var tree any
	if err := json.Unmarshal(flat, &tree); err != nil {
		return err.Error()
	}
	out := &bytes.Buffer{}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(prune(tree)); err != nil {
		return err.Error()
	}
	return out.String()
}

// prune leaves out what was not sent.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if inner == nil || inner == "" {
				delete(v, k)
				continue
			}
			v[k] = prune(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = prune(inner)
		}
	}
	return v
}

func TestRead_recordings(t *testing.T) {
	const golden = "testdata/read.txtar"
	got := &txtar.Archive{Comment: []byte("What each recorded request is read as. Rewritten by go test -update.\n")}
	for _, r := range recordings(t) {
		got.Files = append(got.Files, txtar.File{Name: r.name, Data: []byte(r.read())})
	}
	if *update {
		if err := os.WriteFile(golden, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{}
	for _, f := range want.Files {
		wants[f.Name] = string(f.Data)
	}
	for _, f := range got.Files {
		t.Run(f.Name, func(t *testing.T) {
			if d := cmp.Diff(wants[f.Name], string(f.Data)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// Every major version of the TypeScript SDK was given the same calls.
func TestRead_sdksAgree(t *testing.T) {
	byName := map[string]recorded{}
	for _, r := range recordings(t) {
		byName[r.name] = r
	}
	// Not migrations: a step's border is lost in brackets, and two steps become one that does both (see read.txtar).
	for _, call := range []string{"upload", "metadata-only", "settings", "content"} {
		want := byName["sdk5-"+call].read()
		if strings.HasPrefix(want, "error") {
			t.Errorf("sdk5-%s: %s", call, want)
		}
		for _, major := range []string{"sdk3", "sdk4", "sdk6", "sdk7"} {
			got := byName[major+"-"+call].read()
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s-%s differs from sdk5 (-5 +%s)\n%s", major, call, major, d)
			}
		}
	}
}
