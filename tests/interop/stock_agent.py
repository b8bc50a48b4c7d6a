"""The stock agent with our registrar, verifier, ledger and tenant."""

import json
import os

from machine import ZEROS, Machine, may_mount
from rack import claim, say, step, until
from our_site import Site
from wire import ask_agent

POLICY = json.dumps({"15": [ZEROS], "23": [ZEROS]})
ROOTKIT = "ab" * 32
# The stock agent takes UUIDs alone for ids.
AGENT_ID = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"


def show(rack, programs, binary):
    step("C. The stock agent, our servers, our tenant")
    if not may_mount():
        say("skipped: the stock agent takes payloads in a tmpfs alone, and this user may not mount one")
        return None
    site = Site(rack, programs)
    machine = StockMachine(rack, AGENT_ID, binary)
    site.trust(machine.root, machine.issuer)
    machine.start_stock_agent(site)
    until("the registration", lambda: machine.is_registered(site))
    say("✓ it registered, and activated the credential that our registrar made")

    answers = ask_agent(site.wire, machine.agent_id)
    withheld(rack, site, machine)
    provisioned(rack, site, machine)
    restarted(site, machine)
    tampered(site, machine)
    verdict = site.audit(machine)
    say("✓ the auditor verifies this history offline:")
    say("  " + verdict.strip().splitlines()[0])
    site.tenant("delete", machine, "--registrar")
    gone = site.tenant("status", machine, may_fail=True)
    claim("delete --registrar: gone", gone.returncode == 1 and not machine.is_registered(site), gone.stderr)
    return answers


class StockMachine(Machine):
    """A machine with the stock agent, which keeps the TPM to itself while it runs."""

    def __init__(self, rack, name, binary):
        super().__init__(rack, name)
        self.binary = binary

    def start_stock_agent(self, site):
        self.rack.mounts.append(self.secure)
        options = {
            "UUID": self.agent_id,
            "IP": "127.0.0.1",
            "PORT": self.port,
            "CONTACT_IP": "127.0.0.1",
            "CONTACT_PORT": self.port,
            "REGISTRAR_IP": "127.0.0.1",
            "REGISTRAR_PORT": site.port("registrar"),
            "TRUSTED_CLIENT_CA": site.tls / "cacert.crt",
            "RUN_AS": "",
            "IMA_ML_PATH": self.ima_list,
            "MEASUREDBOOT_ML_PATH": self.boot_log,
        }
        environment = {**os.environ, "TCTI": self.tcti, "KEYLIME_DIR": str(self.state), "RUST_LOG": "info"}
        environment.update({f"KEYLIME_AGENT_{name}": str(value) for name, value in options.items()})
        environment["KEYLIME_AGENT_CONFIG"] = str(self.folder / "agent.conf")
        (self.folder / "agent.conf").write_text("[agent]\n")
        self.agent = self.rack.start(f"agent-{self.agent_id}", [self.binary], environment)

    def is_registered(self, site):
        self.rack.check_alive()
        status, _ = site.wire.ask("registrar", "GET", f"/v2.6/agents/{self.agent_id}")
        return status == 200

    def between_two_runs(self, site, work):
        """Stops the agent, does something with its TPM, and starts it again."""
        self.rack.stop(self.agent)
        # Without a resource manager in between, what a stopped process loaded stays in the TPM's few slots.
        self.forget_transient_objects()
        work()
        self.start_stock_agent(site)


def withheld(rack, site, machine):
    payload = rack.folder / "withheld.txt"
    payload.write_text("never to be seen\n")
    policy = json.dumps({"15": ["11" * 32]})
    added = site.tenant("add", machine, "--tpm-policy", policy, "--payload", payload, "--wait", "30", may_fail=True)
    claim("tenant add under a policy the machine breaks fails", added.returncode == 1, added.stdout + added.stderr)
    found = site.wire.agent(machine.agent_id)
    claim("its key is withheld", (found["attestation_status"], found["key_state"]) == ("FAIL", "withheld"), found)
    claim("and no payload arrived", machine.payload() is None)
    site.tenant("delete", machine)


def provisioned(rack, site, machine):
    payload = rack.folder / "payload.txt"
    payload.write_text("the database password is swordfish\n")
    site.tenant("add", machine, "--tpm-policy", POLICY, "--payload", payload, "--wait", "30")
    until("the payload", lambda: machine.payload() == payload.read_bytes())
    say("✓ tenant add: the first quote passed, the payload arrived, byte for byte")
    until("five attestations", lambda: site.wire.agent(machine.agent_id)["attestation_count"] >= 5)
    found = site.wire.agent(machine.agent_id)
    claim("it attests again and again", (found["attestation_status"], found["key_state"]) == ("PASS", "released"), found)


def restarted(site, machine):
    counts = []
    machine.between_two_runs(site, lambda: counts.append(site.wire.agent(machine.agent_id)["attestation_count"]))
    until("attestations after its restart", lambda: site.wire.agent(machine.agent_id)["attestation_count"] >= counts[0] + 3)
    found = site.wire.agent(machine.agent_id)
    claim("its agent restarted, it attests again", found["attestation_status"] == "PASS", found)


def tampered(site, machine):
    machine.between_two_runs(site, lambda: machine.extend(23, ROOTKIT))
    until("the failing verdict", lambda: site.wire.agent(machine.agent_id)["last_event_id"] == "pcr_validation.invalid_pcr_23")
    found = site.wire.agent(machine.agent_id)
    claim("after tpm2_pcrextend it fails", found["attestation_status"] == "FAIL", found)
