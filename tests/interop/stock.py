"""The stock Keylime programs, each under a configuration of its own, all state in one folder."""

import json
import os
import pathlib
import re
import shutil
import socket
import ssl

from rack import free_port, until
from wire import Wire

VERSION = "7.14.3"


class Stock:
    """The stock programs of the virtual environment `venv`, working in `folder`."""

    def __init__(self, rack, venv, folder):
        self.rack = rack
        self.programs = pathlib.Path(venv).absolute() / "bin"
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o700)
        self.trust = self.folder / "tpm_cert_store"
        self.trust.mkdir()
        self.environment = {**os.environ, "KEYLIME_DIR": str(self.folder), "TMPDIR": str(self.folder)}
        # Python would keep lines to itself until there are many.
        self.environment["PYTHONUNBUFFERED"] = "1"
        self._configure("logging", "root", LOGGING)
        self._configure("ca", "ca", CA)

    def _configure(self, component, section, options):
        """One file per component, named in the environment, so that no file elsewhere is read."""
        path = self.folder / f"{component}.conf"
        if isinstance(options, str):
            path.write_text(options)
        else:
            path.write_text(f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
        self.environment[f"KEYLIME_{component.upper()}_CONFIG"] = str(path)
        return path

    def trust_tpm(self, certificate, name="vendor.pem"):
        shutil.copy(certificate, self.trust / name)

    def use_servers(self, tls_dir, verifier_port, registrar_tls_port, registrar_port):
        """Where the tenant finds the servers, and whose certificates it shows and trusts."""
        self.wire = Wire(pathlib.Path(tls_dir), verifier_port, registrar_tls_port, registrar_port)
        options = {
            **TENANT,
            "tls_dir": tls_dir,
            "trusted_server_ca": f"['{pathlib.Path(tls_dir) / 'cacert.crt'}']",
            "registrar_port": registrar_tls_port,
            "verifier_port": verifier_port,
            "tpm_cert_store": self.trust,
        }
        self._configure("tenant", "tenant", options)

    def accept_ecdsa(self):
        """What the tenant's lists have to say for P-384 keys; by default they do not."""
        self.environment["KEYLIME_TENANT_ACCEPT_TPM_ENCRYPTION_ALGS"] = "['ecc384']"
        self.environment["KEYLIME_TENANT_ACCEPT_TPM_SIGNING_ALGS"] = "['ecdsa']"

    def start_servers(self):
        """A verifier, which makes its certificates, and a registrar, which uses them; gives the registrar's plain port."""
        ports = {name: free_port() for name in ("verifier", "registrar", "registrar_tls")}
        verifier = {**VERIFIER, "port": ports["verifier"], "registrar_port": ports["registrar_tls"]}
        path = self._configure("verifier", "verifier", verifier)
        with open(path, "a", encoding="utf-8") as file:
            file.write(REVOCATIONS)
        registrar = {**REGISTRAR, "port": ports["registrar"], "tls_port": ports["registrar_tls"]}
        self._configure("registrar", "registrar", registrar)
        self.rack.start("stock-verifier", [self.programs / "keylime_verifier"], self.environment)
        until("the stock verifier", lambda: self._answers(ports["verifier"]))
        self.rack.start("stock-registrar", [self.programs / "keylime_registrar"], self.environment)
        until("the stock registrar", lambda: self._answers(ports["registrar_tls"]))
        self.use_servers(self.folder / "cv_ca", ports["verifier"], ports["registrar_tls"], ports["registrar"])
        return ports["registrar"]

    def _answers(self, port):
        self.rack.check_alive()
        context = ssl.create_default_context()
        # Only whether somebody speaks TLS there.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                with context.wrap_socket(connection):
                    return True
        except OSError:
            return False

    def tenant(self, command, *words, agent=None, may_fail=False):
        """`keylime_tenant -c command …`; gives its exit code and everything it printed."""
        command_line = [self.programs / "keylime_tenant", "-c", command]
        if agent is not None:
            command_line += ["-u", agent.agent_id]
        done = self.rack.run("stock-tenant", [*command_line, *words], self.environment, may_fail)
        return Answer(done.returncode, done.stdout + done.stderr)


class Answer:
    """What a command of the tenant said."""

    def __init__(self, code, text):
        self.code = code
        self.text = text

    def json_after(self, title):
        """The JSON that the tenant logs behind a line with this title."""
        found = re.search(re.escape(title) + r"[^\n]*\n(\{.*)", self.text)
        return json.loads(found.group(1)) if found else None

    def last_line(self):
        lines = self.text.strip().splitlines()
        return lines[-1] if lines else ""


TENANT = {
    "version": "2.6",
    "verifier_ip": "127.0.0.1",
    "registrar_ip": "127.0.0.1",
    "enable_agent_mtls": "True",
    "client_key": "default",
    "client_key_password": "",
    "client_cert": "default",
    "max_payload_size": "1048576",
    "accept_tpm_hash_algs": "['sha512', 'sha384', 'sha256']",
    "accept_tpm_encryption_algs": "['ecc', 'rsa']",
    "accept_tpm_signing_algs": "['ecschnorr', 'rsassa']",
    "exponential_backoff": "False",
    "retry_interval": "0.5",
    "max_retries": "40",
    "request_timeout": "30",
    "require_ek_cert": "True",
    "ek_check_script": "",
    "mb_refstate": "",
}

VERIFIER = {
    "version": "2.6",
    "uuid": "default",
    "ip": "127.0.0.1",
    "registrar_ip": "127.0.0.1",
    "enable_agent_mtls": "True",
    "tls_dir": "generate",
    "server_key": "default",
    "server_key_password": "",
    "server_cert": "default",
    "trusted_client_ca": "default",
    "client_key": "default",
    "client_key_password": "",
    "client_cert": "default",
    "trusted_server_ca": "default",
    "authorization_provider": "simple",
    "database_url": "sqlite",
    "database_pool_sz_ovfl": "5,10",
    "auto_migrate_db": "True",
    "num_workers": "1",
    "max_workers": "1",
    "exponential_backoff": "False",
    "retry_interval": "1",
    "max_retries": "5",
    "quote_interval": "1",
    "max_upload_size": "104857600",
    "request_timeout": "30",
    "measured_boot_policy_name": "accept-all",
    "measured_boot_imports": "[]",
    "measured_boot_evaluate": "once",
    "severity_labels": '["info", "notice", "warning", "error", "critical", "alert", "emergency"]',
    "severity_policy": '[{"event_id": ".*", "severity_label": "emergency"}]',
    "ignore_tomtou_errors": "False",
    "require_allow_list_signatures": "False",
    "mode": "pull",
    "verification_timeout": "0",
}

REVOCATIONS = """
[revocations]
enabled_revocation_notifications = ['agent']
zmq_ip = 127.0.0.1
zmq_port = 8992
webhook_url =
"""

REGISTRAR = {
    "version": "2.6",
    "ip": "127.0.0.1",
    "tls_dir": "default",
    "server_key": "default",
    "server_key_password": "",
    "server_cert": "default",
    "trusted_client_ca": "default",
    "authorization_provider": "simple",
    "database_url": "sqlite",
    "database_pool_sz_ovfl": "5,10",
    "auto_migrate_db": "True",
    "max_workers": "1",
    "max_upload_size": "104857600",
    "tpm_identity": "default",
    "malformed_cert_action": "warn",
}

CA = {
    "version": "2.6",
    "password": "interop",
    "cert_country": "US",
    "cert_ca_name": "Keylime Certificate Authority",
    "cert_state": "MA",
    "cert_locality": "Lexington",
    "cert_organization": "MITLL",
    "cert_org_unit": "53",
    "cert_ca_lifetime": "3650",
    "cert_lifetime": "365",
    "cert_bits": "2048",
    "cert_crl_dist": "http://localhost:38080/crl",
}

LOGGING = """[logging]
version = 2.6
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[formatter_plain]
format = %(asctime)s.%(msecs)03d - %(name)s - %(levelname)s - %(message)s
datefmt = %Y-%m-%d %H:%M:%S
[logger_root]
level = INFO
handlers = console
[handler_console]
class = StreamHandler
level = INFO
formatter = plain
args = (sys.stdout,)
"""
