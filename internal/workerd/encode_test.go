package workerd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

// The configurations that workerd's compiler and Encode must agree on, in workerd's text form and in ours.
var configs = []struct {
	name string
	text string
	cfg  workerd.Config
}{
	{"empty", `()`, workerd.Config{}},
	{"process", `(
		v8Flags = ["--max-heap-size=32", "--single-threaded"],
		autogates = ["gate"],
		logging = (structuredLogging = true, stdoutPrefix = "out", stderrPrefix = "err"),
	)`, workerd.Config{
		V8Flags:   []string{"--max-heap-size=32", "--single-threaded"},
		Autogates: []string{"gate"},
		Logging:   workerd.Logging{Structured: true, StdoutPrefix: "out", StderrPrefix: "err"},
	}},
	{"sockets", `(sockets = [
		(name = "in", http = (), service = "main"),
		(name = "rpc", address = "unix:/run/rpc.sock", service = (name = "main", entrypoint = "Admin", props = (json = "{\"a\":1}")),
			http = (style = proxy, forwardedProtoHeader = "x-proto", cfBlobHeader = "cf-blob", capnpConnectHost = "rpc",
				injectRequestHeaders = [(name = "a", value = "1"), (name = "b")],
				injectResponseHeaders = [(name = "server", value = "atoll")])),
	])`, workerd.Config{Sockets: []workerd.Socket{
		{Name: "in", Service: workerd.Designator{Name: "main"}},
		{
			Name: "rpc", Address: "unix:/run/rpc.sock",
			Service: workerd.Designator{Name: "main", Entrypoint: "Admin", Props: json.RawMessage(`{"a":1}`)},
			HTTP: workerd.HTTPOptions{
				Proxy: true, ForwardedProtoHeader: "x-proto", CfBlobHeader: "cf-blob", CapnpConnectHost: "rpc",
				InjectRequestHeaders:  []workerd.Header{{Name: "a", Value: "1"}, {Name: "b"}},
				InjectResponseHeaders: []workerd.Header{{Name: "server", Value: "atoll"}},
			},
		},
	}}},
	{"services", `(services = [
		(name = "out", external = (address = "unix:/run/out.sock", http = (injectRequestHeaders = [(name = "atoll-service", value = "egress")]))),
		(name = "internet", network = (allow = ["private", "public"], deny = ["10.0.0.0/8"])),
		(name = "nowhere", network = (allow = [])),
		(name = "public", network = ()),
		(name = "disk", disk = (path = "/data", writable = true)),
		(name = "dots", disk = (path = "/data", allowDotfiles = true)),
	])`, workerd.Config{Services: []workerd.Service{
		{Name: "out", Kind: workerd.External{Address: "unix:/run/out.sock", HTTP: workerd.HTTPOptions{
			InjectRequestHeaders: []workerd.Header{{Name: "atoll-service", Value: "egress"}},
		}}},
		{Name: "internet", Kind: workerd.Network{Allow: []string{"private", "public"}, Deny: []string{"10.0.0.0/8"}}},
		{Name: "nowhere", Kind: workerd.Network{Allow: []string{}}},
		{Name: "public", Kind: workerd.Network{}},
		{Name: "disk", Kind: workerd.Disk{Path: "/data", Writable: true}},
		{Name: "dots", Kind: workerd.Disk{Path: "/data", AllowDotfiles: true}},
	}}},
	{"modules", `(services = [(name = "main", worker = (
		modules = [
			(name = "main.js", esModule = "export default {}"),
			(name = "common.js", commonJsModule = "exports.a = 1", namedExports = ["a", "b"]),
			(name = "t.txt", text = "Grüße"),
			(name = "d.bin", data = 0x"00 01 ff"),
			(name = "w.wasm", wasm = 0x"00 61 73 6d 01 00 00 00"),
			(name = "j.json", json = "{}"),
			(name = "none.txt", text = ""),
		],
		compatibilityDate = "2026-11-01",
		compatibilityFlags = ["nodejs_compat", "nodejs_als"],
	))])`, worker(workerd.Worker{
		Modules: []workerd.Module{
			{Name: "main.js", Body: []byte("export default {}")},
			{Name: "common.js", Kind: workerd.CommonJSModule, Body: []byte("exports.a = 1"), NamedExports: []string{"a", "b"}},
			{Name: "t.txt", Kind: workerd.TextModule, Body: []byte("Grüße")},
			{Name: "d.bin", Kind: workerd.DataModule, Body: []byte{0, 1, 0xff}},
			{Name: "w.wasm", Kind: workerd.WasmModule, Body: []byte("\x00asm\x01\x00\x00\x00")},
			{Name: "j.json", Kind: workerd.JSONModule, Body: []byte("{}")},
			{Name: "none.txt", Kind: workerd.TextModule},
		},
		CompatibilityDate:  "2026-11-01",
		CompatibilityFlags: []string{"nodejs_compat", "nodejs_als"},
	})},
	{"service-worker", `(services = [(name = "main", worker = (
		serviceWorkerScript = "addEventListener('fetch', () => {})", compatibilityDate = "2026-11-01",
		bindings = [(name = "W", wasmModule = 0x"00 61 73 6d 01 00 00 00")]
	))])`, worker(workerd.Worker{
		ServiceWorkerScript: []byte("addEventListener('fetch', () => {})"), CompatibilityDate: "2026-11-01",
		Bindings: []workerd.Binding{{Name: "W", Value: workerd.WasmGlobal("\x00asm\x01\x00\x00\x00")}},
	})},
	{"outbound", `(services = [(name = "main", worker = (
		modules = [(name = "main.js", esModule = "")],
		globalOutbound = "egress", cacheApiOutbound = (name = "cache", entrypoint = "C"),
		tails = ["tail", (name = "logs", entrypoint = "L")], streamingTails = ["stream"],
	))])`, worker(workerd.Worker{
		Modules:          []workerd.Module{{Name: "main.js"}},
		GlobalOutbound:   &workerd.Designator{Name: "egress"},
		CacheAPIOutbound: &workerd.Designator{Name: "cache", Entrypoint: "C"},
		Tails:            []workerd.Designator{{Name: "tail"}, {Name: "logs", Entrypoint: "L"}},
		StreamingTails:   []workerd.Designator{{Name: "stream"}},
	})},
	{"durable-objects", `(services = [
		(name = "main", worker = (modules = [(name = "main.js", esModule = "")],
			durableObjectNamespaces = [
				(className = "A", uniqueKey = "key-a", enableSql = true),
				(className = "B", uniqueKey = "key-b", preventEviction = true),
			],
			durableObjectStorage = (localDisk = "disk"))),
		(name = "memory", worker = (modules = [(name = "main.js", esModule = "")], durableObjectStorage = (inMemory = void))),
	])`, workerd.Config{Services: []workerd.Service{
		{Name: "main", Kind: workerd.Worker{
			Modules: []workerd.Module{{Name: "main.js"}},
			DurableObjectNamespaces: []workerd.DurableObjectNamespace{
				{ClassName: "A", UniqueKey: "key-a", EnableSQL: true},
				{ClassName: "B", UniqueKey: "key-b", PreventEviction: true},
			},
			DurableObjectStorage: workerd.Storage{LocalDisk: "disk"},
		}},
		{Name: "memory", Kind: workerd.Worker{
			Modules:              []workerd.Module{{Name: "main.js"}},
			DurableObjectStorage: workerd.Storage{InMemory: true},
		}},
	}}},
	{"bindings", `(services = [(name = "main", worker = (modules = [(name = "main.js", esModule = "")], bindings = [
		(name = "T", text = "text"),
		(name = "NONE", text = ""),
		(name = "D", data = 0x"00 ff"),
		(name = "J", json = "[1]"),
		(name = "S", service = (name = "other", entrypoint = "E", props = (json = "{\"p\":1}"))),
		(name = "C", durableObjectClass = (name = "other", entrypoint = "Facet")),
		(name = "DO", durableObjectNamespace = "A"),
		(name = "DO2", durableObjectNamespace = (className = "A", serviceName = "other")),
		(name = "KV", kvNamespace = "kv"),
		(name = "R2", r2Bucket = "r2"),
		(name = "Q", queue = "q"),
		(name = "AE", analyticsEngine = "ae"),
		(name = "HD", hyperdrive = (designator = "pg", database = "d", user = "u", password = "p", scheme = "postgresql")),
		(name = "LOADER", workerLoader = (id = "l")),
		(name = "ANON", workerLoader = ()),
		(name = "EVAL", unsafeEval = void),
		(name = "W", wrapped = (moduleName = "atoll:dispatch", innerBindings = [(name = "fetcher", service = "out")])),
		(name = "W2", wrapped = (moduleName = "atoll:outer", entrypoint = "make", innerBindings = [
			(name = "inner", wrapped = (moduleName = "atoll:inner"))])),
	]))])`, worker(workerd.Worker{Modules: []workerd.Module{{Name: "main.js"}}, Bindings: []workerd.Binding{
		{Name: "T", Value: workerd.Text("text")},
		{Name: "NONE", Value: workerd.Text("")},
		{Name: "D", Value: workerd.Data{0, 0xff}},
		{Name: "J", Value: workerd.JSON("[1]")},
		{Name: "S", Value: workerd.Fetcher{Name: "other", Entrypoint: "E", Props: json.RawMessage(`{"p":1}`)}},
		{Name: "C", Value: workerd.DurableObjectClass{Name: "other", Entrypoint: "Facet"}},
		{Name: "DO", Value: workerd.DurableObjects{ClassName: "A"}},
		{Name: "DO2", Value: workerd.DurableObjects{ClassName: "A", Service: "other"}},
		{Name: "KV", Value: workerd.KVNamespace{Name: "kv"}},
		{Name: "R2", Value: workerd.R2Bucket{Name: "r2"}},
		{Name: "Q", Value: workerd.Queue{Name: "q"}},
		{Name: "AE", Value: workerd.AnalyticsEngine{Name: "ae"}},
		{Name: "HD", Value: workerd.Hyperdrive{Service: workerd.Designator{Name: "pg"}, Database: "d", User: "u", Password: "p", Scheme: "postgresql"}},
		{Name: "LOADER", Value: workerd.WorkerLoader{ID: "l"}},
		{Name: "ANON", Value: workerd.WorkerLoader{}},
		{Name: "EVAL", Value: workerd.UnsafeEval{}},
		{Name: "W", Value: workerd.Wrapped{Module: "atoll:dispatch", Inner: []workerd.Binding{
			{Name: "fetcher", Value: workerd.Fetcher{Name: "out"}},
		}}},
		{Name: "W2", Value: workerd.Wrapped{Module: "atoll:outer", Entrypoint: "make", Inner: []workerd.Binding{
			{Name: "inner", Value: workerd.Wrapped{Module: "atoll:inner"}},
		}}},
	}})},
	{"keys", `(services = [(name = "main", worker = (modules = [(name = "main.js", esModule = "")], bindings = [
		(name = "RAW", cryptoKey = (raw = 0x"01 02", algorithm = (json = "\"AES-GCM\""), extractable = true,
			usages = [encrypt, decrypt, sign, verify, deriveKey, deriveBits, wrapKey, unwrapKey])),
		(name = "HEX", cryptoKey = (hex = "0102", algorithm = (json = "{}"), usages = [sign])),
		(name = "BASE64", cryptoKey = (base64 = "AQI=", algorithm = (json = "{}"), usages = [verify])),
		(name = "PKCS8", cryptoKey = (pkcs8 = "a", algorithm = (json = "{}"), usages = [sign])),
		(name = "SPKI", cryptoKey = (spki = "b", algorithm = (json = "{}"), usages = [verify])),
		(name = "JWK", cryptoKey = (jwk = "{}", algorithm = (json = "{}"), usages = [verify])),
	]))])`, worker(workerd.Worker{Modules: []workerd.Module{{Name: "main.js"}}, Bindings: []workerd.Binding{
		{Name: "RAW", Value: workerd.CryptoKey{
			Key: []byte{1, 2}, Algorithm: json.RawMessage(`"AES-GCM"`), Extractable: true,
			Usages: []string{"encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"},
		}},
		{Name: "HEX", Value: key(workerd.HexKey, "0102", "sign")},
		{Name: "BASE64", Value: key(workerd.Base64Key, "AQI=", "verify")},
		{Name: "PKCS8", Value: key(workerd.PKCS8Key, "a", "sign")},
		{Name: "SPKI", Value: key(workerd.SPKIKey, "b", "verify")},
		{Name: "JWK", Value: key(workerd.JWKKey, "{}", "verify")},
	}})},
	{"extensions", `(extensions = [
		(modules = [
			(name = "atoll:inner", internal = true, esModule = "export default 1"),
			(name = "atoll:outer", esModule = "export default 2")]),
		(),
	])`, workerd.Config{Extensions: []workerd.Extension{
		{Modules: []workerd.ExtensionModule{
			{Name: "atoll:inner", Internal: true, Source: []byte("export default 1")},
			{Name: "atoll:outer", Source: []byte("export default 2")},
		}},
		{},
	}}},
}

