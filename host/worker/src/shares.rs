//! Work for several tenants: of whose queues how much is taken, and what it cost them.
//!
//! Who is next is decided by [`FairShare`]; here tenants have names and queues, calls have receipts,
//! and what a call used is noted when it is known. A worker that has the default tenant alone never
//! comes here.

mod metered;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lovage_core::fair::{Bid, FairShare, Tariff};
use lovage_core::ports::{Demand, Share};
use lovage_core::{
    Allowance, Delivery, QueueName, QueueSource, Quotas, Receipt, TenantId, Tenants, Usage,
};
use tokio::sync::Notify;

use crate::consumer::BATCH_MAX;
use metered::Spending;

/// Bytes of messages that may be in work; the last one taken may exceed it.
const BYTES_MAX: u64 = 256 << 20;

/// The tenants' standings on one worker.
#[derive(Debug)]
pub(crate) struct Shares {
    state: Mutex<State>,
    /// Told when a call has ended: a plan may come out otherwise.
    pub(crate) changed: Notify,
    /// Told when a tenant that had no calls has some: its quotas are to be asked for.
    pub(crate) spending: Notify,
}

#[derive(Debug)]
struct State {
    fair: FairShare,
    tariff: Tariff,
    numbers: HashMap<TenantId, usize>,
    /// What each tenant has here, by its number.
    places: Vec<Place>,
    sources: Arc<[QueueSource]>,
    tenants: Arc<Tenants>,
    begun: HashMap<Receipt, Begun>,
    bytes: u64,
    /// What tenants used that have calls, since it was told last.
    spending: HashMap<usize, Spending>,
}

/// What a tenant has on this worker.
#[derive(Debug)]
struct Place {
    queues: Arc<[QueueName]>,
    quotas: Quotas,
}

/// A call that has begun, and what is known of its cost.
#[derive(Debug)]
struct Begun {
    tenant: usize,
    charged_ns: i64,
    bytes: u64,
    usage: Usage,
}

/// Whom to ask now, and for how much.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    bids: Vec<Bid>,
    shares: Vec<Share>,
    total: usize,
    bytes: u64,
}

impl Plan {
    /// What to ask the broker; `None` when nobody may be asked.
    pub(crate) fn demand(&self) -> Option<Demand<'_>> {
        let Self { shares, total: most, bytes, .. } = self;
        (*most > 0 && *bytes > 0).then_some(Demand { shares, most: *most, bytes: *bytes })
    }
}

impl Shares {
    /// Nobody's yet, on a worker where so many attempts can compute at once.
    pub(crate) fn new(cores: usize) -> Self {
        let state = State {
            fair: FairShare::new(1),
            tariff: Tariff { cores: count(cores), slots: 1 },
            numbers: HashMap::new(),
            places: Vec::new(),
            sources: Arc::default(),
            tenants: Arc::default(),
            begun: HashMap::new(),
            bytes: 0,
            spending: HashMap::new(),
        };
        Self { state: Mutex::new(state), changed: Notify::new(), spending: Notify::new() }
    }

    /// Takes note of who the tenants are now, and of the queues that are taken from.
    pub(crate) fn meet(&self, tenants: &Arc<Tenants>, sources: Arc<[QueueSource]>) {
        let mut state = self.state();
        if !Arc::ptr_eq(&state.tenants, tenants) || !Arc::ptr_eq(&state.sources, &sources) {
            state.tenants = Arc::clone(tenants);
            state.sources = sources;
            state.arrange();
        }
    }

    /// Plans whom to ask when so many of all slots are free.
    pub(crate) fn plan(&self, free: usize, slots: usize, plan: &mut Plan) {
        let mut state = self.state();
        state.fair.resize(slots);
        state.tariff.slots = count(slots);
        plan.total = state.fair.plan(free, &mut plan.bids).min(BATCH_MAX);
        plan.bytes = BYTES_MAX.saturating_sub(state.bytes);
        plan.shares.clear();
        let share = |bid: &Bid| {
            let place = state.places.get(bid.tenant);
            let queues = place.map(|place| Arc::clone(&place.queues)).unwrap_or_default();
            Share { queues, most: bid.most }
        };
        plan.shares.extend(plan.bids.iter().map(share));
    }

