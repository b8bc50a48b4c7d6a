//! Check "files": what is listed is there, and nothing else.

use messages::AgentId;

use crate::{
    bundle::Bundle,
    report::{Check, CheckName},
};

const AGAIN: &str = "get the bundle again from whoever exported it";

/// 1. the index is about the agent asked for; 2. each listed file is there; 3. nothing else is.
pub(super) fn check(bundle: &Bundle, agent: Option<&AgentId>) -> Check {
    let mut check = Check::new(CheckName::Files);
    let found = &bundle.manifest().agent;
    if let Some(asked) = agent.filter(|asked| *asked != found) {
        let problem = format!("the bundle is about agent {found}; asked for was {asked}");
        check.refute("manifest.json", problem, "give the bundle of the agent you ask about");
    }
    let listed = bundle.listed();
    let present = match bundle.present() {
        Ok(present) => present,
        Err(error) => {
            check.doubt("the bundle", format!("cannot be listed: {error}"), "make the directory readable");
            return check;
        }
    };
    for name in &listed {
        check.examine();
        if !present.contains(name) {
            check.refute(name, "the file is listed in the manifest but is not there", AGAIN);
        }
    }
    // A stray file could be taken for evidence by whoever reads the bundle by hand.
    for name in present.difference(&listed) {
        check.examine();
        check.refute(name, "the manifest does not list this file", "remove it, or get the bundle again");
    }
    if bundle.manifest().entries.is_empty() {
        check.refute("manifest.json", "the bundle has no entries", AGAIN);
    }
    check
}
