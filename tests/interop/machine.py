"""A machine: a fresh software TPM with a certified EK, and an agent on it, ours or another."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile

from rack import Failed, free_port, free_port_pair, until

ZEROS = "00" * 32


class Machine:
    """One TPM in a folder of its own. PCRs 15 and 23 are zero at first."""

    def __init__(self, rack, name):
        self.rack = rack
        self.agent_id = name
        self.folder = rack.folder / name
        self.state = self.folder / "agent"
        self.secure = self.state / "secure"
        self.ready = self.folder / "ready.json"
        self.agent = None
        self.port = free_port()
        self.ima_list = self.folder / "ima-list"
        self.boot_log = self.folder / "boot-log"
        self._manufacture()
        self._power_on()
        self.ima_list.write_text("".join(ima_entry(path) for path in ["boot_aggregate", "/init", "/usr/bin/bash"]))
        # An agent hands it on as it is.
        self.boot_log.write_bytes(bytes(range(256)))

    def _manufacture(self):
        tpm = self.folder / "tpm"
        (tpm / "ca").mkdir(parents=True)
        (tpm / "state").mkdir()
        self.state.mkdir(mode=0o700)
        self.root = tpm / "ca/swtpm-localca-rootca-cert.pem"
        self.issuer = tpm / "ca/issuercert.pem"
        names = {"statedir": "", "signingkey": "signkey.pem", "issuercert": "issuercert.pem", "certserial": "certserial"}
        (tpm / "localca.conf").write_text("".join(f"{key} = {tpm / 'ca' / name}\n" for key, name in names.items()))
        (tpm / "localca.options").write_text(
            "--platform-manufacturer Attestry\n--platform-version 1\n--platform-model interop\n"
        )
        (tpm / "setup.conf").write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {tpm / 'localca.conf'}\n"
            f"create_certs_tool_options = {tpm / 'localca.options'}\n"
        )
        setup = ["swtpm_setup", "--tpm2", "--tpm-state", tpm / "state", "--createek", "--create-ek-cert"]
        self.rack.run("swtpm_setup", [*setup, "--pcr-banks", "sha256", "--config", tpm / "setup.conf"])

    def _power_on(self):
        port = free_port_pair()
        self.tcti = f"swtpm:host=127.0.0.1,port={port}"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder / 'tpm/state'}"]
        command += ["--flags", "not-need-init,startup-clear", "--server", f"type=tcp,port={port},bindaddr=127.0.0.1"]
        self.rack.start(f"swtpm-{self.agent_id}", [*command, "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"])
        until("the software TPM", lambda: self._tpm2("getcap", "handles-persistent", may_fail=True).returncode == 0)

    def _tpm2(self, tool, *words, may_fail=False):
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti}
        return self.rack.run("tpm2-tools", [f"tpm2_{tool}", *words], environment, may_fail)

    def extend(self, pcr, digest):
        """Measures something that no policy knows of."""
        self._tpm2("pcrextend", f"{pcr}:sha256={digest}")

    def reset(self, pcr):
        """Back to zero; works for PCR 23 alone, which applications may reset."""
        self._tpm2("pcrreset", str(pcr))

    def forget_transient_objects(self):
        self._tpm2("flushcontext", "--transient-object")

    def start_agent(self, binary, registrar_port, client_authority, *more):
        """Starts our agent and waits until the registrar has activated it."""
        command = [binary, "--tcti", self.tcti, "--keylime-dir", self.state, "--port", self.port]
        command += ["--uuid", self.agent_id, "--registrar-ip", "127.0.0.1", "--registrar-port", registrar_port]
        command += ["--trusted-client-ca", client_authority, "--ready-file", self.ready]
        # The host's lists are not this machine's.
        command += ["--ima-ml-path", self.ima_list, "--measuredboot-ml-path", self.boot_log]
        command += more
        if may_mount():
            self.rack.mounts.append(self.secure)
        else:
            command += ["--danger-payload-on-disk", "true"]
        self.agent = self.rack.start(f"agent-{self.agent_id}", command)
        until("the agent's registration", lambda: self._is_ready(self.agent))

    def _is_ready(self, agent):
        if agent.poll() is not None:
            raise Failed(f"the agent ended by itself with exit code {agent.returncode}")
        return self.ready.exists() and json.loads(self.ready.read_text())["agent_id"] == self.agent_id

    def payload_file(self, name):
        """A file of what was delivered, or None."""
        path = self.secure / "unzipped" / name
        return path.read_bytes() if path.exists() else None

    def payload(self):
        return self.payload_file("decrypted_payload")


def ima_entry(path):
    """A line of the kernel's list, template ima-ng, for a file whose content is its path."""
    digest = b"sha256:\0" + hashlib.sha256(path.encode()).digest()
    name = path.encode() + b"\0"
    data = b"".join(len(field).to_bytes(4, "little") + field for field in (digest, name))
    return f"10 {hashlib.sha1(data).hexdigest()} ima-ng sha256:{hashlib.sha256(path.encode()).hexdigest()} {path}\n"


def may_mount():
    """Whether this process may mount a tmpfs, as an agent does for payloads; root in a container often may not."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "none", folder], stderr=subprocess.DEVNULL, check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0
