/**
 * From an engine's stack to places in the author's sources.
 *
 * The builder puts the map of the bundle at its end, under `Symbol.for("lovage.map")`. It is read only when
 * something fails.
 */

/** What the builder knows of the bundle. */
export interface BundleMap {
  /** The sources' names, as their author knows them. */
  sources: string[];
  /** For each line of the bundle its segments, as in a source map: column, source, line, column. */
  mappings: string;
  /** The lines of the author's own sources, by their source; those of packages are not kept. */
  texts: { [source: number]: string };
}

/** A place in a source. */
export interface Frame {
  function: string;
  file: string;
  line: number;
  /** The source's line, if it is kept. */
  text?: string;
}

/** Frames of one traceback; of a deeper one the ends are shown. */
const FRAMES_MAX = 40;

/**
 * The frames of the author's and of packages' sources, the innermost first.
 *
 * Some engines show the constructors of the error itself: those of `classes` at the top are left out.
 */
export function authorsFrames(stack: string, classes: ReadonlySet<string>): Frame[] {
  const map: BundleMap | undefined = (globalThis as any)[Symbol.for("lovage.map")];
  const found = positions(stack);
  while (found.length > 0 && classes.has(found[0]!.name)) found.shift();
  const frames = map ? mapped(found, map) : found.map(({ name, line, file }) => ({ function: name, file, line }));
  if (frames.length <= FRAMES_MAX) return frames;
  return [...frames.slice(0, FRAMES_MAX / 2), ...frames.slice(-FRAMES_MAX / 2)];
}

interface Position {
  name: string;
  file: string;
  line: number;
  column: number;
}

/** QuickJS and V8 write `at name (file:1:2)`, SpiderMonkey `name@file:1:2`. */
function positions(stack: string): Position[] {
  const found: Position[] = [];
  for (const text of stack.split("\n")) {
    const match =
      /^\s*at (?:(.*?) \()?(.*?):(\d+):(\d+)\)?$/.exec(text) ?? /^(.*?)@(.*?):(\d+):(\d+)$/.exec(text);
    if (match) {
      found.push({ name: plain(match[1] ?? ""), file: match[2]!, line: Number(match[3]), column: Number(match[4]) });
    }
  }
  return found;
}

function plain(name: string): string {
  return name.replace(/^(async|new) /, "").replace(/<$/, "").replace(/^<anonymous>$/, "");
}

function mapped(found: Position[], map: BundleMap): Frame[] {
  const wanted = new Set(found.map(({ line }) => line));
  const lines = decode(map.mappings, wanted);
  const frames = [];
  for (const { name, line, column } of found) {
    const segments = lines.get(line) ?? [];
    // Engines point at the first letter or at one of the call's; the nearest before it is meant.
    const segment = segments.findLast((one) => one[0] <= column - 1) ?? segments[0];
    if (!segment) continue;
    const [, source, at] = segment;
    const text = map.texts[source]?.split("\n")[at]?.trim();
    frames.push({ function: name, file: map.sources[source] ?? "?", line: at + 1, ...(text ? { text } : {}) });
  }
  return frames;
}

type Segment = [column: number, source: number, line: number, sourceColumn: number];

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The segments of the lines that are wanted; a line's number is from 1. */
function decode(mappings: string, wanted: Set<number>): Map<number, Segment[]> {
  const lines = new Map<number, Segment[]>();
  let source = 0, line = 0, column = 0;
  for (const [index, text] of mappings.split(";").entries()) {
    let place = 0;
    const segments: Segment[] = [];
    for (const part of text === "" ? [] : text.split(",")) {
      const [a = 0, b = 0, c = 0, d = 0] = numbers(part);
      place += a; source += b; line += c; column += d;
      segments.push([place, source, line, column]);
    }
    if (wanted.has(index + 1)) lines.set(index + 1, segments);
  }
  return lines;
}

function numbers(part: string): number[] {
  const found = [];
  let value = 0, shift = 0;
  for (const letter of part) {
    const digit = DIGITS.indexOf(letter);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    found.push(value & 1 ? -(value >> 1) : value >> 1);
    value = shift = 0;
  }
  return found;
}
