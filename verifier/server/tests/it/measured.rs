//! Measurements of a machine: IMA entries and boot events, extended into a software TPM as they are listed.

use fixtures_softtpm::Hash;
use openssl::{hash::MessageDigest, sha::sha256};

use crate::attester::Attester;

/// `EV_SEPARATOR`, `EV_EFI_BOOT_SERVICES_APPLICATION`, `EV_IPL`.
pub(crate) const SEPARATOR: u32 = 4;
pub(crate) const APPLICATION: u32 = 0x8000_0003;
pub(crate) const IPL: u32 = 13;

/// What a boot measures: register, event type, data, and what is hashed.
pub(crate) type Event = (u8, u32, Vec<u8>, Vec<u8>);

impl Attester {
    /// Measures a file of this content, or only what the kernel would say of it.
    pub(crate) fn run(&self, path: &str, content: &[u8]) {
        self.list_entry(path, &sha256(content));
    }

    /// The first entry of a list on this machine.
    pub(crate) fn start_list(&self) {
        let registers = {
            let state = self.state.lock().unwrap();
            (0..10).map(|index| state.tpm.read(Hash::Sha256, index).to_vec()).collect::<Vec<_>>().concat()
        };
        self.list_entry("boot_aggregate", &sha256(&registers));
    }

    pub(crate) fn list_entry(&self, path: &str, digest: &[u8]) {
        let data = [field(&[b"sha256:\0", digest].concat()), field(&[path.as_bytes(), b"\0"].concat())].concat();
        let sha1 = openssl::hash::hash(MessageDigest::sha1(), &data).unwrap();
        let mut state = self.state.lock().unwrap();
        state.tpm.extend(Hash::Sha256, 10, &sha256(&data));
        let (template, digest) = (hex::encode(sha1), hex::encode(digest));
        state.ima.push(format!("10 {template} ima-ng sha256:{digest} {path}"));
    }

    /// Boots: the registers start anew, the log is what is measured into them.
    pub(crate) fn boot(&self, events: &[Event]) {
        let mut state = self.state.lock().unwrap();
        for (register, _, _, measured) in events {
            state.tpm.extend(Hash::Sha256, *register, &sha256(measured));
        }
        state.boot_log = Some(log(events));
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

/// A machine that boots this kernel with this command line through GRUB.
pub(crate) fn boot_events(kernel: &[u8], command_line: &str) -> Vec<Event> {
    let mut events: Vec<Event> = (0..8).map(|register| (register, SEPARATOR, vec![0; 4], vec![0; 4])).collect();
    events.push((4, APPLICATION, image("grubx64.efi"), b"grub".to_vec()));
    events.push((4, APPLICATION, image("vmlinuz"), kernel.to_vec()));
    let text = format!("kernel_cmdline: {command_line}\0").into_bytes();
    events.push((8, IPL, text, command_line.as_bytes().to_vec()));
    events
}

/// A policy for [`boot_events`].
pub(crate) fn boot_policy(kernels: &[&[u8]], command_line: &str) -> serde_json::Value {
    let digest = |data: &[u8]| format!("sha256:{}", hex::encode(sha256(data)));
    let images: Vec<String> = kernels.iter().copied().chain([b"grub".as_slice()]).map(digest).collect();
    serde_json::json!({
        "version": 1,
        "accept": [{
            "name": "a test machine",
            "images": {"digests": images},
            "command_line": {"patterns": [command_line]},
        }],
    })
}

/// Keylime's JSON for files by path and content.
pub(crate) fn runtime_policy(files: &[(&str, &[u8])], excludes: &[&str]) -> serde_json::Value {
    let mut digests = serde_json::Map::new();
    for (path, content) in files {
        let list = digests.entry((*path).to_owned()).or_insert_with(|| serde_json::json!([]));
        list.as_array_mut().unwrap().push(serde_json::json!(hex::encode(sha256(content))));
    }
    serde_json::json!({
        "meta": {"version": 1, "generator": 0},
        "release": 0,
        "digests": digests,
        "excludes": excludes,
        "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null},
        "ima-buf": {},
        "verification-keys": "",
    })
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// A crypto-agile log with digests for SHA-256.
fn log(events: &[Event]) -> Vec<u8> {
    let mut header = b"Spec ID Event03\0".to_vec();
    header.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    header.extend(1_u32.to_le_bytes());
    header.extend([0x0b, 0, 32, 0, 0]);
    let mut log = [0_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
    log.extend([0; 20]);
    log.extend(field(&header));
    for (register, event_type, data, measured) in events {
        log.extend(u32::from(*register).to_le_bytes());
        log.extend(event_type.to_le_bytes());
        log.extend(1_u32.to_le_bytes());
        log.extend([0x0b, 0]);
        log.extend(sha256(measured));
        log.extend(field(data));
    }
    log
}

/// `UEFI_IMAGE_LOAD_EVENT` of a file.
fn image(file: &str) -> Vec<u8> {
    let mut name: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
    name.extend([0, 0]);
    let mut path = vec![4, 4];
    path.extend(u16::try_from(name.len() + 4).unwrap().to_le_bytes());
    path.extend(name);
    path.extend([0x7f, 0xff, 4, 0]);
    let numbers = [0x7e00_0000, 0x1000, 0, path.len() as u64];
    [numbers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>(), path].concat()
}
