/** `task`: a function becomes a task. */

import type { Context } from "./context.js";
import { Mismatch } from "./errors.js";
import { check, type Schema } from "./schema.js";
import { bytes, milliseconds, seconds, template, type Size, type Time } from "./units.js";

/** Errors that are retried: classes, or a function that says of an error whether it is one. */
export type RetryOn = readonly (abstract new (...args: any[]) => unknown)[] | ((error: unknown) => boolean);

/** What becomes of a failed attempt. */
export interface RetryOptions {
  /** Retries after the first attempt (3); null is no bound. */
  max?: number | null;
  /** What is retried beside a thrown `Retry`. Without it nothing is, unless `onFailure` is set. */
  on?: RetryOn;
  /** Whether every failure is retried, also a trap and a time limit. */
  onFailure?: boolean;
  /** How delays grow. */
  backoff?: "fixed" | "exponential" | "celery" | "full_jitter" | "equal_jitter" | "decorrelated";
  /** The delay of `fixed`. */
  delay?: Time;
  /** The first delay of the others. */
  base?: Time;
  /** What a delay is multiplied by. */
  factor?: number;
  /** The longest delay. */
  cap?: Time;
  /** How chance enters. */
  jitter?: "none" | "full" | "equal" | "celery";
  /** No retry starts later than this after the first attempt. */
  maxElapsed?: Time;
}

/** What one attempt is bounded by. A limit may only be tighter than the operator's. */
export interface Limits {
  /** Until the attempt is ended. */
  time?: Time;
  /** Until host calls answer with the soft time limit. */
  softTime?: Time;
  cpuTime?: Time;
  memory?: Size;
  fuel?: number;
  /** The result's JSON text. */
  output?: Size;
}

/** What is declared of a task. What the types say need not be repeated. */
export interface TaskOptions {
  retry?: RetryOptions;
  /** A template over the parameters: `"order:{orderId}"`. */
  idempotencyKey?: string;
  idempotencyTtl?: Time;
  limits?: Limits;
  queue?: string;
  /** In Celery's form: `"10/s"`, `"100/m"`. */
  rateLimit?: string;
  /** A cron expression of five fields, in UTC. */
  schedule?: string;
  /** What it asks the operator for. */
  capabilities?: readonly string[];
  ignoreResult?: boolean;
  acksLate?: boolean;
  /** How many attempts may share an instance, one after another (1). */
  reuse?: number;
  /** The parameters' names after the context, where the builder cannot see them. */
  params?: readonly string[];
  doc?: string;
  inputSchema?: Schema;
  outputSchema?: Schema;
}

/** What the builder found out about a task's function. */
export interface Signature {
  params: { name: string; required: boolean; schema: Schema }[];
  /** Whether more arguments than these are taken. */
  rest: boolean;
  output?: Schema;
  doc?: string;
}

/** A task that was declared. */
export class Task<A extends unknown[] = any[], R = unknown> {
  #signature: Signature | undefined;

  constructor(
    readonly name: string,
    private readonly options: TaskOptions,
    /** The function itself, for tests. */
    readonly run: (context: Context, ...args: A) => R | Promise<R>,
  ) {}

  /** Takes what the builder found out. */
  describe(signature: Signature | undefined): void {
    const { params } = this.options;
    if (params) {
      const known = new Map(signature?.params.map((one) => [one.name, one]));
      const places = params.map((name, at) => {
        const one = known.get(name) ?? signature?.params[at];
        return { name, required: one?.required ?? true, schema: one?.schema ?? {} };
      });
      this.#signature = { rest: false, ...signature, params: places };
    } else {
      this.#signature = signature;
    }
  }

