#!/usr/bin/env python3
"""Verifies interval and fleet proofs (docs/spec/interval-proof.md) offline, without any of the project's own code.

    verify.py --log-key VKEY --agent ID [--witness-policy FILE] [--tsa-ca FILE] [--origin NAME] FILE.interval…
    verify.py --log-key VKEY --fleet [--witness-policy FILE] [--origin NAME] FILE.fleet…

Prints one line of JSON for each file: the statement, or {"refused": NAME, "why": TEXT}. Exit code: 0 if all hold, 1 if
one is refused, 2 for arguments that cannot be used, 3 if a file cannot be read. Needs Python 3.11 and the `openssl` command.
"""

import argparse
import json
import pathlib
import sys

from second_opinion import fleet, interval
from second_opinion.ground import Trust
from second_opinion.keys import ECDSA, ED25519, BadKey, OpenSslMissing, VerifierKey
from second_opinion.notes import BadPolicy, Policy
from second_opinion.refused import Refused


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log-key", required=True, help="the log's verifier key, or a file with it")
    parser.add_argument("--origin", help="the log's name, if it is not the key's")
    parser.add_argument("--witness-policy", type=pathlib.Path, help="tlog-policy file of the witnesses to trust")
    parser.add_argument("--tsa-ca", type=pathlib.Path, help="PEM of the time-stamping authorities' roots to trust")
    about = parser.add_mutually_exclusive_group(required=True)
    about.add_argument("--agent", help="the machine asked about")
    about.add_argument("--fleet", action="store_true", help="the files are fleet proofs")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    return parser.parse_args()


def trust_of(given):
    text = given.log_key if "+" in given.log_key else pathlib.Path(given.log_key).read_text(encoding="utf-8").strip()
    log = VerifierKey(text)
    if log.type not in (ED25519, ECDSA):
        raise BadKey(f"{text}: a log's key is Ed25519 or ECDSA P-256")
    policy = Policy(given.witness_policy.read_bytes()) if given.witness_policy else None
    if given.tsa_ca:
        given.tsa_ca.read_bytes()
    return Trust(given.origin or log.name, log, policy, given.tsa_ca)


def main():
    given = arguments()
    code = 0
    try:
        trust = trust_of(given)
        for file in given.files:
            data = file.read_bytes()
            try:
                answer = fleet.verify(data, trust) if given.fleet else interval.verify(data, given.agent, trust)
            except Refused as refused:
                answer, code = {"refused": refused.name, "why": refused.text}, 1
            print(json.dumps(answer, ensure_ascii=False))
    except (BadKey, BadPolicy) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    except (OSError, OpenSslMissing) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 3
    return code


if __name__ == "__main__":
    sys.exit(main())
