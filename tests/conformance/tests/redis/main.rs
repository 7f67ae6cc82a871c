//! Redis is put to every promise, and to those that only it makes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail loudly")]

mod alone;
mod formats;
mod meter;
mod rig;
mod settle;

use rig::Rig;

lovage_conformance::broker_suite!(Rig);
lovage_conformance::kept_suite!(Rig);
lovage_conformance::result_suite!(Rig);
