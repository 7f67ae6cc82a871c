/**
 * Lovage tasks in TypeScript and JavaScript.
 *
 *     import { task, Retry } from "lovage";
 *
 *     export const charge = task("shop.charge", { idempotencyKey: "order:{orderId}", retry: { max: 5 } },
 *       async (ctx, orderId: number, cents: number) => {
 *         const receipt = await ctx.step("charge", { doubt: "retry" }, (step) => bank(orderId, cents, step.key));
 *         ctx.send("shop.mail", orderId);
 *         return receipt;
 *       });
 */

export { Context, log, sleep, Step, type Call, type StepOptions } from "./context.js";
export {
  Deadlock, Fail, HostError, Ignore, InvalidCall, LimitExceeded, LovageError, Reject, Replace, Requeue, Retry,
  SoftTimeLimitExceeded, Unavailable,
} from "./errors.js";
export { DecodeError, EncodeError, toBytes, toDate, type Json, type Typed } from "./json.js";
export type { Doubt, Level } from "./host.js";
export type { Schema } from "./schema.js";
export { task, Task, type Limits, type RetryOn, type RetryOptions, type TaskOptions } from "./task.js";
export type { Size, Time } from "./units.js";
