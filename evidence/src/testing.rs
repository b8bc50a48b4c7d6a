//! Bridges from the soft TPM's bytes to this crate's types, for the unit tests.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use fixtures_softtpm::{Hash, SoftAk, SoftEk, SoftQuote};

use crate::algorithm::{Digest, HashAlgorithm};
use crate::pcr::{PcrBank, PcrIndex, PcrSelection, PcrValues};
use crate::public::{Ak, Ek, Public};

pub(crate) fn hash(hash: Hash) -> HashAlgorithm {
    HashAlgorithm::from_tpm_id(hash.id()).unwrap()
}

pub(crate) fn ak(ak: &SoftAk) -> Ak {
    Ak::new(Public::from_tpm2b(&ak.tpm2b_public()).unwrap()).unwrap()
}

pub(crate) fn ek(ek: &SoftEk) -> Ek {
    Ek::new(Public::from_tpm2b(&ek.tpm2b_public()).unwrap()).unwrap()
}

pub(crate) fn selection(bank: Hash, mask: u32) -> PcrSelection {
    PcrSelection::from_mask(PcrBank(hash(bank)), mask).unwrap()
}

pub(crate) fn index(index: u8) -> PcrIndex {
    PcrIndex::try_from(index).unwrap()
}

pub(crate) fn values(quote: &SoftQuote) -> PcrValues {
    labelled(quote.bank, &quote.values)
}

pub(crate) fn labelled(bank: Hash, pairs: &[(u8, Vec<u8>)]) -> PcrValues {
    let mut values = PcrValues::new(PcrBank(hash(bank)));
    for (number, value) in pairs {
        values.insert(index(*number), Digest::new(hash(bank), value).unwrap()).unwrap();
    }
    values
}

/// A recorded file of the folder beside the workspace; says so on stderr if it is not there.
pub(crate) fn recorded(name: &str) -> Option<Vec<u8>> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap();
    let path = root.join("../shared/data").join(name);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        eprintln!("SKIPPED: no recorded data at {}", path.display());
    }
    bytes
}
