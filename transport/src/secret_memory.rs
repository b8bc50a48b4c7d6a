//! Keeping a process's memory to itself.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps and debuggers of other users' processes: keys, shares and payloads pass through this memory.
///
/// To be called before the first secret is read. A kernel that refuses is reported and keeps nobody from working.
pub fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let forbidden = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = forbidden {
        tracing::warn!(%error, "core dumps could not be forbidden");
    }
}
