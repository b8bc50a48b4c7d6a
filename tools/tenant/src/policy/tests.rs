#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

mod archives;
mod boot;
mod bundles;
mod linting;
mod repositories;
mod runtime;
mod signatures;
mod trying;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use evidence::algorithm::HashAlgorithm;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

/// Runs `attestry policy …` in this process.
fn policy(arguments: &[&str]) -> Result<(), Failure> {
    let cli = Cli::try_parse_from(["attestry", "policy"].iter().chain(arguments)).unwrap_or_else(|e| panic!("{e}"));
    let Command::Policy(arguments) = cli.command else { panic!("not a policy command") };
    super::run(&arguments)
}

/// A folder with files in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.path(name)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.0.path().join(name)).unwrap()).unwrap()
    }
}

fn sha256(data: &[u8]) -> String {
    HashAlgorithm::Sha256.digest(data).unwrap().to_string()
}

/// The public data beside the workspace, if it is there.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// A runtime policy with these digests and excludes.
fn runtime_policy(digests: &Value, excludes: &[&str]) -> String {
    serde_json::json!({
        "meta": {"version": 1, "generator": 3}, "release": 0, "digests": digests, "excludes": excludes, "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": null}, "ima-buf": {},
        "verification-keys": "",
    })
    .to_string()
}
