/** One attempt, from JSON to JSON. */

import { Context } from "./context.js";
import { Mismatch, Reject } from "./errors.js";
import { ended, type Ended } from "./failures.js";
import * as json from "./json.js";
import { TASKS } from "./task.js";

/** An attempt that did not succeed. */
export class End {
  constructor(readonly ended: Ended) {}
}

class NotRegistered extends Reject {}

/** Starts the task `name`: what it returns may be a promise. Throws `End`, and nothing else. */
export function start(name: string, args: string, kwargs: string): unknown {
  try {
    const task = TASKS.get(name);
    if (!task) throw told(new NotRegistered(name), "celery.exceptions");
    return task.call(new Context(), decoded(args, Array.isArray), decoded(kwargs, isObject));
  } catch (thrown) {
    throw end(name, thrown);
  }
}

/** The result's JSON text. Throws `End`, and nothing else. */
export function finish(name: string, value: unknown): string {
  try {
    return json.stringify(value);
  } catch (thrown) {
    throw end(name, thrown);
  }
}

/** How the attempt ends that threw `thrown`. */
export function end(name: string, thrown: unknown): End {
  if (thrown instanceof End) return thrown;
  if (thrown instanceof json.DecodeError) return new End({ ...ended(thrown, false), tag: "rejected" } as Ended);
  const again = !(thrown instanceof Reject) && !(thrown instanceof Mismatch) && (TASKS.get(name)?.retries(thrown) ?? false);
  return new End(ended(thrown, again));
}

function told(error: Error, module: string): End {
  const end = ended(error, false) as Extract<Ended, { tag: "failed" | "rejected" }>;
  return new End({ tag: "rejected", val: { ...end.val, exceptionModule: module, traceback: null } });
}

function decoded<T>(text: string, is: (value: unknown) => value is T): T {
  const value: unknown = json.parse(text);
  if (!is(value)) throw new json.DecodeError("the arguments are no list and no object");
  return value;
}

function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
