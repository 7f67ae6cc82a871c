/** The tools of `package.json`, of the versions that it names. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { Problem } from "./problem.mjs";

/** The SDK's folder. */
export const SDK = resolve(dirname(fileURLToPath(import.meta.url)), "..");

const PACKAGE = JSON.parse(readFileSync(join(SDK, "package.json"), "utf8"));

/** What installs the tools into a project, for messages. */
export const INSTALL = `npm install --save-dev ${Object.entries(PACKAGE.dependencies).map(([name, version]) => `${name}@${version}`).join(" ")}`;

/** The folders that may hold the tools, the first that has them first. */
function places(project) {
  const named = process.env.LOVAGE_JS_TOOLS;
  return named ? [resolve(named)] : [SDK, resolve(SDK, "../../target/js"), project];
}

/** The tools: `esbuild` and `typescript` loaded, jco's program by its path, and all their versions as a text. */
export async function tools(project) {
  const folder = places(project).find((place) => existsSync(join(place, "node_modules/@bytecodealliance/jco")));
  if (!folder) throw new Problem("jco, esbuild and typescript are not installed", INSTALL);
  const require = createRequire(join(folder, "package.json"));
  const versions = [];
  for (const [name, wanted] of Object.entries(PACKAGE.dependencies)) {
    const file = join(folder, "node_modules", name, "package.json");
    const found = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : "missing";
    if (found !== wanted) throw new Problem(`${name} is ${found}, and ${wanted} is needed`, INSTALL);
    versions.push(`${name} ${found}`);
  }
  return {
    esbuild: require("esbuild"),
    typescript: require("typescript"),
    jco: join(folder, "node_modules/.bin/jco"),
    versions: versions.join(", "),
  };
}

/** A hash over texts and bytes. */
export function digest(parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(String(part.length)).update("\0").update(part);
  return hash.digest("hex").slice(0, 32);
}
