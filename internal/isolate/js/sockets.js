// Stands before the engine's own connect(), of cloudflare:sockets and node:net alike: tells the node whose connection it is,
// and whether it is to be over TLS, which the engine cannot ask for. All of that has to fit into the name of the host,
// since a CONNECT request carries nothing else. See internal/binding/socket.go, which reads it.
import sockets from "cloudflare-internal:sockets";

const { apply } = Reflect;
const { defineProperty } = Object;
const { then } = Promise.prototype;
const { exec } = RegExp.prototype;
const { replaceAll, slice, startsWith } = String.prototype;
const { Error } = globalThis;
const native = sockets.connect;
// As the engine does, by the rules of a URL with an unknown scheme, which leave a host as it is.
const pattern = /^(\[[0-9a-fA-F:.]+\]|[^:/?#[\]@]+):([0-9]+)$/;

// split returns the host and the port of an address, or undefined where the engine is to say what is wrong with it.
function split(address) {
  const parts = typeof address === "object" && address !== null ? `${address.hostname}:${address.port}` : `${address}`;
  const match = apply(exec, pattern, [parts]);
  return match === null ? undefined : { host: match[1], port: match[2] };
}

function refuseStartTls() {
  throw new Error('startTls() is not supported by this node; connect with { secureTransport: "on" }');
}

let installed = false;

// install is called once, before any of the user's code runs. tag tells the invocation that the running code belongs to.
export function install(tag) {
  if (installed) return;
  installed = true;
  sockets.connect = function connect(address, options) {
    const to = split(address);
    if (to === undefined) return apply(native, sockets, [address, options]);
    const transport = options?.secureTransport ?? "off";
    let host = to.host;
    const six = apply(startsWith, host, ["["]);
    if (six) host = apply(replaceAll, apply(slice, host, [1, -1]), [":", "-"]);
    const marked = `atoll-${transport === "on" ? "tls" : "tcp"}${six ? "6" : "4"}-${tag() ?? ""}.${host}:${to.port}`;
    const plain = transport === "on" ? { ...options, secureTransport: "off" } : options;
    const socket = apply(native, sockets, [marked, plain]);
    const opened = apply(then, socket.opened, [(info) => ({ ...info, remoteAddress: `${to.host}:${to.port}` })]);
    apply(then, opened, [undefined, () => {}]); // the engine's own promise may be left alone, so may this one
    defineProperty(socket, "opened", { value: opened, configurable: true, enumerable: true });
    defineProperty(socket, "secureTransport", { value: transport, configurable: true, enumerable: true });
    defineProperty(socket, "startTls", { value: refuseStartTls, configurable: true });
    return socket;
  };
}
