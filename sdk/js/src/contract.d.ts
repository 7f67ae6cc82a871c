// The imports of the world in `wit/`, as componentize-qjs 0.4.5 and componentize-js 0.22 hand them to a
// module: names in lower camel case, `option` as null or undefined, an `err` as a thrown error with a `payload`.

declare module "lovage:task/context@0.1.0" {
  export function current(): import("./host.js").Attempt;
  export function timeLeft(): { softMs?: number | bigint | null; hardMs: number | bigint };
  export function revoked(): boolean;
  export function request(): string;
}
declare module "lovage:task/steps@0.1.0" {
  export function begin(name: string, input: string, doubt: string): import("./host.js").Begun;
}
declare module "lovage:task/outbox@0.1.0" {
  export function put(task: string, args: string, kwargs: string, options: object): string;
  export function send(signature: string): string;
  export function addToChord(signature: string): string;
}
declare module "lovage:task/progress@0.1.0" {
  export function update(state: string, meta: string): void;
}
declare module "lovage:task/log@0.1.0" {
  export function write(level: string, message: string, fields: string): void;
}
declare module "wasi:clocks/monotonic-clock@0.2.0" {
  export function subscribeDuration(ns: number | bigint): { block(): void };
}
declare module "wasi:random/random@0.2.0" {
  export function getRandomBytes(length: number | bigint): Uint8Array;
}
declare module "lovage:task/http@0.1.0" {
  export function send(request: object): { status: number; headers: [string, Uint8Array][]; body: Uint8Array };
}

/** Which engine the module is built for: `"quickjs"` or `"starlingmonkey"`. */
declare const LOVAGE_ENGINE: string;
