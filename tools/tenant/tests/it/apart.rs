//! The servers as processes of their own, on the data of a site that ran in one: each is killed in the middle.

use std::process::Command;

use serde_json::Value;

use crate::{
    machine::Machine,
    process::{Process, program, succeed, wait_until},
    site::Site,
};

/// Registrar, verifier and ledger apart, where the site listened.
struct Apart<'a> {
    site: &'a Site,
    ledger: Option<Process>,
    registrar: Option<Process>,
    verifier: Option<Process>,
}

impl<'a> Apart<'a> {
    fn start(site: &'a Site) -> Self {
        let mut apart = Self { site, ledger: None, registrar: None, verifier: None };
        apart.start_ledger();
        apart.start_registrar();
        apart.start_verifier();
        apart
    }

    fn address(&self, name: &str) -> String {
        self.site.endpoint(name).split_once("://").unwrap().1.to_owned()
    }

    fn start_ledger(&mut self) {
        let tls = self.site.data().join("tls");
        let mut command = Command::new(program("attestry-ledger"));
        command
            .args(["serve", "--listen", &self.address("ledger"), "--data"])
            .arg(self.site.data().join("ledger"))
            .arg("--tls-cert")
            .arg(tls.join("server-cert.crt"))
            .arg("--tls-key")
            .arg(tls.join("server-private.pem"))
            .arg("--client-ca")
            .arg(tls.join("cacert.crt"));
        self.ledger = Some(Process::start(&mut command, &self.site.log()));
    }

    fn start_registrar(&mut self) {
        let (data, tls) = (self.site.data(), self.site.data().join("tls"));
        let mut command = Command::new(program("attestry-registrar"));
        command
            .args(["--listen-tls", &self.address("registrar_tls"), "--listen-plain", &self.address("registrar")])
            .args(["--ledger-url", &self.site.endpoint("ledger"), "--data"])
            .arg(data.join("registrar"))
            .arg("--trust")
            .arg(data.join("trust"))
            .arg("--tls-cert")
            .arg(tls.join("server-cert.crt"))
            .arg("--tls-key")
            .arg(tls.join("server-private.pem"))
            .arg("--client-ca")
            .arg(tls.join("cacert.crt"))
            .arg("--ledger-cert")
            .arg(tls.join("registrar-cert.crt"))
            .arg("--ledger-key")
            .arg(tls.join("registrar-private.pem"));
        self.registrar = Some(Process::start(&mut command, &self.site.log()));
    }

    fn start_verifier(&mut self) {
        let data = self.site.data();
        let mut command = Command::new(program("attestry-verifier"));
        command
            .args(["--listen", &self.address("verifier"), "--ledger", &self.site.endpoint("ledger")])
            .args(["--interval-ms", "200", "--tls-dir"])
            .arg(data.join("tls"))
            .arg("--data")
            .arg(data.join("verifier"));
        self.verifier = Some(Process::start(&mut command, &self.site.log()));
    }

    /// The status, once the verifier answers.
    fn status(&self, machine: &Machine) -> Value {
        wait_until("the verifier", || {
            let output = self.site.tenant(&["status", &machine.id, "--json"]);
            serde_json::from_slice(&output.stdout).ok()
        })
    }

    fn passes(&self, machine: &Machine) -> u64 {
        self.status(machine).get("attestation_count").unwrap().as_u64().unwrap()
    }

    fn wait_for_fresh_passes(&self, machine: &Machine) {
        let before = self.passes(machine);
        wait_until("fresh passes", || (self.passes(machine) >= before + 2).then_some(()));
    }
}

#[test]
fn servers_apart_go_on_with_a_sites_data_and_survive_the_death_of_each() {
    let mut site = Site::start(None);
    let machine = site.attested("node-1", 2);
    let before = site.export(&machine, "before");
    assert_eq!(site.stop(), Some(0));
    let mut apart = Apart::start(&site);
    apart.wait_for_fresh_passes(&machine);

    apart.ledger = None;
    // Without the ledger nothing is counted, and the status says why.
    wait_until("the reason", || {
        let status = apart.status(&machine);
        status.get("reason")?.as_str()?.contains("ledger").then_some(())
    });
    let stalled = apart.passes(&machine);
    assert_eq!(apart.passes(&machine), stalled, "a pass was counted without the ledger");
    apart.start_ledger();
    apart.wait_for_fresh_passes(&machine);

    apart.verifier = None;
    apart.start_verifier();
    apart.wait_for_fresh_passes(&machine);

    apart.registrar = None;
    apart.start_registrar();
    let tenant = || {
        let mut command = Command::new(program("attestry"));
        command.args(["tenant", "update", "node-1", "--data"]).arg(site.data());
        command
    };
    // An update reads the registrar's book and the ledger's record again.
    wait_until("the registrar", || crate::process::run(&mut tenant()).status.success().then_some(()));
    succeed(&mut tenant());
    apart.wait_for_fresh_passes(&machine);

    let after = site.export(&machine, "after");
    let (code, report) = site.verify(&machine, &after);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(site.verify(&machine, &before).0, 0, "the old bundle must stay good");
}
