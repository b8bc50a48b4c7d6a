//! The log as a stranger's client sees it: tiles, and Cloudflare's C2SP crates as a second opinion.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::HashMap;

use http::StatusCode;
use ledger_tlog::bundle::parse_entries;
use ledger_tlog::checkpoint::Checkpoint;
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::tile::TilePath;
use ledger_tlog::tree::{TreeHead, root_of};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Tile, TileHashReader, TileReader};
use transport::client::Outgoing;

use crate::entries::{action, fleet};
use crate::rig::{Caller, Rig, body, get, header, send};

/// A log of a few hundred entries in several segments.
async fn grown(rig: &Rig) -> crate::rig::Served {
    let served = rig.serve().await;
    let client = rig.ledger_client(&served.url);
    for round in 0..70 {
        client.append(fleet(vec![action(&"x".repeat(round * 11)); 9])).await.unwrap();
    }
    served
}

async fn checkpoint(rig: &Rig, url: &str, size: u64) -> (Vec<u8>, TreeHead) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let note = body(&rig.http(Caller::Anonymous), url, "/checkpoint").await;
        let head = *Checkpoint::open(&note, "ledger.test/log", &rig.key(), &[]).unwrap().tree_head();
        if head.tree_size >= size {
            return (note, head);
        }
        assert!(std::time::Instant::now() < deadline, "a checkpoint of {size} comes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tile_and_bundle_of_the_published_tree_is_served_and_right() {
    let mut rig = Rig::new();
    rig.public_read = true;
    rig.segment_bytes_max = 50_000;
    let served = grown(&rig).await;
    let (_, head) = checkpoint(&rig, &served.url, 632).await;
    let http = rig.http(Caller::Anonymous);
    let mut leaves: Vec<Hash> = Vec::new();
    for path in TilePath::all(head.tree_size) {
        let answer = get(&http, &served.url, &format!("/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(header(&answer.headers, "content-type"), "application/octet-stream");
        assert!(header(&answer.headers, "cache-control").contains("immutable"));
        match path {
            TilePath::Entries(span) => {
                leaves.extend(parse_entries(&answer.body, span.width()).unwrap().into_iter().map(leaf_hash));
            }
            TilePath::Hashes(tile) if tile.level() == 0 => {
                let start = usize::try_from(tile.span().positions().start).unwrap();
                let end = start + usize::from(tile.span().width());
                assert_eq!(tile.parse_hashes(&answer.body).unwrap(), leaves[start..end]);
            }
            TilePath::Hashes(tile) => {
                for (hash, leaves) in tile.parse_hashes(&answer.body).unwrap().iter().zip(leaves.chunks_exact(256)) {
                    assert_eq!(*hash, root_of(leaves));
                }
            }
        }
    }
    assert_eq!(root_of(&leaves), head.root);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_compressed_for_those_who_take_it_and_is_the_same_bundle() {
    let mut rig = Rig::new();
    rig.public_read = true;
    let served = grown(&rig).await;
    checkpoint(&rig, &served.url, 632).await;
    let http = rig.http(Caller::Anonymous);
    let compressed = |path: &str| {
        let mut outgoing = Outgoing::new(http::Method::GET, format!("{}{path}", served.url));
        outgoing.headers.insert("accept-encoding", http::HeaderValue::from_static("gzip"));
        outgoing.answer_bytes_max = 1 << 20;
        outgoing
    };
    let plain = get(&http, &served.url, "/tile/entries/001").await;
    let answer = send(&http, compressed("/tile/entries/001")).await;
    assert_eq!(header(&plain.headers, "content-encoding"), "");
    assert_eq!(header(&answer.headers, "content-encoding"), "gzip");
    for headers in [&plain.headers, &answer.headers] {
        assert_eq!(header(headers, "vary"), "accept-encoding");
        assert_eq!(header(headers, "content-type"), "application/octet-stream");
        assert!(header(headers, "cache-control").contains("immutable"));
    }
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answer.body[..]), &mut unpacked).unwrap();
    assert!(unpacked == plain.body && answer.body.len() < plain.body.len());
    // Hashes are random bytes.
    assert_eq!(header(&send(&http, compressed("/tile/0/001")).await.headers, "content-encoding"), "");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_tile_is_served_at_published_widths_only() {
    let mut rig = Rig::new();
    rig.public_read = true;
    let served = rig.serve().await;
    let http = rig.http(Caller::Anonymous);
    for path in ["/tile/0/000.p/2", "/tile/entries/000.p/2"] {
        assert_eq!(get(&http, &served.url, path).await.status, StatusCode::OK, "{path}");
    }
    rig.ledger_client(&served.url).append(fleet(vec![action("x"); 20])).await.unwrap();
    let (_, head) = checkpoint(&rig, &served.url, 22).await;
    assert_eq!(head.tree_size, 22);
    for (path, expected) in
        [("0/000.p/2", 200), ("0/000.p/22", 200), ("0/000.p/21", 404), ("entries/000.p/5", 404), ("0/000.p/23", 404)]
    {
        assert_eq!(get(&http, &served.url, &format!("/tile/{path}")).await.status, expected, "{path}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_tools_accept_note_and_tiles_and_refuse_altered_ones() {
    let mut rig = Rig::new();
    rig.public_read = true;
    let served = grown(&rig).await;
    let (note, head) = checkpoint(&rig, &served.url, 632).await;

    let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(&rig.key().to_string()).unwrap())]);
    let (verified, _) = Note::from_bytes(&note).unwrap().verify(&verifiers).unwrap();
    assert_eq!(verified.len(), 1);
    let mut altered = note.clone();
    altered[20] ^= 1;
    assert!(Note::from_bytes(&altered).unwrap().verify(&verifiers).is_err());

    let checkpoint = tlog_tiles::Checkpoint::from_bytes(Note::from_bytes(&note).unwrap().text()).unwrap();
    assert_eq!((checkpoint.size(), checkpoint.hash().0), (head.tree_size, *head.root.as_bytes()));
    let http = rig.http(Caller::Anonymous);
    let mut tiles = HashMap::new();
    for path in TilePath::all(head.tree_size) {
        tiles.insert(path.to_string(), body(&http, &served.url, &format!("/{path}")).await);
    }
    let mut tiles = Tiles(tiles);
    for index in [0, 1, 255, 256, 511, head.tree_size - 1] {
        let entry = body(&rig.http(Caller::Auditor), &served.url, &format!("/ledger/v1/entries/{index}")).await;
        let hash = tlog_tiles::record_hash(&entry);
        assert_eq!(hash.0, *leaf_hash(&entry).as_bytes());
        // The reader checks each tile it reads against the checkpoint's root.
        let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
        let proof = tlog_tiles::prove_record(checkpoint.size(), index, &reader).unwrap();
        tlog_tiles::check_record(&proof, checkpoint.size(), *checkpoint.hash(), index, hash).unwrap();
    }
    if let Some(tile) = tiles.0.get_mut("tile/0/001") {
        tile[100] ^= 1;
    }
    let entry = body(&rig.http(Caller::Auditor), &served.url, "/ledger/v1/entries/300").await;
    let hash = tlog_tiles::record_hash(&entry);
    let reader = TileHashReader::new(checkpoint.size(), *checkpoint.hash(), &tiles);
    let checked = tlog_tiles::prove_record(checkpoint.size(), 300, &reader)
        .and_then(|proof| tlog_tiles::check_record(&proof, checkpoint.size(), *checkpoint.hash(), 300, hash));
    assert!(checked.is_err());
    served.stop().await;
}

/// Our tiles, for the foreign reader; its paths have the tile's height in front of the level.
struct Tiles(HashMap<String, Vec<u8>>);

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.0[&tile.path().replacen("tile/8/", "tile/", 1)].clone()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}
