//! Values as they came, and the two traits between JSON and Rust.

use serde::{Serialize, de::DeserializeOwned};

/// A value as its JSON text, exactly as it came.
///
/// Python callers send integers of any size, `NaN` and `Infinity`. `serde_json::Value` would round
/// the first and has no word for the others, and teaching it to keep large integers (its feature
/// `arbitrary_precision`) makes every number slower and breaks numbers inside untagged enums. So
/// whoever passes a value on, or wants to read it with a parser of its own, takes this instead: as
/// an argument and as a result it is neither parsed nor copied more than once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Json(String);

impl Json {
    /// The JSON text of `value`.
    ///
    /// # Errors
    /// When `value` has no JSON form, such as a map whose keys are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self)
    }

    /// Takes a text that is already JSON. The host refuses a result that is not.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the text into a type of yours.
    ///
    /// # Errors
    /// When the text is not a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

/// What a task can take. `Json` is not `Deserialize`, so that it can be taken unparsed.
#[doc(hidden)]
pub trait Argument: Sized {
    /// Reads one argument.
    ///
    /// # Errors
    /// When the text is not of this type.
    fn parse(text: &str) -> Result<Self, serde_json::Error>;
}

impl<T: DeserializeOwned> Argument for T {
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl Argument for Json {
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self(text.to_owned()))
    }
}

/// What a task can return. `Json` is not `Serialize`, so that it can be returned as it is.
#[doc(hidden)]
pub trait Reply {
    /// Writes the result.
    ///
    /// # Errors
    /// When it has no JSON form.
    fn into_json(self) -> Result<String, serde_json::Error>;
}

impl<T: Serialize> Reply for T {
    fn into_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self)
    }
}

impl Reply for Json {
    fn into_json(self) -> Result<String, serde_json::Error> {
        Ok(self.0)
    }
}
