"""The stock registrar, verifier and tenant with our agent."""

import json

from machine import ZEROS, Machine
from rack import claim, step, until, say
from stock import Stock
from stock_tenant import POLICY, ROOTKIT, deleted, has_passed, revocations, stands_at, status, write
from wire import ask_servers


def show(rack, programs, venv):
    step("B. The stock registrar, verifier and tenant, our agent")
    machine = Machine(rack, "stock-servers-node")
    stock = Stock(rack, venv, rack.folder / "stock")
    stock.trust_tpm(machine.issuer)
    registrar_port = stock.start_servers()
    machine.start_agent(programs / "attestry-agent", registrar_port, stock.folder / "cv_ca/cacert.crt")

    listed = stock.tenant("reglist").json_after("Agent list from")
    claim("our agent registered and was activated", listed["uuids"] == [machine.agent_id], listed)
    untrusted(rack, stock, machine)
    withheld(rack, stock, machine)
    provisioned(rack, stock, machine)
    answers = ask_servers(stock.wire, machine.agent_id)
    tampered(stock, machine)
    revoked(rack, stock, machine)
    deleted(stock, machine)
    stock.tenant("regdelete", agent=machine)
    listed = stock.tenant("reglist").json_after("Agent list from")
    claim("delete and regdelete: gone", listed["uuids"] == [], listed)
    elliptic(rack, programs, stock, registrar_port)
    return answers


def elliptic(rack, programs, stock, registrar_port):
    """A second machine, whose EK and AK are P-384."""
    machine = Machine(rack, "stock-servers-p384")
    stock.trust_tpm(machine.issuer, name="p384.pem")
    keys = ["--tpm-encryption-alg", "ecc384", "--tpm-signing-alg", "ecdsa"]
    machine.start_agent(programs / "attestry-agent", registrar_port, stock.folder / "cv_ca/cacert.crt", *keys)
    added = stock.tenant("add", "--tpm_policy", POLICY, agent=machine, may_fail=True)
    claim("P-384 keys: refused by the tenant's default lists", added.code == 1 and "unaccepted" in added.text, added.last_line())
    stock.accept_ecdsa()
    secret = b"for elliptic curves\n"
    stock.tenant("add", "--tpm_policy", POLICY, "-f", write(rack, "p384.txt", secret), agent=machine)
    until("the payload", lambda: machine.payload() == secret)
    until("two attestations", lambda: has_passed(stock, machine, 2))
    found = status(stock, machine)
    names = (found["enc_alg"], found["sign_alg"], found["attestation_status"])
    claim("accepted by name, they attest", names == ("ecc384", "ecdsa", "PASS"), names)


def untrusted(rack, stock, machine):
    """The tenant checks the EK certificate that our agent sent."""
    held = stock.trust / "vendor.pem"
    held.rename(stock.folder / "held.pem")
    added = stock.tenant("add", "--tpm_policy", POLICY, agent=machine, may_fail=True)
    claim("add without the TPM vendor's certificate is refused", added.code == 1 and "is invalid for nonce" in added.text, added.last_line())
    (stock.folder / "held.pem").rename(held)


def withheld(rack, stock, machine):
    payload = write(rack, "withheld.txt", b"never to be seen\n")
    wrong = json.dumps({"15": ["11" * 32]})
    stock.tenant("add", "--tpm_policy", wrong, "-f", payload, agent=machine)
    until("the failing verdict", lambda: stands_at(stock, machine, "FAIL"))
    found = status(stock, machine)
    claim("under a policy the machine breaks it fails", found["last_event_id"] == "pcr_validation.invalid_pcr_15", found)
    claim("and no payload arrived", machine.payload() is None)
    deleted(stock, machine)


def provisioned(rack, stock, machine):
    secret = b"the database password is swordfish\n"
    added = stock.tenant("add", "--tpm_policy", POLICY, "-f", write(rack, "payload.txt", secret), "--verify", agent=machine)
    claim("add --verify: our quote validated, key derived", "Successful key derivation" in added.text, added.last_line())
    until("the payload", lambda: machine.payload() == secret)
    say("✓ the payload arrived, byte for byte")
    until("three attestations", lambda: has_passed(stock, machine, 3))
    found = status(stock, machine)
    claim("it attests again and again", found["attestation_status"] == "PASS", found)


def tampered(stock, machine):
    machine.extend(23, ROOTKIT)
    until("the failing verdict", lambda: stands_at(stock, machine, "FAIL"))
    found = status(stock, machine)
    claim("after tpm2_pcrextend: Invalid Quote", found["operational_state"] == "Invalid Quote", found)
    claim("and the finding names the PCR", found["last_event_id"] == "pcr_validation.invalid_pcr_23", found)
    machine.reset(23)


def revoked(rack, stock, machine):
    include = rack.folder / "include"
    include.mkdir()
    (include / "motd").write_text("welcome\n")
    words = ["--tpm_policy", POLICY, "--cert", rack.folder / "tenant-ca", "--include", include, "--verify"]
    stock.tenant("update", *words, agent=machine)
    until("the archive's files", lambda: machine.payload_file("motd") == b"welcome\n")
    machine.extend(15, ROOTKIT)
    kept = until("the signed revocation", lambda: revocations(machine))
    message = json.loads(kept[0].read_text())
    claim("update --cert: our agent took the revocation that the stock verifier signed", message["agent_id"] == machine.agent_id, message)
