//! Device-mapper records: what the kernel measures when a device is loaded, resumed, renamed, cleared or removed.
//!
//! ```text
//! dm_version=4.45.0;name=test,uuid=…,major=253,minor=0,minor_count=1,num_targets=1;
//! target_index=0,target_begin=0,target_len=204808,target_name=verity,target_version=1.8.0,hash_failed=V,…;
//! ```
//!
//! Texts are letters, digits and `-:_.+@#`, as Keylime reads them; anything else is malformed. Zero bytes between
//! fields are passed over: the kernel leaves some in records of devices without a table.
//!
//! Source: Linux, `Documentation/admin-guide/device-mapper/dm-ima.rst`.

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// A table was cleared.
    Clear(Named<'a>),
    /// A table was loaded.
    Load { device: Device<'a>, targets: Vec<Target<'a>> },
    /// A device was removed.
    Remove(Device<'a>),
    /// A device was given another name or UUID.
    Rename { device: Device<'a>, name: &'a str, uuid: &'a str },
    /// A device was set to work with the table of this hash.
    Resume { device: Device<'a>, table: &'a str },
    /// A target's state has changed.
    Update { device: Device<'a>, target: Target<'a> },
}

/// What a device goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) uuid: &'a str,
}

/// A device's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device<'a> {
    pub(super) named: Named<'a>,
    /// Major, minor, minor count; without leading zeros.
    pub(super) numbers: [(&'static str, &'a str); 3],
    pub(super) targets_count: u64,
}

/// A target: its attributes by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) index: u64,
    attributes: Vec<(&'static str, &'a str)>,
}

/// A record is not what the kernel writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device-mapper record that cannot be read at byte {offset}: expected {expected}")]
pub(super) struct MalformedRecord {
    offset: usize,
    expected: &'static str,
}

impl<'a> Record<'a> {
    /// Whether records of this name are device-mapper's.
    pub(super) fn is_named(name: &[u8]) -> bool {
        NAMES.iter().any(|known| known.as_bytes() == name)
    }

    /// Reads the record of this name, to its last byte.
    pub(super) fn parse(name: &[u8], content: &'a [u8]) -> Result<Self, MalformedRecord> {
        let text = std::str::from_utf8(content);
        let text = text.map_err(|error| MalformedRecord { offset: error.valid_up_to(), expected: "UTF-8" })?;
        let mut reader = Reader { text, offset: 0 };
        reader.field("dm_version", Form::Version, ';')?;
        let record = match name {
            b"dm_table_load" => {
                let device = reader.device()?;
                let mut targets = vec![reader.target()?];
                while !reader.is_at_end() {
                    targets.push(reader.target()?);
                }
                return Ok(Self::Load { device, targets });
            }
            b"dm_target_update" => {
                let (device, target) = (reader.device()?, reader.target()?);
                return reader.end(Self::Update { device, target });
            }
            b"dm_device_resume" => {
                let (device, table) = (reader.device()?, reader.field("active_table_hash", Form::Text, ';')?);
                Self::Resume { device, table }
            }
            b"dm_device_rename" => {
                let device = reader.device()?;
                let name = reader.field("new_name", Form::Text, ',')?;
                Self::Rename { device, name, uuid: reader.field("new_uuid", Form::OptionalText, ';')? }
            }
            b"dm_device_remove" => Self::Remove(reader.removed()?),
            b"dm_table_clear" => Self::Clear(reader.cleared()?),
            _ => return Err(reader.expected("a record of device-mapper's")),
        };
        reader.field("current_device_capacity", Form::Number, ';')?;
        reader.end(record)
    }
}

impl<'a> Target<'a> {
    /// An attribute, if the target has it.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Flag,
    Number,
    OptionalText,
    Text,
    Version,
}

