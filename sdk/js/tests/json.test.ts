import assert from "node:assert/strict";
import { test } from "node:test";

import { DecodeError, EncodeError, parse, stringify, toBytes, toDate } from "../src/json.js";

const same = (text: string) => assert.equal(stringify(parse(text)).replaceAll(/, |: /g, (sign) => sign.trim()), text);

test("texts come back as they were", () => {
  for (const text of [
    "null", "true", "[]", "{}", '"é😀\\ud800"', "18446744073709551616", `-${"9".repeat(5000)}`, "[NaN,Infinity,-Infinity]",
    '{"a":[1,{"b":null}],"__proto__":12345678901234567890}', "1.5", "9007199254740991", "[9007199254740993,-9007199254740993]",
  ]) same(text);
  assert.equal(stringify(parse("-0.0")), "-0.0");
  assert.equal(parse("1e400"), Infinity);
  assert.equal(parse("1234567890123456.5"), 1234567890123456.5);
});

test("integers that a number holds exactly are numbers, the others are not", () => {
  assert.equal(parse("9007199254740991"), 9007199254740991);
  assert.equal(parse("9007199254740992"), 9007199254740992n);
});

test("what is no JSON is refused in both readers", () => {
  for (const text of ["", "[1,]", "{a:1}", "01", "nul", '"\n"', "[1] 2", "[12345678901234567890,]", '{"a" NaN}', "NaN NaN", '["\\x41", NaN]']) {
    assert.throws(() => parse(text), DecodeError, text);
  }
});

test("values without a JSON form are refused, and say where", () => {
  const loop: any = { a: 1n };
  loop.self = loop;
  assert.throws(() => stringify(loop), /the value\.self contains itself/);
  assert.throws(() => stringify([1, () => 1]), /the value\[1\] is a function/);
  assert.throws(() => stringify(new Date(NaN)), EncodeError);
});

test("moments and bytes are kombu's typed values", () => {
  const moment = new Date("2026-01-02T03:04:05.678Z");
  assert.equal(stringify({ at: moment }), '{"at":{"__type__": "datetime", "__value__": "2026-01-02T03:04:05.678+00:00"}}');
  assert.deepEqual(toDate(parse('{"__type__":"datetime","__value__":"2026-01-02T03:04:05.678901+00:00"}')), moment);
  assert.deepEqual(toDate("2026-01-02T03:04:05"), new Date("2026-01-02T03:04:05Z"));
  assert.deepEqual(toBytes(JSON.parse(stringify(Uint8Array.of(255, 0)))), Uint8Array.of(255, 0));
});
