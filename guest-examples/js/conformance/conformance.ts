/** The tasks that every language's SDK is measured by, here in TypeScript. */

import { Fail, Ignore, Reject, Replace, Requeue, Retry, sleep, SoftTimeLimitExceeded, task } from "lovage";
import { fetch, HTTPError } from "lovage/http";

/** An exception of the module's own. */
class OutOfStock extends Fail {}

class ConnectionError extends Fail {}

class ValueError extends Fail {}

/** Adds two numbers. */
export const add = task("conformance.add", (_ctx, x: number, y: number): number => x + y);

/** Any JSON value, as it came. */
export const echo = task("conformance.echo", (_ctx, value: unknown) => value);

/** Fails with an exception of the module's own. */
export const fail = task("conformance.fail", function fail(_ctx, message: string = "no stock") {
  throw new OutOfStock(message, 42, { sku: "A-1" });
});

/** Asks to be run again until its retries are used up but one. */
export const retry = task("conformance.retry", { retry: { max: 2 } }, (ctx, after: number = 0.1): number => {
  if (ctx.retries < 2) throw new Retry("not yet", { after });
  return ctx.retries;
});

/** Fails with what it retries on. */
export const exhaust = task("conformance.exhaust", { retry: { max: 1, on: [ConnectionError], delay: 0.05 } }, () => {
  throw new ConnectionError("bank down");
});

/** Is not to be run again. */
export const reject = task("conformance.reject", (_ctx, reason: string = "never") => {
  throw new Reject(reason);
});

/** Charges once over two attempts. */
export const steps = task("conformance.steps", { retry: { max: 1 } }, async (ctx, order: number) => {
  const receipt = await ctx.step("charge", { doubt: "retry", input: order }, async (it) => {
    await sleep(0);
    return `${it.key}/${ctx.retries}`;
  });
  if (ctx.retries === 0) throw new Retry("mail is down", { after: 0 });
  return [receipt, ctx.retries];
});

/** Calls another task, if it succeeds. */
export const outbox = task("conformance.outbox", (ctx, good: boolean = true): string => {
  const call = ctx.call(add, { args: [20, 22], headers: { tenant: "acme" } });
  if (!good) throw new ValueError("the call must not leave");
  return call;
});

/** Shows how far it is. */
export const progress = task("conformance.progress", async (ctx, hold_ms: number = 0): Promise<string> => {
  ctx.progress("PROGRESS", { done: 3, of: 10 });
  await sleep(hold_ms / 1000);
  return "finished";
});

/** A line of each level. */
export const log = task("conformance.log", (ctx): null => {
  for (const level of ["trace", "debug", "info", "warn", "error"] as const) {
    ctx.log(`a line of ${level}`, level, { number: 1 });
  }
  console.log("a line on standard output");
  return null;
});

/** Waits longer than it may, and tidies up. */
export const soft = task("conformance.soft", { limits: { softTime: "200ms", time: "10s" } }, async (): Promise<string> => {
  try {
    await sleep("8s");
  } catch (error) {
    if (error instanceof SoftTimeLimitExceeded) return `${error.name} after tidying up`;
    throw error;
  }
  return "never told";
});

/** Happens once for an order. */
export const once = task(
  "conformance.once",
  { idempotencyKey: "order:{order_id}" },
  (ctx, order_id: number): string => ctx.idempotencyKey,
);

/** What an order has. */
interface Item {
  sku: string;
  count?: number;
}

/** Has a schema. */
export const typed = task("conformance.typed", (_ctx, item: Item, note: string | null = null): number =>
  item.sku ? (item.count ?? 1) : 0);

/** A call of `conformance.add`, as Celery writes it. */
function addition(x: number, y: number, options: object = {}): object {
  return { task: "conformance.add", args: [x, y], kwargs: {}, options };
}

/** Sends a call of this id, and says nothing of its own end. */
export const ignore = task("conformance.ignore", (ctx, child: string) => {
  ctx.sendSignature(addition(20, 22, { task_id: child }));
  throw new Ignore();
});

/** Goes back to its queue once. */
export const requeue = task("conformance.requeue", (ctx): string => {
  if (!ctx.redelivered) throw new Requeue("once more");
  return "redelivered";
});

/** Has another call take its place. */
export const replace = task("conformance.replace", (_ctx, x: number) => {
  throw new Replace(addition(x, 100));
});

/** Asks to be run again with another word. */
export const changed = task("conformance.changed", { retry: { max: 1 } }, (ctx, word: string): unknown[] => {
  if (ctx.retries === 0) throw new Retry("another word", { after: 0, changes: { args: [], kwargs: { word: "second" } } });
  return [word, ctx.retries];
});

/** Sends a chord, and returns its result's tuple. */
export const canvas = task("conformance.canvas", (ctx, x: number): unknown => {
  const body = { task: "conformance.echo", args: [], kwargs: {}, options: {} };
  const kwargs = { header: [addition(x, 1), addition(x, 2)], body };
  return ctx.sendSignature({ task: "celery.chord", args: [], kwargs, options: {}, subtask_type: "chord" });
});

/** All that Celery's request has. */
export const request = task("conformance.request", (ctx, word: string): unknown => ctx.request);

let attempts = 0;

/** Which attempt this is in its instance. */
export const count = task("conformance.count", (): number => ++attempts);

/** The same in one that attempts share, and its id. */
export const shared = task("conformance.shared", { reuse: 100 }, (ctx): unknown[] => [++attempts, ctx.taskId]);

/** Waits; other tasks run meanwhile. */
export const wait = task("conformance.sleep", async (_ctx, seconds: number): Promise<number> => {
  await sleep(seconds);
  return seconds;
});

/** Asks a server. */
export const ask = task("conformance.http", { capabilities: ["http:127.0.0.1:*"] }, async (_ctx, url: string): Promise<unknown[]> => {
  const answer = await fetch(url, { method: "POST", json: { number: 7 }, headers: { "X-Mine": "conformance" }, timeout: "10s" });
  if (!answer.ok) throw new HTTPError(`the status is ${answer.status}`, answer);
  return [answer.status, answer.headers["x-theirs"], answer.json()];
});
