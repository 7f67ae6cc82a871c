//! From a call's arguments to a function's parameters.
//!
//! A caller sends a JSON array and a JSON object. They are cut into the texts of their members
//! without being parsed, bound to parameters by Python's rules, and each text is then parsed once,
//! into the type of its parameter. What does not fit is a `TypeError` worded as Python words it,
//! and is rejected: no retry can make it fit.

use std::borrow::Cow;

use crate::{TaskError, json::Argument};

/// What a function takes.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The function's name, as messages show it.
    pub function: &'static str,
    /// Its parameters in order, the context left out.
    pub parameters: &'static [Parameter],
}

/// One parameter of a task.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name, as callers may use it.
    pub name: &'static str,
    /// Whether it may be left out, and is `None` then.
    pub optional: bool,
}

/// Binds `args` and `kwargs` to `slots`, one for each parameter.
///
/// # Errors
/// A rejected `TypeError` when one is missing, given twice or unknown; a rejected `ValueError` when
/// the texts are no array and no object.
pub fn bind<'a>(
    signature: &Signature,
    slots: &mut [Option<&'a str>],
    args: &'a str,
    kwargs: &'a str,
) -> Result<(), TaskError> {
    let mut given = 0;
    let mut elements = Cursor::open(args, '[').ok_or_else(|| malformed("args"))?;
    while let Some(value) = elements.element(']').map_err(|Malformed| malformed("args"))? {
        if let Some(slot) = slots.get_mut(given) {
            *slot = Some(value);
        }
        given += 1;
    }
    if given > slots.len() {
        return Err(too_many(signature, given));
    }
    let mut members = Cursor::open(kwargs, '{').ok_or_else(|| malformed("kwargs"))?;
    while let Some((name, value)) = members.member().map_err(|Malformed| malformed("kwargs"))? {
        let index = signature.parameters.iter().position(|known| known.name == name);
        let Some(slot) = index.and_then(|index| slots.get_mut(index)) else {
            return Err(type_error(
                signature,
                &format!("got an unexpected keyword argument '{name}'"),
            ));
        };
        if slot.replace(value).is_some() {
            return Err(type_error(
                signature,
                &format!("got multiple values for argument '{name}'"),
            ));
        }
    }
    missing(signature, slots)
}

/// Parses a parameter that must be there.
///
/// # Errors
/// A rejected `TypeError` when the value has another type, a rejected `ValueError` when it is not
/// JSON that Rust can hold (`NaN`, a lone surrogate).
pub fn required<T: Argument>(
    signature: &Signature,
    name: &str,
    slot: Option<&str>,
) -> Result<T, TaskError> {
    let text = slot.unwrap_or("null");
    T::parse(text).map_err(|error| {
        if error.is_data() {
            type_error(signature, &format!("argument '{name}': {}", without_position(&error)))
        } else {
            let shown: Cow<'_, str> = shorten(text);
            value_error(signature, &format!("argument '{name}' is {shown}: {error}; take lovage::Json to receive it as it is"))
        }
    })
}

/// Parses a parameter that keeps numbers as `serde_json::Value` does, which would round large ones.
///
/// # Errors
/// As [`required`], and a rejected `ValueError` when the text holds an integer beyond 64 bits.
pub fn required_exact<T: Argument>(
    signature: &Signature,
    name: &str,
    slot: Option<&str>,
) -> Result<T, TaskError> {
    if slot.is_some_and(has_big_integer) {
        return Err(value_error(
            signature,
            &format!(
                "argument '{name}' holds an integer beyond 64 bits, which would be rounded; take lovage::Json to receive it as it is"
            ),
        ));
    }
    required(signature, name, slot)
}

/// Parses a parameter that may be left out.
///
/// # Errors
/// As [`required`].
pub fn optional<T: Argument>(
    signature: &Signature,
    name: &str,
    slot: Option<&str>,
) -> Result<Option<T>, TaskError> {
    match slot {
        None | Some("null") => Ok(None),
        present => required(signature, name, present).map(Some),
    }
}

/// The text is no JSON array or object.
struct Malformed;

/// Cuts an array or an object into its members' texts.
///
/// It checks brackets and strings only. A member that is no JSON inside is found by whoever parses
/// it; so the tokens that Python writes and strict parsers refuse pass.
struct Cursor<'a> {
    rest: &'a str,
    first: bool,
}

