//! What a module is and holds, from one cheap pass over its bytes.

use wasmparser::{Encoding, ExternalKind, Operator, Parser, Payload};

use super::{ModuleKind, Refusal, refusal::bounded};

/// Bytes of a module.
const MODULE_BYTES_MAX: u64 = 64 << 20;
/// Functions of all its core modules together; the largest honest module known has 18,000.
const FUNCTIONS_MAX: u64 = 100_000;
/// Bytes of one function's body; CPython's largest has 416 KB.
const BODY_BYTES_MAX: u64 = 1 << 20;
/// Locals of one function; CPython's largest has 271.
const LOCALS_MAX: u64 = 2_000;
/// Bytes of all code together.
const CODE_BYTES_MAX: u64 = 32 << 20;
/// Targets of all branch tables together: each is an edge in the compiler's graph.
const BRANCH_TARGETS_MAX: u64 = 500_000;
/// Imports of all core modules together.
const IMPORTS_MAX: u64 = 10_000;

pub(crate) const HANDLER: &str = "lovage:task/handler@0.1.0";
pub(crate) const CATALOG: &str = "lovage:task/catalog@0.1.0";
pub(super) const PREVIEW1: &str = "wasi_snapshot_preview1";
/// How a command that was a core module says its exit status; see `componentize`.
pub(crate) const EXIT: &str = "lovage:command/exit@0.1.0";

/// What a pass over a module's bytes found. Imports and exports are those of the outermost layer.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) is_component: bool,
    imports: Vec<(String, String)>,
    exports: Vec<String>,
    pub(super) has_component_type: bool,
    pub(super) manifest: Option<String>,
    functions: u64,
    code_bytes: u64,
    branch_targets: u64,
    import_count: u64,
    depth: u32,
}

