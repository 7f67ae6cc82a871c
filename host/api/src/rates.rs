//! How often a token may ask, and a tenant may upload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lovage_core::{Tenant, TenantId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// Requests a second that a token may make on average.
const REQUESTS_PER_S: f64 = 500.0;

/// Requests that it may make at once.
const BURST: f64 = 1_000.0;

/// Uploads that a tenant may have under way.
const UPLOADS_OF_TENANT: usize = 2;

/// Uploads that may be under way.
const UPLOADS: usize = 16;

/// Tokens that are counted; beyond them those that have been silent longest are forgotten.
const COUNTED_MAX: usize = 10_000;

/// Counts requests and uploads, in this process.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Mutex<HashMap<String, Bucket>>,
    tenants: Mutex<HashMap<TenantId, Uploads>>,
    uploads: Arc<Semaphore>,
}

/// What is left of a rate.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

#[derive(Debug)]
struct Uploads {
    rate: Option<Bucket>,
    at_once: Arc<Semaphore>,
}

/// The right to upload, until it is dropped.
#[derive(Debug)]
pub(crate) struct UploadPermit {
    _tenant: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Rates {
    fn default() -> Self {
        let (requests, tenants) = Default::default();
        Self { requests, tenants, uploads: Arc::new(Semaphore::new(UPLOADS)) }
    }
}

impl Rates {
    /// Counts a request of a token.
    pub(crate) fn request(&self, token: &str, now: Timestamp) -> Result<(), Problem> {
        let mut buckets = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= COUNTED_MAX && !buckets.contains_key(token) {
            buckets.retain(|_, bucket| bucket.filled(REQUESTS_PER_S, BURST, now).left < BURST);
        }
        let bucket = buckets.entry(token.into()).or_insert(Bucket { left: BURST, at: now });
        if bucket.take(REQUESTS_PER_S, BURST, now) {
            return Ok(());
        }
        Err(Problem::new(Code::RateLimited, format!("{REQUESTS_PER_S} requests a second")).after(1))
    }

    /// Counts an upload of a tenant, and lets it begin if there is room.
    pub(crate) fn upload(&self, tenant: &Tenant, now: Timestamp) -> Result<UploadPermit, Problem> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let uploads = tenants.entry(tenant.id.clone()).or_insert_with(|| Uploads {
            rate: None,
            at_once: Arc::new(Semaphore::new(UPLOADS_OF_TENANT)),
        });
        let limited = |what: String| Problem::new(Code::RateLimited, what).after(5);
        let Ok(tenants_own) = Arc::clone(&uploads.at_once).try_acquire_owned() else {
            return Err(limited(format!("{UPLOADS_OF_TENANT} uploads at once")));
        };
        let Ok(all) = Arc::clone(&self.uploads).try_acquire_owned() else {
            return Err(limited("too many uploads of all tenants are under way".into()));
        };
        let most = tenant.quotas.uploads_per_minute;
        if most < u32::MAX {
            let (rate, burst) = (f64::from(most) / 60.0, f64::from(most));
            let bucket = uploads.rate.get_or_insert(Bucket { left: burst, at: now });
            if !bucket.take(rate, burst, now) {
                return Err(limited(format!("{most} uploads a minute")));
            }
        }
        Ok(UploadPermit { _tenant: tenants_own, _all: all })
    }
}

impl Bucket {
    fn filled(self, per_s: f64, burst: f64, now: Timestamp) -> Self {
        let passed = now.until(self.at).as_secs_f64();
        Self { left: (self.left + passed * per_s).min(burst), at: now.max(self.at) }
    }

    fn take(&mut self, per_s: f64, burst: f64, now: Timestamp) -> bool {
        *self = self.filled(per_s, burst, now);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Quotas, Tenant, Timestamp};

    use super::Rates;

    #[test]
    fn a_token_may_ask_so_often_and_again_later() {
        let (rates, now) = (Rates::default(), Timestamp::from_micros(0));
        let asked = (0..2_000).take_while(|_| rates.request("a", now).is_ok()).count();
        assert_eq!(asked, 1_000);
        assert!(rates.request("b", now).is_ok(), "another token is another's");
        assert!(rates.request("a", Timestamp::from_micros(10_000)).is_ok());
    }

    #[test]
    fn a_tenant_uploads_two_at_once_and_so_many_a_minute() {
        let (rates, now) = (Rates::default(), Timestamp::from_micros(0));
        let mut tenant = Tenant::new("acme".parse().unwrap());
        tenant.quotas = Quotas { uploads_per_minute: 3, ..Quotas::default() };
        let (first, second) = (rates.upload(&tenant, now), rates.upload(&tenant, now));
        assert!(first.is_ok() && second.is_ok() && rates.upload(&tenant, now).is_err());
        drop((first, second));
        assert!(rates.upload(&tenant, now).is_ok());
        assert!(rates.upload(&tenant, now).is_err(), "the minute's are used up");
        assert!(rates.upload(&tenant, Timestamp::from_micros(20_000_000)).is_ok());
    }
}
