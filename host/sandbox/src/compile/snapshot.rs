//! What a module sets up before its first task is done once, here, and kept: its memory, as it is then, becomes
//! the memory that every instance starts with.
//!
//! A core module asks for that by exporting the function `lovage-snapshot`. It is instantiated, its
//! `_initialize` is called, then that function, in which it may warm itself up; neither is called again.
//! A Go runtime starts in 0.2 ms this way and not in 0.8, a Ruby program in 2 and not in 230.
//!
//! It is the module's own code that runs, before anybody asked for a task: in the process that
//! compiles it, within its limits, and with nobody to talk to. WASI answers as a machine with a
//! clock and chance and nothing else; the host of tasks does not answer at all. What it drew and what
//! time it was then is in every instance: an SDK seeds its generators anew.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Caller, Engine, Extern, Func, Instance, Module, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

use super::refusal::{Refusal, bounded};
use super::survey::PREVIEW1;
use crate::engine;

/// The export that asks for a snapshot, and warms the module up.
pub(super) const SNAPSHOT: &str = "lovage-snapshot";

/// Fuel for the module's own code: some seconds of it.
const FUEL: u64 = 50_000_000_000;

/// Random bytes that are given at once.
const RANDOM_BYTES_MAX: usize = 64 << 10;

/// The module, with the memory that it has when it is ready.
///
/// # Errors
/// When its own code fails, or it uses instructions whose effects are not in its memory.
pub(super) fn take(wasm: &[u8]) -> Result<Vec<u8>, Refusal> {
    let engine = engine::preparing().map_err(|error| Refusal::Host(format!("{error:#}")))?;
    let failed = |error: wasmtime::Error| {
        Refusal::Invalid(bounded(format!("no snapshot can be taken of it: {error:#}")))
    };
    run(&engine, wasm).map_err(failed)
}

fn run(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    wizer.init_func(SNAPSHOT);
    let (context, instrumented) = wizer.instrument(wasm)?;
    let module = Module::new(engine, &instrumented)?;
    let mut store = Store::new(engine, ());
    store.set_fuel(FUEL)?;
    let imports: Vec<Extern> = module.imports().map(|import| nobody(&mut store, &import)).collect();
    let instance = Instance::new(&mut store, &module, &imports)?;
    for name in ["_initialize", SNAPSHOT] {
        if let Some(function) = instance.get_func(&mut store, name) {
            function.typed::<(), ()>(&store)?.call(&mut store, ())?;
        }
    }
    let mut state = State { store, instance };
    let mut snapshot = pin!(wizer.snapshot(&context, &mut state));
    // Nothing in it waits: it reads what is there.
    match snapshot.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(snapshot) => snapshot,
        Poll::Pending => wasmtime::bail!("it waits"),
    }
}

/// What stands behind an import meanwhile.
fn nobody(store: &mut Store<()>, import: &wasmtime::ImportType<'_>) -> Extern {
    let (from, name) = (import.module().to_owned(), import.name().to_owned());
    let wasmtime::ExternType::Func(kind) = import.ty() else {
        // Such imports are refused before; a function in their place is refused once more.
        return Func::wrap(store, || {}).into();
    };
    let answer = move |mut caller: Caller<'_, ()>, given: &[Val], results: &mut [Val]| {
        if from != PREVIEW1 {
            wasmtime::bail!("it calls `{name}` of {from} before there is a task");
        }
        let number =
            |index: usize| given.get(index).and_then(Val::i32).unwrap_or_default().cast_unsigned();
        let errno = preview1(&name, &mut caller, number)?;
        if let Some(result) = results.first_mut() {
            *result = Val::I32(errno);
        }
        Ok(())
    };
    Func::new(store, kind, answer).into()
}

const SUCCESS: i32 = 0;
const BAD_DESCRIPTOR: i32 = 8;
const NOT_SUPPORTED: i32 = 52;

