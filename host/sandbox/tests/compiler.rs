//! The native cache, and what compiler processes do with bombs. This program is its own compiler
//! process, so it has a `main` of its own.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail loudly, and report for themselves"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use lovage_sandbox::{CompileError, Compiler, ModuleKind, Refusal, compile_main};
use tokio::runtime::Runtime;

const MODULE: &str = include_str!("../../../guest-examples/hostile/wat/liar.wat");

type Test = fn(&Runtime);

/// What the compiler process of this test dies of, as one does that gets no more memory.
const DEADLY: &[u8] = b"deadly";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let [_, command, _, output, input] = arguments.as_slice()
        && command == "compile"
    {
        if std::fs::read(input).unwrap() == DEADLY {
            std::process::abort();
        }
        return compile_main(Path::new(input), Path::new(output));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tests: [(&str, Test); 5] = [
        ("what_was_tampered_with_is_compiled_again", what_was_tampered_with_is_compiled_again),
        ("a_refusal_comes_through", a_refusal_comes_through),
        ("bombs_are_refused_or_die_alone", bombs_are_refused_or_die_alone),
        (
            "a_cache_that_others_may_write_to_is_refused",
            a_cache_that_others_may_write_to_is_refused,
        ),
        ("a_missing_compiler_is_the_machines_fault", a_missing_compiler_is_the_machines_fault),
    ];
    for (name, test) in tests {
        let begun = Instant::now();
        test(&runtime);
        println!("test {name} ... ok ({:?})", begun.elapsed());
    }
    ExitCode::SUCCESS
}

fn compiler(directory: &Path) -> Compiler {
    Compiler::open(std::env::current_exe().unwrap(), directory.join("cache")).unwrap()
}

fn what_was_tampered_with_is_compiled_again(runtime: &Runtime) {
    let directory = tempfile::tempdir().unwrap();
    let compiler = compiler(directory.path());
    let wasm = wat::parse_str(MODULE).unwrap();
    let compile = || runtime.block_on(compiler.compile(&wasm)).unwrap();
    let first = compile();
    assert_eq!((first.fresh, first.kind), (true, ModuleKind::Tasks));
    assert!(!compile().fresh);
    let native = std::fs::read(&first.path).unwrap();
    let tag_path = first.path.with_extension("tag");
    let tag = std::fs::read(&tag_path).unwrap();
    let flipped = |bytes: &[u8], place: usize| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1;
        bytes
    };
    for place in [0, native.len() / 2, native.len() - 1] {
        std::fs::write(&first.path, flipped(&native, place)).unwrap();
        assert!(compile().fresh, "a flipped byte at {place} was believed");
        assert_eq!(std::fs::read(&first.path).unwrap(), native);
    }
    for place in 0..tag.len() {
        std::fs::write(&tag_path, flipped(&tag, place)).unwrap();
        // A flip between upper and lower case of a hexadecimal digit means the same.
        let means_the_same = tag[place].is_ascii_alphabetic() && (tag[place] ^ 1) == tag[place];
        assert!(means_the_same || compile().fresh, "a flipped byte of the tag at {place}");
        if place > 8 {
            break;
        }
    }
    // The code of one module does not pass for another's.
    let other = wat::parse_str(MODULE.replace("hostile-liar", "hostile-lair")).unwrap();
    let other = runtime.block_on(compiler.compile(&other)).unwrap();
    std::fs::copy(&first.path, &other.path).unwrap();
    std::fs::copy(&tag_path, other.path.with_extension("tag")).unwrap();
    let wasm = wat::parse_str(MODULE.replace("hostile-liar", "hostile-lair")).unwrap();
    assert!(runtime.block_on(compiler.compile(&wasm)).unwrap().fresh);
    // Nothing but code, tags and the key is left.
    let left = std::fs::read_dir(directory.path().join("cache")).unwrap().count();
    assert_eq!(left, 5);
}

fn a_refusal_comes_through(runtime: &Runtime) {
    let directory = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(r#"(module (import "env" "f" (func)))"#).unwrap();
    let error = runtime.block_on(compiler(directory.path()).compile(&wasm)).unwrap_err();
    assert_eq!(error.code(), "import-not-granted");
    assert!(matches!(error, CompileError::Refused(Refusal::Import(name)) if name == "env.f"));
}

/// A function just below the size that is refused, with many live locals and many loops: about four
/// seconds and some hundred megabytes. Two dozen of them die of the 60 seconds of CPU time, which is
/// too long for a test; the mapping of such a death is looked at by one that is quicker.
fn bombs_are_refused_or_die_alone(runtime: &Runtime) {
    let directory = tempfile::tempdir().unwrap();
    let compiler = compiler(directory.path());
    let locals = 1_900;
    let turn = |n: usize| {
        format!("(local.set {n} (i32.add (local.get {n}) (local.get {})))", locals - 1 - n)
    };
    let turn = (0..locals / 2).map(turn).collect::<Vec<_>>().concat();
    let body = format!("(loop {turn} (br_if 0 (local.get 0)))").repeat(45);
    let function = format!("(func (local {}) {body})", "i32 ".repeat(locals));
    let start = MODULE.rfind(')').unwrap();
    let bomb = format!("{}{})", &MODULE[..start], function);
    let wasm = wat::parse_str(&bomb).unwrap();
    let begun = Instant::now();
    let result = runtime.block_on(compiler.compile(&wasm));
    println!(
        "a bomb of {} KiB: {:?} after {:?}",
        wasm.len() >> 10,
        result.as_ref().map(|compiled| compiled.fresh).map_err(CompileError::code),
        begun.elapsed()
    );
    assert!(begun.elapsed().as_secs() < 60);
    let error = runtime.block_on(compiler.compile(DEADLY)).unwrap_err();
    assert_eq!(error.code(), "compile-too-expensive");
    // Whatever became of it, the next module is compiled.
    assert!(runtime.block_on(compiler.compile(&wat::parse_str(MODULE).unwrap())).is_ok());
}

fn a_cache_that_others_may_write_to_is_refused(_: &Runtime) {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let opened = Compiler::open(std::env::current_exe().unwrap(), directory.path().into());
    assert!(matches!(opened, Err(CompileError::Host { .. })));
}

fn a_missing_compiler_is_the_machines_fault(runtime: &Runtime) {
    let directory = tempfile::tempdir().unwrap();
    let compiler =
        Compiler::open("/nowhere/lovage".into(), directory.path().join("cache")).unwrap();
    let error = runtime.block_on(compiler.compile(&wat::parse_str(MODULE).unwrap())).unwrap_err();
    assert_eq!(error.code(), "compiler-failed");
}
