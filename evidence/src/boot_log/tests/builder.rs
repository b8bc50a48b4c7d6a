//! Writes boot event logs as firmware and boot loaders do, and keeps the registers they would leave behind.
//!
//! Uses nothing of the crate under test, so that tests and benchmarks do not check the reader against itself.

use std::collections::BTreeMap;

use openssl::hash::{MessageDigest, hash};

/// `TPM_ALG_ID`s of the banks.
pub(crate) const SHA1: u16 = 0x0004;
pub(crate) const SHA256: u16 = 0x000b;
pub(crate) const SHA384: u16 = 0x000c;

pub(crate) const POST_CODE: u32 = 1;
pub(crate) const NO_ACTION: u32 = 3;
pub(crate) const SEPARATOR: u32 = 4;
pub(crate) const CRTM_VERSION: u32 = 8;
pub(crate) const IPL: u32 = 13;
pub(crate) const DRIVER_CONFIG: u32 = 0x8000_0001;
pub(crate) const VARIABLE_BOOT: u32 = 0x8000_0002;
pub(crate) const APPLICATION: u32 = 0x8000_0003;
pub(crate) const GPT: u32 = 0x8000_0006;
pub(crate) const EFI_ACTION: u32 = 0x8000_0007;
pub(crate) const FIRMWARE_BLOB: u32 = 0x8000_0008;
pub(crate) const AUTHORITY: u32 = 0x8000_00e0;

pub(crate) const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
pub(crate) const SECURITY_DATABASE: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
pub(crate) const SHIM_LOCK: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
pub(crate) const OWNER: &str = "77fa9abd-0359-4d32-bd60-28f4e78f784b";
const X509: &str = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";
const IMAGE_SHA256: &str = "c1c41626-504c-4092-aca9-41f936934328";

/// One event to be written: what is logged and what is measured.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) register: u32,
    pub(crate) event_type: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) measured: Vec<u8>,
}

impl Draft {
    pub(crate) fn new(register: u32, event_type: u32, data: &[u8], measured: &[u8]) -> Self {
        Self { register, event_type, data: data.to_vec(), measured: measured.to_vec() }
    }

    /// An event whose digest is its data's.
    pub(crate) fn plain(register: u32, event_type: u32, data: &[u8]) -> Self {
        Self::new(register, event_type, data, data)
    }
}

/// A crypto-agile log of these events, the header first.
pub(crate) fn agile(banks: &[u16], events: &[Draft]) -> Vec<u8> {
    let mut body = b"Spec ID Event03\0".to_vec();
    body.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    body.extend(count(banks.len()).to_le_bytes());
    for bank in banks {
        body.extend(bank.to_le_bytes());
        body.extend(u16::try_from(digest(*bank, b"").len()).unwrap().to_le_bytes());
    }
    body.push(0);
    let mut log = legacy_event(0, NO_ACTION, &[0; 20], &body);
    for event in events {
        log.extend(agile_event(banks, event));
    }
    log
}

/// One event of a crypto-agile log.
pub(crate) fn agile_event(banks: &[u16], event: &Draft) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(event.register.to_le_bytes());
    bytes.extend(event.event_type.to_le_bytes());
    bytes.extend(count(banks.len()).to_le_bytes());
    for bank in banks {
        bytes.extend(bank.to_le_bytes());
        bytes.extend(digest(*bank, &event.measured));
    }
    bytes.extend(count(event.data.len()).to_le_bytes());
    bytes.extend(&event.data);
    bytes
}

/// A SHA-1 log of these events.
pub(crate) fn legacy(events: &[Draft]) -> Vec<u8> {
    let write =
        |event: &Draft| legacy_event(event.register, event.event_type, &digest(SHA1, &event.measured), &event.data);
    events.iter().flat_map(write).collect()
}

