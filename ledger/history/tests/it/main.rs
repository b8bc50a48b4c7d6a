//! Proofs over whole synthetic logs: made, verified, altered and refused.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod alterations;
mod attacks;
mod beacons;
mod days;
mod fleet;
mod labels;
mod rebuilding;
mod second_opinion;
mod support;
