// Drives one major of the TypeScript SDK through what Workers are bound to: D1, R2, queues, secrets stores, Durable Objects; each
// step makes what it needs, and sees it from a Worker where there is one. node sdk/storage.mjs MAJOR; see contract.mjs.
import assert from "node:assert/strict";
import { ACCOUNT, API_TOKEN, BASE_URL, ZONE, all, edge, major, moduleFile, step } from "./steps.mjs";

const { default: Cloudflare } = await import(`cloudflare${major}`);
const client = new Cloudflare({ baseURL: BASE_URL, apiToken: API_TOKEN, maxRetries: 0 });
const account_id = ACCOUNT;
const named = major >= 7; // ids of parents are parameters, not arguments
const { d1, r2, queues, secretsStore, durableObjects } = client;
const { scripts, routes } = client.workers;

/** A call whose last id but one is an argument in older majors and a parameter in newer ones. */
const under = (f, field, parent, id, params) =>
  named ? f(id, { account_id, [field]: parent, ...params }) : f(parent, id, { account_id, ...params });
/** The items of an answer that some majors call a list and others a page. */
const items = async (answer) => ((answer = await answer), Array.isArray(answer) ? answer : answer.result);
const times = (o, ...fields) => {
  for (const f of fields) assert.ok(Date.parse(o[f]), `${f}: ${o[f]}`);
};
const fails = (promise, status, code) =>
  assert.rejects(async () => promise, (e) => (assert.equal(e.status, status), assert.equal(e.errors[0].code, code), true));

let database;
await step("d1-create", async () => {
  database = await d1.database.create({ account_id, name: "shop" });
  assert.match(database.uuid, /^[0-9a-f-]{36}$/);
  assert.equal(database.name, "shop");
  times(database, "created_at");
  await fails(d1.database.create({ account_id, name: "shop" }), 400, 7502);
});

await step("d1-list-get", async () => {
  const list = await all(d1.database.list({ account_id }));
  assert.deepEqual(list.map((d) => d.name), ["shop"]);
  assert.equal(typeof list[0].version, "string");
  const got = await d1.database.get(database.uuid, { account_id });
  assert.equal(got.uuid, database.uuid);
  assert.equal(got.num_tables, 0);
  assert.equal(typeof got.file_size, "number");
  await fails(d1.database.get("00000000-0000-4000-8000-000000000000", { account_id }), 404, 7404);
});

await step("d1-query", async () => {
  await d1.database.query(database.uuid, { account_id, sql: "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)" });
  const [put] = await items(d1.database.query(database.uuid, { account_id, sql: "INSERT INTO orders (item) VALUES (?)", params: ["tea"] }));
  assert.equal(put.success, true);
  assert.equal(put.meta.changes, 1);
  assert.equal(put.meta.last_row_id, 1);
  const [got] = await items(d1.database.query(database.uuid, { account_id, sql: "SELECT * FROM orders" }));
  assert.deepEqual(got.results, [{ id: 1, item: "tea" }]);
  for (const field of ["duration", "rows_read", "rows_written", "size_after"]) assert.equal(typeof got.meta[field], "number", field);
  await fails(d1.database.query(database.uuid, { account_id, sql: "SELECT FROM" }), 400, 7500);
});

await step("d1-raw", async () => {
  const [got] = await items(d1.database.raw(database.uuid, { account_id, sql: "SELECT id, item FROM orders" }));
  assert.deepEqual(got.results, { columns: ["id", "item"], rows: [[1, "tea"]] });
}, Boolean(d1.database.raw));

await step("d1-export", async () => {
  let at = await d1.database.export(database.uuid, { account_id, output_format: "polling" });
  while (at.status === "active") {
    at = await d1.database.export(database.uuid, { account_id, output_format: "polling", current_bookmark: at.at_bookmark });
  }
  assert.equal(at.status, "complete");
  assert.match(await (await fetch(at.result.signed_url)).text(), /INSERT INTO "orders"/);
}, Boolean(d1.database.export));

