//! Fair share among a thousand tenants, on a clock that is not the world's.
//!
//! A worker of some slots asks queues that never fail and runs calls whose length is known. Whatever
//! is decided is decided by [`FairShare`]; what is checked is what its page promises: whoever waits is
//! served before the rounds are over that it owes, and a round is as long as all others' quanta.

#![expect(clippy::indexing_slicing, reason = "tests fail loudly")]
#![expect(clippy::cast_precision_loss, reason = "shares and ratios are compared roughly")]
#![expect(clippy::expect_used, reason = "tests fail loudly")]

mod world;

use lovage_core::fair::{DEBT_ROUNDS_MAX, QUANTUM_NS};
use world::{Tenant, World};

const MS: u64 = 1_000_000;
const TENANTS: usize = 1_000;
const SLOTS: usize = 64;

/// How long the tenant may wait for its next start at most, while its queue is not empty and its cap
/// not reached: nanoseconds.
///
/// It owes at most what its running calls cost more than they were charged, which is so many rounds.
/// In so many rounds every other tenant is charged its quanta and, once, what its own running calls
/// cost more. All of that is worked off by the slots outside of the reserve; the last call of all may
/// have begun just before.
fn bound_ns(world: &World, tenant: usize, longest_ns: u64) -> u64 {
    let over = |it: &Tenant| (it.running_max as u64 * longest_ns / SLOTS as u64).cast_signed();
    let tenants = world.tenants();
    let mine = &tenants[tenant];
    let quantum = |it: &Tenant| QUANTUM_NS * i64::from(it.weight);
    let rounds = (over(mine) / quantum(mine) + 2).min(DEBT_ROUNDS_MAX + 1);
    let charged: i64 = tenants.iter().map(|it| rounds * quantum(it) + over(it)).sum();
    let slots = SLOTS as u64;
    charged.cast_unsigned() * slots / (slots - world.reserve() as u64) + longest_ns
}

fn check_bounds(world: &World, longest_ns: u64) -> (f64, f64) {
    let mut closest: (f64, f64) = (0.0, 0.0);
    for tenant in 0..world.tenants().len() {
        let (bound, waited) = (bound_ns(world, tenant, longest_ns), world.longest_wait_ns(tenant));
        assert!(waited <= bound, "tenant {tenant} waited {waited} ns of at most {bound}");
        let share = waited as f64 / bound as f64;
        if share > closest.0 {
            closest = (share, waited as f64 / 1e9);
        }
    }
    closest
}

#[test]
fn beside_one_that_floods_nine_hundred_and_ninety_nine_quiet_tenants_hardly_wait() {
    let mut world = World::new(SLOTS, 1);
    let flooding = world.enter(1, usize::MAX);
    world.send_at_once(flooding, 100_000, 100 * MS..=100 * MS);
    for _ in 1..TENANTS {
        let quiet = world.enter(1, 32);
        world.send_now_and_then(quiet, 5, 1_000 * MS, MS / 2..=MS);
    }
    world.run_until(15_000 * MS);
    let mut waits: Vec<u64> = (1..TENANTS).flat_map(|it| world.waits_ns(it).to_vec()).collect();
    waits.sort_unstable();
    let (p99, worst) = (waits[waits.len() * 99 / 100], *waits.last().unwrap());
    println!("{} quiet calls: p99 {p99} ns, worst {worst} ns", waits.len());
    assert_eq!(waits.len(), 5 * (TENANTS - 1));
    // The reserve takes eight at once, each for a millisecond; a slot of the flood's is free every
    // 1.8 ms besides.
    assert!(p99 <= 2 * MS && worst <= 20 * MS);
    assert!(world.begun(flooding) > 3_000, "and the flood goes on: {}", world.begun(flooding));
}

#[test]
fn a_thousand_tenants_that_all_flood_are_served_in_bounded_time_and_by_weight() {
    for seed in 0..2 {
        let mut world = World::new(SLOTS, seed);
        for number in 0..TENANTS {
            let tenant = world.enter([1, 2, 3, 4][number % 4], 8);
            world.send_at_once(tenant, 2_000, MS / 2..=20 * MS);
        }
        world.run_until(20_000 * MS);
        let (share, seconds) = check_bounds(&world, 20 * MS);
        println!(
            "seed {seed}: the longest wait was {seconds:.2} s, {:.0} % of its bound",
            share * 100.0
        );
        let used = |weight: usize| -> f64 {
            let of_weight = (0..TENANTS).filter(|it| 1 + it % 4 == weight);
            of_weight.map(|it| world.used_ns(it) as f64).sum()
        };
        for weight in 2..=4 {
            let ratio = used(weight) / used(1) / weight as f64;
            assert!((0.9..1.1).contains(&ratio), "weight {weight} had {ratio} of what it is due");
        }
    }
}

#[test]
fn who_changes_its_mind_about_what_its_calls_cost_starves_nobody() {
    for seed in 0..2 {
        let mut world = World::new(SLOTS, seed);
        for number in 0..TENANTS {
            let tenant = world.enter(1, 8);
            match number % 4 {
                // Cheap ones, so that its estimate is low, and then some that are not.
                0 => {
                    for _ in 0..10 {
                        world.send_at_once(tenant, 100, MS / 10..=MS / 10);
                        world.send_at_once(tenant, 8, 200 * MS..=200 * MS);
                    }
                }
                1 => world.send_now_and_then(tenant, 20, 300 * MS, MS / 10..=200 * MS),
                2 => world.send_at_once(tenant, 5_000, MS..=MS),
                _ => world.send_now_and_then(tenant, 60, 100 * MS, MS / 10..=MS),
            }
        }
        world.run_until(3_000 * MS);
        let (share, seconds) = check_bounds(&world, 200 * MS);
        println!(
            "seed {seed}: the longest wait was {seconds:.2} s, {:.0} % of its bound",
            share * 100.0
        );
    }
}

#[test]
fn no_slot_is_left_empty_while_somebody_may_use_it() {
    let mut world = World::new(SLOTS, 7);
    for number in 0..10 {
        let tenant = world.enter(1 + number, usize::MAX);
        world.send_at_once(tenant, 5_000, MS..=50 * MS);
    }
    world.run_until(10_000 * MS);
    let busy = world.busy_ns() as f64 / (10_000 * MS) as f64;
    assert!(busy >= (SLOTS - world.reserve()) as f64 * 0.999, "{busy} slots were busy");
}
