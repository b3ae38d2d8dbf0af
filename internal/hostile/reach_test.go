package hostile_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reachAttacks try to get at what belongs to somebody else.
func reachAttacks(kv string, s *site) []attack {
	return []attack{
		{name: "stored-secrets", run: storedSecrets, code: handler(`return new Response("");`)},
		{name: "machine-by-fetch", subRequests: 100, want: `^200 \[\]$`, code: `const urls = ` + list(s.privateURLs()) + ";\n" + handler(`const got = [];
			for (const url of urls) try { got.push(url + " " + (await fetch(url, { redirect: "manual" })).status); } catch {}
			return Response.json(got);`)},
		{name: "machine-by-host-header", want: `^200 \[\]$`, code: `const url = ` + list([]string{s.canary.URL}) + "[0];\n" + handler(`const got = [];
			for (const host of ["example.com", "1.1.1.1", "example.com:80", "unix:/run/out/sock"]) try { got.push((await fetch(url, { headers: { host } })).status); } catch {}
			return Response.json(got);`)},
		{name: "machine-by-socket", cpuMs: 1000, flags: []string{"nodejs_compat"}, want: `^200 \[\]$`, code: `import { connect } from "cloudflare:sockets"; import net from "node:net"; import tls from "node:tls";
			const addresses = ` + list(s.privateAddresses()) + ";\n" + handler(`const got = [];
			for (const a of addresses) {
				for (const options of [{}, { secureTransport: "on" }, { secureTransport: "starttls" }]) try { await connect(a, options).opened; got.push(a); } catch {}
				const [host, port] = a.split(/:(?=\d+$)/);
				for (const module of [net, tls]) await new Promise((r) => { try { module.connect({ host, port: Number(port) }, () => { got.push("node " + a); r(); }).on("error", r); } catch { r(); } });
			}
			return Response.json(got);`)},
		{name: "binding-sockets", flags: []string{"nodejs_compat"}, want: `^200 \[\]$`, code: `import { connect } from "cloudflare:sockets"; import net from "node:net";` + handler(`const got = [];
			for (const url of ["http://unix:/run/out/sock", "unix:/run/out/sock", "http+unix://%2Frun%2Fout%2Fsock/", "http://%2Frun%2Fout%2Fsock/", "file:///run/out/sock", "http://egress/", "http://binding%2F0/", "http://cache/", "http://internet/", "http://main/", "capnp+unix:/run/out/sock"]) {
				try { got.push(url + " " + (await fetch(url)).status); } catch {}
				for (const address of [url, { hostname: url, port: 80 }, { hostname: "unix:/run/out/sock", port: 0 }]) try { await connect(address).opened; got.push(url); } catch {}
			}
			for (const path of ["/run/out/sock", "\0/run/out/sock"]) await new Promise((r) => { try { net.connect({ path }, () => { got.push(path); r(); }).on("error", r); } catch { r(); } });
			return Response.json(got);`)},
		{name: "cache-of-another", want: `^200 \[null,null,null,null\]$`, code: handler(`const got = [];
			for (const name of ["shared", "default", "alice", ""]) try { const hit = await (await caches.open(name)).match("http://cache.test/alice"); got.push(hit ? await hit.text() : null); } catch (e) { got.push(null); }
			return Response.json(got);`)},
		{name: "default-cache", want: `^500 Error: caches\.default is not available`, code: handler(`return await caches.default.match("http://cache.test/alice") ?? new Response("miss");`)},
		{name: "default-cache-by-prototype", want: `^200 \[null(,null)*\]$`, code: handler(`const got = [];
			for (const o of [caches, Object.create(caches)]) try { for (let p = Object.getPrototypeOf(o); p; p = Object.getPrototypeOf(p)) { const d = Object.getOwnPropertyDescriptor(p, "default"); if (d) { const hit = await d.get.call(caches).match("http://cache.test/alice"); got.push(hit ? await hit.text() : null); } } } catch { got.push(null); }
			return Response.json(got);`)},
		{name: "keys-of-another", binds: []map[string]any{{"type": "kv_namespace", "name": "KV", "namespace_id": kv}}, want: `^200 \[\]$`,
			code: fmt.Sprintf("const other = %q, own = %q;\n", s.aliceKV, kv) + handler(`const got = [];
			const keys = ["alice-key", "../alice-key", other + "/alice-key", "../" + other + "/alice-key", "../../" + other + "/values/alice-key", "/" + other + "/alice-key", "%2e%2e%2f" + other + "%2falice-key", "alice-key?namespace=" + other,
				"?namespace_id=" + other, "#", "bulk/get", "alice-key\0", "\0", "http://kv/" + other + "/alice-key", "//" + other + "/alice-key", "alice-key\r\natoll-service: binding/1", "' OR 1=1 --", "%", "_"];
			for (const key of keys) { try { const v = await env.KV.get(key); if (v !== null) got.push(key); } catch {} try { await env.KV.delete(key); } catch {} }
			for (const prefix of ["", "alice", "../", "%", "_"]) try { for (const k of (await env.KV.list({ prefix })).keys) got.push(k.name); } catch {}
			for (const cursor of [other, btoa(other), "alice-key"]) try { for (const k of (await env.KV.list({ cursor })).keys) got.push(k.name); } catch {}
			try { for (const [k, v] of await env.KV.get(keys.slice(0, 8))) if (v !== null) got.push(k); } catch {}
			return Response.json(got);`)},
		{name: "names-of-other-bindings", want: `^200 \["T"\]$`, binds: []map[string]any{{"type": "plain_text", "name": "T", "text": "x"}}, flags: []string{"nodejs_compat"}, date: "2026-01-01",
			code: `import { env as imported, withEnv } from "cloudflare:workers";` + handler(`for (const name of ["KV", "TOKEN", "DISPATCHER", "fetcher", "__proto__"]) for (const e of [env, imported, ctx.props ?? {}, process.env, globalThis]) if (e[name] && name !== "__proto__") return new Response(name);
			return Response.json(Object.keys({ ...env, ...imported, ...process.env, ...ctx.props }));`)},
		{name: "everything-in-sight", run: s.scan, flags: []string{"nodejs_compat"}, date: "2026-01-01", code: scanner},
		{name: "internal-modules", flags: []string{"nodejs_compat"}, date: "2026-01-01", want: `^200 \[\]$`, code: `import { createRequire } from "node:module"; const require = createRequire("/");` + handler(`const got = [];
			for (const name of ["atoll:dispatch", "atoll:service", "atoll:invocation", "atoll:errors", "workerd:unsafe", "workerd:unsafe-eval", "cloudflare-internal:env", "cloudflare-internal:sockets", "cloudflare-internal:workers", "cloudflare-internal:d1-api", "node-internal:process", "node-internal:internal_http_client", "internal:env", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x.js", "../../etc/passwd"]) {
				try { await import(name); got.push(name); } catch {}
				try { if (require(name)) got.push("require " + name); } catch {}
				try { if (process.getBuiltinModule(name)) got.push("builtin " + name); } catch {}
			}
			return Response.json(got);`)},
		{name: "programs-and-threads", flags: []string{"nodejs_compat", "experimental"}, refused: "10021", code: handler(``)},
		{name: "unsafe-module", flags: []string{"unsafe_module"}, refused: "10021", code: handler(``)},
		{name: "children", flags: []string{"nodejs_compat"}, date: "2026-01-01", want: `^200 \[\]$`, code: handler(`const got = [];
			for (const [name, use] of [["node:child_process", (m) => m.execSync("id")], ["node:child_process", (m) => m.spawn("/bin/sh")], ["node:worker_threads", (m) => new m.Worker("1", { eval: true })], ["node:cluster", (m) => m.fork()], ["node:vm", (m) => m.runInNewContext("this.constructor.constructor('return process')()")], ["node:inspector", (m) => m.open(0)], ["node:wasi", (m) => new m.WASI({ version: "preview1", preopens: { "/": "/" } })], ["node:dgram", (m) => m.createSocket("udp4").bind(53)], ["node:sqlite", (m) => new m.DatabaseSync("/x")], ["node:v8", (m) => m.setFlagsFromString("--allow-natives-syntax")]])
				try { use(await import(name)); got.push(name); } catch {}
			return Response.json(got);`)},
		{name: "signals", flags: []string{"nodejs_compat"}, date: "2026-01-01", want: `^200 \[\]$`, code: handler(`const got = [];
			for (const pid of [0, 1, -1, 2, process.ppid]) try { process.kill(pid, "SIGKILL"); got.push(pid); } catch {}
			for (const f of ["setuid", "setgid", "chroot", "chdir", "umask", "dlopen", "_kill", "binding"]) try { process[f]?.("/"); } catch {}
			return Response.json(got);`)},
	}
}

