// Drives one major of the TypeScript SDK through Workers for Platforms: node sdk/contract.mjs MAJOR. The node's addresses
// come in the environment. Prints one JSON line a step: {"step", "ok", "error"?} or {"step", "skipped"}.
import assert from "node:assert/strict";
import { connect } from "./dialects.mjs";
import { ACCOUNT, API_TOKEN, BASE_URL, all, edge, major, moduleFile, saying, showing, step } from "./steps.mjs";

const sdk = await connect(major, { baseURL: BASE_URL, apiToken: API_TOKEN, account: ACCOUNT });
const ns = "production";

const seen = async (script) => JSON.parse((await edge(script)).body);

await step("namespaces-create", async () => {
  const made = await sdk.namespaces.create("extra");
  assert.equal(made.namespace_name, "extra");
  assert.match(made.namespace_id, /^[0-9a-f-]{36}$/);
  assert.equal(made.trusted_workers, false);
});

await step("namespaces-list", async () => {
  const names = (await all(sdk.namespaces.list())).map((n) => n.namespace_name);
  assert.deepEqual(names.sort(), ["extra", "production"]);
});

await step("namespaces-get", async () => {
  const got = await sdk.namespaces.get("extra");
  for (const field of ["namespace_id", "created_on", "modified_on", "script_count"]) assert.ok(field in got, field);
});

await step("namespaces-delete", async () => {
  await sdk.namespaces.remove("extra");
  await assert.rejects(sdk.namespaces.get("extra"), (e) => e.status === 404 && e.errors[0].code === 100119);
});

await step("scripts-update", async () => {
  const made = await sdk.update(ns, "first", {
    metadata: { main_module: "first.mjs" },
    files: [moduleFile("first.mjs", saying("hello from the sdk"))],
  });
  assert.equal(typeof made.startup_time_ms, "number");
  assert.equal(made.id, "first");
  assert.ok(made.etag);
  assert.deepEqual(await edge("first"), { status: 200, body: "hello from the sdk" });
});

await step("scripts-update-settings", async () => {
  await sdk.update(ns, "bound", {
    metadata: {
      main_module: "bound.mjs",
      compatibility_date: "2024-01-01",
      bindings: [
        { type: "plain_text", name: "TEXT", text: "plain" },
        { type: "json", name: "DATA", json: { a: [1, "two"] } },
        { type: "secret_text", name: "SECRET", text: "hush" },
      ],
      tags: ["customer-123", "production", "pro-plan"],
    },
    files: [moduleFile("bound.mjs", showing)],
  });
  const env = await seen("bound");
  assert.equal(env.TEXT, "plain");
  assert.equal(env.SECRET, "hush");
  assert.deepEqual(env.DATA, { a: [1, "two"] });
  const bindings = await all(sdk.bindings(ns, "bound"));
  assert.deepEqual(bindings.map((b) => b.name).sort(), ["DATA", "SECRET", "TEXT"]);
  assert.ok(!JSON.stringify(bindings).includes("hush"), "a secret's value is never returned");
  assert.deepEqual((await all(sdk.tags.list(ns, "bound"))).sort(), ["customer-123", "pro-plan", "production"]);
});

await step("scripts-update-modules", async () => {
  await sdk.update(ns, "several", {
    metadata: { main_module: "main.mjs" },
    files: [
      moduleFile("main.mjs", `import { text } from "./lib.mjs"; export default { fetch: () => new Response(text) }`),
      moduleFile("lib.mjs", `export const text = "of two modules";`),
    ],
  });
  assert.equal((await edge("several")).body, "of two modules");
});

await step("scripts-update-refused", async () => {
  const bad = { metadata: { main_module: "bad.mjs" }, files: [moduleFile("bad.mjs", "throw new Error('at the top')")] };
  await assert.rejects(sdk.update(ns, "bad", bad), (e) => {
    assert.equal(e.status, 400);
    assert.equal(e.errors[0].code, 10021);
    assert.match(e.errors[0].message, /at the top/);
    return true;
  });
  await assert.rejects(sdk.get(ns, "bad"), (e) => e.status === 404 && e.errors[0].code === 10092);
});

await step("scripts-get", async () => {
  const got = await sdk.get(ns, "first");
  assert.equal(got.dispatch_namespace, ns);
  assert.equal(got.script.id, "first");
  assert.ok(got.created_on && got.modified_on);
});

await step("content-get", async () => {
  const res = await sdk.content.get(ns, "first");
  assert.match(await res.text(), /hello from the sdk/);
});

