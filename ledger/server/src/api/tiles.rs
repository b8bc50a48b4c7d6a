//! The log as static files, for any C2SP client: `/checkpoint` and `/tile/…`.

use std::io::Write;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use ledger_tlog::bundle::append_entry;
use ledger_tlog::tile::{TileId, TilePath, TileSpan};
use transport::router::{Request, Response};

use super::{Refusal, immutable, note};
use crate::engine::Ledger;

pub(super) fn checkpoint(ledger: &Ledger, _: &Request) -> Result<Response, Refusal> {
    match ledger.shared.published() {
        Some(published) => Ok(note(published.note.to_vec(), "no-cache")),
        None => Err(Refusal::NotFound("This log has signed no checkpoint yet")),
    }
}

pub(super) fn tile(ledger: &Ledger, request: &Request) -> Result<Response, Refusal> {
    let path: Result<TilePath, _> = format!("tile/{}", request.param("path")).parse();
    let Ok(path) = path else {
        return Err(Refusal::NotFound("This is no path of a tile"));
    };
    let published = ledger.shared.published().map_or(0, |published| published.size);
    if !path.exists_in(published) || !is_published(ledger, &path)? {
        return Err(Refusal::NotFound("No checkpoint of this log has this tile"));
    }
    match path {
        TilePath::Entries(span) => bundle(ledger, span, accepts_gzip(&request.headers)),
        TilePath::Hashes(tile) => hashes(ledger, tile),
    }
}

/// Full tiles of the published tree are; a partial one is if some checkpoint's right edge has it.
fn is_published(ledger: &Ledger, path: &TilePath) -> Result<bool, Refusal> {
    let (level, span) = match path {
        TilePath::Entries(span) => (0, *span),
        TilePath::Hashes(tile) => (tile.level(), tile.span()),
    };
    if span.is_full() {
        return Ok(true);
    }
    // The sizes with exactly so many hashes at this level.
    let shift = 8 * u32::from(level);
    let hashes = span.positions().end;
    let bounds = hashes.checked_shl(shift).zip((hashes + 1).checked_shl(shift));
    let Some((from, after)) = bounds.filter(|(from, _)| from >> shift == hashes) else {
        return Ok(false);
    };
    let sizes = ledger.shared.index.checkpoints(from, after.saturating_sub(1), 1);
    sizes.map(|sizes| !sizes.is_empty()).map_err(|error| Refusal::broken(&error))
}

fn hashes(ledger: &Ledger, tile: TileId) -> Result<Response, Refusal> {
    let range = tile.byte_range();
    let length = usize::from(tile.span().width()) * ledger_tlog::hash::Hash::LEN;
    let bytes = ledger.shared.levels.bytes(tile.level(), range.start, length);
    bytes.map(immutable).map_err(|error| Refusal::broken(&error))
}

/// The frames as they stand in the segments, without the trailers between them; compressed on the way
/// if the client takes that. Tiles of hashes are not: random bytes do not become fewer.
fn bundle(ledger: &Ledger, span: TileSpan, compressed: bool) -> Result<Response, Refusal> {
    let positions = span.positions();
    if let Some(pruned) = ledger.shared.pruned()
        && positions.start < pruned.first
    {
        return Err(Refusal::pruned(&pruned, None));
    }
    let mut bytes = Vec::new();
    let mut flaw = None;
    let read = ledger.shared.segments.read(positions.start, |index, entry| {
        flaw = append_entry(&mut bytes, entry).err();
        let done = flaw.is_some() || index + 1 == positions.end;
        if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    read.map_err(|error| Refusal::broken(&error))?;
    if let Some(error) = flaw {
        return Err(Refusal::broken(&error));
    }
    // Also where it is not compressed: what a cache has kept for one client is not for all.
    let vary = |response: Response| response.with_header(VARY, HeaderValue::from_static("accept-encoding"));
    if !compressed {
        return Ok(vary(immutable(bytes)));
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    let compressed = encoder.write_all(&bytes).and_then(|()| encoder.finish());
    let compressed = compressed.map_err(|error| Refusal::broken(&error))?;
    Ok(vary(immutable(compressed)).with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip")))
}

/// Whether a client takes gzip, by name or by `*`, without a weight of 0. Source: RFC 9110 §12.5.3.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    let mut any = false;
    for coding in fields.flat_map(|field| field.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.chars().all(|digit| matches!(digit, '0' | '.')))
        });
        if name.eq_ignore_ascii_case("gzip") {
            return !refused;
        }
        any |= name == "*" && !refused;
    }
    any
}

#[cfg(test)]
mod tests;
