/** Who answers a guest's questions: the worker in a module, `testing.Host` in a test, nobody while a module is built. */

import type { Request, Response } from "./http.js";

/** Levels of a log line. */
export type Level = "trace" | "debug" | "info" | "warn" | "error";

/** The running attempt, as the contract's `context.attempt` has it. Texts of JSON stay texts. */
export interface Attempt {
  taskId: string;
  rootId?: string | null;
  parentId?: string | null;
  groupId?: string | null;
  retries: number;
  maxRetries?: number | null;
  idempotencyKey: string;
  queue: string;
  eta?: string | null;
  expires?: string | null;
  redelivered: boolean;
  headers: string;
}

/** How a call is sent, as the contract's `outbox.options` has it. */
export interface CallOptions {
  queue: string | null;
  countdownMs: number | null;
  expiresMs: number | null;
  priority: number | null;
  ignoreResult: boolean;
  headers: string | null;
}

/** What a step that is begun is to do when nobody knows whether it took place before. */
export type Doubt = "retry" | "fail" | "ask";

/** A step that is under way. */
export interface Handle {
  key(): string;
  commit(value: string): void;
  abandon(): void;
  /** Gives the host's handle back: nothing more is asked of it. */
  drop?(): void;
}

/** How a step begins. */
export type Begun = { tag: "run" | "ambiguous"; val: Handle } | { tag: "replay"; val: string };

/** What a guest may ask. Failures are thrown, as the classes of `errors.ts`. */
export interface Host {
  current(): Attempt;
  timeLeft(): { softMs: number | null; hardMs: number };
  revoked(): boolean;
  put(task: string, args: string, kwargs: string, options: CallOptions): string;
  /** Puts a signature, a JSON text, in the outbox; its result's tuple, likewise. */
  sendSignature(signature: string): string;
  /** The same as one more member of the running task's chord. */
  addToChord(signature: string): string;
  /** All that Celery's `Task.request` has, a JSON text. */
  request(): string;
  progress(state: string, meta: string): void;
  log(level: Level, message: string, fields: string): void;
  begin(name: string, input: string, doubt: Doubt): Begun;
  /** Waits, while other tasks run. */
  wait(ms: number): void;
  /** Random bytes that nobody can foresee. */
  random(length: number): Uint8Array;
  /** Sends a request; there only in modules that import `lovage/http`. */
  send?(request: Request): Response;
}

let answering: Host | null = null;

/** The host, if there is one. */
export function hostIfAny(): Host | null {
  return answering;
}

/** The host; an error where there is none. */
export function host(): Host {
  if (answering === null) throw new Error("there is no host here: a task asks while it runs");
  return answering;
}

/** Makes `next` the one who answers; the one before. */
export function answeredBy(next: Host | null): Host | null {
  const before = answering;
  answering = next;
  return before;
}
