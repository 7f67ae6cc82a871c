/** From sources to a module. */

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve } from "node:path";

import { analyse } from "./analyse.mjs";
import { bundle } from "./bundle.mjs";
import { embed } from "./embed.mjs";
import { Problem } from "./problem.mjs";
import { digest, SDK, tools } from "./tools.mjs";

/** The flags that jco takes for an engine. */
const ENGINES = {
  quickjs: ["--backend", "qjs", "--backend-qjs-disable-async"],
  starlingmonkey: ["--backend", "starlingmonkey", "--disable", "stdio", "http", "fetch-event"],
};

/** Where finished builds are kept. */
export function cacheFolder() {
  const { LOVAGE_BUILD_CACHE, XDG_CACHE_HOME } = process.env;
  return LOVAGE_BUILD_CACHE || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "lovage/js");
}

/** Builds `sources` into the file `output`; answers the manifest and whether it was cached. */
export async function build(sources, output, { engine = "quickjs", module, wit, check = true, cache = true, say = () => {} }) {
  const files = sources.map(entryOf);
  const root = dirname(files[0]);
  const { esbuild, typescript, jco, versions } = await tools(root);
  const name = module ?? basename(files[0], extname(files[0]));
  say(check ? "checking types" : "reading types");
  const signatures = analyse(typescript, files, { check });
  const bundled = await bundle(esbuild, files, { module: name, signatures, engine, root });
  const contract = contractFiles(wit);
  const key = digest([versions, engine, ENGINES[engine].join(" "), bundled.text, ...contract.map((file) => readFileSync(file))]);
  const kept = join(cacheFolder(), `module-${key}.wasm`);
  const found = join(cacheFolder(), `module-${key}.json`);
  const cached = cache && existsSync(kept) && existsSync(found);
  if (!cached) {
    mkdirSync(cacheFolder(), { recursive: true });
    await inFolder(async (folder) => {
      const manifest = await look(folder, bundled.text);
      say(`building for ${engine}`);
      const wasm = await componentize(jco, folder, contract, bundled.text, engine);
      replace(kept, embed(wasm, "lovage-manifest", manifest));
      replace(found, manifest);
    });
  }
  mkdirSync(dirname(resolve(output)), { recursive: true });
  replace(resolve(output), readFileSync(kept));
  return { manifest: JSON.parse(readFileSync(found, "utf8")), cached };
}

/** A source as it is named; of a folder its `main`, or what such files are called. */
export function entryOf(source) {
  const path = resolve(source);
  if (!existsSync(path)) throw new Problem(`there is no ${path}`, "name a file with tasks, or the folder of a project");
  if (!statSync(path).isDirectory()) return path;
  const file = join(path, "package.json");
  const main = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).main : undefined;
  const stems = ["tasks", "src/tasks", "index", "src/index", basename(path)];
  const names = [...(main ? [main] : []), ...stems.flatMap((stem) => [".ts", ".mts", ".js", ".mjs"].map((end) => stem + end))];
  const found = names.map((name) => join(path, name)).find((one) => existsSync(one));
  if (!found) throw new Problem(`${path} has no tasks.ts`, 'name its file of tasks as "main" in package.json');
  return found;
}

async function inFolder(act) {
  const folder = mkdtempSync(join(tmpdir(), "lovage-build-"));
  try {
    return await act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The contract's files: as named, or at the top of the repository; then the SDK's own. */
function contractFiles(wit) {
  const places = wit ? [resolve(wit)] : [join(SDK, "wit/contract"), resolve(SDK, "../../wit")];
  const place = places.find((one) => existsSync(join(one, "world.wit")));
  if (!place) throw new Problem(`there is no world.wit in ${places.at(-1)}`, "name the folder of the contract with --wit");
  const inside = (folder) => readdirSync(folder).filter((name) => name.endsWith(".wit")).sort().map((name) => join(folder, name));
  return [...inside(place), ...inside(join(place, "deps"))];
}

/** Runs the bundle in Node, with nobody behind its imports, and asks it for its manifest. */
async function look(folder, text) {
  const nobody = 'data:text/javascript,const%20no=()=>{throw%20new%20Error("a%20module%20is%20being%20built")};export{';
  const exports = "no as current,no as timeLeft,no as revoked,no as begin,no as put,no as update,no as write,no as subscribeDuration,no as getRandomBytes,no as send};";
  const stub = nobody + exports.replaceAll(" ", "%20");
  const file = join(folder, "look.mjs");
  // Where the result goes: what the author's code prints is not mixed with it.
  const answer = join(folder, "manifest.json");
  writeFileSync(file, text.replace(/from "(lovage|wasi):[^"]*"/g, () => `from ${JSON.stringify(stub)}`));
  const looker = `const { writeFileSync } = await import("node:fs");
    const { catalog } = await import(${JSON.stringify(file)});
    writeFileSync(${JSON.stringify(answer)}, catalog.describe());`;
  const { code, said } = await run(process.execPath, ["--input-type=module", "--eval", looker], folder);
  if (code !== 0) {
    const cause = /^\w*(?:Error|Exception).*$/m.exec(said)?.[0] ?? "the module's top level fails";
    throw new Problem(cause, "what is at the top level runs while the module is built: nothing outside can be asked there", said.trim());
  }
  return readFileSync(answer, "utf8");
}

async function componentize(jco, folder, contract, text, engine) {
  const wit = join(folder, "wit");
  cpSync(join(SDK, "wit/deps"), join(wit, "deps"), { recursive: true });
  for (const file of contract) cpSync(file, join(wit, basename(dirname(file)) === "deps" ? "deps" : "", basename(file)));
  cpSync(join(SDK, "wit/world.wit"), join(wit, "javascript.wit"));
  const source = join(folder, "module.js");
  const output = join(folder, "module.wasm");
  writeFileSync(source, text);
  // The way to other machines is imported only where somebody sends something.
  const world = text.includes('from "lovage:task/http@') ? "javascript-with-http" : "javascript";
  const { code, said } = await run(jco, ["componentize", source, "--wit", wit, "-n", world, ...ENGINES[engine], "-o", output], folder);
  if (code !== 0 || !existsSync(output)) throw new Problem("jco could not build the module", "", said.trim());
  return readFileSync(output);
}

function run(command, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => { said += bytes; });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, said }));
  });
}

/** Writes a file so that nobody sees half of it. */
function replace(file, content) {
  const fresh = join(dirname(file), `.${basename(file)}.${process.pid}`);
  writeFileSync(fresh, content);
  renameSync(fresh, file);
}
