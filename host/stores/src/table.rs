//! A row of Celery's table of results, the same in every database: values are in the serializer of the
//! operator's choice, as bytes.

use std::fmt::Write;

use lovage_celery::{DatabaseRow, ResultFormat, database_row};
use lovage_core::{Json, JsonError, ResultRecord};

/// A row as the table has it, whoever wrote it; absent columns are null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TableRow {
    pub(crate) task_id: String,
    pub(crate) status: String,
    pub(crate) result: Option<Vec<u8>>,
    /// UTC without offset, such as `2026-11-20 10:41:39.258428`.
    pub(crate) date_done: Option<String>,
    pub(crate) traceback: Option<String>,
    pub(crate) children: Option<Vec<u8>>,
    pub(crate) name: Option<String>,
    pub(crate) args: Option<Vec<u8>>,
    pub(crate) kwargs: Option<Vec<u8>>,
    pub(crate) worker: Option<String>,
    pub(crate) retries: Option<i32>,
    pub(crate) queue: Option<String>,
    pub(crate) stamps: Option<Vec<u8>>,
}

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    /// Celery before 5.7 wrote it.
    #[error("the value is a Python pickle, which is never read here")]
    Pickle,
    /// A value is none of the serializer.
    #[error("a value is not as `result_serializer` says")]
    Value(#[from] lovage_celery::DecodeError),
    /// A value is not JSON.
    #[error("a value is no JSON")]
    Json(#[from] JsonError),
}

/// The first bytes of every pickle that Celery ever stored: protocols 2 to 5.
const PICKLES: [&[u8]; 4] = [b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"];

impl TableRow {
    /// The row of a result. One that the serializer has no form for becomes a failure that says so.
    pub(crate) fn of(record: &ResultRecord, format: ResultFormat) -> Self {
        let row = database_row(record);
        Self::written(row, format).unwrap_or_else(|error| {
            let told = ResultRecord { state: error.state(), extended: None, ..record.clone() };
            Self::written(database_row(&told), format).unwrap_or_default()
        })
    }

    fn written(
        row: DatabaseRow,
        format: ResultFormat,
    ) -> Result<Self, lovage_celery::UnwritableResult> {
        let bytes = |text: Option<String>| text.map(|text| format.encode(&text)).transpose();
        Ok(Self {
            task_id: row.task_id,
            status: row.status,
            result: bytes(Some(row.result))?,
            date_done: row.date_done,
            traceback: row.traceback,
            children: bytes(row.children)?,
            name: row.name,
            args: bytes(row.args)?,
            kwargs: bytes(row.kwargs)?,
            worker: row.worker,
            retries: row.retries.map(|retries| i32::try_from(retries).unwrap_or(i32::MAX)),
            queue: row.queue,
            stamps: bytes(row.stamps)?,
        })
    }

    /// The row as Celery's JSON, with the fields in Celery's order.
    pub(crate) fn document(&self, format: ResultFormat) -> Result<String, RowError> {
        let result = self.result.as_deref().unwrap_or(b"null");
        if PICKLES.iter().any(|pickle| result.starts_with(pickle)) {
            return Err(RowError::Pickle);
        }
        let value = |bytes: &Option<Vec<u8>>, absent: &str| match bytes {
            Some(bytes) => Ok::<_, RowError>(Json::parse(format.decode(bytes)?)?),
            None => Ok(Json::parse(absent)?),
        };
        let text = |text: &Option<String>| match text {
            Some(text) => Json::string(text),
            None => Json::null(),
        };
        let done =
            self.date_done.as_ref().map(|done| format!("{}+00:00", done.replacen(' ', "T", 1)));
        let mut fields = vec![
            ("status", Json::string(&self.status)),
            ("result", value(&self.result, "null")?),
            ("traceback", text(&self.traceback)),
            ("children", value(&self.children, "[]")?),
            ("date_done", text(&done)),
        ];
        if self.name.is_some() {
            fields.push(("name", text(&self.name)));
            fields.push(("args", value(&self.args, "null")?));
            fields.push(("kwargs", value(&self.kwargs, "null")?));
            fields.push(("worker", text(&self.worker)));
            let retries = self.retries.map_or_else(|| "null".into(), |count| count.to_string());
            fields.push(("retries", Json::parse(retries)?));
            fields.push(("queue", text(&self.queue)));
        }
        let stamps = value(&self.stamps, "null")?;
        let mut document = String::from("{");
        for (position, (name, value)) in fields.iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            // Writing to a string cannot fail.
            let _ = write!(document, "{comma}\"{name}\": {value}");
        }
        let names = stamps.as_part().member("stamped_headers");
        if let Some(names) = names.filter(|names| !matches!(names.as_str(), "null" | "[]")) {
            let _ = write!(document, ", \"stamped_headers\": {}", names.as_str());
        }
        if let Some(stamps) = stamps.as_part().member("stamps") {
            stamps.each_quoted_member(|name, stamp| {
                let _ = write!(document, ", {name}: {}", stamp.as_str());
            });
        }
        let _ = write!(document, ", \"task_id\": {}}}", Json::string(&self.task_id));
        Ok(document)
    }
}