pub(crate) fn legacy_event(register: u32, event_type: u32, digest: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = [register.to_le_bytes(), event_type.to_le_bytes()].concat();
    bytes.extend(digest);
    bytes.extend(count(data.len()).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// What a TPM holds after these events.
pub(crate) fn registers(bank: u16, events: &[Draft]) -> BTreeMap<u8, Vec<u8>> {
    let zero = vec![0; digest(bank, b"").len()];
    let mut registers: BTreeMap<u8, Vec<u8>> = (0..24).map(|index| (index, zero.clone())).collect();
    for event in events.iter().filter(|event| event.event_type != NO_ACTION) {
        let index = u8::try_from(event.register).unwrap();
        let value = registers.get_mut(&index).unwrap();
        *value = digest(bank, &[value.as_slice(), &digest(bank, &event.measured)].concat());
    }
    registers
}

pub(crate) fn digest(bank: u16, data: &[u8]) -> Vec<u8> {
    let algorithm = match bank {
        SHA1 => MessageDigest::sha1(),
        SHA256 => MessageDigest::sha256(),
        _ => MessageDigest::sha384(),
    };
    hash(algorithm, data).unwrap().to_vec()
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}

pub(crate) fn guid(text: &str) -> Vec<u8> {
    let groups: Vec<Vec<u8>> = text.split('-').map(hex_bytes).collect();
    let swapped = groups[..3].iter().flat_map(|group| group.iter().rev().copied());
    swapped.chain(groups[3..].concat()).collect()
}

fn hex_bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// `UEFI_VARIABLE_DATA`.
pub(crate) fn variable(vendor: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = guid(vendor);
    bytes.extend((name.encode_utf16().count() as u64).to_le_bytes());
    bytes.extend((value.len() as u64).to_le_bytes());
    bytes.extend(utf16(name));
    bytes.extend(value);
    bytes
}

/// `EFI_SIGNATURE_LIST`s: one per certificate, one for all image digests.
pub(crate) fn database(certificates: &[&[u8]], images: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for certificate in certificates {
        bytes.extend(signature_list(X509, std::slice::from_ref(certificate)));
    }
    if !images.is_empty() {
        bytes.extend(signature_list(IMAGE_SHA256, images));
    }
    bytes
}

fn signature_list(kind: &str, entries: &[&[u8]]) -> Vec<u8> {
    let size = entries[0].len() + 16;
    let mut bytes = guid(kind);
    bytes.extend([count(28 + size * entries.len()), 0, count(size)].into_iter().flat_map(u32::to_le_bytes));
    for entry in entries {
        bytes.extend(guid(OWNER));
        bytes.extend(*entry);
    }
    bytes
}

/// An `EFI_SIGNATURE_DATA`.
pub(crate) fn signature(data: &[u8]) -> Vec<u8> {
    [&guid(OWNER), data].concat()
}

/// `UEFI_IMAGE_LOAD_EVENT` of a file.
pub(crate) fn image(file: &str) -> Vec<u8> {
    let mut name = utf16(file);
    name.extend([0, 0]);
    let mut path = vec![4, 4];
    path.extend(u16::try_from(name.len() + 4).unwrap().to_le_bytes());
    path.extend(name);
    path.extend([0x7f, 0xff, 4, 0]);
    let numbers = [0x7e00_0000, 0x1000, 0, path.len() as u64];
    [numbers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>(), path].concat()
}

/// A certificate's bytes, as far as a log's reader looks at them.
pub(crate) fn certificate(name: &str) -> Vec<u8> {
    let mut body = name.as_bytes().to_vec();
    body.resize(1200, 0x5a);
    [[0x30, 0x82].as_slice(), &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat()
}

/// A machine with shim, GRUB and a kernel, as far as tests change it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) secure_boot: u8,
    pub(crate) firmware: &'static str,
    pub(crate) db: Vec<&'static str>,
    pub(crate) dbx: Vec<&'static str>,
    pub(crate) signer: &'static str,
    pub(crate) kernel: &'static str,
    pub(crate) initrd: &'static str,
    pub(crate) command_line: &'static str,
    pub(crate) grub_command: &'static str,
    pub(crate) mok: &'static str,
    /// Further GRUB commands, to make a log as long as real ones.
    pub(crate) more_commands: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            secure_boot: 1,
            firmware: "firmware 1.0",
            db: vec!["vendor"],
            dbx: vec!["revoked a", "revoked b"],
            signer: "vendor",
            kernel: "linux 6.1",
            initrd: "initrd 6.1",
            command_line: "/vmlinuz-6.1 root=/dev/vda1 ro",
            grub_command: "linux /vmlinuz-6.1 root=/dev/vda1 ro",
            mok: "mok list",
            more_commands: 0,
        }
    }
}

