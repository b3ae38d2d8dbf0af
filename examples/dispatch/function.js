// Routes by two segments of the path: /customer/function goes to the user Worker "customer-function".
// Binding: DISPATCHER (dispatch_namespace).
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const [customer, name] = url.pathname.split("/").filter(Boolean);

    const userWorker = env.DISPATCHER.get(`${customer}-${name}`);
    return await userWorker.fetch(request);
  },
};
