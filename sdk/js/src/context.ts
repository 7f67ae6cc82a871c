/** The attempt that runs, and what it may ask the host for. */

import type { Attempt, CallOptions, Doubt, Handle, Level } from "./host.js";
import { host, hostIfAny } from "./host.js";
import { SoftTimeLimitExceeded } from "./errors.js";
import { later } from "./loop.js";
import { LoopPromise } from "./promise.js";
import type { Task } from "./task.js";
import * as json from "./json.js";
import type { Json } from "./json.js";
import { milliseconds, type Time } from "./units.js";

/** How another task is called. Times count from the moment that this attempt succeeds. */
export interface Call {
  /** The arguments by position. */
  args?: readonly unknown[];
  /** The arguments by name. */
  kwargs?: { [name: string]: unknown };
  /** The queue; without it the one that the host's routing names. */
  queue?: string;
  /** The earliest start. */
  countdown?: Time;
  /** From when on the call is no longer wanted. */
  expires?: Time;
  /** 0 to 9, in the broker's own meaning. */
  priority?: number;
  /** Whether nobody wants the result. */
  ignoreResult?: boolean;
  /** More headers of the message. */
  headers?: { [name: string]: unknown };
  /** The key under which the call happens once. */
  idempotencyKey?: string;
}

/** How a step is begun. */
export interface StepOptions {
  /**
   * What happens when it was begun before and nobody knows whether its effect took place: `"retry"`
   * does it again (right where the receiver de-duplicates on `Step.key`), `"fail"` parks the task for
   * a person, `"ask"` calls the effect with `Step.ambiguous` set.
   */
  doubt: Doubt;
  /** What the effect depends on; a step that is found again with another input is refused. */
  input?: unknown;
}

/** A step that is under way, handed to the function that carries out its effect. */
export class Step {
  /** Whether `abandon` was called. */
  abandoned = false;

  constructor(
    private readonly handle: Handle,
    /** Whether it was begun before and nobody knows how it ended (only with `doubt: "ask"`). */
    readonly ambiguous: boolean,
  ) {}

  /** The key to hand to whoever carries out the effect; the same over all attempts. */
  get key(): string {
    return this.handle.key();
  }

  /** Says that the effect did not take place. The step may be begun again. */
  abandon(): void {
    this.abandoned = true;
    this.handle.abandon();
  }
}

/** The running attempt, a task's first argument. The host is asked when the task asks. */
export class Context {
  #told: Attempt | undefined;
  #headers: { [name: string]: Json } | undefined;

