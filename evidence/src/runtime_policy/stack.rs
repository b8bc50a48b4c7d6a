//! Layers of policies on top of each other: what any of them allows is allowed.

use std::fmt;
use std::sync::Arc;

use openssl::sha::Sha256;

use super::builder::Table;
use super::compiled::{PolicyId, RuntimePolicy, path_hash};
use super::device_mapper::DeviceMapperPolicy;
use super::rules::{Extension, ViolationChoice};
use crate::algorithm::HashAlgorithm;
use crate::ima::Keyring;

/// A policy and the name its findings are told under: `base`, `site`, `node`.
#[derive(Clone, Debug)]
pub struct PolicyLayer {
    /// The layer's name.
    pub name: String,
    /// The policy, shared with all stacks that have it.
    pub policy: Arc<RuntimePolicy>,
}

/// Names a stack: the SHA-256 of its layers' names and policies, from the lowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub [u8; 32]);

impl fmt::Display for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StackId({self})")
    }
}

/// Policies in force together. Immutable; cheap to share, since its layers are.
///
/// Digests, keys, excludes and ignored keyrings add up. Of violations, the highest layer with a rule for the path
/// decides; of device-mapper records, the highest with a policy over them. All layers must agree on what the kernel extends.
#[derive(Clone, Debug)]
pub struct PolicyStack {
    layers: Vec<PolicyLayer>,
    id: StackId,
    log_hash: HashAlgorithm,
    extension: Extension,
    keyring: Keyring,
}

/// Why layers make no stack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackRejected {
    /// There is no layer.
    #[error("a stack has at least one policy")]
    Empty,
    /// Two layers want another extension.
    #[error("layer {layer:?} asks for another pcr-extension than the layer below it")]
    Extension {
        /// The upper of the two.
        layer: String,
    },
    /// Two layers expect other template digests.
    #[error("layer {layer:?} has log_hash_alg {found}, the layer below it {expected}")]
    LogHash {
        /// The upper of the two.
        layer: String,
        /// The lower layer's algorithm.
        expected: HashAlgorithm,
        /// The upper layer's.
        found: HashAlgorithm,
    },
    /// There are more layers than the limit.
    #[error("{found} layers, at most {max} are allowed")]
    TooMany {
        /// Layers found.
        found: usize,
        /// The named limit.
        max: usize,
    },
}

impl PolicyStack {
    /// Puts layers on top of each other, the lowest first.
    ///
    /// # Errors
    /// [`StackRejected`] if there are none, too many, or they contradict each other.
    pub fn new(layers: Vec<PolicyLayer>) -> Result<Self, StackRejected> {
        if layers.len() > LAYERS_MAX {
            return Err(StackRejected::TooMany { found: layers.len(), max: LAYERS_MAX });
        }
        let lowest = layers.first().ok_or(StackRejected::Empty)?;
        let (log_hash, extension) = (lowest.policy.rules.log_hash, lowest.policy.rules.text.extension);
        let (mut keyring, mut hash) = (Keyring::default(), Sha256::new());
        for layer in &layers {
            let rules = &layer.policy.rules;
            if rules.log_hash != log_hash {
                let (expected, found) = (log_hash, rules.log_hash);
                return Err(StackRejected::LogHash { layer: layer.name.clone(), expected, found });
            }
            if rules.text.extension != extension {
                return Err(StackRejected::Extension { layer: layer.name.clone() });
            }
            for key in rules.keyring.keys() {
                keyring.add(key.clone());
            }
            hash.update(&(layer.name.len() as u64).to_le_bytes());
            hash.update(layer.name.as_bytes());
            hash.update(&layer.policy.id().0);
        }
        Ok(Self { id: StackId(hash.finish()), layers, log_hash, extension, keyring })
    }

