/**
 * A host for tests.
 *
 *     const host = new Host();
 *     assert.equal(await host.call("shop.charge", 7, 500), "receipt");
 *     assert.equal(host.sent[0].task, "shop.mail");
 *
 * It remembers steps over attempts, and records what was sent, shown and logged. Waiting takes no time.
 */

import { Denied, InvalidCall, SoftTimeLimitExceeded, Unavailable } from "./errors.js";
import type { Failure } from "./failures.js";
import { answeredBy, type Begun, type CallOptions, type Doubt, type Host as Answers, type Level } from "./host.js";
import type { Request, Response } from "./http.js";
import * as json from "./json.js";
import { End, end, finish, start } from "./running.js";
import { TASKS, type Signature } from "./task.js";

const RESERVED = new Set("PENDING RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED REJECTED IGNORED".split(" "));

/** A call that was put in the outbox. */
export interface Sent {
  task: string;
  args: any[];
  kwargs: { [name: string]: any };
  options: Partial<CallOptions>;
  id: string;
}

/** How an attempt ended. `after` is in seconds. */
export interface Outcome {
  kind: "succeeded" | "failed" | "rejected" | "retry" | "ignored" | "requeued" | "replaced";
  value?: any;
  failure?: Failure;
  after?: number | null;
  /** What a retry changes, or the signature that takes the task's place. */
  options?: any;
}

/** Tells tasks of the signatures that a builder found; tests that the builder bundles need not. */
export function describe(signatures: { [task: string]: Signature }): void {
  for (const [name, task] of TASKS) task.describe(signatures[name]);
}

/** The host of a test. Set its fields before a call, read them after. */
export class Host implements Answers {
  taskId = "task-1";
  retries = 0;
  maxRetries: number | null = 3;
  idempotencyKey: string | null = null;
  queue = "celery";
  redelivered = false;
  headers: { [name: string]: unknown } = {};
  /** Milliseconds until the soft limit; null is no limit, 0 is over. */
  softMs: number | null = null;
  hardMs = 30_000;
  isRevoked = false;
  /** Whether it is a member of a chord. */
  inChord = false;
  /** Whether steps are answered; without a ledger they are not. */
  hasLedger = true;
  readonly sent: Sent[] = [];
  readonly shown: [state: string, meta: any][] = [];
  readonly logged: [level: Level, message: string, fields: any][] = [];
  readonly requested: Request[] = [];
  /** Answers requests; without it they are denied. */
  answer: ((request: Request) => Response) | null = null;
  /** Milliseconds that tasks waited. */
  waited = 0;
  #steps = new Map<string, { input: string; value?: string }>();
  #begun = new Set<string>();
  #outbox: Sent[] = [];

  constructor(fields: Partial<Pick<Host, "taskId" | "retries" | "maxRetries" | "idempotencyKey" | "headers" | "softMs" | "hasLedger">> = {}) {
    Object.assign(this, fields);
  }

  /** Runs one attempt as a worker does, through JSON. */
  async attempt(name: string, ...args: unknown[]): Promise<Outcome> {
    return this.attemptJson(name, json.stringify(args), "{}");
  }

