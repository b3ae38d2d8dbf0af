// Stands before a service-worker script: collects its event listeners and makes its bindings global, so that the wrapper
// can treat it like a module. docs/service-workers.md says what differs from a module.
import { env } from "cloudflare:workers";

const listeners = { __proto__: null };

globalThis.addEventListener = (type, listener) => {
  (listeners[type] ??= []).push(typeof listener === "function" ? listener : listener.handleEvent.bind(listener));
};

for (const name of Object.keys(env)) globalThis[name] = env[name];

class FetchEvent extends Event {
  #ctx;
  constructor(request, ctx) {
    super("fetch");
    this.request = request;
    this.#ctx = ctx;
  }
  respondWith(response) {
    if (this.response !== undefined) throw new TypeError("FetchEvent.respondWith() has already been called");
    this.response = Promise.resolve(response);
  }
  waitUntil(promise) { this.#ctx.waitUntil(promise); }
  passThroughOnException() { this.#ctx.passThroughOnException(); }
}

class ScheduledEvent extends Event {
  #ctx;
  constructor(controller, ctx) {
    super("scheduled");
    this.cron = controller.cron;
    this.scheduledTime = controller.scheduledTime;
    this.noRetry = controller.noRetry;
    this.#ctx = ctx;
  }
  waitUntil(promise) { this.#ctx.waitUntil(promise); }
}

class QueueEvent extends Event {
  #batch;
  #ctx;
  constructor(batch, ctx) {
    super("queue");
    this.messages = batch.messages;
    this.queue = batch.queue;
    this.metadata = batch.metadata;
    this.#batch = batch;
    this.#ctx = ctx;
  }
  ackAll() { this.#batch.ackAll(); }
  retryAll(options) { this.#batch.retryAll(options); }
  waitUntil(promise) { this.#ctx.waitUntil(promise); }
}

// module returns what the script would export as an ES module. It is called once, after the script has run.
export function module() {
  const handlers = {};
  if (listeners.fetch) {
    handlers.fetch = async (request, _env, ctx) => {
      const event = new FetchEvent(request, ctx);
      for (const listener of listeners.fetch) {
        listener(event);
        if (event.response !== undefined) return event.response;
      }
      return fetch(request); // no listener answered: the origin does
    };
  }
  if (listeners.scheduled) {
    handlers.scheduled = async (controller, _env, ctx) => {
      const waits = [];
      const event = new ScheduledEvent(controller, { waitUntil: (p) => { waits.push(p); ctx.waitUntil(p); } });
      for (const listener of listeners.scheduled) listener(event);
      await Promise.all(waits);
    };
  }
  if (listeners.queue) {
    handlers.queue = async (batch, _env, ctx) => {
      const waits = [];
      const event = new QueueEvent(batch, { waitUntil: (p) => { waits.push(p); ctx.waitUntil(p); } });
      for (const listener of listeners.queue) listener(event);
      await Promise.all(waits);
    };
  }
  return handlers;
}