impl Form {
    fn takes(self, text: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > TEXT_BYTES_MAX {
            return false;
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-:_.+@#".contains(&byte);
        match self {
            Self::Flag => matches!(text, "y" | "n"),
            Self::Number => digits(text),
            Self::OptionalText => text.bytes().all(plain),
            Self::Text => !text.is_empty() && text.bytes().all(plain),
            Self::Version => text.split('.').count() == 3 && text.split('.').all(digits),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Reader<'a> {
    const fn expected(&self, expected: &'static str) -> MalformedRecord {
        MalformedRecord { offset: self.offset, expected }
    }

    fn skip_zeros(&mut self) {
        let rest = self.text.trim_start_matches('\0');
        self.offset += self.text.len() - rest.len();
        self.text = rest;
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.text.split_at_checked(bytes).unwrap_or((self.text, ""));
        self.text = rest;
        self.offset += taken.len();
        taken
    }

    fn starts(&mut self, name: &str) -> bool {
        self.skip_zeros();
        self.text.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_zeros();
        self.text.is_empty()
    }

    fn end(mut self, record: Record<'a>) -> Result<Record<'a>, MalformedRecord> {
        if self.is_at_end() { Ok(record) } else { Err(self.expected("the record's end")) }
    }

    /// `name=value` and what stands behind it.
    fn field(&mut self, name: &'static str, form: Form, end: char) -> Result<&'a str, MalformedRecord> {
        if !self.starts(name) {
            return Err(self.expected(name));
        }
        self.take(name.len() + 1);
        self.value(name, form, end)
    }

    fn value(&mut self, name: &'static str, form: Form, end: char) -> Result<&'a str, MalformedRecord> {
        let length = self.text.find([',', ';']).ok_or_else(|| self.expected("a comma or semicolon"))?;
        let value = self.text.split_at_checked(length).unwrap_or_default().0.trim_matches('\0');
        if !form.takes(value) || !self.text.get(length..).is_some_and(|rest| rest.starts_with(end)) {
            return Err(self.expected(name));
        }
        self.take(length + end.len_utf8());
        match form {
            Form::Number => {
                let bare = value.trim_start_matches('0');
                Ok(if bare.is_empty() { "0" } else { bare })
            }
            _ => Ok(value),
        }
    }

    fn named(&mut self, end: char) -> Result<Named<'a>, MalformedRecord> {
        let name = self.field("name", Form::Text, ',')?;
        Ok(Named { name, uuid: self.field("uuid", Form::OptionalText, end)? })
    }

    fn device(&mut self) -> Result<Device<'a>, MalformedRecord> {
        let named = self.named(',')?;
        self.device_named(named)
    }

    fn device_named(&mut self, named: Named<'a>) -> Result<Device<'a>, MalformedRecord> {
        let major = self.field("major", Form::Number, ',')?;
        let minor = self.field("minor", Form::Number, ',')?;
        let minor_count = self.field("minor_count", Form::Number, ',')?;
        let count = self.field("num_targets", Form::Number, ';')?;
        let targets_count = count.parse().map_err(|_| self.expected("a number of targets below 2^64"))?;
        let numbers = [("major", major), ("minor", minor), ("minor_count", minor_count)];
        Ok(Device { named, numbers, targets_count })
    }

    /// The device of a removal. One without an active table could not be found by name, and is malformed as with Keylime.
    fn removed(&mut self) -> Result<Device<'a>, MalformedRecord> {
        if !self.starts("device_active_metadata") {
            return Err(self.expected("device_active_metadata"));
        }
        self.take("device_active_metadata=".len());
        let device = self.device()?;
        if self.starts("device_inactive_metadata") {
            self.take("device_inactive_metadata=".len());
            self.device()?;
            self.field("active_table_hash", Form::Text, ';')?;
            self.field("inactive_table_hash", Form::Text, ',')?;
        } else {
            self.field("active_table_hash", Form::Text, ',')?;
        }
        self.field("remove_all", Form::Text, ';')?;
        Ok(device)
    }

    fn cleared(&mut self) -> Result<Named<'a>, MalformedRecord> {
        let name = self.field("name", Form::Text, ',')?;
        let length = self.text.find([',', ';']).unwrap_or_default();
        let end = if self.text.get(length..).is_some_and(|rest| rest.starts_with(';')) { ';' } else { ',' };
        let named = Named { name, uuid: self.field("uuid", Form::OptionalText, end)? };
        if end == ';' {
            let said = self.field("table_clear", Form::Text, ';')?;
            return if said == "no_data" { Ok(named) } else { Err(self.expected("no_data")) };
        }
        self.device_named(named)?;
        self.field("inactive_table_hash", Form::Text, ';')?;
        Ok(named)
    }

    fn target(&mut self) -> Result<Target<'a>, MalformedRecord> {
        let mut attributes = Vec::new();
        for (name, form) in TARGET {
            attributes.push((name, self.field(name, form, ',')?));
        }
        let index = attributes.first().and_then(|(_, index)| index.parse().ok());
        let index = index.ok_or_else(|| self.expected("a target's index below 2^64"))?;
        let kind = KINDS.iter().find(|kind| kind.first().is_some_and(|first| self.starts(first.name)));
        let kind = *kind.ok_or_else(|| self.expected("the attributes of a target that is known"))?;
        let last = kind.iter().rposition(|attribute| self.is_there(attribute)).unwrap_or_default();
        for (position, attribute) in kind.iter().enumerate() {
            if attribute.is_optional && !self.starts(attribute.name) {
                continue;
            }
            let end = if position == last { ';' } else { ',' };
            attributes.push((attribute.name, self.field(attribute.name, attribute.form, end)?));
            if attribute.name == "nr_mirrors" {
                self.mirrors()?;
            }
        }
        Ok(Target { index, attributes })
    }

    /// Whether the target that is being read has an attribute: only of optional ones the text is asked.
    fn is_there(&self, attribute: &Attribute) -> bool {
        if !attribute.is_optional {
            return true;
        }
        let target = self.text.split(';').next().unwrap_or_default();
        let mut fields = target.split(',').map(|field| field.trim_matches('\0'));
        fields.any(|field| field.strip_prefix(attribute.name).is_some_and(|rest| rest.starts_with('=')))
    }

    /// `mirror_device_0=7:3,mirror_device_0_status=A,…`
    fn mirrors(&mut self) -> Result<(), MalformedRecord> {
        loop {
            self.skip_zeros();
            if !self.text.starts_with("mirror_device_") {
                return Ok(());
            }
            for suffix in ["=", "_status="] {
                self.skip_zeros();
                self.text.strip_prefix("mirror_device_").ok_or_else(|| self.expected("mirror_device_"))?;
                self.take("mirror_device_".len());
                self.take(self.text.bytes().take_while(u8::is_ascii_digit).count());
                if !self.text.starts_with(suffix) {
                    return Err(self.expected("a mirror's device and its status"));
                }
                self.take(suffix.len());
                self.value("a mirror", Form::Text, ',')?;
            }
        }
    }
}

/// An attribute of a kind of target.
struct Attribute {
    name: &'static str,
    form: Form,
    is_optional: bool,
}

const fn attribute(name: &'static str, form: Form) -> Attribute {
    Attribute { name, form, is_optional: false }
}

const fn optional(name: &'static str, form: Form) -> Attribute {
    Attribute { name, form, is_optional: true }
}

/// What every target has in front of its kind's attributes.
const TARGET: [(&str, Form); 5] = [
    ("target_index", Form::Number),
    ("target_begin", Form::Number),
    ("target_len", Form::Number),
    ("target_name", Form::Text),
    ("target_version", Form::Version),
];

/// The kinds of targets Keylime knows, each known by its first attribute.
const KINDS: [&[Attribute]; 7] = [
    // verity
    &[
        attribute("hash_failed", Form::Text),
        attribute("verity_version", Form::Number),
        attribute("data_device_name", Form::Text),
        attribute("hash_device_name", Form::Text),
        attribute("verity_algorithm", Form::Text),
        attribute("root_digest", Form::Text),
        attribute("salt", Form::Text),
        attribute("ignore_zero_blocks", Form::Flag),
        attribute("check_at_most_once", Form::Flag),
        optional("root_hash_sig_key_desc", Form::Text),
        optional("verity_mode", Form::Text),
    ],
    // cache
    &[
        attribute("metadata_mode", Form::Text),
        attribute("cache_metadata_device", Form::Text),
        attribute("cache_device", Form::Text),
        attribute("cache_origin_device", Form::Text),
        attribute("writethrough", Form::Flag),
        attribute("writeback", Form::Flag),
        attribute("passthrough", Form::Flag),
        attribute("metadata2", Form::Flag),
        attribute("no_discard_passdown", Form::Flag),
    ],
    // crypt
    &[
        attribute("allow_discards", Form::Flag),
        attribute("same_cpu_crypt", Form::Flag),
        attribute("submit_from_crypt_cpus", Form::Flag),
        attribute("no_read_workqueue", Form::Flag),
        attribute("no_write_workqueue", Form::Flag),
        attribute("iv_large_sectors", Form::Flag),
        optional("integrity_tag_size", Form::Number),
        optional("cipher_auth", Form::Text),
        optional("sector_size", Form::Number),
        optional("cipher_string", Form::Text),
        attribute("key_size", Form::Number),
        attribute("key_parts", Form::Number),
        attribute("key_extra_size", Form::Number),
        attribute("key_mac_size", Form::Number),
    ],
    // integrity
    &[
        attribute("dev_name", Form::Text),
        attribute("start", Form::Number),
        attribute("tag_size", Form::Number),
        attribute("mode", Form::Text),
        optional("meta_device", Form::Text),
        optional("block_size", Form::Text),
        attribute("recalculate", Form::Flag),
        attribute("allow_discards", Form::Flag),
        attribute("fix_padding", Form::Flag),
        attribute("fix_hmac", Form::Flag),
        attribute("legacy_recalculate", Form::Flag),
        attribute("journal_sectors", Form::Number),
        attribute("interleave_sectors", Form::Number),
        attribute("buffer_sectors", Form::Number),
    ],
    // linear
    &[attribute("device_name", Form::Text), attribute("start", Form::Text)],
    // mirror
    &[
        attribute("nr_mirrors", Form::Number),
        attribute("handle_errors", Form::Flag),
        attribute("keep_log", Form::Flag),
        attribute("log_type_status", Form::OptionalText),
    ],
    // snapshot
    &[
        attribute("snap_origin_name", Form::Text),
        attribute("snap_cow_name", Form::Text),
        attribute("snap_valid", Form::Flag),
        attribute("snap_merge_failed", Form::Flag),
        attribute("snapshot_overflowed", Form::Flag),
    ],
];

/// The longest text, a UUID, has 128.
pub(super) const TEXT_BYTES_MAX: usize = 1024;
/// The names of device-mapper's records.
const NAMES: [&str; 6] =
    ["dm_table_load", "dm_device_resume", "dm_device_remove", "dm_table_clear", "dm_device_rename", "dm_target_update"];
