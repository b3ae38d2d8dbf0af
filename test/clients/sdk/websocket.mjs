// Talks to a customer's WebSocket through the edge and the dispatch Worker, with the WebSocket that browsers have.
import assert from "node:assert/strict";

const socket = new WebSocket(process.env.EDGE_URL.replace("http", "ws") + "/chat?name=ann", ["chat.v1"]);
socket.binaryType = "arraybuffer";
const inbox = [];
let wake = () => {};
socket.onmessage = (event) => {
  inbox.push(event.data);
  wake();
};
async function next() {
  while (inbox.length === 0) await new Promise((resolve) => (wake = resolve));
  return inbox.shift();
}

await new Promise((resolve, reject) => {
  socket.onopen = resolve;
  socket.onerror = (event) => reject(event.error ?? new Error("the socket did not open"));
});
assert.equal(await next(), "welcome ann");
socket.send("ping");
assert.equal(await next(), "echo ping");
socket.send(new Uint8Array([0, 255, 1]));
assert.deepEqual([...new Uint8Array(await next())], [0, 255, 1]);
const long = "x".repeat(500_000);
socket.send(long);
assert.equal(await next(), "echo " + long);
const closed = new Promise((resolve) => (socket.onclose = resolve));
socket.send("bye");
const { code, reason } = await closed;
assert.deepEqual({ code, reason }, { code: 4001, reason: "as asked" });
console.log("done");
