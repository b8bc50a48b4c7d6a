//! The endorsement key and its certificate: found where vendors put them, or made from the template.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::ek_certificate::EkCertificate;
use evidence::public::{Ek, Public as Area};
use tss_esapi::Context;
use tss_esapi::abstraction::DefaultKey;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{EccParameter, EccPoint, Public, PublicKeyRsa};
use tss_esapi::traits::{Marshall, UnMarshall};

use super::{EkAlgorithm, TpmError, nv};

/// The EK, how to load it, and what vouches for it.
pub(crate) struct EndorsementKey {
    /// PEM of the certificate and, behind it, of the issuers that are in NV memory.
    pub(crate) certificate_pem: Option<String>,
    /// Where it is.
    pub(super) place: Place,
    /// Its public area.
    pub(crate) public: Area,
}

/// How to get at an EK.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// It is at this persistent handle.
    Persistent(u32),
    /// It is made anew, always the same, from this `TPMT_PUBLIC`.
    Template(Vec<u8>),
}

/// An EK that is ready for use.
pub(super) struct OpenEk {
    pub(super) handle: KeyHandle,
    transient: bool,
}

impl OpenEk {
    pub(super) fn open(context: &mut Context, place: &Place) -> Result<Self, TpmError> {
        match place {
            Place::Persistent(handle) => Ok(Self { handle: persistent(context, *handle)?, transient: false }),
            Place::Template(tpmt) => {
                let template = Public::unmarshall(tpmt).map_err(TpmError::during("read the EK's template"))?;
                let made = context
                    .execute_with_session(Some(AuthSession::Password), |context| {
                        context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)
                    })
                    .map_err(TpmError::during("make the EK from its template"))?;
                Ok(Self { handle: made.key_handle, transient: true })
            }
        }
    }

    /// Frees the memory it takes in the TPM; one that is persistent takes none.
    pub(super) fn close(self, context: &mut Context) -> Result<(), TpmError> {
        if self.transient {
            context.flush_context(self.handle.into()).map_err(TpmError::during("flush the EK"))?;
        }
        Ok(())
    }
}

/// Finds the EK of `algorithm`: at `configured` if given, otherwise the persistent one that fits, preferring the one
/// the certificate is for, otherwise the one the template makes.
pub(super) fn find(
    context: &mut Context,
    algorithm: EkAlgorithm,
    configured: Option<u32>,
) -> Result<EndorsementKey, TpmError> {
    let locations = Locations::of(algorithm);
    let certificate = nv::read(context, locations.certificate)?.filter(|bytes| !bytes.is_empty());
    let wanted = certificate.as_deref().and_then(|bytes| EkCertificate::parse(bytes).ok());
    let certified = |area: &Area| match (&wanted, Ek::new(area.clone())) {
        (Some(certificate), Ok(ek)) => certificate.check_key(&ek).is_ok(),
        _ => false,
    };

    let mut candidates = match configured {
        Some(handle) => vec![at_configured(context, algorithm, handle)?],
        None => at_persistent_handles(context, algorithm)?,
    };
    let chosen = match candidates.iter().position(|(_, area)| certified(area)) {
        Some(position) => Some(candidates.swap_remove(position)),
        None if configured.is_some() => candidates.pop(),
        None => None,
    };
    let (place, public) = match chosen {
        Some(chosen) => chosen,
        None => {
            let made = from_template(context, algorithm, &locations)?;
            // Without a certificate to tell, a persistent EK is the one somebody set up.
            if wanted.is_none() || !certified(&made.1) { candidates.pop().unwrap_or(made) } else { made }
        }
    };
    let certificate_pem = match certificate {
        Some(_) if wanted.is_some() && !certified(&public) => {
            tracing::warn!(index = locations.certificate, "the EK certificate in NV memory is for another key");
            None
        }
        Some(bytes) => Some(certificate_with_chain(context, &bytes)?),
        None => None,
    };
    Ok(EndorsementKey { certificate_pem, place, public })
}

/// What the TCG's EK credential profile (2.5, §2.2.1.4 and §2.2.1.5) puts where.
struct Locations {
    certificate: u32,
    template: Option<u32>,
    nonce: Option<u32>,
}

impl Locations {
    const fn of(algorithm: EkAlgorithm) -> Self {
        match algorithm {
            EkAlgorithm::Rsa2048 => {
                Self { certificate: 0x01c0_0002, template: Some(0x01c0_0004), nonce: Some(0x01c0_0003) }
            }
            EkAlgorithm::Ecc256 => {
                Self { certificate: 0x01c0_000a, template: Some(0x01c0_000c), nonce: Some(0x01c0_000b) }
            }
            EkAlgorithm::Ecc384 => Self { certificate: 0x01c0_0016, template: None, nonce: None },
        }
    }
}

fn persistent(context: &mut Context, handle: u32) -> Result<KeyHandle, TpmError> {
    let handle = PersistentTpmHandle::new(handle).map_err(TpmError::during("name a persistent handle"))?;
    let object = context
        .tr_from_tpm_public(TpmHandle::Persistent(handle))
        .map_err(TpmError::during("look at a persistent key"))?;
    Ok(object.into())
}

