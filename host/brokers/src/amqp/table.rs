//! Header tables as JSON, and back.
//!
//! A table has types that JSON has not. Those that Celery's values can be of are written as kombu
//! writes them in JSON (`datetime`, `decimal`, `base64`), so that a table comes back as it was. An
//! integer comes back in the smallest width that Python's client would choose.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, LongString, ShortString};
use lovage_celery::{format_timestamp, parse_timestamp};
use lovage_core::{JsonPart, Timestamp, write_json_string};

/// Writes a table as a JSON object.
pub(super) fn write_table(text: &mut String, table: &FieldTable) {
    text.push('{');
    write_members(text, table, |_| true);
    text.push('}');
}

/// Writes the members of a table, those that are wanted, without braces.
pub(super) fn write_members(
    text: &mut String,
    table: &FieldTable,
    is_wanted: impl Fn(&str) -> bool,
) {
    let mut separator = "";
    for (name, value) in table.into_iter().filter(|(name, _)| is_wanted(name.as_str())) {
        text.push_str(separator);
        write_json_string(text, name.as_str());
        text.push_str(": ");
        write_value(text, value);
        separator = ", ";
    }
}

fn write_value(text: &mut String, value: &AMQPValue) {
    match value {
        AMQPValue::Void => text.push_str("null"),
        AMQPValue::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        AMQPValue::ShortShortInt(value) => write_shown(text, value),
        AMQPValue::ShortShortUInt(value) => write_shown(text, value),
        AMQPValue::ShortInt(value) => write_shown(text, value),
        AMQPValue::ShortUInt(value) => write_shown(text, value),
        AMQPValue::LongInt(value) => write_shown(text, value),
        AMQPValue::LongUInt(value) => write_shown(text, value),
        AMQPValue::LongLongInt(value) => write_shown(text, value),
        AMQPValue::Float(value) => write_number(text, f64::from(*value)),
        AMQPValue::Double(value) => write_number(text, *value),
        AMQPValue::ShortString(value) => write_json_string(text, value.as_str()),
        AMQPValue::LongString(value) => write_bytes(text, value.as_bytes()),
        AMQPValue::ByteArray(value) => write_base64(text, value.as_slice()),
        AMQPValue::DecimalValue(value) => write_typed(text, "decimal", &decimal(*value)),
        AMQPValue::Timestamp(seconds) => {
            let micros = i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            write_typed(text, "datetime", &format_timestamp(Timestamp::from_micros(micros)));
        }
        AMQPValue::FieldTable(table) => write_table(text, table),
        AMQPValue::FieldArray(array) => {
            text.push('[');
            for (number, value) in array.as_slice().iter().enumerate() {
                if number > 0 {
                    text.push_str(", ");
                }
                write_value(text, value);
            }
            text.push(']');
        }
    }
}

fn write_shown(text: &mut String, value: &impl std::fmt::Display) {
    // Writing to a text cannot fail.
    let _ = write!(text, "{value}");
}

/// As Python writes a float: never without a point or an exponent.
fn write_number(text: &mut String, value: f64) {
    if value.is_nan() {
        text.push_str("NaN");
    } else if value.is_infinite() {
        text.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        let _ = write!(text, "{value:?}");
    }
}

fn write_bytes(text: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(value) => write_json_string(text, value),
        Err(_) => write_base64(text, bytes),
    }
}

fn write_base64(text: &mut String, bytes: &[u8]) {
    write_typed(text, "base64", &STANDARD.encode(bytes));
}

fn write_typed(text: &mut String, kind: &str, value: &str) {
    let _ = write!(text, "{{\"__type__\": \"{kind}\", \"__value__\": ");
    write_json_string(text, value);
    text.push('}');
}

fn decimal(value: DecimalValue) -> String {
    let (scale, digits) = (usize::from(value.scale), value.value.to_string());
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - scale).unwrap_or((&digits, ""));
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// The table that a JSON object says; of anything else an empty one.
pub(super) fn read_table(object: JsonPart<'_>) -> FieldTable {
    let mut table = FieldTable::default();
    object.each_member(|name, value| {
        // A name that is longer than the protocol can say is one that it never said.
        if let Ok(name) = ShortString::try_new(name) {
            table.insert(name, read_value(value));
        }
    });
    table
}

