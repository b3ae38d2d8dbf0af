// Built-ins as they were before the attack's module was evaluated.
export const { Response, URL, TransformStream, TextEncoder, TextDecoder, RangeError } = globalThis;
