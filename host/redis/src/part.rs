//! Scripts that several adapters write together.

use std::fmt::{self, Write};
use std::sync::Arc;

use lovage_core::Closing;
use lovage_core::ports::PortError;
use redis::Value;

use crate::Call;
use crate::error::is_passing_answer;

/// One adapter's share of making a verdict true: what it does inside Redis, and what it needs of a
/// [`Closing`] to do it.
///
/// Shares run in the order in which they are joined, each for the whole batch before the next begins,
/// and each may veto what comes after it. One that has no arguments for a closing is passed over.
/// The Lua is the body of a function of `first`, `count`, `receipt` and `known`: its arguments are
/// `ARGV[first]` to `ARGV[first + count - 1]`. It returns
/// * nothing, to go on with the next part,
/// * `false`, to end this closing here, as one that somebody else has the right to, or
/// * a text, to end it here with that error.
///
/// What does not depend on the closing belongs into the part's preparation, which runs once a script and
/// whose locals its functions see. It must not raise errors once it has written: it calls commands that
/// may fail by `redis.pcall`. Numbers for Redis are better left the texts that they came as: what Lua
/// makes a text of it prints with seventeen digits, which takes as long as the command.
#[derive(Clone)]
pub struct ScriptPart {
    /// What comes before all closings.
    preparation: String,
    lua: String,
    /// What is read for all closings at once: Lua of the same form that returns a key.
    reads: Option<String>,
    /// What is done instead when the delivery is no longer the session's.
    when_lost: Option<String>,
    /// The database that it writes, and the one that all others do.
    databases: Option<(i64, i64)>,
    encode: Arc<Encode>,
}

/// What turns a closing into arguments.
type Encode = dyn Fn(&Closing, &mut Arguments) + Send + Sync;

impl ScriptPart {
    /// A part of this Lua, with these arguments for a closing.
    pub fn new(
        lua: impl Into<String>,
        encode: impl Fn(&Closing, &mut Arguments) + Send + Sync + 'static,
    ) -> Self {
        Self {
            preparation: String::new(),
            lua: lua.into(),
            reads: None,
            when_lost: None,
            databases: None,
            encode: Arc::new(encode),
        }
    }

    /// The same part, with Lua statements that run before all closings of a script; other parts do not
    /// see their locals.
    #[must_use]
    pub fn prepared(self, preparation: impl Into<String>) -> Self {
        Self { preparation: preparation.into(), ..self }
    }

    /// The same part, for which the strings under some keys are read in one command: Lua of the same
    /// form names a closing's key, and its functions find what was there as `known`, `false` when there
    /// was nothing. What the part has written meanwhile it has to know by itself.
    #[must_use]
    pub fn reading(self, lua: impl Into<String>) -> Self {
        Self { reads: Some(lua.into()), ..self }
    }

    /// The same part, which also does something when the delivery is no longer the session's: Lua of
    /// the same form, whose answer nobody hears.
    #[must_use]
    pub fn when_lost(self, lua: impl Into<String>) -> Self {
        Self { when_lost: Some(lua.into()), ..self }
    }

    /// The same part in a script whose other parts write database `home`, while this one writes `own`.
    #[must_use]
    pub fn across(self, own: i64, home: i64) -> Self {
        Self { databases: (own != home).then_some((own, home)), ..self }
    }

    /// Fills `arguments`, which are emptied first, with what this part needs of a closing.
    pub fn encode(&self, closing: &Closing, arguments: &mut Arguments) {
        arguments.clear();
        (self.encode)(closing, arguments);
    }
}

impl fmt::Debug for ScriptPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScriptPart").field("lua", &self.lua).finish_non_exhaustive()
    }
}

/// Some parts as two Lua functions.
///
/// `closings(at)` reads the closings whose arguments are `ARGV[at]` and the following, as [`Batch`] adds
/// them: tables with their `receipt`. `run(closings, answers)` runs the parts for those whose answer is
/// 1, and what is to be done when they are lost for those whose answer is 0. It sets an answer to what
/// a veto said (`false` is 0).
#[derive(Debug)]
pub struct Steps;

