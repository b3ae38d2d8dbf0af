// Sends what the request's body says to queues, and is their consumer: what it sees goes to a KV namespace, and what it does
// with a message is told by the message. That has a token, a plan of one entry an attempt, and a payload, in the way that its
// content type has room for; one without is acknowledged.
const encoder = new TextEncoder();
const hex = (bytes) => Array.from(bytes.subarray(0, 40), (b) => b.toString(16).padStart(2, "0")).join("") + ":" + bytes.length;

// payloads are values by name: what JSON cannot say.
const payloads = {
  date: () => new Date(1.7e12), map: () => new Map([["a", 1], [{ b: 2 }, new Set([3])]]), set: () => new Set([1, "1", null]),
  bigint: () => 2n ** 70n, regexp: () => /a+/gi, error: () => new RangeError("wrong"), nan: () => NaN, zero: () => -0, infinity: () => -Infinity,
  undefined: () => undefined, holes: () => [1, , 3], floats: () => new Float32Array([1.5, -2]), buffer: () => new Uint8Array([1, 2, 3]).buffer,
  view: () => new DataView(new ArrayBuffer(9), 2, 5), part: () => new Uint8Array([0, 1, 2, 3, 4]).subarray(1, 4), boxed: () => Object("text"),
  cyclic: () => { const o = { name: "o" }; o.self = o; return o; }, function: () => () => 1, symbol: () => Symbol("s"), promise: () => Promise.resolve(1),
  request: () => new Request("http://example.com/"), response: () => new Response("x"), headers: () => new Headers({ a: "b" }), blob: () => new Blob(["x"]),
  stream: () => new Response("x").body, lone: () => "a\ud800b", nul: () => "a\u0000b", tojson: () => ({ toJSON: () => "its own" }), klass: () => new (class Point { x = 1; })(),
  getter: () => ({ get x() { throw new RangeError("thrown by a getter"); } }), bytes: () => new Uint8Array([0, 255, 128, 10]),
};

function payload(p) {
  if (p === undefined || p === null) return p;
  if (p.named) return payloads[p.named]();
  if (p.size !== undefined) return p.bytes ? new Uint8Array(p.size).fill(7) : "m".repeat(p.size);
  return p.value;
}

// body is what is sent: the payload alone, or with the token and the plan.
function body({ bare, token, plan, payload: p, type }) {
  const value = payload(p);
  if (bare) return value;
  const line = `${token}|${JSON.stringify(plan)}|`;
  switch (type?.toLowerCase()) {
    case "text": return line + String(value);
    case "bytes": return encoder.encode(line + String(value));
  }
  return { token, plan, payload: value };
}

function understand(body) {
  if (body instanceof Uint8Array || body instanceof ArrayBuffer) body = new TextDecoder().decode(body);
  if (typeof body === "string" && /^[a-z0-9-]+\|\[/.test(body)) {
    const [token, plan] = body.split("|");
    return { token, plan: JSON.parse(plan) };
  }
  return body?.token ? body : { token: "", plan: [] };
}

// show makes JSON of any value, of which JSON itself tells too little.
function show(v, seen = []) {
  if (v === null || typeof v === "boolean") return v;
  if (typeof v === "string") return v.length > 300 ? { long: v.slice(0, 60), length: v.length } : { text: Array.from(v, (c) => c.codePointAt(0) < 0x20 || (c >= "\ud800" && c <= "\udfff" && c.length === 1) ? `<${c.charCodeAt(0)}>` : c).join("") };
  if (typeof v !== "object") return { [typeof v]: Object.is(v, -0) ? "-0" : String(v) };
  if (seen.includes(v)) return { cycle: seen.indexOf(v) };
  seen = [...seen, v];
  const name = v.constructor?.name ?? "none";
  if (v instanceof Date) return { Date: v.getTime() };
  if (v instanceof RegExp || v instanceof Error) return { [name]: String(v) };
  if (v instanceof Map) return { Map: Array.from(v, (e) => show(e, seen)) };
  if (v instanceof Set) return { Set: Array.from(v, (e) => show(e, seen)) };
  if (v instanceof ArrayBuffer) return { ArrayBuffer: hex(new Uint8Array(v)) };
  if (ArrayBuffer.isView(v)) return { [name]: hex(new Uint8Array(v.buffer, v.byteOffset, v.byteLength)), offset: v.byteOffset, of: v.buffer.byteLength };
  if (Array.isArray(v)) return Array.from({ length: v.length }, (_, i) => (i in v ? show(v[i], seen) : { hole: true }));
  return { [name]: Object.fromEntries(Object.entries(v).map(([k, x]) => [k, show(x, seen)])) };
}

function* each(list) { yield* list; }

async function run(env, step) {
  const { op, queue, message, messages, options, iterable } = step;
  switch (op) {
    case "send": return env[queue].send(body(message), message.options);
    case "batch": {
      const list = messages.map((m) => ({ body: body(m), ...m.options }));
      return env[queue].sendBatch(iterable ? each(list) : list, options);
    }
    case "odd": return env[queue].sendBatch({ null: null, number: 5, text: "ab", object: {}, empty: [], strings: ["a"], nothing: [null] }[step.what]);
    case "records": { // what has been seen, but for what the caller knows
      await scheduler.wait(step.wait);
      const seen = new Set(step.seen), fresh = [], records = {};
      for (let cursor; ;) {
        const page = await env.RECORDS.list({ cursor });
        for (const { name } of page.keys) if (!seen.has(name)) fresh.push(name);
        if (page.list_complete) break;
        cursor = page.cursor;
      }
      for (let at = 0; at < fresh.length; at += 100) {
        for (const [name, value] of await env.RECORDS.get(fresh.slice(at, at + 100), "json")) records[name] = value;
      }
      return records;
    }
  }
}

export default {
  async fetch(request, env) {
    const answers = [];
    for (const step of await request.json()) {
      const at = Date.now();
      try {
        const result = await run(env, step);
        if (step.op === "records") {
          answers.push(result);
          continue;
        }
        const m = result?.metadata?.metrics;
        answers.push({ at, ok: { count: typeof m?.backlogCount, bytes: typeof m?.backlogBytes, keys: Object.keys(result ?? {}) } });
      } catch (e) {
        answers.push({ at, error: `${e.name}: ${e.message}` });
      }
    }
    return Response.json(answers);
  },

  async queue(batch, env, ctx) {
    const at = Date.now(), dead = batch.queue.endsWith("-dead");
    const seen = [], actions = [];
    for (const m of batch.messages) {
      const { token, plan } = understand(m.body);
      seen.push({
        queue: batch.queue, token, attempts: m.attempts, body: show(m.body), at, id: typeof m.id, size: batch.messages.length,
        recent: m.timestamp instanceof Date && Math.abs(at - m.timestamp.getTime()) < 120e3, metrics: typeof batch.metadata?.metrics?.backlogCount,
      });
      actions.push(dead ? {} : plan[m.attempts - 1] ?? {});
    }
    await env.RECORDS.put(crypto.randomUUID(), JSON.stringify(seen));
    batch.messages.forEach((m, i) => {
      for (const call of actions[i].message ?? []) m[call]({ delaySeconds: actions[i].delay });
    });
    const { batch: calls = [], end, delay } = actions[0];
    for (const call of calls) batch[call]({ delaySeconds: delay });
    if (end === "throw") throw new Error("as planned");
    if (end === "later") ctx.waitUntil(Promise.reject(new Error("as planned, later")));
  },
};
