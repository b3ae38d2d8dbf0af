package workerd_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

var update = flag.Bool("update", false, "rewrite the stderr and message of testdata/startup from the engine")

// TestParseStartupError runs every bad Worker of testdata/startup. Each archive holds its modules, what workerd wrote when
// the archive was made, and the message: the recorded stderr and that of the engine of today must both parse to it.
// A comment line "key: value" sets one of settings.
func TestParseStartupError(t *testing.T) {
	files, _ := filepath.Glob("testdata/startup/*.txtar")
	if len(files) < 12 {
		t.Fatalf("found %d archives", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			stderr := runArchive(t, ar)
			if *update {
				rewrite(t, file, ar, stderr)
			}
			want := strings.TrimSuffix(string(section(t, ar, "message").Data), "\n")
			checkParse(t, "recorded", section(t, ar, "stderr").Data, want)
			checkParse(t, "engine's", stderr, want)
		})
	}
}

func checkParse(t *testing.T, which string, stderr []byte, want string) {
	t.Helper()
	got, ok := workerd.ParseStartupError(stderr)
	if got != want || ok != (want != "") {
		t.Errorf("%s stderr: got %v %q\nwant %q\nfrom\n%s", which, ok, got, want, stderr)
	}
}

// runArchive starts the archive's Worker behind a wrapper and returns what workerd writes.
func runArchive(t *testing.T, ar *txtar.Archive) []byte {
	t.Helper()
	cfg := hello(`import * as user from "./worker.js"; export default { fetch: (...args) => user.default.fetch(...args) }`)
	w := cfg.Services[0].Kind.(workerd.Worker)
	w.Modules[0].Name = workerd.Wrapper
	for _, f := range ar.Files {
		switch {
		case f.Name == workerd.Wrapper:
			w.Modules[0].Body = f.Data
		case f.Name != "stderr" && f.Name != "message":
			w.Modules = append(w.Modules, workerd.Module{Name: f.Name, Kind: kinds[filepath.Ext(f.Name)], Body: f.Data})
		}
	}
	runs := false
	for line := range strings.Lines(string(ar.Comment)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); name {
		case "date":
			w.CompatibilityDate = value
		case "flags":
			w.CompatibilityFlags = strings.Fields(value)
		case "v8":
			cfg.V8Flags = strings.Fields(value)
		case "key":
			w.Bindings = []workerd.Binding{{Name: "KEY", Value: key(workerd.HexKey, value, "sign")}}
		case "logging":
			cfg.Logging.Structured = value == "structured"
		case "runs":
			runs = true
		}
	}
	cfg.Services[0].Kind = w
	s := workerdtest.Serve(t, cfg)
	if !runs {
		return s.Stderr()
	}
	res, err := s.Client(t, "in").Get("http://x/")
	if err == nil {
		res.Body.Close()
	}
	return s.Stop()
}

var kinds = map[string]workerd.ModuleKind{
	".cjs": workerd.CommonJSModule, ".wasm": workerd.WasmModule, ".json": workerd.JSONModule, ".txt": workerd.TextModule,
}

func section(t *testing.T, ar *txtar.Archive, name string) *txtar.File {
	t.Helper()
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			return &ar.Files[i]
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: name})
	return &ar.Files[len(ar.Files)-1]
}

func rewrite(t *testing.T, file string, ar *txtar.Archive, stderr []byte) {
	t.Helper()
	bin := workerdtest.Binary(t).Path
	section(t, ar, "stderr").Data = []byte(strings.ReplaceAll(string(stderr), bin, "workerd"))
	message, _ := workerd.ParseStartupError(stderr)
	if message != "" {
		message += "\n"
	}
	section(t, ar, "message").Data = []byte(message)
	if err := os.WriteFile(file, txtar.Format(ar), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestParseStartupErrorBounds(t *testing.T) {
	got, ok := workerd.ParseStartupError([]byte("service main: Uncaught Error: " + strings.Repeat("é", 100_000)))
	if !ok || len(got) > 9<<10 || !strings.HasSuffix(got, "é...") {
		t.Errorf("%v, %d bytes", ok, len(got))
	}
	if got, ok := workerd.ParseStartupError(nil); ok {
		t.Errorf("nothing: %q", got)
	}
}

func FuzzParseStartupError(f *testing.F) {
	files, _ := filepath.Glob("testdata/startup/*.txtar")
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range ar.Files {
			if s.Name == "stderr" {
				f.Add(s.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, stderr []byte) {
		if got, ok := workerd.ParseStartupError(stderr); len(got) > 9<<10 || !ok && got != "" {
			t.Errorf("%v, %d bytes", ok, len(got))
		}
	})
}

// What the engine says of a socket for what a Worker that did not load does not export is no part of the reason.
func TestParseStartupErrorBesideASocket(t *testing.T) {
	checkParse(t, "a named entrypoint's", []byte("service main: Uncaught ReferenceError: x is not defined\n  at worker.js:1:1\n"+
		`Socket "rpc" refers to service "main" with a named entrypoint "atoll rpc", but "main" has no such named entrypoint.`+"\n"),
		"Uncaught ReferenceError: x is not defined\n  at worker.js:1:1")
}
