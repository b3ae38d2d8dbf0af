export default {
  async fetch() { return new Response("hello " + await (await fetch("http://out/")).text()); },
};
