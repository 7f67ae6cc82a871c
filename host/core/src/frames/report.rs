//! From what an executor says to a report, with everything checked.

use super::{CallFrame, Done, End, FailureFrame, OutboxFrame};
use crate::{
    Death, Failure, Json, JsonError, Limits, LogLine, OutboxCall, OutboxItem, Outcome, Report,
    TaskId, outbox_task_id,
};

impl Done<'_> {
    /// The report that this is about the call `caller` (as [`outbox_caller`] names it), with everything
    /// the executor says checked.
    ///
    /// [`outbox_caller`]: crate::outbox_caller
    ///
    /// A result that is no JSON, or larger than `limits` allow, is the guest's own death; a
    /// malformed outbox, too, because a call must not be lost in silence.
    pub fn report(&self, caller: &TaskId, limits: &Limits) -> Report {
        let outbox = (0..)
            .zip(&self.outbox)
            .map(|(index, item)| item.item(caller, index))
            .collect::<Result<Vec<_>, _>>();
        let outcome = match (&self.end, &outbox) {
            (End::Succeed(_) | End::Ignore | End::Replace(_), Err(error)) => {
                killed(Death::InvalidResult, &error.to_string())
            }
            (end, _) => end.outcome(limits),
        };
        let logs = self.logs.iter().map(|(level, message, fields)| LogLine {
            level: *level,
            message: (*message).into(),
            fields: Json::parse(*fields).ok().filter(Json::is_object),
        });
        Report {
            outcome,
            usage: self.usage,
            outbox: outbox.unwrap_or_default(),
            logs: logs.collect(),
            logs_dropped: self.logs_dropped,
        }
    }
}

fn killed(death: Death, why: &str) -> Outcome {
    Outcome::Killed { death, failure: death.failure(&Json::string(why), None) }
}

impl End<'_> {
    fn outcome(&self, limits: &Limits) -> Outcome {
        match self {
            Self::Succeed(text) if text.len() > limits.result_bytes as usize => killed(
                Death::OutputTooLarge,
                &format!(
                    "the result has {} bytes, {} are allowed",
                    text.len(),
                    limits.result_bytes
                ),
            ),
            Self::Succeed(text) => match Json::parse(*text) {
                Ok(result) => Outcome::Succeed(result),
                Err(error) => killed(Death::InvalidResult, &format!("the result is {error}")),
            },
            Self::Fail(failure) => Outcome::Fail(failure.failure()),
            Self::Reject(failure) => Outcome::Reject(failure.failure()),
            Self::Retry(failure, after, options) => {
                let object = |text: &&str| Json::parse(*text).ok().filter(Json::is_object);
                let options = options.as_ref().map(object);
                match options {
                    Some(None) => {
                        killed(Death::InvalidResult, "the options of its retry are no JSON object")
                    }
                    options => Outcome::Retry {
                        failure: failure.failure(),
                        after: *after,
                        options: options.flatten(),
                    },
                }
            }
            Self::Ignore => Outcome::Ignore,
            Self::Requeue(failure) => Outcome::Requeue(failure.failure()),
            Self::Replace(text) => match Json::parse(*text) {
                Ok(signature) if signature.is_object() => Outcome::Replace(signature),
                _ => killed(Death::InvalidResult, "what it is replaced by is no signature"),
            },
            Self::Ambiguous(step) => Outcome::Ambiguous { step: (*step).into() },
            Self::Killed(death, argument, traceback) => {
                let argument = Json::parse(*argument).unwrap_or_else(|_| Json::string(argument));
                let failure = death.failure(&argument, traceback.map(Into::into));
                Outcome::Killed { death: *death, failure }
            }
        }
    }
}

impl FailureFrame<'_> {
    /// The failure, its arguments made an array if the guest gave something else.
    fn failure(&self) -> Failure {
        let arguments = match Json::parse(self.arguments) {
            Ok(array) if array.is_array() => array,
            Ok(value) => Json::array([&value]),
            Err(_) => Json::array([&Json::string(self.arguments)]),
        };
        Failure {
            exception_type: self.exception_type.into(),
            exception_module: self.exception_module.map(Into::into),
            arguments,
            traceback: self.traceback.map(Into::into),
        }
    }
}

