//! Ruby: a script and ruby.wasm, an interpreter that comes from a package registry, in one program.
//!
//! The interpreter is built for a page in a browser: it has functions to call instead of a `main`, and
//! imports from JavaScript. The program that is made of it is a snapshot of Ruby when it is ready,
//! and its `_start` evaluates the script; what JavaScript would answer traps, should a script ask for it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, ImportSection, Instruction,
    MemArg, Module, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use super::Work;

/// Where npm puts it.
const PACKAGE: &str = "node_modules/@ruby/3.4-wasm-wasi/dist/ruby+stdlib.wasm";
const INSTALL: &str = "npm install @ruby/3.4-wasm-wasi@2.10.1";

/// The interpreter's arguments, as its own embedding for JavaScript passes them.
const ARGUMENTS: [&str; 3] = ["ruby.wasm\0", "-EUTF-8\0", "-e_=0\0"];

/// What is loaded before there is a task: every script here reads JSON.
const BEFORE: &str = "require \"json\"\0";

/// The script with its name, and its exit status as the process's. Chance begins anew: the generator of
/// the snapshot is in every instance.
const WRAPPER: &str = r#"begin
  Random.srand(Random.new_seed)
  $stdout.sync = true
  eval(["SCRIPT"].pack("H*").force_encoding("UTF-8"), TOPLEVEL_BINDING, "NAME", 1)
  exit!(0)
rescue SystemExit => status
  exit!(status.status)
rescue Exception => problem
  $stderr.puts problem.full_message(highlight: false, order: :bottom)
  exit!(1)
end
"#;

/// Packs the interpreter and the script: the one that was named, `main.rb`, or the only one.
pub(super) fn build(work: &Work<'_>) -> anyhow::Result<PathBuf> {
    let interpreter = match work.around.variable("LOVAGE_RUBY_WASM") {
        Some(named) => PathBuf::from(named),
        None => work.project.root.join(PACKAGE),
    };
    let wasm = std::fs::read(&interpreter)
        .with_context(|| format!("there is no {}\n  {INSTALL}", interpreter.display()))?;
    let scripts = work.project.sources("rb")?;
    let main = scripts.iter().find(|file| file.file_name().is_some_and(|it| it == "main.rb"));
    let script = main.or(scripts.first()).context("there is no script")?;
    ensure!(main.is_some() || scripts.len() == 1, "call the script main.rb, or name it");
    let text = std::fs::read(script)?;
    let hex = text.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let name = script.file_name().unwrap_or_default().to_string_lossy();
    let wrapped = WRAPPER.replace("SCRIPT", &hex).replace("NAME", &name) + "\0";
    let output = work.scratch.join("ruby.wasm");
    std::fs::write(&output, pack(&wasm, &wrapped)?)?;
    Ok(output)
}

/// The interpreter with a `_start` that evaluates `script`.
fn pack(wasm: &[u8], script: &str) -> anyhow::Result<Vec<u8>> {
    let mut packing = Packing::survey(wasm)?;
    script.clone_into(&mut packing.script);
    let mut module = Module::new();
    utils::parse_core_module(&mut packing, &mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow!("the interpreter cannot be packed: {error}"))?;
    Ok(module.finish())
}

/// What becomes of an imported function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays an import.
    Wasi,
    /// A handle of a Ruby value: nobody outside has one, so the value's address is its own.
    Same,
    /// JavaScript's: whoever calls it traps.
    Trap,
}

impl Fate {
    fn of(module: &str, name: &str) -> Self {
        match (module, name) {
            ("wasi_snapshot_preview1", _) => Self::Wasi,
            ("canonical_abi", "resource_new_rb-abi-value" | "resource_get_rb-abi-value") => {
                Self::Same
            }
            _ => Self::Trap,
        }
    }
}

/// What is known of the interpreter, by its own indices.
#[derive(Default)]
struct Packing {
    /// For each imported function its type, and what becomes of it.
    imports: Vec<(u32, Fate)>,
    functions: u32,
    /// A type without parameters and results.
    start_type: u32,
    initialize: u32,
    allocate: u32,
    ruby_init: u32,
    evaluate: u32,
    script: String,
}

