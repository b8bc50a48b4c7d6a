//! A log in memory: real entries, real tree, real signatures, and an operator who may lie.

use std::{collections::BTreeMap, convert::Infallible, path::Path};

use ledger_protocol::{
    Beacon, Entry, Kind,
    body::Body,
    body::{Enrol, PolicyBody, QuoteBody, TimestampBody, Verdict},
};
use ledger_tlog::{
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::{Hash, leaf_hash},
    key::{KeyName, PosixSeconds},
    signer::{Cosigner, NoteSigner},
    tlog_proof::TlogProof,
    tree::{self, TreeHead},
};
use messages::{AgentId, Digest, UnixMillis, ledger::Head};
use tools_auditor::bundle::{BundleWriter, FORMAT, ListedEntry, ListedStamp, Manifest, NamesBlobs};

/// Where the logs' clocks start.
pub(crate) const START: u64 = 1_800_000_000_000;

pub(crate) struct Log {
    pub(crate) signer: NoteSigner,
    pub(crate) now: u64,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) notes: BTreeMap<u64, Vec<u8>>,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    /// Who cosigns, and how many seconds after the log's clock.
    pub(crate) witnesses: Vec<(Cosigner, u64)>,
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
    heads: BTreeMap<Option<AgentId>, Head>,
}

impl Log {
    pub(crate) fn new(seed: u8) -> Self {
        let name = KeyName::new("log.example/test").unwrap();
        let mut log = Self {
            signer: NoteSigner::from_seed(name, &[seed; 32]).unwrap(),
            now: START,
            entries: Vec::new(),
            notes: BTreeMap::new(),
            blobs: BTreeMap::new(),
            witnesses: Vec::new(),
            frontier: Frontier::new(),
            levels: Vec::new(),
            heads: BTreeMap::new(),
        };
        // What other agents and the fleet do in between.
        log.noise();
        log
    }

    pub(crate) fn vkey(&self) -> String {
        self.signer.verifier().to_string()
    }

    /// An entry of the fleet's chain.
    pub(crate) fn noise(&mut self) {
        let body = ledger_protocol::body::ServiceStart {
            service: "test".into(),
            build: "test/1".into(),
            instance: self.entries.len().to_string(),
        };
        self.append(None, &body);
    }