  get #attempt(): Attempt {
    this.#told ??= host().current();
    return this.#told;
  }

  /** The task's id: the same over all its attempts. */
  get taskId(): string { return this.#attempt.taskId; }
  /** The first task of the tree that this one belongs to. */
  get rootId(): string | null { return this.#attempt.rootId ?? null; }
  /** The task that sent this one. */
  get parentId(): string | null { return this.#attempt.parentId ?? null; }
  /** The group that this task is a member of. */
  get groupId(): string | null { return this.#attempt.groupId ?? null; }
  /** How often the task was retried before this attempt. */
  get retries(): number { return this.#attempt.retries; }
  /** How many retries the policy allows; null is no bound. */
  get maxRetries(): number | null { return this.#attempt.maxRetries ?? null; }
  /** The key under which this task happens once. */
  get idempotencyKey(): string { return this.#attempt.idempotencyKey; }
  /** The queue that the message came from. */
  get queue(): string { return this.#attempt.queue; }
  /** When the caller wanted the task to run, in ISO 8601. */
  get eta(): string | null { return this.#attempt.eta ?? null; }
  /** When the task is no longer wanted, in ISO 8601. */
  get expires(): string | null { return this.#attempt.expires ?? null; }
  /** Whether the broker delivered this message before. */
  get redelivered(): boolean { return this.#attempt.redelivered; }
  /** All headers of the message. */
  get headers(): { [name: string]: Json } {
    this.#headers ??= json.parse(this.#attempt.headers) as { [name: string]: Json };
    return this.#headers;
  }

  /** Seconds until the attempt is ended. */
  get timeLeft(): number { return host().timeLeft().hardMs / 1000; }
  /** Seconds until the soft limit; null where there is none. */
  get softTimeLeft(): number | null {
    const soft = host().timeLeft().softMs;
    return soft === null ? null : soft / 1000;
  }
  /** Whether the task was revoked while it ran; who can stop early asks now and then. */
  get revoked(): boolean { return host().revoked(); }

  /** Shows a state such as `PROGRESS` to whoever asks for the result. */
  progress(state: string, meta: unknown = null): void {
    host().progress(state, json.stringify(meta));
  }

  /** Calls another task if this attempt succeeds; the id that the call will have. */
  send<A extends unknown[]>(task: Task<A, any>, ...args: A): string;
  send(task: string, ...args: unknown[]): string;
  send(task: string | Task, ...args: unknown[]): string {
    return this.call(task, { args });
  }

  /** `send` with options. */
  call(task: string | Task, call: Call = {}): string {
    const { idempotencyKey, headers: given } = call;
    const headers = idempotencyKey === undefined ? given : { ...given, "idempotency-key": idempotencyKey };
    const options: CallOptions = {
      queue: call.queue ?? null,
      countdownMs: call.countdown === undefined ? null : milliseconds(call.countdown, "countdown"),
      expiresMs: call.expires === undefined ? null : milliseconds(call.expires, "expires"),
      priority: call.priority ?? null,
      ignoreResult: call.ignoreResult ?? false,
      headers: headers === undefined ? null : json.stringify(headers),
    };
    return host().put(typeof task === "string" ? task : task.name, json.stringify(call.args ?? []), json.stringify(call.kwargs ?? {}), options);
  }

  /** Everything that Celery's `Task.request` has, by Celery's names. It is asked for outside of the sandbox. */
  get request(): { [name: string]: Json } {
    return json.parse(host().request()) as { [name: string]: Json };
  }

  /**
   * Sends any signature of Celery's (a task, chain, group, chord, …) in its JSON form, if this attempt
   * succeeds; the tuple of its result, `[[id, parent], children]`.
   */
  sendSignature(signature: unknown): Json {
    return json.parse(host().sendSignature(json.stringify(signature)));
  }

  /** Sends a signature as one more member of the chord that this task is a member of: the body waits for it, too. */
  addToChord(signature: unknown): Json {
    return json.parse(host().addToChord(json.stringify(signature)));
  }

  /** Writes one log line. */
  log(message: string, level: Level = "info", fields?: { [name: string]: unknown }): void {
    log(message, level, fields);
  }

  /**
   * Carries out `effect` once over all attempts, and returns what came of it.
   *
   * What it returns is kept (at most 64 KiB of JSON): a later attempt is handed that value and the
   * effect is not repeated. An effect that throws leaves its step in doubt, unless it called
   * `Step.abandon`.
   */
  async step<T>(name: string, options: StepOptions, effect: (step: Step) => T | Promise<T>): Promise<T> {
    const begun = host().begin(name, json.stringify(options.input ?? null), options.doubt);
    if (begun.tag === "replay") return json.parse(begun.val) as T;
    const step = new Step(begun.val, begun.tag === "ambiguous");
    const value = await effect(step);
    if (step.abandoned) return value;
    const text = json.stringify(value);
    begun.val.commit(text);
    begun.val.drop?.();
    // What a later attempt is handed, so that all attempts see the same.
    return json.parse(text) as T;
  }
}

/** Writes one log line, wherever it is called. Outside of an attempt there is nobody to read it. */
export function log(message: string, level: Level = "info", fields?: { [name: string]: unknown }): void {
  hostIfAny()?.log(level, message, fields ? json.stringify(fields) : "");
}

/** Waits; it costs nothing, and other tasks run meanwhile. Rejects when the soft time limit comes first. */
export function sleep(time: Time): Promise<void> {
  const ms = milliseconds(time, "sleep");
  if ((Promise as unknown) !== LoopPromise) return inTest(ms);
  return new Promise((resolve, reject) => later(() => resolve(), ms, { interrupt: reject }));
}

/** Under a test's own engine nothing waits: the test's host says what the time is. */
async function inTest(ms: number): Promise<void> {
  const soft = host().timeLeft().softMs;
  host().wait(soft === null ? ms : Math.min(ms, soft));
  if (soft !== null && ms >= soft) throw new SoftTimeLimitExceeded("the soft time limit is over");
}