impl Packing {
    fn survey(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let mut start_type = None;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for (index, kind) in (0..).zip(section.into_iter_err_on_gc_types()) {
                        let kind = kind?;
                        if kind.params().is_empty() && kind.results().is_empty() {
                            start_type.get_or_insert(index);
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(kind) = import.ty {
                            found.imports.push((kind, Fate::of(import.module, import.name)));
                        }
                    }
                }
                Payload::FunctionSection(section) => found.functions = section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            found.note(export.name, export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        found.start_type = start_type.context("the interpreter has no type for a start")?;
        let needed = [found.initialize, found.allocate, found.ruby_init, found.evaluate];
        ensure!(needed.iter().all(|index| *index > 0), "this is no ruby.wasm: {INSTALL}");
        Ok(found)
    }

    fn note(&mut self, name: &str, index: u32) {
        match name.split(':').next().unwrap_or(name) {
            "_initialize" => self.initialize = index,
            "cabi_realloc" => self.allocate = index,
            "ruby-init" => self.ruby_init = index,
            "rb-eval-string-protect" => self.evaluate = index,
            _ => {}
        }
    }

    fn imported(&self) -> u32 {
        u32::try_from(self.imports.len()).unwrap_or(u32::MAX)
    }

    /// The imports that become functions at the end.
    fn dropped(&self) -> impl Iterator<Item = (u32, Fate)> {
        self.imports.iter().copied().filter(|(_, fate)| *fate != Fate::Wasi)
    }

    /// An index as it is after those became functions.
    fn moved(&self, index: u32) -> u32 {
        let dropped = |from: usize, to: usize| {
            let between = self.imports.iter().take(to).skip(from);
            between.map(|(_, fate)| u32::from(*fate != Fate::Wasi)).sum::<u32>()
        };
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let before = dropped(0, at);
        if dropped(at, at.saturating_add(1)) == 1 {
            self.imported() - dropped(0, usize::MAX) + self.functions + before
        } else {
            index - before
        }
    }

    /// Initialises Ruby, for the snapshot.
    fn ready(&self) -> Function {
        // 0: the list, 1: a text.
        let mut body = Function::new([(2, ValType::I32)]);
        body.instruction(&Instruction::Call(self.moved(self.initialize)));
        self.allocated(&mut body, 8 * ARGUMENTS.len(), 0);
        for (number, argument) in (0_u64..).zip(ARGUMENTS) {
            self.text(&mut body, argument);
            let at = |offset| MemArg { offset, align: 2, memory_index: 0 };
            body.instruction(&Instruction::LocalGet(0));
            body.instruction(&Instruction::LocalGet(1));
            body.instruction(&Instruction::I32Store(at(8 * number)));
            body.instruction(&Instruction::LocalGet(0));
            body.instruction(&Instruction::I32Const(length(argument.len())));
            body.instruction(&Instruction::I32Store(at(8 * number + 4)));
        }
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::I32Const(length(ARGUMENTS.len())));
        body.instruction(&Instruction::Call(self.moved(self.ruby_init)));
        self.evaluated(&mut body, BEFORE);
        body.instruction(&Instruction::End);
        body
    }

    /// Evaluates the script.
    fn start(&self) -> Function {
        // As above: `text` uses local 1.
        let mut body = Function::new([(2, ValType::I32)]);
        self.evaluated(&mut body, &self.script);
        // The script has ended the process; what comes back is a mistake in here.
        body.instruction(&Instruction::Unreachable);
        body.instruction(&Instruction::End);
        body
    }

    /// Has a script evaluated; what it returns is dropped with the frame.
    fn evaluated(&self, body: &mut Function, script: &str) {
        self.text(body, script);
        body.instruction(&Instruction::LocalGet(1));
        body.instruction(&Instruction::I32Const(length(script.len())));
        body.instruction(&Instruction::Call(self.moved(self.evaluate)));
        body.instruction(&Instruction::Drop);
    }

    /// Memory of so many bytes, its address in a local.
    fn allocated(&self, body: &mut Function, bytes: usize, local: u32) {
        for number in [0, 0, 8, length(bytes)] {
            body.instruction(&Instruction::I32Const(number));
        }
        body.instruction(&Instruction::Call(self.moved(self.allocate)));
        body.instruction(&Instruction::LocalSet(local));
    }

    /// A text in memory, its address in local 1. It is written by instructions: the interpreter's data
    /// stay as they are.
    fn text(&self, body: &mut Function, text: &str) {
        self.allocated(body, text.len().next_multiple_of(8), 1);
        for (number, chunk) in (0_u64..).zip(text.as_bytes().chunks(8)) {
            let bytes = std::array::from_fn(|at| chunk.get(at).copied().unwrap_or(0));
            body.instruction(&Instruction::LocalGet(1));
            body.instruction(&Instruction::I64Const(i64::from_le_bytes(bytes)));
            let at = MemArg { offset: 8 * number, align: 3, memory_index: 0 };
            body.instruction(&Instruction::I64Store(at));
        }
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

impl Reencode for Packing {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Self::Error>> {
        Ok(self.moved(function))
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        for import in section.into_imports() {
            let import = import?;
            if import.module == "wasi_snapshot_preview1" || !matches!(import.ty, TypeRef::Func(_)) {
                imports.import(import.module, import.name, self.entity_type(import.ty)?);
            }
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_function_section(self, functions, section)?;
        for (kind, _) in self.dropped() {
            functions.function(kind);
        }
        functions.function(self.start_type).function(self.start_type);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        utils::parse_code_section(self, code, section)?;
        for (_, fate) in self.dropped() {
            let mut body = Function::new([]);
            body.instruction(match fate {
                Fate::Same => &Instruction::LocalGet(0),
                _ => &Instruction::Unreachable,
            });
            body.instruction(&Instruction::End);
            code.function(&body);
        }
        code.function(&self.ready()).function(&self.start());
        Ok(())
    }

    /// Of the exports only what a program has: `_initialize` would be called a second time.
    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), Error<Self::Error>> {
        for export in section {
            let export = export?;
            if export.name == "memory" {
                exports.export(export.name, ExportKind::Memory, export.index);
            }
        }
        let ready = self.imported() + self.functions;
        exports.export("lovage-snapshot", ExportKind::Func, ready);
        exports.export("_start", ExportKind::Func, ready + 1);
        Ok(())
    }
}
