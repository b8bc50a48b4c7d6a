//! What a machine measures, extended into its TPM and listed where its agent reads.

use std::{fs::OpenOptions, io::Write};

use fixtures_softtpm::measured::{self, BootEvent, ImaEntry};

use crate::machine::Machine;

impl Machine {
    /// Boots: firmware and loader measure, then the kernel begins its list.
    pub(crate) fn boot(&self, events: &[BootEvent]) {
        self.boot_with(events, &measured::boot_log(events));
    }

    /// Boots so and shows this log of it.
    pub(crate) fn boot_with(&self, events: &[BootEvent], log: &[u8]) {
        /// `EV_NO_ACTION`: told, not measured.
        const NO_ACTION: u32 = 3;
        let measured: Vec<BootEvent> = events.iter().filter(|event| event.event_type != NO_ACTION).cloned().collect();
        let extensions: Vec<(u8, [u8; 32])> = measured.iter().map(|event| (event.register, event.digest)).collect();
        self.extend(&extensions);
        std::fs::write(self.boot_log(), log).unwrap();
        let _ = std::fs::remove_file(self.measurement_list());
        self.list(&measured::boot_aggregate(&measured::firmware_registers(&measured)));
    }

    /// Runs a file of this content.
    pub(crate) fn run(&self, path: &str, content: &[u8]) {
        self.list(&measured::file(path, content));
    }

    /// Runs files of one content, one after the other; their entries stand in the list before the last is extended.
    pub(crate) fn run_all(&self, paths: &[String], content: &[u8]) {
        let entries: Vec<ImaEntry> = paths.iter().map(|path| measured::file(path, content)).collect();
        let mut list = OpenOptions::new().append(true).create(true).open(self.measurement_list()).unwrap();
        entries.iter().for_each(|entry| writeln!(list, "{}", entry.line).unwrap());
        self.tpm.extend(10, &entries.iter().map(|entry| entry.digest).collect::<Vec<_>>()).unwrap();
    }

    /// As the kernel: the list is ahead of the register for a moment.
    fn list(&self, entry: &ImaEntry) {
        let mut list = OpenOptions::new().append(true).create(true).open(self.measurement_list()).unwrap();
        list.write_all(format!("{}\n", entry.line).as_bytes()).unwrap();
        self.extend(&[(10, entry.digest)]);
    }
}
