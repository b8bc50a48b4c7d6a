#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

fn hashes(level: u8, index: u64, width: u16) -> TilePath {
    TilePath::Hashes(TileId::new(level, TileSpan::new(index, width).unwrap()).unwrap())
}

fn entries(index: u64, width: u16) -> TilePath {
    TilePath::Entries(TileSpan::new(index, width).unwrap())
}

#[test]
fn paths_are_those_of_the_specification() {
    let cases = [
        (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (hashes(0, 67, 8), "tile/0/067.p/8"),
        (hashes(63, 1000, 255), "tile/63/x001/000.p/255"),
        (hashes(2, 0, 1), "tile/2/000.p/1"),
        (entries(1_000_000, 256), "tile/entries/x001/x000/000"),
        (entries(255, 44), "tile/entries/255.p/44"),
        (hashes(0, TILE_INDEX_MAX, 256), "tile/0/x002/x251/x799/x813/x685/246"),
    ];
    for (tile, path) in cases {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse::<TilePath>().unwrap(), tile);
    }
}

#[test]
fn other_paths_are_refused() {
    let cases = [
        ("", MalformedTile::Path),
        ("tile", MalformedTile::Path),
        ("tile/0", MalformedTile::Path),
        ("/tile/0/000", MalformedTile::Path),
        ("tile/00/000", MalformedTile::Level),
        ("tile/64/000", MalformedTile::Level),
        ("tile/-1/000", MalformedTile::Level),
        ("tile/data/000", MalformedTile::Level),
        ("tile/0/00", MalformedTile::Index),
        ("tile/0/0000", MalformedTile::Index),
        ("tile/0/x000/001", MalformedTile::Index),
        ("tile/0/001/000", MalformedTile::Index),
        ("tile/0/x001", MalformedTile::Index),
        ("tile/0/+01", MalformedTile::Index),
        ("tile/0/000/", MalformedTile::Index),
        ("tile/0/x999/x999/x999/x999/x999/x999/999", MalformedTile::Index),
        ("tile/0/x002/x251/x799/x813/x685/247", MalformedTile::Index),
        ("tile/0/../../checkpoint", MalformedTile::Index),
        ("tile/0/000.p/0", MalformedTile::Width),
        ("tile/0/000.p/256", MalformedTile::Width),
        ("tile/0/000.p/01", MalformedTile::Width),
        ("tile/0/000.p/", MalformedTile::Width),
        ("tile/0/000.p/1/2", MalformedTile::Width),
    ];
    for (path, error) in cases {
        assert_eq!(path.parse::<TilePath>(), Err(error), "{path}");
    }
}

#[test]
fn a_log_of_70000_has_the_tiles_of_the_specification() {
    let tiles: Vec<TilePath> = TilePath::all(70_000).collect();
    // 273 full and one partial on level 0 and of entries, one and one on level 1, one on level 2.
    assert_eq!(tiles.len(), 2 * 274 + 2 + 1);
    assert!(tiles.iter().all(|tile| tile.exists_in(70_000)));
    for tile in [entries(273, 112), hashes(0, 273, 112), hashes(1, 0, 256), hashes(1, 1, 17)] {
        assert!(tiles.contains(&tile), "{tile}");
    }
    assert!(tiles.contains(&hashes(2, 0, 1)));
    assert_eq!(TilePath::all(256).collect::<Vec<_>>(), [entries(0, 256), hashes(0, 0, 256), hashes(1, 0, 1)]);
    assert_eq!(TilePath::all(0).count(), 0);
}

#[test]
fn a_tile_exists_from_the_size_that_fills_it_on() {
    assert!(hashes(0, 0, 8).exists_in(8) && hashes(0, 0, 8).exists_in(9));
    assert!(!hashes(0, 0, 8).exists_in(7));
    assert!(hashes(1, 0, 1).exists_in(256) && !hashes(1, 0, 1).exists_in(255));
    assert!(!hashes(63, 0, 1).exists_in(u64::MAX), "no 64-bit log reaches that level");
    assert!(entries(1, 44).exists_in(300) && !entries(1, 45).exists_in(300));
}

#[test]
fn a_tile_is_a_range_of_its_levels_file() {
    let TilePath::Hashes(tile) = hashes(0, 1, 44) else { panic!("a tile of hashes") };
    assert_eq!(tile.byte_range(), 8192..8192 + 44 * 32);
    let TilePath::Hashes(last) = hashes(0, TILE_INDEX_MAX, 256) else { panic!("a tile of hashes") };
    assert!(last.byte_range().end > last.byte_range().start);
    assert_eq!(tile.parse_hashes(&[7; 44 * 32]).unwrap(), vec![Hash::from_bytes([7; 32]); 44]);
    let wrong = tile.parse_hashes(&[7; 44 * 32 - 1]);
    assert_eq!(wrong, Err(MalformedTile::Bytes { expected: 44 * 32, found: 44 * 32 - 1 }));
}

proptest! {
    #[test]
    fn every_tile_has_one_path(
        level in 0..=TILE_LEVEL_MAX, index in 0..=TILE_INDEX_MAX, width in 1..=TILE_WIDTH,
    ) {
        for tile in [hashes(level, index, width), entries(index, width)] {
            prop_assert_eq!(tile.to_string().parse::<TilePath>().unwrap(), tile);
        }
    }

    #[test]
    fn what_parses_is_canonical(path in "tile/(entries|[0-9]{1,2})/(x?[0-9]{2,3}/){0,3}[0-9]{2,3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = path.parse::<TilePath>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn arbitrary_paths_never_panic(path in ".{0,40}") {
        let _ = path.parse::<TilePath>();
        let _ = format!("tile/0/{path}").parse::<TilePath>();
    }
}
