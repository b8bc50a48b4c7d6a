//! The vectors of other implementations, where they lie beside the workspace.
//!
//! They are not part of the project: without `../shared` each test says so and passes. What must
//! run anywhere is in `fixtures/vectors`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger_tlog::bundle::parse_entries;
use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint, CheckpointRejected};
use ledger_tlog::cose::{Receipt, ReceiptProof, ReceiptRejected, ReceiptVerifier};
use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::key::{KeyName, NoteVerifier, PosixSeconds};
use ledger_tlog::note::Note;
use ledger_tlog::policy::WitnessQuorum;
use ledger_tlog::proof::{
    ConsistencyProof, InclusionProof, roots_from_consistency, verify_consistency, verify_inclusion,
    verify_subtree_consistency, verify_subtree_inclusion,
};
use ledger_tlog::signer::{Cosigner, NoteSigner};
use ledger_tlog::subtree::Subtree;
use ledger_tlog::tile::{TileId, TilePath, TileSpan};
use ledger_tlog::tlog_proof::TlogProof;
use ledger_tlog::tree::{TreeHead, consistency_proof, inclusion_proof, root_of, tree_head};
use serde_json::Value;

/// The file `name` of the ledger vectors, or nothing, loudly.
fn vectors(name: &str) -> Option<Value> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../../shared/vectors/ledger", name].iter().collect();
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            // Written past the test harness, which would keep it to itself.
            let skipped = format!("SKIPPED: {}: {error}\n", path.display());
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            None
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Hashes in base64, or nothing if one of them is not 32 bytes.
fn hashes(value: &Value) -> Option<Vec<Hash>> {
    items(value).iter().map(|item| Hash::try_from(base64(item).as_slice()).ok()).collect()
}

fn base64_hashes(value: &Value) -> Vec<Hash> {
    items(value).iter().map(|item| Hash::from_base64(text(item)).unwrap()).collect()
}

fn hex_hashes(value: &Value) -> Vec<Hash> {
    items(value).iter().map(|item| Hash::from_hex(text(item)).unwrap()).collect()
}

fn hash(value: &Value) -> Option<Hash> {
    Hash::try_from(base64(value).as_slice()).ok()
}

/// A root of the consistency vectors. Some of those that must be accepted have texts in place
/// of roots, of which only equality counts: their digests stand for them. Where they must be
/// refused, not being 32 bytes is reason enough.
fn root(value: &Value, must_verify: bool) -> Option<Hash> {
    let bytes = base64(value);
    hash(value).or_else(|| must_verify.then(|| Hash::digest(&bytes)))
}

fn files(value: &Value) -> HashMap<String, Vec<u8>> {
    let files = value["files_base64"].as_object().unwrap();
    files.iter().map(|(path, content)| (path.clone(), base64(content))).collect()
}

fn verifier(value: &Value) -> NoteVerifier {
    text(value).parse().unwrap()
}

#[test]
fn inclusion_vectors_get_their_verdicts() {
    let Some(cases) = vectors("merkle-inclusion.json") else {
        return;
    };
    assert_eq!(items(&cases).len(), 98);
    for case in items(&cases) {
        let verified = (|| {
            let head = TreeHead { tree_size: case["treeSize"].as_u64()?, root: hash(&case["root"])? };
            let proof = InclusionProof::new(hashes(&case["proof"])?);
            let index = case["leafIdx"].as_u64()?;
            verify_inclusion(&hash(&case["leafHash"])?, index, &head, &proof).ok()
        })();
        assert_eq!(verified.is_none(), case["wantErr"], "{}", case["file"]);
    }
}

#[test]
fn consistency_vectors_get_their_verdicts() {
    let Some(cases) = vectors("merkle-consistency.json") else {
        return;
    };
    assert_eq!(items(&cases).len(), 98);
    for case in items(&cases) {
        let must_verify = case["wantErr"] == false;
        let verified = (|| {
            let old = TreeHead { tree_size: case["size1"].as_u64()?, root: root(&case["root1"], must_verify)? };
            let new = TreeHead { tree_size: case["size2"].as_u64()?, root: root(&case["root2"], must_verify)? };
            let proof = ConsistencyProof::new(hashes(&case["proof"])?);
            verify_consistency(&old, &new, &proof).ok()
        })();
        assert_eq!(verified.is_some(), must_verify, "{}", case["file"]);
    }
}

