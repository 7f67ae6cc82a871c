//! What headers, or the body of a protocol 1 message, say of a call.

use std::borrow::Cow;
use std::time::Duration;

use lovage_core::{JsonPart, RetryMarks, TaskId, TimeLimit, Timestamp};

use crate::{DecodeError, parse_timestamp};

/// The values of known names, not yet looked into. Whatever is read later stands over what was read
/// before: a caller's own header over Celery's, headers over the body of protocol 1.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub(crate) args: Option<JsonPart<'a>>,
    pub(crate) callbacks: Option<JsonPart<'a>>,
    pub(crate) chord: Option<JsonPart<'a>>,
    pub(crate) compression: Option<JsonPart<'a>>,
    /// What an errback is told, where this header is there.
    pub(crate) errback: Option<JsonPart<'a>>,
    pub(crate) errbacks: Option<JsonPart<'a>>,
    eta: Option<JsonPart<'a>>,
    expires: Option<JsonPart<'a>>,
    first_attempt: Option<JsonPart<'a>>,
    group: Option<JsonPart<'a>>,
    group_index: Option<JsonPart<'a>>,
    id: Option<JsonPart<'a>>,
    idempotency_key: Option<JsonPart<'a>>,
    ignore_result: Option<JsonPart<'a>>,
    pub(crate) kwargs: Option<JsonPart<'a>>,
    parent_id: Option<JsonPart<'a>>,
    redelivered: Option<JsonPart<'a>>,
    replaced_task_nesting: Option<JsonPart<'a>>,
    retries: Option<JsonPart<'a>>,
    retry: Option<JsonPart<'a>>,
    retry_delay: Option<JsonPart<'a>>,
    root_id: Option<JsonPart<'a>>,
    shadow: Option<JsonPart<'a>>,
    pub(crate) task: Option<JsonPart<'a>>,
    taskset: Option<JsonPart<'a>>,
    timelimit: Option<JsonPart<'a>>,
}

impl<'a> Fields<'a> {
    /// Reads headers, protocol 2.
    pub(crate) fn headers(&mut self, headers: JsonPart<'a>) {
        headers.each_quoted_member(|name, value| {
            let field = match name {
                "\"compression\"" => &mut self.compression,
                "\"idempotency-key\"" => &mut self.idempotency_key,
                "\"ignore_result\"" => &mut self.ignore_result,
                "\"lovage-errback\"" => &mut self.errback,
                "\"lovage-first-attempt\"" => &mut self.first_attempt,
                "\"lovage-retry\"" => &mut self.retry,
                "\"lovage-retry-delay\"" => &mut self.retry_delay,
                "\"redelivered\"" => &mut self.redelivered,
                "\"replaced_task_nesting\"" => &mut self.replaced_task_nesting,
                _ => return self.common(name, value),
            };
            *field = Some(value);
        });
    }

    /// Reads the body of protocol 1.
    pub(crate) fn body(&mut self, body: JsonPart<'a>) {
        body.each_quoted_member(|name, value| {
            let field = match name {
                "\"args\"" => &mut self.args,
                "\"callbacks\"" => &mut self.callbacks,
                "\"chord\"" => &mut self.chord,
                "\"errbacks\"" => &mut self.errbacks,
                "\"kwargs\"" => &mut self.kwargs,
                "\"taskset\"" => &mut self.taskset,
                _ => return self.common(name, value),
            };
            *field = Some(value);
        });
    }

    /// The names that both have.
    fn common(&mut self, name: &str, value: JsonPart<'a>) {
        let field = match name {
            "\"eta\"" => &mut self.eta,
            "\"expires\"" => &mut self.expires,
            "\"group\"" => &mut self.group,
            "\"group_index\"" => &mut self.group_index,
            "\"id\"" => &mut self.id,
            "\"parent_id\"" => &mut self.parent_id,
            "\"retries\"" => &mut self.retries,
            "\"root_id\"" => &mut self.root_id,
            "\"shadow\"" => &mut self.shadow,
            "\"task\"" => &mut self.task,
            "\"timelimit\"" => &mut self.timelimit,
            _ => return,
        };
        *field = Some(value);
    }

