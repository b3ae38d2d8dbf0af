// Deploys a site of one file by one major of the TypeScript SDK: session, upload, script. node sdk/assets.mjs MAJOR
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { ACCOUNT, API_TOKEN, BASE_URL, major, moduleFile } from "./steps.mjs";

const { default: Cloudflare } = await import(`cloudflare${major}`);
const client = new Cloudflare({ baseURL: BASE_URL, apiToken: API_TOKEN, maxRetries: 0 });
const { scripts } = client.workersForPlatforms.dispatch.namespaces;
const account_id = ACCOUNT, dispatch_namespace = "production", name = `sdk-${major}`;

const text = `<h1>by major ${major}</h1>`;
const hash = crypto.createHash("sha256").update(text).digest("hex").slice(0, 32);
const manifest = { "/index.html": { hash, size: text.length } };
const session = major >= 7
  ? await scripts.assetUpload.create(name, { account_id, dispatch_namespace, manifest })
  : await scripts.assetUpload.create(dispatch_namespace, name, { account_id, manifest });
assert.deepEqual(session.buckets, [[hash]]);

// The upload goes by the session's token, as a client of its own.
const uploader = new Cloudflare({ baseURL: BASE_URL, apiToken: session.jwt, maxRetries: 0 });
const { jwt } = await uploader.workers.assets.upload.create({ account_id, base64: true, body: { [hash]: btoa(text) } });
assert.ok(jwt);

const metadata = { main_module: "index.mjs", assets: { jwt, config: { html_handling: "auto-trailing-slash", run_worker_first: false } },
  bindings: [{ type: "assets", name: "ASSETS" }] };
const code = `export default { fetch: (request, env) => env.ASSETS.fetch(request) }`;
const params = { account_id, metadata, files: [moduleFile("index.mjs", code)] };
const made = major >= 7
  ? await scripts.update(name, { ...params, dispatch_namespace })
  : await scripts.update(dispatch_namespace, name, major === 4 ? { ...params, files: { "index.mjs": moduleFile("index.mjs", code) } } : params);
assert.equal(made.has_assets, true);
