// Runs the operations it is sent on its bucket and says what each answered, in a form that JSON keeps apart. What the two
// sides may differ in is left to the test: versions, times, upload ids and cursors are named by the order they came in.
const state = { uploads: [], parts: new Map() };

function hex(buffer) {
  return buffer && Array.from(new Uint8Array(buffer), (b) => b.toString(16).padStart(2, "0")).join("");
}

function metadata(m) {
  return m === undefined ? { undefined: true } : { ...m, ...(m.cacheExpiry ? { cacheExpiry: m.cacheExpiry.getTime() } : {}) };
}

function show(o) {
  if (o === null || o === undefined) return o === null ? null : { undefined: true };
  const headers = new Headers();
  if (o.httpMetadata) o.writeHttpMetadata(headers);
  return {
    key: o.key, size: o.size, etag: o.etag, httpEtag: o.httpEtag, version: /^[0-9a-f]{32}$/.test(o.version),
    recent: Math.abs(Date.now() - o.uploaded.getTime()) < 3600e3, range: o.range ?? null, ssec: o.ssecKeyMd5 ?? null,
    http: metadata(o.httpMetadata), custom: o.customMetadata ?? { undefined: true }, headers: [...headers],
    checksums: o.checksums.toJSON(), class: o.storageClass,
  };
}

async function content(o) {
  if (o === null || !("body" in o)) return show(o);
  const bytes = new Uint8Array(await o.arrayBuffer());
  let sum = 0;
  for (const b of bytes) sum = (Math.imul(sum, 31) + b) | 0;
  return { ...show(o), body: { length: bytes.length, sum, head: Array.from(bytes.slice(0, 40)) }, used: o.bodyUsed };
}

function body({ text, repeat, stream, seed }) {
  let value = text === undefined ? new Uint8Array(repeat) : text.repeat(repeat ?? 1);
  if (text === undefined) for (let i = 0, x = seed; i < repeat; i++) value[i] = x = (Math.imul(x, 1103515245) + 12345) >>> 16;
  if (!stream) return value;
  const data = typeof value === "string" ? new TextEncoder().encode(value) : value;
  const { readable, writable } = new FixedLengthStream(data.length);
  const writer = writable.getWriter();
  (async () => {
    for (let at = 0; at < data.length; at += 50000) await writer.write(data.slice(at, at + 50000));
    await writer.close();
  })().catch(() => {});
  return readable;
}

function options(o) {
  if (!o) return undefined;
  const out = structuredClone(o);
  for (const k of ["onlyIf", "httpMetadata", "range"]) if (o[k]?.headers) out[k] = new Headers(o[k].headers);
  const c = out.onlyIf;
  if (c && !(c instanceof Headers)) {
    for (const k of ["uploadedBefore", "uploadedAfter"]) if (c[k] !== undefined) c[k] = new Date(Date.now() + c[k]);
  }
  if (out.httpMetadata?.cacheExpiry) out.httpMetadata.cacheExpiry = new Date(out.httpMetadata.cacheExpiry);
  return out;
}

async function run(bucket, { op, key, keys, value, opts, upload, number, chosen, list }) {
  switch (op) {
    case "head": return show(await bucket.head(key));
    case "get": return content(await bucket.get(key, options(opts)));
    case "put": return show(await bucket.put(key, value === null ? null : body(value), options(opts)));
    case "delete": return (await bucket.delete(keys ?? key)) ?? "deleted";
    case "list": {
      const pages = [];
      for (let cursor; pages.length < 60; ) {
        const page = await bucket.list({ ...list, ...(cursor ? { cursor } : {}) });
        pages.push({ objects: page.objects.map(show), prefixes: page.delimitedPrefixes, truncated: page.truncated });
        if (!page.truncated) break;
        cursor = page.cursor;
      }
      return pages;
    }
    case "create": {
      const u = await bucket.createMultipartUpload(key, options(opts));
      state.uploads[upload] = u;
      return { key: u.key, id: typeof u.uploadId };
    }
    case "part": {
      const u = bucket.resumeMultipartUpload(state.uploads[upload].key, state.uploads[upload].uploadId);
      const p = await u.uploadPart(number, body(value), options(opts));
      state.parts.set(`${upload}/${number}`, p);
      return { partNumber: p.partNumber, etag: typeof p.etag };
    }
    case "complete": return show(await state.uploads[upload].complete(chosen.map((n) =>
      state.parts.get(`${upload}/${Math.abs(n)}`) && n > 0 ? state.parts.get(`${upload}/${n}`) : { partNumber: Math.abs(n), etag: "wrong" })));
    case "abort": return (await state.uploads[upload].abort()) ?? "aborted";
    case "foreign": {
      const u = bucket.resumeMultipartUpload(key, "c29tZXRoaW5nIG1hZGUgdXA");
      return u.uploadPart(1, "x");
    }
  }
}

export default {
  async fetch(request, env) {
    const answers = [];
    for (const step of await request.json()) {
      try {
        answers.push(await run(env.BUCKET, step));
      } catch (e) {
        answers.push({ error: `${e.name}: ${e.message}` });
      }
    }
    return Response.json(answers);
  },
};
