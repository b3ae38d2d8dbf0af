// Runs miniflare with the options on standard input, and prints the address that it listens on. Ends at SIGTERM.
// The first argument is the directory in whose node_modules miniflare is.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { Miniflare, convertV4MiniflareOptions } = createRequire(process.argv[2] + "/")("miniflare");
const options = JSON.parse(readFileSync(0, "utf8"));
// Version 5 has its options in another form than all before, and this to take the older.
const mf = new Miniflare(convertV4MiniflareOptions?.(options) ?? options);
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => mf.dispose().finally(() => process.exit(0)));
console.log("ready " + (await mf.ready).host);
