#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod compiling;
mod enveloping;
mod importing;

use std::sync::Arc;

use super::*;

/// Keylime's JSON of an empty policy with these members in place of its own.
fn json(members: &serde_json::Value) -> Vec<u8> {
    let mut json = serde_json::json!({
        "meta": {"version": 1, "generator": 3, "timestamp": "2026-01-01 00:00:00"}, "release": 0, "digests": {},
        "excludes": [], "keyrings": {}, "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null},
        "ima-buf": {}, "verification-keys": "",
    });
    for (name, member) in members.as_object().unwrap() {
        json[name] = member.clone();
    }
    json.to_string().into_bytes()
}

fn compile(members: &serde_json::Value) -> Result<RuntimePolicy, CompileError> {
    PolicyBuilder::from_keylime_json(&json(members)).unwrap().compile()
}

fn stack(policies: Vec<RuntimePolicy>) -> Result<PolicyStack, StackRejected> {
    let layer = |(number, policy)| PolicyLayer { name: format!("layer{number}"), policy: Arc::new(policy) };
    PolicyStack::new(policies.into_iter().enumerate().map(layer).collect())
}

/// Everything a policy lists, sorted.
fn content(policy: &RuntimePolicy) -> Vec<(Table, String, Vec<String>)> {
    let mut content: Vec<_> = policy
        .entries()
        .map(|(table, path, allowed)| (table, String::from_utf8(path).unwrap(), allowed.map(hex::encode).collect()))
        .collect();
    content.sort();
    content
}

fn digest(byte: u8) -> String {
    hex::encode([byte; 32])
}
