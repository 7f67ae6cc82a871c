//! What guests may import: the contract's own interfaces, and a WASI with nothing behind it.

mod context;
mod http;
mod log;
mod outbox;
mod progress;
mod random;
mod steps;

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::compile::EXIT;
use crate::guest::Guest;
use crate::trap::Stop;
pub(crate) use http::Http;
pub(crate) use log::LogBook;

/// What wasmtime makes of the contract.
pub(crate) mod contract {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "task-with-http",
        imports: {
            "lovage:task/context.request": async | trappable,
            "lovage:task/context": trappable,
            default: async | trappable,
        },
        with: { "lovage:task/steps.step": crate::imports::steps::Step },
    });
}

pub(crate) use contract::exports::lovage::task::handler;
pub(crate) use contract::lovage::task::types::{Failure, HostError};

/// Everything that any guest may import, linked once for all modules of an executor.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    linker.allow_shadowing(true);
    random::add_to_linker(&mut linker)?;
    contract::TaskWithHttp::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    linker.instance(EXIT)?.func_wrap(
        "exit",
        |_: wasmtime::StoreContextMut<'_, Guest>, (status,): (u8,)| -> wasmtime::Result<()> {
            Err(Stop::Exit(i32::from(status)).into())
        },
    )?;
    Ok(linker)
}

impl contract::lovage::task::types::Host for Guest {}

/// The error for a call whose parameters are wrong.
fn invalid(what: impl std::fmt::Display) -> HostError {
    HostError::Invalid(what.to_string())
}
