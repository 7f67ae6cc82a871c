//! Keeping what the worker holds, and giving back what the dead held.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lovage_core::ports::{Broker, Ledger, PortError, Sandbox};
use lovage_core::{Death, Receipt, Renewed, SessionNumber};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::running::{Attempt, Running};
use crate::services::Services;

/// How soon a broker is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest pause between two sweeps, however soon something is due.
const SWEEP_MIN: Duration = Duration::from_millis(100);

/// Renews the leases of the worker's sessions for ever: one call each for everything it holds. Woken
/// early, it renews at once.
///
/// A worker that cannot renew stops its guests before the lease is over, while nobody else can have
/// begun; one that wakes from a pause stops what it has lost meanwhile.
pub(crate) async fn hold(keeping: Keeping) {
    let Keeping { broker, ledger, sandbox, services, lease, wake } = keeping;
    let running = &services.running;
    let mut renewed = Instant::now();
    services.lease.renewed(renewed, lease);
    // At once: since the sessions began, modules may have been compiled for longer than a lease.
    let mut pause = Duration::ZERO;
    loop {
        // Whether it was time or a wish makes no difference.
        let _ = tokio::time::timeout(pause, wake.notified()).await;
        let asked = Instant::now();
        let (lost, held) = renew(&*broker, ledger.as_deref()).await;
        stop(&*sandbox, running, |attempt| lost.has(attempt));
        if held {
            (renewed, pause) = (Instant::now(), lease / 3);
            services.lease.renewed(asked, lease);
        } else {
            pause = RETRY.min(lease / 10);
            if renewed.elapsed() > lease * 2 / 3 {
                stop(&*sandbox, running, |_| true);
            }
        }
    }
}

/// What keeping leases needs.
pub(crate) struct Keeping {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) ledger: Option<Arc<dyn Ledger>>,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) services: Arc<Services>,
    pub(crate) lease: Duration,
    pub(crate) wake: Arc<Notify>,
}

/// What a worker found that it had lost.
struct Lost {
    receipts: HashSet<Receipt>,
    session: Option<SessionNumber>,
}

impl Lost {
    fn has(&self, attempt: &Attempt) -> bool {
        let granted = attempt.grant.map(|grant| grant.session);
        self.receipts.contains(&attempt.job.invocation.delivery.receipt)
            || self.session.is_some() && self.session == granted
    }
}

/// Renews both leases, the ledger's also when the broker cannot be reached. Returns what was lost,
/// and whether both are held now.
async fn renew(broker: &dyn Broker, ledger: Option<&dyn Ledger>) -> (Lost, bool) {
    let mut held = true;
    let mut failed = |error: &PortError| {
        held = false;
        error!(error = error as &dyn std::error::Error, "Cannot renew a lease");
    };
    let mut lost = Lost { receipts: HashSet::new(), session: None };
    match broker.renew().await {
        Ok(receipts) => lost.receipts.extend(receipts),
        Err(error) => failed(&error),
    }
    if !lost.receipts.is_empty() {
        warn!(deliveries = lost.receipts.len(), "A lease ran out; others have this work now");
    }
    if let Some(ledger) = ledger {
        match ledger.renew().await {
            Ok(Renewed::Held) => {}
            Ok(Renewed::Lost(session)) => {
                warn!("The ledger's lease ran out; others may have this work now");
                lost.session = Some(session);
            }
            Err(error) => failed(&error),
        }
    }
    (lost, held)
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
pub(crate) fn stop(sandbox: &dyn Sandbox, running: &Running, whose: impl Fn(&Attempt) -> bool) {
    for number in running.numbers(whose) {
        sandbox.cancel(number, Death::LeaseLost);
    }
}
