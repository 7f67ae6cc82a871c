//! A seat: one executor process after another, for as long as the worker runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lovage_core::JobNumber;
use tokio::time::{sleep, timeout};

use crate::accounting::Cause;
use crate::jobs::{Live, Wakes};
use crate::link;
use crate::pool::Shared;
use crate::process::{self, Process};

/// The longest wait before a process is started anew.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// The wait after the second failure in a row; it doubles with each one more.
const DELAY_BASE: Duration = Duration::from_millis(50);
/// How long the other sign of a process's end is waited for when one is there.
const SECOND_SIGN_TIME: Duration = Duration::from_millis(100);
/// How often attempts are looked through for one that is overdue, at most.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// Keeps a seat occupied until the worker stops. `first` is a process that is ready already.
pub(crate) async fn occupy(shared: Arc<Shared>, seat: usize, mut first: Option<Process>) {
    let mut failures = 0;
    loop {
        let launch = async {
            match first.take() {
                Some(process) => Ok(process),
                None => Process::launch(&shared.options).await,
            }
        };
        let launched = tokio::select! {
            launched = launch => launched,
            () = shared.stopped() => return,
        };
        match launched {
            Ok(process) => {
                let finished = shared.pool().finished(seat);
                let Some(cause) = serve(&shared, seat, process).await else { return };
                shared.lose(seat, cause);
                let useful = shared.pool().finished(seat) > finished;
                failures = if useful { 0 } else { failures + 1 };
            }
            Err(error) => {
                failures += 1;
                shared.pool().count_failed_start(seat);
                let error = &error as &dyn std::error::Error;
                tracing::error!(executor.number = seat, error, "Could not start an executor");
            }
        }
        tokio::select! {
            () = sleep(delay(failures)) => {}
            () = shared.stopped() => return,
        }
    }
}

/// How long to wait after this many processes in a row that ended before they were of any use: not
/// at all the first time, so that an executor that a guest felled is replaced at once.
fn delay(failures: u32) -> Duration {
    match failures.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => DELAY_BASE.saturating_mul(1 << doublings.min(16)).min(DELAY_MAX),
    }
}

/// Drives one process to its end; says what it was lost to, or nothing if it was asked to end.
async fn serve(shared: &Arc<Shared>, seat: usize, process: Process) -> Option<Cause> {
    let Process { id, socket, mut child, said: _said } = process;
    let wakes = Arc::new(Wakes::default());
    let (reader, writer) = socket.into_split();
    shared.seat(seat, Live::new(id, Arc::clone(&wakes)));
    tracing::debug!(executor.number = seat, executor.process = id, "An executor is ready");
    let cause = {
        let read = link::read(shared, seat, reader);
        tokio::pin!(read);
        tokio::select! {
            cause = &mut read => Some(cause),
            cause = link::write(shared, seat, &wakes, writer) => Some(cause),
            status = child.wait() => {
                // What it said before it ended still counts.
                let said = timeout(SECOND_SIGN_TIME, read).await;
                Some(match said {
                    Ok(broken @ Cause::BrokeRules(_)) => broken,
                    _ => Cause::Ended(process::describe(status.ok().as_ref())),
                })
            }
            job = overdue(shared, seat) => Some(Cause::Hung(job)),
            () = shared.stopped() => None,
        }
    };
    // Here our end of the socket is closed, which is how an executor is asked to end.
    match cause {
        None => {
            shared.dismiss(seat);
            process::end(&mut child, shared.options.stop_time).await;
            None
        }
        Some(Cause::Closed(why)) => {
            let waited = timeout(SECOND_SIGN_TIME, child.wait()).await;
            if let Ok(Ok(status)) = waited {
                return Some(Cause::Ended(process::describe(Some(&status))));
            }
            process::end(&mut child, Duration::ZERO).await;
            Some(Cause::Closed(why))
        }
        Some(cause) => {
            process::end(&mut child, Duration::ZERO).await;
            Some(cause)
        }
    }
}

/// The first attempt that its executor says nothing about long after its time.
async fn overdue(shared: &Shared, seat: usize) -> JobNumber {
    let look = (shared.options.grace / 5).clamp(Duration::from_millis(10), LOOK_TIME);
    loop {
        let before = Instant::now();
        sleep(look).await;
        // Whoever was asleep cannot say that another was: the answer may lie unread in the socket.
        if before.elapsed() > look * 2 {
            continue;
        }
        let overdue = shared.pool().live(seat).and_then(|live| live.overdue(Instant::now()));
        if let Some(job) = overdue {
            return job;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{DELAY_MAX, delay};

    #[test]
    fn the_first_loss_costs_no_wait_and_a_row_of_them_a_bounded_one() {
        assert_eq!([delay(0), delay(1)], [Duration::ZERO; 2]);
        assert_eq!(delay(2), Duration::from_millis(50));
        assert_eq!(delay(5), Duration::from_millis(400));
        assert_eq!(delay(u32::MAX), DELAY_MAX);
    }
}