/// The key at a handle if it is an EK of the algorithm.
fn ek_at(context: &mut Context, algorithm: EkAlgorithm, handle: u32) -> Result<Option<(Place, Area)>, TpmError> {
    let key = persistent(context, handle)?;
    let (public, _, _) = context.read_public(key).map_err(TpmError::during("read a persistent key"))?;
    let tpmt = public.marshall().map_err(TpmError::during("encode a public area"))?;
    // Keys of kinds we do not know may be there as well.
    let area = Area::from_tpmt(&tpmt).ok().filter(|area| {
        area.encryption_algorithm() == algorithm.encryption_algorithm() && Ek::new(area.clone()).is_ok()
    });
    Ok(area.map(|area| (Place::Persistent(handle), area)))
}

fn at_configured(context: &mut Context, algorithm: EkAlgorithm, handle: u32) -> Result<(Place, Area), TpmError> {
    let found = match nv::handles(context, handle, handle)?.as_slice() {
        [_, ..] => ek_at(context, algorithm, handle)?,
        [] => None,
    };
    found.ok_or(TpmError::NoSuchEk { handle, wanted: algorithm.encryption_algorithm().name() })
}

fn at_persistent_handles(context: &mut Context, algorithm: EkAlgorithm) -> Result<Vec<(Place, Area)>, TpmError> {
    let mut found = Vec::new();
    for handle in nv::handles(context, EK_HANDLES.0, EK_HANDLES.1)? {
        found.extend(ek_at(context, algorithm, handle)?);
    }
    Ok(found)
}

/// Makes the EK once, to learn its public area.
fn from_template(
    context: &mut Context,
    algorithm: EkAlgorithm,
    locations: &Locations,
) -> Result<(Place, Area), TpmError> {
    let stored = match locations.template {
        Some(index) => nv::read(context, index)?,
        None => None,
    };
    let mut template = match stored {
        Some(bytes) => Public::unmarshall(&bytes).map_err(TpmError::during("read the EK template in NV memory"))?,
        None => create_ek_public_from_default_template_2(algorithm.selection(), DefaultKey)
            .map_err(TpmError::during("build the EK's template"))?,
    };
    let nonce = match locations.nonce {
        Some(index) => nv::read(context, index)?,
        None => None,
    };
    if let Some(nonce) = nonce {
        template = with_nonce(template, nonce).map_err(TpmError::during("put the EK nonce into the template"))?;
    }
    let tpmt = template.marshall().map_err(TpmError::during("encode the EK's template"))?;
    let place = Place::Template(tpmt);
    let ek = OpenEk::open(context, &place)?;
    let (public, _, _) = context.read_public(ek.handle).map_err(TpmError::during("read the EK"))?;
    ek.close(context)?;
    let tpmt = public.marshall().map_err(TpmError::during("encode the EK"))?;
    let area = Area::from_tpmt(&tpmt).map_err(|source| TpmError::Key { key: "EK", source })?;
    Ok((place, area))
}

/// Puts an EK nonce, filled up with zeros, where the template has the key's `unique` field.
///
/// Source: TCG EK Credential Profile 2.5, §2.2.1.4, "EK Nonce".
fn with_nonce(template: Public, mut nonce: Vec<u8>) -> tss_esapi::Result<Public> {
    match template {
        Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. } => {
            nonce.resize(RSA_2048_BYTES, 0);
            let unique = PublicKeyRsa::try_from(nonce)?;
            Ok(Public::Rsa { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
        }
        Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, .. } => {
            nonce.resize(P256_BYTES, 0);
            let unique = EccPoint::new(EccParameter::try_from(nonce)?, EccParameter::try_from(vec![0; P256_BYTES])?);
            Ok(Public::Ecc { object_attributes, name_hashing_algorithm, auth_policy, parameters, unique })
        }
        other => Ok(other),
    }
}

/// PEM of the EK certificate as it is, less header and padding, and of the issuers' certificates in NV memory.
fn certificate_with_chain(context: &mut Context, bytes: &[u8]) -> Result<String, TpmError> {
    let mut text = pem(&EkCertificate::parse(bytes).map_or_else(|_| bytes.to_vec(), |found| found.der().to_vec()));
    let mut chain = Vec::new();
    for index in nv::handles(context, CHAIN_INDICES.0, CHAIN_INDICES.1)? {
        chain.extend(nv::read(context, index)?.unwrap_or_default());
    }
    for certificate in split_der(&chain) {
        text.push_str(&pem(certificate));
    }
    Ok(text)
}

/// Cuts concatenated DER structures apart, up to the first byte that begins none (padding).
fn split_der(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    // A SEQUENCE with a two-byte length: no certificate is shorter than 256 bytes or longer than 64 KiB.
    while let [0x30, 0x82, high, low, ..] = bytes {
        let size = 4 + usize::from(u16::from_be_bytes([*high, *low]));
        let Some((certificate, rest)) = bytes.split_at_checked(size) else { break };
        found.push(certificate);
        bytes = rest;
    }
    found
}

/// The bytes in PEM armour, unread: what a vendor broke is for the registrar to judge.
fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (position, character) in encoded.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

/// Persistent handles set aside for endorsement keys.
/// Source: TCG Registry of Reserved TPM 2.0 Handles and Localities, "Endorsement".
const EK_HANDLES: (u32, u32) = (0x8101_0000, 0x8101_00ff);
/// NV indices of the EK certificate chain.
/// Source: TCG EK Credential Profile 2.5, §2.2.1.5.2.
const CHAIN_INDICES: (u32, u32) = (0x01c0_0100, 0x01c0_01ff);
const RSA_2048_BYTES: usize = 256;
const P256_BYTES: usize = 32;
