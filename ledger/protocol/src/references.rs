//! Which blobs an entry cannot be understood without.

use messages::Digest;
use messages::cbor::CborError;

use crate::body::glance::{QuoteGlance, VerdictGlance};
use crate::body::{Body, CheckpointBody, Enrol, PolicyBody, TimestampBody};
use crate::{Entry, Kind};

impl Entry {
    /// The blobs the body names as evidence, policies, notes or the binding that it introduces.
    /// A kind this version does not know names none.
    ///
    /// # Errors
    /// [`CborError`] if the body is not what its kind says.
    pub fn blobs(&self) -> Result<Vec<Digest>, CborError> {
        Ok(match self.kind {
            Kind::Checkpoint => vec![CheckpointBody::decode(&self.body)?.note],
            Kind::Enrol => vec![Enrol::decode(&self.body)?.binding],
            Kind::Policy => match PolicyBody::decode(&self.body)? {
                PolicyBody::Agent(policy) => policy.policies.iter().map(|named| named.digest).collect(),
                PolicyBody::Named(policy) => policy.content.into_iter().collect(),
            },
            Kind::Quote => {
                let quote = QuoteGlance::read(&self.body)?;
                quote.boot_log.into_iter().chain(quote.ima_delta).collect()
            }
            Kind::Verdict => {
                let mut policies = Vec::new();
                VerdictGlance::read(&self.body, |policy| policies.push(policy))?;
                policies
            }
            Kind::Timestamp => {
                let stamp = TimestampBody::decode(&self.body)?;
                vec![stamp.note, stamp.token]
            }
            _ => Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
