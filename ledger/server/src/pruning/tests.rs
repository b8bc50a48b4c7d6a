//! A prune stopped at every operation, and what a pruned log still is.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use ledger_protocol::Beacon;
use ledger_protocol::body::{Enrol, ImaDelta, QuoteBody};
use messages::AgentId;
use messages::ledger::{Head, IdempotencyKey};
use tempfile::TempDir;

use super::*;
use crate::disk::faults::{Event, Fault, Watched};
use crate::disk::power_cut::{Arrival, Chance, LostSync, PowerCut};
use crate::{ExportedBlobs, LogConfig, export, fsck, reindex};

fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn config(path: &Path) -> LogConfig {
    let mut config = LogConfig::new(path);
    config.checkpoint_interval = Duration::from_millis(1);
    config.origin = Some("ledger.test/log".to_owned());
    config.segment_bytes_max = 4_000;
    config
}

fn item<B: Body>(body: &B) -> Item {
    Item { kind: B::KIND.number(), body: ByteBuf::from(body.encode()), after: None }
}

fn append(ledger: &Ledger, key: u64, agent: Option<&AgentId>, expected: Option<Head>, item: Item) -> Head {
    let idempotency_key = IdempotencyKey(u128::from(key).to_be_bytes());
    let groups = vec![Group { agent: agent.cloned(), expected, items: vec![item] }];
    let answer = ledger.append_blocking(AppendRequest { version: 1, idempotency_key, groups }).unwrap();
    match answer.results.as_slice() {
        [GroupResult::Appended(receipts)] => {
            let last = receipts.last().unwrap();
            Head { seq: last.seq + 1, prev: last.leaf_hash }
        }
        other => panic!("{other:?}"),
    }
}

fn blob(ledger: &Ledger, text: &str) -> Digest {
    let digest = Digest(openssl::sha::sha256(text.as_bytes()));
    ledger.shared.blobs.put(&digest, text.as_bytes()).unwrap();
    digest
}

fn node() -> AgentId {
    "node".parse().unwrap()
}

/// An agent's quotes, each with a boot log of its own but for one that all have; 40 by `from`.
fn quotes(ledger: &Ledger, from: u64, mut head: Head) -> Head {
    let common = blob(ledger, "common");
    for number in from..from + 40 {
        let published = ledger.shared.published().unwrap();
        let note_digest = Digest(openssl::sha::sha256(&published.note));
        let quote = QuoteBody {
            beacon: Beacon { tree_size: published.size, note_digest },
            salt: Digest([2; 32]),
            attest: ByteBuf::from([3; 145]),
            signature: ByteBuf::from([4; 72]),
            pcrs: vec![],
            ima: ImaDelta { delta: Some(common), ..ImaDelta::default() },
            boot_log: Some(blob(ledger, &format!("boot {number}"))),
        };
        head = append(ledger, number, Some(&node()), Some(head), item(&quote));
    }
    head
}

/// A log of an agent, its binding and 80 quotes, in several segments.
fn begin(path: &Path) {
    let ledger = Ledger::open(&config(path)).unwrap();
    let binding = blob(&ledger, "binding");
    let enrol = Enrol { slot: 0, binding, ek_certificate: 0, registrar: "test".into() };
    let head = append(&ledger, 1, Some(&node()), Some(Head::default()), item(&enrol));
    let head = quotes(&ledger, 100, head);
    quotes(&ledger, 200, head);
}

