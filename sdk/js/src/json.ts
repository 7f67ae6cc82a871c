/**
 * JSON as Celery's bodies are: integers of any size, bare `NaN` and `Infinity`, kombu's typed values.
 *
 * Integers that a number cannot hold exactly are `bigint`. Typed values (`{"__type__": "datetime",
 * "__value__": "…"}`) come as they are, so that nothing of them is lost; `toDate` and `toBytes` read them.
 * On the way out `Date`, `bigint` and `Uint8Array` are understood.
 */

/** Any JSON value, as this package reads it. */
export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

/** A value that JSON has no form for, as kombu writes it. */
export interface Typed {
  __type__: string;
  __value__: Json;
}

/** A text is no JSON value. */
export class DecodeError extends Error {
  override name = "DecodeError";
}

/** A value has no JSON form. */
export class EncodeError extends Error {
  override name = "EncodeError";
}

/** Whether a text may hold what `JSON.parse` would refuse or get wrong. */
const SPECIAL = /[0-9]{16}|NaN|Infinity/;

/** The value of a JSON text. */
export function parse(text: string): Json {
  // What is short holds no such integer, and engines search for words faster than for patterns.
  const odd = text.length >= 16 ? SPECIAL.test(text) : text.includes("NaN") || text.includes("Infinity");
  if (odd) return new Reader(text).whole();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DecodeError(error instanceof Error ? error.message : String(error));
  }
}

/** The JSON text of a value; `undefined` is `null`. */
export function stringify(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number" && Number.isSafeInteger(value) && value !== 0) return String(value);
  let special = false;
  let text: string | undefined;
  try {
    text = JSON.stringify(value, function (this: any, key, now) {
      special ||=
        typeof now === "bigint" || (typeof now === "number" && !Number.isFinite(now)) ||
        Object.is(now, -0) || this[key] instanceof Date || now instanceof Uint8Array ||
        typeof now === "function" || typeof now === "symbol";
      return typeof now === "bigint" ? null : now;
    });
  } catch {
    // What contains itself, for one: our own writer says where.
    special = true;
  }
  if (!special) return text ?? "null";
  try {
    return write(value, "the value", []);
  } catch (error) {
    if (error instanceof EncodeError) throw error;
    throw new EncodeError(error instanceof Error ? error.message : String(error));
  }
}

/** The moment of a typed `datetime`, `date`, or ISO 8601 text. */
export function toDate(value: Json | Date): Date {
  if (value instanceof Date) return value;
  const text = isTyped(value) ? value.__value__ : value;
  // Celery's zoneless moments are UTC, and JavaScript has milliseconds only.
  const iso = String(text).replace(/(\.\d{3})\d+/, "$1");
  const date = new Date(/T.*([Zz]|[+-]\d\d:?\d\d)$/.test(iso) || !iso.includes("T") ? iso : `${iso}Z`);
  if (Number.isNaN(date.getTime())) throw new TypeError(`no moment: ${JSON.stringify(text)}`);
  return date;
}

/** The bytes of a typed `bytes` or `base64`. */
export function toBytes(value: Json): Uint8Array {
  if (isTyped(value) && typeof value.__value__ === "string") {
    if (value.__type__ === "bytes") return new TextEncoder().encode(value.__value__);
    if (value.__type__ === "base64") return Uint8Array.from(atob(value.__value__), (c) => c.charCodeAt(0));
  }
  throw new TypeError("no bytes");
}

function isTyped(value: unknown): value is Typed {
  return typeof value === "object" && value !== null && "__type__" in value && "__value__" in value;
}

const DEPTH_MAX = 64;

function write(value: any, where: string, above: object[]): string {
  if (value !== null && typeof value === "object") {
    if (value instanceof Date) return `{"__type__": "datetime", "__value__": ${JSON.stringify(iso(value))}}`;
    if (value instanceof Uint8Array) {
      const text = btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join(""));
      return `{"__type__": "base64", "__value__": "${text}"}`;
    }
    if (typeof value.toJSON === "function") return write(value.toJSON(), where, above);
    if (above.includes(value)) throw new EncodeError(`${where} contains itself`);
    if (above.length >= DEPTH_MAX) throw new EncodeError(`${where} is nested deeper than ${DEPTH_MAX} levels`);
    const path = [...above, value];
    if (Array.isArray(value)) {
      return `[${value.map((one, index) => write(one, `${where}[${index}]`, path)).join(",")}]`;
    }
    const parts = [];
    for (const [name, one] of Object.entries(value)) {
      if (one !== undefined) parts.push(`${JSON.stringify(name)}:${write(one, `${where}.${name}`, path)}`);
    }
    return `{${parts.join(",")}}`;
  }
  switch (typeof value) {
    case "bigint":
      return value.toString();
    case "number":
      // Python's words: `NaN`, `Infinity`, `-Infinity`, and a zero that has a sign is no integer.
      return Number.isFinite(value) ? (Object.is(value, -0) ? "-0.0" : JSON.stringify(value)) : String(value);
    case "function":
    case "symbol":
      throw new EncodeError(`${where} is a ${typeof value}, which has no JSON form`);
    default:
      return JSON.stringify(value) ?? "null";
  }
}

function iso(date: Date): string {
  if (Number.isNaN(date.getTime())) throw new EncodeError("an invalid Date has no JSON form");
  return date.toISOString().replace("Z", "+00:00");
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const BLANK = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
const WORDS: [string, Json][] = [
  ["null", null], ["true", true], ["false", false], ["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity],
];

/** Reads what `JSON.parse` cannot. */
class Reader {
  private at = 0;
  constructor(private readonly text: string) {}

  whole(): Json {
    const value = this.value(0);
    this.blank();
    if (this.at < this.text.length) this.fail();
    return value;
  }

  private value(depth: number): Json {
    if (depth > 1000) throw new DecodeError("nested too deeply");
    this.blank();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return this.string();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private object(depth: number): Json {
    const found: { [name: string]: Json } = {};
    this.at += 1;
    if (this.takes("}")) return found;
    do {
      this.blank();
      const name = this.string();
      if (!this.takes(":")) this.fail();
      const value = this.value(depth + 1);
      // A plain assignment would set the prototype.
      if (name === "__proto__") Object.defineProperty(found, name, { value, enumerable: true, configurable: true, writable: true });
      else found[name] = value;
    } while (this.takes(","));
    if (!this.takes("}")) this.fail();
    return found;
  }

  private array(depth: number): Json {
    const found: Json[] = [];
    this.at += 1;
    if (this.takes("]")) return found;
    do found.push(this.value(depth + 1));
    while (this.takes(","));
    if (!this.takes("]")) this.fail();
    return found;
  }

  private string(): string {
    const text = this.match(STRING)?.[0];
    if (text === undefined) this.fail();
    try {
      return JSON.parse(text);
    } catch {
      this.fail();
    }
  }

  private number(): Json {
    const match = this.match(NUMBER);
    if (!match) this.fail();
    const number = Number(match[0]);
    const isInteger = match[1] === undefined && match[2] === undefined;
    return isInteger && !Number.isSafeInteger(number) ? BigInt(match[0]) : number;
  }

  private takes(letter: string): boolean {
    this.blank();
    if (this.text[this.at] !== letter) return false;
    this.at += 1;
    return true;
  }

  private blank(): void {
    this.match(BLANK);
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match) this.at = pattern.lastIndex;
    return match;
  }

  private fail(): never {
    throw new DecodeError(`no JSON value at character ${this.at}`);
  }
}
