//! Repositories made and signed here, whole and with each link of their chains broken.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::{
    Folder,
    archives::{build_deb, compress, rpm_package, signed_rpm_package},
    policy, sha256,
};

/// A key of GnuPG in a home of its own, whose agent is ended with it.
struct Signer(Folder);

impl Signer {
    fn new() -> Self {
        Self::of(&["--quick-generate-key", "Test <test@example.com>", "ed25519", "sign", "never"])
    }

    /// A key that was good for one day, long ago.
    fn expired() -> Self {
        Self::of(&[PAST, "--quick-generate-key", "Old <old@example.com>", "ed25519", "sign", "1d"])
    }

    fn of(generate: &[&str]) -> Self {
        let signer = Self(Folder::new());
        fs::set_permissions(signer.0.path("."), fs::Permissions::from_mode(0o700)).unwrap();
        signer.gpg(generate);
        signer
    }

    /// Takes the revocation that GnuPG keeps for each of its keys.
    fn revoke(&self) {
        let kept = fs::read_dir(self.0.path("openpgp-revocs.d")).unwrap().next().unwrap().unwrap().path();
        let revocation = fs::read_to_string(kept).unwrap().replace(":-----BEGIN", "-----BEGIN");
        self.gpg(&["--import", &self.0.put("revocation", revocation)]);
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--homedir", &self.0.path("."), "--batch", "--yes", "--passphrase", "", "--quiet"])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("gpg is needed ({error}); install it: apt-get install gpg gpg-agent"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn key(&self, folder: &Folder, armored: bool) -> String {
        let armor: &[&str] = if armored { &["--armor"] } else { &[] };
        folder.put(if armored { "key.asc" } else { "key.gpg" }, self.gpg(&[armor, &["--export"]].concat()))
    }

    fn clear_sign(&self, text: &str) -> Vec<u8> {
        self.clear_sign_with(text, &[])
    }

    fn clear_sign_with(&self, text: &str, options: &[&str]) -> Vec<u8> {
        self.gpg(&[options, &["--output", "-", "--clear-sign", &self.0.put("text", text)]].concat())
    }

    fn sign_binary(&self, bytes: &[u8]) -> Vec<u8> {
        self.gpg(&["--output", "-", "--detach-sign", &self.0.put("bytes", bytes)])
    }

    fn sign(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.gpg(&["--output", "-", "--armor", "--detach-sign", &self.0.put("bytes", bytes)])
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--homedir", &self.0.path("."), "--kill", "all"]).status();
    }
}

/// Makes a policy of `repo` in this folder; why not, or the policy's digests.
fn create(folder: &Folder, kind: &str, more: &[&str]) -> Result<serde_json::Value, String> {
    let (repo, output) = (folder.path("repo"), folder.path("policy.json"));
    let _ = fs::remove_file(&output);
    let arguments = ["create", "runtime", kind, &repo, "-o", &output];
    let outcome = policy(&[&arguments, more].concat()).map_err(|failure| failure.to_string());
    assert_eq!(outcome.is_ok(), fs::exists(&output).unwrap(), "a policy is written if and only if all went well");
    outcome.map(|()| folder.json("policy.json")["digests"].clone())
}

/// Long before anybody looks; time stands still there, or a key could be younger than its signatures.
const PAST: &str = "--faked-system-time=20200101T000000!";

