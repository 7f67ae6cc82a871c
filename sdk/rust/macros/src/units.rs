//! Durations and sizes as people write them.

use syn::{LitStr, Result};

/// Milliseconds of `"500ms"`, `"5s"`, `"10m"`, `"2h"`, `"1d"`.
pub(crate) fn milliseconds(text: &LitStr) -> Result<u64> {
    measure(
        text,
        &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
        "a duration such as \"500ms\", \"5s\", \"10m\", \"2h\" or \"1d\"",
    )
}

/// Bytes of `"64MiB"`, `"512KiB"`, `"1GiB"`, `"100B"`, `"10MB"`.
pub(crate) fn bytes(text: &LitStr) -> Result<u64> {
    measure(
        text,
        &[
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("kB", 1_000),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("B", 1),
        ],
        "a size such as \"100B\", \"512KiB\", \"64MiB\" or \"10MB\"",
    )
}

fn measure(text: &LitStr, units: &[(&str, u64)], expected: &str) -> Result<u64> {
    let value = text.value();
    let digits = value.find(|character: char| !character.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let factor =
        units.iter().find(|(name, _)| *name == unit.trim_start()).map(|(_, factor)| *factor);
    number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| syn::Error::new(text.span(), format!("expected {expected}")))
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn literal(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    #[test]
    fn durations_are_milliseconds() {
        for (text, expected) in
            [("500ms", 500), ("5s", 5_000), ("10m", 600_000), ("1 d", 86_400_000)]
        {
            assert_eq!(milliseconds(&literal(text)).unwrap(), expected, "{text}");
        }
        for wrong in ["", "5", "s", "-5s", "5 parsecs", "99999999999999999999s", "300000000000d"] {
            assert!(milliseconds(&literal(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_bytes() {
        for (text, expected) in
            [("100B", 100), ("64MiB", 67_108_864), ("1GiB", 1 << 30), ("2MB", 2_000_000)]
        {
            assert_eq!(bytes(&literal(text)).unwrap(), expected, "{text}");
        }
        assert!(bytes(&literal("64Mib")).is_err());
    }
}
