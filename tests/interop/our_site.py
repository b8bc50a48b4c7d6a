"""Our site: registrar, verifier and ledger as `attestry up`, and our own command lines."""

import json

from rack import until
from wire import Wire


class Site:
    def __init__(self, rack, programs):
        self.rack = rack
        self.programs = programs
        self.data = rack.folder / "site"
        self.tls = self.data / "tls"
        ports = ["--registrar-port", "0", "--registrar-tls-port", "0", "--verifier-port", "0", "--ledger-port", "0"]
        command = [programs / "attestry", "up", "--data", self.data, *ports]
        rack.start("attestry-up", [*command, "--interval-ms", "500", "--origin", "interop.example/attestry"])
        until("the site", self._is_up)
        self.endpoints = json.loads((self.data / "endpoints.json").read_text())
        self.wire = Wire(self.tls, self.port("verifier"), self.port("registrar_tls"), self.port("registrar"))

    def _is_up(self):
        self.rack.check_alive()
        return (self.data / "endpoints.json").exists()

    def port(self, server):
        return int(self.endpoints[server].rsplit(":", 1)[1])

    def trust(self, *certificates):
        self.rack.run("attestry", [self.programs / "attestry", "trust", "add", "--data", self.data, *certificates])

    def tenant(self, command, agent, *words, may_fail=False):
        """`attestry tenant …`"""
        line = [self.programs / "attestry", "tenant", command, agent.agent_id, "--data", self.data, *words]
        return self.rack.run("attestry", line, may_fail=may_fail)

    def audit(self, agent):
        """Exports this agent's history and verifies it offline; gives what the auditor says."""
        program, bundle = self.programs / "attestry-audit", self.rack.folder / f"bundle-{agent.agent_id}"
        key = ["--log-key", self.data / "log.vkey"]
        export = [program, "export", "--agent", agent.agent_id, "-o", bundle, *key]
        self.rack.run("audit", [*export, "--url", self.endpoints["ledger"], "--tls-dir", self.tls])
        verify = [program, "verify", bundle, *key, "--roots", agent.root, agent.issuer]
        return self.rack.run("audit", verify).stdout
