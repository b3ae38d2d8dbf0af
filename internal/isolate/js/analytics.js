// The Analytics Engine binding: env.X.writeDataPoint({ indexes, blobs, doubles }). It returns at once. The points of one turn
// of the event loop go to the node together; nobody waits for them and nothing is thrown for what the node thinks of them.
// https://developers.cloudflare.com/analytics/analytics-engine/get-started/
import entrypoints from "cloudflare-internal:workers";
import { tagged, tagNow } from "atoll:invocation";

const { isArray, from } = Array;
const { stringify } = JSON;
const { isView } = ArrayBuffer;
const { TextDecoder, TextEncoder, Number, Promise, console } = globalThis;
const { warn } = console;
const utf8 = new TextDecoder();
const encoder = new TextEncoder();

// The bounds of a point; what is over them is not recorded.
const maxColumns = 20;
const maxBlobs = 16_000;
const maxIndex = 96;
const maxPoints = 250; // of an invocation; the node counts them

function list(value, name) {
  if (value === undefined || value === null) return [];
  if (!isArray(value)) throw new TypeError(`Incorrect type for the '${name}' field on 'AnalyticsEngineEvent': the provided value is not of type 'Array'.`);
  return value;
}

function text(value) {
  if (value === undefined || value === null) return null;
  if (value instanceof ArrayBuffer || isView(value)) return utf8.decode(value);
  return `${value}`;
}

const size = (s) => (s === null ? 0 : encoder.encode(s).byteLength);

// pointOf makes a point of what a Worker writes, or says why there is none.
function pointOf(event) {
  const { indexes, blobs, doubles } = event ?? {};
  const i = from(list(indexes, "indexes"), text);
  const b = from(list(blobs, "blobs"), text);
  const d = from(list(doubles, "doubles"), Number);
  if (i.length > 1) return "Maximum of 1 indexes supported.";
  if (b.length > maxColumns) return `Maximum of ${maxColumns} blobs supported.`;
  if (d.length > maxColumns) return `Maximum of ${maxColumns} doubles supported.`;
  if (size(i[0] ?? null) > maxIndex) return `Size of indexes[0] exceeds ${maxIndex} bytes.`;
  if (b.reduce((sum, s) => sum + size(s), 0) > maxBlobs) return `Cumulative size of blobs exceeds ${maxBlobs} bytes.`;
  return { i: i[0] ?? "", b, d };
}

class AnalyticsEngineDataset {
  #fetcher;
  #waiting = []; // points of this turn
  #tag;

  constructor(fetcher) {
    this.#fetcher = fetcher;
  }

  writeDataPoint(event = undefined) {
    const point = pointOf(event);
    if (typeof point === "string") {
      warn.call(console, `writeDataPoint(): ${point} The data point is dropped.`);
      return;
    }
    const tag = tagNow();
    if (tag === undefined) return; // outside of any invocation
    if (this.#waiting.length > 0 && this.#tag !== tag) this.#send();
    if (this.#waiting.length >= maxPoints) return;
    this.#waiting.push(point);
    this.#tag = tag;
    if (this.#waiting.length === 1) Promise.resolve().then(() => this.#send());
  }

  #send() {
    if (this.#waiting.length === 0) return;
    const body = stringify(this.#waiting);
    this.#waiting = [];
    const sent = this.#fetcher.fetch(tagged("https://analytics/", { method: "POST", body })).then(() => {}, () => {});
    try {
      entrypoints.waitUntil(sent);
    } catch {
      // Nothing to wait in; it is on its way.
    }
  }
}

export default (env) => new AnalyticsEngineDataset(env.fetcher);
