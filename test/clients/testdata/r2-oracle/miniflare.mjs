// Serves worker.js with miniflare's R2 as its bucket, and prints where.
import { readFileSync } from "node:fs";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

const mf = new Miniflare(convertV4MiniflareOptions({
  modules: true,
  script: readFileSync(process.argv[2], "utf8"),
  compatibilityDate: process.argv[3],
  r2Buckets: { BUCKET: "bucket" },
  port: 0,
}));
console.log((await mf.ready).href);
process.stdin.on("end", () => mf.dispose().then(() => process.exit(0))).resume();
