/** What a module exports: `handler` and `catalog`. */

import { reseed } from "./globals.js";
import { answeredBy } from "./host.js";
import { reset, runUntil } from "./loop.js";
import { manifest } from "./manifest.js";
import { LoopPromise } from "./promise.js";
import { End, end, finish, start } from "./running.js";
import { Task, TASKS, type Signature } from "./task.js";
import { imports, wait } from "./wasm.js";

let described = "";

/** Called by the builder's entry when everything of the author's was imported. */
export function prepare(module: string, signatures: { [task: string]: Signature }): void {
  for (const [name, task] of TASKS) task.describe(signatures[name]);
  described = manifest(module);
  warmUp();
}

/**
 * Runs nothing a few times, so that what an engine makes on first use is made before it is copied for
 * each attempt.
 */
function warmUp(): void {
  const number = { required: true, schema: { type: "number" } };
  const warm = new Task<[number, number]>("lovage.warm", {}, (_ctx, x, y) => x + y);
  warm.describe({ params: [{ name: "x", ...number }, { name: "y", ...number }], rest: false });
  TASKS.set(warm.name, warm as Task);
  for (let round = 0; round < 3; round += 1) handler.run(warm.name, "[2,3]", "{}");
  TASKS.delete(warm.name);
}

/** The tasks. */
export const handler = {
  run(task: string, args: string, kwargs: string): string {
    answeredBy(imports);
    reset();
    reseed();
    try {
      return finish(task, settled(task, start(task, args, kwargs)));
    } catch (thrown) {
      const { ended } = thrown as End;
      if (ended.tag !== "retry") throw ended;
      throw { tag: "retry", val: { ...ended.val, afterMs: wait(ended.val.afterMs) } };
    }
  },
};

/** The manifest. */
export const catalog = {
  describe(): string {
    return described;
  },
};

/** What a task's promise comes to. */
function settled(task: string, value: any): unknown {
  if (typeof value?.then !== "function") return value;
  const promise = LoopPromise.resolve(value);
  try {
    runUntil(() => LoopPromise.outcome(promise) !== undefined);
    const outcome = LoopPromise.outcome(promise)!;
    if ("value" in outcome) return outcome.value;
    throw outcome.reason;
  } catch (thrown) {
    throw end(task, thrown);
  }
}
