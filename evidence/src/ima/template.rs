//! Templates: which fields an entry of a measurement list has.

use std::fmt;

/// One field of a template, by the kernel's identifier.
///
/// Source: Linux, `Documentation/security/IMA-templates.rst` and `security/integrity/ima/ima_template.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `d`: 20 bytes of SHA-1 or MD5, without a name.
    Digest,
    /// `d-ng`: algorithm, colon, NUL, digest.
    DigestNg,
    /// `d-ngv2`: `ima` or `verity`, colon, algorithm, colon, NUL, digest.
    DigestNgV2,
    /// `n`: the name, at most 255 bytes.
    Name,
    /// `n-ng`: the name and NUL.
    NameNg,
    /// `sig`: the file's signature, or nothing.
    Signature,
    /// `buf`: what was measured, whole.
    Buffer,
    /// `d-modsig`: the digest without the appended signature.
    ModsigDigest,
    /// `evmsig`: EVM's portable signature.
    EvmSignature,
    /// `modsig`: the appended signature, PKCS #7.
    Modsig,
    /// `xattrnames`: the names of the attributes EVM protects, `|` between them, and NUL.
    XattrNames,
    /// `xattrlengths`: their lengths, four bytes each, little endian.
    XattrLengths,
    /// `xattrvalues`: their values, one behind the other.
    XattrValues,
    /// `iuid`: four bytes, little endian.
    InodeUid,
    /// `igid`: four bytes, little endian.
    InodeGid,
    /// `imode`: two bytes, little endian.
    InodeMode,
}

impl Field {
    const ALL: [Self; 16] = [
        Self::Digest,
        Self::DigestNg,
        Self::DigestNgV2,
        Self::Name,
        Self::NameNg,
        Self::Signature,
        Self::Buffer,
        Self::ModsigDigest,
        Self::Modsig,
        Self::EvmSignature,
        Self::XattrNames,
        Self::XattrLengths,
        Self::XattrValues,
        Self::InodeUid,
        Self::InodeGid,
        Self::InodeMode,
    ];

    const fn identifier(self) -> &'static str {
        match self {
            Self::Digest => "d",
            Self::DigestNg => "d-ng",
            Self::DigestNgV2 => "d-ngv2",
            Self::Name => "n",
            Self::NameNg => "n-ng",
            Self::Signature => "sig",
            Self::Buffer => "buf",
            Self::ModsigDigest => "d-modsig",
            Self::Modsig => "modsig",
            Self::EvmSignature => "evmsig",
            Self::XattrNames => "xattrnames",
            Self::XattrLengths => "xattrlengths",
            Self::XattrValues => "xattrvalues",
            Self::InodeUid => "iuid",
            Self::InodeGid => "igid",
            Self::InodeMode => "imode",
        }
    }

    fn from_identifier(identifier: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.identifier().as_bytes() == identifier)
    }

    /// Whether the field is a file's name, which in ASCII lists of old kernels may hold spaces.
    pub(super) const fn is_name(self) -> bool {
        matches!(self, Self::Name | Self::NameNg)
    }
}

/// A template the kernel knows, or one put together on its command line.
///
/// The name stands in the list but in no digest: **untrusted**. What it makes of the template data is checked by
/// parsing them to their last byte; `ima-sig` and `ima-buf` have the same shape, which appraisal takes into account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Template(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ima,
    ImaNg,
    ImaNgV2,
    ImaSig,
    ImaSigV2,
    ImaBuf,
    ImaModsig,
    EvmSig,
    /// The fields, as many as `count` says.
    Custom {
        fields: [Field; FIELDS_MAX],
        count: u8,
    },
}

impl Template {
    /// The template with this name, or made of these fields (`d-ng|n-ng`); nothing if the kernel has none such.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Some(Self(match name {
            b"ima-ng" => Kind::ImaNg,
            b"ima-sig" => Kind::ImaSig,
            b"ima" => Kind::Ima,
            b"ima-ngv2" => Kind::ImaNgV2,
            b"ima-sigv2" => Kind::ImaSigV2,
            b"ima-buf" => Kind::ImaBuf,
            b"ima-modsig" => Kind::ImaModsig,
            b"evm-sig" => Kind::EvmSig,
            custom => return Self::custom(custom),
        }))
    }

    fn custom(name: &[u8]) -> Option<Self> {
        let mut fields = [Field::Digest; FIELDS_MAX];
        let mut count = 0_u8;
        for identifier in name.split(|byte| *byte == b'|') {
            *fields.get_mut(usize::from(count))? = Field::from_identifier(identifier)?;
            count += 1;
        }
        Some(Self(Kind::Custom { fields, count }))
    }

    /// Whether it is the first template, whose binary form has neither lengths nor a size.
    pub(super) fn is_original(&self) -> bool {
        self.0 == Kind::Ima
    }

    /// Whether it is one of the kernel's eight, whose shapes cannot be mistaken for one another but for `ima-sig` and
    /// `ima-buf`. A list of fields could be made to fit another template's data, so nothing is concluded from one.
    #[must_use]
    pub const fn is_built_in(&self) -> bool {
        !matches!(self.0, Kind::Custom { .. })
    }

    /// Whether entries of it carry what was measured, such as a key or a critical datum, rather than name a file.
    #[must_use]
    pub fn is_buffer(&self) -> bool {
        self.fields().contains(&Field::Buffer)
    }

    /// The fields, in order.
    pub(crate) fn fields(&self) -> &[Field] {
        match &self.0 {
            Kind::Ima => &[Field::Digest, Field::Name],
            Kind::ImaNg => &[Field::DigestNg, Field::NameNg],
            Kind::ImaNgV2 => &[Field::DigestNgV2, Field::NameNg],
            Kind::ImaSig => &[Field::DigestNg, Field::NameNg, Field::Signature],
            Kind::ImaSigV2 => &[Field::DigestNgV2, Field::NameNg, Field::Signature],
            Kind::ImaBuf => &[Field::DigestNg, Field::NameNg, Field::Buffer],
            Kind::ImaModsig => &[Field::DigestNg, Field::NameNg, Field::Signature, Field::ModsigDigest, Field::Modsig],
            Kind::EvmSig => &[
                Field::DigestNg,
                Field::NameNg,
                Field::EvmSignature,
                Field::XattrNames,
                Field::XattrLengths,
                Field::XattrValues,
                Field::InodeUid,
                Field::InodeGid,
                Field::InodeMode,
            ],
            Kind::Custom { fields, count } => fields.get(..usize::from(*count)).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Ima => "ima",
            Kind::ImaNg => "ima-ng",
            Kind::ImaNgV2 => "ima-ngv2",
            Kind::ImaSig => "ima-sig",
            Kind::ImaSigV2 => "ima-sigv2",
            Kind::ImaBuf => "ima-buf",
            Kind::ImaModsig => "ima-modsig",
            Kind::EvmSig => "evm-sig",
            Kind::Custom { .. } => {
                for (position, field) in self.fields().iter().enumerate() {
                    write!(f, "{}{}", if position == 0 { "" } else { "|" }, field.identifier())?;
                }
                return Ok(());
            }
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({self})")
    }
}

/// `IMA_TEMPLATE_NUM_FIELDS_MAX` of Linux.
pub(super) const FIELDS_MAX: usize = 15;
