// Answers, and notes who asked for what and how long it took. Nobody waits for the note: writeDataPoint() returns at once.
export default {
  async fetch(request, env) {
    const began = Date.now();
    const { hostname, pathname } = new URL(request.url);
    const response = new Response(`You are at ${pathname}\n`);
    env.VISITS.writeDataPoint({
      indexes: [hostname.split(".")[0]], // what will be grouped and sampled by: the customer
      blobs: [request.method, pathname, request.headers.get("user-agent")],
      doubles: [1, Date.now() - began],
    });
    return response;
  },
};