#[track_caller]
fn refused(outcome: Result<serde_json::Value, String>, expected: &str) {
    let reason = outcome.unwrap_err();
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn sources_without_a_single_package_are_refused() {
    let folder = Folder::new();
    debian(&folder);
    folder.put("repo/dists/stable/Release", debian(&folder));
    rpm(&folder, "sha256");
    folder.put(REPOMD, rpm(&folder, "sha256"));
    for kind in ["--deb-repository", "--rpm-repository"] {
        let typed = [UNSIGNED, &["--architecture", "x86-64"]].concat();
        refused(create(&folder, kind, &typed), "no package of the architectures");
    }
    folder.put("repo/no-package", b"");
    fs::remove_dir_all(folder.path("repo/pool")).unwrap();
    fs::remove_dir_all(folder.path("repo/Packages")).unwrap();
    refused(create(&folder, "--deb", &[]), "no package .deb below");
    refused(create(&folder, "--rpm", &[]), "no package .rpm below");
}

/// A repository with one package for amd64 and one for arm64; its Release text.
fn debian(folder: &Folder) -> String {
    let package = fs::read(build_deb(folder, "gzip")).unwrap();
    folder.put("repo/pool/x_1_amd64.deb", &package);
    let paragraph = |architecture: &str, name: &str| {
        let digest = sha256(&package);
        format!(
            "Package: x\nArchitecture: {architecture}\nDescription: a\n b: c\nFilename: {name}\nSize: {}\nSHA256: {digest}\n\n",
            package.len()
        )
    };
    let packages = paragraph("amd64", "pool/x_1_amd64.deb") + &paragraph("arm64", "./pool/not-mirrored.deb");
    let packed = compress("xz", packages.as_bytes());
    folder.put("repo/dists/stable/main/binary-amd64/Packages.xz", &packed);
    // Forms and architectures that are not there are no fault.
    format!(
        "Origin: Test\nSuite: stable\nCodename: trixie\nMD5Sum:\n 0123 1 main/binary-amd64/Packages\nSHA256:\n {0} 1 main/binary-amd64/Packages\n {1} {2} main/binary-amd64/Packages.xz\n {0} 1 main/binary-arm64/Packages.xz\n {0} 1 main/Contents-amd64\nAcquire-By-Hash: yes\n",
        sha256(packages.as_bytes()),
        sha256(&packed),
        packed.len()
    )
}

const IN_RELEASE: &str = "repo/dists/stable/InRelease";

#[test]
fn a_signed_debian_repository_gives_its_packages_files() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let release = debian(&folder);
    folder.put(IN_RELEASE, signer.clear_sign(&release));
    for armored in [true, false] {
        let key = signer.key(&folder, armored);
        let more = ["--repository-key", &key, "--architecture", "amd64", "--suite", "stable"];
        let digests = create(&folder, "--deb-repository", &more).unwrap();
        assert_eq!(digests["/usr/bin/tool"], serde_json::json!([sha256(b"tool")]));
    }
    let key = signer.key(&folder, true);
    let amd64 = ["--repository-key", &key, "--architecture", "amd64"];
    // The other way to sign.
    fs::remove_file(folder.path(IN_RELEASE)).unwrap();
    folder.put("repo/dists/stable/Release", &release);
    refused(create(&folder, "--deb-repository", &amd64), "there is none");
    folder.put("repo/dists/stable/Release.gpg", signer.sign(&release));
    create(&folder, "--deb-repository", &amd64).unwrap();
    folder.put("repo/dists/stable/Release", release + " ");
    refused(create(&folder, "--deb-repository", &amd64), "BADSIG");
}

#[test]
fn each_broken_link_of_a_debian_repositorys_chain_is_refused() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let release = debian(&folder);
    let signed = signer.clear_sign(&release);
    folder.put(IN_RELEASE, &signed);
    let key = signer.key(&folder, true);
    let with = |more: &[&str]| create(&folder, "--deb-repository", &[&["--architecture", "amd64"], more].concat());
    let checked = || with(&["--repository-key", &key]);
    checked().unwrap();

    refused(with(&[]), "whose signature");
    let stranger = Signer::new().key(&Folder(tempfile::TempDir::new_in(folder.path(".")).unwrap()), false);
    refused(with(&["--repository-key", &stranger]), "key");
    let no_key = folder.put("no-key", b"what is this");
    refused(with(&["--repository-key", &no_key]), "no OpenPGP public key");

    let text = String::from_utf8(signed.clone()).unwrap();
    folder.put(IN_RELEASE, text.replace("Origin: Test", "Origin: Best"));
    refused(checked(), "BADSIG");
    folder.put(IN_RELEASE, &release);
    refused(checked(), "signature");
    with(&["--danger-unsigned-repositories"]).unwrap();
    // What stands in front of the signed text is not of it.
    let elsewhere = format!("SHA256:\n {} 1 main/binary-amd64/Packages.xz\n\n", "00".repeat(32));
    folder.put(IN_RELEASE, elsewhere + &text);
    if let Ok(digests) = checked() {
        assert_eq!(digests["/usr/bin/tool"], serde_json::json!([sha256(b"tool")]));
    }
    folder.put(IN_RELEASE, &signed);

    let index = "repo/dists/stable/main/binary-amd64/Packages.xz";
    let packed = fs::read(folder.path(index)).unwrap();
    folder.put(index, compress("xz", b"Package: evil\n"));
    refused(checked(), "its index states");
    folder.put(index, &packed);

    let package = "repo/pool/x_1_amd64.deb";
    let mut bytes = fs::read(folder.path(package)).unwrap();
    // In the archive's first member, of which nothing else is read.
    let at = bytes.windows(4).position(|window| window == b"2.0\n").unwrap();
    bytes[at + 2] = b'1';
    folder.put(package, &bytes);
    refused(checked(), "not the one that the repository's index lists");
    bytes[at + 2] = b'0';
    bytes.push(b'\n');
    fs::remove_file(folder.path(package)).unwrap();
    refused(checked(), "x_1_amd64.deb");
    // arm64 is listed and was not mirrored.
    bytes.pop();
    folder.put(package, &bytes);
    refused(create(&folder, "--deb-repository", &["--repository-key", &key]), "not-mirrored.deb");
}

