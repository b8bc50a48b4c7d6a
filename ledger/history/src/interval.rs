//! Proofs of all that is on record about one machine between two times.

mod beacons;
mod build;
mod evidence;
mod format;
mod opened;
mod refused;
mod statement;
mod store;
mod terms;
mod verify;
mod zones;

pub use self::beacons::BeaconStampFlaw;
pub(crate) use self::build::Maker;
pub use self::build::{NotProven, OPENED_MAX, Request, prove};
pub(crate) use self::format::VERSION;
pub use self::format::{
    BeaconStamp, BeaconStamps, CensusPart, Evidence, IntervalProof, LoggedToken, PROOF_BYTES_MAX, Stamp, StampedNote,
    TermsPart,
};
pub use self::refused::{CensusEnd, IntervalRefused, MalformedTree};
pub use self::statement::{Gap, IntervalStatement, NotBefore, ProvenTime, Strength, Term, TermKind};
pub use self::store::{CensusChoice, Store, StoredCensus};
pub(crate) use self::terms::Terms;
pub use self::verify::{Trust, Witnesses, verify, verify_decoded};
pub(crate) use self::verify::{census_entry, extends, extends_nothing, version_of};
