//! Keeping what the worker holds, and giving back what the dead held.

use std::collections::HashSet;
use std::time::Duration;

use lovage_core::ports::{Broker, Sandbox};
use lovage_core::{Death, Receipt};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::running::Running;

/// How soon a broker is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest pause between two sweeps, however soon something is due.
const SWEEP_MIN: Duration = Duration::from_millis(100);

/// Renews the session's lease for ever: one call for everything the worker holds.
///
/// A worker that cannot renew stops its guests before the lease is over, while nobody else can have
/// begun; one that wakes from a pause stops what it has lost meanwhile.
pub(crate) async fn hold(
    broker: &dyn Broker,
    sandbox: &dyn Sandbox,
    running: &Running,
    lease: Duration,
) {
    let mut renewed = Instant::now();
    let mut pause = lease / 3;
    loop {
        tokio::time::sleep(pause).await;
        match broker.renew().await {
            Ok(lost) => {
                renewed = Instant::now();
                pause = lease / 3;
                if !lost.is_empty() {
                    warn!(deliveries = lost.len(), "The lease ran out; others have this work now");
                    let lost: HashSet<Receipt> = lost.into_iter().collect();
                    stop(sandbox, running, |receipt| lost.contains(&receipt));
                }
            }
            Err(failed) => {
                pause = RETRY.min(lease / 10);
                error!(error = &failed as &dyn std::error::Error, "Cannot renew the lease");
                if renewed.elapsed() > lease * 2 / 3 {
                    stop(sandbox, running, |_| true);
                }
            }
        }
    }
}

/// Gives the work of dead sessions back and wakes what is due, for ever.
pub(crate) async fn sweep(broker: &dyn Broker) {
    loop {
        let pause = match broker.sweep().await {
            Ok(next) => next.max(SWEEP_MIN),
            Err(failed) => {
                warn!(error = &failed as &dyn std::error::Error, "Cannot sweep");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Ends the attempts whose delivery is no longer ours; they settle nothing.
pub(crate) fn stop(sandbox: &dyn Sandbox, running: &Running, whose: impl Fn(Receipt) -> bool) {
    for number in running.numbers(whose) {
        sandbox.cancel(number, Death::LeaseLost);
    }
}
