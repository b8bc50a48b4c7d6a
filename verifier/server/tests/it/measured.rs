//! What attesters measure, extended into their software TPMs as it is listed.

use fixtures_softtpm::{
    Hash,
    measured::{self, BootEvent, ImaEntry},
};

use crate::attester::Attester;

impl Attester {
    /// Measures a file of this content.
    pub(crate) fn run(&self, path: &str, content: &[u8]) {
        self.list(measured::file(path, content));
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
