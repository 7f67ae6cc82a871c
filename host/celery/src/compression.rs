//! The compressions that kombu knows, each with a bound on what comes out and on what it costs to
//! get there.

use std::io::{BufReader, Read};

use liblzma::stream::Stream;

use crate::DecodeError;

/// Memory that the xz decoder may ask for, in bytes; the highest preset needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 80 << 20;

/// The base-two logarithm of the largest zstd window that is read, in bytes: 32 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Takes off the compression that the header `compression` names.
pub(crate) fn inflate(name: &str, data: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    match name {
        // A zlib stream, whatever the name says.
        "application/x-gzip" | "gzip" | "zlib" => {
            bounded(flate2::read::ZlibDecoder::new(data), bytes_max)
        }
        "application/x-bz2" | "bzip2" | "bzip" => {
            bounded(bzip2::read::MultiBzDecoder::new(data), bytes_max)
        }
        "application/x-lzma" | "lzma" | "xz" => {
            let stream = Stream::new_auto_decoder(XZ_MEMORY_MAX, 0);
            let stream = stream.map_err(|_| DecodeError::Corrupt)?;
            bounded(liblzma::read::XzDecoder::new_stream(data, stream), bytes_max)
        }
        "application/zstd" | "zstd" | "zstandard" => {
            let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(data));
            let mut decoder = decoder.map_err(|_| DecodeError::Corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| DecodeError::Corrupt)?;
            bounded(decoder, bytes_max)
        }
        "application/x-brotli" | "brotli" => {
            bounded(brotli::Decompressor::new(data, 4 << 10), bytes_max)
        }
        _ => Err(DecodeError::Compression(name.into())),
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
    use std::io::{Read, Write};

    use super::inflate;
    use crate::DecodeError;

    /// The same text in every compression, under the name that a message has for it.
    fn compressed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        bzip2.write_all(text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(text).unwrap();
        let mut brotli = Vec::new();
        brotli::CompressorReader::new(text, 4096, 5, 20).read_to_end(&mut brotli).unwrap();
        vec![
            ("application/x-gzip", zlib.finish().unwrap()),
            ("application/x-bz2", bzip2.finish().unwrap()),
            ("application/x-lzma", xz.finish().unwrap()),
            ("application/zstd", zstd::encode_all(text, 3).unwrap()),
            ("application/x-brotli", brotli),
        ]
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