/// A repository of one folder, which nobody signed, with this list of packages.
fn flat(folder: &Folder, packages: &str) {
    folder.put("repo/Packages", packages);
    folder.put("repo/Release", format!("SHA256:\n {} {} Packages\n", sha256(packages.as_bytes()), packages.len()));
}

const UNSIGNED: &[&str] = &["--danger-unsigned-repositories"];

#[test]
fn signatures_that_do_not_count_any_more_are_refused() {
    let folder = Folder::new();
    let release = debian(&folder);
    let checked = |signer: &Signer, signed: &[u8]| {
        folder.put(IN_RELEASE, signed);
        create(
            &folder,
            "--deb-repository",
            &["--repository-key", &signer.key(&folder, true), "--architecture", "amd64"],
        )
    };
    let signer = Signer::new();
    checked(&signer, &signer.clear_sign(&release)).unwrap();
    refused(checked(&signer, &signer.clear_sign_with(&release, &["--digest-algo", "SHA1"])), "ERRSIG");
    let early = Signer::of(&[PAST, "--quick-generate-key", "Early <early@example.com>", "ed25519", "sign", "never"]);
    checked(&early, &early.clear_sign_with(&release, &[PAST])).unwrap();
    refused(checked(&early, &early.clear_sign_with(&release, &[PAST, "--default-sig-expire", "1d"])), "EXPSIG");
    // Of several signatures one has to be good, and none bad.
    let two = |other: &[u8]| {
        fs::remove_file(folder.path(IN_RELEASE)).unwrap();
        folder.put("repo/dists/stable/Release", &release);
        let good = signer.sign_binary(release.as_bytes());
        folder.put("repo/dists/stable/Release.gpg", [good.as_slice(), other].concat());
        create(
            &folder,
            "--deb-repository",
            &["--repository-key", &signer.key(&folder, true), "--architecture", "amd64"],
        )
    };
    two(&early.sign_binary(release.as_bytes())).unwrap();
    folder.put(IN_RELEASE, b"");
    refused(two(&signer.sign_binary(b"something else")), "BADSIG");
    let expired = Signer::expired();
    refused(checked(&expired, &expired.clear_sign_with(&release, &[PAST])), "EXPKEYSIG");
    let signed = signer.clear_sign(&release);
    signer.revoke();
    refused(checked(&signer, &signed), "REVKEYSIG");
}

#[test]
fn indexes_and_packages_of_another_size_than_listed_are_refused() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let (release, key) = (debian(&folder), signer.key(&folder, true));
    let checked = |release: &str| {
        folder.put(IN_RELEASE, signer.clear_sign(release));
        create(&folder, "--deb-repository", &["--repository-key", &key, "--architecture", "amd64"])
    };
    checked(&release).unwrap();
    let index = fs::metadata(folder.path("repo/dists/stable/main/binary-amd64/Packages.xz")).unwrap().len();
    refused(checked(&release.replace(&format!(" {index} main"), &format!(" {} main", index + 1))), "its index states");
    refused(checked(&release.replace(&format!(" {index} main"), " many main")), "a digest, a size and a name");

    let package = fs::read(build_deb(&folder, "none")).unwrap();
    folder.put("repo/x.deb", &package);
    let listed = |size: &str| {
        fs::remove_dir_all(folder.path("repo/dists")).unwrap_or_default();
        flat(&folder, &format!("Filename: x.deb\n{size}SHA256: {}\n", sha256(&package)));
        create(&folder, "--deb-repository", UNSIGNED)
    };
    listed(&format!("Size: {}\n", package.len())).unwrap();
    refused(listed(&format!("Size: {}\n", package.len() - 1)), "the repository's index states");
    refused(listed(""), "a SHA256 and a Size");
}

