//! The manifest in a module: a custom section, which can be read without running anything.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use lovage_core::ports::Sandbox as _;
use lovage_core::{Manifest, Module};
use lovage_sandbox::{Compiler, ModuleKind};

use super::project::Project;
use crate::modules;

/// The section's name.
const SECTION: &str = "lovage-manifest";

/// What is known of a module that was built.
pub(crate) struct Looked {
    pub(crate) kind: ModuleKind,
    pub(crate) manifest: Manifest,
    /// The text to embed; `None` when there is nothing to embed, or it is in the module already.
    pub(crate) text: Option<String>,
}

/// Loads a module as a worker does, and asks it what it offers.
///
/// # Errors
/// When a worker would refuse it.
pub(crate) async fn look(
    wasm: &[u8],
    name: &str,
    project: Option<&Project>,
    compiler: &Compiler,
    executors: &Arc<lovage_executors::Executors>,
) -> anyhow::Result<Looked> {
    let compiled = compiler.compile(wasm).await?;
    let kind = compiled.kind;
    if let Some(text) = &compiled.manifest {
        let manifest = Manifest::parse(text).context("its embedded manifest")?;
        return Ok(Looked { kind, manifest, text: None });
    }
    if kind == ModuleKind::Command {
        let Some(path) = project.and_then(Project::manifest) else {
            return Ok(Looked { kind, manifest: modules::of_command(name), text: None });
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;
        return Ok(Looked { kind, manifest, text: Some(text) });
    }
    let module = Module {
        digest: compiled.digest,
        manifest: modules::of_command(name),
        compiled: compiled.path,
    };
    let said = executors.describe(&module).await.map_err(|report| modules::death(&report))?;
    let manifest = Manifest::parse(said.as_str())?;
    if manifest.tasks.is_empty() {
        bail!("the module has no task");
    }
    Ok(Looked { kind, manifest, text: Some(said.as_str().into()) })
}

/// The module with its manifest in it.
pub(super) fn embed(mut wasm: Vec<u8>, manifest: &str) -> Vec<u8> {
    let mut section = Vec::new();
    leb128(&mut section, SECTION.len());
    section.extend_from_slice(SECTION.as_bytes());
    section.extend_from_slice(manifest.as_bytes());
    wasm.push(0);
    leb128(&mut wasm, section.len());
    wasm.extend_from_slice(&section);
    wasm
}

fn leb128(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::{embed, leb128};

    #[test]
    fn a_section_has_its_length_its_name_and_its_text() {
        let module = embed(b"\0asm\x01\0\0\0".to_vec(), "{}");
        assert_eq!(module.get(8..), Some(&b"\0\x12\x0flovage-manifest{}"[..]));
        let mut long = Vec::new();
        leb128(&mut long, 300);
        assert_eq!(long, [0xac, 0x02]);
    }
}
