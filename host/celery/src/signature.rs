//! Signatures: calls to come, as they lie in callbacks, errbacks and chains.

use std::borrow::Cow;
use std::time::Duration;

use lovage_core::{JsonPart, TaskId, Timestamp};

use crate::fields::given;
use crate::parse_timestamp;

/// One signature. What is missing is empty; what is not understood is passed over.
pub(crate) struct Signature<'a> {
    pub(crate) task: Cow<'a, str>,
    pub(crate) args: JsonPart<'a>,
    pub(crate) kwargs: JsonPart<'a>,
    pub(crate) options: JsonPart<'a>,
    pub(crate) immutable: bool,
    subtask_type: Option<Cow<'a, str>>,
}

impl<'a> Signature<'a> {
    /// Reads a signature; `None` when the value is none.
    pub(crate) fn of(value: JsonPart<'a>) -> Option<Self> {
        let (mut args, mut kwargs, mut options) = (None, None, None);
        let (mut task, mut immutable, mut subtask_type) = (None, None, None);
        value.each_quoted_member(|name, member| {
            let field = match name {
                "\"args\"" => &mut args,
                "\"immutable\"" => &mut immutable,
                "\"kwargs\"" => &mut kwargs,
                "\"options\"" => &mut options,
                "\"subtask_type\"" => &mut subtask_type,
                "\"task\"" => &mut task,
                _ => return,
            };
            *field = Some(member);
        });
        let object = |part: Option<JsonPart<'a>>| {
            part.filter(|part| part.is_object()).unwrap_or(JsonPart::EMPTY_OBJECT)
        };
        Some(Self {
            task: task?.as_text()?,
            args: args.filter(|part| part.is_array()).unwrap_or(JsonPart::EMPTY_ARRAY),
            kwargs: object(kwargs),
            options: object(options),
            immutable: immutable.and_then(JsonPart::as_bool) == Some(true),
            subtask_type: subtask_type.and_then(JsonPart::as_text),
        })
    }

    /// Whether it is a group of others.
    pub(crate) fn is_group(&self) -> bool {
        self.subtask_type.as_deref() == Some("group")
    }

    /// The body, if it is a chord.
    pub(crate) fn chord_body(&self) -> Option<JsonPart<'a>> {
        self.kwargs.member("body").filter(|_| self.subtask_type.as_deref() == Some("chord"))
    }

    /// The id under which somebody may already wait for its result. A chord is waited for by the
    /// id of its body; a group has none of its own.
    pub(crate) fn awaited_id(&self) -> Option<TaskId> {
        match self.subtask_type.as_deref() {
            Some("group") => None,
            Some("chord") => Signature::of(self.kwargs.member("body")?)?.awaited_id(),
            _ => self.option_text("task_id").map(|id| TaskId::from(&*id)),
        }
    }

    /// An option that is there and not null.
    pub(crate) fn option(&self, name: &str) -> Option<JsonPart<'a>> {
        given(self.options.member(name))
    }

    pub(crate) fn option_text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.option(name)?.as_text()
    }

    /// When it may start: `countdown` seconds from now, or `eta`.
    pub(crate) fn eta(&self, now: Timestamp) -> Option<Timestamp> {
        match self.option("countdown").and_then(JsonPart::as_number) {
            Some(seconds) => Some(later(now, seconds)),
            None => point(self.option("eta")?),
        }
    }

    /// Until when it is wanted: seconds from now, or a date.
    pub(crate) fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        let part = self.option("expires")?;
        part.as_number().map(|seconds| later(now, seconds)).or_else(|| point(part))
    }

    /// `stamped_headers`, and the text of an object with each stamp that it names.
    pub(crate) fn stamps(&self) -> Option<(JsonPart<'a>, String)> {
        let names = self.option("stamped_headers")?;
        let mut text = String::from("{");
        let is_list = names.each_element(|name| {
            let Some(stamp) = name.as_text().and_then(|name| self.options.member(&name)) else {
                return;
            };
            if text.len() > 1 {
                text.push_str(", ");
            }
            text.push_str(name.as_str());
            text.push_str(": ");
            text.push_str(stamp.as_str());
        });
        text.push('}');
        is_list.then_some((names, text))
    }
}

/// The signatures of a list; `None` when it is no list of signatures.
pub(crate) fn list(value: JsonPart<'_>) -> Option<Vec<Signature<'_>>> {
    let mut signatures = Vec::new();
    let is_list = value.each_element(|element| signatures.push(Signature::of(element)));
    if is_list { signatures.into_iter().collect() } else { None }
}

/// A date: text, or kombu's typed value of one.
fn point(part: JsonPart<'_>) -> Option<Timestamp> {
    let text = part.as_text().or_else(|| part.member("__value__")?.as_text())?;
    parse_timestamp(&text)
}

fn later(now: Timestamp, seconds: f64) -> Timestamp {
    now.after(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use lovage_core::{JsonPart, TaskId, Timestamp};

    use super::{Signature, list};

    fn signature(text: &str) -> Signature<'_> {
        Signature::of(JsonPart::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn what_is_missing_is_empty() {
        let bare = signature(r#"{"task": "a"}"#);
        assert_eq!((bare.args.as_str(), bare.kwargs.as_str()), ("[]", "{}"));
        assert!(!bare.immutable);
        assert_eq!(bare.awaited_id(), None);
        assert!(list(JsonPart::parse("[1]").unwrap()).is_none());
        assert!(list(JsonPart::parse("{}").unwrap()).is_none());
        assert!(list(JsonPart::parse("[]").unwrap()).unwrap().is_empty());
    }

    #[test]
    fn a_chord_is_waited_for_by_its_body() {
        let chord = signature(
            r#"{"task": "celery.chord", "subtask_type": "chord", "options": {"task_id": "no"},
                "kwargs": {"body": {"task": "b", "options": {"task_id": "yes"}}}}"#,
        );
        assert_eq!(chord.awaited_id(), Some(TaskId::from("yes")));
    }

    #[test]
    fn times_may_be_seconds_text_or_typed() {
        let now = Timestamp::from_micros(1_000_000);
        let times = signature(
            r#"{"task": "a", "options": {"countdown": 1.5,
                "expires": {"__type__": "datetime", "__value__": "1970-01-01T00:00:09"}}}"#,
        );
        assert_eq!(times.eta(now), Some(Timestamp::from_micros(2_500_000)));
        assert_eq!(times.expires(now), Some(Timestamp::from_micros(9_000_000)));
        let none = signature(r#"{"task": "a", "options": {"eta": "x", "expires": null}}"#);
        assert_eq!((none.eta(now), none.expires(now)), (None, None));
    }
}
