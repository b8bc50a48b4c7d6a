//! The counters in a quote, read where they stand.

/// `TPMS_CLOCK_INFO` of a quote: when, in the TPM's own time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockInfo {
    /// Milliseconds the TPM has been powered since its clock was last set.
    pub clock_ms: u64,
    /// TPM resets since the TPM was last cleared.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether no larger `clock_ms` may have been reported before.
    pub safe: bool,
}

impl ClockInfo {
    /// Reads them from a `TPMS_ATTEST` of type quote; `None` if the bytes are none, or end before.
    /// What follows them is not looked at, and nothing is authenticated.
    ///
    /// Source: TPM 2.0 Library, Part 2, "Attestation Structures"; `docs/spec/history.md` section 3.
    #[must_use]
    pub fn of_quote(attest: &[u8]) -> Option<Self> {
        let (_extra_data, rest) = after_signer(attest)?;
        let (clock, rest) = rest.split_first_chunk()?;
        let (resets, rest) = rest.split_first_chunk()?;
        let (restarts, rest) = rest.split_first_chunk()?;
        let (clock_ms, reset_count, restart_count) =
            (u64::from_be_bytes(*clock), u32::from_be_bytes(*resets), u32::from_be_bytes(*restarts));
        Some(Self { clock_ms, reset_count, restart_count, safe: *rest.first()? == 1 })
    }
}

/// The challenger's bytes in a quote's `TPMS_ATTEST`: the nonce, as far as nothing is authenticated.
#[must_use]
pub fn extra_data(attest: &[u8]) -> Option<&[u8]> {
    after_signer(attest).map(|(extra_data, _)| extra_data)
}

/// A quote's extraData, and what follows it.
fn after_signer(attest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_signer, rest) = sized(attest.strip_prefix(&QUOTE_HEAD)?)?;
    sized(rest)
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// `TPM_GENERATED_VALUE` and `TPM_ST_ATTEST_QUOTE`.
const QUOTE_HEAD: [u8; 6] = [0xff, 0x54, 0x43, 0x47, 0x80, 0x18];