  /** Calls the function with arguments from JSON, checked against its types. */
  call(context: Context, args: unknown[], kwargs: { [name: string]: unknown }): R | Promise<R> {
    return this.run(context, ...(this.#bound(args, kwargs) as A));
  }

  #bound(args: unknown[], kwargs: { [name: string]: unknown }): unknown[] {
    const signature = this.#signature;
    const names = Object.keys(kwargs);
    if (!signature) {
      if (names.length === 0) return args;
      throw new Mismatch(`${this.name}() takes no arguments by name: declare its \`params\``);
    }
    const { params, rest } = signature;
    const title = `${this.name}()`;
    if (args.length > params.length && !rest) {
      throw new Mismatch(`${title} takes ${params.length} arguments but ${args.length} were given`);
    }
    const bound = [...args];
    for (const name of names) {
      const at = params.findIndex((one) => one.name === name);
      if (at < 0) throw new Mismatch(`${title} has no parameter ${JSON.stringify(name)}`);
      if (at < args.length) throw new Mismatch(`${title} got ${JSON.stringify(name)} by position and by name`);
      bound[at] = kwargs[name];
    }
    for (const [at, { name, required, schema }] of params.entries()) {
      if (bound[at] !== undefined) check(bound[at], schema, name);
      else if (required) throw new Mismatch(`${title} lacks the argument ${JSON.stringify(name)}`);
    }
    return bound;
  }

  /** Whether the policy retries what was thrown. */
  retries(thrown: unknown): boolean {
    const on = this.options.retry?.on;
    if (on === undefined) return false;
    return typeof on === "function" ? on(thrown) : on.some((kind) => thrown instanceof kind);
  }

  /** Its entry in the module's manifest. */
  manifest(): { [field: string]: unknown } {
    const { options } = this;
    const signature = this.#signature;
    const params = signature?.params.map((one) => one.name) ?? [];
    const key = options.idempotencyKey;
    return {
      name: this.name,
      params,
      doc: options.doc ?? signature?.doc,
      retry: retry(options.retry ?? {}),
      idempotency: key === undefined ? undefined : {
        key: template(key, params),
        ttl_s: options.idempotencyTtl === undefined ? undefined : Math.trunc(seconds(options.idempotencyTtl, "idempotencyTtl")),
      },
      limits: limits(options.limits),
      queue: options.queue,
      rate_limit: options.rateLimit,
      schedule: options.schedule,
      capabilities: options.capabilities,
      ignore_result: options.ignoreResult,
      acks_late: options.acksLate,
      reuse: options.reuse,
      input_schema: options.inputSchema ?? (signature && inputSchema(signature)),
      output_schema: options.outputSchema ?? signature?.output,
    };
  }
}

function retry(options: RetryOptions): { [field: string]: unknown } {
  const time = (value: Time | undefined, what: string) => (value === undefined ? undefined : seconds(value, what));
  return {
    max: options.max === undefined ? 3 : options.max,
    on_failure: options.onFailure ?? false,
    backoff: options.backoff,
    delay_s: time(options.delay, "delay"),
    base_s: time(options.base, "base"),
    factor: options.factor,
    cap_s: time(options.cap, "cap"),
    jitter: options.jitter,
    max_elapsed_s: time(options.maxElapsed, "maxElapsed"),
  };
}

function limits(options: Limits | undefined): { [field: string]: unknown } | undefined {
  if (!options) return undefined;
  const time = (value: Time | undefined, what: string) => (value === undefined ? undefined : milliseconds(value, what));
  const size = (value: Size | undefined, what: string) => (value === undefined ? undefined : bytes(value, what));
  return {
    time_ms: time(options.time, "time"),
    soft_time_ms: time(options.softTime, "softTime"),
    cpu_time_ms: time(options.cpuTime, "cpuTime"),
    memory_bytes: size(options.memory, "memory"),
    fuel: options.fuel,
    output_bytes: size(options.output, "output"),
  };
}

function inputSchema({ params, rest }: Signature): Schema {
  return {
    type: "object",
    properties: Object.fromEntries(params.map(({ name, schema }) => [name, schema])),
    required: params.filter((one) => one.required).map((one) => one.name),
    additionalProperties: rest,
  };
}

/** The tasks of this module by their names. */
export const TASKS = new Map<string, Task>();

/**
 * Makes a task of a function, whose first argument is the attempt's context.
 *
 *     export const charge = task("shop.charge", { idempotencyKey: "order:{orderId}" },
 *       async (ctx, orderId: number, cents: number) => { … });
 *
 * The parameters' names and types become the manifest's, when the builder reads the source.
 */
export function task<A extends unknown[], R>(name: string, run: (context: Context, ...args: A) => R | Promise<R>): Task<A, Awaited<R>>;
export function task<A extends unknown[], R>(name: string, options: TaskOptions, run: (context: Context, ...args: A) => R | Promise<R>): Task<A, Awaited<R>>;
export function task(name: string, ...rest: any[]): Task<any, any> {
  const [options, run] = rest.length === 1 ? [{}, rest[0]] : rest;
  if (typeof name !== "string" || !/^[^\u0000-\u001f\u007f-\u009f]{1,255}$/u.test(name)) {
    throw new TypeError(`a task's name has 1 to 255 letters and no control characters, and ${JSON.stringify(name)} is none`);
  }
  if (typeof run !== "function") throw new TypeError(`task ${name}: its last argument is the function`);
  if (TASKS.has(name)) throw new TypeError(`two tasks have the name ${JSON.stringify(name)}`);
  const declared = new Task<any, any>(name, options, run);
  TASKS.set(name, declared);
  return declared;
}