await step("content-update", async () => {
  await sdk.content.update(ns, "bound", {
    metadata: { main_module: "bound.mjs" },
    files: [moduleFile("bound.mjs", `export default { fetch: (r, env) => new Response("new code, " + env.TEXT) }`)],
  });
  assert.equal((await edge("bound")).body, "new code, plain");
  await sdk.content.update(ns, "bound", { metadata: { main_module: "bound.mjs" }, files: [moduleFile("bound.mjs", showing)] });
  assert.equal((await seen("bound")).SECRET, "hush");
});

await step("settings-get", async () => {
  const got = await sdk.settings.get(ns, "bound");
  assert.equal(got.compatibility_date, "2024-01-01");
  assert.equal(got.bindings.length, 3);
  assert.deepEqual([...got.tags].sort(), ["customer-123", "pro-plan", "production"]);
});

await step("settings-edit", async () => {
  const got = await sdk.settings.edit(ns, "bound", {
    tags: ["customer-123", "free-plan"],
    bindings: [
      { type: "plain_text", name: "TEXT", text: "changed" },
      { type: "plain_text", name: "SECOND", text: "added" },
      { type: "inherit", name: "SECRET" },
    ],
  });
  assert.deepEqual([...got.tags].sort(), ["customer-123", "free-plan"]);
  const env = await seen("bound");
  assert.equal(env.TEXT, "changed");
  assert.equal(env.SECOND, "added");
  assert.equal(env.SECRET, "hush");
  assert.equal(env.DATA, undefined);
});

await step("secrets-update", async () => {
  const made = await sdk.secrets.update(ns, "bound", { name: "TOKEN", text: "t1", type: "secret_text" });
  assert.deepEqual({ name: made.name, type: made.type }, { name: "TOKEN", type: "secret_text" });
  assert.equal((await seen("bound")).TOKEN, "t1");
});

await step("secrets-list", async () => {
  const list = await all(sdk.secrets.list(ns, "bound"));
  assert.deepEqual(list.map((s) => s.name).sort(), ["SECRET", "TOKEN"]);
  assert.ok(!JSON.stringify(list).includes("t1"));
});

await step("secrets-get", async () => {
  const got = await sdk.secrets.get(ns, "bound", "TOKEN");
  assert.deepEqual({ name: got.name, type: got.type }, { name: "TOKEN", type: "secret_text" });
  await assert.rejects(sdk.secrets.get(ns, "bound", "NOPE"), (e) => e.status === 404 && e.errors[0].code === 10056);
}, Boolean(sdk.secrets.get));

await step("secrets-delete", async () => {
  await sdk.secrets.remove(ns, "bound", "TOKEN");
  assert.equal((await seen("bound")).TOKEN, undefined);
}, Boolean(sdk.secrets.remove));

await step("secrets-bulk-update", async () => {
  const got = await sdk.secrets.bulk(ns, "bound", { A: { name: "A", text: "1", type: "secret_text" }, SECRET: null });
  assert.deepEqual(Object.keys(got).includes("A"), true);
  const env = await seen("bound");
  assert.equal(env.A, "1");
  assert.equal(env.SECRET, undefined);
}, Boolean(sdk.secrets.bulk));

await step("tags-update", async () => {
  await sdk.tags.update(ns, "first", ["red", "green", "my blue"]);
  assert.deepEqual((await all(sdk.tags.list(ns, "first"))).sort(), ["green", "my blue", "red"]);
});

await step("tags-delete", async () => {
  await sdk.tags.remove(ns, "first", "red");
  await sdk.tags.remove(ns, "first", major >= 7 ? "my blue" : "my%20blue");
  assert.deepEqual(await all(sdk.tags.list(ns, "first")), ["green"]);
});

await step("client-put-form", async () => {
  // The seed's raw form: fields of FormData as strings, the module without a filename.
  const form = new FormData();
  form.append("metadata", JSON.stringify({ main_module: "index.js" }));
  form.append("index.js", saying("by a raw form"));
  const res = await fetch(`${BASE_URL}/accounts/${ACCOUNT}/workers/dispatch/namespaces/${ns}/scripts/raw`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${API_TOKEN}` },
    body: form,
  });
  assert.equal(res.status, 200, await res.clone().text());
  assert.equal((await edge("raw")).body, "by a raw form");
});

await step("scripts-delete", async () => {
  for (const name of ["first", "bound", "several", "raw"]) await sdk.remove(ns, name, { force: true });
  assert.equal((await edge("first")).status, 404);
  await assert.rejects(sdk.get(ns, "first"), (e) => e.status === 404 && e.errors[0].code === 10092);
});
