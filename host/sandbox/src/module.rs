//! A module as an executor has it: loaded, linked, and ready to be instantiated.

use std::path::Path;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::compile::{CATALOG, HANDLER};
use crate::guest::Guest;

/// A module, and what in it is called. Everything that can be looked up once is.
pub(crate) struct Loaded {
    pub(crate) instance: InstancePre<Guest>,
    pub(crate) entry: EntryPoint,
}

/// What is called in a module.
#[derive(Clone, Copy)]
pub(crate) enum EntryPoint {
    /// The exports of the contract.
    Tasks { run: ComponentExportIndex, describe: ComponentExportIndex },
    /// A program's `main`.
    Command { run: ComponentExportIndex },
}

impl Loaded {
    /// Loads native code that our compiler process wrote.
    ///
    /// # Errors
    /// When the file is not native code for this engine, or does not fit what is linked.
    #[expect(unsafe_code, reason = "native code is loaded here and nowhere else")]
    pub(crate) fn load(linker: &Linker<Guest>, path: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the file must be what wasmtime's compiler wrote, unchanged. The worker names it,
        // and names only files that its own compiler process wrote into a directory that no other
        // user may write to, whose content it authenticated before it sent the name (`cache.rs`).
        // wasmtime itself refuses files of another version or configuration.
        let component = unsafe { Component::deserialize_file(linker.engine(), path)? };
        Self::link(linker, &component)
    }

    fn link(linker: &Linker<Guest>, component: &Component) -> wasmtime::Result<Self> {
        let instance = linker.instantiate_pre(component)?;
        let function = |interface: &str, name: &str| {
            let (_, interface) = component.get_export(None, interface)?;
            component.get_export_index(Some(&interface), name)
        };
        let tasks = function(HANDLER, "run").zip(function(CATALOG, "describe"));
        let tasks = tasks.map(|(run, describe)| EntryPoint::Tasks { run, describe });
        let entry = tasks.or_else(|| program(component).map(|run| EntryPoint::Command { run }));
        let Some(entry) = entry else {
            wasmtime::bail!("it exports neither a handler nor a program");
        };
        Ok(Self { instance, entry })
    }
}

/// The `run` of `wasi:cli`, of whichever version.
fn program(component: &Component) -> Option<ComponentExportIndex> {
    let kind = component.component_type();
    let engine = component.engine();
    let name = kind.exports(engine).map(|(name, _)| name);
    let name = name.into_iter().find(|name| name.starts_with("wasi:cli/run@0.2."))?;
    let (_, interface) = component.get_export(None, name)?;
    component.get_export_index(Some(&interface), "run")
}
