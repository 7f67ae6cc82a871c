//! Looks at modules that come from anyone: compiled in a process that may die of it, described by an
//! executor that holds nothing.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lovage_core::admin_ports::{InspectError, Inspected, Inspector};
use lovage_core::ports::{PortError, Sandbox};
use lovage_core::{Digest, Manifest, Module, ModuleName, Outcome};
use lovage_sandbox::{CompileError, Compiled, Compiler, ModuleKind};
use lovage_worker::check_schema;
use serde_json::Value;

use crate::modules::of_command;

/// What looks at modules, on this machine.
pub(crate) struct Workbench {
    compiler: Compiler,
    sandbox: Arc<dyn Sandbox>,
}

impl Workbench {
    pub(crate) fn new(compiler: Compiler, sandbox: Arc<dyn Sandbox>) -> Self {
        Self { compiler, sandbox }
    }

    async fn compile(&self, wasm: &Path) -> Result<Compiled, InspectError> {
        self.compiler.compile_file(wasm).await.map_err(|error| match error {
            CompileError::Refused(refusal) => refused(refusal.code(), refusal.to_string()),
            CompileError::TooExpensive(_) => refused(error.code(), error.to_string()),
            CompileError::Host { .. } => {
                InspectError::Host(PortError::transient("compile a module", error))
            }
        })
    }

    /// What the module says of itself when it is asked.
    async fn describe(&self, module: &Module) -> Result<String, InspectError> {
        let said = self.sandbox.describe(module).await;
        said.map(|json| json.as_str().to_owned()).map_err(|report| match &report.outcome {
            Outcome::Killed { death, failure } => refused(
                "describe-failed",
                format!("it died describing itself: {}: {failure}", death.as_str()),
            ),
            _ => refused("describe-failed", "it does not describe itself".into()),
        })
    }
}

fn refused(code: &'static str, detail: String) -> InspectError {
    InspectError::Refused { code, detail }
}

fn parsed(text: &str) -> Result<Manifest, InspectError> {
    let wrong = |error: anyhow::Error| refused("manifest-invalid", format!("{error:#}"));
    let manifest = Manifest::parse(text).map_err(|error| wrong(error.into()))?;
    manifest.tasks.iter().try_for_each(check_schema).map_err(|error| wrong(error.into()))?;
    Ok(manifest)
}

/// Whether two manifests say the same, whatever the order of their members.
fn is_same(one: &str, other: &str) -> bool {
    let value = |text| serde_json::from_str::<Value>(text).ok();
    value(one).is_some_and(|one| value(other) == Some(one))
}

#[async_trait]
impl Inspector for Workbench {
    async fn inspect(&self, wasm: &Path, name: &ModuleName) -> Result<Inspected, InspectError> {
        let Compiled { digest, path, kind, manifest: carried, imports, .. } =
            self.compile(wasm).await?;
        let manifest = of_command(name.as_str());
        let mut module = Module { digest, manifest, compiled: path };
        match (kind, carried) {
            (ModuleKind::Command, None) => {}
            (ModuleKind::Command, Some(carried)) => module.manifest = parsed(&carried)?,
            (ModuleKind::Tasks, carried) => {
                let said = self.describe(&module).await?;
                if carried.is_some_and(|carried| !is_same(&carried, &said)) {
                    let what = "it says of itself what its section `lovage-manifest` does not";
                    return Err(refused("manifest-mismatch", what.into()));
                }
                module.manifest = parsed(&said)?;
            }
        }
        Ok(Inspected { module, imports })
    }

    async fn load(
        &self,
        wasm: &Path,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<Module, InspectError> {
        let compiled = self.compile(wasm).await?;
        if compiled.digest != *digest {
            let what = format!("the bytes of {} are those of {}", digest.short(), compiled.digest);
            return Err(refused("tampered", what));
        }
        Ok(Module { digest: *digest, manifest: manifest.clone(), compiled: compiled.path })
    }
}
