//! Celery's rate limits: `10/s`, `6/m`, `100/h`, or a number for a second.

use std::fmt;
use std::time::Duration;

/// How often something may happen: once every interval, and never two at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    number: f64,
    unit: Unit,
}

/// What a rate counts in; it is shown as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Unsaid,
    Second,
    Minute,
    Hour,
}

/// A text that is no rate, in the words of Celery's own error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ValueError(\"could not convert string to float: {}\")", quoted(.0))]
pub struct RateError(String);

impl Rate {
    /// Reads a rate; `None` for `0`, an empty text or `None`, which mean that there is no limit.
    ///
    /// # Errors
    /// When it is no rate.
    pub fn parse(text: &str) -> Result<Option<Self>, RateError> {
        let (number, unit) = text.split_once('/').unwrap_or((text, ""));
        let number = number.trim();
        if number.is_empty() || number == "None" {
            return Ok(None);
        }
        let unit = match unit.trim() {
            "" if !text.contains('/') => Unit::Unsaid,
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => return Err(RateError(text.into())),
        };
        let parsed = number.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = parsed.ok_or_else(|| RateError(number.into()))?;
        Ok((number > 0.0).then_some(Self { number, unit }))
    }

    /// From one to the next: a nanosecond at least, a year at most.
    pub fn interval(self) -> Duration {
        const YEAR: Duration = Duration::from_hours(24 * 365);
        let seconds = match self.unit {
            Unit::Unsaid | Unit::Second => 1.0,
            Unit::Minute => 60.0,
            Unit::Hour => 3_600.0,
        };
        let interval = Duration::try_from_secs_f64(seconds / self.number).unwrap_or(YEAR);
        interval.clamp(Duration::from_nanos(1), YEAR)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Unsaid => "",
            Unit::Second => "/s",
            Unit::Minute => "/m",
            Unit::Hour => "/h",
        };
        write!(formatter, "{}{unit}", self.number)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rate;

    #[test]
    fn rates_are_read_as_celery_reads_them() {
        for (text, interval_ms) in
            [("10/s", 100), ("6/m", 10_000), ("360/h", 10_000), ("4", 250), (" 0.5 / s ", 2_000)]
        {
            let rate = Rate::parse(text).unwrap().unwrap();
            assert_eq!(rate.interval(), Duration::from_millis(interval_ms), "{text}");
            assert_eq!(Rate::parse(&rate.to_string()).unwrap(), Some(rate), "{rate}");
        }
        for text in ["", "0", "0/s", "None", "-1/s"] {
            assert_eq!(Rate::parse(text), Ok(None), "{text}");
        }
        for text in ["abc", "1/d", "1/", "nan", "inf/s", "1/s/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
        let told = Rate::parse("abc").unwrap_err().to_string();
        assert_eq!(told, "ValueError(\"could not convert string to float: 'abc'\")");
    }

    #[test]
    fn every_interval_is_finite() {
        assert!(Rate::parse("1e300/s").unwrap().unwrap().interval() > Duration::ZERO);
        assert!(Rate::parse("1e-300/h").unwrap().unwrap().interval() < Duration::MAX);
    }
}
