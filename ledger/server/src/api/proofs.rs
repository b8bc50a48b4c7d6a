//! Proofs of an interval.

use http::StatusCode;
use ledger_history::fleet::Selection;
use ledger_history::interval::NotProven;
use transport::router::{Request, Response};

use super::{Refusal, chain_of, number};
use crate::engine::Ledger;
use crate::histories::proofs::{Interval, NoProof, of_agent, of_fleet};

pub(super) fn agent(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let agent = chain_of(request)?.ok_or(Refusal::NotFound("The fleet's chain has no quotes"))?;
    let parameters = Parameters::read(request, &["boots", "from", "full", "gap", "to"])?;
    let bytes = of_agent(&ledger.shared, &agent, parameters.interval()?).map_err(|error| refusal(ledger, error))?;
    Ok(Response::new(StatusCode::OK, "application/cbor", bytes))
}

pub(super) fn fleet(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let parameters = Parameters::read(request, &["all", "from", "label", "to"])?;
    let selection = match (parameters.flag("all")?, request.query.get("label")) {
        (false, None) => Selection::Exceptions,
        (false, Some(label)) => with_label(label)?,
        (true, None) => Selection::All,
        (true, Some(_)) => return Err(Refusal::Malformed("all and label are given; expected one of them".to_owned())),
    };
    let (from, to) = (parameters.number("from", None)?, parameters.number("to", None)?);
    let bytes = of_fleet(&ledger.shared, from, to, selection).map_err(|error| refusal(ledger, error))?;
    Ok(Response::new(StatusCode::OK, "application/cbor", bytes))
}

/// As [`Refusal::from`]; what was pruned is answered as such.
fn refusal(ledger: &Ledger, error: NoProof) -> Refusal {
    match (&error, ledger.shared.pruned()) {
        (NoProof::NotProven(NotProven::Store(store)), Some(pruned)) if store.is_pruned() => {
            Refusal::pruned(&pruned, None)
        }
        _ => error.into(),
    }
}

fn with_label(label: &str) -> Result<Selection, Refusal> {
    let (name, value) =
        label.split_once('=').ok_or_else(|| Refusal::Malformed(format!("label is {label:?}; expected name=value")))?;
    Ok(Selection::Label(name.to_owned(), value.to_owned()))
}

/// A query, of which every name is known.
struct Parameters<'a>(&'a Request);

impl<'a> Parameters<'a> {
    fn read(request: &'a Request, known: &[&str]) -> Result<Self, Refusal> {
        match request.query.iter().find(|(name, _)| !known.contains(name)) {
            Some((stranger, _)) => {
                Err(Refusal::Malformed(format!("unknown parameter {stranger:?}; expected {}", known.join(", "))))
            }
            None => Ok(Self(request)),
        }
    }

    fn number(&self, name: &'static str, default: Option<u64>) -> Result<u64, Refusal> {
        match (self.0.query.get(name), default) {
            (Some(text), _) => number(text, name),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(Refusal::Malformed(format!("the parameter {name} is missing"))),
        }
    }

    /// 0 or 1.
    fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        match self.number(name, Some(0))? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(Refusal::Malformed(format!("{name} is {found}; expected 0 or 1"))),
        }
    }

    fn interval(&self) -> Result<Interval, Refusal> {
        Ok(Interval {
            from: self.number("from", None)?,
            to: self.number("to", None)?,
            gap_limit: self.number("gap", Some(GAP_LIMIT))?,
            boots: self.flag("boots")?,
            full: self.flag("full")?,
        })
    }
}

impl From<NoProof> for Refusal {
    fn from(error: NoProof) -> Self {
        match error {
            NoProof::UnknownAgent => Self::NotFound("The log has no such agent"),
            NoProof::NotKept => Self::NotFound("This ledger keeps no histories"),
            NoProof::NotProven(NotProven::NoCensus { .. }) => {
                Self::Unavailable("No census on record has the machine yet; one follows with the next epoch".to_owned())
            }
            NoProof::NotProven(error @ NotProven::Interval { .. }) => Self::Malformed(error.to_string()),
            NoProof::NotProven(NotProven::Store(ref error)) if error.is_callers() => Self::Malformed(error.to_string()),
            NoProof::NotReady { .. } => Self::Unavailable(error.to_string()),
            error => Self::broken(&error),
        }
    }
}

/// Gaps longer than this many seconds are shown unless told otherwise.
const GAP_LIMIT: u64 = 60;
