//! What tenants used since it was told last, and what they may do next.

use lovage_core::{Allowance, Spent};

use super::{Shares, State, allow, count};

/// What a tenant's calls used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spending {
    pub(super) begun: u64,
    pub(super) fuel: u64,
}

impl Shares {
    /// Whether there is a tenant here whose use is bounded.
    pub(crate) fn is_metered(&self) -> bool {
        self.state().places.iter().any(|place| !place.quotas.is_running_unlimited())
    }

    /// Takes what the tenants that have quotas and calls have used since the last time, each with
    /// its number.
    pub(crate) fn spent(&self) -> Vec<(usize, Spent)> {
        let mut state = self.state();
        let State { fair, numbers, tenants, spending, .. } = &mut *state;
        let mut spent = Vec::new();
        for tenant in tenants.all() {
            let Some(number) = numbers.get(&tenant.id).copied() else { continue };
            let Some(used) = spending.get_mut(&number) else { continue };
            let Spending { begun, fuel } = std::mem::take(used);
            let (running, waits) = (count(fair.running(number)), fair.waits(number));
            let (tenant, quotas) = (tenant.id.clone(), tenant.quotas);
            spent.push((number, Spent { tenant, quotas, begun, fuel, running, waits }));
        }
        spent
    }

    /// Heeds what tenants may do next. Who has nothing running or waiting, and all that a second gives
    /// it, is not told of until it has calls again.
    pub(crate) fn allow(&self, numbers: &[usize], spent: &[Spent], allowances: &[Allowance]) {
        let mut state = self.state();
        let State { fair, spending, places, .. } = &mut *state;
        for ((number, spent), allowed) in numbers.iter().zip(spent).zip(allowances) {
            // Its quotas may have changed meanwhile: then this is not heeded. Nor may who has no queues
            // here begin anything.
            let Some(used) = spending.get(number).copied() else { continue };
            let begin = allowed.begin.saturating_sub(used.begun);
            if places.get(*number).is_some_and(|place| !place.queues.is_empty()) {
                allow(fair, *number, Allowance { begin, ..*allowed });
            }
            let was_quiet = spent.begun == 0 && spent.running == 0 && !spent.waits;
            let is_quiet = used.begun == 0 && used.fuel == 0 && was_quiet;
            if is_quiet && allowed.begin >= u64::from(spent.quotas.rate_per_s) {
                spending.remove(number);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Takes back what could not be told: it is told the next time.
    pub(crate) fn unspent(&self, numbers: &[usize], spent: &[Spent]) {
        let mut state = self.state();
        for (number, spent) in numbers.iter().zip(spent) {
            if let Some(used) = state.spending.get_mut(number) {
                used.begun += spent.begun;
                used.fuel = used.fuel.saturating_add(spent.fuel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Allowance, Quotas, Receipt, Spent, Tenant, Tenants, Usage};

    use super::super::tests::{asked, delivery, sources, tenants};
    use super::Shares;

    fn told(spent: &[Spent]) -> Vec<(String, u64, u64, u32)> {
        spent.iter().map(|it| (it.tenant.to_string(), it.begun, it.fuel, it.running)).collect()
    }

    #[test]
    fn what_tenants_use_is_told_once_and_what_they_may_is_heeded() {
        let shares = Shares::new(2);
        shares.meet(&tenants(&[("a", "a"), ("b", "b")]), sources(&["a", "b"]));
        assert!(shares.spent().is_empty(), "nobody has calls");
        let (plan, _) = asked(&shares, 16);
        shares.took(&plan, &[delivery("a", 1), delivery("a", 2)], 14);
        shares.used(Receipt(1), &Usage { fuel: 7, ..Usage::default() });
        let (numbers, spent): (Vec<_>, Vec<_>) = shares.spent().into_iter().unzip();
        assert_eq!(told(&spent), [("a".to_owned(), 2, 7, 2)]);
        shares.unspent(&numbers, &spent);
        let (numbers, spent): (Vec<_>, Vec<_>) = shares.spent().into_iter().unzip();
        assert_eq!(told(&spent), [("a".to_owned(), 2, 7, 2)], "it was not heard");
        shares.allow(&numbers, &spent, &[Allowance { begin: 0, running: 9 }]);
        assert_eq!(asked(&shares, 16).1, ["[\"b\"]"], "a may begin nothing now");
        shares.ended(Receipt(1));
        shares.ended(Receipt(2));
        let (numbers, spent): (Vec<_>, Vec<_>) = shares.spent().into_iter().unzip();
        assert_eq!(told(&spent), [("a".to_owned(), 0, 0, 0)]);
        shares.allow(&numbers, &spent, &[Allowance { begin: 1_000, running: 9 }]);
        assert_eq!(asked(&shares, 16).1.len(), 2);
        assert!(shares.spent().is_empty(), "it is quiet, and owes nothing");
    }

    #[test]
    fn before_it_has_asked_a_worker_begins_no_more_than_a_quota_and_joining_a_queue_gives_no_more()
    {
        let shares = Shares::new(2);
        let quotas = Quotas { rate_per_s: 3, running: 40, ..Quotas::default() };
        let few = Tenant { quotas, ..Tenant::new("few".parse().unwrap()) };
        let few = Tenant { queues: vec!["few.*".parse().unwrap()], ..few };
        let tenants = std::sync::Arc::new(Tenants::new([few]).unwrap());
        shares.meet(&tenants, sources(&["few.a"]));
        let (plan, _) = asked(&shares, 16);
        assert_eq!(plan.bids[0].most, 3, "three a second");
        shares.took(&plan, &[delivery("few.a", 1), delivery("few.a", 2)], 14);
        shares.meet(&tenants, sources(&["few.a", "few.b"]));
        let (plan, _) = asked(&shares, 16);
        assert_eq!(plan.bids[0].most, 1, "two of three have begun");
        assert_eq!(Allowance::unasked(&quotas).running, 5);
        assert_eq!(Allowance::unasked(&Quotas { running: 1, ..quotas }).running, 1);
        assert_eq!(Allowance::unasked(&Quotas { running: 0, ..quotas }).running, 0);
    }
}
