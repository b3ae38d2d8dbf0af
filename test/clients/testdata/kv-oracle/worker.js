// Makes the operations in the request's body, one after the other, and answers with what came of each: every field of every
// answer, or the exception's message.
const encoder = new TextEncoder();
const hex = (bytes) => Array.from(bytes.subarray(0, 64), (b) => b.toString(16).padStart(2, "0")).join("") + ":" + bytes.length;

function bytes({ text, size, raw }) {
  if (raw !== undefined) return Uint8Array.from(raw);
  return size === undefined ? encoder.encode(text) : new Uint8Array(size).fill(65);
}

function value(v) {
  switch (v.as) {
    case "text": return v.text ?? "A".repeat(v.size);
    case "buffer": return bytes(v).buffer;
    case "view": return bytes(v).subarray(0, bytes(v).length);
    case "stream": return new Response(bytes(v)).body;
    case "chunks": {
      const all = bytes(v);
      let at = 0;
      return new ReadableStream({ pull(c) { if (at >= all.length) return c.close(); c.enqueue(all.subarray(at, at += 1 + all.length / 3)); } });
    }
  }
}

// show makes JSON of any value that a binding returns.
async function show(v) {
  if (v === undefined) return { undefined: true };
  if (v instanceof ArrayBuffer) return { buffer: hex(new Uint8Array(v)) };
  if (v instanceof ReadableStream) return { stream: hex(new Uint8Array(await new Response(v).arrayBuffer())) };
  if (typeof v === "string") return v.length > 400 ? { long: v.slice(0, 50), length: v.length } : { text: v };
  if (v instanceof Map) return { map: await Promise.all(Array.from(v, async ([k, x]) => [k, await show(x)])) };
  if (Array.isArray(v)) return Promise.all(v.map(show));
  if (typeof v !== "object" || v === null) return { value: v };
  const o = {};
  for (const [k, x] of Object.entries(v)) o[k] = await show(x);
  return { object: o };
}

async function run(kv, { op, key, value: v, options }) {
  switch (op) {
    case "put": return kv.put(key, value(v), options);
    case "delete": return kv.delete(key);
    case "get": return kv.get(key, options);
    case "meta": return kv.getWithMetadata(key, options);
    case "list": return kv.list(options);
    case "pages": { // the whole list, page by page; the cursors are each one's own
      const pages = [];
      for (let cursor; ;) {
        const page = await kv.list({ ...options, cursor });
        cursor = page.cursor;
        pages.push({ ...page, cursor: typeof cursor });
        if (page.list_complete || pages.length > 50) return pages;
      }
    }
  }
}

export default {
  async fetch(request, env) {
    const answers = [];
    for (const step of await request.json()) {
      try {
        answers.push({ ok: await show(await run(env.KV, step)) });
      } catch (e) {
        answers.push({ error: `${e.name}: ${e.message}` });
      }
    }
    return Response.json(answers);
  },
};
