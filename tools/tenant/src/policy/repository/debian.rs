//! Debian repositories: `dists/SUITE/InRelease` and what it names, or the same in the root of a flat one.
//!
//! Source: wiki.debian.org, DebianRepository/Format; RFC 9580 §7 (texts with their signature).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, Read},
    path::{Path, PathBuf},
};

use chrono::NaiveDateTime;

use super::{
    Compression, FileDigest, INDEX_BYTES_MAX, ListedPackage, Packages, Reading, RepositoryRejected, SIGNED_BYTES_MAX,
    SignatureRejected, contents, place, read_if_there,
};

pub(super) fn packages(root: &Path, reading: &Reading<'_>) -> Result<Packages, RepositoryRejected> {
    let (mut packages, mut indexes) = (Packages::default(), 0_usize);
    for suite in suites(root, reading)? {
        let (path, release) = release(&suite, reading)?;
        check_release(root, &suite, &path, &release, reading)?;
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

/// Whether a release file is of this suite and still stood by.
///
/// One key signs all of a distributor's suites, old and new: whoever serves a mirror could have an old state, or an old
/// suite under a new one's name, listed with all its known holes.
fn check_release(
    root: &Path,
    suite: &Path,
    path: &Path,
    release: &str,
    reading: &Reading<'_>,
) -> Result<(), RepositoryRejected> {
    let field = |name: &str| {
        let mut lines = release.lines().filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()));
        match (lines.next(), lines.next()) {
            (found, None) => Ok(found),
            _ => Err(RepositoryRejected::Duplicate { path: path.to_owned(), what: name.to_owned() }),
        }
    };
    if let (Some(until), Some(now)) = (field("Valid-Until")?, reading.now) {
        let expected = "Valid-Until as `Sat, 02 Jan 2027 10:00:00 UTC`";
        let format = || RepositoryRejected::Format { path: path.to_owned(), expected };
        let parsed = until.strip_suffix("UTC").or_else(|| until.strip_suffix("GMT")).ok_or_else(format)?;
        let parsed = NaiveDateTime::parse_from_str(parsed.trim(), "%a, %d %b %Y %H:%M:%S").map_err(|_| format())?;
        if u64::try_from(parsed.and_utc().timestamp_millis()).unwrap_or_default() < now.0 {
            return Err(RepositoryRejected::Expired { path: path.to_owned(), until: until.to_owned() });
        }
    }
    let names: Vec<&str> = [field("Suite")?, field("Codename")?].into_iter().flatten().collect();
    let Some(folder) = suite.strip_prefix(root.join("dists")).ok().and_then(Path::to_str) else { return Ok(()) };
    // Debian's security updates stood in folders below the suite that they are for.
    let is_named = |name: &&str| *name == folder || folder.strip_suffix("/updates") == Some(*name);
    if names.is_empty() || names.iter().any(is_named) {
        return Ok(());
    }
    let (found, expected) = (names.join(", "), folder.to_owned());
    Err(RepositoryRejected::OtherSuite { path: path.to_owned(), found, expected })
}

/// Each index's forms (plain, gzip, …) with their digests.
type Forms = BTreeMap<String, Vec<(String, FileDigest)>>;

fn indexes_of(path: &Path, release: &str) -> Result<Forms, RepositoryRejected> {
    let duplicate = |what: &str| RepositoryRejected::Duplicate { path: path.to_owned(), what: what.to_owned() };
    if release.lines().filter(|line| line.trim_end() == "SHA256:").count() > 1 {
        return Err(duplicate("SHA256"));
    }
    let lines = release.lines().skip_while(|line| line.trim_end() != "SHA256:").skip(1);
    let (mut forms, mut names) = (Forms::new(), BTreeSet::new());
    for line in lines.take_while(|line| line.starts_with(' ')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listed = match fields.as_slice() {
            [hex, size, name] => {
                let digest = size.parse().ok().and_then(|size| FileDigest::new("sha256", hex, Some(size)));
                digest.map(|digest| (*name, digest))
            }
            _ => None,
        };
        let (name, digest) = listed.ok_or_else(|| RepositoryRejected::Format {
            path: path.to_owned(),
            expected: "below SHA256: lines of a digest, a size and a name",
        })?;
        if !names.insert(name) {
            return Err(duplicate(name));
        }
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let is_index = |ending: &str| ending.is_empty() || Compression::of_ending(ending).is_some();
        if file.strip_prefix("Packages").is_some_and(is_index) {
            forms.entry(folder.to_owned()).or_default().push((name.to_owned(), digest));
        }
    }
    Ok(forms)
}

/// What a paragraph of an index says of its package.
#[derive(Default)]
struct Paragraph {
    architecture: Option<String>,
    digest: Option<String>,
    name: Option<String>,
    size: Option<String>,
}

impl Paragraph {
    /// Takes a line; false if it says again what was said.
    fn take(&mut self, line: &str) -> bool {
        let Some((field, value)) = line.split_once(':') else { return true };
        let member = match field {
            "Architecture" => &mut self.architecture,
            "Filename" => &mut self.name,
            "SHA256" => &mut self.digest,
            "Size" => &mut self.size,
            _ => return true,
        };
        member.replace(value.trim().to_owned()).is_none()
    }
}

fn add_packages(
    root: &Path,
    path: &Path,
    bytes: &[u8],
    reading: &Reading<'_>,
    packages: &mut Packages,
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
        if !paragraph.take(text) {
            let what = text.chars().take(256).collect();
            return Err(RepositoryRejected::Duplicate { path: path.to_owned(), what });
        }
        if text.is_empty() {
            let Paragraph { architecture, digest, name, size } = std::mem::take(&mut paragraph);
            let (wanted, architecture) = (&reading.architectures, architecture.unwrap_or_default());
            if let Some(name) = name
                && (wanted.is_empty() || architecture == "all" || wanted.contains(&architecture))
            {
                let size = size.and_then(|size| size.parse().ok());
                let digest = digest.and_then(|digest| FileDigest::new("sha256", &digest, Some(size?)));
                let digest = digest.ok_or_else(|| format("a SHA256 and a Size for each package"))?;
                packages.insert(path, ListedPackage { path: place(root, &name)?, digest })?;
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
