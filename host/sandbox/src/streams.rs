//! Standard output and standard error of a guest: bounded, and never those of this process.
//!
//! A task's lines of either become log lines. A command's standard output is its result. The end of
//! standard error is kept for the traceback, since this is where a panic says why.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lovage_core::{Limits, LogLevel};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::imports::LogBook;
use crate::trap::Stop;

/// Bytes of standard error that are kept for a traceback.
const TAIL_BYTES: usize = 4 << 10;

/// Bytes that a guest may write at once.
const PERMIT_BYTES: usize = 8 << 10;

/// Bytes of a line that was not ended yet; longer ones are cut into lines.
const LINE_BYTES: usize = 8 << 10;

/// What an attempt wrote. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Mutex<Written>>);

/// What an attempt wrote.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) logs: LogBook,
    /// A command's standard output, at most so many bytes; of a task it is lines.
    pub(crate) result: Option<(Vec<u8>, usize)>,
    /// The end of standard error.
    pub(crate) tail: Vec<u8>,
    lines: [Vec<u8>; 2],
}

impl Streams {
    pub(crate) fn new(limits: &Limits, is_command: bool) -> Self {
        let result = is_command.then(|| (Vec::new(), limits.result_bytes as usize));
        Self(Arc::new(Mutex::new(Written {
            logs: LogBook::new(limits),
            result,
            tail: Vec::new(),
            lines: [Vec::new(), Vec::new()],
        })))
    }

    /// The next attempt in this instance begins, with nothing written. The guest keeps its handles.
    pub(crate) fn renew(&self, limits: &Limits) {
        self.with(|written| {
            written.logs = LogBook::new(limits);
            written.tail.clear();
            written.lines.iter_mut().for_each(Vec::clear);
        });
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Written) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn output(&self) -> Stream {
        Stream { streams: self.clone(), is_error: false, since_ready: 0 }
    }

    pub(crate) fn error(&self) -> Stream {
        Stream { streams: self.clone(), is_error: true, since_ready: 0 }
    }
}

impl Written {
    /// Lines that were not ended count as lines when the attempt is over.
    pub(crate) fn finish(&mut self) {
        self.end_line(false);
        self.end_line(true);
    }

    fn write(&mut self, is_error: bool, bytes: &[u8]) -> Result<(), Stop> {
        if is_error {
            self.tail.extend_from_slice(bytes);
            if self.tail.len() > 2 * TAIL_BYTES {
                self.tail.drain(..self.tail.len() - TAIL_BYTES);
            }
        } else if let Some((result, most)) = &mut self.result {
            if result.len() + bytes.len() > *most {
                return Err(Stop::OutputTooLarge(*most));
            }
            result.extend_from_slice(bytes);
            return Ok(());
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let [output, error] = &mut self.lines;
            let line = if is_error { error } else { output };
            line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || line.len() >= LINE_BYTES {
                self.end_line(is_error);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, is_error: bool) {
        let [output, error] = &mut self.lines;
        let (line, level) =
            if is_error { (error, LogLevel::Warn) } else { (output, LogLevel::Info) };
        if !line.is_empty() {
            self.logs.write(level, &String::from_utf8_lossy(line), "");
            line.clear();
        }
    }
}

/// One of the two, as WASI sees it.
pub(crate) struct Stream {
    streams: Streams,
    is_error: bool,
    since_ready: usize,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Of WASI 0.3, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        let Self { streams, is_error, .. } = self;
        Box::new(Self { streams: streams.clone(), is_error: *is_error, since_ready: 0 })
    }
}

#[async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.since_ready += bytes.len().max(64);
        let is_error = self.is_error;
        let written = self.streams.with(|streams| streams.write(is_error, &bytes));
        written.map_err(|stop| StreamError::Trap(stop.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    /// After some bytes the guest has to ask whether it may go on, and others have their turn.
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(if self.since_ready < 32 * PERMIT_BYTES { PERMIT_BYTES } else { 0 })
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        if self.since_ready >= 32 * PERMIT_BYTES {
            self.since_ready = 0;
            let mut waited = false;
            std::future::poll_fn(|context| {
                if std::mem::replace(&mut waited, true) {
                    return std::task::Poll::Ready(());
                }
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Limits, LogLevel};

    use super::{Streams, TAIL_BYTES};

    #[test]
    fn what_a_task_writes_becomes_log_lines() {
        let streams = Streams::new(&Limits::default(), false);
        let lines = streams.with(|written| {
            written.write(false, b"one\ntw").unwrap();
            written.write(true, b"alas\n").unwrap();
            written.write(false, b"o").unwrap();
            written.finish();
            written.logs.lines.clone()
        });
        let expected = [(LogLevel::Info, "one"), (LogLevel::Warn, "alas"), (LogLevel::Info, "two")];
        let expected: Vec<_> = expected
            .iter()
            .map(|(level, text)| (*level, (*text).to_owned(), String::new()))
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_end_of_standard_error_is_kept_and_no_more() {
        let streams = Streams::new(&Limits::default(), false);
        streams.with(|written| {
            for number in 0..100_000 {
                written.write(true, format!("{number}\n").as_bytes()).unwrap();
            }
            assert!(written.tail.len() <= 2 * TAIL_BYTES);
            assert!(written.tail.ends_with(b"99999\n"));
            assert!(written.logs.dropped > 0);
        });
    }

    #[test]
    fn a_commands_output_is_its_result_up_to_the_limit() {
        let limits = Limits { result_bytes: 4, ..Limits::default() };
        Streams::new(&limits, true).with(|written| {
            written.write(false, b"1234").unwrap();
            assert!(written.write(false, b"5").is_err());
        });
    }
}