fn ask(below: u64) -> PruneRequest {
    PruneRequest {
        actor: "operator".into(),
        below: PruneBelow::Index(below),
        blob_grace: Duration::ZERO,
        reason: "retention".into(),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

fn files(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            names.extend(files(&entry.path()));
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    names.sort();
    names
}

fn is_sound(path: &Path) {
    let report = fsck(path).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[test]
fn a_pruned_log_has_its_tree_its_rest_and_what_the_rest_depends_on() {
    let folder = scratch();
    let path = folder.path().join("log");
    begin(&path);
    let ledger = Ledger::open(&config(&path)).unwrap();
    let size = ledger.shared.durable_size();
    let proofs: Vec<_> = (0..size).map(|index| ledger.inclusion_proof(index, size).unwrap()).collect();
    let report = ledger.prune(&ask(60)).unwrap();
    assert!(report.first > 30 && report.first <= 60 && report.segments > 2, "{report:?}");
    assert_eq!((report.minimum_index, report.policy_index), (256, size));
    assert!(report.blobs > 25, "boot logs: {report:?}");
    assert!(report.kept >= 2, "genesis and enrol: {report:?}");
    let shared = &ledger.shared;
    assert!(shared.blobs.get(&blob(&ledger, "common")).unwrap().is_some(), "later quotes name it too");
    let recorded = Entry::decode(&shared.segments.entry(report.policy_index).unwrap()).unwrap();
    let recorded = OperatorAction::decode(&recorded.body).unwrap();
    assert_eq!((recorded.action.as_str(), recorded.target.as_deref()), ("prune", Some("256")));
    assert_eq!(ledger.info().unwrap().minimum_index, 256);
    for (proof, index) in proofs.iter().zip(0..) {
        assert_eq!(*proof, ledger.inclusion_proof(index, size).unwrap(), "{index}");
    }
    assert!(matches!(shared.segments.entry(report.first - 1), Err(ReadError::Missing { .. })));
    shared.segments.entry(report.first).unwrap();
    assert!(matches!(ledger.prune(&ask(30)), Err(PruneError::Nothing { .. })));
    // A request whose entry is gone is neither repeated nor answered as if it were there.
    let binding = blob(&ledger, "binding");
    let enrol = Enrol { slot: 0, binding, ek_certificate: 0, registrar: "test".into() };
    let again = Group { agent: Some(node()), expected: Some(Head::default()), items: vec![item(&enrol)] };
    let again = AppendRequest { version: 1, idempotency_key: IdempotencyKey(1u128.to_be_bytes()), groups: vec![again] };
    assert!(matches!(ledger.append_blocking(again), Err(AppendFailed::Pruned { .. })));
    drop(ledger);
    is_sound(&path);
    let grown = crate::info(&path).unwrap().1;
    assert_eq!(reindex(&path).unwrap(), grown, "the index made anew is the one that was cleaned");
    let ledger = Ledger::open(&config(&path)).unwrap();
    let head = ledger.shared.index.head(Some(&node())).unwrap();
    quotes(&ledger, 300, head);
    let second = ledger.prune(&ask(100)).unwrap();
    assert!(second.first > report.first && second.kept >= report.kept, "{second:?}");
    drop(ledger);
    is_sound(&path);
    assert_eq!(files(&path.join("pruned")), [kept_name(second.first), state_name(second.first)]);
    let grown = crate::info(&path).unwrap().1;
    assert_eq!(reindex(&path).unwrap(), grown);
    let report = export(&path, &folder.path().join("web"), ExportedBlobs::Histories).unwrap();
    assert_eq!(report.tree_size, crate::info(&path).unwrap().0.durable_size);
    let bundles = files(&folder.path().join("web/tile/entries"));
    assert!(bundles.is_empty(), "every bundle begins with pruned entries: {bundles:?}");
}

#[test]
fn damage_to_what_outlives_a_prune_is_found() {
    let folder = scratch();
    let path = folder.path().join("log");
    begin(&path);
    let ledger = Ledger::open(&config(&path)).unwrap();
    let first = ledger.prune(&ask(60)).unwrap().first;
    drop(ledger);
    let state = path.join("pruned").join(state_name(first));
    let kept = path.join("pruned").join(kept_name(first));
    for (file, place) in [(&state, 40), (&kept, 15), (&path.join("levels/0"), 32 * 7 + 3)] {
        let good = fs::read(file).unwrap();
        let mut bad = good.clone();
        *bad.get_mut(place).unwrap() ^= 1;
        fs::write(file, &bad).unwrap();
        assert!(!fsck(&path).unwrap().is_sound(), "{}", file.display());
        let is_leaf = file.ends_with("levels/0");
        assert!(is_leaf || Ledger::open(&config(&path)).is_err(), "{}", file.display());
        assert!(!is_leaf || reindex(&path).is_err(), "no entry is left to make the hash from");
        fs::write(file, &good).unwrap();
    }
    is_sound(&path);
    fs::remove_file(path.join("segments").join(name(first))).unwrap();
    assert!(Ledger::open(&config(&path)).is_err());
}

#[test]
fn a_blob_that_comes_again_outlives_the_entries_that_named_it() {
    let folder = scratch();
    let path = folder.path().join("log");
    begin(&path);
    let ledger = Ledger::open(&config(&path)).unwrap();
    let old = SystemTime::now() - Duration::from_secs(10 * 24 * 3600);
    let again = Digest(openssl::sha::sha256(b"boot 105"));
    let gone = Digest(openssl::sha::sha256(b"boot 106"));
    for digest in [again, gone] {
        let file = path.join("blobs").join(format!("{:.2}/{digest}", digest.to_string()));
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    }
    blob(&ledger, "boot 105");
    ledger.prune(&PruneRequest { blob_grace: BLOB_GRACE, ..ask(60) }).unwrap();
    let blobs = &ledger.shared.blobs;
    assert!(blobs.get(&again).unwrap().is_some(), "an entry that names it may be on its way");
    assert!(blobs.get(&gone).unwrap().is_none());
    let pruned = ledger.shared.pruned().unwrap();
    assert!(pruned.has_deleted(&gone) && !pruned.has_deleted(&Digest::ZERO));
}

#[test]
fn a_prune_stopped_at_any_operation_is_finished_or_has_not_begun() {
    let folder = scratch();
    let (base, path) = (folder.path().join("base"), folder.path().join("log"));
    begin(&base);
    let size = crate::info(&base).unwrap().0.durable_size;
    let mut stopped = 0;
    for number in 0.. {
        let _ = fs::remove_dir_all(&path);
        copy(&base, &path);
        let watched = Watched::new(&path);
        let ledger = Ledger::open(&config(&path)).unwrap();
        watched.arm(number, Fault::Stop);
        let pruned = ledger.prune(&ask(60));
        drop(ledger);
        let struck = watched.struck();
        drop(watched);
        let Some(struck) = struck else {
            pruned.unwrap();
            break;
        };
        stopped += 1;
        // What a kill leaves is what a start finishes.
        let before = fsck(&path).unwrap();
        let mended = before.findings.iter().all(|finding| finding.text.contains("the next start"));
        assert!(before.is_sound() || mended, "{struck}: {:?}", before.findings);
        let ledger = Ledger::open(&config(&path)).unwrap_or_else(|error| panic!("{struck}: {error:?}"));
        let pruned = ledger.shared.pruned();
        assert!(ledger.shared.durable_size() > size);
        drop(ledger);
        is_sound(&path);
        let segments = files(&path.join("segments"));
        match pruned {
            Some(pruned) => {
                assert_eq!(segments.first(), Some(&name(pruned.first)), "{struck}");
                assert_eq!(files(&path.join("pruned")).len(), 2, "{struck}");
                let gone = Digest(openssl::sha::sha256(b"boot 100")).to_string();
                assert!(!files(&path.join("blobs")).contains(&gone), "{struck}");
            }
            None => assert_eq!(segments.first(), Some(&name(0)), "{struck}"),
        }
        let grown = crate::info(&path).unwrap().1;
        assert_eq!(reindex(&path).unwrap(), grown, "{struck}");
    }
    assert!(stopped > 30, "{stopped} operations");
}

/// Everything that a log did to its files up to its prune's end, and how much of it before the prune.
struct Recorded {
    before: usize,
    events: Vec<Event>,
    folder: TempDir,
    size: u64,
}

impl Recorded {
    fn make() -> Self {
        let folder = scratch();
        let live = folder.path().join("live");
        fs::create_dir(&live).unwrap();
        let watched = Watched::new(&live);
        begin(&live.join("log"));
        let ledger = Ledger::open(&config(&live.join("log"))).unwrap();
        let size = ledger.shared.durable_size();
        let before = watched.events().len();
        ledger.prune(&ask(60)).unwrap();
        let events = watched.events();
        drop(ledger);
        Self { before, events, folder, size }
    }

    /// Cuts the power after each operation of the prune, in four ways; how often, and how often it was decided.
    fn cut(&self, lost: Option<LostSync>) -> Result<(usize, usize), String> {
        let (live, state) = (self.folder.path().join("live"), self.folder.path().join("state"));
        let mut disk = PowerCut::losing(lost);
        let mut chance = Chance::new(7);
        let (mut cuts, mut decided) = (0, 0);
        for (number, event) in self.events.iter().enumerate() {
            disk.follow(event);
            if number < self.before {
                continue;
            }
            for way in 0..4 {
                let arrival = match way {
                    0 => Arrival::Nothing,
                    1 => Arrival::All,
                    2 => Arrival::Prefix(&mut chance),
                    _ => Arrival::Subset(&mut chance),
                };
                disk.strike(&live, &state, arrival).unwrap();
                let judged = self.judge(&state.join("log"), number + 1 == self.events.len());
                fs::remove_dir_all(&state).unwrap();
                decided += usize::from(judged.map_err(|wrong| format!("{event:?}, way {way}: {wrong}"))?);
                cuts += 1;
            }
        }
        Ok((cuts, decided))
    }

    /// The log starts with all its entries, pruned or not; tells whether it is.
    fn judge(&self, log: &Path, ended: bool) -> Result<bool, String> {
        let ledger = Ledger::open(&config(log)).map_err(|error| crate::engine::chain(&error))?;
        let pruned = ledger.shared.pruned().is_some();
        if ledger.shared.durable_size() <= self.size || (ended && !pruned) {
            return Err(format!("{} entries, pruned: {pruned}", ledger.shared.durable_size()));
        }
        drop(ledger);
        let report = fsck(log).unwrap();
        if report.is_sound() { Ok(pruned) } else { Err(format!("{:?}", report.findings)) }
    }
}

#[test]
fn a_power_cut_after_any_operation_of_a_prune_leaves_a_whole_log() {
    let recorded = Recorded::make();
    let (cuts, decided) = recorded.cut(None).unwrap();
    assert!(cuts > 100 && decided > 20 && cuts > decided, "{cuts}, {decided}");
    for kind in [LostSync::Bytes("pruned"), LostSync::Names("pruned")] {
        let noticed = recorded.cut(Some(kind)).err();
        let noticed = noticed.unwrap_or_else(|| panic!("{kind:?} is not missed"));
        eprintln!("{kind:?}: {noticed}");
    }
}
