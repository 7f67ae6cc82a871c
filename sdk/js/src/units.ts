/** Texts such as `"5s"` and `"64MiB"` as numbers. */

/** Seconds, or a text: `"500ms"`, `"5s"`, `"10m"`, `"2h"`, `"1d"`. */
export type Time = number | string;
/** Bytes, or a text: `"64MiB"`, `"10kB"`. */
export type Size = number | string;

const TIMES: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
const SIZES: Record<string, number> = {
  b: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, kb: 1e3, mb: 1e6, gb: 1e9,
};

/** A time in seconds. */
export function seconds(value: Time, what: string): number {
  return amount(value, TIMES, what, 'a time such as "5s"');
}

/** A time in whole milliseconds; what is past is now. */
export function milliseconds(value: Time, what: string): number {
  return Math.max(0, Math.round(seconds(value, what) * 1000));
}

/** A size in bytes. */
export function bytes(value: Size, what: string): number {
  return Math.floor(amount(value, SIZES, what, 'a size such as "64MiB"'));
}

function amount(value: number | string, units: Record<string, number>, what: string, wanted: string): number {
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
  const match = typeof value === "string" ? /^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)$/.exec(value) : null;
  const unit = match && units[match[2]!.toLowerCase()];
  if (!match || unit === undefined || unit === null) {
    throw new TypeError(`${what}: expected ${wanted}, not ${JSON.stringify(value)}`);
  }
  return Number(match[1]) * unit;
}

/** Checks that each `{…}` of a key template names a parameter, or one by its position. */
export function template(text: string, params: readonly string[]): string {
  let rest = text;
  while (/[{}]/.test(rest)) {
    const match = /^[^{}]*\{([^{}]*)\}/.exec(rest);
    if (!match) throw new TypeError(`idempotencyKey ${JSON.stringify(text)}: a brace is left open`);
    const root = match[1]!.split(".")[0]!;
    const known = /^[0-9]+$/.test(root) ? Number(root) < params.length : params.includes(root);
    if (!known) {
      throw new TypeError(`idempotencyKey ${JSON.stringify(text)}: the task has no parameter ${JSON.stringify(root)}`);
    }
    rest = rest.slice(match[0].length);
  }
  return text;
}