impl Survey {
    /// Looks at every section and every instruction once.
    pub(super) fn of(wasm: &[u8]) -> Result<Self, Refusal> {
        at_most("bytes", wasm.len() as u64, MODULE_BYTES_MAX)?;
        let mut survey = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            survey.see(&payload.map_err(|error| malformed(&error))?)?;
        }
        if survey.depth != 0 {
            return Err(Refusal::Malformed("it ends before its last section".into()));
        }
        Ok(survey)
    }

    fn see(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.depth += 1;
                if self.depth == 1 {
                    self.is_component = *encoding == Encoding::Component;
                }
            }
            Payload::End(_) => self.depth -= 1,
            Payload::ImportSection(section) => self.see_imports(section)?,
            Payload::ExportSection(section) if self.depth == 1 => {
                for export in section.clone() {
                    let export = export.map_err(|error| malformed(&error))?;
                    if export.kind == ExternalKind::Func {
                        self.exports.push(export.name.into());
                    }
                }
            }
            Payload::ComponentImportSection(section) if self.depth == 1 => {
                for import in section.clone() {
                    let name = import.map_err(|error| malformed(&error))?.name.name;
                    self.imports.push((name.into(), String::new()));
                }
            }
            Payload::ComponentExportSection(section) if self.depth == 1 => {
                for export in section.clone() {
                    self.exports.push(export.map_err(|error| malformed(&error))?.name.name.into());
                }
            }
            Payload::CodeSectionEntry(body) => self.see_body(body)?,
            Payload::CustomSection(section) if self.depth == 1 => {
                self.has_component_type |= section.name().starts_with("component-type");
                if section.name() == "lovage-manifest" {
                    self.manifest = String::from_utf8(section.data().to_vec()).ok();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn see_imports(
        &mut self,
        section: &wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Refusal> {
        for import in section.clone().into_imports() {
            let import = import.map_err(|error| malformed(&error))?;
            self.import_count += 1;
            at_most("imports", self.import_count, IMPORTS_MAX)?;
            if self.depth == 1 {
                self.imports.push((import.module.into(), import.name.into()));
            }
        }
        Ok(())
    }

    fn see_body(&mut self, body: &wasmparser::FunctionBody<'_>) -> Result<(), Refusal> {
        let bytes = body.range().len() as u64;
        self.functions += 1;
        self.code_bytes += bytes;
        at_most("functions", self.functions, FUNCTIONS_MAX)?;
        at_most("bytes in one function", bytes, BODY_BYTES_MAX)?;
        at_most("bytes of code", self.code_bytes, CODE_BYTES_MAX)?;
        let mut locals = 0;
        for group in body.get_locals_reader().map_err(|error| malformed(&error))? {
            locals += u64::from(group.map_err(|error| malformed(&error))?.0);
            at_most("locals in one function", locals, LOCALS_MAX)?;
        }
        for operator in body.get_operators_reader().map_err(|error| malformed(&error))? {
            if let Operator::BrTable { targets } = operator.map_err(|error| malformed(&error))? {
                self.branch_targets += u64::from(targets.len());
                at_most("branch table targets", self.branch_targets, BRANCH_TARGETS_MAX)?;
            }
        }
        Ok(())
    }

    /// Refuses a component's imports that nothing stands behind.
    ///
    /// All of WASI 0.2 that a language's runtime may drag in is linked, to nothing, and what sends
    /// requests is linked to a worker that asks for each whether it is granted. Other capabilities
    /// (`wasi:keyvalue`, `wasi:config`) are not there.
    pub(super) fn allow_component_imports(&self) -> Result<(), Refusal> {
        const TASK: &[&str] = &["context", "http", "log", "outbox", "progress", "steps", "types"];
        const WASI: &[&str] = &["cli", "clocks", "filesystem", "io", "random", "sockets"];
        let allowed = |name: &str| {
            let task =
                |rest: &str| rest.strip_suffix("@0.1.0").is_some_and(|is| TASK.contains(&is));
            let wasi = |rest: &str| {
                let (package, rest) = rest.split_once('/').unwrap_or_default();
                let is_sent = |rest: &str| {
                    let names = ["types@0.2.", "outgoing-handler@0.2."];
                    package == "http" && names.iter().any(|name| rest.starts_with(name))
                };
                WASI.contains(&package) && rest.contains("@0.2.") || is_sent(rest)
            };
            name == EXIT
                || name.strip_prefix("lovage:task/").is_some_and(task)
                || name.strip_prefix("wasi:").is_some_and(wasi)
        };
        match self.imports.iter().find(|(name, _)| !allowed(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::Import(bounded(name.clone()))),
        }
    }

    /// Refuses a core module's imports that no component could give it.
    pub(super) fn allow_core_imports(&self) -> Result<(), Refusal> {
        let allowed = |module: &str| {
            module == PREVIEW1
                || ["lovage:task/", "wasi:", "[export]", "[resource-drop]"]
                    .iter()
                    .any(|prefix| module.starts_with(prefix))
        };
        match self.imports.iter().find(|(module, _)| !allowed(module)) {
            None => Ok(()),
            Some((module, name)) => Err(Refusal::Import(bounded(format!("{module}.{name}")))),
        }
    }

    /// What a component is, by its exports.
    pub(super) fn component_kind(&self) -> Result<ModuleKind, Refusal> {
        let run = |name: &str| name.starts_with("wasi:cli/run@0.2.");
        if self.exports(HANDLER) && self.exports(CATALOG) {
            Ok(ModuleKind::Tasks)
        } else if self.exports(HANDLER) {
            Err(Refusal::NoEntry(format!("it exports {HANDLER} and not {CATALOG}")))
        } else if self.exports.iter().any(|name| run(name)) {
            Ok(ModuleKind::Command)
        } else {
            Err(Refusal::NoEntry(format!("it exports neither {HANDLER} nor wasi:cli/run")))
        }
    }

    /// What a core module is, by its exports.
    pub(super) fn core_kind(&self) -> Result<ModuleKind, Refusal> {
        if self.exports(&format!("{HANDLER}#run")) {
            Ok(ModuleKind::Tasks)
        } else if self.exports("_start") {
            Ok(ModuleKind::Command)
        } else {
            Err(Refusal::NoEntry(format!("it exports neither {HANDLER}#run nor _start")))
        }
    }

    /// Whether a core module is to be prepared before it is compiled.
    pub(super) fn asks_for_snapshot(&self) -> bool {
        !self.is_component && self.exports(super::snapshot::SNAPSHOT)
    }

    fn exports(&self, name: &str) -> bool {
        self.exports.iter().any(|export| export == name)
    }

    /// What it imports from its host, sorted: of a core module the modules, of a component the
    /// interfaces.
    pub(super) fn offered_imports(&self) -> Vec<String> {
        let mut imports: Vec<_> =
            self.imports.iter().map(|(name, _)| bounded(name.clone())).collect();
        imports.sort_unstable();
        imports.dedup();
        imports
    }

    pub(super) fn imports_preview1(&self) -> bool {
        self.imports.iter().any(|(module, _)| module == PREVIEW1)
    }
}

fn malformed(error: &wasmparser::BinaryReaderError) -> Refusal {
    Refusal::Malformed(error.to_string())
}

fn at_most(what: &str, actual: u64, most: u64) -> Result<(), Refusal> {
    if actual <= most { Ok(()) } else { Err(Refusal::TooLarge { what: what.into(), actual, most }) }
}
