// One module of each kind that wrangler uploads.
import note from "./note.txt";
import bytes from "./three.bin";
import wasm from "./add.wasm";

export default {
  async fetch() {
    const { exports } = await WebAssembly.instantiate(wasm);
    return Response.json({ note: note.trim(), bytes: bytes.byteLength, sum: exports.add(40, 2) });
  },
};
