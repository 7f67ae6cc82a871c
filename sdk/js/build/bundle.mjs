/** From the author's sources and packages to one file that both engines run. */

import { join, relative, resolve } from "node:path";

import { compact } from "./map.mjs";
import { Problem } from "./problem.mjs";
import { SDK } from "./tools.mjs";

const ALIAS = { lovage: join(SDK, "src/index.ts"), "lovage/http": join(SDK, "src/http.ts"), "lovage/testing": join(SDK, "src/testing.ts") };

/** In a module somebody answers requests. */
const SENDING = { ...ALIAS, "lovage/http": join(SDK, "src/sending.ts") };

/** Bundles `sources`; answers the text, with its map at its end, and the files that went into it. */
export async function bundle(esbuild, sources, { module, signatures, engine, root }) {
  const imports = sources.map((file) => `import ${JSON.stringify(file)};`).join("\n");
  // The order matters: what programs expect is there before the author's first line runs.
  const entry = `
    import ${JSON.stringify(join(SDK, "src/globals.ts"))};
    ${imports}
    import { prepare } from ${JSON.stringify(join(SDK, "src/entry.ts"))};
    export { handler, catalog } from ${JSON.stringify(join(SDK, "src/entry.ts"))};
    prepare(${JSON.stringify(module)}, ${JSON.stringify(signatures)});
  `;
  const built = await run(esbuild, {
    stdin: { contents: entry, resolveDir: root, sourcefile: "lovage-entry.js", loader: "js" },
    outfile: join(root, "lovage-module.js"),
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["import", "default"],
    external: ["lovage:*", "wasi:*"],
    alias: SENDING,
    define: { LOVAGE_ENGINE: JSON.stringify(engine), "process.env.NODE_ENV": '"production"' },
    // `async` becomes generators on the SDK's own `Promise`; see `loop.ts`.
    supported: { "async-await": false, "async-generator": false, "for-await": false, "top-level-await": false },
    keepNames: true,
    sourcemap: "external",
    metafile: true,
    charset: "utf8",
  });
  const [map, text] = [".js.map", ".js"].map((end) => built.outputFiles.find((file) => file.path.endsWith(end)).text);
  const places = JSON.stringify(compact(JSON.parse(map), root, root));
  const files = Object.keys(built.metafile.inputs).filter((name) => name !== "lovage-entry.js").map((name) => resolve(name));
  return { text: `${text}\nglobalThis[Symbol.for("lovage.map")] = ${places};\n`, files };
}

/** Bundles tests, which run under Node with its own promises. */
export async function bundleTests(esbuild, sources, folder, signatures) {
  for (const file of sources) {
    const contents = `
      import ${JSON.stringify(resolve(file))};
      import { describe } from "lovage/testing";
      describe(${JSON.stringify(signatures)});
    `;
    await run(esbuild, {
      stdin: { contents, resolveDir: resolve(file, ".."), sourcefile: `${file}.entry.js`, loader: "js" },
      outfile: join(folder, `${relative(process.cwd(), file).replace(/[^A-Za-z0-9]/g, "-")}.test.mjs`),
      format: "esm",
      platform: "node",
      alias: ALIAS,
      sourcemap: "inline",
      write: true,
    });
  }
}

async function run(esbuild, options) {
  try {
    return await esbuild.build({ bundle: true, write: false, target: "esnext", logLevel: "silent", ...options });
  } catch (error) {
    const errors = error.errors ?? [];
    if (errors.length === 0) throw error;
    const lines = errors.slice(0, 20).map(({ text, location }) =>
      location ? `${location.file}:${location.line}:${location.column + 1}: ${text}` : text);
    const builtin = errors.map(({ text }) => /Could not resolve "(?:node:)?(\w+)"/.exec(text)?.[1]).find(Boolean);
    const advice = builtin
      ? `a sandbox has no files, sockets and processes: take "${builtin}" out, or a package that does without`
      : "mend it, then build again";
    throw new Problem(`${errors.length} errors while bundling`, advice, lines.join("\n"));
  }
}
