//! A site of `attestry up`, and the operator's and auditor's commands against it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    machine::Machine,
    process::{Process, program, run, succeed, text, wait_until},
};

pub(crate) const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(crate) struct Site {
    /// Everything of a test is below.
    pub(crate) folder: TempDir,
    pub(crate) webhook: Option<String>,
    process: Option<Process>,
}

impl Site {
    /// A site that runs.
    pub(crate) fn start(webhook: Option<String>) -> Self {
        let mut site = Self { folder: TempDir::new().unwrap(), webhook, process: None };
        site.launch(["0"; 4].map(str::to_owned));
        site
    }

    /// kill -9 for registrar, verifier and ledger at once.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// An orderly stop; the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.process.take().unwrap().stop()
    }

    /// Starts again where it listened before.
    pub(crate) fn restart(&mut self) {
        let ports = ["registrar", "registrar_tls", "verifier", "ledger"]
            .map(|name| self.endpoint(name).rsplit_once(':').unwrap().1.to_owned());
        self.launch(ports);
    }

    fn launch(&mut self, [registrar, registrar_tls, verifier, ledger]: [String; 4]) {
        let endpoints = self.data().join("endpoints.json");
        let _ = fs::remove_file(&endpoints);
        let mut command = Command::new(program("attestry"));
        command
            .args(["up", "--interval-ms", "200", "--origin", "test.example/log"])
            .args(["--registrar-port", &registrar, "--registrar-tls-port", &registrar_tls])
            .args(["--verifier-port", &verifier, "--ledger-port", &ledger])
            .arg("--data")
            .arg(self.data());
        if let Some(url) = &self.webhook {
            command.args(["--webhook", url]);
        }
        let mut process = Some(Process::start(&mut command, &self.log()));
        wait_until("the site", || endpoints.exists().then_some(()));
        self.process = process.take();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("site.log")
    }

    pub(crate) fn endpoint(&self, name: &str) -> String {
        let text = fs::read(self.data().join("endpoints.json")).unwrap();
        let value: Value = serde_json::from_slice(&text).unwrap();
        value.get(name).unwrap().as_str().unwrap().to_owned()
    }

    pub(crate) fn client_ca(&self) -> PathBuf {
        self.data().join("tls/cacert.crt")
    }

    /// A machine whose TPM this site trusts.
    pub(crate) fn machine(&self, id: &str) -> Machine {
        let machine = Machine::new(self.folder.path(), id);
        self.trust(&machine, id);
        machine
    }

    /// Trusts the maker of a machine's TPM; `label` tells the files of several makers apart.
    pub(crate) fn trust(&self, machine: &Machine, label: &str) {
        // Each TPM has a CA of its own whose files have the same names.
        for (number, certificate) in machine.tpm.ca_certificates().iter().enumerate() {
            let renamed = self.folder.path().join(format!("{label}-{number}.pem"));
            fs::copy(certificate, &renamed).unwrap();
            succeed(
                Command::new(program("attestry")).args(["trust", "add"]).arg(&renamed).arg("--data").arg(self.data()),
            );
        }
    }

    /// Starts a machine's agent and waits until it is active.
    pub(crate) fn enrol(&self, machine: &mut Machine) {
        machine.start_agent(&self.endpoint("registrar"), &self.client_ca());
    }

    /// A machine that is enrolled, added without a payload, and has passed so often.
    pub(crate) fn attested(&self, id: &str, passes: u64) -> Machine {
        let mut machine = self.machine(id);
        self.enrol(&mut machine);
        let added = self.add(&machine, None);
        assert!(added.status.success(), "{}", text(&added));
        self.wait_for_passes(&machine, passes);
        machine
    }

    /// `attestry tenant …`.
    pub(crate) fn tenant(&self, arguments: &[&str]) -> Output {
        run(Command::new(program("attestry")).arg("tenant").args(arguments).arg("--data").arg(self.data()))
    }

    /// Adds a machine whose PCRs 15 and 23 must be zero.
    pub(crate) fn add(&self, machine: &Machine, payload: Option<&Path>) -> Output {
        let policy = format!(r#"{{"15": ["{ZEROS}"], "23": "{ZEROS}"}}"#);
        let mut arguments = vec!["add", &machine.id, "--tpm-policy", &policy, "--label", "role=hypervisor"];
        let payload = payload.map(|path| path.to_str().unwrap().to_owned());
        if let Some(payload) = &payload {
            arguments.extend(["--payload", payload]);
        }
        self.tenant(&arguments)
    }

    pub(crate) fn status(&self, machine: &Machine) -> Value {
        let output = self.tenant(&["status", &machine.id, "--json"]);
        assert!(output.status.success(), "status failed: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn wait_for_status(&self, machine: &Machine, member: &str, wanted: &str) {
        wait_until(&format!("{member} {wanted} of {}", machine.id), || {
            (self.status(machine).get(member)?.as_str()? == wanted).then_some(())
        });
    }

    pub(crate) fn passes(&self, machine: &Machine) -> u64 {
        self.status(machine).get("attestation_count").unwrap().as_u64().unwrap()
    }

    pub(crate) fn wait_for_passes(&self, machine: &Machine, count: u64) {
        wait_until(&format!("{count} passes"), || (self.passes(machine) >= count).then_some(()));
    }

    /// Exports a machine's whole history; the bundle's folder.
    pub(crate) fn export(&self, machine: &Machine, name: &str) -> PathBuf {
        let bundle = self.folder.path().join(name);
        succeed(
            Command::new(program("attestry-audit"))
                .args(["export", "--agent", &machine.id, "--url", &self.endpoint("ledger")])
                .arg("--tls-dir")
                .arg(self.data().join("tls"))
                .arg("-o")
                .arg(&bundle),
        );
        bundle
    }

    /// Verifies a bundle with the key and roots kept outside it; exit code and report.
    pub(crate) fn verify(&self, machine: &Machine, bundle: &Path) -> (i32, Value) {
        let output = run(Command::new(program("attestry-audit"))
            .arg("verify")
            .arg(bundle)
            .args(["--json", "--agent", &machine.id])
            .arg("--log-key")
            .arg(self.data().join("log.vkey"))
            .arg("--roots")
            .args(machine.tpm.ca_certificates()));
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), report)
    }
}

/// The places in the log of a bundle's entries of one kind, ascending.
pub(crate) fn indices(bundle: &Path, kind: &str) -> Vec<u64> {
    let manifest: Value = serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
    let entries = manifest.get("entries").unwrap().as_array().unwrap();
    let of_kind = entries.iter().filter(|entry| entry.get("kind").unwrap() == kind);
    of_kind.map(|entry| entry.get("index").unwrap().as_u64().unwrap()).collect()
}

/// The entries of a bundle by kind, in the chain's order.
pub(crate) fn kinds(bundle: &Path) -> Vec<(u64, String)> {
    let manifest: Value = serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
    let entries = manifest.get("entries").unwrap().as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let seq = entry.get("seq").unwrap().as_u64().unwrap();
            (seq, entry.get("kind").unwrap().to_string().trim_matches('"').to_owned())
        })
        .collect()
}
