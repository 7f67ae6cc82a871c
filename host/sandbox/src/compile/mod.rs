//! Turns untrusted WebAssembly into native code, in a process that may die of it.
//!
//! Checks of size trim what a compiler can be made to do, they do not bound it: a module of a few
//! megabytes can take gigabytes and minutes. So the bound is the process: its address space and its
//! CPU time are limited before it looks at the first byte, and whoever started it has a clock.

mod componentize;
mod refusal;
mod snapshot;
mod survey;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

pub use refusal::Refusal;

use crate::engine;
use survey::Survey;
pub(crate) use survey::{CATALOG, EXIT, HANDLER};

/// Counts what changes in here that makes other code of the same module: what an older one made is
/// not taken for it.
pub(crate) const GENERATION: u32 = 3;

/// What kind of module it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleKind {
    /// A component with a catalog and a handler.
    Tasks,
    /// A WASI command: JSON on standard input, JSON on standard output. It has no catalog, and a
    /// description of it names no task: whoever loads it names its one task.
    Command,
}

/// What a compiler process says about a module that it compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) kind: ModuleKind,
    pub(crate) manifest: Option<String>,
    /// What it imports from its host, sorted.
    #[serde(default)]
    pub(crate) imports: Vec<String>,
}

/// The address space of a compiler process, in bytes. Python needs less than half of it.
const ADDRESS_SPACE_BYTES: u64 = 2 << 30;

/// The CPU time of a compiler process, in seconds. A snapshot of Ruby takes half of it.
const CPU_SECONDS: u64 = 60;

/// How far a compiler process stands back behind those that serve.
const NICENESS: i32 = 10;

/// The whole life of a compiler process: reads WebAssembly from `input`, writes native code to
/// `output`, and says in one line of JSON on standard output what came of it.
///
/// Before it reads anything it gives up all privileges it could gain, and limits its address space
/// and its CPU time; beyond these the process dies, and that is the answer.
pub fn compile_main(input: &Path, output: &Path) -> ExitCode {
    let answer = confine().and_then(|()| compile_file(input, output));
    let code = if answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let Ok(mut line) = serde_json::to_vec(&answer) else { return ExitCode::FAILURE };
    line.push(b'\n');
    match std::io::stdout().write_all(&line) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn confine() -> Result<(), Refusal> {
    let both = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let host = |error: rustix::io::Errno| Refusal::Host(error.to_string());
    rustix::thread::set_no_new_privs(true).map_err(host)?;
    // Whoever waits for a task or an answer comes first.
    rustix::process::nice(NICENESS).map_err(host)?;
    setrlimit(Resource::As, both(ADDRESS_SPACE_BYTES)).map_err(host)?;
    setrlimit(Resource::Cpu, both(CPU_SECONDS)).map_err(host)?;
    setrlimit(Resource::Core, both(0)).map_err(host)
}

fn compile_file(input: &Path, output: &Path) -> Result<Description, Refusal> {
    let host = |error: std::io::Error| Refusal::Host(error.to_string());
    let wasm = std::fs::read(input).map_err(host)?;
    let (native, description) = compile(&wasm)?;
    std::fs::write(output, native).map_err(host)?;
    Ok(description)
}

/// Native code for a module, whatever form it comes in.
pub(crate) fn compile(wasm: &[u8]) -> Result<(Vec<u8>, Description), Refusal> {
    let survey = Survey::of(wasm)?;
    let (component, kind) = if survey.is_component {
        survey.allow_component_imports()?;
        (std::borrow::Cow::Borrowed(wasm), survey.component_kind()?)
    } else {
        survey.allow_core_imports()?;
        let kind = survey.core_kind()?;
        let wasm = if survey.asks_for_snapshot() {
            snapshot::take(wasm)?.into()
        } else {
            std::borrow::Cow::Borrowed(wasm)
        };
        let component = componentize::componentize(&wasm, &survey, kind)?;
        Survey::of(&component)?.allow_component_imports()?;
        (component.into(), kind)
    };
    let engine = engine::compiling().map_err(|error| Refusal::Host(format!("{error:#}")))?;
    let native = engine
        .precompile_component(&component)
        .map_err(|error| Refusal::Invalid(refusal::bounded(format!("{error:#}"))))?;
    let imports = survey.offered_imports();
    Ok((native, Description { kind, manifest: survey.manifest, imports }))
}

#[cfg(test)]
mod tests {
    use super::{ModuleKind, Refusal, compile};

    fn refused(wat: &str) -> Refusal {
        compile(&wat::parse_str(wat).unwrap()).unwrap_err()
    }

    #[test]
    fn an_import_that_is_not_offered_is_refused_by_its_name() {
        let error = refused(r#"(module (import "env" "launch" (func)))"#);
        assert_eq!(error, Refusal::Import("env.launch".into()));
        let error = refused(
            r#"(component (import "wasi:http/incoming-handler@0.2.0" (instance))
                (import "lovage:task/log@0.1.0" (instance)))"#,
        );
        assert_eq!(error, Refusal::Import("wasi:http/incoming-handler@0.2.0".into()));
        assert_eq!(error.code(), "import-not-granted");
        let error = refused(r#"(component (import "lovage:task/log@0.2.0" (instance)))"#);
        assert_eq!(error, Refusal::Import("lovage:task/log@0.2.0".into()));
    }

    #[test]
    fn what_has_no_task_is_refused() {
        assert!(matches!(refused("(module)"), Refusal::NoEntry(_)));
        assert!(matches!(refused("(component)"), Refusal::NoEntry(_)));
        assert!(matches!(compile(b"\0asm"), Err(Refusal::Malformed(_))));
        assert!(matches!(compile(b"#!/bin/sh"), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn modules_that_are_larger_than_any_honest_one_are_refused() {
        let mut many = String::from("(module ");
        (0..=100_000).for_each(|_| many.push_str("(func)"));
        many.push(')');
        let locals = format!("(module (func (local {})))", "i32 ".repeat(2_001));
        let targets = "0 ".repeat(1_000);
        let table = format!("(br_table {targets} (i32.const 0))");
        let wide = format!("(module (func {}))", table.repeat(501));
        for bomb in [many, locals, wide] {
            assert!(matches!(refused(&bomb), Refusal::TooLarge { .. }));
        }
    }

    #[test]
    fn a_core_command_and_a_core_reactor_become_components() {
        let command = r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const 75))))"#;
        let (native, description) = compile(&wat::parse_str(command).unwrap()).unwrap();
        assert_eq!(description.kind, ModuleKind::Command);
        assert!(!native.is_empty());
        let (_, description) = compile(&wat::parse_str(crate::testing::ADD).unwrap()).unwrap();
        assert_eq!(description.kind, ModuleKind::Tasks);
    }
}
