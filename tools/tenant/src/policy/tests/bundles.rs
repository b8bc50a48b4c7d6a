//! Bundles tried and explained.

use fixtures_softtpm::{Hash, KeyKind, SoftTpm};
use ledger_protocol::{
    Beacon, Entry, Kind,
    body::{BankValues, Body, Finding, ImaDelta, ImaState, QuoteBody, Verdict, VerdictResult},
};
use messages::{Digest, UnixMillis};
use openssl::sha::sha256 as hash;
use serde_bytes::ByteBuf;
use serde_json::json;
use tools_auditor::bundle::{FORMAT, ListedEntry, Manifest, blob_path, entry_path};

use super::{
    Folder, policy, runtime_policy, sha256,
    trying::{line, template_data},
};

/// A machine whose quotes go into a bundle, each with the entries since the one before.
struct Machine {
    folder: Folder,
    tpm: SoftTpm,
    entries: Vec<ListedEntry>,
    blobs: Vec<Digest>,
    measured: u64,
}

impl Machine {
    fn new() -> Self {
        let tpm = SoftTpm::new(KeyKind::P256, 0);
        Self { folder: Folder::new(), tpm, entries: Vec::new(), blobs: Vec::new(), measured: 0 }
    }

    /// Measures files and records a quote over PCR 10.
    fn quote(&mut self, files: &[(&str, &[u8])]) {
        let mut list = String::new();
        for (path, data) in files {
            self.tpm.extend(Hash::Sha256, 10, &hash(&template_data(path, &sha256(data))));
            list.push_str(&line(path, &sha256(data)));
        }
        let delta = Digest(hash(list.as_bytes()));
        self.folder.put(&blob_path(&delta), &list);
        let quote = self.tpm.quote(b"nonce", Hash::Sha256, 1 << 10);
        let values = quote.values.iter().map(|(index, value)| (u64::from(*index), ByteBuf::from(value.clone())));
        let body = QuoteBody {
            beacon: Beacon { tree_size: 1, note_digest: Digest::ZERO },
            salt: Digest::ZERO,
            attest: ByteBuf::from(quote.attest),
            signature: ByteBuf::from(quote.signature),
            pcrs: vec![BankValues { alg: 11, values: values.collect() }],
            ima: ImaDelta { from: self.measured, count: files.len() as u64, delta: Some(delta) },
            boot_log: None,
        };
        self.measured += files.len() as u64;
        self.blobs.push(delta);
        self.put(Kind::Quote, body.encode());
    }

    fn verdict(&mut self, result: VerdictResult, findings: Vec<Finding>) {
        let body = Verdict {
            quote: Digest::ZERO,
            result,
            findings,
            policies: Vec::new(),
            binding: Digest::ZERO,
            appraiser: "test".to_owned(),
            ima_state: ImaState { count: 0, running: ByteBuf::new() },
        };
        self.put(Kind::Verdict, body.encode());
    }

    fn put(&mut self, kind: Kind, body: Vec<u8>) {
        let index = self.entries.len() as u64;
        let prev = if index == 0 { Digest::ZERO } else { Digest([7; 32]) };
        let agent = Some("node-1".parse().unwrap());
        let entry = Entry { kind, agent, seq: index, prev, recorded: UnixMillis(1_800_000_000_000), body };
        self.folder.put(&entry_path(index), entry.encode().unwrap());
        self.entries.push(ListedEntry { index, seq: index, kind: kind.name().to_owned() });
    }

    fn finish(mut self) -> Folder {
        self.blobs.sort();
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            agent: "node-1".parse().unwrap(),
            from: None,
            to: None,
            origin: "log.example/test".to_owned(),
            tree_size: self.entries.len() as u64,
            entries: self.entries,
            blobs: self.blobs,
            checkpoints: Vec::new(),
            timestamps: Vec::new(),
            digest: Digest::ZERO,
        };
        self.folder.put("manifest.json", manifest.encode());
        self.folder
    }
}

#[test]
fn a_bundles_quotes_are_judged_one_after_the_other() {
    let mut machine = Machine::new();
    machine.quote(&[("boot_aggregate", b"0"), ("/usr/bin/x", b"x")]);
    machine.quote(&[("/usr/bin/y", b"y")]);
    let folder = machine.finish();
    let mut listed =
        json!({"boot_aggregate": [sha256(b"0")], "/usr/bin/x": [sha256(b"x")], "/usr/bin/y": [sha256(b"y")]});
    let trial = |name: &str, listed: &serde_json::Value| {
        let rules = folder.put(name, runtime_policy(listed, &[]));
        policy(&["try", &rules, "--bundle", &folder.path("")])
    };
    trial("whole.json", &listed).unwrap();
    listed["/usr/bin/y"] = json!([sha256(b"another y")]);
    trial("other.json", &listed).unwrap_err();
}

#[test]
fn a_bundles_failed_verdicts_are_explained() {
    let mut machine = Machine::new();
    machine.verdict(VerdictResult::Pass, Vec::new());
    let (component, event) = ("ima".to_owned(), "pcr_mismatch".to_owned());
    let text = "entries up to 3 give \u{1b}[31m…".to_owned();
    machine.verdict(VerdictResult::Fail, vec![Finding { component, event, severity: 6, text }]);
    let folder = machine.finish();
    policy(&["explain", &folder.path("")]).unwrap();
    policy(&["explain", &folder.path(&entry_path(1)), "--json"]).unwrap();
    let passed_only = folder.path(&entry_path(0));
    policy(&["explain", &passed_only]).unwrap();
}
