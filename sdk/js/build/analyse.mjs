/** What the author's types say: of each task its parameters and schemas, and what does not type-check. */

import { dirname, join, relative, resolve } from "node:path";

import { Problem } from "./problem.mjs";
import { schemaOf } from "./schema.mjs";
import { SDK } from "./tools.mjs";

/** Reads `sources`; of each task its signature by its name. Type errors are a `Problem`. */
export function analyse(ts, sources, { check = true } = {}) {
  const options = compilerOptions(ts, sources);
  const program = ts.createProgram(sources, options);
  if (check) refuseErrors(ts, program, dirname(sources[0]));
  const checker = program.getTypeChecker();
  const signatures = {};
  for (const file of program.getSourceFiles()) {
    if (!file.isDeclarationFile && !isPackages(file.fileName)) {
      visit(ts, checker, file, signatures);
    }
  }
  return signatures;
}

function isPackages(name) {
  return name.includes("/node_modules/") || name.startsWith(join(SDK, "src"));
}

function compilerOptions(ts, sources) {
  const found = ts.findConfigFile(dirname(sources[0]), ts.sys.fileExists, "tsconfig.json");
  const own = found ? ts.getParsedCommandLineOfConfigFile(found, {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic() {} })?.options : {};
  return {
    strict: true,
    target: ts.ScriptTarget.ES2023,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    allowJs: true,
    checkJs: false,
    skipLibCheck: true,
    types: [],
    ...own,
    noEmit: true,
    composite: false,
    incremental: false,
    allowImportingTsExtensions: true,
    paths: {
      ...own?.paths,
      lovage: [join(SDK, "src/index.ts")],
      "lovage/http": [join(SDK, "src/http.ts")],
      "lovage/testing": [join(SDK, "src/testing.ts")],
    },
  };
}

function refuseErrors(ts, program, root) {
  const files = program.getSourceFiles().filter((file) => !isPackages(file.fileName));
  const errors = files.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]);
  if (errors.length === 0) return;
  const lines = errors.slice(0, 20).map((error) => {
    const text = ts.flattenDiagnosticMessageText(error.messageText, "\n  ");
    if (!error.file) return text;
    const { line, character } = error.file.getLineAndCharacterOfPosition(error.start ?? 0);
    return `${relative(root, resolve(error.file.fileName))}:${line + 1}:${character + 1}: ${text}`;
  });
  throw new Problem(`${errors.length} type errors`, "mend them, or build with --no-check", lines.join("\n"));
}

function visit(ts, checker, node, signatures) {
  if (ts.isCallExpression(node) && isTask(ts, checker, node.expression)) {
    const [name, ...rest] = node.arguments;
    const run = rest.at(-1);
    if (run && ts.isStringLiteralLike(name)) {
      const signature = checker.getTypeAtLocation(run).getCallSignatures()[0];
      if (signature) signatures[name.text] ??= signatureOf(ts, checker, signature, node);
    }
  }
  ts.forEachChild(node, (child) => visit(ts, checker, child, signatures));
}

function isTask(ts, checker, expression) {
  let symbol = checker.getSymbolAtLocation(expression);
  if (symbol && symbol.flags & ts.SymbolFlags.Alias) symbol = checker.getAliasedSymbol(symbol);
  const from = symbol?.declarations?.[0]?.getSourceFile().fileName;
  return symbol?.name === "task" && from === join(SDK, "src/task.ts");
}

function signatureOf(ts, checker, signature, call) {
  const params = [];
  let rest = false;
  for (const symbol of signature.parameters.slice(1)) {
    const declared = symbol.valueDeclaration;
    if (declared && ts.isParameter(declared) && declared.dotDotDotToken) {
      rest = true;
      continue;
    }
    const optional = !declared || !ts.isParameter(declared) || checker.isOptionalParameter(declared);
    const type = checker.getTypeOfSymbol(symbol);
    const schema = schemaOf(ts, checker, optional ? withoutUndefined(ts, checker, type) : type);
    params.push({ name: symbol.name, required: !optional, schema });
  }
  const returned = checker.getReturnTypeOfSignature(signature);
  const output = schemaOf(ts, checker, checker.getAwaitedType(returned) ?? returned);
  const doc = docOf(ts, checker, call);
  return { params, rest, ...(Object.keys(output).length > 0 ? { output } : {}), ...(doc ? { doc } : {}) };
}

function withoutUndefined(ts, checker, type) {
  if (!type.isUnion()) return type;
  const left = type.types.filter((one) => !(one.flags & ts.TypeFlags.Undefined));
  return left.length === type.types.length ? type : checker.getNonNullableType(type);
}

/** The comment above the statement that declares the task. */
function docOf(ts, checker, call) {
  let node = call;
  while (node && !ts.isStatement(node)) node = node.parent;
  const comments = node ? ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc) : [];
  return comments.map((one) => ts.getTextOfJSDocComment(one.comment) ?? "").join("\n").trim() || undefined;
}
