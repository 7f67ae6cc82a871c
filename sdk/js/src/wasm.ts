/** The host behind the imports of the contract. Only a module can import this. */

import * as context from "lovage:task/context@0.1.0";
import * as logs from "lovage:task/log@0.1.0";
import * as outbox from "lovage:task/outbox@0.1.0";
import * as progress from "lovage:task/progress@0.1.0";
import * as steps from "lovage:task/steps@0.1.0";
import * as clock from "wasi:clocks/monotonic-clock@0.2.0";
import * as chance from "wasi:random/random@0.2.0";
import { HostError, InvalidCall, LimitExceeded, SoftTimeLimitExceeded, Unavailable } from "./errors.js";
import type { CallOptions, Doubt, Handle, Host, Level } from "./host.js";

/** A `u64` as the engine's bindings want it. */
export const u64: (value: number) => any = LOVAGE_ENGINE === "quickjs" ? (value) => value : (value) => BigInt(Math.round(value));

const KINDS: { [tag: string]: new (message: string) => Error } = {
  "soft-time-limit": SoftTimeLimitExceeded,
  unavailable: Unavailable,
  invalid: InvalidCall,
  limit: LimitExceeded,
};

function asked<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown: any) {
    const said = thrown?.payload;
    if (typeof said?.tag !== "string") throw thrown;
    throw new (KINDS[said.tag] ?? HostError)(said.val ?? "the soft time limit is over");
  }
}

/** UTF-8 has no form for lone surrogates. */
function clean(text: string): string {
  return text.toWellFormed?.() ?? text;
}

class Asked implements Handle {
  constructor(private readonly step: Handle) {}
  key(): string {
    return this.step.key();
  }
  commit(value: string): void {
    asked(() => this.step.commit(value));
  }
  abandon(): void {
    asked(() => this.step.abandon());
  }
  drop(): void {
    (this.step as any)[(Symbol as any).dispose]?.();
  }
}

/** Answers by asking the host. */
export const imports: Host = {
  current: () => context.current(),
  timeLeft() {
    const { softMs, hardMs } = context.timeLeft();
    return { softMs: softMs === null || softMs === undefined ? null : Number(softMs), hardMs: Number(hardMs) };
  },
  revoked: () => context.revoked(),
  put(task: string, args: string, kwargs: string, options: CallOptions) {
    const { countdownMs, expiresMs } = options;
    const sent = {
      ...options,
      countdownMs: countdownMs === null ? null : u64(countdownMs),
      expiresMs: expiresMs === null ? null : u64(expiresMs),
    };
    return asked(() => outbox.put(clean(task), args, kwargs, sent));
  },
  sendSignature: (signature: string) => asked(() => outbox.send(signature)),
  addToChord: (signature: string) => asked(() => outbox.addToChord(signature)),
  request: () => asked(context.request),
  progress: (state: string, meta: string) => asked(() => progress.update(clean(state), meta)),
  log: (level: Level, message: string, fields: string) => logs.write(level, clean(message), fields),
  begin(name: string, input: string, doubt: Doubt) {
    const begun = asked(() => steps.begin(clean(name), input, doubt));
    return begun.tag === "replay" ? begun : { tag: begun.tag, val: new Asked(begun.val) };
  },
  wait: (ms: number) => clock.subscribeDuration(u64(Math.ceil(ms * 1e6))).block(),
  random: (length: number) => chance.getRandomBytes(u64(length)),
};

/** A retry's wait as the engine's bindings want it. */
export function wait(ms: number | null): unknown {
  return ms === null ? null : u64(ms);
}
