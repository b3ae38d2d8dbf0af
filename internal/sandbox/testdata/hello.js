export default {
  async fetch(r) { if (r.url.endsWith("/plain")) return new Response("hi"); return new Response("hello " + await (await fetch("http://out/")).text()); },
};
