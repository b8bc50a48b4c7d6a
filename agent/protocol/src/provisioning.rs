//! Key shares as they arrive, until two of them make a key that its tag confirms.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use messages::AgentId;

use crate::parameters::KeyChallenge;
use crate::payload::{BootstrapKey, KeyShare};
use crate::tag::{Tag, TagUnavailable, hmac_sha384};

#[cfg(test)]
mod tests;

/// What has been received of a bootstrap key, and which keys were used before.
///
/// Shares arrive in any order and from two peers; every pair is tried. A pair counts only if its key makes the tag
/// that came with U, so a share of somebody else's making delays nothing and reveals nothing.
pub struct Provisioning {
    id: AgentId,
    key: Option<BootstrapKey>,
    offers: VecDeque<Offer>,
    shares: VecDeque<KeyShare>,
    used: BTreeSet<Tag>,
}

/// The tenant's half.
#[derive(Clone)]
pub struct Offer {
    /// The payload still under K; absent when only a key is provisioned.
    pub payload: Option<Vec<u8>>,
    /// U.
    pub share: KeyShare,
    /// HMAC-SHA384(K, agent id): decides which V belongs to it.
    pub tag: Tag,
}

/// A key that its tag confirmed, with what came along with U.
pub struct Provisioned {
    /// K.
    pub key: BootstrapKey,
    /// The payload under K.
    pub payload: Option<Vec<u8>>,
}

impl Provisioning {
    /// Nothing received yet. `used` are the tags of keys used before this process began, `key` the one in force.
    #[must_use]
    pub fn new(id: AgentId, used: impl IntoIterator<Item = Tag>, key: Option<BootstrapKey>) -> Self {
        let (offers, shares) = (VecDeque::new(), VecDeque::new());
        Self { id, key, offers, shares, used: used.into_iter().collect() }
    }

    /// Takes a U. If a V received before completes it, the answer is the key.
    ///
    /// The caller stores [`used`](Self::used) durably *before* it acts on a key, so that a recorded U with its
    /// payload cannot be played back after a restart.
    ///
    /// # Errors
    /// [`ShareRefused::Replayed`] if the key this U belongs to was used before, [`ShareRefused::Exhausted`] if no more
    /// keys can be remembered, [`ShareRefused::Unavailable`] if the cryptographic library fails.
    pub fn offer_u(&mut self, offer: Offer) -> Result<Option<Provisioned>, ShareRefused> {
        // The tag is a function of the key, so that a known tag is a known key whatever the share.
        if self.used.contains(&offer.tag) {
            return Err(ShareRefused::Replayed);
        }
        if self.used.len() >= USED_KEYS_MAX {
            return Err(ShareRefused::Exhausted);
        }
        let shares: Vec<KeyShare> = self.shares.iter().cloned().collect();
        for share in &shares {
            if let Some(key) = confirmed(&self.id, &offer, share)? {
                return Ok(Some(self.complete(key, offer)));
            }
        }
        if !self.offers.iter().any(|known| known.tag == offer.tag && known.share == offer.share) {
            keep(&mut self.offers, offer);
        }
        Ok(None)
    }

    /// Takes a V. If a U received before completes it, the answer is the key.
    ///
    /// A V for a key used before is kept like any other and completes nothing: verifiers deliver V again after their
    /// restart.
    ///
    /// # Errors
    /// [`ShareRefused::Unavailable`] if the cryptographic library fails.
    pub fn offer_v(&mut self, share: KeyShare) -> Result<Option<Provisioned>, ShareRefused> {
        let offers: Vec<Offer> = self.offers.iter().cloned().collect();
        for offer in offers {
            if let Some(key) = confirmed(&self.id, &offer, &share)? {
                return Ok(Some(self.complete(key, offer)));
            }
        }
        if !self.shares.contains(&share) {
            keep(&mut self.shares, share);
        }
        Ok(None)
    }

    /// The answer to a challenge to prove possession of K; `None` before there is a K.
    ///
    /// # Errors
    /// [`TagUnavailable`] if the cryptographic library fails.
    pub fn prove(&self, challenge: &KeyChallenge) -> Result<Option<Tag>, TagUnavailable> {
        self.key.as_ref().map(|key| hmac_sha384(key.as_bytes(), challenge.as_bytes())).transpose()
    }

    /// Tags of all keys that were ever used, at most 4,096.
    pub fn used(&self) -> impl Iterator<Item = &Tag> {
        self.used.iter()
    }

    fn complete(&mut self, key: BootstrapKey, offer: Offer) -> Provisioned {
        self.used.insert(offer.tag);
        self.offers.clear();
        self.shares.clear();
        self.key = Some(key.clone());
        Provisioned { key, payload: offer.payload }
    }
}

impl fmt::Debug for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioning")
            .field("id", &self.id)
            .field("has_key", &self.key.is_some())
            .field("offers", &self.offers.len())
            .field("shares", &self.shares.len())
            .field("used", &self.used.len())
            .finish()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl fmt::Debug for Provisioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioned").finish_non_exhaustive()
    }
}

/// Why a share is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ShareRefused {
    /// As many keys were used as are remembered; a new payload key (NK) starts the count anew, since what was
    /// recorded under the old one no longer decrypts.
    #[error("{USED_KEYS_MAX} keys were used with this payload key; remove payload-private.pem to begin a new one")]
    Exhausted,
    /// The key was used before: this U is a recorded one.
    #[error("this key was used before; provision the agent with a new one")]
    Replayed,
    /// The cryptographic library failed.
    #[error(transparent)]
    Unavailable(#[from] TagUnavailable),
}

/// The key of the pair, if it makes the tag that came with U.
fn confirmed(id: &AgentId, offer: &Offer, share: &KeyShare) -> Result<Option<BootstrapKey>, TagUnavailable> {
    let Some(key) = offer.share.combine(share) else { return Ok(None) };
    let tag = hmac_sha384(key.as_bytes(), id.as_str().as_bytes())?;
    Ok(tag.matches(&offer.tag).then_some(key))
}

/// Keeps the newest; what is pushed out is wiped.
fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= PENDING_MAX {
        list.pop_front();
    }
    list.push_back(item);
}

/// Reads back what [`Provisioning::used`] gave: one tag a line.
///
/// # Errors
/// [`crate::tag::MalformedTag`] for a line that is none.
pub fn read_used(text: &str) -> Result<Vec<Tag>, crate::tag::MalformedTag> {
    text.lines().map(Tag::from_hex).collect()
}

/// Shares of each kind waiting for their other half. One is the rule; eight allow a tenant seven retries with new
/// keys, and bound the pairs tried per request to eight and the payloads held to eight times the request limit.
const PENDING_MAX: usize = 8;
/// One provisioning a day for eleven years; 4,096 tags are 400 KiB on disk.
const USED_KEYS_MAX: usize = 4096;
