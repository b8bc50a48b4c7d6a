"""The same questions to both families of servers: statuses and the shape of the answers."""

import http.client
import json
import ssl

from rack import Failed, claim

# Seconds for one answer.
TIMEOUT = 30


class Wire:
    """Requests as a tenant makes them, without the tenant's second of start-up."""

    def __init__(self, tls_dir, verifier_port, registrar_tls_port, registrar_port):
        self.ports = {"verifier": verifier_port, "registrar": registrar_tls_port, "registration": registrar_port}
        self.tls_dir = tls_dir
        self.authorities = dict.fromkeys(self.ports, (tls_dir / "cacert.crt").read_text())

    def meet(self, agent_id):
        """From now on the agent can be asked, under the certificate that the registrar has of it."""
        _, body = self.ask("registrar", "GET", f"/v2.6/agents/{agent_id}")
        self.ports["agent"] = body["results"]["port"]
        self.authorities["agent"] = body["results"]["mtls_cert"]

    def ask(self, server, method, path, body=None, anonymous=False, headers=None):
        """Gives the status and the body: JSON, or text where it is none. Status 0 is a connection that was not accepted."""
        if server == "registration":
            connection = http.client.HTTPConnection("127.0.0.1", self.ports[server], timeout=TIMEOUT)
        else:
            context = ssl.create_default_context(cadata=self.authorities[server])
            # As Keylime's peers do: the authority counts, not the name.
            context.check_hostname = False
            if not anonymous:
                context.load_cert_chain(self.tls_dir / "client-cert.crt", self.tls_dir / "client-private.pem")
            connection = http.client.HTTPSConnection("127.0.0.1", self.ports[server], timeout=TIMEOUT, context=context)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        except (ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected):
            return 0, ""
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def agent(self, agent_id):
        """What the verifier says of an agent."""
        status, body = self.ask("verifier", "GET", f"/v2.6/agents/{agent_id}")
        if status != 200:
            raise Failed(f"the verifier answered {status}: {body}")
        return body["results"]


def ask_servers(wire, agent_id):
    """What the servers answer, by the questions' names."""
    return ask_all(SERVER_QUESTIONS, wire, agent_id)


def ask_agent(wire, agent_id):
    """What the agent answers before it was given a key, by the questions' names."""
    wire.meet(agent_id)
    return ask_all(AGENT_QUESTIONS, wire, agent_id)


def ask_all(questions, wire, agent_id):
    return {
        name: wire.ask(server, method, path.format(id=agent_id), **more)
        for name, (server, method, path, more) in questions.items()
    }


def compare(theirs, ours):
    """Each of our answers has the status of theirs and whatever theirs has in it; it may have more."""
    for name, (their_status, their_body) in theirs.items():
        our_status, our_body = ours[name]
        if name in DIFFERENT:
            expected, reason = DIFFERENT[name]
            found = f"stock {their_status} {their_body}, ours {our_status} {our_body}"
            claim(f"{name}: {our_status} where the stock one has {their_status}: {reason}", our_status == expected, found)
            continue
        lacking = differences(their_body, our_body, "")
        found = f"stock {their_status} {their_body}, ours {our_status} {our_body}: {'; '.join(lacking)}"
        claim(f"{name}: {our_status}, same shape", their_status == our_status and not lacking, found)


