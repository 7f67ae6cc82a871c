//! What one attempt may use. Every bound is finite.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::TimeLimit;

/// The bounds of one attempt. Whoever sets none gets the defaults, which are finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Units of fuel: about one per WebAssembly instruction, one per byte of a bulk operation.
    pub fuel: u64,
    /// Bytes over all linear memories and tables of the attempt together.
    pub memory_bytes: u64,
    /// Wall-clock time until the attempt is ended (Celery's hard time limit).
    pub time: Duration,
    /// Wall-clock time until host calls fail with the soft time limit, if there is one.
    pub soft_time: Option<Duration>,
    /// CPU time until the attempt is ended.
    pub cpu_time: Duration,
    /// Bytes that one host call may carry, and the reply of the task itself before it is looked at.
    pub host_call_bytes: u32,
    /// Host calls in the attempt.
    pub host_calls: u32,
    /// Bytes of arguments, positional and keyword together.
    pub argument_bytes: u32,
    /// Bytes of the result.
    pub result_bytes: u32,
    /// Bytes of log lines; the rest is dropped and counted.
    pub log_bytes: u32,
    /// Log lines; the rest is dropped and counted.
    pub log_lines: u32,
    /// Calls to other tasks put in the outbox.
    pub outbox_calls: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000_000_000,
            memory_bytes: 128 << 20,
            time: Duration::from_secs(30),
            soft_time: None,
            cpu_time: Duration::from_secs(30),
            host_call_bytes: 8 << 20,
            host_calls: 100_000,
            argument_bytes: 1 << 20,
            result_bytes: 1 << 20,
            log_bytes: 64 << 10,
            log_lines: 1_000,
            outbox_calls: 100,
        }
    }
}

impl Limits {
    /// These limits, none looser than `other`'s.
    #[must_use]
    pub fn tightened(self, other: Self) -> Self {
        Self {
            fuel: self.fuel.min(other.fuel),
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            time: self.time.min(other.time),
            soft_time: smaller(self.soft_time, other.soft_time),
            cpu_time: self.cpu_time.min(other.cpu_time),
            host_call_bytes: self.host_call_bytes.min(other.host_call_bytes),
            host_calls: self.host_calls.min(other.host_calls),
            argument_bytes: self.argument_bytes.min(other.argument_bytes),
            result_bytes: self.result_bytes.min(other.result_bytes),
            log_bytes: self.log_bytes.min(other.log_bytes),
            log_lines: self.log_lines.min(other.log_lines),
            outbox_calls: self.outbox_calls.min(other.outbox_calls),
        }
    }

    /// These limits with the message's time limits, which may only tighten them.
    #[must_use]
    pub fn within(self, time_limit: TimeLimit) -> Self {
        Self {
            time: time_limit.hard.map_or(self.time, |hard| hard.min(self.time)),
            soft_time: smaller(self.soft_time, time_limit.soft),
            ..self
        }
    }
}

fn smaller(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Limits;
    use crate::TimeLimit;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_message_may_tighten_and_never_loosen() {
        let tight = TimeLimit { hard: Some(SECOND), soft: Some(SECOND / 2) };
        let limits = Limits::default().within(tight);
        assert_eq!((limits.time, limits.soft_time), (SECOND, Some(SECOND / 2)));

        let loose = TimeLimit { hard: Some(SECOND * 3_600), soft: None };
        assert_eq!(Limits::default().within(loose), Limits::default());
    }

    #[test]
    fn the_smallest_of_each_wins() {
        let small = Limits { fuel: 1, soft_time: Some(SECOND), ..Limits::default() };
        let other = Limits { memory_bytes: 1, ..Limits::default() };
        let both = small.tightened(other);
        assert_eq!((both.fuel, both.memory_bytes, both.soft_time), (1, 1, Some(SECOND)));
    }
}
