import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Deadlock, SoftTimeLimitExceeded } from "../src/errors.js";
import { answeredBy } from "../src/host.js";
import { later, reset, runUntil } from "../src/loop.js";
import { LoopPromise } from "../src/promise.js";
import { Host } from "../src/testing.js";
import { decodeUtf8, encodeUtf8 } from "../src/utf8.js";

/** What a promise comes to, by our loop alone. */
function outcome(promise: any): any {
  runUntil(() => LoopPromise.outcome(promise) !== undefined);
  return LoopPromise.outcome(promise);
}

beforeEach(() => reset());

test("reactions run in order, after what runs now", () => {
  const seen: number[] = [];
  const promise = LoopPromise.resolve(1).then((one: number) => { seen.push(one); throw new Error("two"); });
  const caught = promise.catch((error: Error) => error.message).finally(() => seen.push(3));
  seen.push(0);
  assert.deepEqual(outcome(caught), { value: "two" });
  assert.deepEqual(seen, [0, 1, 3]);
});

test("the statics gather, race and settle", () => {
  const later_ = (value: number, ms: number) => new LoopPromise((resolve) => later(() => resolve(value), ms));
  assert.deepEqual(outcome(LoopPromise.all([later_(1, 3), 2, later_(3, 1)])), { value: [1, 2, 3] });
  assert.deepEqual(outcome(LoopPromise.race([later_(1, 30), later_(2, 1)])), { value: 2 });
  assert.deepEqual(outcome(LoopPromise.any([LoopPromise.reject(1), later_(2, 1)])), { value: 2 });
  assert.equal(outcome(LoopPromise.any([])).reason.constructor, AggregateError);
  const settled = outcome(LoopPromise.allSettled([LoopPromise.reject("no"), 1])).value;
  assert.deepEqual(settled, [{ status: "rejected", reason: "no" }, { status: "fulfilled", value: 1 }]);
  assert.deepEqual(outcome(LoopPromise.all([])), { value: [] });
  assert.deepEqual(outcome(LoopPromise.try((one: number) => one + 1, 1)), { value: 2 });
});

test("foreign thenables are waited for, and a promise cannot wait for itself", () => {
  assert.deepEqual(outcome(LoopPromise.resolve({ then: (resolve: any) => resolve(7) })), { value: 7 });
  const { promise, resolve } = LoopPromise.withResolvers();
  resolve(promise);
  assert.ok(outcome(promise).reason instanceof TypeError);
});

test("what nothing will ever fulfil is an error, and not an endless wait", () => {
  assert.throws(() => outcome(new LoopPromise(() => {})), Deadlock);
});

test("a wait ends when the soft limit does", () => {
  const host = new Host({ softMs: 50 });
  const before = answeredBy(host);
  try {
    const promise = new LoopPromise((resolve, reject) => later(() => resolve(1), 60_000, { interrupt: reject }));
    assert.ok(outcome(promise).reason instanceof SoftTimeLimitExceeded);
    assert.equal(host.waited, 50);
  } finally {
    answeredBy(before);
  }
});

test("a hundred thousand reactions take no stack", () => {
  let promise: any = LoopPromise.resolve(0);
  for (let round = 0; round < 100_000; round += 1) promise = promise.then((sum: number) => sum + 1);
  assert.deepEqual(outcome(promise), { value: 100_000 });
});

test("UTF-8 is what Node's is, also where it is none", () => {
  for (const text of ["", "aé€😀", "\ud800x"]) assert.deepEqual(encodeUtf8(text), new TextEncoder().encode(text));
  const samples = [[0xc3, 0xa9], [0xf0, 0x9f, 0x98], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80], [0xe2, 0x28, 0xa1], [0xef, 0xbb, 0xbf, 0x61]];
  for (const bytes of samples) {
    assert.equal(decodeUtf8(Uint8Array.from(bytes), false), new TextDecoder().decode(Uint8Array.from(bytes)), String(bytes));
  }
  assert.throws(() => decodeUtf8(Uint8Array.of(0xc0), true), TypeError);
});
