//! Time limits of tasks that somebody changed while the worker runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use lovage_core::{Limits, TaskName, TimeLimit};

/// Time limits by task. They take the place of the operator's, and a change loosens as well as it
/// tightens: whoever may send commands is the operator. What the message or the task asks for
/// tightens them still.
#[derive(Debug, Default)]
pub struct TimeLimits {
    changed: AtomicBool,
    limits: RwLock<HashMap<TaskName, TimeLimit>>,
}

/// The longest time that can be set: every bound is finite.
const TIME_MAX: Duration = Duration::from_hours(24);

impl TimeLimits {
    /// Sets a task's limits for the calls that begin from now on.
    pub fn set(&self, task: TaskName, limit: TimeLimit) {
        self.limits.write().unwrap_or_else(PoisonError::into_inner).insert(task, limit);
        self.changed.store(true, Ordering::Release);
    }

    /// The operator's limits, changed as they were for this task.
    pub(crate) fn applied(&self, task: &TaskName, operator: &Limits) -> Limits {
        let mut limits = *operator;
        if self.changed.load(Ordering::Acquire) {
            let changed = self.limits.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(TimeLimit { hard, soft }) = changed.get(task) {
                limits.time = hard.map_or(limits.time, |hard| hard.min(TIME_MAX));
                limits.soft_time = soft.or(limits.soft_time);
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lovage_core::{Limits, TimeLimit};

    use super::{TIME_MAX, TimeLimits};

    #[test]
    fn a_change_is_for_its_task_alone_and_stays_finite() {
        let (limits, operator) = (TimeLimits::default(), Limits::default());
        let minute = Duration::from_mins(1);
        limits.set("a".into(), TimeLimit { hard: Some(minute * 2), soft: Some(minute) });
        limits.set("b".into(), TimeLimit { hard: Some(Duration::MAX), soft: None });
        let applied = limits.applied(&"a".into(), &operator);
        assert_eq!((applied.time, applied.soft_time), (minute * 2, Some(minute)));
        assert_eq!(limits.applied(&"b".into(), &operator).time, TIME_MAX);
        assert_eq!(limits.applied(&"c".into(), &operator), operator);
    }
}
