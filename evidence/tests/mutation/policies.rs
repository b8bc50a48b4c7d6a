//! Policies: held against a list or a boot log that they do not allow.
//!
//! A policy is its owner's word, and one that says something else is another policy. What is asked here is that a few
//! bytes, damaged where it is stored, never open one that lists digests and nothing else, and that the compiled form
//! is never taken for the one it was.

use std::{fs, sync::Arc};

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    boot_log::BootLog,
    ima::{Evidence, MeasurementState, Policies, appraise},
    measured_boot::Policy,
    pcr::{PcrBank, PcrIndex, PcrValues},
    runtime_policy::{PolicyBuilder, PolicyId, PolicyLayer, PolicyStack, RuntimePolicy},
};
use fixtures_softtpm::measured as soft;
use openssl::hash::MessageDigest;

use crate::{Judge, Outcome, Subject, data, list_builder::ListBuilder};

pub(crate) fn subjects() -> Vec<Subject> {
    let files: [(&str, &[u8]); 3] = [("/usr/bin/a", b"a"), ("/usr/bin/a", b"a2"), ("/usr/lib/b.so", b"b")];
    let own = soft::runtime_policy(&files, &[]);
    let mut subjects = vec![boot("own boot", KERNEL)];
    let mut add = |name: &str, json: Vec<u8>| {
        let compiled = PolicyBuilder::from_keylime_json(&json).unwrap().compile().unwrap();
        let own = Some(compiled.id());
        subjects.push(Subject::whole(&format!("{name} compiled"), compiled.as_bytes().to_vec(), Runtime { own }));
        subjects.push(Subject::whole(name, json, Runtime { own: None }));
    };
    add("own", own.clone().into_bytes());
    assert!(allows_first_file(&own), "only what is not listed makes it fail");
    let Some(folder) = data("policies") else { return subjects };
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let json = fs::read(&path).unwrap();
        if PolicyBuilder::from_keylime_json(&json).is_ok() {
            add(&path.file_name().unwrap().to_string_lossy(), json);
            read += 1;
        }
    }
    assert!(read >= 6, "{read} recorded policies are read");
    subjects
}

/// A runtime policy, or with the name it had, a compiled one.
struct Runtime {
    own: Option<PolicyId>,
}

impl Judge for Runtime {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        let policy = match self.own {
            Some(_) => RuntimePolicy::load(bytes.to_vec()).ok(),
            None => PolicyBuilder::from_keylime_json(bytes).ok().and_then(|builder| builder.compile().ok()),
        };
        let Some(policy) = policy else { return Outcome::Malformed };
        let listed = policy.entries().map(|(_, path, digests)| path.len() + digests.count()).sum::<usize>();
        assert!(listed <= bytes.len());
        let is_itself = self.own == Some(policy.id());
        let excludes = !policy.excludes().is_empty();
        // A path that nobody lists, and one whose content is another.
        let file: (&str, &[u8]) = if lacking { ("/usr/bin/unlisted", b"a") } else { ("/usr/bin/a", b"x") };
        let passes = allows(policy, file);
        if passes && !is_itself && !excludes { Outcome::Passes } else { Outcome::Fails }
    }
}

fn allows_first_file(json: &str) -> bool {
    allows(PolicyBuilder::from_keylime_json(json.as_bytes()).unwrap().compile().unwrap(), ("/usr/bin/a", b"a"))
}

fn allows(policy: RuntimePolicy, (path, content): (&str, &[u8])) -> bool {
    let mut list = ListBuilder::default();
    list.file(path, content);
    let layer = PolicyLayer { name: "layer".to_owned(), policy: Arc::new(policy) };
    let stack = PolicyStack::new(vec![layer]).unwrap();
    let state = MeasurementState::new(PcrIndex::try_from(10).unwrap(), PcrBank(HashAlgorithm::Sha256));
    let quoted = Digest::new(HashAlgorithm::Sha256, &list.register(MessageDigest::sha256(), 1)).unwrap();
    let list = list.binary();
    let evidence = Evidence { list: &list, first_entry: 0, quoted, reset_count: 1, boot_aggregates: &[] };
    appraise(&evidence, &Policies { current: &stack, earlier: &[] }, &state).unwrap().passed()
}

/// A measured-boot policy, with the log of a machine that booted another kernel and one with another command line.
struct Booted {
    logs: [(Vec<u8>, PcrValues); 2],
}

impl Judge for Booted {
    fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        let Ok(policy) = Policy::from_json(bytes) else { return Outcome::Malformed };
        let (log, quoted) = &self.logs[usize::from(lacking)];
        if passes(&policy, log, quoted) { Outcome::Passes } else { Outcome::Fails }
    }
}

fn boot(name: &str, kernel: &[u8]) -> Subject {
    let json = soft::boot_policy(&[kernel], COMMAND_LINE);
    let policy = Policy::from_json(json.as_bytes()).unwrap();
    let (log, quoted) = machine(kernel, COMMAND_LINE);
    assert!(passes(&policy, &log, &quoted), "only another kernel or command line makes it fail");
    let logs = [machine(b"another kernel", COMMAND_LINE), machine(kernel, "init=/bin/sh and more of that kind")];
    Subject::whole(name, json.into_bytes(), Booted { logs })
}

fn passes(policy: &Policy, log: &[u8], quoted: &PcrValues) -> bool {
    policy.appraise(&BootLog::parse(log).unwrap(), quoted).unwrap().passed()
}

fn machine(kernel: &[u8], command_line: &str) -> (Vec<u8>, PcrValues) {
    let events = soft::boot(kernel, command_line);
    let mut quoted = PcrValues::new(PcrBank(HashAlgorithm::Sha256));
    // Those behind the firmware's hold nothing yet.
    for (index, value) in (0..).zip(soft::firmware_registers(&events).into_iter().chain([[0; 32]; 6])) {
        let value = Digest::new(HashAlgorithm::Sha256, &value).unwrap();
        quoted.insert(PcrIndex::try_from(index).unwrap(), value).unwrap();
    }
    (soft::boot_log(&events), quoted)
}

const KERNEL: &[u8] = b"a kernel";
const COMMAND_LINE: &str = "root=/dev/vda1 ro quiet";