def differences(theirs, ours, where):
    """What a reader of `theirs` would miss in `ours`."""
    if where.endswith((".v", ".severity_level", ".last_event_id")) and ours is None:
        return []
    if where.endswith(EQUAL) and theirs != ours:
        return [f"{where} is {ours!r}, not {theirs!r}"]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{where}.{key} is missing" for key in theirs if key not in ours and key not in ABSENT]
        # Members of a map from agents to what is said of them are named after the agent.
        pairs = [(key, theirs[key], ours[key]) for key in theirs if key in ours]
        return found + [line for key, left, right in pairs for line in differences(left, right, f"{where}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list):
        if bool(theirs) != bool(ours):
            return [f"{where} has {len(ours)} members, not {len(theirs)}"]
        return differences(theirs[0], ours[0], f"{where}[]") if theirs else []
    # An empty body says nothing that anyone could miss.
    if theirs != "" and type(theirs) is not type(ours):
        return [f"{where} is {type(ours).__name__}, not {type(theirs).__name__}"]
    return []


ADMIN = {}
ANONYMOUS = {"anonymous": True}
TOKEN = {"headers": {"Authorization": "Bearer nonsense"}}
JSON = {"Content-Type": "application/json"}
EMPTY_JSON = {"body": "{}", "headers": JSON}
NO_JSON = {"body": "no json", "headers": JSON}
WRONG_TAG = {"body": json.dumps({"auth_tag": "00" * 48}), "headers": JSON}

# Members whose values are the same on two machines that have the same logs.
EQUAL = (
    ".current_version",
    ".hash_alg",
    ".enc_alg",
    ".sign_alg",
    ".tpm_hash_alg",
    ".tpm_enc_alg",
    ".tpm_sign_alg",
    ".ima_measurement_list",
    ".ima_measurement_list_entry",
    ".mb_measurement_list",
)

# `ak_handle` is a number within the agent's process and means nothing to a peer.
ABSENT = ("ak_handle",)

SERVER_QUESTIONS = {
    "verifier: version": ("verifier", "GET", "/version", ANONYMOUS),
    "verifier: versions": ("verifier", "GET", "/versions", ANONYMOUS),
    "verifier: agents": ("verifier", "GET", "/v2.6/agents/", ADMIN),
    "verifier: agents without slash": ("verifier", "GET", "/v2.6/agents", ADMIN),
    "verifier: agents of all verifiers": ("verifier", "GET", "/v2.6/agents/?verifier=", ADMIN),
    "verifier: agents of another verifier": ("verifier", "GET", "/v2.6/agents/?verifier=nosuch", ADMIN),
    "verifier: all about all agents of another": ("verifier", "GET", "/v2.6/agents/?bulk=True&verifier=nosuch", ADMIN),
    "verifier: one agent": ("verifier", "GET", "/v2.6/agents/{id}", ADMIN),
    "verifier: one agent, version 2": ("verifier", "GET", "/v2/agents/{id}", ADMIN),
    "verifier: one agent, version 2.1": ("verifier", "GET", "/v2.1/agents/{id}", ADMIN),
    "verifier: one agent, unknown version": ("verifier", "GET", "/v9.9/agents/{id}", ADMIN),
    "verifier: one agent, no v": ("verifier", "GET", "/2.6/agents/{id}", ADMIN),
    "verifier: unknown agent": ("verifier", "GET", "/v2.6/agents/nosuch", ADMIN),
    "verifier: unknown route": ("verifier", "GET", "/v2.6/nosuch", ADMIN),
    "verifier: agents, anonymous": ("verifier", "GET", "/v2.6/agents/", ANONYMOUS),
    "verifier: one agent, anonymous": ("verifier", "GET", "/v2.6/agents/{id}", ANONYMOUS),
    "verifier: agents, token": ("verifier", "GET", "/v2.6/agents/", TOKEN),
    "verifier: delete, anonymous": ("verifier", "DELETE", "/v2.6/agents/{id}", ANONYMOUS),
    "verifier: delete unknown agent": ("verifier", "DELETE", "/v2.6/agents/nosuch", ADMIN),
    "verifier: reactivate unknown agent": ("verifier", "PUT", "/v2.6/agents/nosuch/reactivate", ADMIN),
    "verifier: stop unknown agent": ("verifier", "PUT", "/v2.6/agents/nosuch/stop", ADMIN),
    "verifier: add with nothing in it": ("verifier", "POST", "/v2.6/agents/another", EMPTY_JSON),
    "verifier: add that is no JSON": ("verifier", "POST", "/v2.6/agents/another", NO_JSON),
    "verifier: runtime policies": ("verifier", "GET", "/v2.6/allowlists/", ADMIN),
    "verifier: measured-boot policies": ("verifier", "GET", "/v2.6/mbpolicies/", ADMIN),
    "registrar: version": ("registrar", "GET", "/version", ANONYMOUS),
    "registrar: agents": ("registrar", "GET", "/v2.6/agents/", ADMIN),
    "registrar: agents without slash": ("registrar", "GET", "/v2.6/agents", ADMIN),
    "registrar: one agent": ("registrar", "GET", "/v2.6/agents/{id}", ADMIN),
    "registrar: one agent, version 2.0": ("registrar", "GET", "/v2.0/agents/{id}", ADMIN),
    "registrar: unknown agent": ("registrar", "GET", "/v2.6/agents/nosuch", ADMIN),
    "registrar: agents, anonymous": ("registrar", "GET", "/v2.6/agents/", ANONYMOUS),
    "registrar: agents, token": ("registrar", "GET", "/v2.6/agents/", TOKEN),
    "registrar: delete unknown agent": ("registrar", "DELETE", "/v2.6/agents/nosuch", ADMIN),
    "registrar: activate unknown agent": ("registration", "PUT", "/v2.6/agents/nosuch", WRONG_TAG),
    "registrar: activate unknown agent, new path": ("registration", "PUT", "/v2.6/agents/nosuch/activate", WRONG_TAG),
    "registrar: register with nothing in it": ("registration", "POST", "/v2.6/agents/another", EMPTY_JSON),
    "registrar: version on the plain port": ("registration", "GET", "/version", ADMIN),
    "registrar: agents on the plain port": ("registration", "GET", "/v2.6/agents/", ADMIN),
}

NONCE = "nonce=1234567890ABCDEFHIJK"
INTEGRITY = f"/v2.5/quotes/integrity?{NONCE}"
NO_SHARE = {"body": json.dumps({"encrypted_key": "AAAA"}), "headers": JSON}
NO_NOTICE = {"body": json.dumps({"msg": "{}", "signature": "AAAA"}), "headers": JSON}

AGENT_QUESTIONS = {
    "agent: version": ("agent", "GET", "/version", ADMIN),
    "agent: no client certificate": ("agent", "GET", "/version", ANONYMOUS),
    "agent: info": ("agent", "GET", "/v2.5/agent/info", ADMIN),
    "agent: info, version 2.2": ("agent", "GET", "/v2.2/agent/info", ADMIN),
    "agent: public key": ("agent", "GET", "/v2.5/keys/pubkey", ADMIN),
    "agent: verify before there is a key": ("agent", "GET", "/v2.5/keys/verify?challenge=abc", ADMIN),
    "agent: verify with a bad challenge": ("agent", "GET", "/v2.5/keys/verify?challenge=a-b", ADMIN),
    "agent: verify without challenge": ("agent", "GET", "/v2.5/keys/verify", ADMIN),
    "agent: identity": ("agent", "GET", f"/v2.5/quotes/identity?{NONCE}", ADMIN),
    "agent: identity, version 2.1": ("agent", "GET", f"/v2.1/quotes/identity?{NONCE}", ADMIN),
    "agent: identity without nonce": ("agent", "GET", "/v2.5/quotes/identity", ADMIN),
    "agent: identity with a bad nonce": ("agent", "GET", "/v2.5/quotes/identity?nonce=a-b", ADMIN),
    "agent: identity with a long nonce": ("agent", "GET", f"/v2.5/quotes/identity?nonce={'a' * 65}", ADMIN),
    "agent: integrity": ("agent", "GET", f"{INTEGRITY}&mask=0x8000&partial=0", ADMIN),
    "agent: integrity, partial": ("agent", "GET", f"{INTEGRITY}&mask=0x8000&partial=1", ADMIN),
    "agent: integrity, mask without 0x": ("agent", "GET", f"{INTEGRITY}&mask=8000&partial=1", ADMIN),
    "agent: integrity with the boot log": ("agent", "GET", f"{INTEGRITY}&mask=0x1&partial=1", ADMIN),
    "agent: integrity from entry 0": ("agent", "GET", f"{INTEGRITY}&mask=0x400&partial=1&ima_ml_entry=0", ADMIN),
    "agent: integrity from entry 2": ("agent", "GET", f"{INTEGRITY}&mask=0x400&partial=1&ima_ml_entry=2", ADMIN),
    "agent: integrity from the end": ("agent", "GET", f"{INTEGRITY}&mask=0x400&partial=1&ima_ml_entry=3", ADMIN),
    "agent: integrity from beyond the end": ("agent", "GET", f"{INTEGRITY}&mask=0x400&partial=1&ima_ml_entry=99", ADMIN),
    "agent: integrity from no number": ("agent", "GET", f"{INTEGRITY}&mask=0x400&partial=1&ima_ml_entry=abc", ADMIN),
    "agent: integrity without mask": ("agent", "GET", f"{INTEGRITY}&partial=1", ADMIN),
    "agent: integrity without partial": ("agent", "GET", f"{INTEGRITY}&mask=0x400", ADMIN),
    "agent: integrity, partial=2": ("agent", "GET", f"{INTEGRITY}&mask=0x400&partial=2", ADMIN),
    "agent: integrity, bad mask": ("agent", "GET", f"{INTEGRITY}&mask=0xg&partial=1", ADMIN),
    "agent: share U with nothing in it": ("agent", "POST", "/v2.5/keys/ukey", EMPTY_JSON),
    "agent: share V with nothing in it": ("agent", "POST", "/v2.5/keys/vkey", EMPTY_JSON),
    "agent: share V that does not decrypt": ("agent", "POST", "/v2.5/keys/vkey", NO_SHARE),
    "agent: revocation with nothing in it": ("agent", "POST", "/v2.5/notifications/revocation", EMPTY_JSON),
    "agent: revocation with a bad signature": ("agent", "POST", "/v2.5/notifications/revocation", NO_NOTICE),
    "agent: unknown route": ("agent", "GET", "/v2.5/nosuch", ADMIN),
    "agent: unknown part of keys": ("agent", "GET", "/v2.5/keys/nosuch", ADMIN),
    "agent: another method": ("agent", "PUT", "/v2.5/keys/pubkey", ADMIN),
    "agent: delete": ("agent", "DELETE", "/v2.5/quotes/identity", ADMIN),
    "agent: unknown version": ("agent", "GET", "/v9.9/keys/pubkey", ADMIN),
    "agent: version 1.0": ("agent", "GET", "/v1.0/keys/pubkey", ADMIN),
    "agent: version 2": ("agent", "GET", "/v2/keys/pubkey", ADMIN),
}

# Our status, and why it is not theirs.
DIFFERENT = {
    "verifier: reactivate unknown agent": (404, "there is no such agent"),
    "verifier: stop unknown agent": (404, "there is no such agent"),
    "agent: revocation with a bad signature": (400, "nothing that is not verified is taken"),
    "agent: version 2": (200, "it stands for the newest 2.x, as at the servers"),
}