#[test]
fn a_release_that_is_out_of_date_or_of_another_suite_is_refused() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let (release, key) = (debian(&folder), signer.key(&folder, true));
    let amd64 = ["--repository-key", &key, "--architecture", "amd64"];
    let with = |release: &str, more: &[&str]| {
        folder.put(IN_RELEASE, signer.clear_sign(release));
        create(&folder, "--deb-repository", &[&amd64, more].concat())
    };
    let until = |until: &str| format!("Valid-Until: {until}\n{release}");
    with(&until("Tue, 01 Jan 2999 00:00:00 UTC"), &[]).unwrap();
    let past = until("Sat, 09 Oct 2021 09:34:56 UTC");
    refused(with(&past, &[]), "was valid until Sat, 09 Oct 2021");
    with(&past, &["--danger-expired-repositories"]).unwrap();
    refused(with(&until("tomorrow"), &[]), "expected Valid-Until as");
    refused(with(&format!("Valid-Until: Tue, 01 Jan 2999 00:00:00 UTC\n{past}"), &[]), "says Valid-Until twice");

    refused(with(&release.replace("Suite: stable", "Suite: oldstable"), &[]), "of oldstable, trixie, not of stable");
    // The folder may go by either name, or by none that is stated.
    with(&release.replace("Suite: stable\nCodename: trixie", "Suite: s\nCodename: stable"), &[]).unwrap();
    with(&release.replace("Suite: stable\nCodename: trixie\n", ""), &[]).unwrap();
}

#[test]
fn what_an_index_says_twice_in_two_ways_is_refused() {
    let (folder, digest) = (Folder::new(), "00".repeat(32));
    let unsigned = || create(&folder, "--deb-repository", UNSIGNED);
    let packages = |paragraphs: &str| {
        flat(&folder, paragraphs);
        unsigned()
    };
    let one = format!("Filename: x.deb\nSize: 1\nSHA256: {digest}\n");
    // Alike twice, it is one package, which is not there.
    refused(packages(&format!("{one}\n{one}")), "read");
    refused(
        packages(&format!("{one}\n{}", one.replace("SHA256: 00", "SHA256: 11"))),
        "x.deb with different digests twice",
    );
    for line in ["Filename: y.deb", "Size: 2", "Architecture: all\nArchitecture: amd64"] {
        refused(packages(&format!("{one}{line}\n")), "twice");
    }
    refused(packages(&format!("{one}SHA256: {digest}\n")), "twice");
    let release = |text: &str| {
        folder.put("repo/Release", text);
        unsigned()
    };
    refused(release(&format!("SHA256:\n {digest} 1 Packages\n {digest} 2 Packages\n")), "says Packages twice");
    refused(release(&format!("SHA256:\n {digest} 1 Packages\nSHA256:\n {digest} 2 Packages\n")), "says SHA256 twice");
}

#[test]
fn indexes_of_every_compression_are_read_and_none_unpacks_for_ever() {
    let folder = Folder::new();
    let package = fs::read(build_deb(&folder, "none")).unwrap();
    folder.put("repo/x.deb", &package);
    let listed = format!("Filename: x.deb\nSize: {}\nSHA256: {}\n", package.len(), sha256(&package));
    let index = |ending: &str, packed: &[u8]| {
        let _ = fs::remove_dir_all(folder.path("repo/a"));
        let name = format!("a/Packages{ending}");
        folder.put(&format!("repo/{name}"), packed);
        folder.put("repo/Release", format!("SHA256:\n {} {} {name}\n", sha256(packed), packed.len()));
        create(&folder, "--deb-repository", UNSIGNED)
    };
    for (how, ending) in
        [("none", ""), ("bzip2", ".bz2"), ("gzip", ".gz"), ("lzma", ".lzma"), ("xz", ".xz"), ("zstd", ".zst")]
    {
        index(ending, &compress(how, listed.as_bytes())).unwrap_or_else(|error| panic!("{how}: {error}"));
    }
    // Half a gibibyte of lines that a reader could take one by one.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let line = [[b'x'; 1 << 19].as_slice(), b"\n"].concat();
    (0..1025).for_each(|_| std::io::Write::write_all(&mut encoder, &line).unwrap());
    refused(index(".zst", &encoder.finish().unwrap()), "Packages.zst cannot be read");
    refused(index(".gz", &compress("gzip", &[b'x'; 2 << 20])), "lines of at most 1 MiB");
}

#[test]
fn names_that_lead_out_of_a_repository_are_refused() {
    let folder = Folder::new();
    for name in ["../x.deb", "/etc/passwd", "pool/../../x.deb"] {
        flat(&folder, &format!("Package: x\nFilename: {name}\nSize: 1\nSHA256: {}\n", "00".repeat(32)));
        refused(create(&folder, "--deb-repository", &["--danger-unsigned-repositories"]), "outside the repository");
    }
}

