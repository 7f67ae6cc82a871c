/** The tasks of {{name}}. */

import { Reject, task } from "lovage";

/** Greets someone. */
export const hello = task("{{module}}.hello", (_ctx, name: string = "world") => `Hello, ${name}!`);

/** Charges an order, once. */
export const charge = task(
  "{{module}}.charge",
  { retry: { max: 5, backoff: "exponential" }, idempotencyKey: "order:{order_id}" },
  async (ctx, order_id: number, cents: number) => {
    if (cents <= 0) throw new Reject("nothing to charge");
    // Hand step.key to whoever is paid: it is the same over all attempts.
    return ctx.step("charge", { doubt: "retry", input: order_id }, (step) => `charged with the key ${step.key}`);
  },
);
