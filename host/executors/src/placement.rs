//! Which executor an attempt goes to.

use rustc_hash::FxHasher;
use std::hash::{Hash as _, Hasher as _};

use lovage_core::TenantId;

/// An executor that could take an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Its place among the executors.
    pub(crate) seat: usize,
    /// Attempts in it.
    pub(crate) in_flight: usize,
    /// Whether the last attempt it was given was of the same module, or it is where the tenant's
    /// modules are.
    pub(crate) warm: bool,
    /// Whether another tenant's attempts are in it.
    pub(crate) foreign: bool,
}

/// The executor with the fewest attempts; among nearly equal ones that which ran the module last,
/// because its pool and its caches hold it.
///
/// "Nearly" is an eighth, so an idle executor is always taken before a busy one, however warm.
///
/// One that has another tenant's attempts is taken only when there is no other: an executor serves
/// one tenant at a time, unless more tenants are at work than there are executors.
pub(crate) fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
    candidates
        .min_by_key(|candidate| {
            let handicap = if candidate.warm { 0 } else { candidate.in_flight / 8 };
            (candidate.foreign, candidate.in_flight + handicap, !candidate.warm)
        })
        .map(|candidate| candidate.seat)
}

/// Where a tenant's modules are looked for first, so that not every executor loads all of them.
pub(crate) fn home(tenant: &TenantId, seats: usize) -> usize {
    let mut hasher = FxHasher::default();
    tenant.hash(&mut hasher);
    // The upper half is the better mixed one.
    usize::try_from(hasher.finish() >> 32).unwrap_or(0) % seats.max(1)
}

#[cfg(test)]
mod tests {
    use lovage_core::TenantId;

    use super::{Candidate, choose, home};

    fn seats(seats: &[(usize, bool)]) -> Option<usize> {
        let seats = seats.iter().enumerate();
        let candidate =
            |(seat, &(in_flight, warm))| Candidate { seat, in_flight, warm, foreign: false };
        choose(seats.map(candidate))
    }

    #[test]
    fn one_with_another_tenant_in_it_is_taken_only_if_there_is_no_other() {
        let all = |foreign: [bool; 2]| {
            let candidate = |(seat, foreign)| Candidate {
                seat,
                in_flight: 10 - 9 * seat,
                warm: seat == 1,
                foreign,
            };
            choose(foreign.into_iter().enumerate().map(candidate))
        };
        assert_eq!(all([false, false]), Some(1));
        assert_eq!(all([false, true]), Some(0));
        assert_eq!(all([true, true]), Some(1));
    }

    #[test]
    fn homes_are_spread_and_stay() {
        let tenants: Vec<TenantId> =
            (0..1_000).map(|number| format!("tenant-{number}").parse().unwrap()).collect();
        let first = tenants.iter().filter(|tenant| home(tenant, 2) == 0).count();
        assert!((400..600).contains(&first), "{first}");
        assert!(tenants.iter().all(|tenant| home(tenant, 2) == home(tenant, 2)));
    }

    #[test]
    fn the_one_with_fewest_attempts_is_taken() {
        assert_eq!(seats(&[(40, true), (20, false), (30, true)]), Some(1));
        assert_eq!(seats(&[]), None);
    }

    #[test]
    fn the_warm_one_is_taken_while_the_difference_is_small() {
        assert_eq!(seats(&[(3, false), (3, true)]), Some(1));
        assert_eq!(seats(&[(64, false), (72, true)]), Some(1));
        assert_eq!(seats(&[(64, false), (73, true)]), Some(0));
    }

    #[test]
    fn an_idle_one_is_taken_before_a_warm_one_that_is_busy() {
        assert_eq!(seats(&[(1, true), (0, false)]), Some(1));
    }
}
