//! One machine's EK and AK, and what is done with them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use evidence::algorithm::{Digest, HashAlgorithm, SignatureScheme};
use evidence::credential::Credential;
use evidence::keylime::KeylimeQuote;
use evidence::pcr::{PcrBank, PcrMaskOutOfRange, PcrSelection};
use evidence::public::Public as Area;
use tss_esapi::Context;
use tss_esapi::abstraction::DefaultKey;
use tss_esapi::abstraction::ak::{create_ak_2, load_ak};
use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::{Private, Public};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::utils::TpmsContext;
use zeroize::Zeroizing;

use super::algorithms::{hashing, signing};
use super::ek::{EndorsementKey, OpenEk, Place};
use super::{EkAlgorithm, Tpm, TpmError, activation, ek, leftovers, quote};
use crate::agent_data::{AgentData, AgentDataError};

/// What there is to configure about the keys.
#[derive(Clone, Debug)]
pub(crate) struct Identification {
    /// Where the AK is kept.
    pub(crate) agent_data: PathBuf,
    /// The EK's algorithm.
    pub(crate) ek_algorithm: EkAlgorithm,
    /// A persistent handle to take the EK from.
    pub(crate) ek_handle: Option<u32>,
    /// The AK's hash, which is also the PCR bank of its quotes.
    pub(crate) hash: HashAlgorithm,
    /// How the AK signs.
    pub(crate) scheme: SignatureScheme,
}

/// The keys of this machine, ready for use. Copies share them.
#[derive(Clone)]
pub(crate) struct Attester {
    ak: Arc<AkBlob>,
    ek: Arc<EndorsementKey>,
    hash: HashAlgorithm,
    /// The loaded AK as the TPM saved it: loading that takes neither the EK nor a policy session. Worthless outside
    /// this TPM and after its next reset.
    saved: Arc<Mutex<Option<TpmsContext>>>,
    scheme: SignatureScheme,
    tpm: Tpm,
}

/// The AK's halves as the TPM gave them out; the private one is encrypted by the TPM for itself.
struct AkBlob {
    area: Area,
    private: Vec<u8>,
}

