//! Builds every example module into one folder.
//!
//! Rust modules are components, and programs and hand-written ones are core modules: a host makes
//! those components when it loads them. Each is checked against `wit/` before it is put there. One
//! that a host can refuse only after a while goes into `slow/`, so that starting one stays quick, and
//! one that wants to be granted something into `granted/`.

#![expect(clippy::print_stdout, reason = "a command reports on its standard output")]

mod check;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Crates that are built as components, and the file that each becomes.
const COMPONENTS: [(&str, &str, &str); 6] = [
    ("lovage-example-bench", "bench.wasm", "bench.wasm"),
    ("lovage-example-canvas", "canvas.wasm", "canvas.wasm"),
    ("lovage-example-courier", "courier.wasm", "granted/courier.wasm"),
    ("lovage-example-hello", "hello.wasm", "hello.wasm"),
    ("lovage-example-hostile", "hostile_tasks.wasm", "hostile-tasks.wasm"),
    ("lovage-example-shop", "shop.wasm", "shop.wasm"),
];

/// Crates that are built as programs for WASI 0.1.
const COMMANDS: [(&str, &str, &str); 1] =
    [("lovage-example-command", "command-words.wasm", "command-words.wasm")];

/// Hand-written modules that a host refuses only after a while, and would at each start.
const SLOW: [&str; 1] = ["start-spin"];

fn main() -> Result<()> {
    let (root, target) = folders()?;
    let guests = target.join("guests");
    for line in build(&root, &target, &guests)? {
        println!("{line}");
    }
    println!("all modules are in {}", guests.display());
    Ok(())
}

/// The repository, and cargo's folder for what it builds.
#[expect(clippy::disallowed_methods, reason = "a tool that runs cargo is told things by cargo")]
fn folders() -> Result<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    Ok((root, target))
}

/// Builds everything into `guests`, and says a line for each module.
fn build(root: &Path, target: &Path, guests: &Path) -> Result<Vec<String>> {
    fs::create_dir_all(guests.join("slow"))?;
    fs::create_dir_all(guests.join("granted"))?;
    let world = check::World::read(&root.join("wit"))?;
    let mut lines = Vec::new();
    for (triple, crates) in [("wasm32-wasip2", &COMPONENTS[..]), ("wasm32-wasip1", &COMMANDS[..])] {
        cargo(root, target, triple, crates)?;
        for (_, built, name) in crates {
            let built = target.join(triple).join("guest").join(built);
            let wasm = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
            lines.push(place(&world, &wasm, &guests.join(name))?);
        }
    }
    let mut texts: Vec<PathBuf> = fs::read_dir(root.join("guest-examples/hostile/wat"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    texts.sort();
    for text in texts {
        let wasm = wat::parse_file(&text)?;
        let name = text.file_stem().unwrap_or_default().to_string_lossy();
        let folder = if SLOW.contains(&&*name) { guests.join("slow") } else { guests.into() };
        lines.push(place(&world, &wasm, &folder.join(format!("hostile-{name}.wasm")))?);
    }
    Ok(lines)
}

/// Runs cargo, which shows its own progress where there is a terminal.
fn cargo(root: &Path, target: &Path, triple: &str, crates: &[(&str, &str, &str)]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["build", "--profile", "guest", "--target", triple]);
    command.arg("--target-dir").arg(target);
    for (package, _, _) in crates {
        command.args(["--package", package]);
    }
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "cargo could not build for {triple}; `rustup target add {triple}`?");
    Ok(())
}

/// Checks a module and writes it, unless it is there already: its age tells caches that it changed.
fn place(world: &check::World, wasm: &[u8], path: &Path) -> Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kind = world.check(wasm).with_context(|| format!("checking {name}"))?;
    if fs::read(path).ok().as_deref() != Some(wasm) {
        let partial = path.with_extension("partial");
        fs::write(&partial, wasm)?;
        fs::rename(&partial, path)?;
    }
    Ok(format!("{name:<28} {:>7} bytes  {kind}", wasm.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_built_checked_and_small() {
        let (root, target) = folders().unwrap();
        let guests = tempfile::tempdir().unwrap();
        let lines = build(&root, &target, guests.path()).unwrap();
        assert_eq!(lines.len(), 19, "{lines:#?}");
        for (_, _, name) in COMPONENTS {
            let bytes = fs::metadata(guests.path().join(name)).unwrap().len();
            assert!(bytes < 300_000, "{name} has {bytes} bytes");
        }
        let before = fs::metadata(guests.path().join("bench.wasm")).unwrap().modified().unwrap();
        build(&root, &target, guests.path()).unwrap();
        let after = fs::metadata(guests.path().join("bench.wasm")).unwrap().modified().unwrap();
        assert_eq!(before, after, "what did not change is left alone");
    }
}