func worker(w workerd.Worker) workerd.Config {
	return workerd.Config{Services: []workerd.Service{{Name: "main", Kind: w}}}
}

func key(format workerd.KeyFormat, material, usage string) workerd.CryptoKey {
	return workerd.CryptoKey{Format: format, Key: []byte(material), Algorithm: json.RawMessage(`{}`), Usages: []string{usage}}
}

// TestEncodeAgreesWithWorkerd fails when an upgrade of workerd moves a field.
func TestEncodeAgreesWithWorkerd(t *testing.T) {
	bin := workerdtest.Binary(t)
	for _, c := range configs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := workerd.Encode(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, compile(t, bin, c.text)), decode(t, got)); diff != "" {
				t.Errorf("workerd's compiler (-) and Encode (+) differ:\n%s", diff)
			}
		})
	}
}

// compile has workerd turn a configuration's text form into a message.
func compile(t *testing.T, bin workerd.Binary, text string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.capnp")
	text = "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = " + text + ";\n"
	if err := os.WriteFile(file, []byte("@0xb5a3c1d2e4f60718;\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin.Path, "compile", "--config-only", file, "config")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("workerd compile: %v\n%s", err, stderr.String())
	}
	return out
}

// TestConfigsSetEveryField keeps the comparison complete: a field that no configuration sets is a field not compared.
func TestConfigsSetEveryField(t *testing.T) {
	known, set := map[string]bool{}, map[string]bool{}
	for _, c := range configs {
		visit(reflect.ValueOf(c.cfg), known, set)
	}
	for field := range known {
		if !set[field] {
			t.Errorf("no configuration of the table sets %s", field)
		}
	}
	if len(known) < 60 {
		t.Errorf("only %d fields were found", len(known))
	}
}

func visit(v reflect.Value, known, set map[string]bool) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			visit(v.Elem(), known, set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), known, set)
		}
	case reflect.Struct:
		if d := reflect.TypeFor[workerd.Designator](); v.CanConvert(d) {
			v = v.Convert(d)
		}
		for i := range v.NumField() {
			name := v.Type().Name() + "." + v.Type().Field(i).Name
			known[name] = true
			if !v.Field(i).IsZero() {
				set[name] = true
			}
			visit(v.Field(i), known, set)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	nested := workerd.Wrapped{Module: "m"}
	for range 20 {
		nested = workerd.Wrapped{Module: "m", Inner: []workerd.Binding{{Name: "b", Value: nested}}}
	}
	for _, c := range []struct {
		name, want string
		cfg        workerd.Config
	}{
		{"nul-in-socket", `socket a: a NUL byte in "b\x00c"`, workerd.Config{Sockets: []workerd.Socket{{Name: "a", Address: "b\x00c"}}}},
		{"nul-in-module-name", "service main, module m\x00: a NUL byte in \"m\\x00\"", worker(workerd.Worker{Modules: []workerd.Module{{Name: "m\x00"}}})},
		{"nul-in-header", `service s: a NUL byte in "\x00"`, workerd.Config{Services: []workerd.Service{{Name: "s", Kind: workerd.External{
			HTTP: workerd.HTTPOptions{InjectRequestHeaders: []workerd.Header{{Name: "a", Value: "\x00"}}},
		}}}}},
		{"no-kind", "service s: it has no kind", workerd.Config{Services: []workerd.Service{{Name: "s"}}}},
		{"no-value", "service main, binding B: it has no value", worker(workerd.Worker{Bindings: []workerd.Binding{{Name: "B"}}})},
		{"two-bodies", "service main: it has both modules and a service-worker script", worker(workerd.Worker{
			Modules: []workerd.Module{{Name: "m"}}, ServiceWorkerScript: []byte("s"),
		})},
		{"module-kind", "service main, module m: it has an unknown kind, 9", worker(workerd.Worker{Modules: []workerd.Module{{Name: "m", Kind: 9}}})},
		{"no-unique-key", "service main: Durable Object class A has no unique key", worker(workerd.Worker{
			DurableObjectNamespaces: []workerd.DurableObjectNamespace{{ClassName: "A"}},
		})},
		{"key-usage", `service main, binding K: its key has an unknown usage, "eat"`, worker(workerd.Worker{
			Bindings: []workerd.Binding{{Name: "K", Value: key(workerd.HexKey, "00", "eat")}},
		})},
		{"key-format", "service main, binding K: its key has an unknown format, 7", worker(workerd.Worker{
			Bindings: []workerd.Binding{{Name: "K", Value: key(7, "00", "sign")}},
		})},
		{"nested", "service main, binding W" + strings.Repeat(", binding b", 16) + ": more than 16 wrapped bindings in one another", worker(workerd.Worker{
			Bindings: []workerd.Binding{{Name: "W", Value: nested}},
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			msg, err := workerd.Encode(c.cfg)
			if err == nil || err.Error() != c.want || msg != nil {
				t.Errorf("got error %v\nwant      %s", err, c.want)
			}
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("kind %v", fault.KindOf(err))
			}
		})
	}
}

