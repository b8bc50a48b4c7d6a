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
        let signer = Self(Folder::new());
        fs::set_permissions(signer.0.path("."), fs::Permissions::from_mode(0o700)).unwrap();
        signer.gpg(&["--quick-generate-key", "Test <test@example.com>", "ed25519", "sign", "never"]);
        signer
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
        self.gpg(&["--output", "-", "--clear-sign", &self.0.put("text", text)])
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

#[track_caller]
fn refused(outcome: Result<serde_json::Value, String>, expected: &str) {
    let reason = outcome.unwrap_err();
    assert!(reason.contains(expected), "{reason}");
}

/// A repository with one package for amd64 and one for arm64; its Release text.
fn debian(folder: &Folder) -> String {
    let package = fs::read(build_deb(folder, "gzip")).unwrap();
    folder.put("repo/pool/x_1_amd64.deb", &package);
    let paragraph = |architecture: &str, name: &str| {
        let digest = sha256(&package);
        format!(
            "Package: x\nArchitecture: {architecture}\nDescription: a\n b: c\nFilename: {name}\nSHA256: {digest}\n\n"
        )
    };
    let packages = paragraph("amd64", "pool/x_1_amd64.deb") + &paragraph("arm64", "./pool/not-mirrored.deb");
    let packed = compress("xz", packages.as_bytes());
    folder.put("repo/dists/stable/main/binary-amd64/Packages.xz", &packed);
    // Forms and architectures that are not there are no fault.
    format!(
        "Origin: Test\nMD5Sum:\n 0123 1 main/binary-amd64/Packages\nSHA256:\n {0} 1 main/binary-amd64/Packages\n {1} {2} main/binary-amd64/Packages.xz\n {0} 1 main/binary-arm64/Packages.xz\n {0} 1 main/Contents-amd64\nAcquire-By-Hash: yes\n",
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
    bytes.push(b'\n');
    folder.put(package, &bytes);
    refused(checked(), "not the one that the repository's index lists");
    fs::remove_file(folder.path(package)).unwrap();
    refused(checked(), "x_1_amd64.deb");
    // arm64 is listed and was not mirrored.
    bytes.pop();
    folder.put(package, &bytes);
    refused(create(&folder, "--deb-repository", &["--repository-key", &key]), "not-mirrored.deb");
}

#[test]
fn names_that_lead_out_of_a_repository_are_refused() {
    let folder = Folder::new();
    for name in ["../x.deb", "/etc/passwd", "pool/../../x.deb"] {
        let packages = format!("Package: x\nFilename: {name}\nSHA256: {}\n", "00".repeat(32));
        folder.put("repo/Packages", &packages);
        folder.put("repo/Release", format!("SHA256:\n {} 1 Packages\n", sha256(packages.as_bytes())));
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
            r#"<package type="rpm"><name>x</name><arch>{arch}</arch><version epoch="0" ver="1" rel="1"/><checksum type="{checksum}" pkgid="YES">{digest}</checksum><summary>a &lt;b&gt;</summary><location href="{name}"/><format><rpm:license>MIT</rpm:license><location href="/etc/passwd"/></format></package>"#
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
        r#"<?xml version="1.0" encoding="UTF-8"?><repomd><revision>1</revision><data type="filelists"><checksum type="sha256">00</checksum><location href="repodata/filelists.xml.gz"/></data><data type="primary"><checksum type="sha256">{}</checksum><open-checksum type="sha256">00</open-checksum><location href="repodata/primary.xml.gz"/></data></repomd>"#,
        sha256(&packed)
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
    package.extend(b"more payload");
    folder.put("repo/Packages/x.rpm", package);
    refused(checked(), "not the one that the repository's index lists");

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
