//! What the operating system asks of a worker.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use lovage_worker::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// Listens for signals, with Celery's meanings: TERM and the first INT stop warm, QUIT and whatever
/// comes second stop cold.
pub(crate) struct Signals {
    code: Arc<AtomicU8>,
}

/// What Celery's worker exits with after INT.
const INTERRUPTED: u8 = 1;

impl Signals {
    /// Starts listening on behalf of a worker; needs a runtime.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(crate) fn listen(shutdown: Shutdown, interrupted: bool) -> std::io::Result<Self> {
        let (mut term, mut quit) = (signal(SignalKind::terminate())?, signal(SignalKind::quit())?);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let code = Arc::new(AtomicU8::new(0));
        let told = Arc::clone(&code);
        tokio::spawn(async move {
            loop {
                let cold = tokio::select! {
                    () = next(&mut term) => false,
                    () = next(&mut interrupt) => {
                        if interrupted {
                            told.store(INTERRUPTED, Ordering::Relaxed);
                        }
                        false
                    }
                    () = next(&mut quit) => true,
                };
                if cold || shutdown.is_told() {
                    warn!("Stopping cold: what runs goes back to its queue");
                    shutdown.cold();
                } else {
                    warn!("Stopping warm: finishing what runs; signal again to hand it back");
                    shutdown.warm();
                }
            }
        });
        Ok(Self { code })
    }

    /// What the process is to exit with, if nothing else went wrong.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code.load(Ordering::Relaxed))
    }
}

async fn next(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
