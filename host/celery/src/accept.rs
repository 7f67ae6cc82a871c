//! What a worker is willing to read.

/// The content types and sizes that a worker is willing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    content_types: Vec<ContentType>,
    /// The most bytes that a body may have after its compression is taken off.
    pub inflated_bytes_max: usize,
}

/// A serializer that can be read. Pickle cannot be: reading it runs what the sender wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`, with kombu's typed values.
    Json,
    /// `application/x-msgpack`.
    MessagePack,
    /// `application/x-yaml`, the safe subset.
    Yaml,
}

/// Why a list of content types is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Pickle runs what the sender wants, so it is never read.
    #[error("pickle cannot be accepted: reading it runs code of the sender's choice")]
    Pickle,
    /// Nothing of that name can be read.
    #[error("content type {0:?} is not known; json, msgpack and yaml are")]
    Unknown(String),
}

/// Celery's default: JSON only. A body may inflate to 16 MiB.
impl Default for Accept {
    fn default() -> Self {
        Self { content_types: vec![ContentType::Json], inflated_bytes_max: 16 << 20 }
    }
}

impl Accept {
    /// Accepts these serializers, each by its short name or its content type, as in Celery's
    /// `accept_content`.
    ///
    /// # Errors
    /// When one of them is pickle or unknown.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, AcceptError> {
        let content_types =
            names.into_iter().map(ContentType::from_name).collect::<Result<_, _>>()?;
        Ok(Self { content_types, ..Self::default() })
    }

    /// Whether a body of this content type is read.
    pub fn allows(&self, content_type: ContentType) -> bool {
        self.content_types.contains(&content_type)
    }
}

impl ContentType {
    /// The serializer of this short name or content type.
    ///
    /// # Errors
    /// When it is pickle or unknown.
    pub fn from_name(name: &str) -> Result<Self, AcceptError> {
        match name {
            "json" | "application/json" => Ok(Self::Json),
            "msgpack" | "application/x-msgpack" => Ok(Self::MessagePack),
            "yaml" | "application/x-yaml" => Ok(Self::Yaml),
            "pickle" | "application/x-python-serialize" => Err(AcceptError::Pickle),
            _ => Err(AcceptError::Unknown(name.into())),
        }
    }

    /// The serializer of a message's content type, which is never a short name.
    pub(crate) fn of_message(content_type: &str) -> Option<Self> {
        content_type.contains('/').then(|| Self::from_name(content_type).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{Accept, AcceptError, ContentType};

    #[test]
    fn only_json_is_read_unless_told_otherwise() {
        assert!(Accept::default().allows(ContentType::Json));
        assert!(!Accept::default().allows(ContentType::Yaml));
        let both = Accept::from_names(["application/x-yaml", "msgpack"]).unwrap();
        assert!(both.allows(ContentType::Yaml) && both.allows(ContentType::MessagePack));
        assert!(!both.allows(ContentType::Json));
    }

    #[test]
    fn pickle_cannot_be_accepted_by_any_of_its_names() {
        for name in ["pickle", "application/x-python-serialize"] {
            assert_eq!(Accept::from_names(["json", name]), Err(AcceptError::Pickle));
        }
        assert!(matches!(Accept::from_names(["jsom"]), Err(AcceptError::Unknown(_))));
    }

    #[test]
    fn a_short_name_in_a_message_is_no_content_type() {
        assert_eq!(ContentType::of_message("json"), None);
        assert_eq!(ContentType::of_message("application/json"), Some(ContentType::Json));
    }
}
