/** `Promise` on the loop of `loop.ts`: everything of ECMAScript 2025 but species and subclassing of statics. */

import { enqueue } from "./loop.js";

type Settle = (value: any) => void;
const PENDING = 0;
const FULFILLED = 1;
const REJECTED = 2;

/** A promise whose reactions run in this package's own queue. */
export class LoopPromise<T> {
  #state = PENDING;
  #value: any = undefined;
  #reactions: (() => void)[] = [];

  constructor(executor: (resolve: Settle, reject: Settle) => void) {
    if (typeof executor !== "function") throw new TypeError("a promise is made with a function");
    const [resolve, reject] = this.#settlers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  #settlers(): [Settle, Settle] {
    let done = false;
    const once = (act: Settle): Settle => (value) => {
      if (done) return;
      done = true;
      act(value);
    };
    return [once((value) => this.#resolve(value)), once((reason) => this.#settle(REJECTED, reason))];
  }

  #resolve(value: any): void {
    if (value === this) return this.#settle(REJECTED, new TypeError("a promise cannot wait for itself"));
    if (value === null || (typeof value !== "object" && typeof value !== "function")) {
      return this.#settle(FULFILLED, value);
    }
    let then: any;
    try {
      then = value.then;
    } catch (error) {
      return this.#settle(REJECTED, error);
    }
    if (typeof then !== "function") return this.#settle(FULFILLED, value);
    const [resolve, reject] = this.#settlers();
    enqueue(() => {
      try {
        then.call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #settle(state: number, value: any): void {
    this.#state = state;
    this.#value = value;
    const reactions = this.#reactions;
    this.#reactions = [];
    for (const reaction of reactions) enqueue(reaction);
  }

  then(onFulfilled?: any, onRejected?: any): LoopPromise<any> {
    return new LoopPromise((resolve, reject) => {
      const react = () => {
        const handle = this.#state === FULFILLED ? onFulfilled : onRejected;
        if (typeof handle !== "function") return this.#state === FULFILLED ? resolve(this.#value) : reject(this.#value);
        try {
          resolve(handle(this.#value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === PENDING) this.#reactions.push(react);
      else enqueue(react);
    });
  }

  catch(onRejected?: any): LoopPromise<any> {
    return this.then(undefined, onRejected);
  }

  finally(act?: any): LoopPromise<any> {
    if (typeof act !== "function") return this.then(act, act);
    return this.then(
      (value: any) => LoopPromise.resolve(act()).then(() => value),
      (reason: any) => LoopPromise.resolve(act()).then(() => { throw reason; }),
    );
  }

  /** How it stands, for the loop: undefined while it is pending. */
  static outcome(promise: LoopPromise<any>): { value: any } | { reason: any } | undefined {
    if (promise.#state === PENDING) return undefined;
    return promise.#state === FULFILLED ? { value: promise.#value } : { reason: promise.#value };
  }

  static resolve(value?: any): LoopPromise<any> {
    return value instanceof LoopPromise ? value : new LoopPromise((resolve) => resolve(value));
  }

  static reject(reason?: any): LoopPromise<any> {
    return new LoopPromise((_, reject) => reject(reason));
  }

  static withResolvers(): { promise: LoopPromise<any>; resolve: Settle; reject: Settle } {
    let resolve!: Settle, reject!: Settle;
    const promise = new LoopPromise((yes, no) => { resolve = yes; reject = no; });
    return { promise, resolve, reject };
  }

  static try(act: any, ...args: any[]): LoopPromise<any> {
    return new LoopPromise((resolve) => resolve(act(...args)));
  }

  static all(values: Iterable<any>): LoopPromise<any> {
    return gather(values, (put) => [put, null]);
  }

  static allSettled(values: Iterable<any>): LoopPromise<any> {
    return gather(values, (put) => [
      (value) => put({ status: "fulfilled", value }),
      (reason) => put({ status: "rejected", reason }),
    ]);
  }

  static any(values: Iterable<any>): LoopPromise<any> {
    return new LoopPromise((resolve, reject) => {
      const errors: any[] = [];
      let waiting = 1;
      const one = () => {
        waiting -= 1;
        if (waiting === 0) reject(new AggregateError(errors, "all promises were rejected"));
      };
      let index = 0;
      for (const value of values) {
        const at = index;
        index += 1;
        waiting += 1;
        LoopPromise.resolve(value).then(resolve, (reason: any) => { errors[at] = reason; one(); });
      }
      one();
    });
  }

  static race(values: Iterable<any>): LoopPromise<any> {
    return new LoopPromise((resolve, reject) => {
      for (const value of values) LoopPromise.resolve(value).then(resolve, reject);
    });
  }

  get [Symbol.toStringTag](): string {
    return "Promise";
  }
}

/** Waits for all of `values`; `each` says what is done with one that settles. */
function gather(values: Iterable<any>, each: (put: Settle) => [Settle, Settle | null]): LoopPromise<any> {
  return new LoopPromise((resolve, reject) => {
    const found: any[] = [];
    let waiting = 1;
    const one = () => {
      waiting -= 1;
      if (waiting === 0) resolve(found);
    };
    let count = 0;
    for (const value of values) {
      const at = count;
      count += 1;
      waiting += 1;
      const [put, refuse] = each((settled) => {
        found[at] = settled;
        one();
      });
      LoopPromise.resolve(value).then(put, refuse ?? reject);
    }
    one();
  });
}

Object.defineProperty(LoopPromise, "name", { value: "Promise" });
