package workerd_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/workerd"
	"atoll.dev/atoll/internal/workerd/workerdtest"
)

const date = "2026-11-01"

// hello is a configuration of one Worker, main, on the socket in.
func hello(source string, change ...func(*workerd.Config, *workerd.Worker)) workerd.Config {
	cfg := workerd.Config{Sockets: []workerd.Socket{{Name: "in", Service: workerd.Designator{Name: "main"}}}}
	w := workerd.Worker{Modules: []workerd.Module{{Name: "main.js", Body: []byte(source)}}, CompatibilityDate: date}
	for _, f := range change {
		f(&cfg, &w)
	}
	cfg.Services = append(cfg.Services, workerd.Service{Name: "main", Kind: w})
	return cfg
}

// bind adds bindings to the Worker.
func bind(list ...workerd.Binding) func(*workerd.Config, *workerd.Worker) {
	return func(_ *workerd.Config, w *workerd.Worker) { w.Bindings = append(w.Bindings, list...) }
}

// with adds a service to the configuration.
func with(name string, kind workerd.ServiceKind) func(*workerd.Config, *workerd.Worker) {
	return func(c *workerd.Config, _ *workerd.Worker) {
		c.Services = append(c.Services, workerd.Service{Name: name, Kind: kind})
	}
}

// check serves cfg and compares the answer from socket in.
func check(t *testing.T, cfg workerd.Config, want string, args ...string) {
	t.Helper()
	s := workerdtest.Serve(t, cfg, args...)
	if got := get(t, s.Client(t, "in"), "http://x/"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func get(t *testing.T, c *http.Client, url string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", url, res.Status, body)
	}
	return string(body)
}

// backend is a server on a Unix socket that answers with the parts of the request that a test asks for.
func backend(t *testing.T, answer func(*http.Request) string) (address string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "wd") // t.TempDir may be longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "out.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, answer(r))
	})}
	done := make(chan struct{})
	go func() { srv.Serve(l); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done; os.RemoveAll(dir) })
	return "unix:" + path
}

func TestServeHello(t *testing.T) {
	t.Parallel()
	check(t, hello(`export default { fetch() { return new Response("hello") } }`), "hello")
}

func TestServeServiceWorker(t *testing.T) {
	t.Parallel()
	check(t, hello("", func(_ *workerd.Config, w *workerd.Worker) {
		w.Modules = nil
		w.ServiceWorkerScript = []byte(`addEventListener("fetch", e => e.respondWith(new Response(typeof W)))`)
	}, bind(workerd.Binding{Name: "W", Value: workerd.WasmGlobal("\x00asm\x01\x00\x00\x00")})), "object")
}

// TestServeModules checks every kind of module, and that NUL bytes and empty bodies arrive as they are.
func TestServeModules(t *testing.T) {
	t.Parallel()
	check(t, hello(`
		import text from "dir/t.txt"; import none from "none.txt"; import data from "d.bin"; import wasm from "./w.wasm";
		import json from "j.json"; import common from "common.js"; import { x } from "./dir/es.mjs";
		const literal = "a`+"\x00"+`b";
		export default { fetch() {
			return Response.json([text, none, [...new Uint8Array(data)], wasm instanceof WebAssembly.Module, json, common.c, x, literal]);
		} }`, func(_ *workerd.Config, w *workerd.Worker) {
		w.Modules = append(w.Modules,
			workerd.Module{Name: "dir/t.txt", Kind: workerd.TextModule, Body: []byte("Grüße\x00!")},
			workerd.Module{Name: "none.txt", Kind: workerd.TextModule},
			workerd.Module{Name: "d.bin", Kind: workerd.DataModule, Body: []byte{0, 1, 255}},
			workerd.Module{Name: "w.wasm", Kind: workerd.WasmModule, Body: []byte("\x00asm\x01\x00\x00\x00")},
			workerd.Module{Name: "j.json", Kind: workerd.JSONModule, Body: []byte(`{"j": [1]}`)},
			workerd.Module{Name: "common.js", Kind: workerd.CommonJSModule, Body: []byte(`exports.c = "common"`)},
			workerd.Module{Name: "dir/es.mjs", Body: []byte(`export const x = "es"`)},
		)
	}), `["Grüße\u0000!","",[0,1,255],true,{"j":[1]},"common","es","a\u0000b"]`)
}

