// Signs what it is sent, with a key of the account's secrets store: several Workers can share it, and a changed value is
// used from the next request on, without a deploy.
//
//   POST /   text    answers with its HMAC-SHA-256, in hex
const encoder = new TextEncoder();

export default {
  async fetch(request, env) {
    let secret;
    try {
      secret = await env.KEY.get();
    } catch (e) { // it was deleted since the deploy
      return new Response(`${e.message}\n`, { status: 503 });
    }
    const key = await crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const mac = await crypto.subtle.sign("HMAC", key, await request.arrayBuffer());
    return new Response(`${new Uint8Array(mac).toHex()}\n`);
  },
};
