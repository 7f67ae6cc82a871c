//! Scripts that several adapters write together.

use std::fmt::{self, Write};
use std::sync::Arc;

use lovage_core::Closing;
use lovage_core::ports::PortError;
use redis::Value;

use crate::error::is_passing_answer;

/// One adapter's share of making a verdict true: what it does inside Redis, and what it needs of a
/// [`Closing`] to do it.
///
/// Shares run in the order in which they are joined, and each may veto what comes after it. The Lua
/// is the body of a function of `first`, `count` and `receipt`: its arguments are `ARGV[first]` to
/// `ARGV[first + count - 1]`. It returns
/// * nothing, to go on with the next part,
/// * `false`, to end this closing here, as one that somebody else has the right to, or
/// * a text, to end it here with that error.
///
/// What does not depend on the closing belongs into the part's preparation, which runs once a script and
/// whose locals its functions see. It must not raise errors once it has written: it calls commands that
/// may fail by `redis.pcall`.
#[derive(Clone)]
pub struct ScriptPart {
    /// What comes before all closings.
    preparation: String,
    lua: String,
    /// What is done instead when the delivery is no longer the session's.
    when_lost: Option<String>,
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
        let preparation = String::new();
        Self { preparation, lua: lua.into(), when_lost: None, encode: Arc::new(encode) }
    }

    /// The same part, with Lua statements that run before all closings of a script; other parts do not
    /// see their locals.
    #[must_use]
    pub fn prepared(self, preparation: impl Into<String>) -> Self {
        Self { preparation: preparation.into(), ..self }
    }

    /// The same part, which also does something when the delivery is no longer the session's: Lua of
    /// the same form, whose answer nobody hears.
    #[must_use]
    pub fn when_lost(self, lua: impl Into<String>) -> Self {
        Self { when_lost: Some(lua.into()), ..self }
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

/// Some parts as one Lua function `run(at, receipt)`: `ARGV[at]` is where the first part's group
/// begins. It returns 1 when all have run, what a veto said otherwise (`false` as 0), and as a
/// second value where the next closing's arguments begin.
#[derive(Debug)]
pub struct Steps;

impl Steps {
    /// The Lua text.
    pub fn lua(parts: &[ScriptPart]) -> String {
        let mut lua = String::from("local parts, losses = {}, {}\n");
        for part in parts {
            lua.push_str("do\n");
            lua.push_str(&part.preparation);
            lua.push_str("\nparts[#parts + 1] = function(first, count, receipt)\n");
            lua.push_str(&part.lua);
            lua.push_str("\nend\n");
            if let Some(when_lost) = &part.when_lost {
                lua.push_str("losses[#parts] = function(first, count, receipt)\n");
                lua.push_str(when_lost);
                lua.push_str("\nend\n");
            }
            lua.push_str("end\n");
        }
        lua.push_str(RUN);
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

const RUN: &str = "
local function run(at, receipt, answer)
  local lost = answer == 0
  for n = 1, #parts do
    local count = tonumber(ARGV[at])
    if answer == 1 then
      local veto = parts[n](at + 1, count, receipt)
      if veto ~= nil then answer = veto or 0 end
    elseif lost and losses[n] then
      losses[n](at + 1, count, receipt)
    end
    at = at + 1 + count
  end
  return answer, at
end
";

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
