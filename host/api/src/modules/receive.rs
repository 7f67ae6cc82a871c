//! Bytes that arrive: to a file, never to memory, and not for ever.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use futures::StreamExt as _;
use lovage_core::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::body::said_length;
use crate::problem::{Code, Problem};

/// Bytes a second that an upload must have on average, once it had time to begin.
const FLOOR_BYTES_PER_S: u64 = 16 << 10;

/// How long an upload may take to begin.
const BEGINNING: Duration = Duration::from_secs(5);

/// How long the next bytes of an upload may take.
const SILENCE: Duration = Duration::from_secs(10);

/// How long an upload may take in all.
const WHOLE: Duration = Duration::from_mins(5);

/// How many times larger than the bytes that arrive what they become may be.
const RATIO_MAX: u64 = 50;

/// Pieces that wait for the disk.
const WAITING_MAX: usize = 8;

/// What arrived.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) digest: Digest,
    pub(super) bytes: u64,
}

/// Writes a body to a file, decompressed if it is compressed, and hashes it.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    path: &Path,
    most: u64,
) -> Result<Received, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, format!("at most {most} bytes are taken"));
    if said_length(headers).is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let encoding =
        headers.get(CONTENT_ENCODING).map_or("identity", |it| it.to_str().unwrap_or("?"));
    let file = File::options().write(true).open(path);
    let file = file.map_err(|error| broken(&error))?;
    let mut sink = Sink::new(encoding, Counted::new(file, most))?;
    let (pieces, mut inbox) = mpsc::channel::<Bytes>(WAITING_MAX);
    let writing = tokio::task::spawn_blocking(move || {
        let mut arrived = 0;
        while let Some(piece) = inbox.blocking_recv() {
            arrived += piece.len() as u64;
            sink.counted().allowed = arrived.saturating_mul(RATIO_MAX).max(1 << 20);
            sink.write_all(&piece)?;
        }
        sink.finish()
    });
    let fed = feed(body, most, pieces).await;
    let written = writing.await.map_err(|_| Problem::new(Code::Internal, "the writer failed"))?;
    // What the writer says comes first: when it has had enough, the feeder cannot go on.
    match written {
        Ok(counted) => fed.map(|()| Received {
            digest: Digest::from_bytes(counted.hash.finalize().into()),
            bytes: counted.bytes,
        }),
        Err(error) => Err(match error.get_ref().and_then(|it| it.downcast_ref::<TooMuch>()) {
            Some(TooMuch::Bytes) => too_large(),
            Some(TooMuch::Ratio) => Problem::new(
                Code::DecompressionBomb,
                format!("it may become at most {RATIO_MAX} times larger"),
            ),
            None if matches!(error.kind(), io::ErrorKind::StorageFull) => broken(&error),
            None if encoding == "identity" => broken(&error),
            None => Problem::new(Code::MalformedRequest, format!("the body is no good {encoding}")),
        }),
    }
}

fn broken(error: &io::Error) -> Problem {
    tracing::error!(error = error as &dyn std::error::Error, "Cannot keep an upload");
    Problem::new(Code::Unavailable, "the upload cannot be kept now").after(5)
}

