import assert from "node:assert/strict";
import { test } from "node:test";

import { Fail, Ignore, Reject, Replace, Requeue, Retry, sleep, SoftTimeLimitExceeded, task } from "lovage";
import { fetch, Response } from "lovage/http";
import { Host } from "lovage/testing";
import { manifest } from "../src/manifest.js";
import { TASKS } from "../src/task.js";

class BankError extends Fail {}

interface Item {
  sku: string;
  count?: number;
  kind: "book" | "toy";
}

/** Charges an order. */
task("shop.charge", {
  idempotencyKey: "order:{order}", idempotencyTtl: "1d", retry: { max: 5, on: [BankError], backoff: "exponential", cap: "10m" },
  limits: { time: "5s", memory: "64MiB" }, rateLimit: "10/s",
}, async (ctx, order: number, cents: number = 100) => {
  const receipt = await ctx.step("charge", { doubt: "retry", input: order }, (step) => `${step.key}/${cents}/${ctx.retries}`);
  if (order % 7 === 0) throw new BankError("bank down", order);
  ctx.call("shop.mail", { args: [order], countdown: "2s", idempotencyKey: `mail:${order}` });
  return receipt;
});

task("shop.rate", { capabilities: ["http:api.bank.example"] }, async (_ctx, currency: string) => {
  const answer = await fetch("https://api.bank.example/rates", { method: "post", json: { currency }, timeout: "5s" });
  return answer.ok ? answer.json() : answer.status;
});
task("shop.pack", (_ctx, item: Item, ...more: Item[]): number => more.length + (item.count ?? 1));
task("shop.wait", async (ctx, how: string) => {
  if (how === "retry") throw new Retry(new BankError("later"), { after: "30s" });
  if (how === "reject") throw new Reject("never");
  if (how === "odd") throw { a: 1 };
  ctx.progress("PROGRESS", { done: 1 });
  try {
    await sleep("1m");
  } catch (error) {
    return error instanceof SoftTimeLimitExceeded ? "tidied up" : "?";
  }
  return ctx.headers["tenant"];
});

task("shop.end", (ctx, how: string) => {
  ctx.sendSignature({ task: "shop.mail", args: [how], options: { task_id: "mail-1" } });
  if (how === "ignore") throw new Ignore();
  if (how === "requeue") throw new Requeue("once more");
  if (how === "replace") throw new Replace({ task: "shop.mail", args: [2n ** 70n] });
  if (how === "changed") throw new Retry("later", { changes: { kwargs: { how: "on" }, priority: 3 } });
  ctx.addToChord({ task: "shop.mail" });
  return ctx.request.id;
});

test("a task is called by position and by name, and its types are kept", async () => {
  const host = new Host();
  assert.equal(await host.call("shop.charge", 8), "task-1:charge/100/0");
  assert.deepEqual((await host.attemptJson("shop.charge", "[8]", '{"cents": 5}')).value, "task-1:charge/100/0");
  assert.equal(host.sent[0]!.options.countdownMs, 2000);
  assert.equal(host.sent[0]!.options.headers, '{"idempotency-key":"mail:8"}');
  for (const [args, kwargs, problem] of [
    ["[]", "{}", 'shop.charge() lacks the argument "order"'],
    ["[1,2,3]", "{}", "shop.charge() takes 2 arguments but 3 were given"],
    ["[1]", '{"order": 1}', 'shop.charge() got "order" by position and by name'],
    ["[1]", '{"colour": 1}', 'shop.charge() has no parameter "colour"'],
    ['["1"]', "{}", "order must be number, not string"],
  ]) {
    const { kind, failure } = await host.attemptJson("shop.charge", args!, kwargs!);
    assert.deepEqual([kind, failure!.exceptionType, JSON.parse(failure!.arguments)], ["rejected", "TypeError", [problem]]);
  }
});

test("schemas say where a value is wrong", async () => {
  const wrong = async (item: unknown) => JSON.parse((await new Host().attempt("shop.pack", item)).failure!.arguments)[0];
  assert.equal(await wrong({ sku: 7, kind: "toy" }), "item.sku must be string, not number");
  assert.equal(await wrong({ sku: "a", kind: "car" }), 'item.kind must be "book" or "toy", not "car"');
  assert.equal(await wrong({ sku: "a" }), 'item lacks the field "kind"');
  assert.equal(await new Host().call("shop.pack", { sku: "a", kind: "toy" }, 1, 2), 3);
});

