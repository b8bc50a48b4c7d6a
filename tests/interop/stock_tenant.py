"""The stock tenant with our registrar, verifier, ledger and agent."""

import json
import re

from machine import ZEROS, Machine
from rack import always, claim, say, step, until
from our_site import Site
from stock import Stock
from wire import ask_agent, ask_servers

POLICY = json.dumps({"15": ZEROS, "23": [ZEROS]})
ROOTKIT = "ab" * 32


def show(rack, programs, venv):
    step("A. The stock tenant, our servers, our agent")
    site = Site(rack, programs)
    machine = Machine(rack, "stock-tenant-node")
    site.trust(machine.root, machine.issuer)
    stock = Stock(rack, venv, rack.folder / "stock")
    stock.trust_tpm(machine.issuer)
    stock.use_servers(site.tls, site.port("verifier"), site.port("registrar_tls"), site.port("registrar"))
    machine.start_agent(programs / "attestry-agent", site.port("registrar"), site.tls / "cacert.crt")

    registered(stock, machine)
    answers = ask_agent(stock.wire, machine.agent_id)
    withheld(rack, stock, machine)
    provisioned(rack, stock, machine)
    looked_at(stock, machine)
    answers |= ask_servers(stock.wire, machine.agent_id)
    refused(rack, stock, machine)
    updated(rack, stock, machine)
    tampered(stock, machine)
    reactivated(stock, machine)
    revoked(rack, stock, machine)
    removed(stock, machine)
    verdict = site.audit(machine)
    say("✓ the auditor verifies this history offline:")
    say("  " + verdict.strip().splitlines()[0])
    return answers


def registered(stock, machine):
    listed = stock.tenant("reglist").json_after("Agent list from")
    claim("reglist lists the agent", listed["uuids"] == [machine.agent_id], listed)
    record = stock.tenant("regstatus", agent=machine).json_after("Agent Info from")[machine.agent_id]
    claim("regstatus shows its keys, address and certificate", record["regcount"] == 1 and record["port"] == machine.port, record)
    unknown = stock.tenant("regstatus", "-u", "nobody", may_fail=True)
    claim("regstatus of an unknown agent fails", unknown.code == 1 and "does not exist" in unknown.text, unknown.last_line())
    unknown = stock.tenant("cvstatus", agent=machine, may_fail=True)
    claim("cvstatus of an agent not yet added fails", unknown.code == 1 and "does not exist" in unknown.text, unknown.last_line())


def withheld(rack, stock, machine):
    """The negative beside `provisioned`: a policy that this machine does not fulfil."""
    payload = write(rack, "withheld.txt", b"never to be seen\n")
    wrong = json.dumps({"15": ["11" * 32]})
    stock.tenant("add", "--tpm_policy", wrong, "-f", payload, agent=machine)
    until("the failing verdict", lambda: stands_at(stock, machine, "FAIL"))
    after = status(stock, machine)
    claim("add with a policy the machine breaks: its first quote is invalid", after["operational_state"] == "Invalid Quote", after)
    claim("the finding is named as the protocol names it", after["last_event_id"] == "pcr_validation.invalid_pcr_15", after)
    claim("no payload arrived", machine.payload() is None)
    deleted(stock, machine)


def provisioned(rack, stock, machine):
    secret = b"the database password is swordfish\n"
    added = stock.tenant("add", "--tpm_policy", POLICY, "-f", write(rack, "payload.txt", secret), "--verify", agent=machine)
    claim("add --tpm_policy -f --verify: quote validated, key derived", "Successful key derivation" in added.text, added.last_line())
    until("the payload", lambda: machine.payload() == secret)
    say("✓ the payload arrived, byte for byte")


def looked_at(stock, machine):
    until("two attestations", lambda: has_passed(stock, machine, 2))
    found = status(stock, machine)
    claim("cvstatus: polled, PASS", (found["operational_state"], found["attestation_status"]) == ("Get Quote", "PASS"), found)
    claim("cvstatus: the algorithms of the last quote", (found["hash_alg"], found["sign_alg"]) == ("sha256", "rsassa"), found)
    claim("cvstatus: share V is not given back", found["v"] is None)
    both = stock.tenant("status", agent=machine).text
    claim("status asks both servers", "Agent Info from Registrar" in both and "Agent Info from Verifier" in both)
    listed = stock.tenant("cvlist").json_after("Agent list from")
    claim("cvlist lists the agent, nested", listed["uuids"] == [[machine.agent_id]], listed)
    bulk = stock.tenant("bulkinfo").json_after("Bulk Agent Info")
    claim("bulkinfo describes it", bulk[machine.agent_id]["operational_state"] == "Get Quote", bulk)
    other = stock.tenant("cvlist", "-vi", "another").json_after("Agent list from")
    claim("cvlist of another verifier is empty", other["uuids"] == [], other)


