/** Requests by way of the contract: what `lovage/http` is in a module. Only there it can be imported. */

import { send } from "lovage:task/http@0.1.0";
import { Denied, HostError, HTTPError, InvalidCall, LimitExceeded, SoftTimeLimitExceeded } from "./errors.js";
import { Response, type Request } from "./http.js";
import { decodeUtf8, encodeUtf8 } from "./utf8.js";
import { imports, u64 } from "./wasm.js";

export * from "./http.js";

// Under these names callers in Python know them.
class ConnectionError extends HostError {}
class TimeoutError extends HostError {}

const KINDS: { [tag: string]: new (message: string) => Error } = {
  denied: Denied,
  connection: ConnectionError,
  timeout: TimeoutError,
  invalid: InvalidCall,
  limit: LimitExceeded,
  response: HTTPError,
  "soft-time-limit": SoftTimeLimitExceeded,
};

imports.send = ({ method, url, headers, body, timeout }: Request): Response => {
  try {
    const answer = send({
      method,
      url,
      body,
      headers: headers.map(([name, value]) => [name, encodeUtf8(value)]),
      timeoutMs: timeout === null ? null : u64(Math.ceil(timeout * 1e3)),
    });
    const came: [string, string][] = answer.headers.map(([name, value]) => [name, decodeUtf8(value, false)]);
    return new Response(answer.status, answer.body, Object.fromEntries(came));
  } catch (thrown: any) {
    const said = thrown?.payload;
    if (typeof said?.tag !== "string") throw thrown;
    throw new (KINDS[said.tag] ?? HostError)(said.val ?? "the soft time limit is over");
  }
};
