//! `log`: structured log lines, and the lines a guest writes to standard output and error.

use lovage_core::{Limits, LogLevel};

use super::contract::lovage::task::log::{Host, Level};
use crate::guest::Guest;

/// Bytes of one line; what is beyond is cut.
const LINE_BYTES_MAX: usize = 8 << 10;

/// The lines of one attempt, up to its limits.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    /// Level, message and fields (a JSON text, or empty), in order.
    pub(crate) lines: Vec<(LogLevel, String, String)>,
    /// How many lines were dropped at a limit.
    pub(crate) dropped: u32,
    bytes: usize,
    lines_max: usize,
    bytes_max: usize,
}

impl LogBook {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            lines_max: limits.log_lines as usize,
            bytes_max: limits.log_bytes as usize,
            ..Self::default()
        }
    }

    /// Keeps a line, or counts it when there is no room.
    pub(crate) fn write(&mut self, level: LogLevel, message: &str, fields: &str) {
        let message = message.get(..message.floor_char_boundary(LINE_BYTES_MAX)).unwrap_or(message);
        // Half a JSON text is worth nothing: fields that are too long are left out.
        let fields = if fields.len() > LINE_BYTES_MAX { "" } else { fields };
        let bytes = message.len() + fields.len();
        if self.lines.len() >= self.lines_max || self.bytes + bytes > self.bytes_max {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.bytes += bytes;
        self.lines.push((level, message.into(), fields.into()));
    }
}

impl Host for Guest {
    async fn write(
        &mut self,
        level: Level,
        message: String,
        fields: String,
    ) -> wasmtime::Result<()> {
        self.count_call()?;
        self.breathe(message.len() + fields.len()).await;
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.streams.with(|streams| streams.logs.write(level, &message, &fields));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Limits, LogLevel};

    use super::{LINE_BYTES_MAX, LogBook};

    #[test]
    fn lines_beyond_a_limit_are_counted_and_long_ones_are_cut() {
        let limits = Limits { log_lines: 2, log_bytes: 20_000, ..Limits::default() };
        let mut book = LogBook::new(&limits);
        for _ in 0..3 {
            book.write(LogLevel::Info, &"é".repeat(LINE_BYTES_MAX), "{}");
        }
        assert_eq!((book.lines.len(), book.dropped), (2, 1));
        assert_eq!(book.lines[0].1.len(), LINE_BYTES_MAX);

        let mut book = LogBook::new(&Limits { log_bytes: 10, ..Limits::default() });
        book.write(LogLevel::Info, "0123456789", "");
        book.write(LogLevel::Info, "0", "");
        assert_eq!((book.lines.len(), book.dropped), (1, 1));
    }
}