impl Steps {
    /// The Lua text.
    pub fn lua(parts: &[ScriptPart]) -> String {
        let mut lua = String::from("local parts = {}\n");
        for part in parts {
            lua.push_str("do\n");
            lua.push_str(&part.preparation);
            lua.push_str("\nlocal part = {}\n");
            let functions = [
                ("run", Some(&part.lua)),
                ("name", part.reads.as_ref()),
                ("lost", part.when_lost.as_ref()),
            ];
            for (name, body) in functions {
                if let Some(body) = body {
                    let _ = writeln!(
                        lua,
                        "function part.{name}(first, count, receipt, known)\n{body}\nend"
                    );
                }
            }
            if let Some((own, home)) = part.databases {
                let _ = writeln!(lua, "part.own, part.home = '{own}', '{home}'");
            }
            lua.push_str("parts[#parts + 1] = part\nend\n");
        }
        lua.push_str(include_str!("part.lua"));
        lua
    }

    /// What one closing's answer says.
    ///
    /// # Errors
    /// When a part ended it with an error.
    pub fn answer(what: &str, value: &Value) -> Result<(), PortError> {
        let text = match value {
            Value::Int(_) => return Ok(()),
            Value::BulkString(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("unexpected answer {other:?}"),
        };
        let what = format!("{what} failed");
        if is_passing_answer(&text) {
            Err(PortError::transient(what, text))
        } else {
            Err(PortError::permanent(what, text))
        }
    }
}

/// Adds closings to a script's call, with buffers that are used again for the next.
#[derive(Debug, Default)]
pub struct Batch {
    header: Vec<u8>,
    one: Arguments,
    all: Arguments,
}

impl Batch {
    /// Adds a closing: a header, which says how many arguments each part has and what the receipt is,
    /// and the arguments. Returns the bytes in the arguments.
    pub fn add(
        &mut self,
        call: &mut Call,
        receipt: &[u8],
        parts: &[ScriptPart],
        closing: &Closing,
    ) -> usize {
        let Self { header, one, all } = self;
        header.clear();
        all.clear();
        for part in parts {
            part.encode(closing, one);
            header.extend_from_slice(&count(one.len()));
            one.iter().for_each(|argument| all.push(argument));
        }
        header.extend_from_slice(receipt);
        call.bytes(header);
        for argument in all.iter() {
            call.bytes(argument);
        }
        all.size()
    }

    /// Adds what needs no closing, for a script of one part.
    pub fn add_arguments(call: &mut Call, arguments: &Arguments) {
        call.bytes(&count(arguments.len()));
        for argument in arguments.iter() {
            call.bytes(argument);
        }
    }
}

/// How many arguments a part has, as `part.lua` reads it.
fn count(arguments: usize) -> [u8; 4] {
    u32::try_from(arguments).unwrap_or(u32::MAX).to_be_bytes()
}

/// Arguments of one part for one closing, in buffers that are used again for the next.
#[derive(Debug, Default)]
pub struct Arguments {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arguments {
    /// Adds an argument.
    pub fn push(&mut self, argument: &[u8]) {
        self.bytes.extend_from_slice(argument);
        self.ends.push(self.bytes.len());
    }

    /// Adds an argument made of pieces.
    pub fn push_all(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes in all of them.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let argument = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            argument
        })
    }
}

/// Bytes as a Lua string, whatever they are.
pub fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"_-.:/ ".contains(byte) {
            quoted.push(char::from(*byte));
        } else {
            let _ = write!(quoted, "\\{byte:03}");
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use lovage_core::{Closing, Disposal, Receipt};
    use redis::Value;

    use super::{Arguments, ScriptPart, Steps, quote};

    #[test]
    fn a_quoted_text_cannot_end_early() {
        assert_eq!(quote(b"a\"]]\\\n\xff"), r#""a\034\093\093\092\010\255""#);
    }

    #[test]
    fn arguments_keep_their_borders() {
        let part = ScriptPart::new("", |closing: &Closing, arguments: &mut Arguments| {
            arguments.push(closing.receipt.0.to_string().as_bytes());
            arguments.push(b"");
            arguments.push_all(&[b"c", b"d"]);
        });
        let mut arguments = Arguments::default();
        for number in [1, 2] {
            part.encode(&Closing::only(Receipt(number), Disposal::Acknowledge), &mut arguments);
            let number = number.to_string();
            assert_eq!(arguments.iter().collect::<Vec<_>>(), [number.as_bytes(), b"", b"cd"]);
        }
        assert_eq!((arguments.len(), arguments.size()), (3, 3));
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        assert!(Steps::answer("it", &Value::Int(0)).is_ok());
        let full = Value::BulkString(b"OOM command not allowed".to_vec());
        assert!(Steps::answer("it", &full).is_err_and(|error| error.is_transient()));
        let wrong = Value::BulkString(b"WRONGTYPE Operation".to_vec());
        assert!(Steps::answer("it", &wrong).is_err_and(|error| !error.is_transient()));
    }
}