#[test]
fn subtree_inclusion_vectors_get_their_verdicts() {
    let Some(cases) = vectors("merkle-subtreeinclusion.json") else {
        return;
    };
    assert_eq!(items(&cases).len(), 204);
    for case in items(&cases) {
        let verified = (|| {
            let subtree = Subtree::new(case["start"].as_u64()?, case["end"].as_u64()?).ok()?;
            let proof = InclusionProof::new(hashes(&case["proof"])?);
            let (leaf, root) = (hash(&case["leafHash"])?, hash(&case["root"])?);
            verify_subtree_inclusion(&leaf, case["leafIdx"].as_u64()?, subtree, &root, &proof).ok()
        })();
        assert_eq!(verified.is_none(), case["wantErr"], "{}", case["file"]);
    }
}

#[test]
fn subtree_consistency_vectors_get_their_verdicts() {
    let Some(cases) = vectors("merkle-subtreeconsistency.json") else {
        return;
    };
    assert_eq!(items(&cases).len(), 118);
    for case in items(&cases) {
        let must_verify = case["wantErr"] == false;
        let verified = (|| {
            let subtree = Subtree::new(case["start"].as_u64()?, case["end"].as_u64()?).ok()?;
            let subtree_root = root(&case["root1"], must_verify)?;
            let head = TreeHead { tree_size: case["size"].as_u64()?, root: root(&case["root2"], must_verify)? };
            let proof = ConsistencyProof::new(hashes(&case["proof"])?);
            verify_subtree_consistency(subtree, &subtree_root, &head, &proof).ok()
        })();
        assert_eq!(verified.is_some(), must_verify, "{}", case["file"]);
    }
}

#[test]
fn proofs_of_a_certificate_log_of_a_billion_leaves_verify() {
    let Some(log) = vectors("ct-large-tree.json") else {
        return;
    };
    let answers = log.as_object().unwrap();
    let answer = |start: &str| answers.iter().find(|(key, _)| key.starts_with(start)).unwrap().1;
    let sth = &answers["get-sth"];
    let head = TreeHead {
        tree_size: sth["tree_size"].as_u64().unwrap(),
        root: Hash::from_base64(text(&sth["sha256_root_hash"])).unwrap(),
    };
    let leaf = leaf_hash(&base64(&answer("get-entries")["entries"][0]["leaf_input"]));
    let inclusion = answer("get-proof-by-hash");
    let proof = InclusionProof::new(base64_hashes(&inclusion["audit_path"]));
    assert_eq!(proof.hashes().len(), 30);
    verify_inclusion(&leaf, 10_000, &head, &proof).unwrap();
    verify_inclusion(&leaf, 10_001, &head, &proof).unwrap_err();

    let hashes = base64_hashes(&answer("get-sth-consistency")["consistency"]);
    let proof = ConsistencyProof::new(hashes);
    let old = Subtree::prefix(3_654_490);
    let nothing = Hash::digest(b"not used");
    let implied = roots_from_consistency(old, &nothing, head.tree_size, &proof).unwrap();
    assert_eq!(implied.new, Some(head.root));
    let published = "02e219e55eac0d48f5be7dd8d4af39a0e690ef2f852492adc914e5d5e7482814";
    assert_eq!(implied.old.to_string(), published);
    verify_consistency(&TreeHead { tree_size: old.end(), root: implied.old }, &head, &proof).unwrap();
}