await step("r2-buckets", async () => {
  const made = await r2.buckets.create({ account_id, name: "gallery", locationHint: "weur" });
  assert.equal(made.name, "gallery");
  times(made, "creation_date");
  assert.equal(made.storage_class ?? "Standard", "Standard");
  const list = await r2.buckets.list({ account_id });
  assert.deepEqual((list.buckets ?? list.result.buckets).map((b) => b.name), ["gallery"]);
  assert.equal((await r2.buckets.get("gallery", { account_id })).name, "gallery");
  await fails(r2.buckets.create({ account_id, name: "gallery" }), 409, 10073);
  await fails(r2.buckets.get("nowhere", { account_id }), 404, 10006);
});

await step("r2-buckets-edit", async () => {
  const changed = await r2.buckets.edit("gallery", { account_id, storage_class: "InfrequentAccess" });
  assert.equal(changed.storage_class, "InfrequentAccess");
}, Boolean(r2.buckets.edit));

await step("r2-objects", async () => {
  const { objects } = r2.buckets;
  const in_ = { account_id, bucket_name: "gallery" };
  const [upload, get, remove] = [objects.upload ?? objects.put, objects.get, objects.delete].map((f) => (key, ...body) =>
    named ? f.call(objects, key, ...body, in_) : f.call(objects, "gallery", key, ...body, { account_id }));
  await upload("cats/one.txt", "miaow");
  const list = await all(objects.list("gallery", { account_id, prefix: "cats/" }));
  assert.deepEqual(list.map((o) => [o.key, o.size]), [["cats/one.txt", 5]]);
  times(list[0], "last_modified");
  assert.equal(await (await get("cats/one.txt")).text(), "miaow");
  await remove("cats/one.txt");
  await fails(get("cats/one.txt"), 404, 10007);
}, Boolean(r2.buckets.objects?.upload));

let queue;
await step("queues", async () => {
  queue = await queues.create({ account_id, queue_name: "jobs", ...(major === 3 && { body: { queue_name: "jobs" } }) });
  assert.equal(queue.queue_name, "jobs");
  times(queue, "created_on", "modified_on");
  assert.deepEqual((await all(queues.list({ account_id }))).map((q) => q.queue_id), [queue.queue_id]);
  const got = await queues.get(queue.queue_id, { account_id });
  assert.deepEqual([got.producers_total_count, got.consumers_total_count, got.producers, got.consumers], [0, 0, [], []]);
  await fails(queues.get("0".repeat(32), { account_id }), 404, 11000);
});

await step("queues-edit", async () => {
  const changed = await queues.edit(queue.queue_id, { account_id, settings: { delivery_delay: 3 } });
  assert.equal(changed.settings.delivery_delay, 3);
  assert.equal((await queues.update(queue.queue_id, { account_id, queue_name: "jobs" })).settings.delivery_delay, 0);
}, Boolean(queues.edit));

await step("queues-pull", async () => {
  const { consumers, messages } = queues;
  const made = await consumers.create(queue.queue_id, { account_id, type: "http_pull", settings: { batch_size: 10, visibility_timeout_ms: 60000 } });
  assert.equal(made.type, "http_pull");
  assert.equal(made.settings.visibility_timeout_ms, 60000);
  await messages.push(queue.queue_id, { account_id, body: { n: 1 }, content_type: "json" });
  await messages.bulkPush(queue.queue_id, { account_id, messages: [{ body: "two", content_type: "text" }, { body: "three", content_type: "text" }] });
  if (queues.getMetrics) assert.equal((await queues.getMetrics(queue.queue_id, { account_id })).backlog_count, 3);
  const pulled = await messages.pull(queue.queue_id, { account_id, batch_size: 10 });
  assert.equal(pulled.messages.length, 3);
  for (const m of pulled.messages) for (const f of ["id", "lease_id", "attempts", "timestamp_ms", "body"]) assert.ok(m[f], f);
  const [first, ...rest] = pulled.messages.map((m) => ({ lease_id: m.lease_id }));
  const done = await messages.ack(queue.queue_id, { account_id, acks: rest, retries: [{ ...first, delay_seconds: 0 }] });
  assert.deepEqual([done.ackCount, done.retryCount], [2, 1]);
  assert.equal((await messages.pull(queue.queue_id, { account_id })).messages[0].attempts, 2);
  const list = consumers.list ? await all(consumers.list(queue.queue_id, { account_id })) : await all(consumers.get(queue.queue_id, { account_id }));
  assert.deepEqual(list.map((c) => c.consumer_id), [made.consumer_id]);
  await under(consumers.delete.bind(consumers), "queue_id", queue.queue_id, made.consumer_id);
}, Boolean(queues.messages?.bulkPush));

