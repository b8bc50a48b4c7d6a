//! Quotes: registers read and signed so that the values sent are the values signed.

use evidence::algorithm::{Digest, HashAlgorithm};
use evidence::keylime::KeylimeQuote;
use evidence::pcr::{PcrIndex, PcrSelection, PcrValues};
use evidence::quote::Quote;
use tss_esapi::Context;
use tss_esapi::handles::{KeyHandle, PcrHandle};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, Digest as TssDigest, DigestValues, PcrSelectionList, PcrSlot, SignatureScheme};
use tss_esapi::traits::Marshall;

use super::TpmError;
use super::algorithms::hashing;

/// Quotes `selection` and PCR 16, which holds `binding`, with `nonce` as the qualifying data.
///
/// Reading and quoting are two commands, and the kernel may extend a register in between; then both are done again.
pub(super) fn quote(
    context: &mut Context,
    ak: KeyHandle,
    nonce: &[u8],
    selection: PcrSelection,
    binding: &Digest,
) -> Result<KeylimeQuote, TpmError> {
    let (index, bound) = bound_register(binding)?;
    let selection = selection.with(index);
    for _ in 0..ATTEMPTS_MAX {
        let mut values = read(context, selection)?;
        if values.get(index) != Some(&bound) {
            bind(context, binding)?;
            values = read(context, selection)?;
        }
        let (attest, signature) = sign(context, ak, nonce, selection)?;
        let quote = Quote::parse(&attest, &signature)?;
        if values.digest(quote.signature().hash())?.as_bytes() == quote.pcr_digest() {
            return Ok(KeylimeQuote { attest, signature, values });
        }
    }
    Err(TpmError::PcrsMoved { selection, attempts: ATTEMPTS_MAX })
}

/// PCR 16 and the value it has after a reset and one extension with `binding`.
fn bound_register(binding: &Digest) -> Result<(PcrIndex, Digest), TpmError> {
    let index = PcrIndex::all().nth(BINDING_PCR);
    let zero = Digest::zero(binding.algorithm());
    let bound = binding.algorithm().digest(&[zero.as_bytes(), binding.as_bytes()].concat())?;
    // There are 24 registers, so the seventeenth exists.
    index.map(|index| (index, bound)).ok_or_else(|| TpmError::BankAbsent {
        selection: PcrSelection::from_indices(evidence::pcr::PcrBank(binding.algorithm()), []),
    })
}

fn bind(context: &mut Context, binding: &Digest) -> Result<(), TpmError> {
    let mut digests = DigestValues::new();
    let digest = TssDigest::try_from(binding.as_bytes()).map_err(TpmError::during("extend PCR 16"))?;
    digests.set(hashing(binding.algorithm()), digest);
    context
        .execute_with_session(Some(AuthSession::Password), |context| {
            context.pcr_reset(PcrHandle::Pcr16)?;
            context.pcr_extend(PcrHandle::Pcr16, digests)
        })
        .map_err(TpmError::during("reset and extend PCR 16"))
}

/// Reads all registers of a selection, eight at a time as the TPM gives them.
fn read(context: &mut Context, selection: PcrSelection) -> Result<PcrValues, TpmError> {
    let mut values = PcrValues::new(selection.bank());
    let indices: Vec<PcrIndex> = selection.indices().collect();
    for part in indices.chunks(PCRS_PER_READ) {
        let wanted = PcrSelection::from_indices(selection.bank(), part.iter().copied());
        let list = selection_list(wanted)?;
        let (_, _, digests) =
            context.execute_without_session(|context| context.pcr_read(list)).map_err(TpmError::during("read PCRs"))?;
        if digests.len() != part.len() {
            return Err(TpmError::BankAbsent { selection: wanted });
        }
        for (index, digest) in part.iter().zip(digests.value()) {
            insert(&mut values, *index, selection.bank().algorithm(), digest.value(), wanted)?;
        }
    }
    Ok(values)
}

fn insert(
    values: &mut PcrValues,
    index: PcrIndex,
    algorithm: HashAlgorithm,
    bytes: &[u8],
    wanted: PcrSelection,
) -> Result<(), TpmError> {
    let absent = || TpmError::BankAbsent { selection: wanted };
    let digest = Digest::new(algorithm, bytes).map_err(|_| absent())?;
    values.insert(index, digest).map(|_| ()).map_err(|_| absent())
}

fn sign(
    context: &mut Context,
    ak: KeyHandle,
    nonce: &[u8],
    selection: PcrSelection,
) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
    let data = Data::try_from(nonce).map_err(TpmError::during("take the nonce"))?;
    let list = selection_list(selection)?;
    let (attest, signature) = context
        .execute_with_session(Some(AuthSession::Password), |context| {
            context.quote(ak, data, SignatureScheme::Null, list)
        })
        .map_err(TpmError::during("quote"))?;
    let attest = attest.marshall().map_err(TpmError::during("encode a quote"))?;
    let signature = signature.marshall().map_err(TpmError::during("encode a quote's signature"))?;
    Ok((attest, signature))
}

fn selection_list(selection: PcrSelection) -> Result<PcrSelectionList, TpmError> {
    let build = || -> tss_esapi::Result<PcrSelectionList> {
        let slots: Vec<PcrSlot> =
            selection.indices().map(|index| PcrSlot::try_from(1 << index.get())).collect::<Result<_, _>>()?;
        PcrSelectionList::builder().with_selection(hashing(selection.bank().algorithm()), &slots).build()
    };
    build().map_err(TpmError::during("select PCRs"))
}

/// The debug register: the one of the static registers that software may reset, which Keylime binds NK with.
const BINDING_PCR: usize = 16;
/// `TPML_DIGEST` holds eight.
const PCRS_PER_READ: usize = 8;
/// A register that moves in five successive windows of some milliseconds moves all the time.
const ATTEMPTS_MAX: u32 = 5;
