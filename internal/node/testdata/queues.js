// Sends what it is told to, and keeps what its own queue() got. A value that JSON cannot hold is shown as text.
const got = [];

const values = {
  v8: () => {
    const shared = { a: 1 };
    const sparse = [1, , 3];
    sparse.named = "x";
    const round = { list: [shared, shared] };
    round.self = round;
    return {
      undefined: undefined, null: null, yes: true, no: false, int: -7, big: 4294967295, double: 1.5, nan: NaN, minus: -0, bigint: -123456789012345678901234567890n,
      latin: "caf\u00e9", wide: "\u20ac\ud83d\ude00 wide", empty: "", date: new Date(1700000000123), regexp: /a+b/giu, map: new Map([[1, { x: 1 }], ["k", shared]]),
      set: new Set(["a", 2]), buffer: new Uint8Array([1, 2, 3]).buffer, bytes: new Uint8Array([9, 8, 7]).subarray(1), floats: new Float64Array([1.5, -2]),
      words: new Uint16Array([1, 65535]), data: new DataView(new ArrayBuffer(4), 1, 2), bigs: new BigInt64Array([-1n]), resizable: new ArrayBuffer(2, { maxByteLength: 8 }),
      error: Object.assign(new RangeError("too far", { cause: "why" }), { stack: "RangeError: too far\n  at x" }), wrapped: [Object(1), Object("s"), Object(true), Object(2n)],
      dense: [1, "two", [3]], sparse, holes: new Array(3), round, proto: JSON.parse('{"__proto__":{"polluted":1},"10":2}'),
      long: "x".repeat(10000), many: Array.from({ length: 300 }, (_, i) => ({ i })),
    };
  },
};

function show(value, seen = new Map()) {
  if (typeof value !== "object" || value === null) return `${typeof value} ${Object.is(value, -0) ? "-0" : String(value)}`;
  if (seen.has(value)) return `ref ${seen.get(value)}`;
  seen.set(value, seen.size);
  const name = Object.prototype.toString.call(value) + " " + (Object.getPrototypeOf(value)?.constructor?.name ?? "none");
  const own = Reflect.ownKeys(value).filter((k) => typeof k === "string").map((k) => `${k}:${show(value[k], seen)}`);
  let more = "";
  if (value instanceof Date) more = value.getTime();
  if (value instanceof RegExp || value instanceof Error) more = String(value);
  if (value instanceof Map || value instanceof Set) more = [...value].map((v) => show(v, seen)).join();
  if (value instanceof ArrayBuffer) more = `${value.byteLength}/${value.maxByteLength} ${[...new Uint8Array(value)]}`;
  if (ArrayBuffer.isView(value)) more = `${value.byteOffset} ${value.byteLength} in ${value.buffer.byteLength}`;
  if (value instanceof Number || value instanceof String || value instanceof Boolean || value instanceof BigInt) more = String(value);
  return `${name}(${more}){${own}}`;
}

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/send": {
        const { body, options } = await request.json();
        return Response.json(await env.QUEUE.send(body, options));
      }
      case "/batch": {
        const { messages, options } = await request.json();
        return Response.json(await env.QUEUE.sendBatch(messages, options));
      }
      case "/bytes":
        await env.QUEUE.sendBatch([{ body: new Uint8Array([0, 255, 1]), contentType: "bytes" }, { body: "caf\u00e9 \u20ac", contentType: "text" }]);
        return new Response("sent");
      case "/v8":
        await env.QUEUE.send(values.v8(), { contentType: "v8" });
        return new Response(show(values.v8()));
      case "/metrics":
        return Response.json(await env.QUEUE.metrics());
      case "/got": {
        const n = Number(url.searchParams.get("n"));
        for (let i = 0; i < 1000 && got.length < n; i++) await scheduler.wait(20);
        return Response.json(got);
      }
    }
  },

  async queue(batch, env, ctx) {
    for (const m of batch.messages) {
      const body = m.body;
      got.push({ queue: batch.queue, id: m.id, attempts: m.attempts, at: m.timestamp instanceof Date, body: body instanceof Object && body.show === undefined && !Array.isArray(body) && body.constructor !== Object ? show(body) : body?.round ? show(body) : body });
      if (body?.act === "retry") m.retry({ delaySeconds: body.delay });
      if (body?.act === "ack-throw") m.ack();
    }
    if (batch.messages.some((m) => m.body?.act?.endsWith("throw"))) throw new Error("told to");
    if (batch.messages.some((m) => m.body?.act === "reject")) ctx.waitUntil(Promise.reject(new Error("later")));
  },
};
