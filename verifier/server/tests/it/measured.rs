//! What attesters measure, extended into their software TPMs as it is listed.

use evidence::ima::FileKey;
use fixtures_softtpm::{
    Hash,
    measured::{self, BootEvent, ImaEntry},
};

use openssl::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    sign::Signer,
};

use crate::attester::Attester;

impl Attester {
    /// Measures a file of this content.
    pub(crate) fn run(&self, path: &str, content: &[u8]) {
        self.list(measured::file(path, content));
    }

    /// Measures a file of this content with this key's signature.
    pub(crate) fn run_signed(&self, path: &str, content: &[u8], key: &PKey<Private>) {
        let id = FileKey::from_der(&key.public_key_to_der().unwrap()).unwrap().id();
        let signature = Signer::new(MessageDigest::sha256(), key).unwrap().sign_oneshot_to_vec(content).unwrap();
        // Content's signature, version 2, SHA-256.
        let mut attribute = vec![3, 2, 4];
        attribute.extend(id.0.to_be_bytes());
        attribute.extend(u16::try_from(signature.len()).unwrap().to_be_bytes());
        attribute.extend(signature);
        self.list(measured::ima_sig(path, content, &attribute));
    }

    /// The first entry of a list on this machine.
    pub(crate) fn start_list(&self) {
        let registers = {
            let state = self.state.lock().unwrap();
            std::array::from_fn(|index| {
                let index = u8::try_from(index).unwrap();
                state.tpm.read(Hash::Sha256, index).try_into().unwrap()
            })
        };
        self.list(measured::boot_aggregate(&registers));
    }

    pub(crate) fn list(&self, entry: ImaEntry) {
        let mut state = self.state.lock().unwrap();
        state.tpm.extend(Hash::Sha256, 10, &entry.digest);
        state.ima.push(entry.line);
    }

    /// Boots: the log is what is measured into the registers.
    pub(crate) fn boot(&self, events: &[BootEvent]) {
        let mut state = self.state.lock().unwrap();
        for event in events {
            state.tpm.extend(Hash::Sha256, event.register, &event.digest);
        }
        state.boot_log = Some(measured::boot_log(events));
    }

    /// Resets the machine; whatever it had measured is gone.
    pub(crate) fn reset(&self) {
        let mut state = self.state.lock().unwrap();
        state.tpm.reboot();
        (state.ima, state.boot_log) = (Vec::new(), None);
        let pem = state.nk.public_key_to_pem().unwrap();
        state.tpm.measure(16, &pem);
    }
}