def refused(rack, stock, machine):
    again = stock.tenant("add", "--tpm_policy", POLICY, agent=machine, may_fail=True)
    claim("add of an agent that is there is a conflict", again.code == 1 and "conflict" in again.text, again.last_line())
    policies = stock.tenant("listruntimepolicy", may_fail=True)
    claim("runtime policies are listed", policies.code == 0, policies.last_line())
    boot = write(rack, "refstate.json", json.dumps({"nonsense": True}).encode())
    update = stock.tenant("update", "--mb-policy", boot, agent=machine, may_fail=True)
    claim("an agent is never added under a policy that is none", update.code == 1, update.last_line())


def updated(rack, stock, machine):
    secret = b"the password has changed\n"
    stock.tenant("update", "--tpm_policy", POLICY, "-f", write(rack, "second.txt", secret), "--verify", agent=machine)
    until("the second payload", lambda: machine.payload() == secret)
    say("✓ update delivers a new payload under a new key")


def tampered(stock, machine):
    machine.extend(23, ROOTKIT)
    until("the failing verdict", lambda: stands_at(stock, machine, "FAIL"))
    found = status(stock, machine)
    claim("after tpm2_pcrextend: FAIL, Invalid Quote", found["operational_state"] == "Invalid Quote", found)
    claim("and the finding names the PCR", found["last_event_id"] == "pcr_validation.invalid_pcr_23", found)


def reactivated(stock, machine):
    stock.tenant("reactivate", agent=machine)
    always("reactivated with the PCR still wrong, it never passes", lambda: not stands_at(stock, machine, "PASS"), 3)
    machine.reset(23)
    stock.tenant("reactivate", agent=machine)
    until("a pass", lambda: stands_at(stock, machine, "PASS"))
    say("✓ with the PCR put right, reactivate leads to a pass")


def revoked(rack, stock, machine):
    """`--cert`: a ZIP of certificates, and a revocation key that our verifier signs with."""
    include = rack.folder / "include"
    include.mkdir()
    (include / "motd").write_text("welcome\n")
    authority = rack.folder / "tenant-ca"
    stock.tenant("update", "--tpm_policy", POLICY, "--cert", authority, "--include", include, "--verify", agent=machine)
    until("the archive's files", lambda: machine.payload_file("motd") == b"welcome\n")
    certificate = machine.payload_file(f"{machine.agent_id}-cert.crt")
    claim("update --cert: the archive is unpacked on the machine", certificate and machine.payload_file("RevocationNotifier-cert.crt"))
    machine.extend(15, ROOTKIT)
    kept = until("the signed revocation", lambda: revocations(machine))
    message = json.loads(kept[0].read_text())
    claim("the agent took the revocation, signed with the tenant's key", (message["type"], message["agent_id"]) == ("revocation", machine.agent_id), message)


def removed(stock, machine):
    deleted(stock, machine)
    listed = stock.tenant("cvlist").json_after("Agent list from")
    claim("delete: gone from the verifier", listed["uuids"] == [], listed)
    stock.tenant("regdelete", agent=machine)
    listed = stock.tenant("reglist").json_after("Agent list from")
    claim("regdelete: gone from the registrar", listed["uuids"] == [], listed)
    again = stock.tenant("regdelete", agent=machine, may_fail=True)
    claim("a second regdelete finds nothing", "404" in again.text, again.last_line())


def deleted(stock, machine):
    gone = stock.tenant("delete", agent=machine)
    claim("delete", re.search("deleted from the CV", gone.text), gone.last_line())


def status(stock, machine):
    return stock.tenant("cvstatus", agent=machine).json_after("Agent Info from")[machine.agent_id]


def stands_at(stock, machine, word):
    """Asked without the tenant, which takes a second to start."""
    return stock.wire.agent(machine.agent_id)["attestation_status"] == word


def has_passed(stock, machine, times):
    return stock.wire.agent(machine.agent_id)["attestation_count"] >= times


def revocations(machine):
    return list((machine.state / "revocations").glob("*.json"))


def write(rack, name, content):
    path = rack.folder / name
    path.write_bytes(content)
    return path
