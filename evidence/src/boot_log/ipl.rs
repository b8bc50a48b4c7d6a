//! What boot loaders record under `EV_IPL`: shim, GRUB, systemd-boot and its stub.

use std::fmt;

use super::text;

/// A boot loader's event.
///
/// The loaders' documentation is their source: GRUB's `grub-core/commands/tpm.c` and `kern/verifiers.c`, shim's
/// `mok.c` and `tpm.c`, systemd's `src/boot/measure.c` and `stub.c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipl {
    /// A kernel command line. The digest covers the text alone: that it *is* a command line, and not a GRUB command, is
    /// what the untrusted prefix says.
    CommandLine {
        /// The text.
        text: String,
        /// Who recorded it.
        loader: Loader,
    },
    /// A file that GRUB read: configuration, module, kernel, initrd. The digest covers the contents; the name is
    /// **untrusted**.
    File(String),
    /// A command that GRUB carried out. The digest covers the text; that it is a command is what the prefix says.
    GrubCommand(String),
    /// A multiboot module's command line, covered as GRUB's commands are.
    ModuleCommandLine(String),
    /// A list of shim's. The digest covers the list; the name is **untrusted**.
    MokVariable(String),
    /// Nothing known.
    Other,
    /// A section of a unified kernel image, recorded twice: first its name, then its contents. The digest covers one of
    /// the two.
    UkiSection(String),
}

/// Who recorded a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// GRUB, in one-byte characters.
    Grub,
    /// systemd-boot or the stub of a unified kernel image, in UTF-16.
    Systemd,
}

impl Ipl {
    pub(super) fn parse(data: &[u8]) -> Self {
        if let Some((kind, text)) = grub_text(data) {
            let text = String::from_utf8_lossy(text).into_owned();
            return match kind {
                GrubText::Command => Self::GrubCommand(text),
                GrubText::KernelCommandLine => Self::CommandLine { text, loader: Loader::Grub },
                GrubText::ModuleCommandLine => Self::ModuleCommandLine(text),
            };
        }
        if let Some(text) = text::strict_utf16(data) {
            return if is_section(&text) {
                Self::UkiSection(text)
            } else {
                Self::CommandLine { text, loader: Loader::Systemd }
            };
        }
        match text::strict_utf8(data) {
            Some(name) if MOK_VARIABLES.contains(&name) => Self::MokVariable(name.to_owned()),
            Some(name) if name.contains('/') => Self::File(name.to_owned()),
            _ => Self::Other,
        }
    }
}

/// The part of GRUB's text that the digest covers: after the prefix, without the zero at the end.
pub(super) fn covered_text(data: &[u8]) -> Option<&[u8]> {
    grub_text(data).map(|(_, text)| text)
}

enum GrubText {
    Command,
    KernelCommandLine,
    ModuleCommandLine,
}

fn grub_text(data: &[u8]) -> Option<(GrubText, &[u8])> {
    // With a colon: upstream. Without: the patches of distributions before.
    let prefixes: [(&[u8], GrubText); 6] = [
        (b"grub_cmd: ", GrubText::Command),
        (b"grub_cmd ", GrubText::Command),
        (b"kernel_cmdline: ", GrubText::KernelCommandLine),
        (b"grub_kernel_cmdline ", GrubText::KernelCommandLine),
        (b"module_cmdline: ", GrubText::ModuleCommandLine),
        (b"grub_module_cmdline ", GrubText::ModuleCommandLine),
    ];
    prefixes.into_iter().find_map(|(prefix, kind)| {
        // GRUB's events of confidential guests (CCEL) are a byte longer than the text and its zero: whatever stood there.
        match data.strip_prefix(prefix)? {
            [text @ .., 0, _] | [text @ .., 0] | text => Some((kind, text)),
        }
    })
}

/// A section's name: a dot and lower-case letters.
fn is_section(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()))
}

impl fmt::Display for Ipl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine { text, loader: Loader::Grub } => write!(f, "kernel command line (GRUB) {text:?}"),
            Self::CommandLine { text, loader: Loader::Systemd } => write!(f, "kernel command line (systemd) {text:?}"),
            Self::File(name) => write!(f, "GRUB read {name:?}"),
            Self::GrubCommand(text) => write!(f, "GRUB command {text:?}"),
            Self::ModuleCommandLine(text) => write!(f, "multiboot module's command line {text:?}"),
            Self::MokVariable(name) => write!(f, "shim's {name}"),
            Self::Other => f.write_str("boot loader's record"),
            Self::UkiSection(name) => write!(f, "section {name} of a unified kernel image"),
        }
    }
}

/// What shim records in PCR 14.
const MOK_VARIABLES: [&str; 8] =
    ["MokDBState", "MokIgnoreDB", "MokList", "MokListRT", "MokListTrusted", "MokListX", "MokPolicy", "MokSBState"];
