//! A quote: Keylime's string, an agent's JSON answer around it, or a bare TPMS_ATTEST.

use evidence::{
    attest::Attest,
    keylime::KeylimeQuote,
    pcr::{PcrSelection, PcrValues},
    quote::Quote,
};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

pub(super) fn inspect(bytes: &[u8]) -> Result<Value, Failure> {
    if let Some(text) = quote_text(bytes) {
        let quote = KeylimeQuote::parse(text.trim_end())
            .map_err(|error| Failure::system("read this as a Keylime quote string", error))?;
        let parsed = quote.quote().map_err(|error| Failure::system("read the quote inside the string", error))?;
        return Ok(describe(&parsed, Some(&quote.values)));
    }
    let attest = Attest::parse(bytes).map_err(|error| {
        Failure::system("read this as a quote", error)
            .remedy("expected a quote string starting with 'r', an agent's JSON answer, or a TPMS_ATTEST")
    })?;
    let clock = attest.clock_info;
    Ok(json!({
        "type": "TPMS_ATTEST",
        "extra_data": hex::encode(&attest.extra_data),
        "extra_data_text": printable(&attest.extra_data),
        "clock": {"clock_ms": clock.clock_ms, "reset_count": clock.reset_count, "restart_count": clock.restart_count, "safe": clock.safe},
        "firmware_version": format!("{:016x}", attest.firmware_version),
        "attested": format!("{:?}", attest.attested),
    }))
}

/// The quote string in `bytes`, itself or as `results.quote` of an answer.
fn quote_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let trimmed = text.trim();
    if trimmed.starts_with('r') {
        return Some(trimmed.to_owned());
    }
    let value: Value = serde_json::from_str(trimmed).ok()?;
    let quote = value.pointer("/results/quote").or_else(|| value.get("quote"))?;
    quote.as_str().map(str::to_owned)
}

fn describe(quote: &Quote, values: Option<&PcrValues>) -> Value {
    let clock = quote.clock_info();
    let mut pcrs = Map::new();
    if let Some(values) = values {
        let bank: Map<String, Value> = values
            .iter()
            .map(|(index, digest)| (index.get().to_string(), hex::encode(digest.as_bytes()).into()))
            .collect();
        pcrs.insert(values.bank().to_string(), bank.into());
    }
    let selections: Vec<Value> = quote.selections().iter().map(selection).collect();
    json!({
        "type": "quote",
        "qualified_signer": hex::encode(quote.qualified_signer().as_bytes()),
        "nonce": hex::encode(quote.extra_data()),
        "nonce_text": printable(quote.extra_data()),
        "clock": {"clock_ms": clock.clock_ms, "reset_count": clock.reset_count, "restart_count": clock.restart_count, "safe": clock.safe},
        "firmware_version": format!("{:016x}", quote.firmware_version()),
        "signed_selection": selections,
        "pcr_digest": hex::encode(quote.pcr_digest()),
        "signature": quote.signature().scheme().to_string(),
        "pcrs": pcrs,
        "note": "as stated by the file; no signature was verified",
    })
}

fn selection(selection: &PcrSelection) -> Value {
    let indices: Vec<u8> = selection.indices().map(|index| index.get()).collect();
    json!({"bank": selection.bank().to_string(), "pcrs": indices})
}

fn printable(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => text.into(),
        _ => Value::Null,
    }
}
