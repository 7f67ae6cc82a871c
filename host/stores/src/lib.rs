//! Stores: result backends, and what is kept beside them.
