//! RPM repositories: `repodata/repomd.xml`, its signature beside it, and the list of packages it names.
//!
//! Source: createrepo_c, `doc/`; the files of Fedora, RHEL and openSUSE.

use std::{io::BufRead, path::Path};

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

use super::{
    FileDigest, INDEX_BYTES_MAX, ListedPackage, Packages, Reading, RepositoryRejected, SIGNED_BYTES_MAX,
    SignatureRejected, contents, place, read_if_there,
};

pub(super) fn packages(root: &Path, reading: &Reading<'_>) -> Result<Packages, RepositoryRejected> {
    let path = root.join("repodata/repomd.xml");
    let missing = || RepositoryRejected::Missing { path: root.to_owned(), expected: "repodata/repomd.xml" };
    let metadata = read_if_there(&path, SIGNED_BYTES_MAX)?.ok_or_else(missing)?;
    if let Some(keys) = reading.keys {
        let signature = read_if_there(&root.join("repodata/repomd.xml.asc"), SIGNED_BYTES_MAX)?;
        let checked = signature.ok_or(SignatureRejected::Missing);
        let checked = checked.and_then(|signature| keys.verify(&metadata, &signature));
        checked.map_err(|source| RepositoryRejected::Signature { path: path.clone(), source })?;
    }
    let mut primary = None;
    read_items(&path, metadata.as_slice(), "data", &mut |item| {
        if item.kind == "primary" && primary.replace(item).is_some() {
            return Err(RepositoryRejected::Duplicate { path: path.clone(), what: "data of type primary".to_owned() });
        }
        Ok(())
    })?;
    let format = RepositoryRejected::Format { path, expected: "data of type primary with a location and a SHA-256" };
    let Some((location, digest)) = primary.and_then(Item::file) else { return Err(format) };

    let path = place(root, &location)?;
    let missing = || RepositoryRejected::Missing { path: path.clone(), expected: "list of packages there" };
    let bytes = read_if_there(&path, INDEX_BYTES_MAX)?.ok_or_else(missing)?;
    digest.check(&path, &bytes)?;
    let mut rest = bytes.as_slice();
    let mut packages = Packages::default();
    read_items(&path, contents(&path, &mut rest)?, "package", &mut |item| {
        let wanted = &reading.architectures;
        let is_source = ["src", "nosrc"].contains(&item.architecture.as_str());
        if is_source || !(wanted.is_empty() || item.architecture == "noarch" || wanted.contains(&item.architecture)) {
            return Ok(());
        }
        let Some((location, digest)) = item.file() else {
            let expected = "a location and a SHA-256, SHA-384 or SHA-512 for each package";
            return Err(RepositoryRejected::Format { path: path.clone(), expected });
        };
        packages.insert(&path, ListedPackage { path: place(root, &location)?, digest })
    })?;
    Ok(packages)
}

/// What an element of either file says of the file it is about.
#[derive(Default)]
struct Item {
    /// The attribute `type`.
    kind: String,
    architecture: String,
    /// Algorithm and digest.
    checksum: Option<(String, String)>,
    location: Option<String>,
    size: Option<String>,
}

impl Item {
    /// Where the file is and what it must be.
    fn file(self) -> Option<(String, FileDigest)> {
        let size = self.size.map(|size| size.parse()).transpose().ok()?;
        let (algorithm, hex) = self.checksum?;
        Some((self.location?, FileDigest::new(&algorithm, &hex, size)?))
    }
}

/// Tells each element of this name; of its children, only its own.
fn read_items(
    path: &Path,
    reader: impl BufRead,
    element: &str,
    tell: &mut dyn FnMut(Item) -> Result<(), RepositoryRejected>,
) -> Result<(), RepositoryRejected> {
    let malformed = || RepositoryRejected::Format { path: path.to_owned(), expected: "XML of a repository's metadata" };
    let mut reader = Reader::from_reader(reader);
    reader.config_mut().expand_empty_elements = true;
    let (mut buffer, mut text, mut algorithm) = (Vec::new(), String::new(), String::new());
    // The names of the open elements: the root, the item, its child.
    let mut open: Vec<String> = Vec::new();
    let (mut item, mut size) = (Item::default(), None);
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(|_| malformed())? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                match open.len() {
                    1 if name == element => {
                        item = Item { kind: attribute(&start, "type").unwrap_or_default(), ..Item::default() };
                    }
                    2 if name == "location" => once(path, &mut item.location, attribute(&start, "href"), &name)?,
                    // Of a file listed by repomd.xml, text; of a package, an attribute.
                    2 if name == "size" => size = attribute(&start, "package"),
                    2 if name == "checksum" => algorithm = attribute(&start, "type").unwrap_or_default(),
                    _ => (),
                }
                text.clear();
                open.push(name);
                if open.len() > DEPTH_MAX {
                    return Err(malformed());
                }
            }
            Event::Text(part) => {
                // Nothing that is read here has references in it: digests and architectures.
                text.push_str(&part);
                if text.len() > TEXT_BYTES_MAX {
                    text.clear();
                }
            }
            Event::End(_) => {
                let name = open.pop().ok_or_else(malformed)?;
                match (open.len(), name.as_str()) {
                    (1, name) if name == element => tell(std::mem::take(&mut item))?,
                    (2, "checksum") => {
                        let checksum = (std::mem::take(&mut algorithm), text.trim().to_owned());
                        once(path, &mut item.checksum, Some(checksum), &name)?;
                    }
                    (2, "size") => {
                        let size = size.take().unwrap_or_else(|| text.trim().to_owned());
                        once(path, &mut item.size, Some(size), &name)?;
                    }
                    (2, "arch") => text.trim().clone_into(&mut item.architecture),
                    _ => (),
                }
            }
            Event::Eof => return if open.is_empty() { Ok(()) } else { Err(malformed()) },
            _ => (),
        }
    }
}

/// Takes what an item says once.
fn once<T>(path: &Path, member: &mut Option<T>, said: Option<T>, name: &str) -> Result<(), RepositoryRejected> {
    let (again, was) = (said.is_some(), member.is_some());
    if was && again {
        return Err(RepositoryRejected::Duplicate { path: path.to_owned(), what: name.to_owned() });
    }
    *member = said;
    Ok(())
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = start.try_get_attribute(name).ok()??;
    Some(attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

/// These files have five levels.
const DEPTH_MAX: usize = 16;
/// A digest has 128 digits; descriptions are longer and not read.
const TEXT_BYTES_MAX: usize = 1024;
