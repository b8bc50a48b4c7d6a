#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod appraising;
mod attributes;
mod builder;
mod devices;
mod forged;
mod properties;
mod reading;
mod recorded;
mod signing;
mod writing;

use std::sync::Arc;

use openssl::hash::MessageDigest;

use self::builder::ListBuilder;
use super::*;
use crate::algorithm::{Digest, HashAlgorithm};
use crate::pcr::{PcrBank, PcrIndex};
use crate::runtime_policy::{PolicyBuilder, PolicyLayer, PolicyStack, RuntimePolicy};

/// A policy of Keylime's JSON with these members in place of the empty ones.
fn policy(members: &serde_json::Value) -> RuntimePolicy {
    let mut json = serde_json::json!({
        "meta": {"version": 1, "generator": 3}, "release": 0, "digests": {}, "excludes": [], "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null}, "ima-buf": {},
        "verification-keys": "",
    });
    for (name, member) in members.as_object().unwrap() {
        json[name] = member.clone();
    }
    PolicyBuilder::from_keylime_json(json.to_string().as_bytes()).unwrap().compile().unwrap()
}

fn stack_of(layers: Vec<(&str, RuntimePolicy)>) -> PolicyStack {
    let layer = |(name, policy): (&str, _)| PolicyLayer { name: name.to_owned(), policy: Arc::new(policy) };
    PolicyStack::new(layers.into_iter().map(layer).collect()).unwrap()
}

fn stack(members: &serde_json::Value) -> PolicyStack {
    stack_of(vec![("base", policy(members))])
}

/// The digest `ListBuilder` gives a file with this content.
fn listed(content: &[u8]) -> serde_json::Value {
    serde_json::json!([builder::hex(&builder::sha256(content))])
}

fn state(bank: HashAlgorithm) -> MeasurementState {
    MeasurementState::new(PcrIndex::try_from(10).unwrap(), PcrBank(bank))
}

/// A round: a list, which of its entries are handed in, and how many of all the register holds.
struct Round<'a> {
    list: &'a ListBuilder,
    from: usize,
    quoted: usize,
    reset_count: u32,
    boot_aggregates: &'a [Digest],
}

impl<'a> Round<'a> {
    const fn whole(list: &'a ListBuilder) -> Self {
        Self { list, from: 0, quoted: list.entries.len(), reset_count: 1, boot_aggregates: &[] }
    }

    fn appraise(&self, stack: &PolicyStack, state: &MeasurementState) -> Appraisal {
        self.appraise_with(stack, &[], state)
    }

    /// In SHA-256, from both forms of the list, which must agree.
    fn appraise_with(&self, stack: &PolicyStack, earlier: &[&PolicyStack], state: &MeasurementState) -> Appraisal {
        let new = self.list.select(self.from..self.list.entries.len());
        let quoted = self.list.register(MessageDigest::sha256(), self.quoted);
        let quoted = Digest::new(HashAlgorithm::Sha256, &quoted).unwrap();
        let [ascii, binary] = [new.ascii(), new.binary()].map(|list| {
            let evidence = Evidence {
                list: &list,
                first_entry: self.from as u64,
                quoted,
                reset_count: self.reset_count,
                boot_aggregates: self.boot_aggregates,
            };
            appraise(&evidence, &Policies { current: stack, earlier }, state).unwrap()
        });
        assert_eq!(ascii.findings, binary.findings);
        assert_eq!(ascii.state.encode(), binary.state.encode());
        ascii
    }
}

fn events(appraisal: &Appraisal) -> Vec<Event> {
    appraisal.findings.kept().iter().map(|finding| finding.event).collect()
}

/// A machine that booted, ran two files and loaded nothing.
fn small_list() -> ListBuilder {
    let mut list = ListBuilder::default();
    list.file("boot_aggregate", b"boot").file("/usr/bin/init", b"init").file("/usr/bin/sh", b"sh");
    list
}

fn small_policy() -> serde_json::Value {
    serde_json::json!({"digests": {
        "boot_aggregate": listed(b"boot"), "/usr/bin/init": listed(b"init"), "/usr/bin/sh": listed(b"sh"),
    }})
}
