//! How results are kept.

use std::time::Duration;

use lovage_celery::{Compression, ResultFormat, ResultSerializer};

use super::parse::Reader;

/// How results are kept, wherever that is.
#[derive(Debug, Clone)]
pub(crate) struct ResultsConfig {
    /// How long; `None` for ever.
    pub(crate) expires: Option<Duration>,
    /// Whether they name the task, its arguments and its worker.
    pub(crate) extended: bool,
    /// Whether callers are told when an attempt begins.
    pub(crate) track_started: bool,
    /// What they are written as.
    pub(crate) format: ResultFormat,
    /// Whether a chord's body gets them in the members' order.
    pub(crate) chord_ordered: bool,
    /// What stands before every key.
    pub(crate) key_prefix: String,
}

impl ResultsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let serializer = "result_serializer";
        let named = ResultSerializer::parse(&reader.text(serializer));
        if named.is_none() {
            reader.problem(serializer, "is neither json nor msgpack nor yaml");
        }
        let compression = "result_compression";
        let name = reader.text(compression);
        let compressed = Compression::parse(&name);
        if compressed.is_none() && !name.is_empty() {
            reader.problem(compression, "is neither gzip nor bzip2, lzma, zstd or brotli");
        }
        Self {
            expires: Some(reader.seconds("result_expires")).filter(|time| !time.is_zero()),
            extended: reader.flag("result_extended"),
            track_started: reader.flag("task.track_started"),
            format: ResultFormat { serializer: named.unwrap_or_default(), compression: compressed },
            chord_ordered: reader.flag("result_backend_transport_options.result_chord_ordered"),
            key_prefix: reader.text("result_backend_transport_options.global_keyprefix"),
        }
    }
}
