//! Which kept messages a command means.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::{Span, SpanRelativeTo};
use lovage_core::ports::{Clock as _, KeptMessages, PortError};
use lovage_core::{KeptEntry, KeptFilter, KeptId, KeptKind, Timestamp};

use crate::cli::{DlqFilter, DlqKind};
use crate::inert::inert;
use crate::wiring::SystemClock;

/// Messages that are asked for at once.
const PAGE: usize = 256;

/// The filter as meant.
///
/// # Errors
/// When a moment is none.
pub(super) fn filter(typed: &DlqFilter) -> anyhow::Result<KeptFilter> {
    let now = SystemClock.now();
    let moment = |name: &str, text: &Option<String>| {
        text.as_deref()
            .map(|text| moment(text, now).with_context(|| format!("{name} cannot be meant")))
            .transpose()
    };
    Ok(KeptFilter {
        kind: typed.kind.map(|kind| match kind {
            DlqKind::Dead => KeptKind::Dead,
            DlqKind::Parked => KeptKind::Parked,
            DlqKind::Quarantined => KeptKind::Quarantined,
        }),
        reason: typed.reason.clone(),
        task: typed.task.clone(),
        task_id: typed.task_id.as_deref().map(Into::into),
        queue: typed.queue.as_deref().map(Into::into),
        since: moment("--since", &typed.since)?,
        until: moment("--until", &typed.until)?,
    })
}

/// A moment as people write it: how long ago, or when.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(span) = text.parse::<Span>() {
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours())?.abs();
        let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_micros(now.as_micros().saturating_sub(micros)));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(Timestamp::from_micros(at.as_microsecond())),
        Err(_) => bail!("{text:?} is neither a time, such as 2026-01-31T12:00Z, nor 90m or 2d ago"),
    }
}

/// Hands over everything that fits, oldest first.
///
/// # Errors
/// When the broker cannot be reached.
pub(super) async fn each(
    kept: &dyn KeptMessages,
    filter: &KeptFilter,
    mut take: impl FnMut(KeptEntry),
) -> Result<(), PortError> {
    let mut last = None;
    loop {
        let page = kept.list(filter, last.as_ref(), PAGE).await?;
        page.entries.into_iter().for_each(&mut take);
        last = page.last;
        if !page.more {
            return Ok(());
        }
    }
}

/// What a person names: one message by its own id, or all of a call by the call's id.
///
/// # Errors
/// When the broker cannot be reached.
pub(super) async fn named(kept: &dyn KeptMessages, id: &str) -> Result<Vec<KeptEntry>, PortError> {
    if let Some((entry, _)) = kept.get(&KeptId(id.to_owned())).await? {
        return Ok(vec![entry]);
    }
    let mut found = Vec::new();
    let filter = KeptFilter { task_id: Some(id.into()), ..KeptFilter::default() };
    each(kept, &filter, |entry| found.push(entry)).await?;
    Ok(found)
}

/// Says that something which was named is not kept.
pub(super) fn tell_missing(id: &str) -> ExitCode {
    let (id, todo) = (inert(id), "run `lovage dlq ls` to see what is kept");
    // Nobody is left to tell when standard error is gone.
    let _ =
        writeln!(std::io::stderr(), "lovage: no kept message, and none of a call, is {id}\n{todo}");
    ExitCode::from(1)
}

#[cfg(test)]
mod tests {
    use lovage_core::Timestamp;

    use super::moment;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp::from_micros(10_000_000_000_000);
        let ago = |text: &str| now.as_micros() - moment(text, now).unwrap().as_micros();
        assert_eq!(ago("90m"), 5_400_000_000);
        assert_eq!(ago("1h"), 3_600_000_000);
        assert_eq!(ago("2d"), 172_800_000_000);
        assert_eq!(ago("1h 30s"), 3_630_000_000);
        let at = moment("1970-01-01T00:01Z", now).unwrap();
        assert_eq!(at, Timestamp::from_micros(60_000_000));
        for text in ["", "yesterday", "12", "2026-01-31"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
