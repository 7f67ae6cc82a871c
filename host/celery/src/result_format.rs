//! How a backend's values are written: the serializer of `result_serializer`, and the compression of
//! `result_compression`.
//!
//! Everything is JSON until it leaves for a backend, and again as soon as it comes from one.

use lovage_core::{Failure, ResultRecord, TaskId, TaskState};

use crate::compression::Compression;
use crate::{DecodeError, chord_entry, msgpack, result_document, yaml, yaml_writer};

/// What stands before a compressed value: a stored value has no headers that could say it. No
/// serializer's output begins so.
const COMPRESSED: &[u8] = b"\0celery-compressed\0";

/// Bytes of a stored value at most, decompressed.
const STORED_BYTES_MAX: usize = 64 << 20;

/// What results are serialized by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResultSerializer {
    /// Celery's default, and the only one that keeps kombu's typed values.
    #[default]
    Json,
    /// Bytes are bytes; what else kombu has types for stays the map that it is.
    MessagePack,
    /// Bytes and dates are YAML's own; what else kombu has types for stays the map that it is.
    Yaml,
}

/// How a backend's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResultFormat {
    /// What they are serialized by.
    pub serializer: ResultSerializer,
    /// What they are compressed by, if they are.
    pub compression: Option<Compression>,
}

/// Why a value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be written: {0}")]
pub struct UnwritableResult(String);

impl ResultSerializer {
    /// The serializer of Celery's name; pickle is none.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "json" | "application/json" => Some(Self::Json),
            "msgpack" | "application/x-msgpack" => Some(Self::MessagePack),
            "yaml" | "application/x-yaml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// The content type and the encoding that a message of it has.
    pub const fn content(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application/json", "utf-8"),
            Self::MessagePack => ("application/x-msgpack", "binary"),
            Self::Yaml => ("application/x-yaml", "utf-8"),
        }
    }
}

impl ResultFormat {
    /// Whether values are JSON text as it is: then nothing has to be asked of this.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// The same without compression: as messages carry results, and databases keep them.
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { compression: None, ..self }
    }

    /// Writes a JSON value.
    ///
    /// # Errors
    /// When the serializer has no form for it, such as MessagePack for an integer of 65 bits.
    pub fn encode(self, json: &str) -> Result<Vec<u8>, UnwritableResult> {
        let written = match self.serializer {
            ResultSerializer::Json => json.as_bytes().to_vec(),
            ResultSerializer::MessagePack => msgpack::from_json(json).map_err(UnwritableResult)?,
            ResultSerializer::Yaml => {
                yaml_writer::from_json(json).map_err(UnwritableResult)?.into_bytes()
            }
        };
        let Some(compression) = self.compression else { return Ok(written) };
        let compressed = compression.deflate(&written);
        let compressed = compressed.map_err(|error| UnwritableResult(error.to_string()))?;
        let name = compression.content_type().as_bytes();
        Ok([COMPRESSED, name, b"\0", &compressed].concat())
    }

    /// Reads what [`encode`](Self::encode) or a worker of Celery's wrote; compression is seen by
    /// itself, and JSON is read whatever the serializer.
    ///
    /// # Errors
    /// When it is no value of the serializer, or larger than is read.
    pub fn decode(self, stored: &[u8]) -> Result<String, DecodeError> {
        let inflated = match stored.strip_prefix(COMPRESSED) {
            None => None,
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == 0).ok_or(DecodeError::Corrupt)?;
                let (name, body) = rest.split_at(end);
                let name = std::str::from_utf8(name).map_err(|_| DecodeError::Corrupt)?;
                let body = body.get(1..).unwrap_or_default();
                Some(crate::compression::inflate(name, body, STORED_BYTES_MAX)?)
            }
        };
        let plain = inflated.as_deref().unwrap_or(stored);
        let is_json = matches!(self.serializer, ResultSerializer::Json)
            || plain.starts_with(b"{\"") && self.serializer == ResultSerializer::MessagePack;
        let text =
            || std::str::from_utf8(plain).map_err(|error| DecodeError::Body(error.to_string()));
        match self.serializer {
            _ if is_json => text().map(Into::into),
            ResultSerializer::MessagePack => msgpack::to_json(plain),
            _ => yaml::to_json(text()?, STORED_BYTES_MAX),
        }
    }

    /// The document of a result. One that the serializer has no form for becomes a failure that says
    /// so, as Celery has it.
    pub fn document(self, record: &ResultRecord) -> Vec<u8> {
        let text = result_document(record);
        if self.is_plain() {
            return text.into_bytes();
        }
        self.encode(&text).unwrap_or_else(|error| {
            let told = ResultRecord { state: error.state(), extended: None, ..record.clone() };
            // A failure of a few words has a form in every serializer.
            self.encode(&result_document(&told)).unwrap_or_default()
        })
    }

    /// A chord's member as backends that count keep it; one without a form as above.
    pub fn entry(self, id: &TaskId, state: &TaskState) -> Vec<u8> {
        self.encode(&chord_entry(id, state)).unwrap_or_else(|error| {
            self.encode(&chord_entry(id, &error.state())).unwrap_or_default()
        })
    }
}

