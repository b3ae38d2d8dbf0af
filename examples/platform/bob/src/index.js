// A small JSON API: a table of routes, and a variable for its name.
const routes = [
  ["GET", /^\/$/, (request, env) => ({ service: env.SERVICE, routes: ["GET /time", "GET /add/:a/:b", "GET /fetch?url=", "POST /echo"] })],
  ["GET", /^\/time$/, () => ({ time: new Date().toISOString() })],
  ["GET", /^\/add\/(-?\d+)\/(-?\d+)$/, (request, env, a, b) => ({ sum: Number(a) + Number(b) })],
  ["GET", /^\/fetch$/, async (request) => {
    const response = await fetch(new URL(request.url).searchParams.get("url"));
    return { status: response.status, body: await response.text() };
  }],
  ["POST", /^\/echo$/, async (request) => ({ echo: await request.json() })],
];

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const matching = routes.filter(([, pattern]) => pattern.test(pathname));
    if (matching.length === 0) {
      return json({ error: `no route for ${pathname}` }, 404);
    }
    const route = matching.find(([method]) => method === request.method);
    if (!route) {
      const allow = matching.map(([method]) => method).join(", ");
      return json({ error: `${request.method} is not allowed here` }, 405, { allow });
    }
    const [, pattern, handle] = route;
    try {
      return json(await handle(request, env, ...pathname.match(pattern).slice(1)));
    } catch (e) {
      if (e instanceof SyntaxError) {
        return json({ error: "the body is not JSON" }, 400);
      }
      throw e;
    }
  },
};

function json(value, status = 200, headers = {}) {
  return Response.json(value, { status, headers });
}