// list is a JavaScript array of strings.
func list(items []string) string {
	b, _ := json.Marshal(items) // strings always marshal
	return string(b)
}

func port(url string) string { return url[strings.LastIndex(url, ":")+1:] }

// privateURLs are addresses of this machine and its network, in many notations; those of the canary, the API and the edge
// have listeners.
func (s *site) privateURLs() []string {
	var urls []string
	for _, host := range []string{"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "[::1]", "[::]",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "user@127.0.0.1", "127.0.0.1.",
		"①②⑦.⓪.⓪.①", "127。0。0。1", "alice.atoll.localhost"} {
		urls = append(urls, "http://"+host+":"+port(s.canary.URL)+"/", "https://"+host+":"+port(s.canary.URL)+"/")
	}
	for _, p := range []string{port(s.api), port(s.edge)} {
		urls = append(urls, "http://127.0.0.1:"+p+"/", "http://localhost:"+p+"/healthz", "http://[::1]:"+p+"/")
	}
	return append(urls, "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://[fd00:ec2::254]/latest/",
		"http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/", "http://100.100.100.200/", "http://[fe80::1]/", "http://224.0.0.1/",
		"http://255.255.255.255/", "http://host.docker.internal/", "http://kubernetes.default.svc/")
}

// privateAddresses are those of this machine that something listens at, and some more, for sockets.
func (s *site) privateAddresses() []string {
	var list []string
	for _, p := range []string{port(s.canary.URL), port(s.api), port(s.edge)} {
		list = append(list, "127.0.0.1:"+p, "localhost:"+p, "[::1]:"+p, "0.0.0.0:"+p, "[::ffff:127.0.0.1]:"+p)
	}
	return append(list, "169.254.169.254:80", "10.0.0.1:22", "127.0.0.1:25", "127.0.0.1:53")
}

