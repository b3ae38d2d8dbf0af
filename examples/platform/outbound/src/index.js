// The customers' way out: whatever a customer's Worker fetches comes here first, with the customer's name in env, since the
// dispatch Worker passes it as a parameter. It blocks hosts, signs what goes to the platform's own API, and writes a log.
// What it fetches itself goes to the internet.
export default {
  async fetch(request, env, ctx) {
    const { customer_name: customer } = env.customer_context;
    const { hostname } = new URL(request.url);
    if (env.BLOCKED.some((host) => hostname === host || hostname.endsWith(`.${host}`))) {
      ctx.waitUntil(log(env, { customer, to: request.url, blocked: true }));
      return new Response(`${hostname} is blocked on this platform\n`, { status: 403 });
    }
    const out = hostname === env.API_HOST ? await signed(request, customer, env.SIGNING_KEY) : request;
    const response = await fetch(out);
    ctx.waitUntil(log(env, { customer, to: request.url, status: response.status }));
    return response;
  },
};

// signed adds a header by which the API knows the customer: nobody else has the key, and what a customer's Worker puts into
// the header itself is replaced.
async function signed(request, customer, secret) {
  const encode = (text) => new TextEncoder().encode(text);
  const key = await crypto.subtle.importKey("raw", encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const claim = `customer=${customer},time=${Math.floor(Date.now() / 1000)}`;
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, encode(`${request.method} ${request.url} ${claim}`)));
  const headers = new Headers(request.headers);
  headers.set("x-platform-customer", `${claim},signature=${hex(signature)}`);
  return new Request(request, { headers });
}

function hex(bytes) {
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// log sends an entry to the platform's log, or writes it down where there is none. A log that is away must not hold anyone up.
async function log(env, entry) {
  if (!env.LOGS_URL) {
    console.log(JSON.stringify(entry));
    return;
  }
  try {
    await fetch(env.LOGS_URL, { method: "POST", body: JSON.stringify(entry) });
  } catch (e) {
    console.error(`log: ${e.message}`);
  }
}
