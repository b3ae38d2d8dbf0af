// What the drivers share: steps that are reported one JSON line each, and requests through the edge.
import http from "node:http";

export const major = Number(process.argv[2]);
export const { BASE_URL, EDGE_URL, API_TOKEN, ACCOUNT, ZONE } = process.env;

/** One step; a missing method makes it skipped, a failed one does not stop those after it. */
export async function step(name, run, needs = true) {
  if (!needs) return console.log(JSON.stringify({ step: name, skipped: `major ${major} has no such call` }));
  try {
    await run();
    console.log(JSON.stringify({ step: name, ok: true }));
  } catch (e) {
    console.log(JSON.stringify({ step: name, ok: false, error: e.stack }));
  }
}

/** What a Worker answers through the edge. fetch() may not set Host, so this is node:http. */
export function edge(name, path = "/") {
  return new Promise((resolve, reject) => {
    const req = http.get(new URL(path, EDGE_URL), { headers: { host: `${name}.${ZONE}` } }, async (res) => {
      let body = "";
      for await (const chunk of res) body += chunk;
      resolve({ status: res.statusCode, body });
    });
    req.on("error", reject);
  });
}

/** Every item of a list, whichever way the client pages. */
export async function all(page) {
  const items = [];
  for await (const item of await page) items.push(item);
  return items;
}

export const moduleFile = (name, text) => new File([text], name, { type: "application/javascript+module" });
export const saying = (text) => `export default { async fetch(request, env) { return new Response(${JSON.stringify(text)}) } }`;
export const showing = `export default { async fetch(request, env) { return Response.json({ ...env }) } }`;