/// A repository of one package; its repomd.xml.
fn rpm(folder: &Folder, checksum: &str) -> String {
    let package = rpm_package(8);
    folder.put("repo/Packages/x.rpm", &package);
    let digest = if checksum == "sha512" { hex::encode(openssl::sha::sha512(&package)) } else { sha256(&package) };
    let listed = |arch: &str, name: &str| {
        format!(
            r#"<package type="rpm"><name>x</name><arch>{arch}</arch><version epoch="0" ver="1" rel="1"/><checksum type="{checksum}" pkgid="YES">{digest}</checksum><size package="{}" installed="4" archive="600"/><summary>a &lt;b&gt;</summary><location href="{name}"/><format><rpm:license>MIT</rpm:license><location href="/etc/passwd"/></format></package>"#,
            package.len()
        )
    };
    let primary = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="2">{}{}</metadata>"#,
        listed("x86_64", "Packages/x.rpm"),
        listed("src", "Packages/x.src.rpm"),
    );
    let packed = compress("gzip", primary.as_bytes());
    folder.put("repo/repodata/primary.xml.gz", &packed);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><repomd><revision>1</revision><data type="filelists"><checksum type="sha256">00</checksum><location href="repodata/filelists.xml.gz"/></data><data type="primary"><checksum type="sha256">{}</checksum><open-checksum type="sha256">00</open-checksum><size>{}</size><open-size>1</open-size><location href="repodata/primary.xml.gz"/></data></repomd>"#,
        sha256(&packed),
        packed.len()
    )
}

const REPOMD: &str = "repo/repodata/repomd.xml";

#[test]
fn a_signed_rpm_repository_gives_its_packages_files() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let key = signer.key(&folder, true);
    for checksum in ["sha256", "sha512"] {
        let metadata = rpm(&folder, checksum);
        folder.put(REPOMD, &metadata);
        folder.put("repo/repodata/repomd.xml.asc", signer.sign(&metadata));
        let digests = create(&folder, "--rpm-repository", &["--repository-key", &key]).unwrap();
        assert_eq!(digests, serde_json::json!({"/usr/bin/tool": [sha256(b"tool")]}));
    }
    refused(create(&folder, "--rpm-repository", &[]), "whose signature");
}

#[test]
fn each_broken_link_of_an_rpm_repositorys_chain_is_refused() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let (key, metadata) = (signer.key(&folder, true), rpm(&folder, "sha256"));
    folder.put(REPOMD, &metadata);
    let checked = || create(&folder, "--rpm-repository", &["--repository-key", &key]);
    refused(checked(), "there is none");
    folder.put("repo/repodata/repomd.xml.asc", signer.sign(&metadata));
    checked().unwrap();

    folder.put(REPOMD, metadata.replace("<revision>1", "<revision>2"));
    refused(checked(), "BADSIG");
    folder.put(REPOMD, &metadata);
    let primary = "repo/repodata/primary.xml.gz";
    let packed = fs::read(folder.path(primary)).unwrap();
    folder.put(primary, compress("gzip", b"<metadata></metadata>"));
    refused(checked(), "its index states");
    folder.put(primary, packed);
    let mut package = rpm_package(8);
    *package.last_mut().unwrap() ^= 1;
    folder.put("repo/Packages/x.rpm", &package);
    refused(checked(), "not the one that the repository's index lists");
    package.push(0);
    folder.put("repo/Packages/x.rpm", package);
    refused(checked(), "the repository's index states");
    fs::remove_file(folder.path("repo/Packages/x.rpm")).unwrap();
    refused(checked(), "x.rpm");
    folder.put("repo/Packages/x.rpm", rpm_package(8));

    // A digest that can be forged is none.
    let weak = rpm(&folder, "sha1");
    folder.put(REPOMD, &weak);
    folder.put("repo/repodata/repomd.xml.asc", signer.sign(&weak));
    refused(checked(), "for each package");
    for broken in ["<repomd><data type=\"primary\">", "what", "</repomd>", "<a><b><c></b></a>"] {
        folder.put(REPOMD, broken);
        create(&folder, "--rpm-repository", &["--danger-unsigned-repositories"]).unwrap_err();
    }
}

