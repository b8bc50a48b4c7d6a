//! Bundles that were changed after they were written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use messages::Digest;
use tools_auditor::{
    bundle::{Manifest, entry_path, proof_path},
    report::{CheckName, Conclusion, Outcome},
    verify::{Question, verify},
};

use crate::{log::Log, machine::Story};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Changes the index as someone who knows how it is made.
fn edit(folder: &Path, change: impl FnOnce(&mut Manifest)) {
    let path = folder.join("manifest.json");
    let mut manifest = Manifest::decode(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    manifest.digest = Digest::ZERO;
    fs::write(&path, manifest.encode()).unwrap();
}

fn remove_entry(folder: &Path, index: u64) {
    fs::remove_file(folder.join(entry_path(index))).unwrap();
    fs::remove_file(folder.join(proof_path(index))).unwrap();
}

#[test]
fn any_changed_byte_of_any_file_is_refused() {
    let mut story = Story::told();
    let folder = story.export();
    for file in files(&folder) {
        let bytes = fs::read(&file).unwrap();
        let step = if bytes.len() <= 400 { 1 } else { 37 };
        for position in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            fs::write(&file, &changed).unwrap();
            let report = story.verify();
            assert_eq!(report.conclusion, Conclusion::False, "{} byte {position}", file.display());
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert_eq!(story.verify().conclusion, Conclusion::Verified);
}

#[test]
fn a_removed_file_is_refused_and_named() {
    let mut story = Story::told();
    let folder = story.export();
    for file in files(&folder) {
        if file.ends_with("manifest.json") {
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let report = story.verify();
        assert_eq!(report.conclusion, Conclusion::False, "{}", file.display());
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        assert!(report.check(CheckName::Files).unwrap().problems.iter().any(|problem| problem.place == name));
        fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn a_foreign_file_folder_or_link_is_refused() {
    let mut story = Story::told();
    let folder = story.export();
    let refused = |story: &Story| story.verify().check(CheckName::Files).unwrap().outcome == Outcome::False;
    for name in ["notes.txt", "entries/7.cbor.bak", "blobs/README"] {
        fs::write(folder.join(name), b"?").unwrap();
        assert!(refused(&story), "{name}");
        fs::remove_file(folder.join(name)).unwrap();
    }
    fs::create_dir(folder.join("entries/more")).unwrap();
    assert!(refused(&story));
    fs::remove_dir(folder.join("entries/more")).unwrap();
    let checkpoint = folder.join("checkpoint");
    fs::rename(&checkpoint, story.folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &checkpoint).unwrap();
    assert!(refused(&story));
}

#[test]
fn an_entry_removed_with_its_line_in_the_index_leaves_a_hole_that_is_seen() {
    let story = Story::told();
    let indices = story.log.indices(&story.machine.agent);
    // The last one can be left out: a shorter run is true too, and says where it ends.
    for (position, index) in indices.iter().enumerate().take(indices.len() - 1) {
        let mut story = Story::told();
        let folder = story.export();
        remove_entry(&folder, *index);
        let quotes_left = |m: &Manifest| m.entries.iter().filter(|e| e.kind == "quote").count();
        edit(&folder, |manifest| {
            manifest.entries.remove(position);
            assert!(quotes_left(manifest) > 0);
        });
        let report = story.verify();
        assert_eq!(report.conclusion, Conclusion::False, "entry {index}: {:#?}", report.checks);
    }
}

#[test]
fn two_swapped_entries_are_refused() {
    let mut story = Story::told();
    let folder = story.export();
    let indices = story.log.indices(&story.machine.agent);
    let (a, b) = (folder.join(entry_path(indices[2])), folder.join(entry_path(indices[3])));
    let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, second).unwrap();
    fs::write(&b, first).unwrap();
    let report = story.verify();
    assert_eq!(report.check(CheckName::Inclusion).unwrap().outcome, Outcome::False);
    // With the proofs swapped too, each proof is for another index than its name says.
    let (a, b) = (folder.join(proof_path(indices[2])), folder.join(proof_path(indices[3])));
    let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, second).unwrap();
    fs::write(&b, first).unwrap();
    let report = story.verify();
    assert_eq!(report.check(CheckName::Inclusion).unwrap().outcome, Outcome::False);
}

#[test]
fn another_logs_key_is_refused() {
    let mut story = Story::told();
    story.export();
    let roots = story.roots();
    let other = Log::new(2);
    let log_key = other.signer.verifier();
    let question = Question {
        log_key,
        roots: Some(&roots),
        agent: None,
        from: None,
        to: None,
        policy_signers: None,
        witnesses: None,
        stamps: None,
    };
    let report = verify(&story.path(), &question);
    assert_eq!(report.conclusion, Conclusion::False);
    assert_eq!(report.check(CheckName::Checkpoint).unwrap().outcome, Outcome::False);
    assert_eq!(report.check(CheckName::Inclusion).unwrap().outcome, Outcome::NotRun);
    assert!(report.statement.is_none());
}

#[test]
fn a_bundle_about_another_agent_is_refused() {
    let mut story = Story::told();
    let folder = story.export();
    let roots = story.roots();
    let agent = "node-2".parse().unwrap();
    let log_key = story.log.signer.verifier();
    let question = Question {
        log_key,
        roots: Some(&roots),
        agent: Some(&agent),
        from: None,
        to: None,
        policy_signers: None,
        witnesses: None,
        stamps: None,
    };
    assert_eq!(verify(&folder, &question).conclusion, Conclusion::False);
    // Nor does it help to write the other agent's name into the index.
    edit(&folder, |manifest| manifest.agent = agent.clone());
    assert_eq!(verify(&folder, &question).check(CheckName::Entries).unwrap().outcome, Outcome::False);
}

#[test]
fn a_bundle_of_a_later_format_or_none_at_all_cannot_be_checked() {
    let mut story = Story::told();
    assert_eq!(story.verify().conclusion, Conclusion::NotFullyChecked);
    let folder = story.export();
    edit(&folder, |manifest| manifest.format = "attestry-bundle/2".to_owned());
    assert_eq!(story.verify().conclusion, Conclusion::NotFullyChecked);
}
