/**
 * What waits: promises and timers, driven by one loop inside of `run`.
 *
 * A call of the contract is a plain function, and an engine has no way to run its own queue of
 * promises inside of one. So a module brings this queue, and its builder rewrites `async` functions
 * to generators that use the `Promise` of `promise.ts`, which uses this queue.
 */

import { Deadlock, SoftTimeLimitExceeded } from "./errors.js";
import { hostIfAny } from "./host.js";

type Job = () => void;

interface Timer {
  id: number;
  at: number;
  every: number | null;
  run: Job;
  /** Called instead of `run` when the soft limit comes first. */
  interrupt?: (error: SoftTimeLimitExceeded) => void;
}

let jobs: Job[] = [];
let timers: Timer[] = [];
let lastId = 0;

/** Runs `job` after what runs now. */
export function enqueue(job: Job): void {
  jobs.push(job);
}

/** Runs `run` after so many milliseconds. */
export function later(run: Job, ms: unknown, options: { every?: boolean; interrupt?: Timer["interrupt"] } = {}): number {
  const wait = Math.max(0, Number(ms) || 0);
  lastId += 1;
  timers.push({ id: lastId, at: Date.now() + wait, every: options.every ? Math.max(1, wait) : null, run, interrupt: options.interrupt });
  return lastId;
}

/** Forgets a timer. */
export function forget(id: unknown): void {
  timers = timers.filter((timer) => timer.id !== id);
}

/** Forgets everything that waits: a new attempt begins. */
export function reset(): void {
  jobs = [];
  timers = [];
}

/** Runs everything that waits until `done`; throws `Deadlock` when nothing is left that could be waited for. */
export function runUntil(done: () => boolean): void {
  for (;;) {
    drain();
    if (done()) return;
    const next = earliest();
    if (next === null) {
      throw new Deadlock("the task waits for a promise that nothing will ever fulfil");
    }
    waitFor(next);
  }
}

function drain(): void {
  for (let index = 0; index < jobs.length; index += 1) {
    jobs[index]!();
    // A long chain of promises would hold on to all of its jobs.
    if (index === 1023) {
      jobs = jobs.slice(1024);
      index = -1;
    }
  }
  jobs = [];
}

function earliest(): Timer | null {
  let first: Timer | null = null;
  for (const timer of timers) if (first === null || timer.at < first.at) first = timer;
  return first;
}

function waitFor(timer: Timer): void {
  const host = hostIfAny();
  const wait = timer.at - Date.now();
  const soft = host?.timeLeft().softMs ?? null;
  if (soft !== null && wait >= soft && timers.some((one) => one.interrupt)) {
    if (soft > 0) host?.wait(soft);
    const interrupted = timers.filter((one) => one.interrupt);
    timers = timers.filter((one) => !one.interrupt);
    for (const one of interrupted) one.interrupt!(new SoftTimeLimitExceeded("the soft time limit is over"));
    return;
  }
  if (wait > 0) host?.wait(wait);
  if (timer.every === null) forget(timer.id);
  else timer.at += Math.max(timer.every, wait < 0 ? -wait : 0);
  timer.run();
}
