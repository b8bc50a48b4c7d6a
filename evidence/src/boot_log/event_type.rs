//! Event types by number and by name.

use std::fmt;

/// An event's type, 32 bits.
///
/// **Untrusted**: no digest covers it. Whoever presents the log can call any measured event anything; what an event is
/// follows only from data that its digest covers.
///
/// Source: TCG PC Client Platform Firmware Profile 1.06, §10.4.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal => $text:literal,)*) => {
        impl EventType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The specification's name, such as `EV_SEPARATOR`, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    /// Reserved; seen for certificates before boot.
    PREBOOT_CERT = 0x0000 => "EV_PREBOOT_CERT",
    /// Firmware code: the digest covers the code, the data names it.
    POST_CODE = 0x0001 => "EV_POST_CODE",
    /// Not measured: information for the log's reader.
    NO_ACTION = 0x0003 => "EV_NO_ACTION",
    /// The end of a phase.
    SEPARATOR = 0x0004 => "EV_SEPARATOR",
    /// A string that names what was done.
    ACTION = 0x0005 => "EV_ACTION",
    /// A number and data in a format of the number's owner.
    EVENT_TAG = 0x0006 => "EV_EVENT_TAG",
    /// Code of the root of trust for measurement.
    S_CRTM_CONTENTS = 0x0007 => "EV_S_CRTM_CONTENTS",
    /// Version of the root of trust for measurement.
    S_CRTM_VERSION = 0x0008 => "EV_S_CRTM_VERSION",
    /// A microcode update.
    CPU_MICROCODE = 0x0009 => "EV_CPU_MICROCODE",
    /// Platform settings in a format of the vendor's.
    PLATFORM_CONFIG_FLAGS = 0x000a => "EV_PLATFORM_CONFIG_FLAGS",
    /// Devices present.
    TABLE_OF_DEVICES = 0x000b => "EV_TABLE_OF_DEVICES",
    /// A hash of what the vendor pleases.
    COMPACT_HASH = 0x000c => "EV_COMPACT_HASH",
    /// Boot loaders' own: shim, GRUB, systemd-boot, UKI sections.
    IPL = 0x000d => "EV_IPL",
    /// The boot sector's partition data.
    IPL_PARTITION_DATA = 0x000e => "EV_IPL_PARTITION_DATA",
    /// Code of a device other than the host.
    NONHOST_CODE = 0x000f => "EV_NONHOST_CODE",
    /// Settings of a device other than the host.
    NONHOST_CONFIG = 0x0010 => "EV_NONHOST_CONFIG",
    /// Information about a device other than the host.
    NONHOST_INFO = 0x0011 => "EV_NONHOST_INFO",
    /// Boot devices are left out of the measurement.
    OMIT_BOOT_DEVICE_EVENTS = 0x0012 => "EV_OMIT_BOOT_DEVICE_EVENTS",
    /// Firmware code, described by a structure.
    POST_CODE2 = 0x0013 => "EV_POST_CODE2",
    /// Base of the EFI types; none itself.
    EFI_EVENT_BASE = 0x8000_0000 => "EV_EFI_EVENT_BASE",
    /// A variable that configures drivers or Secure Boot.
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001 => "EV_EFI_VARIABLE_DRIVER_CONFIG",
    /// A variable that configures booting.
    EFI_VARIABLE_BOOT = 0x8000_0002 => "EV_EFI_VARIABLE_BOOT",
    /// An EFI application that was loaded.
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003 => "EV_EFI_BOOT_SERVICES_APPLICATION",
    /// A boot services driver that was loaded.
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004 => "EV_EFI_BOOT_SERVICES_DRIVER",
    /// A runtime driver that was loaded.
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005 => "EV_EFI_RUNTIME_SERVICES_DRIVER",
    /// The disk's partition table.
    EFI_GPT_EVENT = 0x8000_0006 => "EV_EFI_GPT_EVENT",
    /// A string that names what the firmware did.
    EFI_ACTION = 0x8000_0007 => "EV_EFI_ACTION",
    /// A firmware volume.
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008 => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    /// Tables handed to the operating system.
    EFI_HANDOFF_TABLES = 0x8000_0009 => "EV_EFI_HANDOFF_TABLES",
    /// A firmware volume with a description.
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    /// Tables handed to the operating system, with a description.
    EFI_HANDOFF_TABLES2 = 0x8000_000b => "EV_EFI_HANDOFF_TABLES2",
    /// A variable that configures booting, measured with its name.
    EFI_VARIABLE_BOOT2 = 0x8000_000c => "EV_EFI_VARIABLE_BOOT2",
    /// The partition table without its unique identifiers.
    EFI_GPT_EVENT2 = 0x8000_000d => "EV_EFI_GPT_EVENT2",
    /// The root of trust measured by the processor before TPM2_Startup.
    EFI_HCRTM_EVENT = 0x8000_0010 => "EV_EFI_HCRTM_EVENT",
    /// The database entry that an image was verified with.
    EFI_VARIABLE_AUTHORITY = 0x8000_00e0 => "EV_EFI_VARIABLE_AUTHORITY",
    /// Firmware of a device, as it attests itself.
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1 => "EV_EFI_SPDM_FIRMWARE_BLOB",
    /// Settings of a device, as it attests itself.
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2 => "EV_EFI_SPDM_FIRMWARE_CONFIG",
    /// A device's identity policy.
    EFI_SPDM_DEVICE_POLICY = 0x8000_00e3 => "EV_EFI_SPDM_DEVICE_POLICY",
    /// A device's authority.
    EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00e4 => "EV_EFI_SPDM_DEVICE_AUTHORITY",
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