impl UnwritableResult {
    /// What is told instead of such a value.
    pub fn state(&self) -> TaskState {
        let failure = Failure::new("kombu.exceptions", "EncodeError", &self.to_string());
        TaskState::Failure(failure)
    }
}

#[cfg(test)]
mod tests {
    use lovage_core::{Json, ResultRecord, TaskState, Timestamp};

    use super::{COMPRESSED, ResultFormat, ResultSerializer};
    use crate::compression::Compression;

    const VALUE: &str = r#"{"a": [1, -2.5, 1e+22, null, true, "x\u00e9 \ud83c\udf3f\u0001\u007f\"\\/"], "b\n": {"n": 18446744073709551615}, "t": {"__type__": "base64", "__value__": "AP8="}}"#;

    /// The value in one spelling: as serde's tree, where floats are floats.
    fn meaning(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_written_in_any_format_reads_back() {
        for serializer in
            [ResultSerializer::Json, ResultSerializer::MessagePack, ResultSerializer::Yaml]
        {
            for compression in [None, Some("gzip"), Some("bzip2"), Some("zstd"), Some("brotli")] {
                let compression = compression.map(|name| Compression::parse(name).unwrap());
                let format = ResultFormat { serializer, compression };
                let written = format.encode(VALUE).unwrap();
                assert_eq!(written.starts_with(COMPRESSED), compression.is_some());
                let read = format.decode(&written).unwrap();
                assert_eq!(meaning(&read), meaning(VALUE), "{format:?}: {read}");
            }
        }
    }

    #[test]
    fn what_has_no_form_is_a_failure_that_says_so() {
        let format =
            ResultFormat { serializer: ResultSerializer::MessagePack, ..ResultFormat::default() };
        let record = ResultRecord {
            task_id: "one".into(),
            state: TaskState::Success(Json::parse("123456789012345678901234567890").unwrap()),
            at: Timestamp::from_micros(0),
            group: None,
            parent_id: None,
            children: Vec::new(),
            reply_to: None,
            correlation_id: None,
            extended: None,
            tenant: None,
            life: None,
        };
        let read = meaning(&format.decode(&format.document(&record)).unwrap());
        assert_eq!((&read["status"], &read["task_id"]), (&"FAILURE".into(), &"one".into()));
        assert_eq!(read["result"]["exc_type"], "EncodeError");
    }

    #[test]
    fn yaml_is_what_pythons_loader_reads_as_the_same() {
        let yaml = |json| {
            let format =
                ResultFormat { serializer: ResultSerializer::Yaml, ..ResultFormat::default() };
            String::from_utf8(format.encode(json).unwrap()).unwrap()
        };
        for (json, expected) in [
            ("1e22", "1.0e+22"),
            ("5E-324", "5.0e-324"),
            ("-0.0", "-0.0"),
            ("NaN", ".nan"),
            ("-Infinity", "-.inf"),
            (r#""\ud83c\udf3f\u007f\u2028""#, "\"\u{1f33f}\\x7f\\u2028\""),
            (
                r#"{"__type__": "datetime", "__value__": "2026-11-20T10:41:39+00:00"}"#,
                "2026-11-20T10:41:39+00:00",
            ),
            (r#"{"__type__": "bytes", "__value__": "ab"}"#, "!!binary \"YWI=\""),
        ] {
            assert_eq!(yaml(json), expected);
        }
        let key = "k".repeat(1_100);
        assert!(yaml(&format!("{{\"{key}\": 1}}")).starts_with("{? \"kkk"));
    }
}
