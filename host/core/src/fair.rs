//! Fair share: of whom a worker takes its next calls, when it works for several tenants.
//!
//! Deficit round robin. In every *round* each tenant has a credit of one [`QUANTUM_NS`] of the worker's
//! time for each unit of its weight. A call is charged when it begins with what its tenant's calls
//! usually cost, and when it has ended with what it did cost, so that a tenant may end a round in debt;
//! the rounds after pay that off. A round ends when nobody who waits has credit left, and not before:
//! whoever waits is served in every round, after at most what the others may use in one.
//!
//! What a call costs is the share of the worker that it had, times how long it had it: of the cores by
//! its fuel or its CPU time, of the slots by its wall-clock time, whichever share is larger. A tenant
//! whose calls compute and one whose calls wait are compared by what they keep others from.
//!
//! Two things more keep a quiet tenant's calls quick beside one that floods:
//!
//! * who had nothing waiting when last asked is asked first. Credit is never saved up beyond one
//!   round's, so that this is worth one quantum a round and no more;
//! * some slots are only for tenants that have nothing running, since a slot that a slow call holds
//!   is not given back by being fair.
//!
//! Pure: it reads no clock and knows no queues. Tenants are numbers here, in the order of
//! [`enter`](FairShare::enter).

use std::time::Duration;

use crate::Usage;

/// What a tenant of weight 1 may use in one round: nanoseconds of the whole worker. Some dozens of
/// the smallest calls, so that a batch is worth its round trip.
pub const QUANTUM_NS: i64 = 1_000_000;

/// Rounds that a debt lasts at most. A call that held a slot for an hour is not made up for by an
/// hour of nothing: caps bound that, and fair share forgets.
pub const DEBT_ROUNDS_MAX: i64 = 100;

/// What a tenant's first call is taken to cost.
const ESTIMATE_NS: i64 = QUANTUM_NS / 8;

/// The part of the newest call in what is expected of the next one: an eighth.
const MEMORY: i64 = 8;

/// One slot in so many is only for tenants that have nothing running.
const RESERVE_PART: usize = 8;

/// Units of fuel that are as much as a microsecond of CPU time, however fast the machine is.
const FUEL_PER_US: u64 = 4_000;

/// What a call costs the worker itself: decoding, claiming, settling, its instance.
const HOST_TIME: Duration = Duration::from_micros(50);

/// How much may be asked of whom, in the order in which they are to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bid {
    /// The tenant's number.
    pub tenant: usize,
    /// Calls at most.
    pub most: usize,
}

/// What is charged for the calls of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    /// Attempts that can compute at once.
    pub cores: u32,
    /// Calls that can be in work at once.
    pub slots: u32,
}

impl Tariff {
    /// What a call costs that used this: nanoseconds of the whole worker.
    pub fn cost_ns(&self, usage: &Usage) -> u64 {
        let fuel = Duration::from_micros(usage.fuel / FUEL_PER_US);
        let work = usage.cpu.max(fuel) + HOST_TIME;
        let part = |time: Duration, of: u32| {
            u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / u64::from(of.max(1))
        };
        part(work, self.cores).max(part(usage.wall, self.slots))
    }
}

/// One tenant's standing.
#[derive(Debug, Clone)]
struct Account {
    weight: i64,
    /// Calls that it may have in work here at once.
    running_max: usize,
    /// Calls that it may begin before its quotas are asked for again.
    allowance: usize,
    running: usize,
    /// What it may use in this round; below zero when it used more.
    credit_ns: i64,
    /// What its next call is expected to cost.
    estimate_ns: i64,
    /// Whether there was more when it was last asked.
    waits: bool,
}

impl Account {
    fn room(&self) -> usize {
        self.running_max.saturating_sub(self.running).min(self.allowance)
    }

    /// Whether it would begin another call, had it the credit.
    fn could_begin(&self, only_idle: bool) -> bool {
        self.waits && self.room() > 0 && (!only_idle || self.running == 0)
    }

    fn quantum(&self) -> i64 {
        QUANTUM_NS.saturating_mul(self.weight)
    }

    /// Rounds until it has credit again.
    fn rounds_owed(&self) -> i64 {
        if self.credit_ns > 0 { 0 } else { -self.credit_ns / self.quantum() + 1 }
    }

    /// Calls that its credit is expected to pay for, the last one perhaps not wholly.
    fn payable(&self) -> usize {
        let credit = u64::try_from(self.credit_ns).unwrap_or(0);
        let calls = credit.div_ceil(self.estimate_ns.max(1).unsigned_abs());
        usize::try_from(calls).unwrap_or(usize::MAX)
    }

    fn begin(&mut self, calls: usize) {
        self.running += calls;
        self.allowance = self.allowance.saturating_sub(calls);
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        self.pay(self.estimate_ns.saturating_mul(calls));
    }

    fn pay(&mut self, nanos: i64) {
        let least = -self.quantum().saturating_mul(DEBT_ROUNDS_MAX);
        self.credit_ns = self.credit_ns.saturating_sub(nanos).clamp(least, self.quantum());
    }
}

/// Who is asked next, and for how much.
#[derive(Debug, Clone)]
pub struct FairShare {
    accounts: Vec<Account>,
    /// Slots that are only for tenants that have nothing running.
    reserve: usize,
    /// Who is asked first among equals.
    turn: usize,
}

impl FairShare {
    /// Nobody yet, on a worker of so many slots. One in eight of them is kept for tenants that have
    /// nothing running, if there are at least two.
    pub fn new(slots: usize) -> Self {
        let mut fair = Self { accounts: Vec::new(), reserve: 0, turn: 0 };
        fair.resize(slots);
        fair
    }

