//! Runtime policies: which files may run, which keys and critical data may be loaded, and what is left unjudged.
//!
//! A policy is imported (Keylime's JSON, flat lists, either inside a DSSE envelope) into a [`PolicyBuilder`] and
//! compiled once to a [`RuntimePolicy`]: immutable bytes, named by their SHA-256, read in place and shared by all
//! machines. A [`PolicyStack`] puts layers of them on top of each other. The formats are in
//! `docs/spec/runtime-policy.md`.

mod builder;
mod compiled;
mod device_mapper;
mod dsse;
mod flat;
mod keylime;
mod patterns;
mod rules;
mod stack;

pub use builder::{CompileError, InvalidDigest, PolicyBuilder, Table};
pub use compiled::{Allowed, MalformedPolicy, PolicyId, RuntimePolicy};
pub use device_mapper::DeviceMapperError;
pub(crate) use device_mapper::{DeviceMapperPolicy, DeviceRule, Expectation, MatchOn};
pub use dsse::{Envelope, EnvelopeRejected, MalformedEnvelope, SignedPayload, Signers, UnusableSigner};
pub use flat::FlatListError;
pub use keylime::ImportError;
pub use patterns::InvalidPattern;
pub use rules::{Extension, RulesError, ViolationChoice};
pub(crate) use stack::Lookup;
pub use stack::{ExcludeCount, PolicyLayer, PolicyStack, StackId, StackRejected};

#[cfg(test)]
mod tests;