    pub(crate) fn task(&self) -> Result<Cow<'a, str>, DecodeError> {
        let task = given(self.task).ok_or(DecodeError::NoTask)?;
        text("task", task)
    }

    pub(crate) fn id(&self) -> Result<Cow<'a, str>, DecodeError> {
        text("id", given(self.id).ok_or(DecodeError::NoId)?)
    }

    /// The ids of root, parent and group; anything but text counts as none.
    pub(crate) fn relatives(&self, own: &TaskId) -> [Option<TaskId>; 3] {
        // `taskset` is the group's older name; where it is given it is the one that counts.
        let group = self.taskset.or(self.group);
        [self.root_id, self.parent_id, group].map(|part| {
            let id = part?.as_text()?;
            // Nearly every call is its own root: share the name.
            Some(if id == own.as_str() { own.clone() } else { TaskId::from(&*id) })
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "a float is cut to whole numbers")]
    pub(crate) fn group_index(&self) -> Option<i64> {
        let part = given(self.group_index)?;
        part.as_str().parse().ok().or_else(|| part.as_number().map(|number| number as i64))
    }

    pub(crate) fn retries(&self) -> Result<u32, DecodeError> {
        count("retries", self.retries)
    }

    /// What the caller and the attempts before say of retries. A wish that cannot be read is an
    /// error: to pass over it would loosen what the caller wanted tight.
    pub(crate) fn retry(&self) -> Result<RetryMarks, DecodeError> {
        let [first, delay, retry] = [self.first_attempt, self.retry_delay, self.retry].map(given);
        let first_attempt = optional("lovage-first-attempt", first, |part| {
            part.as_text().and_then(|text| parse_timestamp(&text))
        })?;
        let delay = optional("lovage-retry-delay", delay, duration)?;
        if let Some(part) = retry.filter(|part| !part.is_object()) {
            return Err(malformed("lovage-retry", part));
        }
        let wish = |name| given(retry.and_then(|part| part.member(name)));
        let max_retries = optional("lovage-retry", wish("max"), |part| part.as_str().parse().ok())?;
        let max_elapsed = optional("lovage-retry", wish("max_elapsed_s"), duration)?;
        Ok(RetryMarks { first_attempt, delay, max_retries, max_elapsed })
    }

    pub(crate) fn replaced_task_nesting(&self) -> u32 {
        count("replaced_task_nesting", self.replaced_task_nesting).unwrap_or(0)
    }

    pub(crate) fn eta(&self) -> Result<Option<Timestamp>, DecodeError> {
        date(self.eta).map_err(DecodeError::Eta)
    }

    pub(crate) fn expires(&self) -> Result<Option<Timestamp>, DecodeError> {
        date(self.expires).map_err(DecodeError::Expires)
    }

    /// `[hard, soft]`, in that order, in seconds.
    pub(crate) fn time_limit(&self) -> Result<TimeLimit, DecodeError> {
        let Some(part) = given(self.timelimit) else { return Ok(TimeLimit::default()) };
        let mut limits = [None; 2];
        let mut place = limits.iter_mut();
        let is_list = part.each_element(|element| {
            if let Some(limit) = place.next() {
                *limit = element.as_number().and_then(seconds);
            }
        });
        let [hard, soft] = limits;
        if is_list { Ok(TimeLimit { hard, soft }) } else { Err(malformed("timelimit", part)) }
    }

    pub(crate) fn ignore_result(&self) -> Option<bool> {
        self.ignore_result.and_then(JsonPart::as_bool)
    }

    pub(crate) fn redelivered(&self) -> bool {
        self.redelivered.and_then(JsonPart::as_bool) == Some(true)
    }

    pub(crate) fn shadow(&self) -> Option<Box<str>> {
        owned(self.shadow)
    }

    pub(crate) fn idempotency_key(&self) -> Option<Box<str>> {
        owned(self.idempotency_key)
    }
}

/// A value that is there and not null.
pub(crate) fn given(part: Option<JsonPart<'_>>) -> Option<JsonPart<'_>> {
    part.filter(|part| !part.is_null())
}

/// The text of a value, when it is text.
pub(crate) fn owned(part: Option<JsonPart<'_>>) -> Option<Box<str>> {
    Some(Box::from(&*part?.as_text()?))
}

fn text<'a>(name: &'static str, part: JsonPart<'a>) -> Result<Cow<'a, str>, DecodeError> {
    part.as_text().ok_or_else(|| malformed(name, part))
}

/// A number of times; null is none. Callers may set these by hand, so what is below zero is zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn count(name: &'static str, part: Option<JsonPart<'_>>) -> Result<u32, DecodeError> {
    let Some(part) = given(part) else { return Ok(0) };
    if let Ok(number) = part.as_str().parse() {
        return Ok(number);
    }
    part.as_number().map(|number| number as u32).ok_or_else(|| malformed(name, part))
}

fn date(part: Option<JsonPart<'_>>) -> Result<Option<Timestamp>, String> {
    let Some(part) = given(part) else { return Ok(None) };
    let parsed = part.as_text().and_then(|text| parse_timestamp(&text));
    parsed.map(Some).ok_or_else(|| shortened(part))
}

/// A value that may be absent, but not of another kind.
fn optional<'a, T>(
    name: &'static str,
    part: Option<JsonPart<'a>>,
    read: impl FnOnce(JsonPart<'a>) -> Option<T>,
) -> Result<Option<T>, DecodeError> {
    part.map(|part| read(part).ok_or_else(|| malformed(name, part))).transpose()
}

/// Seconds, not below zero.
fn duration(part: JsonPart<'_>) -> Option<Duration> {
    part.as_number().and_then(|number| Duration::try_from_secs_f64(number).ok())
}

/// Seconds of a time limit; zero and below mean none, as they do to Celery.
fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok().filter(|limit| !limit.is_zero())
}

fn malformed(name: &'static str, part: JsonPart<'_>) -> DecodeError {
    DecodeError::Header { name, why: shortened(part) }
}

/// A value for people to read: not more of it than fits a line.
fn shortened(part: JsonPart<'_>) -> String {
    part.as_str().chars().take(64).collect()
}
