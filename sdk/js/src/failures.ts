/** From what a task throws to what the caller will see of it. */

import * as json from "./json.js";
import { Ignore, Mismatch, Replace, Requeue, Retry } from "./errors.js";
import { authorsFrames } from "./frames.js";

/** The contract's `types.failure`. */
export interface Failure {
  exceptionType: string;
  exceptionModule: string | null;
  arguments: string;
  traceback: string | null;
}

/** An attempt that did not succeed, in the contract's words. */
export type Ended =
  | { tag: "failed" | "rejected"; val: Failure }
  | { tag: "requeued"; val: Failure }
  | { tag: "retry"; val: { reason: Failure; afterMs: number | null; options: string | null } }
  | { tag: "ignored" }
  | { tag: "replaced"; val: string };

/** Where Python's callers find the classes that are ours and Celery's alike. */
const MODULES: { [name: string]: string } = {
  Retry: "celery.exceptions",
  Reject: "celery.exceptions",
  SoftTimeLimitExceeded: "billiard.exceptions",
  DecodeError: "kombu.exceptions",
  EncodeError: "kombu.exceptions",
};

/** What the caller sees of something that was thrown. */
export function failure(thrown: unknown): Failure {
  const name = nameOf(thrown);
  return {
    exceptionType: name,
    exceptionModule: MODULES[name] ?? null,
    arguments: argumentsOf(thrown),
    traceback: thrown instanceof Error ? traceback(thrown, name) : null,
  };
}

function nameOf(thrown: unknown): string {
  if (thrown instanceof Mismatch) return "TypeError";
  if (!(thrown instanceof Error)) return "Error";
  // A class that sets no name of its own has that of its base.
  const own = Object.getPrototypeOf(thrown)?.constructor?.name;
  const name = thrown.name !== "Error" && thrown.name ? thrown.name : own;
  return typeof name === "string" && name !== "" ? name : "Error";
}

function argumentsOf(thrown: unknown): string {
  const own = thrown instanceof Error ? (thrown as { args?: unknown }).args : undefined;
  const values = Array.isArray(own) ? own : [thrown instanceof Error ? thrown.message : thrown];
  const texts = values.map((value) => {
    try {
      return json.stringify(value);
    } catch {
      return JSON.stringify(String(value));
    }
  });
  return `[${texts.join(",")}]`;
}

/** What a person reads: the author's frames, the innermost last, and what was thrown. */
function traceback(error: Error, name: string): string {
  const lines = [];
  const cause = error.cause instanceof Error && error.cause !== error ? error.cause : undefined;
  if (cause) {
    lines.push(traceback(cause, nameOf(cause)), "The above error caused this one:\n");
  }
  const frames = authorsFrames(error.stack ?? "", classesOf(error));
  if (frames.length > 0) lines.push("Traceback (most recent call last):");
  for (const frame of frames.reverse()) {
    lines.push(`  File "${frame.file}", line ${frame.line}, in ${frame.function || "<module>"}`);
    if (frame.text) lines.push(`    ${frame.text}`);
  }
  lines.push(error.message === "" ? name : `${name}: ${error.message}`);
  return `${lines.join("\n")}\n`;
}

/** The names of an error's class and of those it extends. */
function classesOf(error: Error): Set<string> {
  const names = new Set<string>();
  for (let at = Object.getPrototypeOf(error); at !== null && at !== Error.prototype; at = Object.getPrototypeOf(at)) {
    if (typeof at.constructor?.name === "string") names.add(at.constructor.name);
  }
  return names;
}

/** How an attempt ends that threw `thrown`; `again` says that the policy retries it. */
export function ended(thrown: unknown, again: boolean): Ended {
  if (thrown instanceof Retry) {
    const { reason, after, changes = null } = thrown;
    const afterMs = after === undefined ? null : Math.round(after * 1000);
    const why = failure(reason instanceof Error ? reason : thrown);
    return { tag: "retry", val: { reason: why, afterMs, options: changes } };
  }
  if (thrown instanceof Ignore) return { tag: "ignored" };
  if (thrown instanceof Requeue) return { tag: "requeued", val: failure(thrown) };
  if (thrown instanceof Replace) return { tag: "replaced", val: thrown.signature };
  if (again) return { tag: "retry", val: { reason: failure(thrown), afterMs: null, options: null } };
  const isFinal = thrown instanceof Mismatch || nameOf(thrown) === "Reject";
  return { tag: isFinal ? "rejected" : "failed", val: failure(thrown) };
}
