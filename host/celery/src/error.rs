//! Why a message cannot be read.

use lovage_core::Delivery;

/// A delivery that cannot be read, whole, so that it can be kept as it came.
#[derive(Debug)]
pub struct Undecoded {
    /// The delivery.
    pub delivery: Delivery,
    /// Why it cannot be read.
    pub error: DecodeError,
}

/// What Celery's own worker does with a message that it cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is acknowledged: nobody sees it again.
    Acknowledged,
    /// It is rejected without requeue: a dead-letter exchange, where there is one, gets it.
    Rejected,
    /// The worker ends or reconnects for ever. No example to follow.
    Crashed,
}

/// Why a message cannot be read.
///
/// The words of [`code`](Self::code) are stable: operators filter kept messages by them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The envelope is no JSON object, or lacks its parts.
    #[error("the envelope is malformed: {0}")]
    Envelope(String),
    /// The body's transport encoding is unknown or broken.
    #[error("the body's transport encoding cannot be taken off: {0}")]
    BodyEncoding(String),
    /// The headers have a known name with a value of the wrong kind.
    #[error("header {name:?} is malformed: {why}")]
    Header {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Neither headers nor body name a task.
    #[error("neither headers nor body name a task")]
    NoTask,
    /// The call has no id.
    #[error("the call has no id")]
    NoId,
    /// The content type is not one that this worker accepts.
    #[error("content type {0:?} is not accepted")]
    ContentType(String),
    /// The header `compression` names no known compression.
    #[error("compression {0:?} is unknown")]
    Compression(String),
    /// The compressed body is corrupt.
    #[error("the compressed body is corrupt")]
    Corrupt,
    /// The body inflates to more than the worker allows.
    #[error("the body inflates to more than {0} bytes")]
    TooLarge(usize),
    /// The body is no value of its content type.
    #[error("the body is malformed: {0}")]
    Body(String),
    /// The body nests values more deeply than is read.
    #[error("the body nests values too deeply")]
    TooDeep,
    /// The body holds a typed value that kombu does not know or could not read.
    #[error("the body holds a typed value that cannot be read: {0}")]
    TypedValue(String),
    /// The body of a protocol 2 message is not a list of arguments, keyword arguments and links.
    #[error("the body is not a list of arguments, keyword arguments and links")]
    Shape,
    /// The keyword arguments are not a map, where the protocol says they must be.
    #[error("the keyword arguments are not a map")]
    KeywordArguments,
    /// `eta` is no date.
    #[error("eta {0:?} is no date")]
    Eta(String),
    /// `expires` is no date.
    #[error("expires {0:?} is no date")]
    Expires(String),
}

impl DecodeError {
    /// A word or two for it, in kebab case: the reason under which the message is kept.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "malformed-envelope",
            Self::BodyEncoding(_) => "malformed-body-encoding",
            Self::Header { .. } => "malformed-header",
            Self::NoTask => "no-task",
            Self::NoId => "no-id",
            Self::ContentType(_) => "content-type-refused",
            Self::Compression(_) => "unknown-compression",
            Self::Corrupt => "corrupt-compression",
            Self::TooLarge(_) => "body-too-large",
            Self::Body(_) => "malformed-body",
            Self::TooDeep => "body-too-deep",
            Self::TypedValue(_) => "unknown-typed-value",
            Self::Shape => "malformed-body-shape",
            Self::KeywordArguments => "malformed-keyword-arguments",
            Self::Eta(_) => "malformed-eta",
            Self::Expires(_) => "malformed-expires",
        }
    }

    /// What Celery's own worker does with such a message, for those who count.
    pub const fn settled_by_celery(&self) -> Settled {
        match self {
            Self::Envelope(_) | Self::NoId | Self::Shape | Self::Header { .. } => Settled::Crashed,
            Self::NoTask
            | Self::ContentType(_)
            | Self::KeywordArguments
            | Self::Eta(_)
            | Self::Expires(_) => Settled::Rejected,
            Self::BodyEncoding(_)
            | Self::Compression(_)
            | Self::Corrupt
            | Self::TooLarge(_)
            | Self::Body(_)
            | Self::TooDeep
            | Self::TypedValue(_) => Settled::Acknowledged,
        }
    }
}
