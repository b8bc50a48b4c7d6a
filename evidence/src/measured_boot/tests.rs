#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod declarative;
mod forged;
mod keylime;
mod mutation;
mod support;