await step("queues-purge", async () => {
  await queues.purge.start(queue.queue_id, { account_id, delete_messages_permanently: true });
  times(await queues.purge.status(queue.queue_id, { account_id }), "started_at");
  assert.equal((await queues.getMetrics?.(queue.queue_id, { account_id }))?.backlog_count ?? 0, 0);
}, Boolean(queues.purge));

let store, secret;
await step("secrets-store", async () => {
  const { stores } = secretsStore;
  // Majors 4 and 5 send a list and read a page of stores, later ones send and read one.
  const made = await stores.create(major < 6 ? { account_id, body: [{ name: "keys" }] } : { account_id, name: "keys" });
  store = major < 6 ? made.result[0] : made;
  assert.equal(store.name, "keys");
  times(store, "created", "modified");
  assert.deepEqual((await all(stores.list({ account_id }))).map((s) => s.id), [store.id]);
  if (stores.get) assert.equal((await stores.get(store.id, { account_id })).name, "keys");
}, Boolean(secretsStore?.stores));

await step("secrets-store-secrets", async () => {
  const { secrets } = secretsStore.stores;
  const call = (name) => secrets[name].bind(secrets);
  [secret] = await items(secrets.create(store.id, { account_id, body: [{ name: "signing", value: "hush", scopes: ["workers"] }] }));
  assert.deepEqual([secret.name, secret.status, secret.store_id, secret.scopes], ["signing", "active", store.id, ["workers"]]);
  times(secret, "created", "modified");
  assert.ok(!JSON.stringify(secret).includes("hush"));
  assert.equal((await under(call("get"), "store_id", store.id, secret.id)).id, secret.id);
  assert.equal((await under(call("edit"), "store_id", store.id, secret.id, { comment: "of mine" })).comment, "of mine");
  const copy = await under(call("duplicate"), "store_id", store.id, secret.id, { name: "copy", scopes: ["workers"] });
  assert.deepEqual((await all(secrets.list(store.id, { account_id }))).map((s) => s.name), ["copy", "signing"]);
  assert.deepEqual((await all(secrets.list(store.id, { account_id, order: "name", direction: "desc" }))).map((s) => s.name), ["signing", "copy"]);
  await under(call("delete"), "store_id", store.id, copy.id);
  await fails(under(call("get"), "store_id", store.id, copy.id), 404, 1001);
}, Boolean(secretsStore?.stores));

const code = `
import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject {
  async add() {
    const n = ((await this.ctx.storage.get("n")) ?? 0) + 1;
    await this.ctx.storage.put("n", n);
    return n;
  }
}
export default {
  async fetch(request, env) {
    const { results } = await env.DB.prepare("SELECT count(*) AS n FROM orders").all();
    await env.BUCKET.put("key", "value");
    const object = await env.BUCKET.get("key");
    return Response.json({
      orders: results[0].n, object: await object.text(), secret: await env.KEY?.get(),
      count: await env.COUNTER.getByName(new URL(request.url).pathname).add(), queue: typeof env.JOBS.send,
    });
  },
};`;

