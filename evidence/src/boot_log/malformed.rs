//! Why bytes are not a boot event log, or an event's data not what its type says.

/// What is wrong, where, what was found and what was expected.
///
/// `offset` counts bytes from the start of the log, also for an event's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedBootLog {
    /// A counted list is longer than it may be.
    #[error("{field} at byte {offset} counts {found}, at most {max} are allowed")]
    Count {
        /// The list.
        field: &'static str,
        /// Where its count stands.
        offset: usize,
        /// The named limit.
        max: usize,
        /// The count found.
        found: u64,
    },
    /// An event repeats the digest of one algorithm, so that it is open what was extended.
    #[error("the event at byte {offset} has two digests of algorithm {algorithm:#06x}, expected one of each")]
    DuplicateDigest {
        /// Where the second digest stands.
        offset: usize,
        /// The `TPM_ALG_ID`.
        algorithm: u16,
    },
    /// There is no event.
    #[error("the log has no event, expected at least one in its {bytes} bytes")]
    Empty {
        /// Bytes of padding found, if any.
        bytes: usize,
    },
    /// The register does not exist and the event is not one of those that belong to none.
    #[error(
        "pcrIndex at byte {offset} is {found:#x}, expected 0 to 23, or 0xffffffff in an EV_NO_ACTION event \
         (is this a boot event log?)"
    )]
    Register {
        /// Where the index stands.
        offset: usize,
        /// The index found.
        found: u32,
    },
    /// A second event states the locality of TPM2_Startup.
    #[error("a second StartupLocality event at byte {offset}, expected at most one")]
    SecondStartupLocality {
        /// Where the event starts.
        offset: usize,
    },
    /// The log is larger than any log is.
    #[error("the log has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// The named limit.
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// Bytes are left over when the structure is complete.
    #[error("{count} bytes left over at byte {offset}, expected {field} to end there")]
    TrailingBytes {
        /// The structure.
        field: &'static str,
        /// Where it should have ended.
        offset: usize,
        /// How many bytes follow.
        count: usize,
    },
    /// The bytes end inside a field.
    #[error("{field} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The field that does not fit.
        field: &'static str,
        /// Where it starts.
        offset: usize,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        left: usize,
    },
    /// An event has a digest of an algorithm the log's header does not list.
    #[error("digest algorithm at byte {offset} is {found:#06x}, expected one the Spec ID event lists")]
    UnlistedAlgorithm {
        /// Where the algorithm stands.
        offset: usize,
        /// The `TPM_ALG_ID` found.
        found: u16,
    },
    /// A number is none of those the field may hold.
    #[error("{field} at byte {offset} is {found:#x}, expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// Where it stands.
        offset: usize,
        /// The values that are allowed, in words.
        expected: &'static str,
        /// The value found.
        found: u64,
    },
}
