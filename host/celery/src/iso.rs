//! Points in time as Celery writes them.

use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use lovage_core::Timestamp;

/// Reads an ISO 8601 date with or without time; without an offset it is in UTC, as in Celery.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    if pieces.time_zone_annotation().is_some() {
        return None;
    }
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    let instant = offset.to_timestamp(civil).ok()?;
    Some(Timestamp::from_micros(instant.as_microsecond()))
}

/// Writes a point in time as Celery does: `2026-11-20T10:41:39.258428+00:00`.
pub fn format_timestamp(at: Timestamp) -> String {
    let mut text = String::with_capacity(32);
    push_timestamp(&mut text, at);
    text
}

/// Appends the same.
pub(crate) fn push_timestamp(text: &mut String, at: Timestamp) {
    push_civil(text, at, 'T');
    text.push_str("+00:00");
}

/// Writes a point in time as SQLAlchemy stores it in SQLite: `2026-11-20 10:41:39.258428`.
pub(crate) fn format_naive(at: Timestamp) -> String {
    let mut text = String::with_capacity(26);
    push_civil(&mut text, at, ' ');
    text
}

/// Appends date and time in UTC. What lies outside the years 1 to 9999, which Python's dates end
/// at, is moved to the nearest end.
fn push_civil(text: &mut String, at: Timestamp, separator: char) {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::MAX);
    let first = DateTime::constant(1, 1, 1, 0, 0, 0, 0);
    let civil = Offset::UTC.to_datetime(at).max(first);
    push_digits(text, civil.year().into(), 4);
    text.push('-');
    push_digits(text, civil.month().into(), 2);
    text.push('-');
    push_digits(text, civil.day().into(), 2);
    text.push(separator);
    push_digits(text, civil.hour().into(), 2);
    text.push(':');
    push_digits(text, civil.minute().into(), 2);
    text.push(':');
    push_digits(text, civil.second().into(), 2);
    text.push('.');
    push_digits(text, civil.subsec_nanosecond() / 1_000, 6);
}

fn push_digits(text: &mut String, number: i32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_i32.pow(place) % 10;
        text.push(char::from_digit(digit.unsigned_abs(), 10).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::Timestamp;

    use super::{format_naive, format_timestamp, parse_timestamp};

    const AT: Timestamp = Timestamp::from_micros(1_795_171_299_258_428);

    #[test]
    fn offsets_are_obeyed_and_none_means_utc() {
        for text in [
            "2026-11-20T10:41:39.258428+00:00",
            "2026-11-20T10:41:39.258428Z",
            "2026-11-20T10:41:39.258428",
            "2026-11-20 10:41:39.258428",
            "2026-11-20T16:11:39.258428+05:30",
            "2026-11-20T02:41:39.258428-0800",
        ] {
            assert_eq!(parse_timestamp(text), Some(AT), "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-02").unwrap().as_micros(), 86_400_000_000);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "tomorrow", "2026-13-01", "2026-11-20T25:00", "2026-11-20[UTC]", "10:41"] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn microseconds_and_offset_are_always_written() {
        assert_eq!(format_timestamp(AT), "2026-11-20T10:41:39.258428+00:00");
        assert_eq!(format_timestamp(Timestamp::from_micros(0)), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(format_naive(AT), "2026-11-20 10:41:39.258428");
    }

    #[test]
    fn the_far_ends_of_time_are_written_without_failing() {
        assert!(format_timestamp(Timestamp::from_micros(i64::MAX)).starts_with("9999-12-3"));
        assert!(format_timestamp(Timestamp::from_micros(-999_999_999_999_999)).starts_with("1938"));
    }
}
