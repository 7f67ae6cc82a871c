/**
 * Requests to other machines, for tasks that ask for their hosts: `capabilities: ["http:HOST"]`.
 *
 *     import { fetch } from "lovage/http";
 *
 *     const answer = await fetch("https://api.bank.example/rates/EUR", { timeout: "5s" });
 *     if (!answer.ok) throw new HTTPError(`the status is ${answer.status}`, answer);
 *     return answer.json().rate;
 *
 * The worker sends them, each over a connection of its own, and one after another. A request is sent when
 * it is complete, and its answer is there when all of it has come. Redirects are answers. A `POST` or a
 * `PATCH` is given an `Idempotency-Key` that is the same in every attempt, unless it has one.
 */

import { Denied, InvalidCall } from "./errors.js";
import { host } from "./host.js";
import { seconds, type Time } from "./units.js";
import { decodeUtf8, encodeUtf8 } from "./utf8.js";

export { Denied, HTTPError } from "./errors.js";

/** What a request says beside its URL. */
export interface RequestInit {
  /** `GET`, unless it is said. */
  method?: string;
  headers?: { [name: string]: string };
  /** A text, or bytes. */
  body?: string | Uint8Array;
  /** Any value, instead of a body. */
  json?: unknown;
  /** How long to wait for the answer; the worker's own limit holds all the same. */
  timeout?: Time;
}

/** A request as the host is told of it. */
export interface Request {
  method: string;
  url: string;
  headers: [name: string, value: string][];
  body: Uint8Array;
  /** Seconds; null is as long as the worker waits. */
  timeout: number | null;
}

/** An answer, whatever its status. */
export class Response {
  constructor(
    readonly status: number,
    readonly body: Uint8Array = new Uint8Array(),
    /** Names in small letters; the last one of a name. */
    readonly headers: { [name: string]: string } = {},
  ) {}

  /** Whether the status is below 400. */
  get ok(): boolean {
    return this.status < 400;
  }

  /** The body as a text. */
  text(): string {
    return decodeUtf8(this.body, false);
  }

  /** The body's JSON. */
  json(): any {
    return JSON.parse(this.text());
  }
}

/** Sends a request; its answer, whatever the status. */
export function fetch(url: string, init: RequestInit = {}): Promise<Response> {
  return new Promise((resolve) => resolve(send(url, init)));
}

function send(url: string, init: RequestInit): Response {
  const headers = Object.entries(init.headers ?? {}).map(([name, value]): [string, string] => [name.toLowerCase(), String(value)]);
  let { body = "" } = init;
  if (init.json !== undefined) {
    if (init.body !== undefined) throw new InvalidCall("a request has one of body and json");
    body = JSON.stringify(init.json);
    if (!headers.some(([name]) => name === "content-type")) headers.push(["content-type", "application/json"]);
  }
  const asked = host();
  if (!asked.send) throw new Denied("no task of this module asks for a host");
  return asked.send({
    url,
    headers,
    method: (init.method ?? "GET").toUpperCase(),
    body: typeof body === "string" ? encodeUtf8(body) : body,
    timeout: init.timeout === undefined ? null : seconds(init.timeout, "timeout"),
  });
}
