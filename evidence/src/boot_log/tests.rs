#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

pub(crate) mod builder;
mod format;
pub(crate) mod vectors;