// scanner is a Worker that gathers every text it can come by: of all that the global object, env, ctx and its modules lead
// to, and of all files.
const scanner = `import * as workers from "cloudflare:workers"; import * as sockets from "cloudflare:sockets"; import fs from "node:fs"; import os from "node:os"; import * as ours from "./atoll-prelude.js"; import * as wrapper from "./atoll-wrapper.js";
export default { async fetch(request, env, ctx) {
	const seen = new Set(), found = new Set(), todo = [globalThis, env, ctx, request, workers, sockets, os, ours, wrapper, process, new Error("x")];
	while (todo.length > 0 && seen.size < 30000) {
		const o = todo.pop();
		if ((typeof o !== "object" && typeof o !== "function") || o === null || seen.has(o)) { if (typeof o === "string") found.add(o.slice(0, 2000)); continue; }
		seen.add(o);
		try { todo.push(Object.getPrototypeOf(o)); } catch {}
		for (const k of Reflect.ownKeys(o)) {
			found.add(String(k).slice(0, 2000));
			try { const d = Reflect.getOwnPropertyDescriptor(o, k); todo.push("value" in d ? d.value : undefined, d.get, d.set); if (d.get) todo.push(d.get.call(o)); } catch (e) { found.add(String(e).slice(0, 2000)); }
		}
		if (typeof o === "function") try { found.add(Function.prototype.toString.call(o).slice(0, 2000)); } catch {}
	}
	for (const f of ["hostname", "homedir", "tmpdir", "userInfo", "networkInterfaces", "cpus", "type", "release", "version"]) try { found.add(JSON.stringify(os[f]())); } catch {}
	const files = (dir) => { for (const name of fs.readdirSync(dir)) { const path = dir + "/" + name; try { if (fs.statSync(path).isDirectory()) files(path); else if (!path.startsWith("//dev") && !path.startsWith("/dev")) found.add(path + "\n" + fs.readFileSync(path, "utf8").slice(0, 20000)); } catch {} } };
	try { files("/"); } catch {}
	for (const path of ["/etc/passwd", "/proc/self/environ", "/proc/self/cmdline", "/proc/self/maps", "/proc/1/environ", "/run/out/so" + "ck", "/sys/class/net", "/bin/workerd", "../../../etc/hostname", "/dev/../etc/passwd", "/bundle/../../etc/passwd"]) try { found.add("READ " + path + fs.readFileSync(path, "utf8").slice(0, 100)); } catch {}
	return new Response([...found].join("\n"));
} };
`

