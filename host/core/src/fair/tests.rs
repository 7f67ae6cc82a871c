//! What a round gives and takes.

use std::time::Duration;

use super::{Bid, DEBT_ROUNDS_MAX, FairShare, QUANTUM_NS, Tariff};
use crate::Usage;

fn plan(fair: &mut FairShare, free: usize) -> (usize, Vec<(usize, usize)>) {
    let mut bids = Vec::new();
    let total = fair.plan(free, &mut bids);
    (total, bids.iter().map(|bid| (bid.tenant, bid.most)).collect())
}

/// Asks, and gives each as much as it has.
fn serve(fair: &mut FairShare, free: usize, queues: &mut [usize]) -> Vec<usize> {
    let mut bids = Vec::new();
    let mut left = fair.plan(free, &mut bids);
    let total = left;
    let mut counts = Vec::new();
    for Bid { tenant, most } in &bids {
        let count = queues[*tenant].min(*most).min(left);
        queues[*tenant] -= count;
        left -= count;
        counts.push(count);
    }
    fair.took(total, &bids, &counts);
    let mut begun = vec![0; queues.len()];
    bids.iter().zip(counts).for_each(|(bid, count)| begun[bid.tenant] += count);
    begun
}

#[test]
fn a_call_costs_the_larger_of_its_shares_of_the_cores_and_of_the_slots() {
    let tariff = Tariff { cores: 2, slots: 100 };
    let cost = |cpu_us, wall_ms, fuel| {
        let (cpu, wall) = (Duration::from_micros(cpu_us), Duration::from_millis(wall_ms));
        tariff.cost_ns(&Usage { fuel, cpu, wall, ..Usage::default() })
    };
    assert_eq!(cost(0, 0, 0), 25_000, "the host's own part");
    assert_eq!(cost(950, 1, 0), 500_000, "it computed");
    assert_eq!(cost(950, 1_000, 0), 10_000_000, "it waited");
    assert_eq!(cost(0, 0, 4_000_000), 525_000, "its fuel says more than its clock");
}

#[test]
fn one_that_is_alone_may_have_everything_but_the_reserve() {
    let mut fair = FairShare::new(16);
    fair.enter(1, usize::MAX);
    fair.enter(1, usize::MAX);
    let mut queues = [100, 0];
    let mut begun = 0;
    for _ in 0..20 {
        begun += serve(&mut fair, 16 - begun, &mut queues)[0];
    }
    assert_eq!((begun, fair.reserve()), (14, 2));
    queues[1] = 5;
    assert_eq!(serve(&mut fair, 2, &mut queues), [0, 1], "the reserve is for who has nothing");
    assert_eq!(serve(&mut fair, 1, &mut queues), [0, 0]);
}

#[test]
fn caps_and_allowances_bound_what_is_asked() {
    let mut fair = FairShare::new(1);
    let tenant = fair.enter(1, 3);
    assert_eq!(plan(&mut fair, 1), (1, vec![(tenant, 1)]));
    fair.allow(tenant, 0);
    assert_eq!(plan(&mut fair, 1), (0, vec![]));
    let mut fair = FairShare::new(80);
    fair.enter(1, 3);
    let mut queues = [100];
    assert_eq!(serve(&mut fair, 80, &mut queues), [3]);
    assert_eq!(plan(&mut fair, 77).0, 0, "it is at its cap");
}

#[test]
fn who_was_empty_is_asked_first_and_not_beyond_its_quantum() {
    let mut fair = FairShare::new(800);
    (0..2).for_each(|_| {
        fair.enter(1, usize::MAX);
    });
    let mut queues = [10_000, 0];
    serve(&mut fair, 800, &mut queues);
    let (_, bids) = plan(&mut fair, 700);
    assert_eq!(bids[0], (1, 8), "a quantum is eight calls of the first estimate");
    queues[1] = 10_000;
    let mut begun = [0, 0];
    for _ in 0..40 {
        let some = serve(&mut fair, 700, &mut queues);
        (begun[0], begun[1]) = (begun[0] + some[0], begun[1] + some[1]);
    }
    assert!(begun[0].abs_diff(begun[1]) <= 16, "{begun:?}");
}

#[test]
fn what_a_call_cost_more_than_expected_is_paid_off_in_rounds() {
    let mut fair = FairShare::new(1);
    let (costly, cheap) = (fair.enter(1, 9), fair.enter(1, 9));
    let mut queues = [100_000, 100_000];
    let mut begun = [0, 0];
    for _ in 0..2_000 {
        let some = serve(&mut fair, 1, &mut queues);
        for tenant in [costly, cheap] {
            begun[tenant] += some[tenant];
            for _ in 0..some[tenant] {
                let charged = fair.estimate_ns(tenant);
                let cost = if tenant == costly { 5 * QUANTUM_NS } else { QUANTUM_NS / 2 };
                fair.ended(tenant, charged, cost.unsigned_abs());
            }
        }
    }
    let tenth = begun[cheap] / 12..=begun[cheap] / 8;
    assert!(tenth.contains(&begun[costly]), "{begun:?}: ten times the cost, a tenth of the calls");
}

#[test]
fn a_debt_is_bounded_and_gone_when_nobody_waits() {
    let mut fair = FairShare::new(2);
    let tenant = fair.enter(1, 9);
    let mut queues = [1];
    serve(&mut fair, 2, &mut queues);
    fair.ended(tenant, 0, u64::MAX);
    let owed = fair.accounts[tenant].credit_ns;
    assert_eq!(owed, -DEBT_ROUNDS_MAX * QUANTUM_NS);
    // It was empty when asked, at the latest now.
    fair.accounts[tenant].waits = false;
    assert_eq!(plan(&mut fair, 2).0, 1);
}
