//! Packages and initrds made here, whole and broken.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    process::Command,
};

use evidence::algorithm::HashAlgorithm;

use super::{Folder, policy, sha256};
use crate::policy::archive::{FoundFile, UnreadableArchive, path_of, usr_merged};
use crate::policy::{compression::Compression, deb, initrd, rpm};

type Files = BTreeMap<String, String>;
type Reader = fn(&Path, HashAlgorithm, &mut crate::policy::archive::Found<'_>) -> Result<(), UnreadableArchive>;

fn read(reader: Reader, path: &str) -> Result<Files, UnreadableArchive> {
    let mut files = Files::new();
    let mut take = |file| match file {
        FoundFile::Listed { path, digest } => drop(files.insert(path, digest)),
        FoundFile::Unlistable { name } => drop(files.insert(name, "not listed".to_owned())),
    };
    reader(path.as_ref(), HashAlgorithm::Sha256, &mut take)?;
    Ok(files)
}

fn files(expected: &[(&str, &[u8])]) -> Files {
    expected.iter().map(|(path, data)| ((*path).to_owned(), sha256(data))).collect()
}

/// Every way to cut a file short, and some ways to change a byte, must end in an error or a list, never in a panic.
fn survives_damage(reader: Reader, folder: &Folder, bytes: &[u8]) {
    let step = bytes.len().div_ceil(200);
    for end in (0..bytes.len()).step_by(step) {
        let _ = read(reader, &folder.put("cut", &bytes[..end]));
        let mut changed = bytes.to_vec();
        changed[end] ^= 0x55;
        let _ = read(reader, &folder.put("changed", changed));
    }
}

pub(super) fn build_deb(folder: &Folder, compression: &str) -> String {
    let long = format!("tree/usr/share/{}/{}", "a".repeat(90), "b".repeat(120));
    folder.put(
        "tree/DEBIAN/control",
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n",
    );
    folder.put("tree/usr/bin/tool", b"tool");
    folder.put("tree/bin/old", b"old");
    folder.put(&long, b"long");
    let link = folder.path("tree/usr/bin/link");
    if fs::symlink_metadata(&link).is_err() {
        symlink("/etc/passwd", &link).unwrap();
        fs::hard_link(folder.path("tree/usr/bin/tool"), folder.path("tree/usr/bin/zz-same")).unwrap();
    }
    let package = folder.path(&format!("pool/{compression}.deb"));
    fs::create_dir_all(folder.path("pool")).unwrap();
    let output = Command::new("dpkg-deb")
        .args(["--root-owner-group", &format!("-Z{compression}"), "--build", &folder.path("tree"), &package])
        .output()
        .unwrap_or_else(|error| panic!("dpkg-deb is needed ({error}); install it: apt-get install dpkg"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    package
}

#[test]
fn debian_packages_of_every_compression_give_their_files() {
    let folder = Folder::new();
    let long = format!("/usr/share/{}/{}", "a".repeat(90), "b".repeat(120));
    let expected =
        files(&[("/usr/bin/tool", b"tool"), ("/usr/bin/zz-same", b"tool"), ("/bin/old", b"old"), (&long, b"long")]);
    for compression in ["none", "gzip", "xz", "zstd"] {
        let package = build_deb(&folder, compression);
        assert_eq!(read(deb::read, &package).unwrap(), expected, "{compression}");
    }
}

#[test]
fn files_whose_names_cannot_be_listed_are_told() {
    let folder = Folder::new();
    folder.put("tree/usr/bin/tool", b"tool");
    let unlistable = std::ffi::OsStr::from_bytes(b"bad-\xff");
    fs::write(Path::new(&folder.path("tree/usr/bin")).join(unlistable), b"hidden").unwrap();
    let package = build_deb(&folder, "none");
    let found = read(deb::read, &package).unwrap();
    let told: Vec<&String> = found.iter().filter(|(_, digest)| *digest == "not listed").map(|(name, _)| name).collect();
    assert_eq!(told, ["./usr/bin/bad-\u{fffd}"]);
    assert!(found.contains_key("/usr/bin/tool"));
    let mut initrd = cpio(&[cpio_entry(1, 1, 0o100_755, "init", b"init"), cpio_entry(2, 1, 0o100_755, "bad-X", b"x")]);
    let at = initrd.windows(5).position(|window| window == b"bad-X").unwrap();
    initrd[at + 4] = 0xff;
    let found = read(initrd::read, &folder.put("initrd", initrd)).unwrap();
    let expected = [("/init".to_owned(), sha256(b"init")), ("bad-\u{fffd}".to_owned(), "not listed".to_owned())];
    assert_eq!(found, expected.into());
}

#[test]
fn damaged_debian_packages_are_errors() {
    let folder = Folder::new();
    let bytes = fs::read(build_deb(&folder, "gzip")).unwrap();
    assert!(matches!(
        read(deb::read, &folder.put("no.deb", b"!<oops>\nxxxx")),
        Err(UnreadableArchive::Format { what: "the package", offset: 0, .. })
    ));
    assert!(read(deb::read, &folder.put("short.deb", &bytes[..bytes.len() - 40])).is_err());
    assert!(matches!(read(deb::read, &folder.put("none.deb", b"!<arch>\n")), Err(UnreadableArchive::Missing { .. })));
    survives_damage(deb::read, &folder, &bytes);
}

/// One entry of a cpio archive: inode, links, mode, name, contents.
fn cpio_entry(ino: u32, links: u32, mode: u32, name: &str, data: &[u8]) -> Vec<u8> {
    let (size, name_size) = (data.len(), name.len() + 1);
    let mut entry = format!(
        "070701{ino:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}",
        0, 0, 0, 3, 1, 0, 0, 0
    )
    .into_bytes();
    entry.extend_from_slice(name.as_bytes());
    entry.push(0);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry.extend_from_slice(data);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry
}

fn cpio(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = entries.concat();
    archive.extend(cpio_entry(0, 1, 0, "TRAILER!!!", b""));
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

fn main_archive() -> Vec<u8> {
    cpio(&[
        cpio_entry(1, 2, 0o040_755, "usr", b""),
        cpio_entry(2, 1, 0o100_755, "init", b"init"),
        cpio_entry(3, 1, 0o120_777, "usr/link", b"../etc/passwd"),
        cpio_entry(4, 2, 0o100_755, "usr/one", b""),
        cpio_entry(4, 2, 0o100_755, "./usr/two", b"shared"),
        cpio_entry(5, 1, 0o100_644, "/usr/empty", b""),
    ])
}

pub(super) fn compress(how: &str, data: &[u8]) -> Vec<u8> {
    match how {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        // As `lz4 -l` has it: blocks of 8 MiB.
        "lz4" => {
            let block = |block: &[u8]| {
                let packed = lz4_flex::block::compress(block);
                [&u32::try_from(packed.len()).unwrap().to_le_bytes(), packed.as_slice()].concat()
            };
            [&[2, 0x21, 0x4c, 0x18], data.chunks(8 << 20).flat_map(block).collect::<Vec<u8>>().as_slice()].concat()
        }
        "lzma" => {
            let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
            let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
            let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(data, 1).unwrap(),
        _ => data.to_vec(),
    }
}

#[test]
fn initrds_of_several_archives_plain_and_compressed_give_their_files() {
    let folder = Folder::new();
    let microcode = cpio(&[cpio_entry(9, 1, 0o100_644, "kernel/x86/microcode/AuthenticAMD.bin", b"microcode")]);
    let expected = files(&[
        ("/kernel/x86/microcode/AuthenticAMD.bin", b"microcode"),
        ("/init", b"init"),
        ("/usr/one", b"shared"),
        ("/usr/two", b"shared"),
        ("/usr/empty", b""),
    ]);
    for how in ["plain", "bzip2", "gzip", "lz4", "lzma", "xz", "zstd"] {
        let mut image = [microcode.clone(), compress(how, &main_archive())].concat();
        image.extend([0; 1024]);
        assert_eq!(read(initrd::read, &folder.put("initrd", image)).unwrap(), expected, "{how}");
    }
}

#[test]
fn compressed_streams_one_behind_the_other_are_one() {
    for (how, compression) in [
        ("bzip2", Compression::Bzip2),
        ("gzip", Compression::Gzip),
        ("xz", Compression::Xz),
        ("zstd", Compression::Zstd),
    ] {
        let both = [compress(how, b"one "), compress(how, b"two")].concat();
        let (mut all, mut first) = (String::new(), String::new());
        compression.open_all(&mut both.as_slice()).unwrap().read_to_string(&mut all).unwrap();
        compression.open(&mut both.as_slice()).unwrap().read_to_string(&mut first).unwrap();
        assert_eq!((all.as_str(), first.as_str()), ("one two", "one "), "{how}");
    }
}

#[test]
fn initrds_that_are_not_read_are_named() {
    let folder = Folder::new();
    let error = |bytes: &[u8]| read(initrd::read, &folder.put("initrd", bytes)).unwrap_err();
    let newer = error(&[4, 0x22, 0x4d, 0x18, 0]);
    assert!(matches!(newer, UnreadableArchive::Compression { found, .. } if found.contains("newer form")));
    assert!(matches!(error(b"what is this"), UnreadableArchive::Format { offset: 0, .. }));
    assert!(matches!(error(&[0; 64]), UnreadableArchive::Missing { .. }));
    let escape = cpio(&[cpio_entry(1, 1, 0o100_644, "usr/../../etc/shadow", b"x")]);
    assert!(matches!(error(&escape), UnreadableArchive::Path { .. }));
    // Compressed twice: nobody makes these, and each level multiplies.
    let twice = compress("gzip", &compress("gzip", &main_archive()));
    assert!(matches!(error(&twice), UnreadableArchive::Format { .. }));
    let long = cpio(&[cpio_entry(1, 1, 0o100_644, &"a/".repeat(3000), b"x")]);
    assert!(matches!(error(&long), UnreadableArchive::Limit { .. }));
    survives_damage(initrd::read, &folder, &compress("zstd", &main_archive()));
    survives_damage(initrd::read, &folder, &main_archive());
}

/// Tag, type, count, data.
type Tag = (u32, u32, u32, Vec<u8>);

fn rpm_header(tags: &[Tag]) -> Vec<u8> {
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, kind, count, data) in tags {
        while *kind == 4 && store.len() % 4 != 0 || *kind == 3 && store.len() % 2 != 0 {
            store.push(0);
        }
        for number in [*tag, *kind, u32::try_from(store.len()).unwrap(), *count] {
            index.extend(number.to_be_bytes());
        }
        store.extend(data);
    }
    let sizes = [u32::try_from(tags.len()).unwrap(), u32::try_from(store.len()).unwrap()];
    let mut header = vec![0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
    header.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    [header, index, store].concat()
}

fn strings(tag: u32, texts: &[&str]) -> Tag {
    let data = texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
    (tag, 8, u32::try_from(texts.len()).unwrap(), data)
}

fn numbers(tag: u32, numbers: &[u32]) -> Tag {
    let data = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    (tag, 4, u32::try_from(numbers.len()).unwrap(), data)
}

fn read_rpm(
    path: &Path,
    algorithm: HashAlgorithm,
    found: &mut crate::policy::archive::Found<'_>,
) -> Result<(), UnreadableArchive> {
    rpm::read(path, algorithm, None, found)
}

pub(super) fn rpm_package(algorithm: u32) -> Vec<u8> {
    signed_rpm_package(algorithm, &|_| Vec::new())
}

/// The payload's files, as rpmbuild writes their names.
fn rpm_payload(content: &[u8]) -> Vec<u8> {
    cpio(&[
        cpio_entry(1, 1, 0o100_755, "./bin/tool", content),
        cpio_entry(2, 1, 0o120_777, "./bin/link", b"tool"),
        cpio_entry(3, 1, 0o040_755, "./var/lib/x/folder", b""),
    ])
}

/// A package whose header is signed so.
pub(super) fn signed_rpm_package(algorithm: u32, sign: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let payload = compress("gzip", &rpm_payload(b"tool"));
    rpm_package_of(algorithm, &payload, &[payload_digest(&payload)], sign)
}

fn payload_digest(payload: &[u8]) -> Tag {
    strings(5092, &[&sha256(payload)])
}

/// A package with this payload and these tags beside those of its files.
fn rpm_package_of(algorithm: u32, payload: &[u8], more: &[Tag], sign: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let modes = [0o100_755_u16, 0o120_777, 0o100_644, 0o040_755];
    let modes = (1030, 3, 4, modes.iter().flat_map(|mode| mode.to_be_bytes()).collect());
    let tags = [
        modes,
        strings(1035, &[&sha256(b"tool"), "", &sha256(b"ghost"), ""]),
        numbers(1037, &[0, 0, 1 << 6, 0]),
        numbers(1116, &[0, 0, 1, 1]),
        strings(1117, &["tool", "link", "cache", "folder"]),
        strings(1118, &["/bin/", "/var/lib/x/"]),
        numbers(5011, &[algorithm]),
    ];
    let header = rpm_header(&[&tags, more].concat());
    let digest = hex::encode(openssl::sha::sha256(&header));
    let mut tags = vec![(273, 6, 1, [digest.as_bytes(), b"\0"].concat())];
    let signature = sign(&header);
    if !signature.is_empty() {
        tags.push((268, 7, u32::try_from(signature.len()).unwrap(), signature));
    }
    let mut signature = rpm_header(&tags);
    signature.resize(signature.len().next_multiple_of(8), 0);
    let mut lead = vec![0xed, 0xab, 0xee, 0xdb];
    lead.resize(96, 0);
    [lead, signature, header, payload.to_vec()].concat()
}

#[test]
fn rpm_headers_give_the_files_they_bring() {
    let folder = Folder::new();
    let path = folder.put("x.rpm", rpm_package(8));
    assert_eq!(read(read_rpm, &path).unwrap(), files(&[("/bin/tool", b"tool")]));
}

#[test]
fn rpm_packages_of_other_digests_and_changed_ones_are_refused() {
    let folder = Folder::new();
    let read = |bytes: &[u8]| read(read_rpm, &folder.put("x.rpm", bytes));
    assert!(matches!(read(&rpm_package(1)), Err(UnreadableArchive::Algorithm { found: "md5", .. })));
    assert!(matches!(read(&rpm_package(10)), Err(UnreadableArchive::Algorithm { found: "sha512", .. })));
    let mut changed = rpm_package(8);
    let at = changed.windows(4).position(|bytes| bytes == b"tool").unwrap();
    changed[at] = b'f';
    assert!(matches!(read(&changed), Err(UnreadableArchive::HeaderDigest { .. })));
    let mut greedy = rpm_package(8);
    greedy[96 + 12..96 + 16].fill(0xff);
    assert!(matches!(read(&greedy), Err(UnreadableArchive::Limit { .. })));
    survives_damage(read_rpm, &folder, &rpm_package(8));
}

/// A package whose payload is this, and whose header states its digest.
fn rpm_with_payload(payload: &[u8]) -> Vec<u8> {
    rpm_package_of(8, payload, &[payload_digest(payload)], &|_| Vec::new())
}

#[test]
fn rpm_payloads_of_every_compression_are_held_against_the_header() {
    let folder = Folder::new();
    let read = |bytes: &[u8]| read(read_rpm, &folder.put("x.rpm", bytes));
    for how in ["none", "bzip2", "gzip", "lzma", "xz", "zstd"] {
        let packed = |content: &[u8]| compress(how, &rpm_payload(content));
        assert_eq!(read(&rpm_with_payload(&packed(b"tool"))).unwrap(), files(&[("/bin/tool", b"tool")]), "{how}");
        let other = read(&rpm_with_payload(&packed(b"evil"))).unwrap_err();
        assert!(matches!(&other, UnreadableArchive::FileDigest { path, .. } if path == "/bin/tool"), "{how}: {other}");
        // Old packages state no digest of the payload.
        let unstated = |content| rpm_package_of(8, &packed(content), &[], &|_| Vec::new());
        read(&unstated(b"tool")).unwrap();
        assert!(matches!(read(&unstated(b"evil")), Err(UnreadableArchive::FileDigest { .. })), "{how}");
    }
}

#[test]
fn rpm_payloads_that_are_not_what_the_header_says_are_refused() {
    let folder = Folder::new();
    let read = |bytes: &[u8]| read(read_rpm, &folder.put("x.rpm", bytes));
    let good = compress("gzip", &rpm_payload(b"tool"));
    // What follows the payload is of it too.
    let longer = [good.as_slice(), &[0; 4]].concat();
    let digest = payload_digest(&good);
    let package = |payload: &[u8], more: &[Tag]| rpm_package_of(8, payload, more, &|_| Vec::new());
    for payload in [&good[..good.len() - 1], &longer, b""] {
        let error = read(&package(payload, std::slice::from_ref(&digest))).unwrap_err();
        assert!(matches!(error, UnreadableArchive::PayloadDigest { .. }), "{error}");
    }
    let sha512 = strings(5092, &[&hex::encode(openssl::sha::sha512(&good))]);
    read(&package(&good, &[sha512.clone(), numbers(5093, &[10])])).unwrap();
    assert!(matches!(
        read(&package(&good, std::slice::from_ref(&sha512))),
        Err(UnreadableArchive::PayloadDigest { .. })
    ));
    assert!(matches!(read(&package(&good, &[sha512, numbers(5093, &[1])])), Err(UnreadableArchive::Format { .. })));

    let of = |entries: &[Vec<u8>]| read(&rpm_with_payload(&cpio(entries)));
    let tool = cpio_entry(1, 1, 0o100_755, "./bin/tool", b"tool");
    assert!(matches!(of(&[]), Err(UnreadableArchive::NotInPayload { path }) if path == "/bin/tool"));
    let twice = of(&[tool.clone(), cpio_entry(2, 1, 0o100_755, "bin//tool", b"tool")]);
    assert!(matches!(twice, Err(UnreadableArchive::Duplicate { path }) if path == "/bin/tool"));
    let escape = of(&[tool, cpio_entry(2, 1, 0o100_755, "./bin/../../x", b"x")]);
    assert!(matches!(escape, Err(UnreadableArchive::Path { .. })));

    // A header that says something twice.
    let tags = |names: &[&str], more: &[Tag]| {
        let digest = sha256(b"tool");
        let modes: Vec<u8> = [0o100_755_u16; 2].iter().flat_map(|mode| mode.to_be_bytes()).collect();
        let count = names.len();
        let modes = (1030, 3, u32::try_from(count).unwrap(), modes[..2 * count].to_vec());
        let lists =
            [strings(1035, &vec![digest.as_str(); count]), numbers(1116, &vec![0; count]), strings(1117, names)];
        let header =
            rpm_header(&[&[modes], &lists[..], &[strings(1118, &["/bin/"]), numbers(5011, &[8])], more].concat());
        let mut lead = vec![0xed, 0xab, 0xee, 0xdb];
        lead.resize(96, 0);
        read(&[lead, rpm_header(&[]), header, cpio(&[cpio_entry(1, 1, 0o100_755, "./bin/tool", b"tool")])].concat())
    };
    tags(&["tool"], &[]).unwrap();
    assert!(matches!(tags(&["tool", "tool"], &[]), Err(UnreadableArchive::Duplicate { path }) if path == "/bin/tool"));
    let again = tags(&["tool"], &[strings(1117, &["other"])]);
    assert!(matches!(again, Err(UnreadableArchive::Format { expected: "each tag once", .. })));
    assert!(matches!(tags(&["../../tool"], &[]), Err(UnreadableArchive::Path { .. })));
}

/// A Debian package of these files, made without dpkg, which packs neither every compression nor nonsense.
fn ar_of(ending: &str, data: &[u8]) -> Vec<u8> {
    let member = |name: &str, bytes: &[u8]| {
        let mut member =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len()).into_bytes();
        member.extend_from_slice(bytes);
        member.resize(member.len().next_multiple_of(2), b'\n');
        member
    };
    let first = member("debian-binary", b"2.0\n");
    [b"!<arch>\n", first.as_slice(), &member(&format!("data.tar{ending}"), data)].concat()
}

fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Not by the library, which refuses names that lead out.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn debian_packages_with_doubtful_contents_are_refused() {
    let folder = Folder::new();
    let read = |ending: &str, data: &[u8]| read(deb::read, &folder.put("x.deb", ar_of(ending, data)));
    let tar = tar_of(&[("./usr/bin/tool", b"tool")]);
    for (how, ending) in [("none", ""), ("bzip2", ".bz2"), ("lzma", ".lzma"), ("zstd", ".zst")] {
        assert_eq!(read(ending, &compress(how, &tar)).unwrap(), files(&[("/usr/bin/tool", b"tool")]), "{how}");
    }
    assert!(matches!(read(".lz4", &tar), Err(UnreadableArchive::Compression { .. })));
    let twice = tar_of(&[("./usr/bin/tool", b"tool"), ("usr/bin/./tool", b"evil")]);
    assert!(matches!(read("", &twice), Err(UnreadableArchive::Duplicate { path }) if path == "/usr/bin/tool"));
    for name in ["../etc/shadow", "./usr/../../etc/shadow"] {
        assert!(matches!(read("", &tar_of(&[(name, b"x")])), Err(UnreadableArchive::Path { .. })), "{name}");
    }
}

#[test]
fn archives_that_unpack_to_more_than_the_limit_are_refused() {
    let zeros = vec![0; 2 << 20];
    let (max, mut ignore) = (1 << 20, |_| ());
    let refused = |outcome: Result<(), UnreadableArchive>| match outcome {
        Err(UnreadableArchive::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::FileTooLarge),
        other => panic!("{other:?}"),
    };
    for (how, ending) in [("bzip2", ".bz2"), ("gzip", ".gz"), ("lzma", ".lzma"), ("xz", ".xz"), ("zstd", ".zst")] {
        let deb = ar_of(ending, &compress(how, &tar_of(&[("usr/bin/tool", &zeros)])));
        refused(deb::unpack(&mut deb.as_slice(), HashAlgorithm::Sha256, max, &mut ignore));
        deb::unpack(&mut deb.as_slice(), HashAlgorithm::Sha256, 3 * max, &mut ignore).unwrap();
        let payload = compress(how, &rpm_payload(&zeros));
        let rpm = rpm_with_payload(&payload);
        refused(rpm::unpack(&mut rpm.as_slice(), HashAlgorithm::Sha256, max, &mut ignore));
        let initrd = compress(how, &rpm_payload(&zeros));
        refused(initrd::read_from(initrd.as_slice(), HashAlgorithm::Sha256, max, &mut ignore));
        initrd::read_from(initrd.as_slice(), HashAlgorithm::Sha256, 3 * max, &mut ignore).unwrap();
    }
    let lz4 = compress("lz4", &rpm_payload(&zeros));
    refused(initrd::read_from(lz4.as_slice(), HashAlgorithm::Sha256, max, &mut ignore));
}

#[test]
fn streams_that_ask_for_much_memory_are_refused() {
    let unpack = |compression: Compression, bytes: &[u8]| {
        let mut bytes = bytes;
        let read =
            compression.open_all(&mut bytes).and_then(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()));
        read.map_err(|error| error.to_string())
    };
    // The dictionary's size stands behind the header's twelve bytes, the block header's two, the filter's two.
    let mut xz = compress("xz", b"x");
    assert_eq!((unpack(Compression::Xz, &xz), &xz[14..16]), (Ok(1), &[0x21, 1][..]));
    xz[16] = 40;
    let mut sum = flate2::Crc::new();
    sum.update(&xz[12..20]);
    xz[20..24].copy_from_slice(&sum.sum().to_le_bytes());
    let error = unpack(Compression::Xz, &xz).unwrap_err();
    assert!(error.to_lowercase().contains("mem"), "{error}");
    let mut lzma = compress("lzma", b"x");
    assert_eq!(unpack(Compression::Lzma, &lzma), Ok(1));
    lzma[1..5].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    let error = unpack(Compression::Lzma, &lzma).unwrap_err();
    assert!(error.to_lowercase().contains("mem"), "{error}");
    // A frame with a window of 2^27 or 2^30 bytes, and one raw block.
    let frame = |log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 9, 0, 0, b'x'];
    assert_eq!(unpack(Compression::Zstd, &frame(27)), Ok(1));
    let error = unpack(Compression::Zstd, &frame(30)).unwrap_err();
    assert!(error.contains("memory"), "{error}");
    // A block of lz4 that unpacks to more than eight mebibytes, and one that is longer than such a block can be.
    let block = lz4_flex::block::compress(&vec![0; (8 << 20) + 1]);
    let long = [&[2, 0x21, 0x4c, 0x18], &u32::try_from(block.len()).unwrap().to_le_bytes()[..], &block].concat();
    unpack(Compression::Lz4Legacy, &long).unwrap_err();
    unpack(Compression::Lz4Legacy, &[2, 0x21, 0x4c, 0x18, 0, 0, 0, 1]).unwrap_err();
}

#[test]
fn repositories_are_read_whole_and_listed_below_usr() {
    let folder = Folder::new();
    build_deb(&folder, "zstd");
    folder.put("repo/a/x.rpm", rpm_package(8));
    folder.put("repo/a/x.src.rpm", b"not looked at");
    folder.put("initrd", main_archive());
    let (pool, repo, initrd, output) =
        (folder.path("pool"), folder.path("repo"), folder.path("initrd"), folder.path("policy.json"));
    let sources = ["create", "runtime", "--deb", &pool, "--rpm", &repo, "--initrd", &initrd, "-o", &output];
    policy(&sources).unwrap();
    let digests = folder.json("policy.json")["digests"].clone();
    assert_eq!(digests["/usr/bin/tool"], serde_json::json!([sha256(b"tool")]));
    assert_eq!(digests["/usr/bin/old"], serde_json::json!([sha256(b"old")]));
    assert_eq!(digests["/init"], serde_json::json!([sha256(b"init")]));
    assert!(digests.get("/bin/old").is_none());
    policy(&[&sources[..], &["--no-usr-merge"]].concat()).unwrap();
    let digests = folder.json("policy.json")["digests"].clone();
    assert_eq!(digests["/bin/old"], serde_json::json!([sha256(b"old")]));
    assert_eq!(digests["/bin/tool"], serde_json::json!([sha256(b"tool")]));
}

#[test]
fn a_broken_package_among_many_files_fails_and_writes_nothing() {
    let folder = Folder::new();
    for number in 0..600 {
        folder.put(&format!("root/usr/bin/{number}"), b"x");
    }
    let (root, broken, output) = (folder.path("root"), folder.put("x.deb", b"?"), folder.path("policy.json"));
    let failure = policy(&["create", "runtime", "--root", &root, "--deb", &broken, "-o", &output]).unwrap_err();
    assert!(failure.to_string().contains("x.deb as a Debian package"), "{failure}");
    assert!(!Path::new(&output).exists());
}

#[test]
fn paths_of_archives_are_absolute_and_stay_below_the_root() {
    for name in ["./usr/bin/x", "usr/bin/x", "/usr//bin/./x"] {
        assert_eq!(path_of(name).unwrap(), "/usr/bin/x");
    }
    assert!(path_of("usr/../x").is_err());
    assert_eq!(usr_merged("/lib64/ld.so".to_owned()), "/usr/lib64/ld.so");
    assert_eq!(usr_merged("/library/x".to_owned()), "/library/x");
}
