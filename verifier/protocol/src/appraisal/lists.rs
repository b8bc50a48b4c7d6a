//! Measurement lists that came with a quote, as bytes.

use base64::{Engine, engine::general_purpose::STANDARD};
use messages::{keylime::IntegrityQuote, ledger::BLOB_BYTES_MAX};

/// The lists of one answer. All of it is untrusted.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The firmware's event log, whole.
    pub boot_log: ListPart<Vec<u8>>,
    /// A part of IMA's list.
    pub ima: ListPart<MeasurementText>,
}

/// One list of an answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ListPart<T> {
    /// It did not come along.
    #[default]
    Absent,
    /// It came, in a form that can be neither kept nor judged; why.
    Unusable(String),
    /// It came.
    Present(T),
}

impl<T> ListPart<T> {
    /// The list, if it came in a usable form.
    pub const fn present(&self) -> Option<&T> {
        match self {
            Self::Present(list) => Some(list),
            Self::Absent | Self::Unusable(_) => None,
        }
    }
}

/// Entries of IMA's list in its text form.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeasurementText {
    /// The number of the first one, as the agent says.
    pub first_entry: u64,
    /// The lines; none if nothing is new.
    pub text: String,
}

impl Lists {
    /// Takes the lists out of an answer.
    ///
    /// One that is larger than a blob of the ledger may be is unusable: nothing is judged that
    /// cannot be recorded.
    #[must_use]
    pub fn from_answer(answer: IntegrityQuote) -> Self {
        let first_entry = answer.ima_measurement_list_entry.unwrap_or(0);
        let ima = match answer.ima_measurement_list {
            None => ListPart::Absent,
            Some(text) if text.len() > BLOB_BYTES_MAX => too_long(text.len()),
            Some(text) => ListPart::Present(MeasurementText { first_entry, text }),
        };
        Self { boot_log: boot_log(answer.mb_measurement_list.as_deref().unwrap_or_default()), ima }
    }
}

fn boot_log(text: &str) -> ListPart<Vec<u8>> {
    if text.is_empty() {
        return ListPart::Absent;
    }
    match STANDARD.decode(text) {
        Ok(log) if log.len() > BLOB_BYTES_MAX => too_long(log.len()),
        Ok(log) => ListPart::Present(log),
        Err(error) => ListPart::Unusable(format!("the boot log is not base64: {error}")),
    }
}

fn too_long<T>(found: usize) -> ListPart<T> {
    ListPart::Unusable(format!("the list has {found} bytes; expected at most {BLOB_BYTES_MAX}"))
}