    /// Sets how many slots the worker has.
    pub fn resize(&mut self, slots: usize) {
        self.reserve = if slots < 2 { 0 } else { (slots / RESERVE_PART).max(1) };
    }

    /// Slots that are only for tenants that have nothing running.
    pub const fn reserve(&self) -> usize {
        self.reserve
    }

    /// Enters a tenant; returns its number, which is never another's.
    pub fn enter(&mut self, weight: u32, running_max: usize) -> usize {
        let weight = i64::from(weight.max(1));
        self.accounts.push(Account {
            weight,
            running_max,
            allowance: usize::MAX,
            running: 0,
            credit_ns: QUANTUM_NS.saturating_mul(weight),
            estimate_ns: ESTIMATE_NS,
            waits: false,
        });
        self.accounts.len() - 1
    }

    /// Changes what a tenant is due.
    pub fn change(&mut self, tenant: usize, weight: u32) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.weight = i64::from(weight.max(1));
            account.pay(0);
        }
    }

    /// Sets how many calls a tenant may begin until this is set again.
    pub fn allow(&mut self, tenant: usize, calls: usize) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.allowance = calls;
        }
    }

    /// Sets how many calls a tenant may have in work here at once.
    pub fn cap(&mut self, tenant: usize, running_max: usize) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.running_max = running_max;
        }
    }

    /// Calls that a tenant has in work here.
    pub fn running(&self, tenant: usize) -> usize {
        self.accounts.get(tenant).map_or(0, |account| account.running)
    }

    /// Whether a tenant had more when it was last asked.
    pub fn waits(&self, tenant: usize) -> bool {
        self.accounts.get(tenant).is_some_and(|account| account.waits)
    }

    /// Whether somebody who waits was not asked, although so many slots are free, because its credit
    /// is used up or others were enough: then there is to be another plan before anyone rests.
    pub fn is_owed(&self, free: usize) -> bool {
        let only_idle = free <= self.reserve;
        free > 0 && self.accounts.iter().any(|it| it.could_begin(only_idle))
    }

    /// Plans whom to ask when so many slots are free. Returns how many calls to ask for in all; none
    /// when nobody may be asked.
    pub fn plan(&mut self, free: usize, bids: &mut Vec<Bid>) -> usize {
        bids.clear();
        let general = free.saturating_sub(self.reserve);
        let (total, only_idle) = if general > 0 { (general, false) } else { (free, true) };
        if !self.accounts.iter().any(|it| it.could_begin(only_idle) && it.credit_ns > 0) {
            self.begin_round(only_idle);
        }
        let turn = self.turn.checked_rem(self.accounts.len()).unwrap_or(0);
        let (before, from) = self.accounts.split_at_checked(turn).unwrap_or_default();
        for quiet in [true, false] {
            let mut waiting = 0;
            for (tenant, account) in (turn..).zip(from).chain((0..).zip(before)) {
                if account.waits == quiet || account.credit_ns <= 0 {
                    continue;
                }
                if waiting >= total.saturating_mul(2) {
                    // Those who wait have enough, even if others are faster with half of it.
                    break;
                }
                let most = match (only_idle, account.running) {
                    (false, _) => account.payable().min(total),
                    (true, 0) => 1,
                    (true, _) => 0,
                };
                let most = most.min(account.room());
                if most > 0 {
                    waiting += if account.waits { most } else { 0 };
                    bids.push(Bid { tenant, most });
                }
            }
        }
        if bids.is_empty() { 0 } else { total }
    }

    /// Notes what came of a plan: how many calls were taken of each of the bids, in their order.
    /// They have begun.
    pub fn took(&mut self, total: usize, bids: &[Bid], counts: &[usize]) {
        let mut left = total;
        for (bid, count) in bids.iter().zip(counts) {
            let asked = bid.most.min(left);
            let Some(account) = self.accounts.get_mut(bid.tenant).filter(|_| asked > 0) else {
                continue;
            };
            left = left.saturating_sub(*count);
            let waited = std::mem::replace(&mut account.waits, *count >= asked);
            account.begin(*count);
            if waited && *count > 0 {
                self.turn = bid.tenant + usize::from(account.credit_ns <= 0);
            }
        }
    }

    /// Notes calls that have begun although nobody asked for them now.
    pub fn began(&mut self, tenant: usize, calls: usize) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.begin(calls);
        }
    }

    /// What a call that a tenant begins now is charged until its cost is known.
    pub fn estimate_ns(&self, tenant: usize) -> i64 {
        self.accounts.get(tenant).map_or(ESTIMATE_NS, |account| account.estimate_ns)
    }

    /// Notes the end of a call that was charged `charged_ns` when it began.
    pub fn ended(&mut self, tenant: usize, charged_ns: i64, cost_ns: u64) {
        let Some(account) = self.accounts.get_mut(tenant) else { return };
        let cost_ns = i64::try_from(cost_ns).unwrap_or(i64::MAX).max(1);
        account.running = account.running.saturating_sub(1);
        account.pay(cost_ns.saturating_sub(charged_ns));
        let step = (cost_ns - account.estimate_ns) / MEMORY;
        account.estimate_ns = account.estimate_ns.saturating_add(step).max(1);
    }

    /// As many rounds as it takes until somebody who waits has credit. When nobody waits for a slot,
    /// there is nothing to be shared, and nobody who is quiet owes anything.
    fn begin_round(&mut self, only_idle: bool) {
        let owed = self.accounts.iter().filter(|it| it.could_begin(only_idle));
        let rounds = owed.map(Account::rounds_owed).min();
        for account in &mut self.accounts {
            match rounds {
                Some(rounds) => account.pay(-account.quantum().saturating_mul(rounds)),
                None if !account.waits => account.credit_ns = account.quantum(),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
