package upload

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/fault"
)

const (
	esm   = "application/javascript+module"
	hello = `export default { fetch() { return new Response("hi") } }`
)

// body writes a multipart body by hand: parts are header lines and content.
func body(parts ...string) string {
	var b strings.Builder
	for i := 0; i < len(parts); i += 2 {
		b.WriteString("--XX\r\n" + strings.ReplaceAll(parts[i], "\n", "\r\n") + "\r\n\r\n" + parts[i+1] + "\r\n")
	}
	return b.String() + "--XX--\r\n"
}

// names writes a part's header: its names, and its content type where there is one.
func names(name, filename, contentType string) string {
	h := `Content-Disposition: form-data; name="` + name + `"`
	if filename != "" {
		h += `; filename="` + filename + `"`
	}
	if contentType != "" {
		h += "\nContent-Type: " + contentType
	}
	return h
}

const form1 = "multipart/form-data; boundary=XX"

// reading is one request and what it is read as: module names and types, or an error.
type reading struct {
	name        string
	contentType string
	body        string
	want        string
}

var readings = []reading{
	{"metadata-after-modules", form1, body(names("files", "w.mjs", esm), hello, names("metadata", "", ""), `{"main_module":"w.mjs"}`), "w.mjs esm"},
	{"metadata-with-filename", form1, body(names("metadata", "metadata.json", "application/json"), `{"main_module":"w.mjs"}`, names("script", "w.mjs", esm), hello), "w.mjs esm"},
	{"entry-by-part-name", form1, body(names("metadata", "", ""), `{"main_module":"script"}`, names("script", "w.mjs", esm), hello), "script esm"},
	{"entry-by-filename-before-part-name", form1, body(names("metadata", "", ""), `{"main_module":"a"}`, names("a", "b", esm), "1", names("b", "a", esm), "2"), "b esm, a esm"},
	{"entry-without-dot-slash", form1, body(names("metadata", "", ""), `{"main_module":"./w.mjs"}`, names("w.mjs", "w.mjs", esm), hello), "./w.mjs esm"},
	{"entry-with-folder-stripped-by-client", form1, body(names("metadata", "", ""), `{"main_module":"src/w.mjs"}`, names("files[]", "w.mjs", esm), hello), "src/w.mjs esm"},
	{"plain-string-module", form1, body(names("metadata", "", ""), `{"main_module":"index.js"}`, names("index.js", "", ""), hello), "index.js esm"},
	{"text-javascript-module", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", "text/javascript+module"), hello), "w esm"},
	{"charset-parameter", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", "application/javascript+module; charset=utf-8"), hello), "w esm"},
	{"entry-as-plain-javascript", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", "application/javascript"), hello), "w esm"},
	{"common-js-beside", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("c.cjs", "c.cjs", "application/javascript"), "1"), "w esm, c.cjs commonjs"},
	{"all-types", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello,
		names("a", "./a/b.txt", "text/plain"), "1", names("b", "b.bin", "application/octet-stream"), "1", names("c", "c.wasm", "application/wasm"), "1",
		names("d", "d.json", "application/json"), "1", names("w.map", "w.map", "application/source-map"), "{}"),
		"w esm, ./a/b.txt text, b.bin data, c.wasm wasm, d.json json, w.map sourcemap"},
	{"types-by-extension", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello,
		names("l.mjs", "", ""), "1", names("c.cjs", "", ""), "1", names("w.js.map", "", ""), "{}", names("t.txt", "", ""), "t"),
		"w esm, l.mjs esm, c.cjs commonjs, w.js.map sourcemap, t.txt text"},
	{"service-worker", form1, body(names("metadata", "", ""), `{"body_part":"script"}`, names("script", "", "application/javascript"), "1"), "script commonjs"},
	{"service-worker-untyped", form1, body(names("metadata", "", ""), `{"body_part":"script"}`, names("script", "", ""), "1"), "script commonjs"},
	{"blob-parts-take-their-binding's-type", form1, body(names("metadata", "", ""),
		`{"body_part":"s","bindings":[{"type":"text_blob","name":"A","part":"pa"},{"type":"data_blob","name":"B","part":"pb"},{"type":"wasm_module","name":"C","part":"pc"}]}`,
		names("s", "", ""), "1", names("pa", "x/a.txt", ""), "1", names("pb", "", "application/weird"), "1", names("pc", "", ""), "1"),
		"s commonjs, pa text, pb data, pc wasm"},
	{"raw-script", "application/javascript", `addEventListener("fetch", f)`, "worker.js commonjs"},
	{"raw-script-text-javascript", "Text/JavaScript; charset=utf-8", `addEventListener("fetch", f)`, "worker.js commonjs"},
	{"raw-script-that-begins-with-dashes", "application/javascript", "--x\nfoo()", "worker.js commonjs"},
	{"raw-script-that-is-a-block", "application/javascript", `{ let x = 1 }`, "worker.js commonjs"},
	{"raw-script-that-is-json", "application/javascript", `{}`, "worker.js commonjs"},
	{"boundary-sniffed", "application/javascript", body(names("metadata[main_module]", "", ""), "w", names("files[]", "w", esm), hello), "w esm"},
	{"boundary-sniffed-whatever-the-type", "", body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello), "w esm"},
	{"boundary-sniffed-where-the-header-has-none", "multipart/form-data", body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello), "w esm"},
	{"line-feeds-alone", form1, strings.ReplaceAll(body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello), "\r\n", "\n"), "w esm"},
	{"json-under-javascript", "application/javascript", ` {"metadata":{"keep_bindings":["d1"]}}`, "metadata only"},
	{"json-with-empty-files", "application/javascript", `{"metadata":{},"files":[]}`, "metadata only"},
	{"metadata-only", form1, body(names("metadata", "", ""), `{"bindings":[]}`), "metadata only"},
	{"string-files-in-brackets", form1, body(names("metadata[main_module]", "", ""), "w.js", names("files[w.js]", "", ""), hello), "w.js esm"},
	{"quote-in-name", form1, body(names("metadata", "", ""), `{"main_module":"a\"b"}`, names(`a%22b`, `a%22b`, esm), hello), `a"b esm`},
	{"unicode-name", form1, body(names("metadata", "", ""), `{"main_module":"größe.mjs"}`, names(`größe.mjs`, `größe.mjs`, esm), hello), "größe.mjs esm"},
	{"transfer-encoding-is-not-decoded", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm)+"\nContent-Transfer-Encoding: quoted-printable", "a=3D"), "w esm"},

	{"no-content-type", "", hello, "415 10001: Content-Type must be one of: application/javascript, text/javascript, multipart/form-data"},
	{"json-content-type", "application/json", `{"metadata":{}}`, "415 10001: Content-Type must be one of: application/javascript, text/javascript, multipart/form-data"},
	{"module-content-type", esm, hello, "415 10001: Content-Type must be one of: application/javascript, text/javascript, multipart/form-data"},
	{"multipart-without-a-boundary", "multipart/form-data", hello, "400 10026: could not parse the request body: multipart/form-data without a boundary"},
	{"not-multipart", form1, hello, "400 10026: could not parse the request body: it is cut short or is no multipart form"},
	{"cut-short", form1, body(names("metadata", "", ""), "{}")[:60], "400 10026: could not parse the request body: it is cut short or is no multipart form"},
	{"part-without-a-name", form1, body("Content-Type: text/plain", "x"), "400 10026: could not parse the request body: a part has no name"},
	{"no-metadata", form1, body(names("w.mjs", "w.mjs", esm), hello), "400 10021: could not read content for part metadata"},
	{"metadata-no-json", form1, body(names("metadata", "", ""), "{", names("w", "w", esm), hello), "400 10021: could not read content for part metadata"},
	{"metadata-an-array", form1, body(names("metadata", "", ""), "[]"), "400 10021: could not read content for part metadata"},
	{"metadata-null", form1, body(names("metadata", "", ""), "null"), "400 10021: could not read content for part metadata"},
	{"metadata-twice", form1, body(names("metadata", "", ""), "{}", names("metadata", "", ""), "{}"), "400 10021: the part metadata was sent twice"},
	{"metadata-both-ways", form1, body(names("metadata", "", ""), "{}", names("metadata[main_module]", "", ""), "x"), "400 10021: metadata was sent both as a JSON part and as fields metadata[...]"},
	{"no-entry", form1, body(names("metadata", "", ""), "{}", names("w", "w", esm), hello), "400 10021: metadata must name the entry of the uploaded modules: main_module or body_part"},
	{"both-entries", form1, body(names("metadata", "", ""), `{"main_module":"a","body_part":"b"}`), "400 10021: metadata has both main_module and body_part: a Worker has one of them"},
	{"entry-not-uploaded", form1, body(names("metadata", "", ""), `{"main_module":"x.mjs"}`, names("w", "w", esm), hello), `400 10021: No such module "x.mjs".`},
	{"entry-without-modules", form1, body(names("metadata", "", ""), `{"main_module":"x.mjs"}`), `400 10021: No such module "x.mjs".`},
	{"entry-is-wasm", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", "application/wasm"), ""), "400 10021: module w has unsupported Content-Type application/wasm"},
	{"map-of-files-degraded-to-json", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("files", "files", "application/json"), "{}"), "400 10021: module files has unsupported Content-Type application/json"},
	{"python", form1, body(names("metadata", "", ""), `{"main_module":"e.py"}`, names("e.py", "e.py", "text/x-python"), ""), "400 10021: module e.py has unsupported Content-Type text/x-python"},
	{"unknown-type", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("x", "x", "image/png"), ""), "400 10021: module x has unsupported Content-Type image/png"},
	{"no-type", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("x", "x", ""), ""), "400 10021: module x has no Content-Type, and its name does not tell its type"},
	{"module-twice", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("files", "w", esm), ""), `400 10021: the module "w" was uploaded twice`},
	{"module-twice-by-another-name", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("files", "./w", esm), ""), `400 10021: the module "./w" was uploaded twice`},
	{"module-of-the-engine", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("files", "node:async_hooks", esm), ""), `400 10021: the module name "node:async_hooks" is not valid: names do not begin like a URL`},
	{"module-of-the-platform", form1, body(names("metadata", "", ""), `{"main_module":"./atoll-prelude.js"}`, names("x", "./atoll-prelude.js", esm), hello), `400 10021: the module name "./atoll-prelude.js" is not valid: it is one of the platform's own`},
	{"absolute-name", form1, body(names("metadata", "", ""), `{"main_module":"/w.js"}`, names("x", "/w.js", esm), hello), `400 10021: the module name "/w.js" is not valid: names are relative, they do not begin with a slash`},
	{"control-character-in-name", form1, body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("a%0Ab", "", esm), ""), `400 10021: the module name "a\nb" is not valid: names are 1 to 1024 bytes of UTF-8 without control characters`},
	{"files-in-json", "application/javascript", `{"metadata":{"main_module":"w"},"files":["export default {}"]}`, "400 10021: files must be parts of a multipart/form-data body, not JSON"},
	{"field-name-broken", form1, body(names("metadata[a", "", ""), "x"), `400 10021: could not parse the name of the field "metadata[a"`},
	{"field-twice", form1, body(names("metadata[main_module]", "", ""), "x", names("metadata[main_module]", "", ""), "y"), "400 10021: metadata[main_module] was sent twice"},
}