    /// Notes what came of a plan. Whether to rest now: nothing came, and nobody is owed another
    /// round.
    pub(crate) fn took(&self, plan: &Plan, deliveries: &[Delivery], free: usize) -> bool {
        let mut state = self.state();
        let (mut counts, mut is_spending) = (vec![0; plan.bids.len()], false);
        let places: HashMap<usize, usize> =
            plan.bids.iter().enumerate().map(|(place, bid)| (bid.tenant, place)).collect();
        for delivery in deliveries {
            let Some(tenant) = state.number_of(&delivery.queue) else { continue };
            let bytes = delivery.message.size() as u64;
            let charged_ns = state.fair.estimate_ns(tenant);
            match places.get(&tenant).and_then(|place| counts.get_mut(*place)) {
                Some(count) => *count += 1,
                // It was on its way from before.
                None => state.fair.began(tenant, 1),
            }
            let begun = Begun { tenant, charged_ns, bytes, usage: Usage::default() };
            state.begun.insert(delivery.receipt, begun);
            state.bytes += bytes;
            if state.is_metered(tenant) {
                state.spending.entry(tenant).or_default().begun += 1;
                is_spending = true;
            }
        }
        if is_spending {
            self.spending.notify_one();
        }
        state.fair.took(plan.total, &plan.bids, &counts);
        deliveries.is_empty() && !state.fair.is_owed(free)
    }

    /// Notes what an attempt used. A call that is run twice pays for both.
    pub(crate) fn used(&self, receipt: Receipt, usage: &Usage) {
        let mut state = self.state();
        let State { begun, spending, .. } = &mut *state;
        if let Some(begun) = begun.get_mut(&receipt) {
            begun.usage.fuel = begun.usage.fuel.saturating_add(usage.fuel);
            begun.usage.cpu += usage.cpu;
            begun.usage.wall += usage.wall;
            // Who began a call is told of until it has nothing running.
            if let Some(spending) = spending.get_mut(&begun.tenant) {
                spending.fuel = spending.fuel.saturating_add(usage.fuel);
            }
        }
    }