test("errors end an attempt as the policy says", async () => {
  const ends = async (name: string, ...args: unknown[]) => {
    const { kind, failure, after } = await new Host().attempt(name, ...args);
    return [kind, failure?.exceptionType, failure?.arguments, after];
  };
  assert.deepEqual(await ends("shop.charge", 7), ["retry", "BankError", '["bank down",7]', null]);
  assert.deepEqual(await ends("shop.wait", "retry"), ["retry", "BankError", '["later"]', 30]);
  assert.deepEqual(await ends("shop.wait", "reject"), ["rejected", "Reject", '["never"]', undefined]);
  assert.deepEqual(await ends("shop.wait", "odd"), ["failed", "Error", '[{"a":1}]', undefined]);
  assert.deepEqual((await ends("nobody")).slice(0, 2), ["rejected", "NotRegistered"]);
});

test("a task sees to its end itself, goes back, or hands its place on", async () => {
  const host = new Host();
  assert.deepEqual(await host.attempt("shop.end", "ignore"), { kind: "ignored" });
  assert.deepEqual([host.sent.length, host.sent[0]!.id, host.sent[0]!.args], [1, "mail-1", ["ignore"]]);
  assert.deepEqual((await host.attempt("shop.end", "requeue")).kind, "requeued");
  assert.equal(host.sent.length, 1, "what goes back sends nothing");
  const replaced = await host.attempt("shop.end", "replace");
  assert.deepEqual(replaced, { kind: "replaced", options: { task: "shop.mail", args: [2n ** 70n] } });
  assert.deepEqual((await host.attempt("shop.end", "changed")).options, { kwargs: { how: "on" }, priority: 3 });
  assert.equal((await host.attempt("shop.end", "join")).failure!.exceptionType, "InvalidCall");
  host.inChord = true;
  assert.equal(await host.call("shop.end", "join"), "task-1");
  assert.deepEqual(host.sent.slice(-2).map((one) => one.task), ["shop.mail", "shop.mail"]);
});

test("steps are replayed, waits take no time, and a soft limit ends them", async () => {
  const host = new Host({ retries: 1, headers: { tenant: "acme" } });
  assert.equal(await host.call("shop.wait", "on"), "acme");
  assert.equal(host.waited, 60_000);
  assert.deepEqual(host.shown, [["PROGRESS", { done: 1 }]]);
  assert.equal(await new Host({ softMs: 200 }).call("shop.wait", "on"), "tidied up");
  assert.match((await new Host({ hasLedger: false }).attempt("shop.charge", 8)).failure!.exceptionType, /Unavailable/);
});

test("the manifest has what was declared and what the types say", () => {
  const { tasks } = JSON.parse(manifest("shop"));
  const charge = tasks.find((one: any) => one.name === "shop.charge");
  assert.deepEqual(charge, {
    name: "shop.charge", params: ["order", "cents"], doc: "Charges an order.", rate_limit: "10/s",
    retry: { max: 5, on_failure: false, backoff: "exponential", cap_s: 600 },
    idempotency: { key: "order:{order}", ttl_s: 86400 }, limits: { time_ms: 5000, memory_bytes: 67108864 },
    input_schema: {
      type: "object", properties: { order: { type: "number" }, cents: { type: "number" } }, required: ["order"], additionalProperties: false,
    },
    output_schema: { type: "string" },
  });
  const pack = tasks.find((one: any) => one.name === "shop.pack");
  assert.deepEqual(pack.input_schema.properties.item, {
    type: "object", required: ["kind", "sku"],
    properties: { sku: { type: "string" }, count: { type: "number" }, kind: { enum: ["book", "toy"] } },
  });
  assert.equal(pack.input_schema.additionalProperties, true);
});

test("mistakes in a declaration are told when the module is built", () => {
  const wrong = (options: object) => {
    TASKS.delete("wrong");
    task("wrong", options, (_ctx, x: number) => x);
    return manifest("shop");
  };
  try {
    const missing = /task wrong: idempotencyKey "a:\{y\}": the task has no parameter "y"/;
    assert.throws(() => wrong({ idempotencyKey: "a:{y}", params: ["x"] }), missing);
    assert.throws(() => wrong({ limits: { time: "5 parsecs" } }), /task wrong: time: expected a time such as "5s"/);
  } finally {
    TASKS.delete("wrong");
  }
  assert.throws(() => task("shop.charge", () => 1), /two tasks have the name "shop.charge"/);
});

test("a request is told, and its answer read", async () => {
  const host = new Host();
  assert.equal((await host.attempt("shop.rate", "EUR")).failure?.exceptionType, "Denied");
  host.answer = (request) => new Response(200, request.body);
  assert.deepEqual(await host.call("shop.rate", "EUR"), { currency: "EUR" });
  const [, asked] = host.requested;
  assert.deepEqual([asked!.method, asked!.url, asked!.timeout], ["POST", "https://api.bank.example/rates", 5]);
  assert.deepEqual(asked!.headers, [["content-type", "application/json"]]);
  host.answer = () => new Response(503);
  assert.equal(await host.call("shop.rate", "EUR"), 503);
});
