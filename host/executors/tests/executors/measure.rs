//! What an attempt costs the worker, with an executor that answers at once.

use std::pin::Pin;
use std::time::{Duration, Instant};

use lovage_core::ports::Sandbox;
use rustix::time::{ClockId, clock_gettime};

use crate::stage::{job, number, options, start};

/// Prints processor time of this process, and wall-clock time, for each attempt.
pub(crate) fn measure() -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async {
        let processes = 1;
        let executors = start(options("plain", processes)).await;
        let job = job("echo");
        let attempts: u32 = 200_000;
        for in_flight in [1, 8, 64, 512] {
            let (cpu, since) = (cpu(), Instant::now());
            let run = async || {
                for _ in 0..attempts / in_flight {
                    executors.run(number(), &job).await;
                }
            };
            let runs: Vec<_> = (0..in_flight).map(|_| Box::pin(run())).collect();
            join_all(runs).await;
            let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(attempts);
            println!(
                "{in_flight:4} in flight: {:6.2} µs of this process, {:6.2} µs in all",
                each(self::cpu().saturating_sub(cpu)),
                each(since.elapsed())
            );
        }
        executors.stop().await;
    })
}

/// Polls all; the worker's own way of running many at once is a task each, which costs it more.
async fn join_all(mut runs: Vec<Pin<Box<impl Future<Output = ()>>>>) {
    std::future::poll_fn(|context| {
        runs.retain_mut(|run| run.as_mut().poll(context).is_pending());
        if runs.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}