fn read_value(value: JsonPart<'_>) -> AMQPValue {
    if value.is_null() {
        AMQPValue::Void
    } else if let Some(flag) = value.as_bool() {
        AMQPValue::Boolean(flag)
    } else if let Some(text) = value.as_text() {
        AMQPValue::LongString(LongString::from(text.as_bytes()))
    } else if value.is_array() {
        let mut array = FieldArray::default();
        value.each_element(|element| array.push(read_value(element)));
        AMQPValue::FieldArray(array)
    } else if value.is_object() {
        read_typed(value).unwrap_or_else(|| AMQPValue::FieldTable(read_table(value)))
    } else {
        read_number(value)
    }
}

fn read_number(value: JsonPart<'_>) -> AMQPValue {
    let text = value.as_str().trim_ascii();
    if let Ok(number) = text.parse::<i64>() {
        return i32::try_from(number).map_or(AMQPValue::LongLongInt(number), AMQPValue::LongInt);
    }
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match value.as_number().filter(|_| !is_integer) {
        Some(number) => AMQPValue::Double(number),
        // An integer beyond 64 bits has no type of its own: its digits are kept.
        None => AMQPValue::LongString(LongString::from(text.as_bytes())),
    }
}

/// The value that an object of exactly kombu's two members stands for.
fn read_typed(object: JsonPart<'_>) -> Option<AMQPValue> {
    let mut members = 0;
    object.each_quoted_member(|_, _| members += 1);
    let kind = object.member("__type__").filter(|_| members == 2)?.as_text()?;
    let value = object.member("__value__")?.as_text()?;
    match &*kind {
        "base64" => Some(AMQPValue::ByteArray(STANDARD.decode(&*value).ok()?.into())),
        "datetime" => {
            let seconds = parse_timestamp(&value)?.as_micros().div_euclid(1_000_000);
            Some(AMQPValue::Timestamp(u64::try_from(seconds).ok()?))
        }
        "decimal" => {
            let (whole, fraction) = value.split_once('.').unwrap_or((&value, ""));
            let scale = u8::try_from(fraction.len()).ok()?;
            let value = format!("{whole}{fraction}").parse().ok()?;
            Some(AMQPValue::DecimalValue(DecimalValue { scale, value }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldTable};
    use lovage_core::JsonPart;

    use super::{read_table, write_table};

    fn written(table: &FieldTable) -> String {
        let mut text = String::new();
        write_table(&mut text, table);
        text
    }

    fn there_and_back(json: &str) -> String {
        written(&read_table(JsonPart::parse(json).unwrap()))
    }

    #[test]
    fn what_celery_writes_comes_back_as_it_was() {
        for json in [
            "{}",
            r#"{"argsrepr": "(2, 3)", "eta": null, "ignore_result": false, "retries": 0}"#,
            r#"{"stamps": {"a": ["b", 1, [true, {}]]}, "timelimit": [null, 2.5]}"#,
            r#"{"big": 9007199254740993, "least": -9223372036854775808, "text": "\ud83c\udf3f"}"#,
            r#"{"nan": NaN, "over": Infinity, "under": -Infinity, "whole": 2.0}"#,
            r#"{"at": {"__type__": "datetime", "__value__": "2026-11-20T10:53:54.000000+00:00"}}"#,
            r#"{"price": {"__type__": "decimal", "__value__": "12.50"}}"#,
            r#"{"raw": {"__type__": "base64", "__value__": "AP8="}}"#,
        ] {
            assert_eq!(there_and_back(json), json);
        }
    }

    #[test]
    fn types_that_json_has_not_are_told_apart() {
        let mut table = FieldTable::default();
        table.insert("bytes".into(), AMQPValue::ByteArray(ByteArray::from(vec![0, 255])));
        table.insert("less".into(), AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 5 }));
        table.insert("seconds".into(), AMQPValue::Timestamp(1_790_000_000));
        table.insert("text".into(), AMQPValue::LongString(vec![b'a', 0xff].into()));
        let text = written(&table);
        assert_eq!(
            text,
            concat!(
                r#"{"bytes": {"__type__": "base64", "__value__": "AP8="}, "#,
                r#""less": {"__type__": "decimal", "__value__": "0.05"}, "#,
                r#""seconds": {"__type__": "datetime", "__value__": "2026-09-21T14:13:20.000000+00:00"}, "#,
                r#""text": {"__type__": "base64", "__value__": "Yf8="}}"#
            )
        );
        assert_eq!(there_and_back(&text), text);
    }

    #[test]
    fn what_no_table_can_say_is_kept_as_text_or_left_out() {
        let long = "n".repeat(256);
        let json = format!(r#"{{"{long}": 1, "huge": 123456789012345678901234567890}}"#);
        assert_eq!(there_and_back(&json), r#"{"huge": "123456789012345678901234567890"}"#);
        assert_eq!(there_and_back("[1]"), "{}");
    }
}
