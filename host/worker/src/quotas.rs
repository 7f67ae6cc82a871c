//! Keeps tenants within the quotas that hold while calls run, together with all other workers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lovage_core::ports::PortError;
use lovage_core::{Allowance, Quotas, Spent, TenantId, TenantMeter};
use tokio::time::Instant;
use tracing::warn;

use crate::shares::Shares;

/// Between two times that use is told.
const ROUND: Duration = Duration::from_millis(100);

/// The same while there is none, where tenants have quotas: others are to know that this worker may
/// begin something.
const IDLE_ROUND: Duration = Duration::from_secs(1);

/// Tells the meter what tenants use and heeds what it allows. Never ends by itself.
pub(crate) async fn keep_quotas(meter: &dyn TenantMeter, shares: &Shares) -> Infallible {
    let mut is_well = true;
    loop {
        let told = shares.spent();
        if told.is_empty() && !shares.is_metered() {
            shares.spending.notified().await;
        } else {
            let is_idle = told.is_empty();
            let (numbers, spent): (Vec<usize>, Vec<Spent>) = told.into_iter().unzip();
            match meter.spend(&spent).await {
                Ok(allowances) => {
                    is_well = true;
                    shares.allow(&numbers, &spent, &allowances);
                }
                Err(error) => {
                    if std::mem::replace(&mut is_well, false) {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "Cannot ask what tenants may use; trying again");
                    }
                    shares.unspent(&numbers, &spent);
                }
            }
            if is_idle {
                let _ = tokio::time::timeout(IDLE_ROUND, shares.spending.notified()).await;
                continue;
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

/// A meter of one worker, where workers share no store.
#[derive(Debug, Default)]
pub struct LocalMeter {
    left: Mutex<HashMap<TenantId, Left>>,
}

/// What is left of a tenant's quotas; below zero when it owes.
#[derive(Debug, Clone, Copy)]
struct Left {
    calls: f64,
    fuel: f64,
    at: Instant,
}

impl Left {
    #[expect(clippy::cast_precision_loss, reason = "a quota that large is none")]
    fn spend(&mut self, spent: &Spent, now: Instant) -> Allowance {
        let Quotas { rate_per_s, fuel_per_minute, running, .. } = spent.quotas;
        let (rate, fuel) = (f64::from(rate_per_s), fuel_per_minute as f64);
        let seconds = now.duration_since(self.at).as_secs_f64();
        self.calls = (self.calls + seconds * rate).min(rate) - spent.begun as f64;
        self.fuel = (self.fuel + seconds * fuel / 60.0).min(fuel) - spent.fuel as f64;
        self.at = now;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between nothing and a quota of 32 bits"
        )]
        let begin = if self.fuel > 0.0 { self.calls.max(0.0) as u64 } else { 0 };
        Allowance { begin, running }
    }
}

#[async_trait]
impl TenantMeter for LocalMeter {
    #[expect(clippy::cast_precision_loss, reason = "a quota that large is none")]
    async fn spend(&self, spent: &[Spent]) -> Result<Vec<Allowance>, PortError> {
        let now = Instant::now();
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = spent.iter().map(|spent| {
            let Quotas { rate_per_s, fuel_per_minute, .. } = spent.quotas;
            let full = Left { calls: f64::from(rate_per_s), fuel: fuel_per_minute as f64, at: now };
            all.entry(spent.tenant.clone()).or_insert(full).spend(spent, now)
        });
        Ok(allowed.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lovage_core::{Allowance, Quotas, Spent, TenantMeter as _};

    use super::LocalMeter;

    fn spent(begun: u64, fuel: u64) -> Spent {
        let quotas = Quotas { rate_per_s: 10, fuel_per_minute: 600, ..Quotas::default() };
        Spent { tenant: "acme".parse().unwrap(), quotas, begun, fuel, running: 0, waits: false }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_used_comes_back_with_time_and_debts_are_paid_first() {
        let meter = LocalMeter::default();
        let begin = async |begun, fuel| {
            let Allowance { begin, .. } = meter.spend(&[spent(begun, fuel)]).await.unwrap()[0];
            begin
        };
        assert_eq!(begin(4, 0).await, 6);
        assert_eq!(begin(16, 0).await, 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(begin(0, 0).await, 0, "ten too many are ten later");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(begin(0, 600).await, 0, "the minute's fuel is used up");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(begin(0, 0).await, 10);
    }
}
