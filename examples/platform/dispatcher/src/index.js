// The platform's front door: every request of *.atoll.localhost comes here, and the first label of the host name says
// whose Worker answers it. Without a label it shows the list of customers.
import page from "./page.html";

export default {
  async fetch(request, env) {
    const { hostname, port } = new URL(request.url);
    if (hostname === env.ZONE) {
      return html(200, "Customers of this platform", links(env, port));
    }
    const customer = hostname.slice(0, -(env.ZONE.length + 1)).split(".").pop();
    return toCustomer(customer, request, env, port);
  },
};

async function toCustomer(customer, request, env, port) {
  try {
    // get() does no work: whether the Worker exists shows at fetch(), so the await has to be inside the try.
    const outbound = { customer_context: { customer_name: customer } }; // what the outbound Worker is to know
    const response = await env.DISPATCHER.get(customer, {}, { outbound }).fetch(request);
    if (response.status === 101) {
      return response; // a WebSocket: nothing to add
    }
    const answer = new Response(response.body, response);
    answer.headers.set("x-customer", customer);
    return answer;
  } catch (e) {
    if (e.message.startsWith("Worker not found")) {
      return html(404, `Nobody called “${customer}” lives here`, links(env, port));
    }
    return html(502, `The Worker of “${customer}” failed`, `<pre>${escape(e.message)}</pre>`);
  }
}

function links(env, port) {
  const at = port ? `:${port}` : "";
  const items = env.CUSTOMERS.map((c) => `<li><a href="http://${c}.${env.ZONE}${at}/">${c}.${env.ZONE}</a></li>`);
  return `<ul>${items.join("")}</ul>`;
}

function html(status, title, body) {
  const text = page.replaceAll("{{title}}", () => escape(title)).replace("{{body}}", () => body);
  return new Response(text, { status, headers: { "content-type": "text/html; charset=utf-8" } });
}

function escape(text) {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
