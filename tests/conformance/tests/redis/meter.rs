//! What tenants use is counted for all workers of one server.

use lovage_core::ports::PortError;
use lovage_core::{Allowance, Quotas, Spent, TenantMeter as _};
use lovage_stores::redis::RedisMeter;

use crate::rig::Rig;

/// Workers of one server.
fn workers(rig: &Rig, count: usize) -> Vec<RedisMeter> {
    let worker = |number: usize| RedisMeter::new(&rig.address(), "", format!("w{number}")).unwrap();
    (0..count).map(worker).collect()
}

fn quotas(running: u32) -> Quotas {
    Quotas { running, rate_per_s: 1_000, fuel_per_minute: 6_000, ..Quotas::default() }
}

/// What a worker may have in work that has so many, and more to begin.
async fn granted(worker: &RedisMeter, most: u32, running: u32) -> Result<u32, PortError> {
    let tenant = "acme".parse().unwrap();
    let quotas = quotas(most);
    let spent = Spent { tenant, quotas, begun: 0, fuel: 0, running, waits: true };
    Ok(worker.spend(&[spent]).await?[0].running)
}

#[tokio::test]
async fn all_workers_together_are_granted_no_more_than_the_quota() -> Result<(), PortError> {
    let rig = Rig::durable();
    for (most, count) in [(32, 2), (32, 5), (7, 3), (3, 3), (2, 2), (1, 1), (100, 40)] {
        let _: () = rig.ask(&[b"FLUSHALL"]).await;
        let all = workers(&rig, count);
        for worker in &all {
            worker.spend(&[]).await?;
        }
        let mut running = vec![0; count];
        for round in 0..6 * count {
            let (number, is_last) = (round % count, round / count == 5);
            // Whoever may have more begins it at once; whoever has too many ends them.
            running[number] = granted(&all[number], most, running[number]).await?;
            let sum: u32 = running.iter().sum();
            assert!(sum <= most, "{running:?} of {most}");
            assert!(!is_last || running[number] >= most / u32::try_from(count).unwrap());
        }
    }
    Ok(())
}

#[tokio::test]
async fn where_there_are_more_workers_than_the_quota_has_calls_each_has_its_turn()
-> Result<(), PortError> {
    let rig = Rig::durable();
    let all = workers(&rig, 3);
    let (mut turns, mut running) = ([0; 3], [0; 3]);
    for round in 0..60 {
        let number = round % 3;
        running[number] = granted(&all[number], 1, running[number]).await?;
        turns[number] += running[number];
        assert!(running.iter().sum::<u32>() <= 1, "{running:?}");
    }
    assert!(turns.iter().all(|turns| *turns > 1), "{turns:?}");
    Ok(())
}

#[tokio::test]
async fn calls_and_fuel_of_one_worker_are_anothers_debt() -> Result<(), PortError> {
    let rig = Rig::durable();
    let all = workers(&rig, 2);
    let spend = async |number: usize, begun, fuel| {
        let tenant = "acme".parse().unwrap();
        let spent = Spent { tenant, quotas: quotas(9), begun, fuel, running: 1, waits: false };
        let Allowance { begin, .. } = all[number].spend(&[spent]).await?[0];
        Ok::<_, PortError>(begin)
    };
    assert_eq!(spend(0, 400, 0).await?, 600);
    assert!((200..=220).contains(&spend(1, 400, 0).await?), "and what came back meanwhile");
    assert_eq!(spend(0, 2_000, 0).await?, 0, "more than there was");
    assert_eq!(spend(1, 0, 0).await?, 0, "is owed by everybody");
    // A minute's fuel is used up, whatever is left of the calls.
    let other = Quotas { rate_per_s: u32::MAX, ..quotas(9) };
    let other = |fuel| Spent {
        tenant: "beta".parse().unwrap(),
        quotas: other,
        begun: 0,
        fuel,
        running: 1,
        waits: false,
    };
    assert!(all[0].spend(&[other(5_000)]).await?[0].begin > 0);
    assert_eq!(all[1].spend(&[other(5_000)]).await?[0].begin, 0);
    Ok(())
}
