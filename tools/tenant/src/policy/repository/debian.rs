//! Debian repositories: `dists/SUITE/InRelease` and what it names, or the same in the root of a flat one.
//!
//! Source: wiki.debian.org, DebianRepository/Format; RFC 9580 §7 (texts with their signature).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, Read},
    path::{Path, PathBuf},
};

use super::{
    FileDigest, INDEX_BYTES_MAX, ListedPackage, Reading, RepositoryRejected, SIGNED_BYTES_MAX, SignatureRejected,
    contents, place, read_if_there,
};

pub(super) fn packages(root: &Path, reading: &Reading<'_>) -> Result<BTreeSet<ListedPackage>, RepositoryRejected> {
    let (mut packages, mut indexes) = (BTreeSet::new(), 0_usize);
    for suite in suites(root, reading)? {
        let (path, release) = release(&suite, reading)?;
        for forms in indexes_of(&path, &release)?.values() {
            // A mirror need not hold every architecture, nor every form of an index.
            for (name, digest) in forms {
                let path = place(&suite, name)?;
                let Some(bytes) = read_if_there(&path, INDEX_BYTES_MAX)? else { continue };
                digest.check(&path, &bytes)?;
                add_packages(root, &path, &bytes, reading, &mut packages)?;
                indexes += 1;
                break;
            }
        }
    }
    if indexes == 0 {
        return Err(RepositoryRejected::Missing { path: root.to_owned(), expected: "suite with an index of packages" });
    }
    Ok(packages)
}

/// Folders with a release file: the root itself, or those below `dists` that were asked for.
fn suites(root: &Path, reading: &Reading<'_>) -> Result<Vec<PathBuf>, RepositoryRejected> {
    let dists = root.join("dists");
    if !dists.is_dir() {
        return Ok(vec![root.to_owned()]);
    }
    let mut suites = Vec::new();
    if reading.suites.is_empty() {
        find_suites(&dists, 0, &mut suites)?;
    }
    for suite in reading.suites {
        suites.push(place(&dists, suite)?);
    }
    Ok(suites)
}

/// Links are other names of suites, such as `stable`, and are passed over.
fn find_suites(folder: &Path, depth: usize, suites: &mut Vec<PathBuf>) -> Result<(), RepositoryRejected> {
    let io = |source| RepositoryRejected::Io { path: folder.to_owned(), source };
    if folder.join(IN_RELEASE).is_file() || folder.join(RELEASE).is_file() {
        suites.push(folder.to_owned());
        return Ok(());
    }
    if depth == SUITE_FOLDERS_MAX {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_type().map_err(io)?.is_dir() {
            find_suites(&entry.path(), depth + 1, suites)?;
        }
    }
    Ok(())
}

/// The release file's text, signed if anybody has to have signed it.
fn release(suite: &Path, reading: &Reading<'_>) -> Result<(PathBuf, String), RepositoryRejected> {
    let (inside, beside) = (suite.join(IN_RELEASE), suite.join(RELEASE));
    let rejected = |path: &Path| {
        let path = path.to_owned();
        move |source| RepositoryRejected::Signature { path, source }
    };
    let (path, bytes) = if let Some(whole) = read_if_there(&inside, SIGNED_BYTES_MAX)? {
        let text = match reading.keys {
            Some(keys) => keys.open(&whole).map_err(rejected(&inside))?,
            None => unsigned(&whole),
        };
        (inside, text)
    } else {
        let missing = RepositoryRejected::Missing { path: suite.to_owned(), expected: "InRelease or Release" };
        let text = read_if_there(&beside, SIGNED_BYTES_MAX)?.ok_or(missing)?;
        if let Some(keys) = reading.keys {
            let signature = read_if_there(&suite.join("Release.gpg"), SIGNED_BYTES_MAX)?;
            let signature = signature.ok_or(SignatureRejected::Missing).map_err(rejected(&beside))?;
            keys.verify(&text, &signature).map_err(rejected(&beside))?;
        }
        (beside, text)
    };
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| RepositoryRejected::Format { path: path.clone(), expected: "text in UTF-8" })?;
    Ok((path, text))
}

/// The text between a signature's header and the signature, believed as it stands.
fn unsigned(whole: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(whole);
    let Some((_, behind)) = text.split_once("-----BEGIN PGP SIGNED MESSAGE-----") else { return whole.to_vec() };
    let text = behind.split_once("\n\n").map_or(behind, |(_, text)| text);
    let text = text.split_once("-----BEGIN PGP SIGNATURE-----").map_or(text, |(text, _)| text);
    text.into()
}

/// Each index's forms (plain, gzip, …) with their digests.
type Forms = BTreeMap<String, Vec<(String, FileDigest)>>;

fn indexes_of(path: &Path, release: &str) -> Result<Forms, RepositoryRejected> {
    let lines = release.lines().skip_while(|line| line.trim_end() != "SHA256:").skip(1);
    let mut forms = Forms::new();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listed = match fields.as_slice() {
            [hex, _size, name] => FileDigest::new("sha256", hex).map(|digest| (*name, digest)),
            _ => None,
        };
        let (name, digest) = listed.ok_or_else(|| RepositoryRejected::Format {
            path: path.to_owned(),
            expected: "below SHA256: lines of a digest, a size and a name",
        })?;
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        if ["Packages", "Packages.gz", "Packages.xz", "Packages.zst"].contains(&file) {
            forms.entry(folder.to_owned()).or_default().push((name.to_owned(), digest));
        }
    }
    Ok(forms)
}

/// What a paragraph of an index says of its package.
#[derive(Default)]
struct Paragraph {
    architecture: String,
    digest: Option<FileDigest>,
    name: Option<String>,
}

fn add_packages(
    root: &Path,
    path: &Path,
    bytes: &[u8],
    reading: &Reading<'_>,
    packages: &mut BTreeSet<ListedPackage>,
) -> Result<(), RepositoryRejected> {
    let format = |expected| RepositoryRejected::Format { path: path.to_owned(), expected };
    let mut rest = bytes;
    let mut reader = contents(path, &mut rest)?;
    let (mut paragraph, mut line) = (Paragraph::default(), Vec::new());
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(|source| RepositoryRejected::Io { path: path.to_owned(), source })?;
        if read as u64 == LINE_BYTES_MAX {
            return Err(format("lines of at most 1 MiB"));
        }
        let text = std::str::from_utf8(&line).map_err(|_| format("text in UTF-8"))?.trim_end();
        match text.split_once(':') {
            Some(("Architecture", value)) => value.trim().clone_into(&mut paragraph.architecture),
            Some(("Filename", value)) => paragraph.name = Some(value.trim().to_owned()),
            Some(("SHA256", value)) => paragraph.digest = FileDigest::new("sha256", value.trim()),
            _ => (),
        }
        if text.is_empty() {
            let Paragraph { architecture, digest, name } = std::mem::take(&mut paragraph);
            let wanted = &reading.architectures;
            if let Some(name) = name
                && (wanted.is_empty() || architecture == "all" || wanted.contains(&architecture))
            {
                let digest = digest.ok_or_else(|| format("a SHA256 for each package"))?;
                packages.insert(ListedPackage { path: place(root, &name)?, digest });
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

const IN_RELEASE: &str = "InRelease";
const RELEASE: &str = "Release";
/// Suites have names such as `stable` and `stable/updates`.
const SUITE_FOLDERS_MAX: usize = 3;
/// The longest lines are lists of what a package provides: some 100 KiB.
const LINE_BYTES_MAX: u64 = 1 << 20;
