package hostile_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// overMemory is what the dispatch Worker is thrown for a request of a process that used more memory than it may.
//
// Where the rlimit behind the watch comes first, what is one too many fails in the Worker's own hands.
const overMemory = `^500 (Error: Worker exceeded memory limit\.$|RangeError: )`

// bounded is what may become of a bomb that the engine itself defuses, by an exception that the Worker may catch.
const bounded = `^(500 \S+: |200 )`

// memoryAttacks use as much memory as they can get, each from another of the engine's purses. The process dies, so nobody
// else is in it; the machine's memory is not theirs.
func memoryAttacks() []attack {
	list := []attack{
		{name: "heap", want: overMemory, code: handler(`const a = []; for (;;) a.push(new Array(1e5).fill(Math.random()));`)},
		{name: "heap-across-requests", run: pileUp, code: "const kept = [];\n" + handler(`kept.push(new Array(3e6).fill(Math.random())); return new Response("ok");`)},
		{name: "array-buffers", want: overMemory, code: handler(`const a = []; for (;;) { const b = new Uint8Array(8 << 20); b.fill(1); a.push(b); }`)},
		{name: "one-array-buffer", want: bounded, code: handler(`return new Response(String(new Uint8Array(4e9).fill(1).length));`)},
		{name: "strings", want: overMemory, code: handler(`const a = []; for (let i = 0; ; i++) { const s = ("x" + i).repeat(1e6); s.charCodeAt(5); a.push(s + i, s.split("").length); }`)},
		{name: "wasm", want: `^500 (Error: Worker exceeded memory limit\.|RangeError: )`, code: handler(`const a = []; for (;;) { const m = new WebAssembly.Memory({ initial: 160 }); new Uint8Array(m.buffer).fill(1); a.push(m); }`)},
		{name: "wasm-growth", want: `^500 (Error: Worker exceeded memory limit\.|RangeError: )`, code: handler(`const m = new WebAssembly.Memory({ initial: 1 }); for (;;) { m.grow(160); new Uint8Array(m.buffer).fill(1); }`)},
		{name: "stream-queue", want: overMemory, code: handler(`return new Response(new ReadableStream({ start(c) { for (;;) c.enqueue(new Uint8Array(1 << 20).fill(1)); } }));`)},
		{name: "stream-tee", want: `^(500 (Error: Worker exceeded memory limit\.|RangeError: )|200 broken off)`, code: handler(`let n = 0; const s = new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1 << 20).fill(1)); } });
			const [a, b] = s.tee(); globalThis.kept = b; const r = a.getReader(); for (;;) await r.read();`)},
		{name: "transform-queue", want: overMemory, code: handler(`const { writable } = new TransformStream({}, new CountQueuingStrategy({ highWaterMark: 1e9 }), new CountQueuingStrategy({ highWaterMark: 1e9 })); const w = writable.getWriter(); for (;;) { w.write(new Uint8Array(1 << 20).fill(1)); await null; }`)},
		{name: "promises", want: overMemory, code: handler(`const a = []; for (;;) a.push(new Promise(() => {}).then(() => a));`)},
		{name: "timers", want: `^500 QuotaExceededError: `, code: handler(`for (;;) setTimeout(() => {}, 1e6, new Array(1000).fill(1));`)},
		{name: "map", want: overMemory, code: handler(`const m = new Map(); for (let i = 0; ; i++) m.set({ i }, new Array(100).fill(i));`)},
		{name: "blobs", want: overMemory, code: handler(`const a = []; for (;;) a.push(new Blob([new Uint8Array(4 << 20).fill(1)]));`)},
		{name: "headers", want: overMemory, code: handler(`const a = []; for (;;) { const h = new Headers(); for (let i = 0; i < 1000; i++) h.set("x" + i, "y".repeat(1000)); a.push(h); }`)},
		{name: "web-socket-queue", want: overMemory, code: handler(`const { 0: client, 1: server } = new WebSocketPair(); server.accept(); client.accept(); for (;;) server.send(new Uint8Array(1 << 20).fill(1));`)},
		{name: "files", flags: []string{"nodejs_compat"}, date: "2026-01-01", want: `^500 `, code: `import fs from "node:fs";` + handler(`for (let i = 0; ; i++) fs.writeFileSync("/tmp/" + i, new Uint8Array(1 << 22).fill(1));`)},
		{name: "compression", want: `^(500 (Error: Worker exceeded memory limit\.|RangeError: )|200 \d+)`, code: handler(`const zeros = new ReadableStream({ n: 0, pull(c) { if (this.n++ < 96) c.enqueue(new Uint8Array(1 << 20)); else c.close(); } });
			const packed = await new Response(zeros.pipeThrough(new CompressionStream("gzip"))).arrayBuffer(); const kept = [];
			for (let i = 0; i < 4; i++) kept.push(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()); return new Response(String(kept.length));`)},
		{name: "scrypt", flags: []string{"nodejs_compat"}, want: bounded, code: `import { scryptSync } from "node:crypto";` + handler(`scryptSync("a", "b", 64, { N: 2 ** 20, r: 32, p: 1, maxmem: 2 ** 40 }); return new Response("done");`)},
		{name: "stack", want: `^500 RangeError: Maximum call stack size exceeded$`, code: handler(`const f = () => f() + 1; f();`)},
		{name: "deep-json", want: bounded, code: handler(`return new Response(String(JSON.parse("[".repeat(5e6)).length));`)},
		{name: "deep-clone", want: bounded, code: handler(`let a = []; for (let i = 0; i < 1e6; i++) a = [a]; structuredClone(a); return new Response("ok");`)},
		{name: "deep-regular-expression", want: bounded, code: handler(`return new Response(String(new RegExp("(".repeat(1e5) + ")".repeat(1e5)).test("a")));`)},
		{name: "wait-until", want: `^200 bye$`, code: handler(`ctx.waitUntil((async () => { await scheduler.wait(20); const a = []; for (;;) a.push(new Array(1e5).fill(Math.random())); })()); return new Response("bye");`)},
		{name: "wait-until-unasked", run: growUnasked, code: handler(`ctx.waitUntil((async () => { await scheduler.wait(2500); globalThis.kept = []; for (let i = 0; i < 80; i++) kept.push(new Uint8Array(8 << 20).fill(1)); await scheduler.wait(3600_000); })()); return new Response("bye");`)},
		{name: "module-scope", refused: "Script startup exceeded memory limit.", code: "const a = [];\nfor (;;) a.push(new Array(1e5).fill(Math.random()));\n" + handler(``)},
	}
	for i := range list {
		list[i].alone, list[i].cpuMs = true, 10_000
	}
	return list
}

// pileUp keeps a little of each request, so that none of them is to blame alone.
func pileUp(t *testing.T, s *site, host string) {
	for range 20 {
		if got := s.get(t, host, "/", ""); got != "200 ok" {
			if got != "500 Error: Worker exceeded memory limit." {
				t.Errorf("got %q", got)
			}
			return
		}
	}
	t.Error("it was never stopped")
}

// growUnasked has a process grow when nobody asks for anything any more.
func growUnasked(t *testing.T, s *site, host string) {
	s.want(t, host, "/", attack{cpuMs: 10_000}.limits(), "^200 bye$")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	most := 0
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); <-tick.C {
		most = max(most, largest())
	}
	t.Logf("it came to %d MB", most)
	settle(t, "MB of the largest process", largest, 320)
}

// largest is the anonymous memory of the node's largest process, in MiB.
func largest() int {
	most := 0
	for pid := range engines() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), "RssAnon:")
		kb := 0
		fmt.Sscan(rest, &kb)
		most = max(most, kb>>10)
	}
	return most
}
