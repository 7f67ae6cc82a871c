//! The one configuration of wasmtime that everything here uses.
//!
//! What decides how code is compiled is the same for compilers and executors; they differ only in
//! how instances are allocated, which is no part of the code. Executors refuse native code of any
//! other configuration.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::limits::{INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};

/// The stack that guest code may use, in bytes. Beyond it the guest traps.
const WASM_STACK_BYTES: usize = 512 << 10;

/// A fiber's whole stack, in bytes. The difference to the guest's part is for the host calls that run
/// on it: were it too small, a host call would end the process.
const FIBER_STACK_BYTES: usize = 1 << 20;

/// The engine of compiler processes, and of whoever wants to know what they produce.
///
/// # Errors
/// When wasmtime does not support this machine.
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&configuration())
}

/// The engine in which a compiler process runs a module's own code, once, before it is compiled.
///
/// Address space is limited there, so memories are no larger than they have to be, and move.
///
/// # Errors
/// When wasmtime does not support this machine.
pub(crate) fn preparing() -> wasmtime::Result<Engine> {
    let mut config = configuration();
    config.memory_may_move(true);
    config.memory_reservation(0);
    config.memory_reservation_for_growth(16 << 20);
    config.memory_guard_size(0);
    // It runs for some milliseconds.
    config.cranelift_opt_level(OptLevel::None);
    Engine::new(&config)
}

/// The engine of an executor with room for `slots` attempts of at most `memory_bytes_max` each.
///
/// # Errors
/// When the address space for that many is not to be had.
pub(crate) fn pooling(slots: u32, memory_bytes_max: u64) -> wasmtime::Result<Engine> {
    let memory_bytes_max = usize::try_from(memory_bytes_max).unwrap_or(usize::MAX).min(4 << 30);
    // A few dozen spare slots keep their pages between uses; the rest gives them back.
    let warm = slots.min(64);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(32))
        .max_core_instances_per_component(INSTANCES_MAX)
        .total_memories(slots.saturating_mul(3).min(TOTAL_MEMORIES_MAX))
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .total_tables(slots.saturating_mul(4))
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .total_stacks(slots)
        .max_memory_size(memory_bytes_max)
        .max_unused_warm_slots(warm)
        .linear_memory_keep_resident(16 << 20)
        .table_keep_resident(1 << 20)
        // All of it is touched when it is cleared, so it should be what guests use and no more.
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = configuration();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Each memory slot takes 4 GiB of address space, and a process has 128 TiB, not all in one piece.
const TOTAL_MEMORIES_MAX: u32 = 15_000;

/// Tells apart engines whose native code differs: the wasmtime version and everything set below.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn configuration() -> Config {
    let mut config = Config::new();
    // Fuel is the only interruption: fuel and epochs together cost up to 2.6 times the run time.
    config.consume_fuel(true);
    config.concurrency_support(false);
    config.memory_may_move(false);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.async_stack_size(FIBER_STACK_BYTES);
    // Nothing that an attempt leaves on its stack may be met by the next.
    config.async_stack_zeroing(true);
    config.wasm_memory64(false);
    config.wasm_relaxed_simd(false);
    config.native_unwind_info(false);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    // Always map initial memory copy-on-write, even that of a large snapshot.
    config.memory_guaranteed_dense_image_size(256 << 20);
    config
}

#[cfg(test)]
mod tests {
    use super::{compatibility, compiling, pooling};

    #[test]
    fn compilers_and_executors_agree_on_what_native_code_is() {
        let executor = pooling(2, 128 << 20).unwrap();
        assert_eq!(compatibility(&compiling().unwrap()), compatibility(&executor));
    }
}
