/** What engines lack and programs expect. Imported before anything of the author's. */

import { log } from "./context.js";
import { hostIfAny, type Level } from "./host.js";
import { enqueue, forget, later } from "./loop.js";
import { LoopPromise } from "./promise.js";
import { decodeUtf8, encodeUtf8 } from "./utf8.js";

const has = (name: string) => typeof (globalThis as any)[name] !== "undefined";

function offer(name: string, value: unknown, always = false): void {
  if (always || !has(name)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
}

// Time and promises are this package's loop's, whatever the engine has.
offer("Promise", LoopPromise, true);
offer("queueMicrotask", (job: () => void) => enqueue(job), true);
offer("setTimeout", (run: any, ms?: unknown, ...args: unknown[]) => later(() => run(...args), ms), true);
offer("setInterval", (run: any, ms?: unknown, ...args: unknown[]) => later(() => run(...args), ms, { every: true }), true);
offer("setImmediate", (run: any, ...args: unknown[]) => later(() => run(...args), 0), true);
for (const name of ["clearTimeout", "clearInterval", "clearImmediate"]) offer(name, forget, true);
// The engine's own would answer with the engine's own promise, which nobody here can wait for.
Object.defineProperty(Array, "fromAsync", {
  configurable: true,
  writable: true,
  async value(items: any, map: (item: any, index: number) => any = (item) => item) {
    const found = [];
    for await (const item of items) found.push(await map(item, found.length));
    return found;
  },
});

// What is drawn while a module is built would be drawn by every attempt: each is seeded by the host.
let state: [number, number, number, number] | null = null;
const engines = Math.random;

/** Makes the next number drawn the first of a new sequence. */
export function reseed(): void {
  state = null;
}

/** xoshiro128**, seeded by the host at the first draw of an attempt. */
function draw(): number {
  if (state === null) {
    const host = hostIfAny();
    if (host === null) return Math.floor(engines() * 2 ** 32);
    const bytes = host.random(16);
    const word = (at: number) => (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
    state = [word(0) | 1, word(4), word(8), word(12)];
  }
  const turned = (value: number, by: number) => ((value << by) | (value >>> (32 - by))) >>> 0;
  const drawn = Math.imul(turned(Math.imul(state[1], 5) >>> 0, 7), 9) >>> 0;
  const shifted = (state[1] << 9) >>> 0;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = turned(state[3] >>> 0, 11);
  return drawn;
}

Math.random = () => ((draw() >>> 5) * 2 ** 26 + (draw() >>> 6)) / 2 ** 53;

const crypto = {
  getRandomValues<T extends ArrayBufferView>(into: T): T {
    const view = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    const host = hostIfAny();
    if (host === null) throw new Error("there is no randomness while a module is built");
    view.set(host.random(view.length));
    return into;
  },
  randomUUID(): string {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6]! & 15) | 64;
    bytes[8] = (bytes[8]! & 63) | 128;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};
offer("crypto", crypto, true);

offer("TextEncoder", class TextEncoder {
  readonly encoding = "utf-8";
  encode(text = "") {
    return encodeUtf8(String(text));
  }
});
offer("TextDecoder", class TextDecoder {
  readonly encoding = "utf-8";
  constructor(label = "utf-8", private readonly options: { fatal?: boolean } = {}) {
    if (!/^utf-?8$/i.test(label)) throw new RangeError(`no such encoding here: ${label}`);
  }
  decode(bytes: ArrayBuffer | ArrayBufferView = new Uint8Array()) {
    const view = ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes);
    return decodeUtf8(view, this.options.fatal ?? false);
  }
});

function shown(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}` : String(value);
  try {
    const text = JSON.stringify(value, (_, one) => (typeof one === "bigint" ? `${one}n` : one));
    return text ?? String(value);
  } catch {
    return String(value);
  }
}

const line = (level: Level) => (...values: unknown[]) => log(values.map(shown).join(" "), level);
offer("console", {
  trace: line("trace"), debug: line("debug"), log: line("info"), info: line("info"), warn: line("warn"), error: line("error"),
  assert(holds: unknown, ...values: unknown[]) {
    if (!holds) line("error")("Assertion failed:", ...values);
  },
}, true);