  /** `attempt` with arguments as JSON texts. */
  async attemptJson(name: string, args: string, kwargs: string): Promise<Outcome> {
    const before = answeredBy(this);
    this.#begun = new Set();
    this.#outbox = [];
    try {
      const text = finish(name, await ending(name, start(name, args, kwargs)));
      this.sent.push(...this.#outbox);
      return { kind: "succeeded", value: json.parse(text) };
    } catch (thrown) {
      if (!(thrown instanceof End)) throw thrown;
      const { ended } = thrown;
      if (ended.tag === "ignored" || ended.tag === "replaced") {
        this.sent.push(...this.#outbox);
        return ended.tag === "ignored" ? { kind: "ignored" } : { kind: "replaced", options: json.parse(ended.val) };
      }
      if (ended.tag !== "retry") return { kind: ended.tag, failure: ended.val };
      const { reason, afterMs, options } = ended.val;
      const after = afterMs === null ? null : afterMs / 1000;
      return { kind: "retry", failure: reason, after, ...(options === null ? {} : { options: json.parse(options) }) };
    } finally {
      answeredBy(before);
    }
  }

  /** Runs one attempt; its value, or an error that shows how it ended otherwise. */
  async call(name: string, ...args: unknown[]): Promise<any> {
    const outcome = await this.attempt(name, ...args);
    if (outcome.kind === "succeeded") return outcome.value;
    throw new Error(`${outcome.kind}: ${outcome.failure?.traceback ?? outcome.failure?.exceptionType}`);
  }

  current() {
    const { taskId, retries, maxRetries, queue, redelivered } = this;
    const key = this.idempotencyKey ?? taskId;
    return { taskId, retries, maxRetries, queue, redelivered, idempotencyKey: key, headers: json.stringify(this.headers) };
  }

  timeLeft() {
    return { softMs: this.softMs, hardMs: this.hardMs };
  }

  revoked(): boolean {
    return this.isRevoked;
  }

  #offered(): void {
    if (this.softMs === 0) throw new SoftTimeLimitExceeded("the soft time limit is over");
  }

  put(task: string, args: string, kwargs: string, options: CallOptions): string {
    this.#offered();
    const id = `${this.taskId}-call-${this.#outbox.length}`;
    const given = Object.entries(options).filter(([, value]) => value !== null && value !== false);
    this.#outbox.push({
      task, id, options: Object.fromEntries(given), args: json.parse(args) as any, kwargs: json.parse(kwargs) as any,
    });
    return id;
  }

  sendSignature(signature: string): string {
    this.#offered();
    const { task, args = [], kwargs = {}, options = {} } = json.parse(signature) as any;
    if (typeof task !== "string") throw new InvalidCall("a signature is an object that names its task");
    const id = options.task_id ?? `${this.taskId}-call-${this.#outbox.length}`;
    this.#outbox.push({ task, args, kwargs, options, id });
    return JSON.stringify([[id, null], null]);
  }

  addToChord(signature: string): string {
    if (!this.inChord) throw new InvalidCall("this task is not a member of any chord");
    return this.sendSignature(signature);
  }

  request(): string {
    const { taskId: id, retries, queue, redelivered, headers } = this;
    const delivery_info = { exchange: "", routing_key: queue, redelivered };
    return json.stringify({ id, retries, delivery_info, headers, root_id: null, parent_id: null, group: null });
  }

  progress(state: string, meta: string): void {
    this.#offered();
    if (state === "" || RESERVED.has(state)) throw new InvalidCall(`${state} is not a state that a task may set`);
    this.shown.push([state, json.parse(meta)]);
  }

  log(level: Level, message: string, fields: string): void {
    this.logged.push([level, message, fields === "" ? {} : json.parse(fields)]);
  }

  begin(name: string, input: string, doubt: Doubt): Begun {
    this.#offered();
    if (!this.hasLedger) throw new Unavailable("steps need a ledger, and this worker has none");
    if (this.#begun.has(name)) throw new InvalidCall(`step "${name}" was begun in this attempt`);
    this.#begun.add(name);
    const known = this.#steps.get(name);
    if (known && known.input !== input) throw new InvalidCall(`step "${name}" was begun with another input`);
    if (known?.value !== undefined) return { tag: "replay", val: known.value };
    const step: { input: string; value?: string } = { input };
    this.#steps.set(name, step);
    const handle = {
      key: () => `${this.idempotencyKey ?? this.taskId}:${name}`,
      commit: (value: string) => { step.value = value; },
      abandon: () => { this.#steps.delete(name); this.#begun.delete(name); },
    };
    if (!known || doubt === "retry") return { tag: "run", val: handle };
    if (doubt === "ask") return { tag: "ambiguous", val: handle };
    throw new InvalidCall(`nobody knows how step "${name}" ended`);
  }

  wait(ms: number): void {
    this.waited += ms;
    if (this.softMs !== null) this.softMs = Math.max(0, this.softMs - ms);
  }

  send(request: Request): Response {
    this.#offered();
    this.requested.push(request);
    if (!this.answer) throw new Denied("nobody answers here: set `answer`");
    return this.answer(request);
  }

  random(length: number): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(length));
  }
}

async function ending(name: string, value: unknown): Promise<unknown> {
  try {
    return await value;
  } catch (thrown) {
    throw end(name, thrown);
  }
}
