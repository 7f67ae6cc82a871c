//! Moments as people and programs read them: RFC 3339, in UTC.

use lovage_core::Timestamp;

/// A moment as text, such as `2026-01-31T12:00:00.5Z`.
pub(crate) fn text(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).map(|at| at.to_string()).unwrap_or_default()
}

/// The moment of a text.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(at.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use lovage_core::Timestamp;

    #[test]
    fn moments_are_read_back() {
        let at = Timestamp::from_micros(1_769_860_800_500_000);
        assert_eq!(super::text(at), "2026-01-31T12:00:00.5Z");
        assert_eq!(super::parse(&super::text(at)), Some(at));
        assert_eq!(super::parse("yesterday"), None);
    }
}
