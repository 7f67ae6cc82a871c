//! Log lines, which the host writes as structured records with the task's id and name.
//!
//! ```
//! # let (order_id, card) = (7, "visa");
//! lovage::info!("charging {card}");
//! lovage::warn!(order_id = order_id, attempt = 2; "charging {card} again");
//! ```

use serde::Serialize;

use crate::host;

/// How much a line matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Every detail.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What an operator may like to know.
    Info,
    /// What an operator should know.
    Warn,
    /// What went wrong.
    Error,
}

/// Writes one line. It never fails: what exceeds the host's bounds is cut or dropped, and counted.
pub fn write(level: Level, message: &str, fields: Fields) {
    host::log(level, message, &fields.finish());
}

/// A line's fields, as the JSON object that the host is handed.
#[derive(Clone, Debug, Default)]
pub struct Fields(String);

impl Fields {
    /// Adds a field. One whose value has no JSON form is left out.
    #[must_use]
    pub fn with<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        if let (Ok(name), Ok(value)) = (serde_json::to_string(name), serde_json::to_string(value)) {
            self.0.push(if self.0.is_empty() { '{' } else { ',' });
            self.0.push_str(&name);
            self.0.push(':');
            self.0.push_str(&value);
        }
        self
    }

    pub(crate) fn finish(mut self) -> String {
        if !self.0.is_empty() {
            self.0.push('}');
        }
        self.0
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($name:ident = $value:expr),+ ; $($message:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($($message)+),
            $crate::log::Fields::default()$(.with(::core::stringify!($name), &$value))+,
        )
    };
    ($level:ident, $($message:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($($message)+),
            $crate::log::Fields::default(),
        )
    };
}

/// Logs every detail: `trace!("…")` or `trace!(field = value; "…")`.
#[macro_export]
macro_rules! trace { ($($line:tt)+) => { $crate::__log!(Trace, $($line)+) }; }
/// Logs what helps to find a mistake: `debug!("…")` or `debug!(field = value; "…")`.
#[macro_export]
macro_rules! debug { ($($line:tt)+) => { $crate::__log!(Debug, $($line)+) }; }
/// Logs what an operator may like to know: `info!("…")` or `info!(field = value; "…")`.
#[macro_export]
macro_rules! info { ($($line:tt)+) => { $crate::__log!(Info, $($line)+) }; }
/// Logs what an operator should know: `warn!("…")` or `warn!(field = value; "…")`.
#[macro_export]
macro_rules! warn { ($($line:tt)+) => { $crate::__log!(Warn, $($line)+) }; }
/// Logs what went wrong: `error!("…")` or `error!(field = value; "…")`.
#[macro_export]
macro_rules! error { ($($line:tt)+) => { $crate::__log!(Error, $($line)+) }; }