func TestServeValues(t *testing.T) {
	t.Parallel()
	check(t, hello(`
		export default { async fetch(req, { TEXT, NONE, DATA, JSON, KEY, NAMED, EVAL }) {
			const mac = await crypto.subtle.sign("HMAC", KEY, new Uint8Array(1));
			return Response.json([TEXT, NONE, [...new Uint8Array(DATA)], JSON, KEY.usages, KEY.extractable, mac.byteLength,
				NAMED.algorithm.name, EVAL.eval("6*7")]);
		} }`, bind(
		workerd.Binding{Name: "TEXT", Value: workerd.Text("a\x00é")},
		workerd.Binding{Name: "NONE", Value: workerd.Text("")},
		workerd.Binding{Name: "DATA", Value: workerd.Data{0, 255}},
		workerd.Binding{Name: "JSON", Value: workerd.JSON(`{"a": 1}`)},
		workerd.Binding{Name: "KEY", Value: workerd.CryptoKey{
			Key: []byte("secret"), Algorithm: []byte(`{"name": "HMAC", "hash": "SHA-256"}`), Usages: []string{"sign", "verify"},
		}},
		workerd.Binding{Name: "NAMED", Value: workerd.CryptoKey{
			Format: workerd.HexKey, Key: []byte("000102030405060708090a0b0c0d0e0f"), Algorithm: []byte(`"AES-GCM"`), Usages: []string{"encrypt"},
		}},
		workerd.Binding{Name: "EVAL", Value: workerd.UnsafeEval{}},
	)), `["a\u0000é","",[0,255],{"a":1},["sign","verify"],false,32,"AES-GCM",42]`, "--experimental")
}

// TestServeWrapped checks a wrapped binding over a service that the Worker cannot see, in as many layers as are allowed.
func TestServeWrapped(t *testing.T) {
	t.Parallel()
	out := backend(t, func(r *http.Request) string { return r.Header.Get("atoll-service") + r.URL.Path })
	inner := workerd.Binding{Name: "inner", Value: workerd.Fetcher{Name: "out"}}
	for range 15 {
		inner = workerd.Binding{Name: "inner", Value: workerd.Wrapped{Module: "test:wrap", Entrypoint: "pass", Inner: []workerd.Binding{inner}}}
	}
	check(t, hello(`
		export default { async fetch(req, env) {
			const seen = await import("test:wrap").then(() => "module", e => "no module");
			return Response.json([Object.keys(env.API), await env.API.call("/p"), seen]);
		} }`,
		with("out", workerd.External{Address: out, HTTP: workerd.HTTPOptions{
			InjectRequestHeaders: []workerd.Header{{Name: "atoll-service", Value: "service/1"}},
		}}),
		bind(workerd.Binding{Name: "API", Value: workerd.Wrapped{Module: "test:wrap", Inner: []workerd.Binding{inner}}}),
		func(c *workerd.Config, _ *workerd.Worker) {
			c.Extensions = []workerd.Extension{{Modules: []workerd.ExtensionModule{{Name: "test:wrap", Internal: true, Source: []byte(`
				export function pass(env) { return env.inner }
				export default function (env) {
					return { call: path => env.inner.fetch("http://api" + path).then(r => r.text()) }
				}`)}}}}
		}), `[["call"],"service/1/p","no module"]`)
}

// TestServeExternal checks that injected headers replace what the Worker sends, and that all its fetches go one way out.
func TestServeExternal(t *testing.T) {
	t.Parallel()
	out := backend(t, func(r *http.Request) string {
		return strings.Join([]string{r.Host, r.RequestURI, r.Header.Get("x-proto"), r.Header.Get("atoll-service"), fmt.Sprint(r.Header["Drop"]), r.Header.Get("cf-blob")}, " ")
	})
	check(t, hello(`
		export default { async fetch() {
			const res = await fetch("https://example.com/a?b", { headers: { "atoll-service": "forged", drop: "1" }, cf: { x: 1 } });
			return new Response(await res.text() + " " + res.headers.get("via"));
		} }`,
		with("egress", workerd.External{Address: out, HTTP: workerd.HTTPOptions{
			CfBlobHeader: "cf-blob", ForwardedProtoHeader: "x-proto",
			InjectRequestHeaders:  []workerd.Header{{Name: "Atoll-Service", Value: "egress"}, {Name: "drop"}},
			InjectResponseHeaders: []workerd.Header{{Name: "via", Value: "atoll"}},
		}}),
		func(_ *workerd.Config, w *workerd.Worker) { w.GlobalOutbound = &workerd.Designator{Name: "egress"} },
	), `example.com /a?b https egress [] {"x":1} atoll`)
}

