//! `wasi:random`, bounded: making random bytes costs the host time that no fuel pays for.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::random::{insecure, random};

use crate::guest::Guest;

/// Replaces the two calls whose work grows with their argument by ones that let others run.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("wasi:random/random@0.2.12")?.func_wrap_async(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, Guest>, (bytes,): (u64,)| {
            Box::new(async move {
                let guest = store.data_mut();
                guest.count_call()?;
                guest.breathe(work(bytes)).await;
                Ok((random::Host::get_random_bytes(guest.wasi.random(), bytes)?,))
            })
        },
    )?;
    linker.instance("wasi:random/insecure@0.2.12")?.func_wrap_async(
        "get-insecure-random-bytes",
        |mut store: StoreContextMut<'_, Guest>, (bytes,): (u64,)| {
            Box::new(async move {
                let guest = store.data_mut();
                guest.count_call()?;
                guest.breathe(work(bytes)).await;
                Ok((insecure::Host::get_insecure_random_bytes(guest.wasi.random(), bytes)?,))
            })
        },
    )
}

/// A random byte costs about as much as ten that are copied.
fn work(bytes: u64) -> usize {
    usize::try_from(bytes.saturating_mul(10)).unwrap_or(usize::MAX)
}
