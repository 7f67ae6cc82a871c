//! Modules made for a test: small, by hand, and as bad as a test wants them.

/// A module whose task returns this text.
pub(crate) fn says(task: &str, text: &str) -> Vec<u8> {
    with(&format!(r#"{{"name":"{task}"}}"#), text)
}

/// A module with these entries in its manifest, whose tasks return this text.
pub(crate) fn with(tasks: &str, text: &str) -> Vec<u8> {
    let manifest =
        format!(r#"{{"v":1,"abi":"lovage:task@0.1.0","module":"made","tasks":[{tasks}]}}"#);
    wat::parse_str(source(&manifest, &format!("\"{text}\""), "")).expect("a module")
}

/// The same with more in the module itself.
pub(crate) fn and(task: &str, more: &str) -> Vec<u8> {
    let manifest = format!(
        r#"{{"v":1,"abi":"lovage:task@0.1.0","module":"made","tasks":[{{"name":"{task}"}}]}}"#
    );
    wat::parse_str(source(&manifest, "null", more)).expect("a module")
}

fn source(manifest: &str, result: &str, more: &str) -> String {
    let quoted = |text: &str| text.replace('"', "\\22");
    let word = |number: usize| {
        let bytes = u32::try_from(number).expect("a small number").to_le_bytes();
        let [one, two, three, four] = bytes;
        format!("\\{one:02x}\\{two:02x}\\{three:02x}\\{four:02x}")
    };
    format!(
        r#"(module {more}
        (memory (export "memory") 1)
        (data (i32.const 0) "{}{}")
        (data (i32.const 16) "{}")
        (data (i32.const 4096) "\00\00\00\00\00\00\00\00{}{}")
        (data (i32.const 4128) "{}")
        (global $free (mut i32) (i32.const 8192))
        (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
            (global.set $free (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
        (func (export "lovage:task/catalog@0.1.0#describe") (result i32) (i32.const 0))
        (func (export "lovage:task/handler@0.1.0#run") (param i32 i32 i32 i32 i32 i32) (result i32)
            (i32.const 4096)))"#,
        word(16),
        word(manifest.len()),
        quoted(manifest),
        word(4128),
        word(result.len()),
        quoted(result),
    )
}