// TestEncodeLarge checks that a large module is copied once.
func TestEncodeLarge(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcde\n"), 4<<20)
	cfg := worker(workerd.Worker{Modules: []workerd.Module{{Name: "m", Body: body}}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	msg, err := workerd.Encode(cfg)
	runtime.ReadMemStats(&after)
	if err != nil || len(msg) < len(body) {
		t.Fatalf("%d bytes, %v", len(msg), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(body))+1<<20 {
		t.Errorf("allocated %d bytes for a module of %d", used, len(body))
	}
	tooLarge := worker(workerd.Worker{Modules: []workerd.Module{{Name: "m", Kind: workerd.DataModule, Body: make([]byte, 1<<29)}}})
	if _, err := workerd.Encode(tooLarge); err == nil || !strings.Contains(err.Error(), "more than the 536870910 that can be passed") {
		t.Errorf("a module of 512 MiB: %v", err)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("main", "a/b.js", []byte("export default {}"), uint16(0), "ENV", "value")
	f.Add("", "\x00", []byte{0}, uint16(9), "", "\xff")
	f.Fuzz(func(t *testing.T, service, module string, body []byte, kind uint16, name, value string) {
		cfg := workerd.Config{
			Services: []workerd.Service{
				{Name: service, Kind: workerd.Worker{
					Modules:            []workerd.Module{{Name: module, Kind: workerd.ModuleKind(kind), Body: body, NamedExports: []string{name, value}}},
					CompatibilityDate:  value,
					CompatibilityFlags: []string{name},
					Bindings: []workerd.Binding{
						{Name: name, Value: workerd.Text(value)},
						{Name: value, Value: workerd.Data(body)},
						{Name: name, Value: workerd.Wrapped{Module: module, Entrypoint: value, Inner: []workerd.Binding{{Name: value, Value: workerd.JSON(body)}}}},
						{Name: name, Value: workerd.CryptoKey{Format: workerd.KeyFormat(kind % 6), Key: body, Usages: []string{"sign"}}},
					},
				}},
				{Name: name, Kind: workerd.External{Address: value, HTTP: workerd.HTTPOptions{InjectRequestHeaders: []workerd.Header{{Name: name, Value: value}}}}},
			},
			Sockets: []workerd.Socket{{Name: name, Service: workerd.Designator{Name: service, Props: body}}},
		}
		msg, err := workerd.Encode(cfg)
		if err != nil {
			return
		}
		root := decode(t, msg).(node)
		if got := len(root.Ptrs[0].(list)); got != 2 {
			t.Errorf("%d services", got)
		}
	})
}