// TestServeSockets checks what a socket may add to a request, and that it can lead to a named entrypoint with props.
func TestServeSockets(t *testing.T) {
	t.Parallel()
	s := workerdtest.Serve(t, hello(`
		import { WorkerEntrypoint } from "cloudflare:workers";
		export default { fetch(req) { return Response.json([req.url, req.cf ?? null, req.headers.get("cf-blob")]) } }
		export class Admin extends WorkerEntrypoint { fetch() { return Response.json(this.ctx.props) } }`,
		func(c *workerd.Config, _ *workerd.Worker) {
			c.Sockets[0].HTTP = workerd.HTTPOptions{CfBlobHeader: "cf-blob", ForwardedProtoHeader: "x-proto"}
			c.Sockets = append(c.Sockets, workerd.Socket{Name: "admin", Service: workerd.Designator{
				Name: "main", Entrypoint: "Admin", Props: []byte(`{"who":"me"}`),
			}})
		}))
	if got, want := get(t, s.Client(t, "in"), "http://x/", "cf-blob", `{"colo":"ATL"}`, "x-proto", "https"), `["https://x/",{"colo":"ATL"},null]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := get(t, s.Client(t, "in"), "http://x/"), `["http://x/",null,null]`; got != want {
		t.Errorf("without the header: got %s, want %s", got, want)
	}
	if got, want := get(t, s.Client(t, "admin"), "http://x/"), `{"who":"me"}`; got != want {
		t.Errorf("entrypoint: got %s, want %s", got, want)
	}
}

// TestServeServices checks the bindings that turn into HTTP requests: KV, R2, queues, and the Cache API.
func TestServeServices(t *testing.T) {
	t.Parallel()
	out := backend(t, func(r *http.Request) string { return r.Method + " " + r.RequestURI })
	external := func(name string) func(*workerd.Config, *workerd.Worker) {
		return with(name, workerd.External{Address: out})
	}
	check(t, hello(`
		export default { async fetch(req, env) {
			return Response.json([await env.KV.get("a/b"), await env.API.fetch("http://h/p").then(r => r.text()),
				typeof env.R2.head, typeof env.Q.send, await env.SELF.add(1, 2), typeof env.LOADER.get]);
		} }`+"\n"+`
		import { WorkerEntrypoint } from "cloudflare:workers";
		export class Math extends WorkerEntrypoint { add(a, b) { return a + b } }`,
		external("kv"), external("api"),
		bind(
			workerd.Binding{Name: "KV", Value: workerd.KVNamespace{Name: "kv"}},
			workerd.Binding{Name: "API", Value: workerd.Fetcher{Name: "api"}},
			workerd.Binding{Name: "R2", Value: workerd.R2Bucket{Name: "api"}},
			workerd.Binding{Name: "Q", Value: workerd.Queue{Name: "api"}},
			workerd.Binding{Name: "SELF", Value: workerd.Fetcher{Name: "main", Entrypoint: "Math"}},
			workerd.Binding{Name: "LOADER", Value: workerd.WorkerLoader{}},
		),
		func(_ *workerd.Config, w *workerd.Worker) { w.CacheAPIOutbound = &workerd.Designator{Name: "api"} },
	), `["GET /a%2Fb?urlencoded=true","GET /p","function","function",3,"function"]`, "--experimental")
}

func TestServeDurableObjects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := hello(`
		import { DurableObject } from "cloudflare:workers";
		export class Counter extends DurableObject {
			add() { return this.ctx.storage.sql.exec("SELECT 40 + ? AS n", 2).one().n }
		}
		export default { async fetch(req, env) { return Response.json(await env.C.getByName("a").add()) } }`,
		with("disk", workerd.Disk{Path: dir, Writable: true}),
		bind(workerd.Binding{Name: "C", Value: workerd.DurableObjects{ClassName: "Counter"}}),
		func(_ *workerd.Config, w *workerd.Worker) {
			w.DurableObjectNamespaces = []workerd.DurableObjectNamespace{{ClassName: "Counter", UniqueKey: "unique", EnableSQL: true}}
			w.DurableObjectStorage = workerd.Storage{LocalDisk: "disk"}
		})
	check(t, cfg, "42")
	if files, _ := filepath.Glob(filepath.Join(dir, "unique", strings.Repeat("?", 64)+".sqlite")); len(files) != 1 {
		t.Errorf("stored %q", files)
	}
}

// TestServeTails checks that a tail Worker gets the events of the Worker that names it.
func TestServeTails(t *testing.T) {
	t.Parallel()
	events := make(chan string, 1)
	out := backend(t, func(r *http.Request) string {
		body, _ := io.ReadAll(r.Body)
		events <- string(body)
		return ""
	})
	check(t, hello(`export default { fetch() { console.log("logged"); return new Response("ok") } }`,
		with("out", workerd.External{Address: out}),
		with("tail", workerd.Worker{
			Modules: []workerd.Module{{Name: "tail.js", Body: []byte(`
				export default { async tail(events, env) {
					await env.OUT.fetch("http://out/", { method: "POST", body: events[0].logs[0].message[0] });
				} }`)}},
			CompatibilityDate: date,
			Bindings:          []workerd.Binding{{Name: "OUT", Value: workerd.Fetcher{Name: "out"}}},
		}),
		func(_ *workerd.Config, w *workerd.Worker) { w.Tails = []workerd.Designator{{Name: "tail"}} },
	), "ok")
	if got := <-events; got != "logged" {
		t.Errorf("tail got %q", got)
	}
}

// TestServeLarge checks that workerd reads a message of 64 MB, and how it takes one of many parts.
func TestServeLarge(t *testing.T) {
	t.Parallel()
	check(t, hello(`
		import text from "big.txt"; import last from "m999.js";
		export default { fetch() { return Response.json([text.length, last]) } }`,
		func(_ *workerd.Config, w *workerd.Worker) {
			w.Modules = append(w.Modules, workerd.Module{Name: "big.txt", Kind: workerd.TextModule, Body: make([]byte, 64<<20)})
			for i := range 1000 {
				w.Modules = append(w.Modules, workerd.Module{Name: fmt.Sprintf("m%d.js", i), Body: fmt.Appendf(nil, "export default %d", i)})
			}
		}), `[67108864,999]`)
}
