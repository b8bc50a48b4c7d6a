#!/usr/bin/env python3
"""Shows that stock Keylime and this project understand each other; run through scripts/interop.

    run.py --programs DIR --venv DIR --state DIR [--stock-agent FILE] [SCENARIO …]
"""

import argparse
import json
import pathlib
import shutil
import signal
import sys
import time

import stock_agent
import stock_servers
import stock_tenant
from rack import Failed, Rack, step
from wire import compare

SCENARIOS = {"tenant": stock_tenant.show, "servers": stock_servers.show, "agent": stock_agent.show}


def main():
    arguments = parse()
    # A terminated run stops what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun = time.monotonic()
    answers = {}
    peers = {"tenant": arguments.venv, "servers": arguments.venv, "agent": arguments.stock_agent}
    for name in arguments.scenarios or SCENARIOS:
        if peers[name] is None:
            say_skipped()
            continue
        folder = arguments.state.absolute() / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            with Rack(folder) as rack:
                answers[name] = SCENARIOS[name](rack, arguments.programs.absolute(), peers[name].absolute())
                rack.check_alive()
            (folder / "answers.json").write_text(json.dumps(answers[name], indent=1))
        except Failed as failure:
            print(f"\ninterop: {failure}\ninterop: the logs are in {folder / 'logs'}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ninterop: interrupted", file=sys.stderr)
            return 130
    ours = answers.get("tenant")
    for peer in ("servers", "agent"):
        if ours and answers.get(peer):
            step(f"The same questions to the stock {peer} and to ours")
            try:
                compare(answers[peer], ours)
            except Failed as failure:
                print(f"\ninterop: {failure}", file=sys.stderr)
                return 1
    print(f"\nAll of it holds ({time.monotonic() - begun:.0f} s).")
    return 0


def say_skipped():
    print(
        "\nSKIPPED: the stock agent with our servers. It is shown with STOCK_AGENT=<path of keylime_agent 0.2.9>;"
        "\ndocs/keylime-compatibility.md says how to build one.",
        file=sys.stderr,
        flush=True,
    )


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="where our binaries are")
    parser.add_argument("--venv", type=pathlib.Path, required=True, help="virtual environment with stock Keylime")
    parser.add_argument("--stock-agent", type=pathlib.Path, help="a stock keylime_agent; without, it is skipped")
    parser.add_argument("--state", type=pathlib.Path, required=True, help="folder for everything that is written")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all if none")
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario {', '.join(unknown)}; expected {', '.join(SCENARIOS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
