//! Core modules become components, so that there is one way to run.
//!
//! A module that brings no description of its imports and exports (a `component-type` section) is
//! given ours. What it imports of WASI's first preview is adapted to the second. The adapter turns
//! every exit status but 0 into 1, and commands say `75` for "again": so their `proc_exit` is
//! tied to an import of our own, which keeps the number.

use wasi_preview1_component_adapter_provider as adapters;
use wasm_encoder::reencode::{Reencode as _, RoundtripReencoder};
use wasm_encoder::{ImportSection, Module, RawSection};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::survey::{EXIT, PREVIEW1, Survey};
use super::{ModuleKind, Refusal, refusal::bounded};

/// The whole contract as one text. The first file names the package.
const CONTRACT: &str = concat!(
    include_str!("../../../../wit/world.wit"),
    include_str!("../../../../wit/types.wit"),
    include_str!("../../../../wit/handler.wit"),
    include_str!("../../../../wit/catalog.wit"),
    include_str!("../../../../wit/context.wit"),
    include_str!("../../../../wit/steps.wit"),
    include_str!("../../../../wit/outbox.wit"),
    include_str!("../../../../wit/progress.wit"),
    include_str!("../../../../wit/log.wit"),
    include_str!("../../../../wit/http.wit"),
);

/// What of WASI the contract names, in the order in which each needs those before it.
const WASI: [(&str, &str); 3] = [
    ("io.wit", include_str!("../../../../wit/deps/io.wit")),
    ("clocks.wit", include_str!("../../../../wit/deps/clocks.wit")),
    ("http.wit", include_str!("../../../../wit/deps/http.wit")),
];

/// What a command may import beside WASI: what a task may, and its exit.
const COMMAND: &str = "package lovage:command@0.1.0;
    interface exit { exit: func(status: u8); }
    world command {
        import exit;
        import lovage:task/context@0.1.0;
        import lovage:task/steps@0.1.0;
        import lovage:task/outbox@0.1.0;
        import lovage:task/progress@0.1.0;
        import lovage:task/log@0.1.0;
    }";

pub(super) fn componentize(
    wasm: &[u8],
    survey: &Survey,
    kind: ModuleKind,
) -> Result<Vec<u8>, Refusal> {
    let mut module = match kind {
        ModuleKind::Tasks => wasm.to_vec(),
        ModuleKind::Command => with_own_exit(wasm)?,
    };
    if kind == ModuleKind::Command || !survey.has_component_type {
        let mut resolve = Resolve::default();
        for (name, text) in WASI {
            resolve.push_source(name, text).map_err(contract)?;
        }
        let task = resolve.push_source("task.wit", CONTRACT).map_err(contract)?;
        let command = resolve.push_source("command.wit", COMMAND).map_err(contract)?;
        let (package, world) = match kind {
            // Of what a world offers, a module imports what it uses.
            ModuleKind::Tasks => (task, "task-with-wasi-http"),
            ModuleKind::Command => (command, "command"),
        };
        let world = resolve.select_world(&[package], Some(world)).map_err(contract)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(contract)?;
    }
    let mut encoder =
        ComponentEncoder::default().validate(true).module(&module).map_err(contract)?;
    if survey.imports_preview1() || kind == ModuleKind::Command {
        let adapter = match kind {
            ModuleKind::Tasks => adapters::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            ModuleKind::Command => adapters::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        };
        encoder = encoder.adapter(PREVIEW1, adapter).map_err(contract)?;
    }
    encoder.encode().map_err(contract)
}

fn contract(error: impl std::fmt::Display) -> Refusal {
    Refusal::Contract(bounded(format!("{error:#}")))
}

/// The module with `proc_exit` imported from us. All other sections stay byte by byte what they
/// were, so that debug information goes on fitting the code.
fn with_own_exit(wasm: &[u8]) -> Result<Vec<u8>, Refusal> {
    let malformed = |error: wasmparser::BinaryReaderError| Refusal::Malformed(error.to_string());
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        if let Payload::ImportSection(section) = &payload {
            let mut imports = ImportSection::new();
            for import in section.clone().into_imports() {
                let import = import.map_err(malformed)?;
                let exit = import.module == PREVIEW1 && import.name == "proc_exit";
                let (from, name) = if exit { (EXIT, "exit") } else { (import.module, import.name) };
                let entity = RoundtripReencoder
                    .entity_type(import.ty)
                    .map_err(|error| Refusal::Malformed(error.to_string()))?;
                imports.import(from, name, entity);
            }
            module.section(&imports);
        } else if let Some((id, range)) = payload.as_section()
            && let Some(data) = wasm.get(range)
            && !matches!(payload, Payload::CodeSectionEntry(_))
        {
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}