impl Machine {
    pub(crate) fn events(&self) -> Vec<Draft> {
        let mut events = self.firmware_events();
        events.extend(self.loader_events());
        for (register, action) in
            [(5, "Exit Boot Services Invocation"), (5, "Exit Boot Services Returned with Success")]
        {
            events.push(Draft::plain(register, EFI_ACTION, action.as_bytes()));
        }
        events
    }

    fn firmware_events(&self) -> Vec<Draft> {
        let revoked: Vec<Vec<u8>> = self.dbx.iter().map(|name| digest(SHA256, name.as_bytes())).collect();
        let revoked: Vec<&[u8]> = revoked.iter().map(Vec::as_slice).collect();
        let certificates: Vec<Vec<u8>> = self.db.iter().map(|name| certificate(name)).collect();
        let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
        let own = certificate("platform");
        let variables = [
            (GLOBAL, "SecureBoot", vec![self.secure_boot]),
            (GLOBAL, "PK", database(&[&own], &[])),
            (GLOBAL, "KEK", database(&[&own], &[])),
            (SECURITY_DATABASE, "db", database(&certificates, &[])),
            (SECURITY_DATABASE, "dbx", database(&[], &revoked)),
        ];
        let mut events = vec![
            Draft::plain(0, CRTM_VERSION, &utf16(self.firmware)),
            Draft::new(0, FIRMWARE_BLOB, &[0; 16], self.firmware.as_bytes()),
            Draft::new(0, POST_CODE, b"POST CODE", b"the code"),
        ];
        for (vendor, name, value) in variables {
            events.push(Draft::plain(7, DRIVER_CONFIG, &variable(vendor, name, &value)));
        }
        let order = [1, 0, 0, 0];
        events.push(Draft::new(1, VARIABLE_BOOT, &variable(GLOBAL, "BootOrder", &order), &order));
        events.push(Draft::plain(4, EFI_ACTION, b"Calling EFI Application from Boot Option"));
        events.extend((0..8).map(|register| Draft::plain(register, SEPARATOR, &[0; 4])));
        events
    }

    fn loader_events(&self) -> Vec<Draft> {
        let authority = variable(SECURITY_DATABASE, "db", &signature(&certificate(self.signer)));
        let mut events = vec![
            Draft::plain(5, GPT, &partition_table()),
            Draft::plain(7, AUTHORITY, &authority),
            Draft::new(4, APPLICATION, &image(r"\EFI\BOOT\BOOTX64.EFI"), b"shim"),
            Draft::new(14, IPL, b"MokList\0", self.mok.as_bytes()),
            Draft::new(14, IPL, b"MokListX\0", b"mok list x"),
            Draft::plain(7, AUTHORITY, &variable(SHIM_LOCK, "SbatLevel", b"sbat,1,2022052400\n")),
            Draft::new(4, APPLICATION, &image(r"\EFI\distribution\grubx64.efi"), b"grub"),
            Draft::new(9, IPL, b"(hd0,gpt1)/grub/grub.cfg\0", b"grub.cfg"),
        ];
        for number in 0..self.more_commands {
            events.push(grub_text("grub_cmd: ", &format!("set variable_{number}=value")));
        }
        events.push(grub_text("grub_cmd: ", self.grub_command));
        events.push(Draft::new(9, IPL, b"/vmlinuz-6.1\0", self.kernel.as_bytes()));
        events.push(Draft::new(4, APPLICATION, &image("vmlinuz"), self.kernel.as_bytes()));
        events.push(grub_text("kernel_cmdline: ", self.command_line));
        events.push(Draft::new(9, IPL, b"/initrd.img-6.1\0", self.initrd.as_bytes()));
        events
    }
}

/// Text as GRUB logs and measures it.
pub(crate) fn grub_text(prefix: &str, text: &str) -> Draft {
    Draft::new(8, IPL, format!("{prefix}{text}\0").as_bytes(), text.as_bytes())
}

/// `UEFI_GPT_DATA` of one partition.
fn partition_table() -> Vec<u8> {
    let mut bytes = vec![0; 92];
    bytes[84..88].copy_from_slice(&128_u32.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    let mut partition = vec![0x11; 56];
    partition.extend(utf16("root"));
    partition.resize(128, 0);
    bytes.extend(partition);
    bytes
}
