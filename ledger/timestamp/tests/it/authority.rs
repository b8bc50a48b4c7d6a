//! An authority of openssl's, made anew for each test.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A certificate authority, and a time-stamping authority under it.
pub(crate) struct Authority {
    folder: TempDir,
}

/// What the time-stamping certificate says.
pub(crate) struct Certificate {
    pub(crate) days: &'static str,
    pub(crate) usage: &'static str,
}

impl Default for Certificate {
    fn default() -> Self {
        Self { days: "30", usage: "critical,timeStamping" }
    }
}

impl Authority {
    pub(crate) fn new(certificate: &Certificate) -> Self {
        let authority = Self { folder: tempfile::tempdir().unwrap() };
        authority.write("serial", "01\n");
        authority.write("index.txt", "");
        authority.write("crlnumber", "01\n");
        authority
            .write("usage", &format!("extendedKeyUsage={}\nkeyUsage=critical,digitalSignature\n", certificate.usage));
        authority.write("openssl.cnf", CONFIG);
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let root = ["req", "-x509", "-days", "60", "-subj", "/CN=test root", "-out", "ca.pem", "-keyout", "ca.key"];
        authority.openssl(&[&root[..], &key].concat());
        let tsa = ["req", "-subj", "/CN=test tsa", "-out", "tsa.csr", "-keyout", "tsa.key"];
        authority.openssl(&[&tsa[..], &key].concat());
        authority.openssl(&[
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-set_serial",
            "4660",
            "-days",
            certificate.days,
            "-extfile",
            "usage",
            "-out",
            "tsa.pem",
        ]);
        authority
    }

    pub(crate) fn reply(&self, request: &[u8]) -> Vec<u8> {
        std::fs::write(self.path("request.tsq"), request).unwrap();
        self.openssl(&["ts", "-reply", "-config", "openssl.cnf", "-queryfile", "request.tsq", "-out", "response.tsr"]);
        self.read("response.tsr")
    }

    /// A token that signs any statement: openssl's CMS asks nothing of the certificate.
    pub(crate) fn sign(&self, statement: &[u8]) -> Vec<u8> {
        std::fs::write(self.path("statement"), statement).unwrap();
        self.openssl(&[
            "cms",
            "-sign",
            "-binary",
            "-nodetach",
            "-nosmimecap",
            "-cades",
            "-econtent_type",
            "1.2.840.113549.1.9.16.1.4",
            "-signer",
            "tsa.pem",
            "-inkey",
            "tsa.key",
            "-md",
            "sha256",
            "-in",
            "statement",
            "-outform",
            "DER",
            "-out",
            "forged.der",
        ]);
        self.read("forged.der")
    }

    /// The statement in a token.
    pub(crate) fn statement(&self, token: &[u8]) -> Vec<u8> {
        std::fs::write(self.path("token.der"), token).unwrap();
        self.openssl(&["cms", "-verify", "-noverify", "-inform", "DER", "-in", "token.der", "-out", "statement"]);
        self.read("statement")
    }

    /// A revocation list, after the time-stamping certificate was revoked for `reason`, if one is
    /// given; the revocation is of the present second.
    pub(crate) fn revocation_list(&self, reason: Option<&str>) -> Vec<u8> {
        if let Some(reason) = reason {
            self.openssl(&["ca", "-config", "openssl.cnf", "-revoke", "tsa.pem", "-crl_reason", reason]);
        }
        self.openssl(&["ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem"]);
        self.read("crl.pem")
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Whether `openssl ts` itself believes a response.
    pub(crate) fn openssl_believes(&self, data: &[u8]) -> bool {
        std::fs::write(self.path("data"), data).unwrap();
        let arguments =
            ["ts", "-verify", "-data", "data", "-in", "response.tsr", "-CAfile", "ca.pem", "-untrusted", "tsa.pem"];
        command(self.folder.path(), &arguments).status().unwrap().success()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = command(self.folder.path(), arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(arguments)
        .current_dir(folder)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    command
}

const CONFIG: &str = "\
[tsa]
default_tsa = tsa1
[tsa1]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500
ess_cert_id_alg = sha256
[ca]
default_ca = ca1
[ca1]
database = index.txt
crlnumber = crlnumber
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 30
";
