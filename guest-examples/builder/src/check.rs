//! Whether a module is one: a component that exports our interfaces, a core module that can be made
//! into such a component, or a program.

use std::{fmt, path::Path};

use anyhow::{Result, bail, ensure};
use wasmparser::{Encoding, ExternalKind, Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};
use wit_parser::{Resolve, WorldId};

/// What every module exports.
const EXPORTS: [&str; 2] = ["lovage:task/catalog@0.1.0", "lovage:task/handler@0.1.0"];

/// The world of `wit/`.
pub(crate) struct World {
    resolve: Resolve,
    id: WorldId,
}

/// What a file is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Command,
    Component,
    Core,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Command => "program",
            Self::Component => "component",
            Self::Core => "core module",
        })
    }
}

impl World {
    pub(crate) fn read(wit: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(wit)?;
        let id = resolve.select_world(&[package], Some("task-with-wasi-http"))?;
        Ok(Self { resolve, id })
    }

    /// Says what `wasm` is.
    ///
    /// # Errors
    /// When it is no module that a host could load.
    pub(crate) fn check(&self, wasm: &[u8]) -> Result<Kind> {
        let (encoding, exports) = outline(wasm)?;
        if encoding == Encoding::Component {
            check_component(wasm)?;
            return Ok(Kind::Component);
        }
        if exports.iter().any(|name| name == "_start") {
            return Ok(Kind::Command);
        }
        let mut module = wasm.to_vec();
        let utf8 = StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &self.resolve, self.id, utf8)?;
        check_component(&ComponentEncoder::default().validate(true).module(&module)?.encode()?)?;
        Ok(Kind::Core)
    }
}

fn check_component(component: &[u8]) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("a WIT package is no module");
    };
    let Some(world) = resolve.worlds.get(world) else { bail!("a component has a world") };
    let exports: Vec<String> =
        world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    for wanted in EXPORTS {
        ensure!(exports.iter().any(|name| name == wanted), "it does not export {wanted}");
    }
    for import in world.imports.keys().map(|key| resolve.name_world_key(key)) {
        let known = import.starts_with("lovage:task/") || import.starts_with("wasi:");
        ensure!(known, "it imports {import}, which nobody offers");
    }
    Ok(())
}

/// The encoding, and the names that a core module exports.
fn outline(wasm: &[u8]) -> Result<(Encoding, Vec<String>)> {
    let (mut encoding, mut names) = (None, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { encoding: found, .. } => {
                encoding.get_or_insert(found);
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        names.push(export.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    let Some(encoding) = encoding else { bail!("an empty file is no module") };
    Ok((encoding, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap()
    }

    #[test]
    fn what_lacks_our_exports_is_no_module() {
        assert!(world().check(b"").is_err());
        assert!(world().check(&wat::parse_str("(module)").unwrap()).is_err());
        let empty = wat::parse_str("(component)").unwrap();
        assert!(world().check(&empty).unwrap_err().to_string().contains("does not export"));
    }

    #[test]
    fn a_program_is_known_by_its_start() {
        let program = wat::parse_str("(module (func (export \"_start\")))").unwrap();
        assert_eq!(world().check(&program).unwrap(), Kind::Command);
    }
}
