//! Command modules: programs that read a job from standard input and print its result.

use lovage_core::frames::Attempt;
use lovage_core::{Death, Json};
use serde::Deserialize;

use crate::imports::{Failure, handler};
use crate::instance::Conclusion;
use crate::streams::Written;
use crate::trap::{Died, argument};

/// The exit status that asks to be run again: `EX_TEMPFAIL`.
const RETRY: i32 = 75;

/// What a program says of itself: nothing. Whoever loads it names its one task.
pub(crate) const MANIFEST: &str = r#"{"v": 1, "module": "command", "tasks": []}"#;

/// What a program reads. Attempts are counted from 1.
pub(crate) fn input(attempt: &Attempt<'_>) -> String {
    format!(
        r#"{{"task": {}, "id": {}, "args": {}, "kwargs": {}, "attempt": {}, "idempotency_key": {}}}"#,
        Json::string(attempt.task),
        Json::string(attempt.id),
        attempt.args,
        attempt.kwargs,
        attempt.retries.saturating_add(1),
        Json::string(attempt.key),
    ) + "\n"
}

/// What a program may print when it wants to be run again.
#[derive(Deserialize)]
struct Wish {
    retry: Again,
}

#[derive(Deserialize)]
struct Again {
    /// In how many seconds.
    #[serde(default)]
    after: Option<f64>,
}

/// What an exit status and the streams say together.
///
/// Status 75 asks for a retry. Programs for WASI's second preview cannot say 75, only "not 0": of
/// those the printed wish is enough.
pub(crate) fn conclude(status: i32, written: &Written) -> Conclusion {
    let printed = written.result.as_ref().map_or(&[][..], |(printed, _)| printed);
    let printed = String::from_utf8_lossy(printed);
    let printed = printed.trim();
    if status == 0 {
        return Conclusion::Returned(if printed.is_empty() { "null" } else { printed }.into());
    }
    let said = String::from_utf8_lossy(&written.tail);
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let wish = serde_json::from_str::<Wish>(printed).ok();
    if status == RETRY || wish.is_some() {
        let after_s = wish.and_then(|wish| wish.retry.after);
        let reason = last.unwrap_or("the program asked to be run again");
        return again(reason, after_s.filter(|seconds| *seconds >= 0.0));
    }
    let message = match last {
        Some(line) => format!("exit status {status}: {line}"),
        None => format!("exit status {status}"),
    };
    let traceback = (!said.trim().is_empty()).then(|| said.trim_end().to_owned());
    Conclusion::Died(Died { death: Death::Exited, message, traceback })
}

fn again(reason: &str, after_s: Option<f64>) -> Conclusion {
    let after = after_s.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    Conclusion::Failed(handler::Error::Retry(handler::Retry {
        reason: Failure {
            exception_type: "Retry".into(),
            exception_module: Some("celery.exceptions".into()),
            arguments: Json::array([&argument(reason)]).as_str().into(),
            traceback: None,
        },
        after_ms: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        options: None,
    }))
}
