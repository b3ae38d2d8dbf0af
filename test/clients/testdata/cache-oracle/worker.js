// Makes the operations in the request's body, one after the other, on caches, and answers with what came of each: every
// field of every response, or the exception's message.
const encoder = new TextEncoder();

function bytes({ text, size, seed }) {
  if (size === undefined) return encoder.encode(text);
  const out = new Uint8Array(size);
  for (let i = 0, x = seed; i < size; i++) out[i] = x = (Math.imul(x, 1103515245) + 12345) >>> 16;
  return out;
}

function body(b) {
  if (b === null) return null;
  switch (b.as) {
    case "text": return b.text;
    case "buffer": return bytes(b).buffer;
    case "stream": { // of a length that is known
      const all = bytes(b), { readable, writable } = new FixedLengthStream(all.length);
      const writer = writable.getWriter();
      writer.write(all).then(() => writer.close()).catch(() => {});
      return readable;
    }
    case "chunks": { // of one that is not
      const all = bytes(b);
      let at = 0;
      return new ReadableStream({ pull(c) { if (at >= all.length) return c.close(); c.enqueue(all.slice(at, at += 1 + all.length / 3)); } });
    }
    case "broken": { // and one that ends too early
      const all = bytes(b);
      let done = false;
      return new ReadableStream({ pull(c) { if (done) return c.error(new Error("broken off")); done = true; c.enqueue(all); } });
    }
  }
}

// parts takes a body of several ranges apart, whatever stands between them.
function parts(response, text) {
  const boundary = response.headers.get("content-type").split("boundary=")[1];
  return text.split(`--${boundary}`).slice(1, -1).map((part) => {
    const [head, content] = part.split("\r\n\r\n");
    return { head: head.trim().toLowerCase().split("\r\n").sort(), content };
  });
}

async function show(response) {
  if (response === undefined) return { undefined: true };
  const raw = new Uint8Array(await response.arrayBuffer());
  if (response.headers.get("content-type")?.startsWith("multipart/byteranges")) {
    return { status: response.status, parts: parts(response, new TextDecoder().decode(raw)) };
  }
  let sum = 0;
  for (const b of raw) sum = (Math.imul(sum, 31) + b) | 0;
  return {
    status: response.status, ok: response.ok, type: response.type, url: response.url, redirected: response.redirected,
    headers: Object.fromEntries(response.headers), cookies: response.headers.getSetCookie(),
    body: { length: raw.length, sum, head: new TextDecoder().decode(raw.subarray(0, 60)) },
  };
}

// key is the URL as each of the ways in which a call may be told of it.
function key({ url, as, method, headers }) {
  switch (as) {
    case "url": return new URL(url);
    case "request": return new Request(url, { method, headers });
  }
  return url;
}

async function run({ op, cache, request, response, options }) {
  const c = cache === "" ? caches.default : await caches.open(cache);
  switch (op) {
    case "match": return show(await c.match(key(request), options));
    case "delete": { // had tells what there was to delete
      const had = await c.match(request.url).then((r) => r !== undefined, () => false);
      return { had, deleted: await c.delete(key(request), options) };
    }
    case "put": {
      const r = new Response(body(response.body), { status: response.status, headers: response.headers });
      const answer = await c.put(key(request), r);
      return { put: answer === undefined, used: r.bodyUsed };
    }
  }
}

export default {
  async fetch(request) {
    const answers = [];
    for (const step of await request.json()) {
      try {
        answers.push(await run(step));
      } catch (e) {
        answers.push({ error: `${e.name}: ${e.message}` });
      }
    }
    return Response.json(answers);
  },
};
