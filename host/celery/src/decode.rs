//! From a delivery to the call in it.
use lovage_core::{Delivery, Invocation};

use crate::{Accept, DecodeError, Undecoded};

/// Reads the call in a delivery, of either message protocol.
///
/// # Errors
/// The delivery comes back whole, with the reason, so that it can be kept.
pub fn decode(delivery: Delivery, accept: &Accept) -> Result<Invocation, Box<Undecoded>> {
    let _ = accept;
    Err(Box::new(Undecoded { delivery, error: DecodeError::NoTask }))
}
