/** From a bundle's source map to what `frames.ts` reads: the author's places in full, packages' by the line. */

import { dirname, relative, resolve, sep } from "node:path";

import { SDK } from "./tools.mjs";

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The map of a bundle that lies in `folder`, for an author whose sources are in `root`. */
export function compact(map, folder, root) {
  const sources = [];
  const texts = {};
  const places = map.sources.map((name, index) => {
    const path = resolve(folder, name);
    if (path.startsWith(resolve(SDK, "src") + sep) || name.startsWith("lovage-entry")) return null;
    const isOwn = !path.includes(`${sep}node_modules${sep}`);
    const place = sources.push(isOwn ? relative(root, path) : path.slice(path.lastIndexOf(`${sep}node_modules${sep}`) + 1)) - 1;
    if (isOwn) texts[place] = map.sourcesContent?.[index] ?? "";
    return { place, isOwn };
  });
  return { sources, texts, mappings: encode(decode(map.mappings), places) };
}

function decode(mappings) {
  let source = 0, line = 0, column = 0;
  return mappings.split(";").map((text) => {
    let place = 0;
    return text.split(",").filter(Boolean).flatMap((part) => {
      const [a, b, c, d] = numbers(part);
      place += a;
      if (b === undefined) return [];
      source += b; line += c; column += d;
      return [[place, source, line, column]];
    });
  });
}

function numbers(part) {
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

function encode(lines, places) {
  let before = [0, 0, 0];
  return lines.map((segments) => {
    let column = 0;
    const known = segments.filter(([, source]) => places[source] !== null);
    const kept = known.filter(([, source], index) => places[source].isOwn || index === 0);
    return kept.map(([place, source, line, at]) => {
      const now = [places[source].place, line, at];
      const text = [place - column, ...now.map((one, index) => one - before[index])].map(vlq).join("");
      [column, before] = [place, now];
      return text;
    }).join(",");
  }).join(";").replace(/;+$/, "");
}

function vlq(number) {
  let text = "";
  let rest = number < 0 ? (-number << 1) | 1 : number << 1;
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += DIGITS[rest > 0 ? digit | 32 : digit];
  } while (rest > 0);
  return text;
}