#[test]
fn a_log_written_by_tessera_is_ours_to_read() {
    let Some(log) = vectors("tessera-small-log.json") else {
        return;
    };
    let files = files(&log);
    let verifier = verifier(&log["vkey"]);
    let origin = verifier.name().as_str();
    let entries: Vec<&str> = items(&log["entries"]).iter().map(text).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry.as_bytes())).collect();
    let open = |name: &str| Checkpoint::open(&files[name], origin, &verifier, &[]).unwrap();
    assert_eq!(open("checkpoint").tree_head().tree_size, 15);

    let heads: Vec<TreeHead> = (0..=15).map(|size| *open(&format!("checkpoint.{size}")).tree_head()).collect();
    let mut frontier = Frontier::new();
    for (size, head) in heads.iter().enumerate() {
        assert_eq!(frontier.tree_head(), *head);
        if let Some(leaf) = leaves.get(size) {
            frontier.append(*leaf, |_, _, _| {});
        }
        // Every file that such a log has is there, by our names, and says the same.
        for tile in TilePath::all(size as u64) {
            let content = &files[&tile.to_string()];
            match tile {
                TilePath::Hashes(tile) => {
                    assert_eq!(tile.parse_hashes(content).unwrap(), leaves[..size]);
                }
                TilePath::Entries(span) => {
                    let expected: Vec<&[u8]> = entries[..size].iter().map(|entry| entry.as_bytes()).collect();
                    assert_eq!(parse_entries(content, span.width()).unwrap(), expected);
                }
            }
        }
    }
    let named = files.keys().filter_map(|path| path.parse::<TilePath>().ok()).count();
    assert_eq!(named, 30, "every tile path parses");

    let read = |_: u8, start: u64, out: &mut [Hash]| {
        let start = usize::try_from(start).unwrap();
        out.copy_from_slice(&leaves[start..start + out.len()]);
        Ok::<_, Infallible>(())
    };
    for new in 1..=15 {
        for old in 1..=new {
            let proof = consistency_proof(old as u64, new as u64, read).unwrap();
            verify_consistency(&heads[old], &heads[new], &proof).unwrap();
            if old < new {
                verify_consistency(&heads[old - 1], &heads[new], &proof).unwrap_err();
            }
        }
        for (index, leaf) in (0..).zip(&leaves[..new]) {
            let proof = inclusion_proof(index, new as u64, read).unwrap();
            verify_inclusion(leaf, index, &heads[new], &proof).unwrap();
        }
    }
}

#[test]
fn published_notes_verify() {
    let Some(vectors) = vectors("notes-and-witness.json") else {
        return;
    };
    let notes = items(&vectors["signed_notes"]);
    assert_eq!(notes.len(), 2);
    for case in notes {
        let known = [verifier(&case["vkey"])];
        assert_eq!(known[0].to_string(), text(&case["vkey"]));
        let bytes = text(&case["note"]).as_bytes();
        let note = Note::parse(bytes).unwrap();
        assert_eq!(note.to_bytes(), bytes);
        note.verify(&known).unwrap();
        let altered = text(&case["note"]).replacen("e", "f", 1);
        Note::parse(altered.as_bytes()).unwrap().verify(&known).unwrap_err();
    }
    // A checkpoint whose key is named otherwise than its origin.
    let sumdb = text(&notes[1]["note"]).as_bytes();
    let log = verifier(&notes[1]["vkey"]);
    let checkpoint = Checkpoint::open(sumdb, "go.sum database tree", &log, &[]).unwrap();
    assert_eq!(checkpoint.tree_head().tree_size, 35_225_469);
}

#[test]
fn a_sigsum_tree_head_with_eight_cosignatures_verifies() {
    let Some(vectors) = vectors("sigsum-cosigned.json") else {
        return;
    };
    let derived = &vectors["derived"];
    let log = verifier(&derived["log_vkey"]);
    let witnesses: Vec<NoteVerifier> = items(&derived["witness_vkeys"]).iter().map(verifier).collect();
    let bytes = text(&derived["checkpoint"]).as_bytes();
    let open = |bytes: &[u8]| Checkpoint::open(bytes, log.name().as_str(), &log, &witnesses);
    let checkpoint = open(bytes).unwrap();
    assert_eq!(checkpoint.cosignatures().count(), 8);
    assert!(checkpoint.cosignatures().all(|cosignature| cosignature.time.0 == 1_770_193_051));
    WitnessQuorum::of(8, witnesses.clone()).unwrap().check(&checkpoint).unwrap();

    let proof: Vec<Hash> = text(&vectors["sigsum_proof_v2"])
        .lines()
        .filter_map(|line| line.strip_prefix("node_hash="))
        .map(|hash| Hash::from_hex(hash).unwrap())
        .collect();
    assert_eq!(proof.len(), 10);
    let proof = InclusionProof::new(proof);
    let leaf = leaf_hash(&hex::decode(text(&derived["leaf_hex"])).unwrap());
    verify_inclusion(&leaf, 381_381, checkpoint.tree_head(), &proof).unwrap();
    verify_inclusion(&leaf, 381_380, checkpoint.tree_head(), &proof).unwrap_err();

    // A second later in any one witness's line spoils the whole note.
    let note = Note::parse(bytes).unwrap();
    for line in 1..=8 {
        let mut signatures = note.signatures().to_vec();
        signatures[line].signature[7] ^= 1;
        let mut altered = Note::new(note.text().to_owned()).unwrap();
        altered.add_signatures(signatures);
        let rejected = open(&altered.to_bytes());
        assert!(matches!(rejected, Err(CheckpointRejected::Signature { .. })), "{rejected:?}");
    }
}

