//! Frames as bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::FRAME_BYTES_MAX;

/// Why bytes are no frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame says that it is larger than any may be.
    #[error("a frame of {0} bytes is larger than the {FRAME_BYTES_MAX} allowed")]
    TooLarge(usize),
    /// A frame's bytes are no value of the expected type.
    #[error("a frame holds no value of its type")]
    Malformed(#[from] postcard::Error),
}

/// Appends a frame to a buffer that is to be written.
///
/// # Errors
/// When the value is larger than a frame may be; the buffer is as it was then.
pub fn append<T: Serialize>(buffer: &mut Vec<u8>, value: &T) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    if let Err(error) = postcard::to_io(value, &mut *buffer) {
        buffer.truncate(start);
        return Err(error.into());
    }
    let length = buffer.len() - start - 4;
    let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX) else {
        buffer.truncate(start);
        return Err(FrameError::TooLarge(length));
    };
    if let Some(place) = buffer.get_mut(start..start + 4) {
        place.copy_from_slice(&prefix.to_le_bytes());
    }
    Ok(())
}

/// The first frame's bytes in `buffer` and how many bytes it occupies, `None` until it is complete.
///
/// # Errors
/// When it says that it is too large.
pub fn first(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((prefix, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    Ok(rest.get(..length).map(|frame| (frame, length + 4)))
}

/// Reads a frame's value.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, FrameError> {
    Ok(postcard::from_bytes(frame)?)
}

/// Reads a frame's value that borrows nothing.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode_owned<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    Ok(postcard::from_bytes(frame)?)
}

/// Reads a sequence of at most `MOST` elements: a longer one is refused where it exceeds that, before
/// more is allocated for it.
pub(super) fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct AtMost<const MOST: usize, T>(PhantomData<T>);

    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {MOST} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = elements.next_element()? {
                if all.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                all.push(element);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_seq(AtMost::<MOST, T>(PhantomData))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FrameError, append, decode, first};
    use crate::frames::{Done, End, FRAME_BYTES_MAX, FromExecutor, LOGS_MAX, PROTOCOL, ToExecutor};
    use crate::{Death, JobNumber, Limits, LogLevel, TaskId, Usage};

    fn done(end: End<'_>) -> Done<'_> {
        Done {
            job: JobNumber(7),
            end,
            usage: Usage::default(),
            outbox: Vec::new(),
            logs: vec![(LogLevel::Info, "said", "{}")],
            logs_dropped: 2,
        }
    }

    #[test]
    fn frames_in_one_write_are_read_one_after_the_other() {
        let hello = ToExecutor::Hello { protocol: PROTOCOL, slots: 4, memory_bytes_max: 1 << 27 };
        let cancel = ToExecutor::Cancel { job: JobNumber(3), death: Death::Revoked };
        let mut buffer = Vec::new();
        append(&mut buffer, &hello).unwrap();
        append(&mut buffer, &cancel).unwrap();
        let (frame, used) = first(&buffer).unwrap().unwrap();
        assert_eq!(decode::<ToExecutor<'_>>(frame).unwrap(), hello);
        let rest = &buffer[used..];
        let (frame, used) = first(rest).unwrap().unwrap();
        assert_eq!(decode::<ToExecutor<'_>>(frame).unwrap(), cancel);
        assert_eq!(rest.len(), used);
        assert_eq!(first(&rest[..used - 1]), Ok(None), "a frame that is not whole yet");
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_it_is_there() {
        let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
        assert_eq!(first(&length.to_le_bytes()), Err(FrameError::TooLarge(FRAME_BYTES_MAX + 1)));
        let mut buffer = b"before".to_vec();
        let long = "x".repeat(FRAME_BYTES_MAX + 1);
        assert!(append(&mut buffer, &long).is_err());
        assert_eq!(buffer, b"before");
    }

    #[test]
    fn a_frame_of_more_elements_than_there_may_be_is_refused() {
        let lines = |count| {
            let logs = vec![(LogLevel::Info, "", ""); count];
            let frame = FromExecutor::Done(Box::new(Done { logs, ..done(End::Succeed("1")) }));
            let mut buffer = Vec::new();
            append(&mut buffer, &frame).unwrap();
            decode::<FromExecutor<'_>>(&buffer[4..]).is_ok()
        };
        assert!(lines(LOGS_MAX) && !lines(LOGS_MAX + 1));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = first(&bytes);
            let _ = decode::<ToExecutor<'_>>(&bytes);
            if let Ok(FromExecutor::Done(done)) = decode(&bytes) {
                let _ = done.report(&TaskId::from("caller"), &Limits::default());
            }
        }

        #[test]
        fn a_damaged_frame_is_an_error_and_nothing_worse(at in 0usize..60, byte: u8) {
            let mut buffer = Vec::new();
            let done = FromExecutor::Done(Box::new(done(End::Killed(Death::Trapped, "\"x\"", Some("y")))));
            append(&mut buffer, &done).unwrap();
            if let Some(place) = buffer.get_mut(at) {
                *place = byte;
            }
            if let Ok(Some((frame, _))) = first(&buffer) {
                let _ = decode::<FromExecutor<'_>>(frame);
            }
        }
    }
}
