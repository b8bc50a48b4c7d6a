//! Bundles of real soft-TPM quotes in a signed log, good ones and false ones.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod altered;
mod commands;
mod exported;
mod extracted;
mod false_logs;
mod intervals;
mod killed;
mod liar;
mod lied_to;
mod log;
mod machine;
mod measured;
mod places;
mod receipts;
mod second_opinion;
mod simulated;
mod sound;
mod stamped;
mod watched;
mod witnessed;