#[test]
fn rpm_metadata_signed_by_others_or_by_an_expired_key_is_refused() {
    let (folder, signer, expired) = (Folder::new(), Signer::new(), Signer::expired());
    let metadata = rpm(&folder, "sha256");
    folder.put(REPOMD, &metadata);
    let checked = |signature: Vec<u8>, key: &str| {
        folder.put("repo/repodata/repomd.xml.asc", signature);
        create(&folder, "--rpm-repository", &["--repository-key", key])
    };
    let key = signer.key(&folder, true);
    checked(signer.sign(&metadata), &key).unwrap();
    refused(checked(Signer::new().sign(&metadata), &key), "NO_PUBKEY");
    refused(checked(b"no signature".to_vec(), &key), "NODATA");
    let old = expired.gpg(&[PAST, "--output", "-", "--armor", "--detach-sign", &folder.path(REPOMD)]);
    refused(checked(old, &expired.key(&folder, true)), "EXPKEYSIG");
}

#[test]
fn rpm_metadata_that_contradicts_itself_or_the_files_is_refused() {
    let folder = Folder::new();
    let good = rpm(&folder, "sha256");
    let read = |metadata: &str| {
        folder.put(REPOMD, metadata);
        create(&folder, "--rpm-repository", UNSIGNED)
    };
    read(&good).unwrap();
    let data = good.split_once(r#"<data type="primary">"#).unwrap().1.strip_suffix("</repomd>").unwrap();
    let twice = good.replace("</repomd>", &format!(r#"<data type="primary">{data}</repomd>"#));
    refused(read(&twice), "says data of type primary twice");
    let again = |element: &str| good.replace("</data></repomd>", &format!("{element}</data></repomd>"));
    refused(read(&again(r#"<location href="x"/>"#)), "says location twice");
    refused(read(&again(r#"<checksum type="sha256">00</checksum>"#)), "says checksum twice");
    refused(read(&again("<size>1</size>")), "says size twice");
    refused(read(&good.replace("<open-size>1", "<open-size>2").replace("<size>", "<size>1")), "its index states");
    refused(read(&good.replace("<size>", "<size>x")), "a location and a SHA-256");
    for name in ["../primary.xml.gz", "/etc/passwd", "repodata/../../x"] {
        refused(read(&good.replace("repodata/primary.xml.gz", name)), "outside the repository");
    }
    refused(read(&good.replace("repodata/primary.xml.gz", "repodata/not-there.gz")), "no list of packages there");

    let primary =
        String::from_utf8(decompress(&fs::read(folder.path("repo/repodata/primary.xml.gz")).unwrap())).unwrap();
    let with_primary = |primary: &str| {
        let packed = compress("gzip", primary.as_bytes());
        folder.put("repo/repodata/primary.xml.gz", &packed);
        let data = format!(
            r#"<data type="primary"><checksum type="sha256">{}</checksum><location href="repodata/primary.xml.gz"/></data>"#,
            sha256(&packed)
        );
        read(&format!("<repomd>{data}</repomd>"))
    };
    with_primary(&primary).unwrap();
    refused(with_primary(&primary.replace("size package=\"", "size package=\"1")), "the repository's index states");
    refused(with_primary(&primary.replace("Packages/x.rpm", "../x.rpm")), "outside the repository");
    let other = primary.replace("<arch>src</arch>", "<arch>noarch</arch>").replace("x.src.rpm", "x.rpm");
    with_primary(&other).unwrap();
    let (first, second) = other.rsplit_once("YES\">").unwrap();
    refused(with_primary(&format!("{first}YES\">{}{}", "0".repeat(64), &second[64..])), "with different digests twice");
}

fn decompress(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
    bytes
}

#[test]
fn rpm_packages_count_only_with_a_trusted_signature_where_one_is_asked_for() {
    let (folder, signer) = (Folder::new(), Signer::new());
    let key = signer.key(&folder, false);
    let create = || create(&folder, "--rpm", &["--rpm-key", &key]);
    let good = signed_rpm_package(8, &|header| signer.sign_binary(header));
    folder.put("repo/x.rpm", &good);
    assert_eq!(create().unwrap(), serde_json::json!({"/usr/bin/tool": [sha256(b"tool")]}));
    folder.put("repo/x.rpm", rpm_package(8));
    refused(create(), "there is none");
    folder.put("repo/x.rpm", signed_rpm_package(8, &|header| signer.sign_binary(&header[1..])));
    refused(create(), "BADSIG");
    let other = Signer::new();
    folder.put("repo/x.rpm", signed_rpm_package(8, &|header| other.sign_binary(header)));
    refused(create(), "NO_PUBKEY");
}
