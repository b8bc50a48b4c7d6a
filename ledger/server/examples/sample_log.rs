//! Makes a log of some hundred entries for others' verifiers: `sample_log DATA OUT`.
//!
//! The log is in DATA, with an Ed25519 and a P-256 key; OUT gets one entry with its receipt and the key of that.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use ledger_protocol::Kind;
use ledger_protocol::body::{Body, OperatorAction};
use ledger_server::{ExportedBlobs, KeyType, Ledger, LogConfig, init};
use messages::ledger::{AppendRequest, Group, IdempotencyKey, Item};
use serde_bytes::ByteBuf;

/// Two full tiles and a part of one, so that every kind of tile is there.
const BATCHES: u128 = 6;
const BATCH_ENTRIES: usize = 100;

/// The entry of the receipt.
const INDEX: u64 = 77;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(data), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sample_log DATA OUT".into());
    };
    let mut config = LogConfig::new(data.clone());
    config.origin = Some("strangers.example/log".to_owned());
    init(&config, &[KeyType::Ed25519, KeyType::P256])?;
    let ledger = Ledger::open(&config)?;
    for batch in 0..BATCHES {
        let items = (0..BATCH_ENTRIES).map(|number| item(&format!("{batch}-{number}"))).collect();
        let groups = vec![Group { agent: None, expected: None, items }];
        let idempotency_key = IdempotencyKey(batch.to_be_bytes());
        ledger.append_blocking(AppendRequest { version: 1, idempotency_key, groups })?;
    }
    drop(ledger);
    // Open again: the checkpoint covers everything now.
    let ledger = Ledger::open(&config)?;
    fs::create_dir_all(&out)?;
    fs::write(out.join("receipt"), ledger.inclusion_receipt(INDEX)?.to_bytes())?;
    fs::write(out.join("entry"), entry(&data, &out.join("export"))?)?;
    fs::copy(data.join("receipt.pub"), out.join("key"))?;
    Ok(())
}

/// The entry of the receipt, out of the first bundle of an export.
fn entry(data: &Path, export: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    ledger_server::export(data, export, ExportedBlobs::Histories)?;
    let bundle = fs::read(export.join("tile/entries/000"))?;
    let entries = ledger_tlog::bundle::parse_entries(&bundle, ledger_tlog::tile::TILE_WIDTH)?;
    let entry = entries.get(usize::try_from(INDEX)?).ok_or("the log is too short")?;
    Ok(entry.to_vec())
}

fn item(detail: &str) -> Item {
    let kind: Kind = OperatorAction::KIND;
    let body = OperatorAction {
        action: "sample".to_owned(),
        actor: "strangers".to_owned(),
        target: None,
        detail: detail.to_owned(),
    };
    Item { kind: kind.number(), body: ByteBuf::from(body.encode()), after: None }
}