/// WASI's first preview, of a machine with no files, no arguments and no environment.
fn preview1(
    name: &str,
    caller: &mut Caller<'_, ()>,
    given: impl Fn(usize) -> u32,
) -> wasmtime::Result<i32> {
    match name {
        "args_sizes_get" | "environ_sizes_get" => {
            write(caller, given(0), &0_u32.to_le_bytes())?;
            write(caller, given(1), &0_u32.to_le_bytes())?;
        }
        "args_get" | "environ_get" | "sched_yield" => {}
        "clock_res_get" => write(caller, given(1), &1_000_u64.to_le_bytes())?,
        "clock_time_get" => {
            let now = clock_gettime(ClockId::Realtime);
            let now = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
            write(caller, given(2), &now.to_le_bytes())?;
        }
        "random_get" => {
            let mut bytes = vec![0; (given(1) as usize).min(RANDOM_BYTES_MAX)];
            getrandom(&mut bytes, GetRandomFlags::empty())?;
            write(caller, given(0), &bytes)?;
        }
        "fd_write" => {
            let written = written(caller, given(1), given(2))?;
            write(caller, given(3), &written.to_le_bytes())?;
        }
        "proc_exit" => wasmtime::bail!("it ends itself with exit status {}", given(0)),
        _ if name.starts_with("fd_") => return Ok(BAD_DESCRIPTOR),
        _ => return Ok(NOT_SUPPORTED),
    }
    Ok(SUCCESS)
}

/// The bytes of a vector of pieces; nobody reads them.
fn written(caller: &mut Caller<'_, ()>, pieces: u32, count: u32) -> wasmtime::Result<u32> {
    let memory = memory(caller)?;
    let mut sum = 0_u32;
    for piece in 0..count.min(1_024) {
        let mut length = [0; 4];
        memory.read(&mut *caller, pieces.saturating_add(piece * 8 + 4) as usize, &mut length)?;
        sum = sum.saturating_add(u32::from_le_bytes(length));
    }
    Ok(sum)
}

fn write(caller: &mut Caller<'_, ()>, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    memory(caller)?.write(caller, at as usize, bytes)?;
    Ok(())
}

fn memory(caller: &mut Caller<'_, ()>) -> wasmtime::Result<wasmtime::Memory> {
    match caller.get_export("memory").and_then(Extern::into_memory) {
        Some(memory) => Ok(memory),
        None => wasmtime::bail!("it exports no memory"),
    }
}

/// The instance, for whoever takes the snapshot.
struct State {
    store: Store<()>,
    instance: Instance,
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global.map(|global| global.get(&mut self.store)) {
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(value)) => SnapshotVal::F32(value),
            Some(Val::F64(value)) => SnapshotVal::F64(value),
            Some(Val::V128(value)) => SnapshotVal::V128(value.as_u128()),
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            // It was asked for names that it was given to export, and for numbers.
            _ => SnapshotVal::I32(0),
        }
    }

    async fn memory_contents(&mut self, name: &str, look: impl FnOnce(&[u8]) + Send) {
        if let Some(memory) = self.instance.get_memory(&mut self.store, name) {
            look(memory.data(&self.store));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::take;

    fn taken(text: &str) -> Result<String, String> {
        let wasm = wat::parse_str(text).unwrap();
        let wasm = take(&wasm).map_err(|refusal| refusal.to_string())?;
        Ok(String::from_utf8_lossy(&wasm).into_owned())
    }

    #[test]
    fn what_was_set_up_is_there_and_is_not_set_up_again() {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_prestat_get" (func $files (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "before")
            (global $ready (mut i32) (i32.const 0))
            (func (export "_initialize")
                (if (call $random (i32.const 0) (i32.const 16)) (then unreachable))
                (if (i32.ne (call $files (i32.const 3) (i32.const 32)) (i32.const 8)) (then unreachable))
                (global.set $ready (i32.const 7)))
            (func (export "lovage-snapshot")
                (if (i32.ne (global.get $ready) (i32.const 7)) (then unreachable))
                (i64.store (i32.const 64) (i64.const 0x7265746661)))
            (func (export "run") (result i32) (global.get $ready)))"#;
        let wasm = taken(text).unwrap();
        assert!(wasm.contains("after") && !wasm.contains("before"), "{wasm:?}");
        assert!(!wasm.contains("_initialize") && !wasm.contains("lovage-snapshot"), "{wasm:?}");
    }

    #[test]
    fn code_that_cannot_be_run_before_there_is_a_task_is_refused() {
        let asking = r#"(module
            (import "lovage:task/context@0.1.0" "revoked" (func $revoked (result i32)))
            (memory (export "memory") 1)
            (func (export "lovage-snapshot") (drop (call $revoked))))"#;
        assert!(taken(asking).unwrap_err().contains("it calls `revoked`"));
        let spinning = r#"(module (memory (export "memory") 1)
            (func (export "lovage-snapshot") (loop $again (br $again))))"#;
        assert!(taken(spinning).unwrap_err().contains("fuel"));
        let table = r#"(module (memory (export "memory") 1) (table 1 funcref)
            (func (export "lovage-snapshot") (table.set (i32.const 0) (ref.null func))))"#;
        assert!(taken(table).unwrap_err().contains("table.set"));
    }
}
