// The smallest Worker there is.
export default {
  fetch(request) {
    return new Response(`Hello from alice's Worker. You asked for ${new URL(request.url).pathname}\n`);
  },
};