/// Why there are no keys to attest with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttesterError {
    /// The file with the AK is unusable, or was made under other circumstances.
    #[error(transparent)]
    Data(#[from] AgentDataError),
    /// The TPM failed.
    #[error(transparent)]
    Tpm(#[from] TpmError),
}

impl Attester {
    /// Finds the EK, and loads the AK kept in the agent's data or makes one and keeps it.
    ///
    /// An AK is made only where no data is: data that do not fit this TPM or these settings are an error, since a
    /// new AK is a new identity.
    pub(crate) async fn open(tpm: Tpm, wanted: Identification) -> Result<Self, AttesterError> {
        let managed = tpm.has_resource_manager();
        let (algorithm, handle) = (wanted.ek_algorithm, wanted.ek_handle);
        let ek = tpm
            .work(move |context| {
                let flushed = if managed { 0 } else { leftovers::flush(context)? };
                if flushed > 0 {
                    tracing::info!(flushed, "flushed objects and sessions that were left in the TPM");
                }
                ek::find(context, algorithm, handle)
            })
            .await?;
        let ak = match AgentData::read(&wanted.agent_data)? {
            Some(data) => {
                let (area, private) = data.ak_for(&wanted, &ek.public)?;
                AkBlob { area, private }
            }
            None => {
                let ak = create(&tpm, &wanted, ek.place.clone()).await?;
                AgentData::new(&wanted, &ek.public, &ak.area, &ak.private).write(&wanted.agent_data)?;
                tracing::info!(name = %ak.area.name(), "made a new attestation key");
                ak
            }
        };
        let (hash, scheme) = (wanted.hash, wanted.scheme);
        let this = Self { ak: Arc::new(ak), ek: Arc::new(ek), hash, saved: Arc::default(), scheme, tpm };
        // Loading it once shows now, and not at the first challenge, that this TPM takes it.
        let ready = this.clone();
        this.tpm.work(move |context| ready.with_ak(context, |_, _| Ok(()))).await?;
        Ok(this)
    }

    /// The EK with its certificate.
    pub(crate) fn ek(&self) -> &EndorsementKey {
        &self.ek
    }

    /// The AK's public area.
    pub(crate) fn ak(&self) -> &Area {
        &self.ak.area
    }

    /// The AK's hash and the PCR bank of its quotes.
    pub(crate) const fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// How the AK signs.
    pub(crate) const fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// Quotes the registers of `mask` and PCR 16, which is made to hold `binding`.
    pub(crate) async fn quote(&self, nonce: Vec<u8>, mask: u32, binding: Digest) -> Result<KeylimeQuote, TpmError> {
        let bank = PcrBank(self.hash);
        let selection = PcrSelection::from_mask(bank, mask).unwrap_or_else(|PcrMaskOutOfRange { .. }| {
            // Callers' masks are checked where they come in; a bit above PCR 23 selects nothing.
            PcrSelection::from_indices(bank, [])
        });
        let this = self.clone();
        self.tpm
            .work(move |context| {
                this.with_ak(context, |context, ak| quote::quote(context, ak, &nonce, selection, &binding))
            })
            .await
    }

    /// Recovers a registrar's secret.
    pub(crate) async fn activate(&self, credential: Credential) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let this = self.clone();
        self.tpm
            .work(move |context| {
                let ek = OpenEk::open(context, &this.ek.place)?;
                let recovered =
                    this.with_ak(context, |context, ak| activation::activate(context, ek.handle, ak, &credential));
                ek.close(context)?;
                recovered
            })
            .await
    }

    /// Does `work` with the AK loaded, and flushes it.
    fn with_ak<T>(
        &self,
        context: &mut Context,
        work: impl FnOnce(&mut Context, KeyHandle) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let ak = match self.load_saved(context) {
            Some(ak) => ak,
            None => self.load(context)?,
        };
        let done = work(context, ak);
        let flushed = context.flush_context(ak.into()).map_err(TpmError::during("flush the AK"));
        done.and_then(|value| flushed.map(|()| value))
    }

    fn load_saved(&self, context: &mut Context) -> Option<KeyHandle> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = context.context_load(saved.clone()?);
        if loaded.is_err() {
            // The TPM was reset since: the blob under the EK is good for ever.
            *saved = None;
        }
        loaded.ok().map(KeyHandle::from)
    }

    fn load(&self, context: &mut Context) -> Result<KeyHandle, TpmError> {
        let private = Private::try_from(self.ak.private.as_slice()).map_err(TpmError::during("read the AK"))?;
        let public = Public::unmarshall(self.ak.area.tpmt()).map_err(TpmError::during("read the AK"))?;
        let ek = OpenEk::open(context, &self.ek.place)?;
        let ak = load_ak(context, ek.handle, None, private, public).map_err(TpmError::during("load the AK"))?;
        ek.close(context)?;
        // Without the saved form the next use only takes longer.
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = context.context_save(ak.into()).ok();
        Ok(ak)
    }
}

async fn create(tpm: &Tpm, wanted: &Identification, place: Place) -> Result<AkBlob, TpmError> {
    let key = wanted.ek_algorithm.of_ak(wanted.scheme);
    let (hash, scheme) = (hashing(wanted.hash), signing(wanted.scheme));
    tpm.work(move |context| {
        let ek = OpenEk::open(context, &place)?;
        let made = create_ak_2(context, ek.handle, hash, key, scheme, None, DefaultKey)
            .map_err(TpmError::during("make an AK"))?;
        ek.close(context)?;
        let tpmt = made.out_public.marshall().map_err(TpmError::during("encode the AK"))?;
        let area = Area::from_tpmt(&tpmt).map_err(|source| TpmError::Key { key: "AK", source })?;
        Ok(AkBlob { area, private: made.out_private.value().to_vec() })
    })
    .await
}
