
// Bounds what an invocation writes to its console. What is written is counted by the lengths of strings and an estimate
// for other values, since what an object prints as is known only when it is printed. The node has a bound of its own behind
// this one, for what it estimates too low and for what the engine writes by itself: see output.go.
const maxLogged = "@LOG_BYTES@";
const { ownKeys, getOwnPropertyDescriptor } = Reflect;
const { hasOwn } = ObjectType;
const { isView } = ArrayBuffer;
const { now } = Date;

// Code outside any invocation, such as a module's top level, has this much each minute of the process's life.
const outside = { __proto__: null, logged: 0, since: 0 };

function ledger() {
  const mine = current();
  if (mine !== undefined) return mine;
  const time = now();
  if (time - outside.since > 60_000) {
    outside.since = time;
    outside.logged = 0;
  }
  return outside;
}

// sizeOf estimates how long a value prints. left is how many more values may be looked at.
function sizeOf(value, depth, left) {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 16;
  if (isView(value)) return 512; // the first hundred elements
  if (depth === 0) return 16;
  let size = 32;
  const list = isArray(value);
  const names = list ? undefined : ownKeys(value);
  const length = list ? value.length : names.length;
  for (let i = 0; i < length && i < 100 && left.count > 0; i++) {
    left.count--;
    const name = list ? i : names[i];
    const d = getOwnPropertyDescriptor(value, name);
    if (!list && typeof name === "string") size += name.length + 4;
    size += d !== undefined && hasOwn(d, "value") ? sizeOf(d.value, depth - 1, left) : 16;
  }
  return size;
}

function sizeOfAll(args) {
  let size = 8;
  for (let i = 0; i < args.length; i++) {
    try {
      size += sizeOf(args[i], 3, { __proto__: null, count: 200 });
    } catch {
      size += 256; // a Proxy that does not let itself be looked at
    }
  }
  return size;
}

// bounded makes a method of the console that writes while there is room, and once says that there is none left.
function bounded(name) {
  const write = console[name];
  const { warn } = console;
  const method = {
    [name](...args) {
      const mine = ledger();
      if (mine.logged > maxLogged) return;
      mine.logged += sizeOfAll(args);
      if (mine.logged <= maxLogged) apply(write, console, args);
      else apply(warn, console, [`The log's limit of ${maxLogged} bytes is reached: what this invocation writes from here on is dropped.`]);
    },
  };
  return method[name];
}

{
  const own = { __proto__: null };
  const names = ["debug", "error", "info", "log", "warn"]; // the others print nothing
  for (const name of names) own[name] = bounded(name);
  for (const name of names) ObjectType.defineProperty(console, name, { value: own[name], configurable: true, enumerable: true, writable: true });
}
