// The first module of every isolate process: runs the user's handlers with their invocation's tag, and turns what they
// throw into a response that the node understands. @MAIN@ is the user's main module.
//
// By the time that anything here runs, the user's code may have changed every object that a script can reach: only what
// the prelude has taken is used, and no literal that inherits a property somebody could have added.
import {
  apply, run, Request, Response, Headers, headersGet, headersSet, headersDelete, requestHeaders, responseHeaders,
  responseStatus, responseStatusText, responseBody, stringify, pack, unpack, describe, hasInstance, getPrototypeOf, keys, defineProperty,
  pause, logError, answer, setLanes,
  arrayBuffer, weakMap, collect, collectAtFirst,
} from "@PRELUDE@";
import { readBatch, outcome, waitsForAll } from "@QUEUE@";
import { entrypoint as rpcEntrypoint } from "@RPC@";
import { withEnv } from "cloudflare:workers";
import * as user from "@MAIN@";
export * from "@MAIN@";

const events = ["fetch", "scheduled", "queue", "tail", "email", "alarm", "webSocketMessage", "webSocketClose", "webSocketError"];

// handlers lists, as JSON, the events an export handles: an object's functions, or a class's methods.
function handlers(value) {
  const target = typeof value === "function" ? value.prototype : value;
  let list = "";
  if (typeof target === "object" && target !== null) {
    for (let i = 0; i < events.length; i++) {
      if (typeof target[events[i]] === "function") list += `${list && ","}"${events[i]}"`;
    }
  }
  return `[${list}]`;
}

function describeExports() {
  const names = keys(user);
  let named = "";
  for (let i = 0; i < names.length; i++) {
    const value = user[names[i]];
    if (names[i] === "default" || typeof value !== "function" && typeof value !== "object") continue;
    named += `${named && ","}{"name":${stringify(names[i])},"handlers":${handlers(value)}}`;
  }
  return `{"handlers":${handlers(user.default)},"named_handlers":[${named}]}`;
}

// setProps makes a binding's props those of a call, as the engine does with a binding in its own configuration.
function setProps(ctx, props) {
  if (props !== null) defineProperty(ctx, "props", { __proto__: null, value: props, configurable: true, enumerable: true });
}

const Rpc = rpcEntrypoint(user, setProps, watchWaits);
export { Rpc as "atoll rpc" };

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
let waitUntil; // the engine's

// What the invocations of a queue() wait for, by their ctx: such an event is not over before.
const awaited = weakMap();

function watchWaits(ctx) {
  if (waitUntil !== undefined) return;
  const type = getPrototypeOf(ctx);
  waitUntil = type.waitUntil;
  type.waitUntil = function (promise) {
    count(promise);
    const mine = awaited.get(this);
    if (mine !== undefined) mine[mine.n++] = promise;
    return apply(waitUntil, this, [promise]);
  };
}

async function count(promise) {
  waits++;
  try {
    await promise;
  } catch {
    // Whoever waits for it is told.
  } finally {
    waits--;
  }
}

async function drain() {
  while (waits > 0) await pause(20);
  return answer(null, 204);
}

// fail tells the node what the Worker's code threw.
function fail(e) {
  const told = describe(e);
  logError(told.stack || `${told.name}: ${told.message}`);
  return answer(null, 500, "atoll-exception", pack(told));
}

// answered makes what a handler returned into what goes to the node.
function answered(response) {
  if (!hasInstance(Response, response)) {
    throw new TypeError("Incorrect type for Promise: the Promise did not resolve to 'Response'.");
  }
  // A 500 that the Worker means is told from one that workerd makes of a failure by this header.
  if (responseStatus(response) !== 500) return response;
  const headers = new Headers(responseHeaders(response));
  headersDelete(headers, "atoll-exception");
  headersSet(headers, "atoll-response", "1");
  return new Response(responseBody(response), { __proto__: null, status: 500, statusText: responseStatusText(response), headers });
}

async function settled(promise) {
  try {
    return answered(await promise);
  } catch (e) {
    return fail(e);
  }
}

// handleFetch waits only for what has to be waited for.
function handleFetch(request, entrypoint, env, ctx) {
  try {
    const target = instance(entrypoint, env, ctx);
    const returned = apply(handler(target, "fetch"), target, [request, env, ctx]);
    return hasInstance(Response, returned) ? answered(returned) : settled(returned);
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
    await apply(handler(target, type), target, [controller, env, ctx]);
    return answer(`{"retry":${retry}}`, 200, "atoll-response", "1");
  } catch (e) {
    return fail(e);
  }
}

// handleQueue runs queue() with the batch that comes as the request's body.
async function handleQueue(request, entrypoint, env, ctx) {
  if (readBatch === undefined) return fail(new TypeError("Handler does not export a queue() function."));
  const { noted, batch } = readBatch(await arrayBuffer(request));
  let e;
  let ok = false;
  try {
    const target = instance(entrypoint, env, ctx);
    const waits = { __proto__: null, n: 0 };
    if (waitsForAll) awaited.set(ctx, waits);
    await apply(handler(target, "queue"), target, [batch, env, ctx]);
    for (let i = 0; i < waits.n; i++) await waits[i];
    ok = true;
  } catch (thrown) {
    e = describe(thrown);
    logError(e.stack || `${e.name}: ${e.message}`);
  }
  return answer(outcome(noted, ok, e), 200, "atoll-response", "1");
}

// extended is the env of one call with parameters: the Worker's own, each parameter under its name, and where a parameter
// is a plain object each of its properties that has no namesake.
function extended(env, params) {
  const own = { ...env };
  const add = (name, value) => Object.defineProperty(own, name, { value, configurable: true, enumerable: true, writable: true });
  for (const [name, value] of Object.entries(params)) add(name, value);
  for (const value of Object.values(params)) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
    for (const [name, property] of Object.entries(value)) {
      if (!Object.hasOwn(own, name)) add(name, property);
    }
  }
  return own;
}

let served = 0; // since garbage was collected
let collectAt = collectAtFirst;

// collectLater collects garbage when the request has most likely been answered: none should wait for it.
async function collectLater() {
  await pause(5);
  collectAt = collect();
}

function serve(request, env, ctx) {
  const headers = requestHeaders(request);
  const control = headersGet(headers, "atoll-control");
  if (control === "exports") return answer(describeExports(), 200);
  if (control === "drain") return drain();
  watchWaits(ctx);
  if (++served >= collectAt) {
    served = 0;
    apply(waitUntil, ctx, [collectLater()]);
  }
  const lanes = headersGet(headers, "atoll-lanes");
  if (lanes !== null) {
    setLanes(lanes);
    request = new Request(request);
    headersDelete(requestHeaders(request), "atoll-lanes");
  }
  const tag = headersGet(headers, "cf-ray");
  if (control === null) return run(tag, () => handleFetch(request, "", env, ctx), lanes === null ? request : undefined);
  const { entrypoint, event, params, props } = unpack(control);
  setProps(ctx, props);
  if (event !== null && event.type === "queue") return run(tag, () => handleQueue(request, entrypoint, env, ctx));
  if (event !== null) return run(tag, () => handleEvent(event, entrypoint, env, ctx));
  const own = new Request(request);
  headersDelete(requestHeaders(own), "atoll-control");
  if (params === null) return run(tag, () => handleFetch(own, entrypoint, env, ctx));
  const wider = extended(env, params);
  return run(tag, () => withEnv(wider, () => handleFetch(own, entrypoint, wider, ctx)));
}

export default { fetch: serve };
