import assert from "node:assert/strict";
import { test } from "node:test";

import { Host } from "lovage/testing";
import "./tasks";

test("an order is charged once", async () => {
  const host = new Host();
  const first = await host.call("{{module}}.charge", 7, 500);
  assert.equal(await host.call("{{module}}.charge", 7, 500), first);
  assert.equal((await host.attempt("{{module}}.charge", 8, 0)).kind, "rejected");
});