    /// Notes that a call is over, and charges its tenant.
    pub(crate) fn ended(&self, receipt: Receipt) {
        let mut state = self.state();
        if let Some(begun) = state.begun.remove(&receipt) {
            state.bytes = state.bytes.saturating_sub(begun.bytes);
            let cost_ns = state.tariff.cost_ns(&begun.usage);
            state.fair.ended(begun.tenant, begun.charged_ns, cost_ns);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number_of(&self, queue: &QueueName) -> Option<usize> {
        self.numbers.get(&self.tenants.owner(queue).id).copied()
    }

    /// Whether a tenant's use is bounded.
    fn is_metered(&self, tenant: usize) -> bool {
        self.places.get(tenant).is_some_and(|place| !place.quotas.is_running_unlimited())
    }

    /// Gives each tenant what is its own. One that is gone keeps its number, and nothing is asked of
    /// it.
    fn arrange(&mut self) {
        self.enter_all();
        let Self { fair, numbers, places, sources, tenants, .. } = self;
        let mut owned: HashMap<usize, Vec<QueueName>> = HashMap::new();
        for QueueSource { queue, .. } in sources.iter() {
            if let Some(number) = numbers.get(&tenants.owner(queue).id) {
                owned.entry(*number).or_default().push(queue.clone());
            }
        }
        for (number, place) in places.iter_mut().enumerate() {
            let had_any = !place.queues.is_empty();
            place.queues = owned.remove(&number).unwrap_or_default().into();
            if place.queues.is_empty() {
                // Nothing is to be asked for.
                allow(fair, number, Allowance { begin: 0, running: 0 });
            } else if !had_any {
                allow(fair, number, Allowance::unasked(&place.quotas));
            }
        }
    }

    /// Gives every tenant a number, and its weight. Whoever's quotas have changed begins anew.
    fn enter_all(&mut self) {
        let Self { fair, numbers, places, tenants, spending, .. } = self;
        for tenant in tenants.all() {
            let quotas = tenant.quotas;
            let Some(number) = numbers.get(&tenant.id).copied() else {
                numbers.insert(tenant.id.clone(), fair.enter(tenant.weight, 0));
                places.push(Place { queues: Arc::default(), quotas });
                continue;
            };
            fair.change(number, tenant.weight);
            if let Some(place) = places.get_mut(number).filter(|place| place.quotas != quotas) {
                *place = Place { queues: Arc::default(), quotas };
                spending.remove(&number);
            }
        }
    }
}

/// Sets what a tenant may do next.
fn allow(fair: &mut FairShare, number: usize, allowed: Allowance) {
    fair.allow(number, usize::try_from(allowed.begin).unwrap_or(usize::MAX));
    fair.cap(number, usize::try_from(allowed.running).unwrap_or(usize::MAX));
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use lovage_core::{Delivery, Message, QueueSource, Receipt, Tenant, Tenants, Usage};

    use super::{Plan, Shares};

    pub(super) fn tenants(queues: &[(&str, &str)]) -> Arc<Tenants> {
        let tenant = |(id, queues): &(&str, &str)| Tenant {
            queues: vec![queues.parse().unwrap()],
            ..Tenant::new(id.parse().unwrap())
        };
        Arc::new(Tenants::new(queues.iter().map(tenant)).unwrap())
    }

    pub(super) fn sources(queues: &[&str]) -> Arc<[QueueSource]> {
        queues.iter().map(|queue| QueueSource::named((*queue).into())).collect()
    }

    pub(super) fn delivery(queue: &str, receipt: u64) -> Delivery {
        Delivery {
            queue: queue.into(),
            receipt: Receipt(receipt),
            message: Message::Envelope(Bytes::from_static(b"{}")),
            redelivered: false,
            deliveries: 1,
        }
    }

    pub(super) fn asked(shares: &Shares, free: usize) -> (Plan, Vec<String>) {
        let mut plan = Plan::default();
        shares.plan(free, 16, &mut plan);
        let queues = plan.shares.iter().map(|share| format!("{:?}", share.queues)).collect();
        (plan, queues)
    }

    #[test]
    fn each_tenant_is_asked_for_its_own_queues_and_a_new_queue_joins() {
        let (shares, both) = (Shares::new(2), tenants(&[("acme", "acme.*"), ("beta", "beta.*")]));
        shares.meet(&both, sources(&["celery", "acme.one"]));
        let (_, mut queues) = asked(&shares, 16);
        queues.sort();
        assert_eq!(queues, ["[\"acme.one\"]", "[\"celery\"]"]);
        let all = sources(&["celery", "acme.one", "beta.one", "acme.two"]);
        shares.meet(&both, Arc::clone(&all));
        let (_, mut queues) = asked(&shares, 16);
        queues.sort();
        assert_eq!(queues, ["[\"acme.one\", \"acme.two\"]", "[\"beta.one\"]", "[\"celery\"]"]);
        shares.meet(&tenants(&[("beta", "beta.*")]), all);
        let (_, mut queues) = asked(&shares, 16);
        queues.sort();
        assert_eq!(queues, ["[\"beta.one\"]", "[\"celery\", \"acme.one\", \"acme.two\"]"]);
    }

    #[test]
    fn a_worker_with_more_slots_than_a_batch_asks_those_who_run_something_too() {
        let shares = Shares::new(2);
        shares.meet(&tenants(&[("a", "a")]), sources(&["a", "celery"]));
        let mut plan = Plan::default();
        for _ in 0..2 {
            shares.plan(5_000, 8_000, &mut plan);
            assert_eq!((plan.total, plan.shares.len()), (256, 2));
            assert!(!shares.took(&plan, &[delivery("a", 1)], 4_999));
        }
    }

    #[test]
    fn what_ran_is_charged_and_who_computes_long_is_asked_last() {
        let shares = Shares::new(2);
        shares.meet(&tenants(&[("a", "a"), ("b", "b")]), sources(&["a", "b"]));
        let (plan, _) = asked(&shares, 16);
        assert!(!shares.took(&plan, &[delivery("a", 1), delivery("b", 2)], 14));
        shares.used(Receipt(1), &Usage { cpu: Duration::from_secs(1), ..Usage::default() });
        shares.ended(Receipt(1));
        shares.ended(Receipt(2));
        let state = shares.state();
        let estimate = |id: &str| state.fair.estimate_ns(state.numbers[&id.parse().unwrap()]);
        assert!(estimate("a") > 50_000_000 && estimate("b") < 125_000);
        assert_eq!((state.begun.len(), state.bytes), (0, 0));
    }
}