    /// The same policies with other keys for file signatures than their own, as Keylime takes those given beside a policy.
    /// `name` stands for the keys in the stack's name.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Keyring, name: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(&self.id.0);
        hash.update(b"keyring");
        hash.update(name);
        (self.keyring, self.id) = (keyring, StackId(hash.finish()));
        self
    }

    /// The stack's name.
    #[must_use]
    pub const fn id(&self) -> StackId {
        self.id
    }

    /// The layers, the lowest first.
    #[must_use]
    pub fn layers(&self) -> &[PolicyLayer] {
        &self.layers
    }

    /// The algorithm of the template digests in lists.
    #[must_use]
    pub const fn log_hash(&self) -> HashAlgorithm {
        self.log_hash
    }

    /// What the kernel extends into other banks.
    #[must_use]
    pub const fn extension(&self) -> Extension {
        self.extension
    }

    /// The keys of file signatures, of all layers.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether some layer allows this digest at this path.
    pub(crate) fn look_up(&self, table: Table, path: &[u8], digest: &[u8]) -> Lookup {
        let hash = path_hash(path);
        let mut listed = false;
        for layer in &self.layers {
            if let Some(mut allowed) = layer.policy.find(table, path, hash) {
                if allowed.any(|allowed| allowed == digest) {
                    return Lookup::Allowed;
                }
                listed = true;
            }
        }
        if listed { Lookup::OtherDigest } else { Lookup::Unknown }
    }

    /// Reads where paths would be listed, all at once, so that look-ups soon after find them in the processor's cache.
    pub(crate) fn fetch<'p>(&self, paths: impl Iterator<Item = &'p [u8]>) {
        let mut hashes = [0; FETCHED_MAX];
        let mut count = 0;
        for (hash, path) in hashes.iter_mut().zip(paths) {
            *hash = path_hash(path);
            count += 1;
        }
        let hashes = hashes.get(..count).unwrap_or_default();
        self.layers.iter().for_each(|layer| layer.policy.fetch(hashes));
    }

    /// The digests each layer allows at a path, for a finding's text.
    pub(crate) fn allowed(&self, table: Table, path: &[u8]) -> impl Iterator<Item = (&str, PolicyId, &[u8])> {
        let hash = path_hash(path);
        self.layers.iter().flat_map(move |layer| {
            let allowed = layer.policy.find(table, path, hash).into_iter().flatten();
            allowed.map(|digest| (layer.name.as_str(), layer.policy.id(), digest))
        })
    }

    /// The layer and pattern that hide a path.
    pub(crate) fn exclude(&self, path: &[u8]) -> Option<(usize, usize)> {
        let layers = self.layers.iter().enumerate();
        layers.filter_map(|(layer, found)| found.policy.rules.exclude(path).map(|pattern| (layer, pattern))).next()
    }

    /// What a violation on a path means and which layer says so: the highest with a rule for it.
    pub(crate) fn violation(&self, path: &[u8]) -> (ViolationChoice, Option<&str>) {
        let layers = self.layers.iter().rev();
        let mut rules = layers.filter_map(|layer| Some((layer.policy.rules.violation(path)?, layer.name.as_str())));
        rules.next().map_or((ViolationChoice::default(), None), |(choice, layer)| (choice, Some(layer)))
    }

    /// The policy over device-mapper records and its layer: the highest that has one.
    pub(crate) fn device_mapper(&self) -> Option<(&str, &DeviceMapperPolicy)> {
        let layers = self.layers.iter().rev();
        layers.filter_map(|layer| Some((layer.name.as_str(), layer.policy.rules.device_mapper.as_ref()?))).next()
    }

    /// All layers' names, ` + ` between them, for a finding none of them would have let pass.
    #[must_use]
    pub fn names(&self) -> String {
        self.layers.iter().map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(" + ")
    }

    /// Whether some layer's pattern allows this content of a critical datum.
    pub(crate) fn allows_critical_data(&self, name: &[u8], content: &[u8]) -> bool {
        self.layers.iter().any(|layer| layer.policy.rules.allows_critical_data(name, content))
    }

    /// Whether some layer leaves keys of this keyring unjudged.
    pub(crate) fn ignores_keyring(&self, name: &[u8]) -> bool {
        self.layers.iter().any(|layer| layer.policy.rules.ignores_keyring(name))
    }

    /// An exclude pattern's layer, text and how much it hid.
    pub(crate) fn exclude_count(&self, layer: usize, pattern: usize, count: u64) -> Option<ExcludeCount> {
        let layer = self.layers.get(layer)?;
        let pattern = layer.policy.excludes().get(pattern)?.clone();
        Some(ExcludeCount { layer: layer.name.clone(), pattern, count })
    }
}

/// What a stack says of a digest at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// A layer lists it.
    Allowed,
    /// The path is listed with other digests.
    OtherDigest,
    /// No layer lists the path.
    Unknown,
}

/// How many entries passed for no other reason than an exclude pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcludeCount {
    /// The layer the pattern is of.
    pub layer: String,
    /// The pattern.
    pub pattern: String,
    /// Entries it hid.
    pub count: u64,
}

/// Paths read at once: as many reads of memory as a processor has under way.
pub(super) const FETCHED_MAX: usize = 16;
/// Base, site, role, group, node, and room for overlap during updates.
const LAYERS_MAX: usize = 16;