    pub(crate) fn put_blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest(openssl::sha::sha256(bytes));
        self.blobs.insert(digest, bytes.to_vec());
        digest
    }

    pub(crate) fn head(&self, agent: &AgentId) -> Head {
        self.heads.get(&Some(agent.clone())).copied().unwrap_or_default()
    }

    pub(crate) fn append<B: Body>(&mut self, agent: Option<&AgentId>, body: &B) -> Digest {
        self.append_raw(agent, B::KIND, body.encode())
    }

    pub(crate) fn append_raw(&mut self, agent: Option<&AgentId>, kind: Kind, body: Vec<u8>) -> Digest {
        let head = self.heads.get(&agent.cloned()).copied().unwrap_or_default();
        let entry =
            Entry { kind, agent: agent.cloned(), seq: head.seq, prev: head.prev, recorded: UnixMillis(self.now), body };
        self.append_entry(&entry)
    }

    /// Appends whatever is given, also what no honest sequencer would.
    pub(crate) fn append_entry(&mut self, entry: &Entry) -> Digest {
        let bytes = entry.encode().unwrap();
        let leaf = leaf_hash(&bytes);
        let levels = &mut self.levels;
        self.frontier.append(leaf, |level, _, hash| {
            let level = usize::from(level);
            levels.resize(levels.len().max(level + 1), Vec::new());
            levels[level].push(hash);
        });
        self.entries.push(bytes);
        let leaf = Digest(*leaf.as_bytes());
        self.heads.insert(entry.agent.clone(), Head { seq: entry.seq + 1, prev: leaf });
        leaf
    }

    /// Signs the tree as it is now.
    pub(crate) fn sign(&mut self) -> Beacon {
        let head = self.frontier.tree_head();
        let note = self.sign_head(head);
        self.notes.insert(head.tree_size, note.clone());
        Beacon { tree_size: head.tree_size, note_digest: Digest(openssl::sha::sha256(&note)) }
    }

    pub(crate) fn sign_head(&self, head: TreeHead) -> Vec<u8> {
        let checkpoint = Checkpoint::new(self.signer.verifier().name().as_str(), head).unwrap();
        let mut note = checkpoint.sign(&self.signer).unwrap();
        for (cosigner, delay) in &self.witnesses {
            note.cosign(cosigner, PosixSeconds(self.now / 1_000 + delay)).unwrap();
        }
        note.to_bytes()
    }

    fn read(&self, level: u8, start: u64, out: &mut [Hash]) -> Result<(), Infallible> {
        let start = usize::try_from(start).unwrap();
        out.copy_from_slice(&self.levels[usize::from(level)][start..start + out.len()]);
        Ok(())
    }

    /// The log's time-stamps, with their indices.
    fn timestamps(&self) -> Vec<(u64, TimestampBody)> {
        let decoded = (0..).zip(&self.entries).map(|(index, bytes)| (index, Entry::decode(bytes).unwrap()));
        let stamps = decoded.filter(|(_, entry)| entry.kind == Kind::Timestamp);
        stamps.map(|(index, entry)| (index, TimestampBody::decode(&entry.body).unwrap())).collect()
    }

    /// Indices of an agent's entries.
    pub(crate) fn indices(&self, agent: &AgentId) -> Vec<u64> {
        let of_agent = |bytes: &Vec<u8>| Entry::decode(bytes).unwrap().agent.as_ref() == Some(agent);
        (0..).zip(&self.entries).filter(|(_, bytes)| of_agent(bytes)).map(|(index, _)| index).collect()
    }

    /// Writes a bundle of the entries chosen, under a checkpoint over the whole log.
    pub(crate) fn bundle(&mut self, agent: &AgentId, chosen: &[u64], target: &Path) {
        let size = self.sign().tree_size;
        let note = self.notes[&size].clone();
        let parsed = ledger_tlog::note::Note::parse(&note).unwrap();
        let writer = BundleWriter::begin(target).unwrap();
        let (mut listed, mut blobs, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for index in chosen.iter().copied() {
            let bytes = &self.entries[usize::try_from(index).unwrap()];
            let entry = Entry::decode(bytes).unwrap();
            let inclusion = tree::inclusion_proof(index, size, |l, s, o| self.read(l, s, o)).unwrap();
            let proof = TlogProof { extra: None, index, inclusion, note: parsed.clone() };
            writer.entry(index, bytes, proof.to_string().as_bytes()).unwrap();
            listed.push(ListedEntry { index, seq: entry.seq, kind: entry.kind.name().to_owned() });
            match entry.kind {
                Kind::Enrol => blobs.extend(Enrol::decode(&entry.body).unwrap().blobs()),
                Kind::Policy => {
                    if let Ok(PolicyBody::Agent(policy)) = PolicyBody::decode(&entry.body) {
                        blobs.extend(policy.blobs());
                    }
                }
                Kind::Quote => {
                    let quote = QuoteBody::decode(&entry.body).unwrap();
                    blobs.extend(quote.blobs());
                    sizes.push(quote.beacon.tree_size);
                }
                Kind::Verdict => {
                    blobs.extend(Verdict::decode(&entry.body).map(|body| body.blobs()).unwrap_or_default())
                }
                _ => {}
            }
        }
        let mut timestamps = Vec::new();
        for (index, body) in self.timestamps() {
            let (bytes, old) = (&self.entries[usize::try_from(index).unwrap()], body.tree_size);
            let inclusion = tree::inclusion_proof(index, size, |l, s, o| self.read(l, s, o)).unwrap();
            let proof = TlogProof { extra: None, index, inclusion, note: parsed.clone() }.to_string();
            let consistency = tree::consistency_proof(old, size, |l, s, o| self.read(l, s, o)).unwrap();
            writer.stamp((index, bytes), proof.as_bytes(), (old, &consistency), &note).unwrap();
            blobs.extend([body.note, body.token]);
            timestamps.push(ListedStamp { index, tree_size: old });
        }
        blobs.sort_unstable();
        blobs.dedup();
        blobs.retain(|digest| self.blobs.contains_key(digest));
        sizes.sort_unstable();
        sizes.dedup();
        sizes.retain(|size| self.notes.contains_key(size));
        blobs.iter().for_each(|digest| writer.blob(digest, &self.blobs[digest]).unwrap());
        for old in &sizes {
            let proof = tree::consistency_proof(*old, size, |l, s, o| self.read(l, s, o)).unwrap();
            writer.beacon(*old, &self.notes[old], &proof, &note).unwrap();
        }
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            agent: agent.clone(),
            from: None,
            to: None,
            origin: self.signer.verifier().name().to_string(),
            tree_size: size,
            entries: listed,
            blobs,
            checkpoints: sizes,
            timestamps,
            digest: Digest::ZERO,
        };
        writer.finish(&note, &manifest).unwrap();
    }
}
