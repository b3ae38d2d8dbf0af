// The first module of every isolate process: runs the user's handlers with their invocation's tag, and turns what they
// throw into a response that the node understands. @MAIN@ is the user's main module.
import {
  run, Request, Response, Headers, headersGet, headersSet, headersDelete, requestHeaders, responseHeaders,
  responseStatus, responseBody, stringify, pack, unpack, describe, hasInstance,
} from "@PRELUDE@";
import * as user from "@MAIN@";
export * from "@MAIN@";

const events = ["fetch", "scheduled", "queue", "tail", "email", "alarm", "webSocketMessage", "webSocketClose", "webSocketError"];

// handlers lists the events an export handles: an object's functions, or a class's methods.
function handlers(value) {
  const target = typeof value === "function" ? value.prototype : value;
  if (typeof target !== "object" || target === null) return [];
  return events.filter((name) => typeof target[name] === "function");
}

function describeExports() {
  const named = Object.keys(user)
    .filter((name) => name !== "default" && (typeof user[name] === "function" || typeof user[name] === "object"))
    .map((name) => ({ name, handlers: handlers(user[name]) }));
  return { handlers: handlers(user.default), named_handlers: named };
}

function instance(entrypoint, env, ctx) {
  const value = user[entrypoint || "default"];
  if (value === undefined) throw new TypeError(`the Worker has no entrypoint "${entrypoint || "default"}"`);
  return typeof value === "function" ? new value(ctx, env) : value;
}

function handler(target, name) {
  const f = target[name];
  if (typeof f !== "function") throw new TypeError(`Handler does not export a ${name}() function.`);
  return f;
}

// The node stops a process once its waitUntil work has ended, so that work is counted.
let waits = 0;
let watched = false;

function watchWaits(ctx) {
  if (watched) return;
  watched = true;
  const type = Object.getPrototypeOf(ctx);
  const { waitUntil } = type;
  type.waitUntil = function (promise) {
    waits++;
    const ended = () => { waits--; };
    Promise.resolve(promise).then(ended, ended);
    return waitUntil.call(this, promise);
  };
}

async function drain() {
  while (waits > 0) await scheduler.wait(20);
  return new Response(null, { status: 204 });
}

// fail tells the node what the Worker's code threw.
function fail(e) {
  const told = describe(e);
  console.error(told.stack || `${told.name}: ${told.message}`);
  return new Response(null, { status: 500, headers: { "atoll-exception": pack(told) } });
}

async function handleFetch(request, entrypoint, env, ctx) {
  try {
    const target = instance(entrypoint, env, ctx);
    const response = await handler(target, "fetch").call(target, request, env, ctx);
    if (!hasInstance(Response, response)) {
      throw new TypeError("Incorrect type for Promise: the Promise did not resolve to 'Response'.");
    }
    // A 500 that the Worker means is told from one that workerd makes of a failure by this header.
    if (responseStatus(response) !== 500) return response;
    const headers = new Headers(responseHeaders(response));
    headersSet(headers, "atoll-response", "1");
    return new Response(responseBody(response), { status: 500, statusText: response.statusText, headers });
  } catch (e) {
    return fail(e);
  }
}

// handleEvent runs a handler that has no request of its own. The event's fields come with it.
async function handleEvent({ type, ...event }, entrypoint, env, ctx) {
  try {
    const target = instance(entrypoint, env, ctx);
    let retry = true;
    const controller = { ...event, type, noRetry: () => { retry = false; } };
    await handler(target, type).call(target, controller, env, ctx);
    return new Response(stringify({ retry }), { headers: { "atoll-response": "1" } });
  } catch (e) {
    return fail(e);
  }
}

function serve(request, env, ctx) {
  const headers = requestHeaders(request);
  const control = headersGet(headers, "atoll-control");
  if (control === "exports") return new Response(stringify(describeExports()));
  if (control === "drain") return drain();
  watchWaits(ctx);
  const tag = headersGet(headers, "cf-ray");
  if (control === null) return run(tag, () => handleFetch(request, "", env, ctx));
  const { entrypoint, event } = unpack(control);
  if (event !== null) return run(tag, () => handleEvent(event, entrypoint, env, ctx));
  const own = new Request(request);
  headersDelete(requestHeaders(own), "atoll-control");
  return run(tag, () => handleFetch(own, entrypoint, env, ctx));
}

export default { fetch: serve };
