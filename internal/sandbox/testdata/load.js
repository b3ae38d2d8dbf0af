// A Worker that makes workerd do as many different things as one request can, so that a system call missing from the
// sandbox's list shows. Each task returns what it found; the answer is a JSON object of them.
import { DurableObject } from "cloudflare:workers";
import { AsyncLocalStorage } from "node:async_hooks";
import nodeCrypto from "node:crypto";
import zlib from "node:zlib";
import os from "node:os";
import fs from "node:fs";
import dns from "node:dns";
import net from "node:net";
import process from "node:process";
import http from "node:http";
import { connect } from "cloudflare:sockets";
import grow from "grow.wasm";

export class Counter extends DurableObject {
  async add(n) {
    const sql = this.ctx.storage.sql;
    sql.exec("CREATE TABLE IF NOT EXISTS counts (n INTEGER, blob BLOB)");
    for (let i = 0; i < 200; i++) sql.exec("INSERT INTO counts VALUES (?, randomblob(4096))", n);
    await this.ctx.storage.put("value", n);
    await this.ctx.storage.sync();
    this.ctx.storage.transactionSync(() => sql.exec("DELETE FROM counts WHERE rowid % 2"));
    await this.ctx.storage.setAlarm(Date.now() + 10);
    return sql.exec("SELECT count(*) AS n FROM counts").one().n;
  }
  async rang() { return await this.ctx.storage.get("rang") ?? false; }
  async alarm() { await this.ctx.storage.put("rang", true); }
  async fetch(request) {
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  async webSocketMessage(ws, m) { ws.send("do " + m); }
}

const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const als = new AsyncLocalStorage();

async function pump(bytes) {
  let left = bytes;
  const source = new ReadableStream({
    pull(c) { const n = Math.min(left, 65536); if (n) { c.enqueue(new Uint8Array(n)); left -= n; } else c.close(); },
  });
  const packed = source.pipeThrough(new CompressionStream("gzip")).pipeThrough(new DecompressionStream("gzip"));
  let got = 0;
  for await (const chunk of packed) got += chunk.length;
  return got;
}

const tasks = {
  garbage() { let a = []; for (let i = 0; i < 3e6; i++) { a.push({ i, s: "x" + i }); if (a.length > 3e5) a = []; } return a.length >= 0; },
  buffers() { let n = 0; for (let i = 0; i < 40; i++) n += new Uint8Array(1 << 20).fill(i).length; return n; },
  hot() { let x = 0; for (let i = 0; i < 3e7; i++) x = (x * 31 + i) | 0; return typeof x; },
  async wasm() { return new WebAssembly.Instance(grow).exports.grow(10); },
  async random() { return crypto.getRandomValues(new Uint8Array(65536)).length + crypto.randomUUID().length; },
  async digest() { return (await crypto.subtle.digest("SHA-256", new Uint8Array(1 << 20))).byteLength; },
  async keys() {
    const k = await crypto.subtle.generateKey({ name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }, true, ["sign", "verify"]);
    return (await crypto.subtle.sign("RSASSA-PKCS1-v1_5", k.privateKey, new Uint8Array(10))).byteLength;
  },
  async pbkdf2() {
    const k = await crypto.subtle.importKey("raw", new Uint8Array(8), "PBKDF2", false, ["deriveBits"]);
    return (await crypto.subtle.deriveBits({ name: "PBKDF2", salt: new Uint8Array(8), iterations: 1000, hash: "SHA-256" }, k, 256)).byteLength;
  },
  async scrypt() { return nodeCrypto.scryptSync("a", "b", 64).length; },
  async streams() { return pump(4 << 20); },
  async zlib() { return zlib.brotliDecompressSync(zlib.brotliCompressSync("hello".repeat(10000))).length; },
  async timers() { await sleep(5); await scheduler.wait(5); return Date.now() > 0 && performance.now() >= 0; },
  async fetches() { return (await Promise.all(Array.from({ length: 50 }, async (_, i) => (await (await fetch("http://out/" + i)).text()).length))).length; },
  async upload() { return (await fetch("http://out/", { method: "POST", body: new Uint8Array(8 << 20) })).status; },
  async aborted() { const c = new AbortController(); const f = fetch("http://out/slow", { signal: c.signal }); c.abort(); return f.then(() => "no", (e) => e.name); },
  async refused(env) { return env.GONE.fetch("http://gone/").then(() => "no", (e) => e.constructor.name); },
  async raw() { const s = connect("example.com:80"); const w = s.writable.getWriter(); await w.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n")).catch(() => {}); await s.close().catch(() => {}); return "closed"; },
  async sockets() {
    const [a, b] = Object.values(new WebSocketPair()); a.accept(); b.accept();
    const got = new Promise((r) => b.addEventListener("message", (e) => r(e.data))); a.send("hi"); return got;
  },
  async cache() { await caches.default.put("http://x/", new Response("a")).catch(() => {}); return typeof (await caches.default.match("http://x/").catch(() => undefined)); },
  async object(env) { return env.COUNTER.get(env.COUNTER.idFromName("a")).add(1) > 0 || true; },
  async alarm(env) { const o = env.COUNTER.get(env.COUNTER.idFromName("b")); await o.add(1); for (let i = 0; i < 100 && !await o.rang(); i++) await sleep(20); return o.rang(); },
  async hibernate(env) {
    const r = await env.COUNTER.get(env.COUNTER.idFromName("c")).fetch("http://do/", { headers: { Upgrade: "websocket" } });
    r.webSocket.accept();
    const got = new Promise((ok) => r.webSocket.addEventListener("message", (e) => ok(e.data)));
    r.webSocket.send("hi"); return got;
  },
  async context() { return als.run(7, async () => { await sleep(1); return als.getStore(); }); },
  async node() {
    const found = {};
    for (const [k, f] of Object.entries({
      hostname: () => os.hostname(), cpus: () => os.cpus().length, mem: () => typeof os.freemem(), memory: () => typeof process.memoryUsage(),
      write: () => (fs.writeFileSync("/tmp/x", "y"), fs.readFileSync("/tmp/x", "utf8")), list: () => fs.readdirSync("/").length,
      uptime: () => typeof process.uptime(), hrtime: () => typeof process.hrtime.bigint(), cpu: () => typeof process.cpuUsage(),
    })) try { found[k] = f(); } catch (e) { found[k] = e.constructor.name; }
    return found;
  },
  async nodeHttp() { return new Promise((ok) => { http.get("http://out/", (r) => { r.resume(); r.on("end", () => ok(r.statusCode)); }).on("error", (e) => ok(e.constructor.name)); }); },
  async nodeNet() { return new Promise((ok) => { const s = net.connect(80, "example.com"); s.on("error", () => ok("error")); s.on("connect", () => { s.end(); ok("connected"); }); }); },
  async nodeDns() { return new Promise((ok) => { try { dns.lookup("example.com", (e) => ok(e ? "error" : "found")); } catch (e) { ok("threw"); } }); },
  async regexp() { return /^(a+)+$/.test("a".repeat(24) + "b"); },
  async intl() { return new Intl.DateTimeFormat("de", { timeZone: "Europe/Berlin" }).format(0) + new Date(0).toString() + [..."zäa"].sort(new Intl.Collator("de").compare); },
  async html() { return (await new HTMLRewriter().on("a", { element(e) { e.setAttribute("b", "c"); } }).transform(new Response("<a></a>")).text()); },
  async encoding() { return new TextDecoder("shift_jis").decode(new Uint8Array([0x82, 0xa0])); },
  async console() { console.log("x".repeat(1000)); console.error("y"); return true; },
  async throws() { try { null.x; } catch (e) { return e.stack.length > 0; } },
  async urlpattern() { return new URLPattern({ pathname: "/:a" }).test("http://x/y"); },
  async eventsource() { const e = new EventSource("http://out/"); const r = await new Promise((ok) => { e.onerror = () => ok("error"); e.onopen = () => ok("open"); }); e.close(); return r; },
  async socket() { const r = await fetch("http://out/ws", { headers: { Upgrade: "websocket" } }); return r.status; },
};

export default {
  async fetch(request, env, ctx) {
    if (request.url.endsWith("/upgrade")) {
      const [client, server] = Object.values(new WebSocketPair());
      server.accept(); server.addEventListener("message", (e) => server.send(e.data)); return new Response(null, { status: 101, webSocket: client });
    }
    if (request.url.endsWith("/uncaught")) throw new Error("uncaught");
    if (request.url.endsWith("/oom")) { const a = []; for (;;) a.push("x".repeat(100) + a.length); }
    ctx.waitUntil(sleep(20));
    const found = {};
    for (const [name, task] of Object.entries(tasks)) try { found[name] = await task(env); } catch (e) { found[name] = "threw " + e; }
    return Response.json(found);
  },
};
