/** Custom sections of WebAssembly. */

/** The module or component with one more custom section at its end. */
export function embed(wasm, name, content) {
  const title = Buffer.from(name);
  const body = Buffer.concat([leb128(title.length), title, Buffer.from(content)]);
  return Buffer.concat([wasm, Buffer.from([0]), leb128(body.length), body]);
}

function leb128(number) {
  const bytes = [];
  for (let rest = number; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}
