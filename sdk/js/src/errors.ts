/** What a task throws to say how it ends, and what the host's answers become. */

import * as json from "./json.js";
import { seconds, type Time } from "./units.js";

/** The base of what this package throws. Its name is that of its class. */
export class LovageError extends Error {
  constructor(message = "") {
    super(message);
    this.name = new.target.name;
  }
}

/**
 * The task failed; its retry policy decides whether it is run again. Subclass it for errors of your
 * own: a caller sees the class's name, the message and the details.
 */
export class Fail extends LovageError {
  /** What a caller's exception has as its arguments: the message, then the details. */
  readonly args: unknown[];
  constructor(message = "", ...details: unknown[]) {
    super(message);
    this.args = [message, ...details];
  }
}

/** The task failed for good: it becomes a dead letter and is not run again. */
export class Reject extends Fail {}

/** The task wants to be run again, after a time or when its policy says. */
export class Retry extends LovageError {
  /** Seconds to wait; undefined is as the policy says. */
  readonly after: number | undefined;
  /** Why, if an error is why: the caller sees that one when no retry is left. */
  readonly reason: unknown;
  /** What the next attempt has other than this one, as JSON; undefined is nothing. */
  readonly changes: string | undefined;
  /** `changes` are options of Celery's `Task.retry` by their names: `args`, `kwargs`, `queue`, … */
  constructor(reason: unknown = "", options: { after?: Time; changes?: { [option: string]: unknown } } = {}) {
    super(reason instanceof Error ? reason.message : String(reason));
    this.reason = reason;
    this.after = options.after === undefined ? undefined : seconds(options.after, "after");
    this.changes = options.changes === undefined ? undefined : json.stringify(options.changes);
  }
}

/** The task has seen to its end itself: nobody is told of one, and no result is written. What it sent leaves. */
export class Ignore extends LovageError {}

/** The message goes back to its queue, and is delivered again as the same attempt. */
export class Requeue extends Fail {}

/** Another signature, in Celery's JSON form, takes this task's place: its id, and whatever was to follow it. */
export class Replace extends LovageError {
  /** The signature's JSON text. */
  readonly signature: string;
  constructor(signature: unknown) {
    super("replaced");
    this.signature = json.stringify(signature);
  }
}

/** The host failed; taken to be transient. */
export class HostError extends LovageError {}
/** The host offers nothing behind this call as it is configured. */
export class Unavailable extends HostError {}
/** The host refuses the call: a malformed value, or a name out of its form. */
export class InvalidCall extends HostError {}
/** A limit of this attempt is reached; the text names it. */
export class LimitExceeded extends HostError {}
/** The task was not granted that host, or its address is one that tasks may not reach. */
export class Denied extends HostError {}
/** A request has no answer, or one whose status is an error; `response` is it if there is one. */
export class HTTPError extends HostError {
  constructor(message = "", readonly response?: unknown) {
    super(message);
  }
}
/** The soft time limit is over. Tidy up and return: the hard limit is near. */
export class SoftTimeLimitExceeded extends LovageError {}
/** The task waits for what nobody will do: a promise without a timer or a call behind it. */
export class Deadlock extends LovageError {}

/** An argument is not what the task's types promise. Callers see a `TypeError`, and no retry mends it. */
export class Mismatch extends TypeError {}
