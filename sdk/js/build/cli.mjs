#!/usr/bin/env node
/** The command line: exit 0 done, 1 cannot be built, 2 wrong usage. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { analyse } from "./analyse.mjs";
import { build, entryOf } from "./build.mjs";
import { bundleTests } from "./bundle.mjs";
import { Problem } from "./problem.mjs";
import { tools } from "./tools.mjs";

const USAGE = `Make a module of files that declare tasks.

usage: lovage-build [build] FILE… [-o FILE.wasm] [--engine quickjs|starlingmonkey] [--module NAME]
                    [--wit FOLDER] [--no-check] [--no-cache] [--manifest]
       lovage-build check FILE…      say what does not type-check
       lovage-build test FILE…       run tests under node --test, with lovage/testing`;

const OPTIONS = {
  output: { type: "string", short: "o" },
  engine: { type: "string", default: "quickjs" },
  module: { type: "string" },
  wit: { type: "string" },
  "no-check": { type: "boolean", default: false },
  "no-cache": { type: "boolean", default: false },
  manifest: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
};

async function main(args) {
  const verb = ["build", "check", "test"].includes(args[0]) ? args.shift() : "build";
  let values, files;
  try {
    ({ values, positionals: files } = parseArgs({ args, options: OPTIONS, allowPositionals: true }));
  } catch (error) {
    return usage(error.message);
  }
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (files.length === 0) return usage("no file is named");
  if (!["quickjs", "starlingmonkey"].includes(values.engine)) return usage(`no such engine: ${values.engine}`);
  if (verb === "check") return checked(files);
  return verb === "test" ? tested(files) : built(files, values);
}

function usage(problem) {
  console.error(`error: ${problem}\n\n${USAGE}`);
  return 2;
}

async function built(files, values) {
  const output = values.output ?? `${basename(resolve(files[0]), extname(files[0]))}.wasm`;
  const begun = Date.now();
  const say = process.stderr.isTTY ? (what) => process.stderr.write(`\r\x1b[K${what} …`) : () => {};
  try {
    const { manifest, cached } = await build(files, output, {
      engine: values.engine, module: values.module, wit: values.wit, check: !values["no-check"], cache: !values["no-cache"], say,
    });
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    const names = manifest.tasks.map((task) => task.name).join("  ");
    const seconds = ((Date.now() - begun) / 1000).toFixed(1);
    console.log(values.manifest ? JSON.stringify(manifest, null, 2) : `${output}   ${names}   ${cached ? "unchanged" : `built in ${seconds} s`}`);
    return 0;
  } finally {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}

async function checked(files) {
  const { typescript } = await tools(dirname(resolve(files[0])));
  analyse(typescript, files.map(entryOf));
  return 0;
}

async function tested(files) {
  const { esbuild, typescript } = await tools(dirname(resolve(files[0])));
  const folder = mkdtempSync(join(tmpdir(), "lovage-test-"));
  try {
    const sources = files.flatMap((file) => (statSync(file).isDirectory() ? readdirSync(file).filter((name) => /\.test\.[tj]s$/.test(name)).map((name) => join(file, name)) : [file]));
    const signatures = analyse(typescript, sources.map((file) => resolve(file)), { check: false });
    await bundleTests(esbuild, sources, folder, signatures);
    const tests = readdirSync(folder).map((name) => join(folder, name));
    return spawnSync(process.execPath, ["--enable-source-maps", "--test", ...tests], { stdio: "inherit" }).status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main(process.argv.slice(2)).then(
  (code) => { process.exitCode = code; },
  (error) => {
    console.error(error instanceof Problem ? String(error) : error);
    process.exitCode = 1;
  },
);