func TestRead(t *testing.T) {
	for _, c := range readings {
		t.Run(c.name, func(t *testing.T) {
			up, err := Read(c.contentType, http.Header{}, strings.NewReader(c.body), Limits{})
			if got := summary(up, err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// summary is an upload's modules or its error in one line.
func summary(up *Upload, err error) string {
	if err != nil {
		status := map[fault.Kind]string{fault.Invalid: "400", fault.TooLarge: "413", fault.Unsupported: "415"}[fault.KindOf(err)]
		if fault.Of(err) == nil {
			return "no fault: " + err.Error()
		}
		return status + " " + string(encode(fault.Of(err).Code)) + ": " + err.Error()
	}
	if !up.HasModules {
		return "metadata only"
	}
	var list []string
	for _, f := range up.Modules {
		list = append(list, f.Name+" "+string(f.Type))
	}
	return strings.Join(list, ", ")
}

// The content of a module must reach the Worker byte for byte.
func TestRead_keepsBytes(t *testing.T) {
	data := make([]byte, 300_000)
	rng := rand.NewChaCha8([32]byte{1})
	if _, err := rng.Read(data); err != nil {
		t.Fatal(err)
	}
	up, err := Read(form1, nil, strings.NewReader(body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello, names("d", "d", "application/octet-stream"), string(data))), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(up.Modules[1].Data, data) {
		t.Error("the module's bytes changed")
	}
}

func TestRead_limits(t *testing.T) {
	noise := func(n int) string {
		b := make([]byte, n)
		rng := rand.NewChaCha8([32]byte{2})
		_, _ = rng.Read(b) // never fails
		return string(b)
	}
	up := func(parts ...string) string {
		return body(append([]string{names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello}, parts...)...)
	}
	data, sourceMap := names("d", "d", "application/octet-stream"), names("m", "m", "application/source-map")
	for _, c := range []struct {
		name, body string
		lim        Limits
		want       string
	}{
		{"ten-megabytes-of-source-map", up(sourceMap, noise(12<<20)), Limits{}, "w esm, m sourcemap"},
		{"compressible", up(data, strings.Repeat("x", 20<<20)), Limits{}, "w esm, d data"},
		{"too-large-compressed", up(data, noise(11<<20)), Limits{}, "413 10027: Your Worker exceeded the size limit of 10 MB (compressed, without source maps)."},
		{"too-large-plain", up(data, strings.Repeat("x", 64<<20)), Limits{}, "413 10027: Your Worker exceeded the size limit of 64 MB (before compression, without source maps)."},
		{"body", up(sourceMap, noise(3<<20)), Limits{Body: 2 << 20}, "413 10027: the request body exceeds the size limit of 2 MB"},
		{"body-exactly", up(), Limits{Body: int64(len(up()))}, "w esm"},
		{"body-one-more", up(), Limits{Body: int64(len(up())) - 1}, "413 10027: the request body exceeds the size limit of " + string(encode(len(up())-1)) + " bytes"},
		{"metadata", body(names("metadata", "", ""), `{"x":"`+strings.Repeat("y", 1<<20)+`"}`), Limits{Metadata: 1 << 20}, "413 10027: metadata exceeds the size limit of 1 MB"},
		{"metadata-in-fields", body(names("metadata[a]", "", ""), strings.Repeat("y", 600), names("metadata[b]", "", ""), strings.Repeat("y", 600)), Limits{Metadata: 1000}, "413 10027: metadata exceeds the size limit of 1000 bytes"},
		{"parts", up(data, "", data, ""), Limits{Parts: 3}, "400 10021: the form has too many parts: at most 3 are allowed"},
		{"modules", up(data, "", data, ""), Limits{Modules: 2}, "400 10021: too many modules: at most 2 are allowed"},
		{"raw-script", "", Limits{}, "415 10001: Content-Type must be one of: application/javascript, text/javascript, multipart/form-data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ct := form1
			if c.body == "" {
				ct = ""
			}
			up, err := Read(ct, nil, strings.NewReader(c.body), c.lim)
			if got := summary(up, err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	_, err := Read("application/javascript", nil, strings.NewReader(noise(11<<20)), Limits{})
	if fault.Of(err) == nil || fault.Of(err).Code != 10027 {
		t.Errorf("a raw script of 11 MB: %v", err)
	}
}

// A reader in front that has a limit of its own, and one that breaks.
func TestRead_bodyErrors(t *testing.T) {
	text := body(names("metadata", "", ""), `{"main_module":"w"}`, names("w", "w", esm), hello)
	limited := http.MaxBytesReader(nil, io.NopCloser(strings.NewReader(text)), 100)
	if _, err := Read(form1, nil, limited, Limits{}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("MaxBytesReader: %v", err)
	}
	broken := io.MultiReader(strings.NewReader(text[:100]), brokenReader{})
	if _, err := Read(form1, nil, broken, Limits{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("broken connection: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestReadContent(t *testing.T) {
	module := func(meta ...string) string {
		return body(append(meta, names("w.mjs", "w.mjs", esm), hello)...)
	}
	for _, c := range []struct {
		name, header, value, body, want, entry string
	}{
		{"main-module-header", "CF-WORKER-MAIN-MODULE-PART", "w.mjs", module(), "w.mjs esm", "w.mjs"},
		{"body-part-header", "CF-WORKER-BODY-PART", "w.mjs", module(), "w.mjs commonjs", "w.mjs"},
		{"metadata-goes-before-the-header", "CF-WORKER-BODY-PART", "x", module(names("metadata", "", ""), `{"main_module":"w.mjs"}`), "w.mjs esm", "w.mjs"},
		{"header-where-metadata-names-no-entry", "CF-WORKER-MAIN-MODULE-PART", "w.mjs", module(names("metadata", "", ""), `{}`), "w.mjs esm", "w.mjs"},
		{"nothing-names-the-entry", "X", "", module(), "400 10021: metadata must name the entry of the uploaded modules: main_module or body_part", ""},
		{"no-module", "X", "", body(names("metadata", "", ""), `{}`), "400 10021: no module was uploaded", ""},
		{"metadata-alone-names-the-entry", "X", "", body(names("metadata", "", ""), `{"main_module":"w"}`), "400 10021: no module was uploaded", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			h.Set(c.header, c.value)
			up, err := ReadContent(form1, h, strings.NewReader(c.body), Limits{})
			if got := summary(up, err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if err == nil && up.Metadata.MainModule+up.Metadata.BodyPart != c.entry {
				t.Errorf("entry is %+v", up.Metadata)
			}
		})
	}
	up, err := ReadContent(form1, nil, strings.NewReader(module(names("metadata", "", ""), `{"main_module":"w.mjs","tags":["a"],"bindings":[],"x":1}`)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if md := up.Metadata; md.Tags != nil || md.Bindings != nil || md.Extra != nil {
		t.Errorf("content carries settings: %+v", md)
	}
}

func TestReadSettings(t *testing.T) {
	for _, c := range []struct{ name, contentType, body, want string }{
		{"json-part", form1, body(names("settings", "", ""), `{"tags":["a"]}`), `{"Tags":["a"]}`},
		{"json-part-with-filename", form1, body(names("settings", "settings", "application/json"), `{"tags":["a"]}`), `{"Tags":["a"]}`},
		{"brackets", form1, body(names("settings[tags][]", "", ""), "a", names("settings[logpush]", "", ""), "true"), `{"Logpush":true,"Tags":["a"]}`},
		{"plain-json", "application/json", `{"logpush":true}`, `{"Logpush":true}`},
		{"plain-json-without-type", "", `{"logpush":true}`, `{"Logpush":true}`},
		{"plain-json-as-text", "text/plain;charset=UTF-8", `{"logpush":true}`, `{"Logpush":true}`},
		{"plain-json-wrapped", "application/json", `{"settings":{"logpush":true}}`, `{"Logpush":true}`},
		{"wrangler-script-settings", "application/json", `{"tail_consumers":[{"service":"t"}],"observability":{"enabled":true},"tags":[]}`,
			`{"Observability":{"enabled":true},"Tags":[],"TailConsumers":[{"service":"t"}]}`},
		{"secret-as-it-was-read", "application/json", `{"bindings":[{"name":"S","type":"secret_text"},{"name":"K","type":"secret_key","algorithm":"HMAC","format":"raw","usages":["sign"]}]}`,
			`{"Bindings":[{"Fields":{"name":"S","type":"secret_text"},"Name":"S","Type":"secret_text"},{"Fields":{"algorithm":"HMAC","format":"raw","name":"K","type":"secret_key","usages":["sign"]},"Name":"K","Type":"secret_key"}]}`},
		{"empty", form1, body(names("other", "", ""), "x"), "error invalid 10021: could not read content for part settings"},
		{"no-json", "application/json", "nope", "error invalid 10026: could not parse the request body: settings must be a JSON object"},
		{"wrong-field", "application/json", `{"logpush":"yes"}`, "error invalid 10021: settings.logpush must be true or false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			md, err := ReadSettings(c.contentType, strings.NewReader(c.body), Limits{})
			if got := oneLine(show(md, err)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