impl<'a> Cursor<'a> {
    fn open(text: &'a str, bracket: char) -> Option<Self> {
        let rest = trim(text).strip_prefix(bracket)?;
        Some(Self { rest, first: true })
    }

    fn take(&mut self, token: char) -> bool {
        let rest = trim(self.rest);
        let stripped = rest.strip_prefix(token);
        self.rest = stripped.unwrap_or(rest);
        stripped.is_some()
    }

    /// The next member's text, or `None` behind the closing bracket.
    fn element(&mut self, closing: char) -> Result<Option<&'a str>, Malformed> {
        let first = std::mem::replace(&mut self.first, false);
        if self.take(closing) {
            return if trim(self.rest).is_empty() { Ok(None) } else { Err(Malformed) };
        }
        if !first && !self.take(',') {
            return Err(Malformed);
        }
        self.value().map(Some)
    }

    fn member(&mut self) -> Result<Option<(Cow<'a, str>, &'a str)>, Malformed> {
        let Some(name) = self.element('}')? else { return Ok(None) };
        let plain = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let name = match plain {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => Cow::Owned(serde_json::from_str(name).map_err(|_| Malformed)?),
        };
        if !self.take(':') {
            return Err(Malformed);
        }
        Ok(Some((name, self.value()?)))
    }

    fn value(&mut self) -> Result<&'a str, Malformed> {
        self.rest = trim(self.rest);
        let (value, rest) = value_length(self.rest)
            .and_then(|length| self.rest.split_at_checked(length))
            .ok_or(Malformed)?;
        self.rest = rest;
        Ok(value)
    }
}

/// How many bytes the value at the start of `text` has, or `None` when it does not end.
fn value_length(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (index, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 1 => depth -= 1,
            b']' | b'}' if depth == 1 => return Some(index + 1),
            b']' | b'}' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => {
                return (index > 0).then_some(index);
            }
            _ => {}
        }
    }
    (depth == 0 && !in_string && !text.is_empty()).then_some(text.len())
}

/// Whether an integer in `text`, outside its strings, needs more than 64 bits.
fn has_big_integer(text: &str) -> bool {
    let (mut in_string, mut escaped, mut start) = (false, false, None);
    for (index, byte) in text.bytes().chain([b' ']).enumerate() {
        let in_number =
            !in_string && matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        match (in_number, start) {
            (true, None) => start = Some(index),
            (false, Some(from)) => {
                if text.get(from..index).is_some_and(is_big_integer) {
                    return true;
                }
                start = None;
            }
            _ => {}
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    false
}

fn is_big_integer(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && number.parse::<i64>().is_err()
        && number.parse::<u64>().is_err()
}

fn trim(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

fn missing(signature: &Signature, slots: &[Option<&str>]) -> Result<(), TaskError> {
    let names: Vec<String> = signature
        .parameters
        .iter()
        .zip(slots)
        .filter(|(parameter, slot)| slot.is_none() && !parameter.optional)
        .map(|(parameter, _)| format!("'{}'", parameter.name))
        .collect();
    let listed = match names.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [init @ .., last] => format!("{}, and {last}", init.join(", ")),
    };
    let count = names.len();
    let noun = plural("argument", count);
    Err(type_error(signature, &format!("missing {count} required positional {noun}: {listed}")))
}

fn too_many(signature: &Signature, given: usize) -> TaskError {
    let most = signature.parameters.len();
    let least = signature.parameters.iter().filter(|parameter| !parameter.optional).count();
    let takes = if least == most {
        format!("{most} positional {}", plural("argument", most))
    } else {
        format!("from {least} to {most} positional {}", plural("argument", most))
    };
    let were = if given == 1 { "was" } else { "were" };
    type_error(signature, &format!("takes {takes} but {given} {were} given"))
}

fn plural(noun: &str, count: usize) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// serde_json's message, less its "at line 1 column 3", which means nothing to the caller.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text).to_owned()
}

fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40).and_then(|(end, _)| text.get(..end)) {
        Some(start) => Cow::Owned(format!("{start}…")),
        None => Cow::Borrowed(text),
    }
}

fn malformed(what: &str) -> TaskError {
    TaskError::reject(format!("the call's {what} are malformed JSON")).exception("ValueError")
}

fn type_error(signature: &Signature, message: &str) -> TaskError {
    TaskError::reject(format!("{}() {message}", signature.function)).exception("TypeError")
}

fn value_error(signature: &Signature, message: &str) -> TaskError {
    TaskError::reject(format!("{}() {message}", signature.function)).exception("ValueError")
}