#[test]
fn rekor_checkpoints_and_inclusion_proofs_get_their_verdicts() {
    let Some(vectors) = vectors("rekor2-bundles.json") else {
        return;
    };
    let host = "log2025-alpha1.rekor.sigstage.dev";
    let log =
        items(&vectors["trusted_root"]["tlogs"]).iter().find(|log| text(&log["baseUrl"]).ends_with(host)).unwrap();
    // The key is a SubjectPublicKeyInfo; of an Ed25519 key its last 32 bytes are the key itself.
    let spki = base64(&log["publicKey"]["rawBytes"]);
    let name = KeyName::new(host).unwrap();
    let verifier = NoteVerifier::ed25519(name, &spki[spki.len() - 32..]).unwrap();
    let log_id = base64(&log["logId"]["keyId"]);
    assert_eq!(verifier.id().as_bytes(), &log_id[..4]);

    let cases = vectors["cases"].as_object().unwrap();
    for (name, case) in cases {
        let entry = &case["bundle"]["verificationMaterial"]["tlogEntries"][0];
        let verified = verify_rekor(entry, host, &verifier);
        // The time stamp inside this bundle is another's: of log and proof nothing is wrong.
        let expected = case["expect"] == "pass" || name == "rekor2-timestamp-payload-mismatch_fail";
        assert_eq!(verified.is_some(), expected, "{name}");
    }
}

fn verify_rekor(entry: &Value, host: &str, verifier: &NoteVerifier) -> Option<AuthenticCheckpoint> {
    let inclusion = entry.get("inclusionProof")?;
    let note = text(&inclusion["checkpoint"]["envelope"]).as_bytes();
    let checkpoint = Checkpoint::open(note, host, verifier, &[]).ok()?;
    let leaf = leaf_hash(&base64(&entry["canonicalizedBody"]));
    let index = text(&inclusion["logIndex"]).parse().ok()?;
    let proof = InclusionProof::new(base64_hashes(&inclusion["hashes"]));
    verify_inclusion(&leaf, index, checkpoint.tree_head(), &proof).ok()?;
    Some(checkpoint)
}

