//! Redis lists as kombu keeps them.
