//! Why an attempt did not succeed, in the words of a manifest.

use crate::{Death, Outcome};

macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $retryable:literal;)*) => {
        /// An end of an attempt that is not a success, as `retry_on` and `never_on` name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Cause { $($(#[$doc])* $variant,)* }

        impl Cause {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in a manifest.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether a manifest may have it retried: never what would come to the same again.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }
        }
    };
}

causes! {
    /// The task asked to be run again.
    Asked = "returned_retryable", true;
    /// The task failed, and did not say whether trying again is of use.
    Failed = "returned_failure", true;
    /// It trapped.
    Trapped = "trap", true;
    /// Its hard time limit was over.
    TimedOut = "timeout", true;
    /// Its CPU time was used up: on another day it may take less.
    CpuTime = "cpu_time", true;
    /// It ended itself with a status that is not success.
    Exited = "exit", true;
    /// The task said that trying again is of no use.
    Rejected = "returned_permanent", false;
    /// The fuel was used up.
    Fuel = "fuel", false;
    /// It asked for more memory than it may have.
    Memory = "memory", false;
    /// Its stack overflowed.
    Stack = "stack_overflow", false;
    /// Its result was too large.
    Output = "output_too_large", false;
    /// Its arguments were too large.
    Arguments = "arguments_too_large", false;
    /// It called the host too often.
    HostCalls = "host_calls", false;
    /// What it returned is no JSON value.
    Result = "invalid_result", false;
    /// Executor after executor died under it: that is counted apart from attempts.
    ExecutorLost = "executor_lost", false;
    /// It wanted what it was not granted; such a module is refused before anything of it runs.
    Capability = "capability_denied", false;
    /// Its key was used before with other arguments; such a call is refused before it runs.
    Mismatch = "mismatch", false;
}

impl Cause {
    /// Why this attempt did not succeed; `None` for a success, and for an end that is no fault of
    /// the attempt or that is not for a retry policy to judge.
    pub const fn of(outcome: &Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Succeed(_)
            | Outcome::Ambiguous { .. }
            | Outcome::Ignore
            | Outcome::Requeue(_)
            | Outcome::Replace(_) => return None,
            Outcome::Fail(_) => Self::Failed,
            Outcome::Reject(_) => Self::Rejected,
            Outcome::Retry { .. } => Self::Asked,
            Outcome::Killed { death, .. } => match death {
                Death::OutOfFuel => Self::Fuel,
                Death::OutOfMemory => Self::Memory,
                Death::TimedOut => Self::TimedOut,
                Death::OutOfCpuTime => Self::CpuTime,
                Death::StackOverflow => Self::Stack,
                Death::Trapped => Self::Trapped,
                Death::Exited => Self::Exited,
                Death::OutputTooLarge => Self::Output,
                Death::ArgumentsTooLarge => Self::Arguments,
                Death::TooManyHostCalls => Self::HostCalls,
                Death::InvalidResult => Self::Result,
                Death::ExecutorLost => Self::ExecutorLost,
                Death::Revoked | Death::LeaseLost | Death::NotStarted => return None,
            },
        })
    }

    /// The cause of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.as_str() == name)
    }
}

/// A set of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes(u32);

impl Causes {
    /// Only what asks for it: Celery's own, whose tasks say what they want retried.
    pub const ASKED: Self = Self::of(&[Cause::Asked]);
    /// What a task wants that has a policy and names no causes.
    pub const USUAL: Self =
        Self::of(&[Cause::Asked, Cause::Failed, Cause::Trapped, Cause::TimedOut, Cause::Exited]);

    /// The set of the retryable ones among these.
    pub const fn of(causes: &[Cause]) -> Self {
        let mut rest = causes;
        let mut set = 0;
        while let Some((cause, others)) = rest.split_first() {
            if cause.is_retryable() {
                set |= 1 << *cause as u32;
            }
            rest = others;
        }
        Self(set)
    }

    /// This set without those of another.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether this is one of them.
    pub const fn contains(self, cause: Cause) -> bool {
        self.0 & (1 << cause as u32) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Causes};

    #[test]
    fn every_name_is_read_back_and_no_set_has_what_is_never_retried() {
        for cause in Cause::ALL {
            assert_eq!(Cause::named(cause.as_str()), Some(*cause));
            assert_eq!(Causes::of(&[*cause]).contains(*cause), cause.is_retryable());
            assert!(!Causes::USUAL.without(Causes::of(&[*cause])).contains(*cause));
        }
        assert_eq!(Cause::named("tarp"), None);
    }
}
