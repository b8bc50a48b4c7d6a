//! Boot logs: judged by a policy that lacks an image, and against registers of another machine.

use evidence::{
    algorithm::{Digest, HashAlgorithm},
    boot_log::{BootLog, EventType},
    measured_boot::{KeylimePolicyName, Policy},
    pcr::{PcrBank, PcrIndex, PcrValues},
};

use crate::{HEAD_BYTES, Outcome};

/// What a log is held against.
pub(crate) struct Machine {
    accept_all: Policy,
    /// All images of the log, and all but the last; nothing if it has none.
    images: Option<[Policy; 2]>,
    own: PcrValues,
    other: PcrValues,
}

impl Machine {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let accept_all = Policy::keylime(KeylimePolicyName::AcceptAll, b"{\"all\": true}").unwrap();
        let bank = PcrBank(HashAlgorithm::Sha256);
        let Ok(log) = BootLog::parse(bytes) else {
            let own = PcrValues::new(bank);
            return Self { accept_all, images: None, other: altered(&own), own };
        };
        let bank = log.banks().find(|found| *found == bank).or_else(|| log.banks().next()).unwrap_or(bank);
        let own = match log.replay(bank) {
            Ok(replay) => replay.values().clone(),
            Err(_) => PcrValues::new(bank),
        };
        Self { accept_all, images: images(&log, bank), other: altered(&own), own }
    }

    pub(crate) fn passes_with_all(&self, bytes: &[u8]) -> bool {
        self.images.as_ref().unwrap()[0].appraise(&BootLog::parse(bytes).unwrap(), &self.own).unwrap().passed()
    }

    pub(crate) fn outcome(&self, bytes: &[u8], lacking: bool) -> Outcome {
        let Ok(log) = BootLog::parse(bytes) else { return Outcome::Malformed };
        let (policy, quoted) = match &self.images {
            Some([_, lacking_one]) if lacking => (lacking_one, &self.own),
            _ => (&self.accept_all, &self.other),
        };
        match policy.appraise(&log, quoted) {
            Ok(appraisal) if appraisal.passed() => Outcome::Passes,
            // An algorithm that the library lacks is no pass.
            Ok(_) | Err(_) => Outcome::Fails,
        }
    }
}

fn images(log: &BootLog<'_>, bank: PcrBank) -> Option<[Policy; 2]> {
    let loaded = [EventType::EFI_BOOT_SERVICES_APPLICATION, EventType::EFI_BOOT_SERVICES_DRIVER];
    let events = log.events().iter().filter(|event| loaded.contains(&event.event_type()));
    let images = events.filter(|event| event.register().map(PcrIndex::get) == Some(4));
    let mut digests: Vec<String> = images.filter_map(|event| event.digest(bank).map(ToString::to_string)).collect();
    digests.dedup();
    let last = digests.last()?.clone();
    let policy = |digests: &[String]| {
        let digests: Vec<String> = digests.iter().map(|digest| format!("\"{}:{digest}\"", bank.algorithm())).collect();
        let list = digests.join(", ");
        let json = format!(r#"{{"version": 1, "accept": [{{"name": "images", "images": {{"digests": [{list}]}}}}]}}"#);
        Policy::from_json(json.as_bytes()).unwrap()
    };
    let stand_in = "5a".repeat(bank.algorithm().digest_bytes());
    let without: Vec<String> = digests.iter().filter(|digest| **digest != last).cloned().chain([stand_in]).collect();
    Some([policy(&digests), policy(&without)])
}

/// The values of another machine: PCR 4, which every check of a log looks at, holds something else.
fn altered(own: &PcrValues) -> PcrValues {
    let algorithm = own.bank().algorithm();
    let loaders = PcrIndex::try_from(4).unwrap();
    let mut other = PcrValues::new(own.bank());
    for (index, value) in own.iter().filter(|(index, _)| *index != loaders) {
        other.insert(index, *value).unwrap();
    }
    other.insert(loaders, Digest::new(algorithm, &vec![0x5a; algorithm.digest_bytes()]).unwrap()).unwrap();
    other
}

/// The first events of a log.
pub(crate) fn head(bytes: &[u8]) -> Vec<u8> {
    let end = match BootLog::parse(bytes) {
        Ok(log) => log.events().iter().map(|event| event.place().offset).rfind(|offset| *offset <= HEAD_BYTES),
        Err(_) => None,
    };
    let end = end.filter(|end| *end > 0).unwrap_or_else(|| bytes.len().min(HEAD_BYTES));
    bytes[..end].to_vec()
}
