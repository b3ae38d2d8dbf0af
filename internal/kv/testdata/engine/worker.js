// Runs the operations it is sent on both namespaces and says what each answered, in a form that JSON keeps apart:
// undefined, ArrayBuffer, Map and errors.
function plain(v) {
  if (v === undefined) return { undefined: true };
  if (v instanceof ArrayBuffer) {
    const bytes = new Uint8Array(v);
    let sum = 0;
    for (const b of bytes) sum = (Math.imul(sum, 31) + b) | 0;
    return { length: bytes.length, sum, head: Array.from(bytes.slice(0, 50)) };
  }
  if (v instanceof Map) return { map: Array.from(v, ([k, x]) => [k, plain(x)]) };
  if (v !== null && typeof v === "object" && "cacheStatus" in v) {
    const { cacheStatus, cursor, value, ...rest } = v;
    return { ...rest, ...(value === undefined ? {} : { value: plain(value) }), more: cursor !== undefined };
  }
  return v;
}

function body({ text, bytes, repeat, stream }) {
  let value = text ?? new Uint8Array(bytes);
  if (repeat) value = text.repeat(repeat);
  if (!stream) return value;
  const data = typeof value === "string" ? new TextEncoder().encode(value) : value;
  if (stream === "fixed") {
    const { readable, writable } = new FixedLengthStream(data.length);
    const writer = writable.getWriter();
    writer.write(data).then(() => writer.close()).catch(() => {});
    return readable;
  }
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  (async () => {
    for (let at = 0; at < data.length; at += 65536) await writer.write(data.slice(at, at + 65536));
    await writer.close();
  })().catch(() => {});
  return readable;
}

async function run(kv, { op, args, value }) {
  switch (op) {
    case "put":
      return kv.put(args[0], body(value), args[1]);
    case "stream": {
      const stream = await kv.get(args[0], "stream");
      return stream && new Response(stream).arrayBuffer();
    }
    case "size": {
      const data = await kv.get(args[0], "arrayBuffer");
      return data && data.byteLength;
    }
    case "pages": {
      const pages = [];
      for (let cursor; ; ) {
        const page = await kv.list({ ...args[0], cursor });
        pages.push(plain(page));
        if (page.list_complete) return pages;
        cursor = page.cursor;
      }
    }
    case "absent":
      return kv.get(args[0]).then((v) => v === null);
    default:
      return kv[op](...args);
  }
}

async function attempt(kv, step) {
  try {
    return plain(await run(kv, step));
  } catch (e) {
    return { error: `${e.name}: ${e.message}` };
  }
}

export default {
  async fetch(request, env) {
    const answers = [];
    for (const step of await request.json()) {
      answers.push(await Promise.all([attempt(env.OURS, step), attempt(env.WORKERD, step)]));
    }
    return Response.json(answers);
  },
};
