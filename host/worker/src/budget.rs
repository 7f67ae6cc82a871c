//! How many retries a task may have beside its calls.
//!
//! A task that always fails would be run once for each call and once more for each retry: the load
//! that broke what it needs, several times over. So every first attempt earns its task a fifth of a
//! retry, and every second one more; a retry costs one. What a task cannot pay it is not denied: the
//! retry is due when the seconds have paid for it, and is the same retry then, not a further one.
//!
//! After any time `t` seconds, a task's executions are at most `calls × (1 + ratio) + floor × (t +
//! 10)`: ten seconds' worth is there from the start, so that a few retries need not wait.
//! Each worker keeps its own accounts, in memory, one for each task of each tenant.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lovage_core::{Budget, Settlement, TaskName, TenantId, Timestamp, Verdict};

/// What was earned and not spent is worth nothing after this long, to twice as long, seconds.
const WINDOW_S: f64 = 60.0;

/// Seconds whose floor is there from the start, and may be saved up.
const RESERVE_S: f64 = 10.0;

/// The accounts of all tasks that this worker ran.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    accounts: Mutex<HashMap<(TenantId, TaskName), Account>>,
}

impl Budgets {
    /// Enters a verdict into its task's account. A retry that it cannot pay is moved to when it can.
    pub(crate) fn enter(&self, tenant: &TenantId, budget: Budget, verdict: &mut Verdict) {
        let settlement = &mut verdict.settlement;
        if matches!(settlement, Settlement::Release(_) | Settlement::Forget) {
            return;
        }
        let is_first = verdict.invocation.retries == 0;
        if !is_first && !matches!(settlement, Settlement::Retry { .. }) {
            return;
        }
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts
            .entry((tenant.clone(), verdict.invocation.task.clone()))
            .or_insert_with(|| Account::new(budget, verdict.at));
        account.pass(budget, verdict.at);
        if is_first {
            account.earn(budget);
        }
        if let Settlement::Retry { at, .. } = settlement {
            *at = (*at).max(verdict.at.after(account.spend(budget)));
        }
    }
}

/// One task's.
#[derive(Debug)]
struct Account {
    /// Retries that may be had; below zero when seconds to come have been spent.
    balance: f64,
    /// Calls in this window, and in the one before.
    calls: [f64; 2],
    window_began: Timestamp,
    seen: Timestamp,
}

impl Account {
    fn new(budget: Budget, now: Timestamp) -> Self {
        let balance = budget.floor_per_s * RESERVE_S;
        Self { balance, calls: [0.0; 2], window_began: now, seen: now }
    }

    /// Lets the time pass until now. A clock that goes back stands still.
    fn pass(&mut self, budget: Budget, now: Timestamp) {
        let [current, _] = self.calls;
        let window_s = now.until(self.window_began).as_secs_f64();
        if window_s >= WINDOW_S {
            let before = if window_s < 2.0 * WINDOW_S { current } else { 0.0 };
            (self.calls, self.window_began) = ([0.0, before], now);
        }
        self.balance += now.until(self.seen).as_secs_f64() * budget.floor_per_s;
        self.seen = self.seen.max(now);
        let most = budget.floor_per_s * RESERVE_S + self.calls.iter().sum::<f64>() * budget.ratio;
        self.balance = self.balance.min(most);
    }

    fn earn(&mut self, budget: Budget) {
        let [current, _] = &mut self.calls;
        *current += 1.0;
        self.balance += budget.ratio;
    }

    /// Takes one retry, and says how long it has to wait.
    fn spend(&mut self, budget: Budget) -> Duration {
        self.balance -= 1.0;
        let owed_s = -self.balance / budget.floor_per_s;
        // What is nearly nothing is nothing: fifths do not add up to ones.
        Duration::try_from_secs_f64(if owed_s > 1e-6 { owed_s } else { 0.0 }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;
    use std::time::Duration;

    use lovage_core::{Budget, Settlement, TenantId, Timestamp};

    use super::{Budgets, RESERVE_S};
    use crate::samples;

    const RETRIES: u32 = 3;

    /// Runs calls that always fail, and checks at every execution that there are not too many.
    /// Returns how many there were, and when the last one was.
    fn everything_fails(arrivals: &[Timestamp], budget: Budget, delay: Duration) -> (u64, f64) {
        let budgets = Budgets::default();
        let mut due: BinaryHeap<_> = arrivals.iter().map(|at| Reverse((*at, 0))).collect();
        let begin = arrivals[0];
        let (mut calls, mut executions, mut seconds) = (0_u32, 0_u32, 0.0);
        while let Some(Reverse((now, retries))) = due.pop() {
            executions += 1;
            calls += u32::from(retries == 0);
            seconds = now.until(begin).as_secs_f64();
            let most = f64::from(calls) * (1.0 + budget.ratio)
                + budget.floor_per_s * (seconds + RESERVE_S)
                + 1e-3;
            assert!(f64::from(executions) <= most, "{executions} > {most} after {seconds} s");
            let mut verdict = samples::retried(retries, now, now.after(delay));
            budgets.enter(&TenantId::default(), budget, &mut verdict);
            let Settlement::Retry { at, .. } = verdict.settlement else { panic!("a retry") };
            assert!(at >= now.after(delay), "never earlier than the policy has it");
            assert_eq!(verdict.invocation.retries, retries, "to be deferred is no attempt");
            if retries < RETRIES {
                due.push(Reverse((at, retries + 1)));
            }
        }
        (u64::from(executions), seconds)
    }

    #[test]
    fn with_everything_failing_ten_thousand_calls_stay_in_budget_and_none_is_dropped() {
        let mut chance = fastrand::Rng::with_seed(26);
        for (spread_s, delay_s) in [(0, 0), (0, 180), (60, 1), (3_600, 30)] {
            let mut arrivals: Vec<_> = (0..10_000)
                .map(|_| Timestamp::from_micros(chance.i64(0..=spread_s * 1_000_000)))
                .collect();
            arrivals.sort();
            let delay = Duration::from_secs(delay_s);
            let (executions, _) = everything_fails(&arrivals, Budget::default(), delay);
            assert_eq!(executions, 40_000, "every retry has its turn");
        }
    }

    #[test]
    fn the_bound_is_not_kept_by_waiting_for_ever() {
        let arrivals = vec![Timestamp::from_micros(0); 1_000];
        let (_, seconds) = everything_fails(&arrivals, Budget::default(), Duration::ZERO);
        // 3,000 retries and the 1,000 verdicts that this test takes for retries at the end, less
        // the 200 that were earned and the 10 that were there.
        assert!(seconds <= 4_000.0 - 210.0, "{seconds}");
    }

    #[test]
    fn a_few_retries_do_not_wait_and_a_budget_may_be_wider() {
        let now = Timestamp::from_micros(7_000_000);
        let deferred = |budget, count: u32| {
            let budgets = Budgets::default();
            let enter = |retries| {
                let mut verdict = samples::retried(retries, now, now);
                budgets.enter(&TenantId::default(), budget, &mut verdict);
                verdict.settlement != samples::retried(retries, now, now).settlement
            };
            (0..count).filter(|retries| enter(*retries)).count()
        };
        assert_eq!(deferred(Budget::default(), 10), 0);
        assert_eq!(deferred(Budget::default(), 15), 5);
        assert_eq!(deferred(Budget { ratio: 100.0, ..Budget::default() }, 100), 0);
    }
}
