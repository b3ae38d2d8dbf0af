
// The batch of messages that a queue() handler gets. What it does with them is noted here, and told the node when it has
// returned. https://developers.cloudflare.com/queues/configuration/javascript-apis/#messagebatch
const { parse, stringify } = JSON;
const { console } = globalThis;
const { warn: nativeWarn } = console;
const warn = (text) => apply(nativeWarn, console, [text]);

// delayOf reads the option of a retry as the engine reads a whole number.
function delayOf(options) {
  const seconds = options?.delaySeconds;
  return seconds === undefined ? null : Math.trunc(Number(seconds)) || 0;
}

class Message {
  #id;
  #batch;

  constructor(batch, told, bytes) {
    this.#id = told.id;
    this.#batch = batch;
    own(this, "id", told.id);
    own(this, "timestamp", new Date(told.timestamp));
    own(this, "attempts", told.attempts);
    let body;
    let read = false;
    defineProperty(this, "body", {
      __proto__: null, enumerable: true, configurable: true,
      get() {
        if (!read) body = bodyOf(told.contentType, bytes);
        read = true;
        return body;
      },
    });
  }

  ack() {
    const { noted } = this.#batch;
    if (noted.ackAll || noted.acks[this.#id] !== undefined) return;
    if (noted.retryAll) warn(`ack() on message ${this.#id} has no effect: retryAll() was called before`);
    else if (noted.retries[this.#id] !== undefined) warn(`ack() on message ${this.#id} has no effect: retry() was called before`);
    else noted.acks[this.#id] = true;
  }

  retry(options = undefined) {
    const { noted } = this.#batch;
    const delay = delayOf(options);
    if (noted.ackAll) warn(`retry() on message ${this.#id} has no effect: ackAll() was called before`);
    else if (noted.acks[this.#id] !== undefined) warn(`retry() on message ${this.#id} has no effect: ack() was called before`);
    else if (noted.retries[this.#id] === undefined || delay !== null) noted.retries[this.#id] = { __proto__: null, delay };
  }
}

function own(object, name, value) {
  defineProperty(object, name, { __proto__: null, value, enumerable: true, configurable: true, writable: false });
}

function bodyOf(type, bytes) {
  switch (type) {
    case "text": return decodeText(utf8, bytes);
    case "json": return parse(decodeText(utf8, bytes));
    case "bytes": return sliceBytes(bytes);
  }
  return deserialize(bytes);
}

class MessageBatch {
  #noted;

  constructor(noted, queue, messages, metadata) {
    this.#noted = noted;
    own(this, "messages", messages);
    own(this, "queue", queue);
    own(this, "metadata", metadata);
  }

  ackAll() {
    if (this.#noted.retryAll) warn("ackAll() has no effect: retryAll() was called before");
    else this.#noted.ackAll = true;
  }

  retryAll(options = undefined) {
    const delay = delayOf(options);
    if (this.#noted.ackAll) {
      warn("retryAll() has no effect: ackAll() was called before");
      return;
    }
    this.#noted.retryAll = true;
    if (delay !== null) this.#noted.delay = delay;
  }
}

// readBatch makes a batch of what the node sent: the length of a description, the description, and the messages' bodies.
// See Batch.Encode of package queue.
export function readBatch(buffer) {
  const bytes = new Uint8Array(buffer);
  const head = ((bytes[0] * 256 + bytes[1]) * 256 + bytes[2]) * 256 + bytes[3];
  const told = parse(decodeText(utf8, subarray(bytes, 4, 4 + head)));
  const noted = { __proto__: null, ackAll: false, retryAll: false, delay: null, acks: { __proto__: null }, retries: { __proto__: null } };
  const shared = { __proto__: null, noted };
  const messages = [];
  let at = 4 + head;
  for (let i = 0; i < told.messages.length; i++) {
    const m = told.messages[i];
    define(messages, i, new Message(shared, m, subarray(bytes, at, at + m.length)));
    at += m.length;
  }
  const { backlogCount, backlogBytes, oldestMessageTimestamp } = told.metrics;
  const metrics = { backlogCount, backlogBytes };
  if (oldestMessageTimestamp !== 0) metrics.oldestMessageTimestamp = new Date(oldestMessageTimestamp);
  return { __proto__: null, noted, batch: new MessageBatch(noted, told.queue, messages, { metrics }) };
}

// outcome tells the node what became of a batch, as JSON. Ids have nothing in them that JSON escapes.
export function outcome(noted, ok, exception) {
  let acks = "";
  let ids = keysOf(noted.acks);
  for (let i = 0; i < ids.length; i++) acks += `${acks && ","}"${ids[i]}"`;
  let retries = "";
  ids = keysOf(noted.retries);
  for (let i = 0; i < ids.length; i++) retries += `${retries && ","}"${ids[i]}":${noted.retries[ids[i]].delay}`;
  return `{"ok":${ok},"ackAll":${noted.ackAll},"retryAll":${noted.retryAll},"retryDelay":${noted.delay},` +
    `"acks":[${acks}],"retries":{${retries}},"exception":${exception === undefined ? null : stringify(exception)}}`;
}

// With this flag a batch is settled when its handler has returned, else when what it waits for has ended, too.
export const waitsForAll = globalThis.Cloudflare?.compatibilityFlags?.queue_consumer_no_wait_for_wait_until !== true;
