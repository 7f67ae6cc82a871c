//! The compressions that kombu knows, each with a bound on what comes out and on what it costs to
//! get there.

use std::io::{self, BufReader, Read, Write};

use liblzma::stream::Stream;

use crate::DecodeError;

/// Memory that the xz decoder may ask for, in bytes; the highest preset needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 80 << 20;

/// The base-two logarithm of the largest zstd window that is read, in bytes: 32 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// A compression by the name that messages and results have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `application/x-brotli`.
    Brotli,
    /// `application/x-bz2`.
    Bzip2,
    /// `application/x-gzip`: a zlib stream, whatever the name says.
    Gzip,
    /// `application/x-lzma`: an xz container.
    Lzma,
    /// `application/zstd`.
    Zstd,
}

/// How hard brotli tries, of 11, and its window as kombu has it.
const BROTLI: (u32, u32) = (5, 22);

impl Compression {
    /// The compression of one of kombu's names.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "application/x-gzip" | "gzip" | "zlib" => Some(Self::Gzip),
            "application/x-bz2" | "bzip2" | "bzip" => Some(Self::Bzip2),
            "application/x-lzma" | "lzma" | "xz" => Some(Self::Lzma),
            "application/zstd" | "zstd" | "zstandard" => Some(Self::Zstd),
            "application/x-brotli" | "brotli" => Some(Self::Brotli),
            _ => None,
        }
    }

    /// The name that messages and results have for it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Brotli => "application/x-brotli",
            Self::Bzip2 => "application/x-bz2",
            Self::Gzip => "application/x-gzip",
            Self::Lzma => "application/x-lzma",
            Self::Zstd => "application/zstd",
        }
    }

    /// Compresses data.
    pub(crate) fn deflate(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Brotli => {
                let mut deflated = Vec::new();
                let (quality, window) = BROTLI;
                let mut reader = brotli::CompressorReader::new(data, 4 << 10, quality, window);
                reader.read_to_end(&mut deflated).map(|_| deflated)
            }
            Self::Bzip2 => {
                let level = bzip2::Compression::best();
                let mut writer = bzip2::write::BzEncoder::new(Vec::new(), level);
                writer.write_all(data)?;
                writer.finish()
            }
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), level);
                writer.write_all(data)?;
                writer.finish()
            }
            Self::Lzma => {
                let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
                writer.write_all(data)?;
                writer.finish()
            }
            Self::Zstd => zstd::encode_all(data, 0),
        }
    }
}

/// Takes off the compression that the header `compression` names.
pub(crate) fn inflate(name: &str, data: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    let compression =
        Compression::parse(name).ok_or_else(|| DecodeError::Compression(name.into()))?;
    match compression {
        Compression::Gzip => bounded(flate2::read::ZlibDecoder::new(data), bytes_max),
        Compression::Bzip2 => bounded(bzip2::read::MultiBzDecoder::new(data), bytes_max),
        Compression::Lzma => {
            let stream = Stream::new_auto_decoder(XZ_MEMORY_MAX, 0);
            let stream = stream.map_err(|_| DecodeError::Corrupt)?;
            bounded(liblzma::read::XzDecoder::new_stream(data, stream), bytes_max)
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(data));
            let mut decoder = decoder.map_err(|_| DecodeError::Corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| DecodeError::Corrupt)?;
            bounded(decoder, bytes_max)
        }
        Compression::Brotli => bounded(brotli::Decompressor::new(data, 4 << 10), bytes_max),
    }
}

/// Reads at most one byte more than is allowed, so that it is known when there is too much.
fn bounded(reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut inflated = Vec::new();
    reader.take(most).read_to_end(&mut inflated).map_err(|_| DecodeError::Corrupt)?;
    if inflated.len() > bytes_max { Err(DecodeError::TooLarge(bytes_max)) } else { Ok(inflated) }
}

#[cfg(test)]
mod tests {
    use super::{Compression, inflate};
    use crate::DecodeError;

    /// The same text in every compression, under the name that a message has for it.
    fn compressed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        ["gzip", "bzip2", "lzma", "zstd", "brotli"]
            .map(|name| Compression::parse(name).unwrap())
            .map(|it| (it.content_type(), it.deflate(text).unwrap()))
            .into()
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound_in_every_compression() {
        for (name, bomb) in compressed(&vec![b'z'; 10_000_000]) {
            assert!(bomb.len() < 20_000, "{name}");
            assert_eq!(
                inflate(name, &bomb, 999_999),
                Err(DecodeError::TooLarge(999_999)),
                "{name}"
            );
            assert_eq!(inflate(name, &bomb, 10_000_000).unwrap().len(), 10_000_000, "{name}");
        }
    }

    #[test]
    fn what_is_cut_off_is_corrupt_in_every_compression() {
        let text: Vec<u8> =
            (0..5_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (name, whole) in compressed(&text) {
            let cut = &whole[..whole.len() / 2];
            assert_eq!(inflate(name, cut, 1 << 20), Err(DecodeError::Corrupt), "{name}");
        }
    }

    #[test]
    fn a_compression_of_another_name_is_unknown() {
        let error = inflate("application/x-nope", b"", 1).unwrap_err();
        assert_eq!(error.code(), "unknown-compression");
    }
}