async fn feed(body: Body, most: u64, pieces: mpsc::Sender<Bytes>) -> Result<(), Problem> {
    let slow = |what: &str| Problem::new(Code::TooSlow, what);
    let (begun, mut arrived) = (Instant::now(), 0_u64);
    let mut stream = body.into_data_stream();
    loop {
        let Ok(next) = tokio::time::timeout(SILENCE, stream.next()).await else {
            return Err(slow("nothing arrived for 10 s"));
        };
        let piece = match next {
            None => return Ok(()),
            Some(Ok(piece)) => piece,
            Some(Err(_)) => {
                return Err(Problem::new(Code::MalformedRequest, "the body ends half-way"));
            }
        };
        arrived += piece.len() as u64;
        if arrived > most {
            let what = format!("at most {most} bytes are taken");
            return Err(Problem::new(Code::BodyTooLarge, what));
        }
        let spent = begun.elapsed();
        if spent > WHOLE {
            return Err(slow("an upload may take 5 minutes"));
        }
        let due = FLOOR_BYTES_PER_S * spent.saturating_sub(BEGINNING).as_secs();
        if arrived < due {
            return Err(slow("an upload must have 16 KiB a second"));
        }
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
}

/// Where decompressed bytes go: counted, hashed, written.
struct Counted {
    file: File,
    hash: Sha256,
    bytes: u64,
    most: u64,
    /// Bytes that what arrived until now may become.
    allowed: u64,
}

#[derive(Debug, thiserror::Error)]
enum TooMuch {
    #[error("more bytes than are taken")]
    Bytes,
    #[error("much larger than what arrived")]
    Ratio,
}

impl Counted {
    fn new(file: File, most: u64) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0, most, allowed: 0 }
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let after = self.bytes + bytes.len() as u64;
        if after > self.allowed {
            return Err(io::Error::other(TooMuch::Ratio));
        }
        if after > self.most {
            return Err(io::Error::other(TooMuch::Bytes));
        }
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes = after;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

enum Sink {
    Identity(Counted),
    Gzip(Box<flate2::write::GzDecoder<Counted>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Counted>>),
}

/// The largest window of zstd, as a power of two: what a decoder allocates before it sees a byte.
const WINDOW_LOG_MAX: u32 = 23;

impl Sink {
    fn new(encoding: &str, counted: Counted) -> Result<Self, Problem> {
        match encoding {
            "identity" => Ok(Self::Identity(counted)),
            "gzip" => Ok(Self::Gzip(Box::new(flate2::write::GzDecoder::new(counted)))),
            "zstd" => {
                let mut decoder =
                    zstd::stream::write::Decoder::new(counted).map_err(|error| broken(&error))?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| broken(&error))?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            _ => Err(Problem::new(Code::UnsupportedEncoding, "gzip, zstd and identity are read")),
        }
    }

    fn counted(&mut self) -> &mut Counted {
        match self {
            Self::Identity(counted) => counted,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Identity(counted) => counted.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Zstd(decoder) => decoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Counted> {
        match self {
            Self::Identity(counted) => Ok(counted),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zstd(mut decoder) => {
                decoder.flush()?;
                Ok(decoder.into_inner())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use axum::body::{Body, Bytes};
    use axum::http::HeaderMap;
    use axum::http::header::CONTENT_ENCODING;

    use super::{Received, receive};
    use crate::problem::Problem;

    async fn received(encoding: &str, body: Vec<u8>, most: u64) -> Result<Received, Problem> {
        let file = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        std::fs::File::create_new(&file).unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().unwrap())]);
        let pieces: Vec<_> = body
            .chunks(1_000)
            .map(|it| Ok::<_, std::io::Error>(Bytes::copy_from_slice(it)))
            .collect();
        let body = Body::from_stream(futures::stream::iter(pieces));
        let received = receive(&headers, body, &file, most).await;
        std::fs::remove_file(file).unwrap();
        received
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn a_body_is_the_same_however_it_is_compressed() {
        let text = b"some bytes, some more".repeat(100);
        let plain = received("identity", text.clone(), 1 << 20).await.unwrap();
        let packed = received("gzip", gzip(&text), 1 << 20).await.unwrap();
        let zipped = zstd::encode_all(&text[..], 3).unwrap();
        let zipped = received("zstd", zipped, 1 << 20).await.unwrap();
        assert_eq!((plain.digest, plain.bytes), (packed.digest, packed.bytes));
        assert_eq!((plain.digest, plain.bytes), (zipped.digest, zipped.bytes));
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused_before_it_is_there() {
        let code = |result: Result<Received, Problem>| result.unwrap_err().code.as_str();
        let zeros = vec![0; 30 << 20];
        assert_eq!(code(received("identity", zeros.clone(), 1 << 20).await), "body-too-large");
        assert_eq!(code(received("gzip", gzip(&zeros), 64 << 20).await), "decompression-bomb");
        let zipped = zstd::encode_all(&zeros[..], 19).unwrap();
        assert_eq!(code(received("zstd", zipped, 64 << 20).await), "decompression-bomb");
        assert_eq!(
            code(received("gzip", b"no gzip at all".to_vec(), 100).await),
            "malformed-request"
        );
        assert_eq!(code(received("br", Vec::new(), 100).await), "unsupported-encoding");
    }
}