// scan reads what the scanner has gathered: nothing of it may tell of another tenant, the node or the machine.
func (s *site) scan(t *testing.T, _ *site, host string) {
	got := s.get(t, host, "/", attack{cpuMs: 5000}.limits())
	if !strings.HasPrefix(got, "200 ") || len(got) < 10_000 {
		t.Fatalf("the scan failed: %.300q", got)
	}
	t.Logf("%d bytes of text", len(got))
	needles := map[string]string{"alice's secret": secret, "the API's token": token, "the account": s.account, "alice's namespace": s.aliceKV,
		"the data directory": s.data, "the run directory": "atoll-run-", "its socket": "out/sock", "a file": "READ /", "the API": port(s.api)}
	if name, err := os.Hostname(); err == nil && len(name) > 4 {
		needles["the host's name"] = name
	}
	if key, err := os.ReadFile(filepath.Join(s.data, "secret.key")); err == nil {
		needles["the secret key"] = strings.TrimSpace(string(key))
	}
	for what, needle := range needles {
		if i := strings.Index(got, needle); i >= 0 {
			t.Errorf("it found %s: %q", what, got[max(0, i-100):min(len(got), i+100)])
		}
	}
}

// storedSecrets has a Worker that is bound to one secret of a store look for the others.
func storedSecrets(t *testing.T, s *site, host string) {
	var store struct{ ID string }
	s.call(t, "POST", s.acct()+"/secrets_store/stores", map[string]string{"name": "shared"}, &store)
	var made []struct{ ID string }
	s.call(t, "POST", s.acct()+"/secrets_store/stores/"+store.ID+"/secrets", []map[string]any{
		{"name": "mine", "value": "my own", "scopes": []string{"workers"}}, {"name": "hers", "value": secret, "scopes": []string{"workers"}},
	}, &made)
	a := attack{binds: []map[string]any{{"type": "secrets_store_secret", "name": "S", "store_id": store.ID, "secret_name": "mine"}},
		code: handler(`const told = [];
			for (const f of [() => env.S.get(), () => env.S.get("hers"), () => env.S.get({ secret_name: "hers" }), () => env.S.get.call({ secret_name: "hers" }),
				() => new env.S.constructor({ fetch }).get(), () => new env.S.constructor({ fetch: () => fetch("http://atoll/hers", { headers: { "atoll-service": "binding/0" } }) }).get(),
				() => JSON.stringify(env.S), () => Reflect.ownKeys(env.S).join()])
				try { told.push(await f()); } catch (e) { told.push(e.name); }
			return Response.json(told);`)}
	if !s.deploy(t, host, a) {
		return
	}
	s.want(t, host, "/", a.limits(), `^200 \["my own","my own","my own","TypeError","(TypeError|Error)","(TypeError|Error)","\{\}",""\]$`)
	a.binds[0]["store_id"] = made[1].ID
	a.refused = "which were not found"
	s.deploy(t, host, a)
}
