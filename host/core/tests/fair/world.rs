//! A worker, its tenants' queues and its clock, all made up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::RangeInclusive;

use lovage_core::fair::{Bid, FairShare};

/// A tenant and what happened to its calls.
#[derive(Default)]
pub(crate) struct Tenant {
    pub(crate) weight: u32,
    pub(crate) running_max: usize,
    /// When each call came, and how long it takes.
    queue: VecDeque<(u64, u64)>,
    waits_ns: Vec<u64>,
    /// Since when its first call could have begun: it was there, and there was room below the cap.
    ready_since: Option<u64>,
    longest_wait_ns: u64,
    used_ns: u64,
}

/// What happens next: when, in which order, and to whom.
type Event = Reverse<(u64, u64, What)>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Comes { tenant: usize, takes_ns: u64 },
    Ends { tenant: usize, takes_ns: u64, charged_ns: i64 },
}

pub(crate) struct World {
    fair: FairShare,
    slots: usize,
    running: usize,
    now: u64,
    number: u64,
    events: BinaryHeap<Event>,
    tenants: Vec<Tenant>,
    chance: fastrand::Rng,
    busy_ns: u64,
}

impl World {
    pub(crate) fn new(slots: usize, seed: u64) -> Self {
        Self {
            fair: FairShare::new(slots),
            slots,
            running: 0,
            now: 0,
            number: 0,
            events: BinaryHeap::new(),
            tenants: Vec::new(),
            chance: fastrand::Rng::with_seed(seed),
            busy_ns: 0,
        }
    }

    pub(crate) fn enter(&mut self, weight: u32, running_max: usize) -> usize {
        // What a bound is computed from has to be a number.
        let finite = running_max.min(self.slots);
        self.tenants.push(Tenant { weight, running_max: finite, ..Tenant::default() });
        self.fair.enter(weight, running_max)
    }

    pub(crate) fn send_at_once(&mut self, tenant: usize, calls: u64, takes: RangeInclusive<u64>) {
        for _ in 0..calls {
            let takes_ns = self.chance.u64(takes.clone());
            self.tenants[tenant].queue.push_back((0, takes_ns));
        }
        self.note_ready(tenant);
    }

    /// Calls at random moments, so far apart on average.
    pub(crate) fn send_now_and_then(
        &mut self,
        tenant: usize,
        calls: u64,
        apart_ns: u64,
        takes: RangeInclusive<u64>,
    ) {
        let mut at = 0;
        for _ in 0..calls {
            at += self.chance.u64(0..=2 * apart_ns);
            let takes_ns = self.chance.u64(takes.clone());
            self.happens(at, What::Comes { tenant, takes_ns });
        }
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        self.fill_slots();
        while let Some(Reverse((at, _, what))) = self.events.pop() {
            if at > end {
                break;
            }
            self.busy_ns += self.running as u64 * (at - self.now);
            self.now = at;
            match what {
                What::Comes { tenant, takes_ns } => {
                    self.tenants[tenant].queue.push_back((at, takes_ns));
                    self.note_ready(tenant);
                }
                What::Ends { tenant, takes_ns, charged_ns } => {
                    self.running -= 1;
                    let cost = takes_ns / self.slots as u64;
                    self.tenants[tenant].used_ns += cost;
                    self.fair.ended(tenant, charged_ns, cost);
                    self.note_ready(tenant);
                }
            }
            self.fill_slots();
        }
        for tenant in 0..self.tenants.len() {
            self.note_wait(tenant);
        }
    }

    /// What a worker does whenever something has happened.
    fn fill_slots(&mut self) {
        let mut bids = Vec::new();
        loop {
            let total = self.fair.plan(self.slots - self.running, &mut bids);
            let charges: Vec<_> =
                bids.iter().map(|bid| self.fair.estimate_ns(bid.tenant)).collect();
            let mut left = total;
            let mut counts = Vec::new();
            for (Bid { tenant, most }, charged_ns) in bids.iter().zip(charges) {
                let count = (*most).min(left).min(self.tenants[*tenant].queue.len());
                (0..count).for_each(|_| self.begin(*tenant, charged_ns));
                left -= count;
                counts.push(count);
            }
            self.fair.took(total, &bids, &counts);
            for (bid, count) in bids.iter().zip(&counts) {
                if *count > 0 {
                    self.note_ready(bid.tenant);
                }
            }
            if left == total && !self.fair.is_owed(self.slots - self.running) {
                return;
            }
        }
    }

    fn begin(&mut self, tenant: usize, charged_ns: i64) {
        self.note_wait(tenant);
        let it = &mut self.tenants[tenant];
        let (came, takes_ns) = it.queue.pop_front().expect("a call that is ready");
        it.waits_ns.push(self.now - came);
        self.running += 1;
        self.happens(self.now + takes_ns, What::Ends { tenant, takes_ns, charged_ns });
    }

    fn note_wait(&mut self, tenant: usize) {
        let now = self.now;
        let it = &mut self.tenants[tenant];
        if let Some(since) = it.ready_since.take() {
            it.longest_wait_ns = it.longest_wait_ns.max(now - since);
        }
    }

    fn note_ready(&mut self, tenant: usize) {
        let (now, running) = (self.now, self.fair.running(tenant));
        let it = &mut self.tenants[tenant];
        if !it.queue.is_empty() && running < it.running_max {
            it.ready_since.get_or_insert(now);
        } else {
            it.ready_since = None;
        }
    }

    fn happens(&mut self, at: u64, what: What) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, what)));
    }

    pub(crate) fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    pub(crate) fn reserve(&self) -> usize {
        self.fair.reserve()
    }

    pub(crate) fn longest_wait_ns(&self, tenant: usize) -> u64 {
        self.tenants[tenant].longest_wait_ns
    }

    pub(crate) fn waits_ns(&self, tenant: usize) -> &[u64] {
        &self.tenants[tenant].waits_ns
    }

    pub(crate) fn begun(&self, tenant: usize) -> usize {
        self.tenants[tenant].waits_ns.len()
    }

    pub(crate) fn used_ns(&self, tenant: usize) -> u64 {
        self.tenants[tenant].used_ns
    }

    pub(crate) fn busy_ns(&self) -> u64 {
        self.busy_ns
    }
}
