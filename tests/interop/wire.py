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

    def ask(self, server, method, path, body=None, anonymous=False, headers=None):
        """Gives the status and the body: JSON, or text where it is none."""
        if server == "registration":
            connection = http.client.HTTPConnection("127.0.0.1", self.ports[server], timeout=TIMEOUT)
        else:
            context = ssl.create_default_context(cafile=self.tls_dir / "cacert.crt")
            # As Keylime's peers do: the authority counts, not the name.
            context.check_hostname = False
            if not anonymous:
                context.load_cert_chain(self.tls_dir / "client-cert.crt", self.tls_dir / "client-private.pem")
            connection = http.client.HTTPSConnection("127.0.0.1", self.ports[server], timeout=TIMEOUT, context=context)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
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


def ask_all(wire, agent_id):
    """The answers to all questions, in their order."""
    answers = {}
    for name, (server, method, path, more) in QUESTIONS.items():
        answers[name] = wire.ask(server, method, path.format(id=agent_id), **more)
    return answers


def compare(theirs, ours):
    """Each of our answers has the status of theirs and whatever theirs has in it; it may have more."""
    for name in QUESTIONS:
        (their_status, their_body), (our_status, our_body) = theirs[name], ours[name]
        if name in DIFFERENT:
            expected, reason = DIFFERENT[name]
            claim(f"{name}: {our_status} where the stock server has {their_status}: {reason}", our_status == expected, our_body)
            continue
        lacking = differences(their_body, our_body, "")
        found = f"stock {their_status} {their_body}, ours {our_status} {our_body}: {'; '.join(lacking)}"
        claim(f"{name}: {our_status}, same shape", their_status == our_status and not lacking, found)


def differences(theirs, ours, where):
    """What a reader of `theirs` would miss in `ours`."""
    if where.endswith((".v", ".severity_level", ".last_event_id")) and ours is None:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{where}.{key} is missing" for key in theirs if key not in ours]
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

QUESTIONS = {
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

# Our status, and why it is not theirs.
DIFFERENT = {
    "verifier: reactivate unknown agent": (404, "there is no such agent"),
    "verifier: stop unknown agent": (404, "there is no such agent"),
    "verifier: runtime policies": (501, "not appraised by this build"),
    "verifier: measured-boot policies": (501, "not appraised by this build"),
}
