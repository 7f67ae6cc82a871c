/** UTF-8, for engines that have no `TextEncoder`. */

/** The bytes of a text; lone surrogates become U+FFFD. */
export function encodeUtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const letter of text) {
    let point = letter.codePointAt(0)!;
    if (point >= 0xd800 && point < 0xe000) point = 0xfffd;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 63));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
    else bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
  }
  return Uint8Array.from(bytes);
}

/** The text of bytes; what is no UTF-8 becomes U+FFFD, or is an error. */
export function decodeUtf8(bytes: Uint8Array, fatal: boolean): string {
  let text = "";
  for (let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0; at < bytes.length; ) {
    const first = bytes[at]!;
    at += 1;
    if (first < 0x80) {
      text += String.fromCharCode(first);
      continue;
    }
    const more = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : 0;
    let point = first & (0x3f >> more);
    let taken = 0;
    while (taken < more && (bytes[at]! & 0xc0) === 0x80 && isPossible(first, bytes[at]!, taken)) {
      point = (point << 6) | (bytes[at]! & 63);
      at += 1;
      taken += 1;
    }
    if (more === 0 || taken < more) {
      if (fatal) throw new TypeError("the bytes are no UTF-8");
      text += "\ufffd";
    } else {
      text += String.fromCodePoint(point);
    }
  }
  return text;
}

/** Overlong forms, surrogates and what is above U+10FFFF are told by the second byte. */
function isPossible(first: number, second: number, taken: number): boolean {
  if (taken > 0) return true;
  if (first === 0xe0) return second >= 0xa0;
  if (first === 0xed) return second < 0xa0;
  if (first === 0xf0) return second >= 0x90;
  return first !== 0xf4 || second < 0x90;
}
