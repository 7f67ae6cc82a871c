//! Guests that compute do not keep others from their turn.

use std::time::{Duration, Instant};

use lovage_core::{Limits, Outcome};

use crate::testing::Executor;

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[test]
fn a_short_job_waits_for_a_slice_and_not_for_the_spinners() {
    for spinners in [2, 8] {
        let mut executor = Executor::with(16, &["hostile-tasks.wasm", "bench.wasm"]);
        let endless = Limits { fuel: u64::MAX, ..Limits::default() };
        for _ in 0..spinners {
            executor.begin(0, "hostile.spin", "[]", endless);
        }
        let mut times: Vec<_> = (0..300)
            .map(|_| {
                let begun = Instant::now();
                let report = executor.run(1, "bench.add", "[2, 3]", Limits::default());
                assert!(matches!(report.outcome, Outcome::Succeed(_)));
                begun.elapsed()
            })
            .collect();
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        println!("bench.add beside {spinners} spinners: p50 {p50:?}, p99 {p99:?}");
        assert!(p99 < Duration::from_millis(20), "{p99:?}");
        executor.end().unwrap();
    }
}

#[test]
fn spinners_get_on_beside_a_stream_of_short_jobs() {
    let mut executor = Executor::with(600, &["hostile-tasks.wasm", "bench.wasm"]);
    let limits = Limits { fuel: 2_000_000_000, ..Limits::default() };
    let spinner = executor.begin(0, "hostile.spin", "[]", limits);
    let mut batch = Vec::new();
    let begun = Instant::now();
    let mut ended = false;
    while !ended && begun.elapsed() < Duration::from_secs(10) {
        batch.clear();
        let jobs: Vec<_> = (0..500)
            .map(|_| executor.prepare(&mut batch, 1, ("bench.add", "[2, 3]"), Limits::default()))
            .collect();
        executor.say_bytes(&batch);
        for job in jobs {
            executor.wait(job);
        }
        ended = executor.has_ended(spinner);
    }
    assert!(ended, "the spinner was starved");
}