impl OutboxFrame<'_> {
    fn item(&self, caller: &TaskId, index: u32) -> Result<OutboxItem, JsonError> {
        Ok(match self {
            Self::Call(call) => OutboxItem::Call(call.outbox_call(caller, index)?),
            Self::Signature(text) => OutboxItem::Signature(Json::parse(*text)?),
            Self::Member(text) => OutboxItem::Member(Json::parse(*text)?),
        })
    }
}

impl CallFrame<'_> {
    fn outbox_call(&self, caller: &TaskId, index: u32) -> Result<OutboxCall, JsonError> {
        Ok(OutboxCall {
            id: outbox_task_id(caller, index),
            task: self.task.into(),
            args: Json::parse(self.args)?,
            kwargs: Json::parse(self.kwargs)?,
            queue: self.queue.map(Into::into),
            countdown: self.countdown,
            expires: self.expires,
            priority: self.priority,
            ignore_result: self.ignore_result,
            headers: self.headers.map(Json::parse).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CallFrame, Done, End, FailureFrame, OutboxFrame};
    use crate::{Death, JobNumber, Limits, LogLevel, OutboxItem, Outcome, Report, TaskId, Usage};

    fn done(end: End<'_>) -> Done<'_> {
        Done {
            job: JobNumber(7),
            end,
            usage: Usage::default(),
            outbox: Vec::new(),
            logs: vec![(LogLevel::Info, "said", "{\"a\": 1}"), (LogLevel::Warn, "said", "no JSON")],
            logs_dropped: 2,
        }
    }

    fn report(end: End<'_>) -> Report {
        done(end).report(&TaskId::from("caller"), &Limits { result_bytes: 8, ..Limits::default() })
    }

    fn death(report: &Report) -> Option<Death> {
        match report.outcome {
            Outcome::Killed { death, .. } => Some(death),
            _ => None,
        }
    }

    #[test]
    fn what_an_executor_says_is_checked() {
        assert!(matches!(report(End::Succeed("[1, 2]")).outcome, Outcome::Succeed(_)));
        assert_eq!(death(&report(End::Succeed("[1, 2"))), Some(Death::InvalidResult));
        assert_eq!(death(&report(End::Succeed("[1, 2, 3]"))), Some(Death::OutputTooLarge));
        let logs = report(End::Succeed("1")).logs;
        assert!(logs[0].fields.is_some() && logs[1].fields.is_none());
    }

    #[test]
    fn arguments_of_an_exception_become_a_list_whatever_they_are() {
        let frame = |arguments| FailureFrame {
            exception_type: "E",
            exception_module: None,
            arguments,
            traceback: None,
        };
        let texts = ["[1]", "1", "no JSON"].map(|arguments| frame(arguments).failure().arguments);
        assert_eq!(texts.map(|it| it.to_string()), ["[1]", "[1]", "[\"no JSON\"]"]);
    }

    #[test]
    fn a_malformed_outbox_fails_the_attempt_instead_of_losing_a_call() {
        let call = |args| {
            OutboxFrame::Call(CallFrame {
                task: "demo.add",
                args,
                kwargs: "{}",
                queue: None,
                countdown: None,
                expires: None,
                priority: None,
                ignore_result: false,
                headers: None,
            })
        };
        let caller = TaskId::from("caller");
        let good = Done { outbox: vec![call("[]"), call("[]")], ..done(End::Succeed("1")) };
        let ids = good.report(&caller, &Limits::default()).outbox;
        let id = |item: &OutboxItem| match item {
            OutboxItem::Call(call) => call.id.clone(),
            other => panic!("{other:?}"),
        };
        assert_ne!(id(&ids[0]), id(&ids[1]));
        let bad = Done { outbox: vec![call("[")], ..done(End::Succeed("1")) };
        assert_eq!(death(&bad.report(&caller, &Limits::default())), Some(Death::InvalidResult));
    }
}