await step("bindings", async () => {
  const bindings = [
    { type: "d1", name: "DB", id: database.uuid },
    { type: "r2_bucket", name: "BUCKET", bucket_name: "gallery" },
    { type: "queue", name: "JOBS", queue_name: "jobs" },
    { type: "durable_object_namespace", name: "COUNTER", class_name: "Counter" },
    ...(secret ? [{ type: "secrets_store_secret", name: "KEY", store_id: store.id, secret_name: "signing" }] : []),
  ];
  await scripts.update("bound", {
    account_id,
    metadata: { main_module: "bound.mjs", compatibility_date: "2026-11-01", bindings, migrations: { new_tag: "v1", new_sqlite_classes: ["Counter"] } },
    files: [moduleFile("bound.mjs", code)],
  });
  const [zone] = await all(client.zones.list({ name: ZONE }));
  await routes.create({ zone_id: zone.id, pattern: `bound.${ZONE}/*`, script: "bound" });
  const want = { orders: 1, object: "value", count: 1, queue: "function", ...(secret && { secret: "hush" }) };
  assert.deepEqual(JSON.parse((await edge("bound", "/one")).body), want);
  assert.equal((await queues.get(queue.queue_id, { account_id })).producers[0].script, "bound");
  await fails(queues.delete(queue.queue_id, { account_id }), 400, 11005);
}, Boolean(routes));

await step("bindings-settings", async () => {
  const got = await scripts.scriptAndVersionSettings.get("bound", { account_id });
  const by = Object.fromEntries(got.bindings.map((b) => [b.name, b]));
  assert.equal(by.DB.id ?? by.DB.database_id, database.uuid);
  assert.equal(by.BUCKET.bucket_name, "gallery");
  assert.equal(by.JOBS.queue_name, "jobs");
  assert.equal(by.COUNTER.class_name, "Counter");
  assert.match(by.COUNTER.namespace_id, /^[0-9a-f]{32}$/);
  if (secret) assert.deepEqual([by.KEY.store_id, by.KEY.secret_name], [store.id, "signing"]);
  if (major === 7) return; // its form does not say which fields of a list belong together, and the node does not guess
  // What was read can be written back: every binding stays.
  await scripts.scriptAndVersionSettings.edit("bound", { account_id, settings: { bindings: got.bindings } });
  assert.equal(JSON.parse((await edge("bound", "/one")).body).count, 2);
}, Boolean(scripts.scriptAndVersionSettings));

await step("durable-objects", async () => {
  const [ns, ...more] = await all(durableObjects.namespaces.list({ account_id }));
  assert.deepEqual(more, []);
  assert.deepEqual([ns.class, ns.script, ns.name], ["Counter", "bound", "bound_Counter"]);
  for (const path of ["/two", "/three", "/four"]) assert.equal((await edge("bound", path)).status, 200);
  const ids = (await all(durableObjects.namespaces.objects.list(ns.id, { account_id, limit: 2 }))).map((o) => (assert.equal(o.hasStoredData, true), o.id));
  assert.equal(new Set(ids).size, 4, ids.join());
  await fails(durableObjects.namespaces.objects.list("0".repeat(32), { account_id }), 404, 10066);
}, Boolean(routes && durableObjects?.namespaces));

await step("deletes", async () => {
  if (routes) await scripts.delete("bound", { account_id });
  await queues.delete(queue.queue_id, { account_id });
  await d1.database.delete(database.uuid, { account_id });
  assert.deepEqual(await all(d1.database.list({ account_id })), []);
  assert.deepEqual(await all(durableObjects.namespaces.list({ account_id })), []);
  await fails(queues.get(queue.queue_id, { account_id }), 404, 11000);
});

await step("secrets-store-delete", async () => {
  const { stores } = secretsStore;
  await fails(stores.delete(store.id, { account_id }), 409, 1003);
  await under(stores.secrets.delete.bind(stores.secrets), "store_id", store.id, secret.id);
  await stores.delete(store.id, { account_id });
  assert.deepEqual(await all(stores.list({ account_id })), []);
}, Boolean(secretsStore?.stores));
