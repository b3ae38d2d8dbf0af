// In front of each attack: what an innocent request to the same Worker asks for. The attack's own module is evaluated
// before this one, and may have changed what it likes; what is used here was taken before.
import { Response, URL, TransformStream, TextEncoder, TextDecoder, RangeError } from "./clean.js";
import * as attack from "./attack.js";
export * from "./attack.js";

// echo answers each line of the body in capitals, as it comes.
function echo(request) {
  const { readable, writable } = new TransformStream();
  const reader = request.body.getReader();
  const writer = writable.getWriter();
  (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await writer.write(new TextEncoder().encode(new TextDecoder().decode(value).toUpperCase()));
    }
    await writer.close();
  })();
  return new Response(readable);
}

// spend makes subrequests until the node says that it is enough, and tells how many it allowed.
async function spend() {
  for (let n = 0; n < 100; n++) {
    try {
      await fetch("http://127.0.0.1:9/");
    } catch (e) {
      if (e.message === "Too many subrequests.") return new Response(`spent ${n}`);
    }
  }
  return new Response("no limit");
}

export default {
  async fetch(request, env, ctx) {
    switch (new URL(request.url).pathname) {
      case "/alive": return new Response("alive");
      case "/echo": return echo(request);
      case "/throw": throw new RangeError("told");
      case "/spend": return spend();
    }
    const { default: main } = attack;
    return (typeof main === "function" ? new main(ctx, env) : main).fetch(request, env, ctx);
  },
};
