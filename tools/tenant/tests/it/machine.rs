//! A machine: a software TPM and an agent.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use fixtures_swtpm::Swtpm;
use tempfile::TempDir;

use crate::process::{Process, program, succeed, wait_until};

pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) tpm: Swtpm,
    agent: Option<Process>,
    folder: PathBuf,
    port: u16,
    /// In memory, as the agent wants it for keys and payloads.
    secure: TempDir,
}

impl Machine {
    /// A fresh TPM; the agent does not run yet.
    pub(crate) fn new(folder: &Path, id: &str) -> Self {
        let folder = folder.join(format!("machine-{id}"));
        fs::create_dir_all(&folder).unwrap();
        let tpm = Swtpm::start(&folder).unwrap_or_else(|error| panic!("{error}"));
        // The agent keeps its port over restarts, as a configured one does.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let secure = TempDir::new_in("/dev/shm").unwrap();
        Self { id: id.to_owned(), tpm, agent: None, folder, port, secure }
    }

    /// Starts the agent without waiting for its registration.
    pub(crate) fn launch_agent(&mut self, registrar: &str, client_ca: &Path) {
        let ready = self.ready_file();
        let _ = fs::remove_file(&ready);
        let port = registrar.rsplit_once(':').unwrap().1;
        let mut command = Command::new(program("attestry-agent"));
        command
            .args(["--tcti", &self.tpm.tcti(), "--uuid", &self.id, "--registrar-ip", "127.0.0.1"])
            .args(["--registrar-port", port, "--port", &self.port.to_string()])
            .arg("--ima-ml-path")
            .arg(self.measurement_list())
            .arg("--measuredboot-ml-path")
            .arg(self.boot_log())
            .arg("--keylime-dir")
            .arg(self.folder.join("agent"))
            .arg("--secure-dir")
            .arg(self.secure.path().join("secure"))
            .arg("--trusted-client-ca")
            .arg(client_ca)
            .arg("--ready-file")
            .arg(&ready);
        self.agent = Some(Process::start(&mut command, &self.log()));
    }

    /// Starts the agent and waits until it is registered and active.
    pub(crate) fn start_agent(&mut self, registrar: &str, client_ca: &Path) {
        self.launch_agent(registrar, client_ca);
        wait_until("the registration", || self.ready_file().exists().then_some(()));
    }

    pub(crate) fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// Switches the machine off in order and on again. A TPM that loses power too often without notice takes that for
    /// guessing at its keys and locks itself.
    pub(crate) fn reboot(&mut self) {
        self.kill_agent();
        succeed(Command::new("tpm2_shutdown").arg("-T").arg(self.tpm.tcti()).arg("--clear"));
        self.tpm.reboot().unwrap();
    }

    /// Extends a register behind everyone's back.
    pub(crate) fn measure(&self, pcr: u8) {
        let digest = "ab".repeat(32);
        succeed(Command::new("tpm2_pcrextend").arg("-T").arg(self.tpm.tcti()).arg(format!("{pcr}:sha256={digest}")));
    }

    /// Extends registers with digests of SHA-256, in this order.
    pub(crate) fn extend(&self, extensions: &[(u8, [u8; 32])]) {
        let mut command = Command::new("tpm2_pcrextend");
        command.arg("-T").arg(self.tpm.tcti());
        for (register, digest) in extensions {
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            command.arg(format!("{register}:sha256={digest}"));
        }
        succeed(&mut command);
    }

    /// What the kernel would show as IMA's list; not there before the first entry.
    pub(crate) fn measurement_list(&self) -> PathBuf {
        self.folder.join("ascii_runtime_measurements")
    }

    /// What the kernel would show as the firmware's event log.
    pub(crate) fn boot_log(&self) -> PathBuf {
        self.folder.join("binary_bios_measurements")
    }

    /// The payload, once it is there.
    pub(crate) fn payload(&self) -> Option<Vec<u8>> {
        fs::read(self.secure.path().join("secure/unzipped/decrypted_payload")).ok()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join("ready.json")
    }
}