#[test]
fn a_log_accepted_by_ten_libraries_is_what_we_make_and_read() {
    let Some(vectors) = vectors("own-log-300.json") else {
        return;
    };
    let files = files(&vectors);
    let entries: Vec<Vec<u8>> = (0..300)
        .map(|index: u32| {
            let digest = *Hash::digest(index.to_string().as_bytes()).as_bytes();
            [format!("quote-{index:05}-").as_bytes(), &digest, &digest].concat()
        })
        .collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();

    let mut levels: Vec<Vec<Hash>> = vec![Vec::new(); 2];
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        frontier.append(*leaf, |level, _, hash| levels[usize::from(level)].push(hash));
    }
    let paths: Vec<TilePath> = TilePath::all(300).collect();
    assert_eq!(paths.len(), 5);
    for path in paths {
        let content = &files[&path.to_string()];
        let (start, end) = match path {
            TilePath::Hashes(tile) => (tile.span().positions().start, tile.span().positions().end),
            TilePath::Entries(span) => (span.positions().start, span.positions().end),
        };
        let range = usize::try_from(start).unwrap()..usize::try_from(end).unwrap();
        match path {
            TilePath::Hashes(tile) => {
                let hashes = tile.parse_hashes(content).unwrap();
                assert_eq!(hashes, levels[usize::from(tile.level())][range]);
            }
            TilePath::Entries(span) => {
                assert_eq!(parse_entries(content, span.width()).unwrap(), entries[range]);
            }
        }
    }

    let log = verifier(&vectors["log_vkey"]);
    let witness = verifier(&vectors["witness_vkey_type_04"]);
    let origin = log.name().as_str();
    let open = |name: &str| Checkpoint::open(&files[name], origin, &log, std::slice::from_ref(&witness)).unwrap();
    let checkpoints = [(256, open("checkpoint.256")), (300, open("checkpoint"))];
    let signer = NoteSigner::from_seed(log.name().clone(), Hash::digest(b"log").as_bytes()).unwrap();
    let cosigner = Cosigner::from_seed(witness.name().clone(), Hash::digest(b"wit").as_bytes()).unwrap();
    for (size, checkpoint) in &checkpoints {
        assert_eq!(checkpoint.tree_head().tree_size, *size as u64);
        assert_eq!(checkpoint.tree_head().root, root_of(&leaves[..*size]));
        // Ed25519 is deterministic: we sign and cosign the very same bytes.
        let mut note = checkpoint.checkpoint().sign(&signer).unwrap();
        let time: PosixSeconds = checkpoint.cosignatures().next().unwrap().time;
        note.cosign(&cosigner, time).unwrap();
        assert_eq!(note, *checkpoint.note().note());
    }
    assert_eq!(frontier.tree_head(), *checkpoints[1].1.tree_head());

    // Proofs from the recorded tile files alone, as a stranger would make them.
    let read = |level: u8, start: u64, out: &mut [Hash]| {
        let count = if level == 0 { 300 } else { 1 };
        let index = start / 256;
        let width = u16::try_from((count - 256 * index).min(256)).unwrap();
        let tile = TileId::new(level, TileSpan::new(index, width).unwrap()).unwrap();
        let path = TilePath::Hashes(tile).to_string();
        let hashes = tile.parse_hashes(&files[&path]).unwrap();
        let start = usize::try_from(start % 256).unwrap();
        out.copy_from_slice(&hashes[start..start + out.len()]);
        Ok::<_, Infallible>(())
    };
    let proof = &vectors["proof"];
    let (heads, leaf) = (checkpoints.map(|(_, c)| *c.tree_head()), &leaves[77]);
    assert_eq!(tree_head(300, read).unwrap(), heads[1]);
    assert_eq!(leaf.to_string(), text(&proof["leaf"]));
    let inclusion = inclusion_proof(77, 300, read).unwrap();
    assert_eq!(inclusion.hashes(), hex_hashes(&proof["inc"]));
    verify_inclusion(leaf, 77, &heads[1], &inclusion).unwrap();
    let consistency = consistency_proof(256, 300, read).unwrap();
    assert_eq!(consistency.hashes(), hex_hashes(&proof["con"]));
    verify_consistency(&heads[0], &heads[1], &consistency).unwrap();

    let tlog_proof = text(&vectors["tlog_proof"]);
    assert_eq!(tlog_proof.len(), 753);
    let parsed = TlogProof::parse(tlog_proof.as_bytes()).unwrap();
    assert_eq!(parsed.to_string(), tlog_proof);
    let quorum = WitnessQuorum::of(1, vec![witness.clone()]).unwrap();
    parsed.verify(leaf, origin, &log, &quorum).unwrap();
    parsed.verify(&leaves[78], origin, &log, &quorum).unwrap_err();

    for (index, path) in vectors["tile_path_examples"].as_object().unwrap() {
        let span = TileSpan::new(index.parse().unwrap(), 256).unwrap();
        assert_eq!(span.to_string(), text(path));
    }
}

