//! `boot_aggregate`: what IMA's first entry must be, from the registers the firmware filled.

use super::register::hash;
use crate::algorithm::{Digest, HashAlgorithm};
use crate::crypto::CryptoUnavailable;
use crate::pcr::{PcrIndex, PcrValues};

/// The values the first entry of a list may have on a machine whose registers are `values`.
///
/// The digest, in the bank's own algorithm, over PCR 0 to 7; in banks other than SHA-1 also over PCR 0 to 9, as
/// kernels from 5.8 on do. Nothing for a sum over a register that is not among `values`. A caller with several banks
/// asks for each.
///
/// `values` must be authentic: quoted, or replayed from a boot log whose registers were quoted.
///
/// # Errors
/// [`CryptoUnavailable`] if the bank's algorithm is switched off in the library.
///
/// Source: Linux, `ima_calc_boot_aggregate_tfm` in `security/integrity/ima/ima_crypto.c`.
pub fn boot_aggregates(values: &PcrValues) -> Result<Vec<Digest>, CryptoUnavailable> {
    let algorithm = values.bank().algorithm();
    let counts: &[usize] = if algorithm == HashAlgorithm::Sha1 { &[8] } else { &[8, 10] };
    let mut aggregates = Vec::with_capacity(counts.len());
    for count in counts {
        let registers: Option<Vec<&[u8]>> =
            PcrIndex::all().take(*count).map(|index| values.get(index).map(Digest::as_bytes)).collect();
        if let Some(registers) = registers {
            aggregates.push(hash(algorithm, &registers.concat())?);
        }
    }
    Ok(aggregates)
}