#[test]
fn the_two_proofs_of_the_cose_receipts_agree() {
    let Some(receipts) = vectors("cose-receipts.json") else {
        return;
    };
    // Each 32-byte CBOR string begins 0x58 0x20; the proofs hold no others.
    let strings = |receipt: &str| {
        let bytes = hex::decode(text(&receipts[receipt])).unwrap();
        bytes
            .windows(34)
            .filter_map(|window| window.strip_prefix(&[0x58, 0x20]))
            .map(|hash| Hash::try_from(hash).unwrap())
            .collect::<Vec<_>>()
    };
    let hash = |hex: &str| Hash::from_hex(hex).unwrap();
    let old = hash("688928db5e565af2fb9b29db5cce83de0e0352a0f0c671b450b9dc86bed2de3c");
    let new = hash("895731b5a570ea1967dd7804b5f43146175f9ac87d1565985de3ecf09c98589c");
    let (old, new) = (TreeHead { tree_size: 3, root: old }, TreeHead { tree_size: 5, root: new });
    let inclusion = InclusionProof::new(strings("inclusion_receipt_hex"));
    let consistency = ConsistencyProof::new(strings("consistency_receipt_hex"));
    verify_consistency(&old, &new, &consistency).unwrap();
    // The inclusion receipt is of leaf 3, whose hash is the second of the consistency proof.
    verify_inclusion(&consistency.hashes()[1], 3, &new, &inclusion).unwrap();
    verify_inclusion(&consistency.hashes()[0], 3, &new, &inclusion).unwrap_err();
}

#[test]
fn the_receipts_of_the_cose_draft_agree_with_each_other() {
    let Some(file) = vectors("cose-receipts.json") else { return };
    let receipt = |name: &str| {
        let bytes = hex::decode(text(&file[name])).unwrap();
        let receipt = Receipt::parse(&bytes).unwrap();
        assert_eq!(receipt.to_bytes(), bytes);
        assert_eq!(receipt.issuer(), Some("https://transparency-service.example.com"));
        assert_eq!(receipt.key_id(), Some(b"test-key-1".as_slice()));
        receipt
    };
    let (of_inclusion, of_consistency) = (receipt("inclusion_receipt_hex"), receipt("consistency_receipt_hex"));
    let ReceiptProof::Inclusion { tree_size: 5, leaf_index: 3, path } = of_inclusion.proof() else { panic!("size") };
    let ReceiptProof::Consistency { old_size: 3, new_size: 5, path: between } = of_consistency.proof() else {
        panic!("sizes")
    };
    // The consistency path of 3 and 5 leaves holds leaf 2, leaf 3, the first two, leaf 4.
    let leaf = between.hashes()[1];
    let old = Hash::from_hex("688928db5e565af2fb9b29db5cce83de0e0352a0f0c671b450b9dc86bed2de3c").unwrap();
    let new = Hash::from_hex("895731b5a570ea1967dd7804b5f43146175f9ac87d1565985de3ecf09c98589c").unwrap();
    verify_inclusion(&leaf, 3, &TreeHead { tree_size: 5, root: new }, path).unwrap();
    let old = TreeHead { tree_size: 3, root: old };
    verify_consistency(&old, &TreeHead { tree_size: 5, root: new }, between).unwrap();
    assert!(verify_inclusion(&between.hashes()[0], 3, &TreeHead { tree_size: 5, root: new }, path).is_err());
}

#[test]
fn the_own_logs_receipt_verifies_and_an_altered_one_does_not() {
    let Some(file) = vectors("own-log-300.json") else { return };
    let bytes = hex::decode(text(&file["cose_receipt"]["hex"])).unwrap();
    let key = ReceiptVerifier::from_pem(text(&file["cose_receipt"]["es256_public_pem"]).as_bytes()).unwrap();
    let leaf = leaf_hash(&hex::decode(text(&file["proof"]["entry"])).unwrap());
    let receipt = Receipt::parse(&bytes).unwrap();
    assert_eq!(receipt.to_bytes(), bytes);
    let root = receipt.verify_inclusion(&leaf, &key).unwrap();
    assert_eq!(root, Hash::from_hex(text(&file["proof"]["root"])).unwrap());
    let refused = receipt.verify_inclusion(&leaf_hash(b"another entry"), &key);
    assert!(matches!(refused, Err(ReceiptRejected::Signature { .. })));
    for position in [bytes.len() - 1, bytes.len() - 100] {
        let mut altered = bytes.clone();
        altered[position] ^= 1;
        assert!(!Receipt::parse(&altered).is_ok_and(|receipt| receipt.verify_inclusion(&leaf, &key).is_ok()));
    }
}
