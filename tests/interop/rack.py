"""Processes that are started, waited for and stopped together; ports, claims and their failure."""

import os
import pathlib
import signal
import socket
import subprocess
import time

# Seconds a step may take; the slowest is the stock servers' start on a busy machine, about ten.
PATIENCE = 60
# Seconds a process has between SIGTERM and SIGKILL.
GRACE = 5


class Failed(Exception):
    """A claim turned out false, or something did not happen in time."""


def step(text):
    print(f"\n\033[1m{text}\033[0m", flush=True)


def say(text):
    print(f"   {text}", flush=True)


def claim(what, holds, found=""):
    """Prints what was shown, or fails with what was found instead."""
    if not holds:
        raise Failed(f"not so: {what}" + (f"; found: {found}" if found != "" else ""))
    say(f"✓ {what}")


def until(what, condition, patience=PATIENCE):
    """Polls until `condition` gives something true, and gives that."""
    end = time.monotonic() + patience
    while True:
        outcome = condition()
        if outcome:
            return outcome
        if time.monotonic() > end:
            raise Failed(f"waited {patience} s for {what}")
        time.sleep(0.1)


def always(what, condition, seconds):
    """Holds for so long: for what must not happen although it could at any time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            raise Failed(f"not so: {what}")
        time.sleep(0.1)
    say(f"✓ {what}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def free_port_pair():
    """A free port whose successor is free, too: a software TPM's control channel is there."""
    while True:
        port = free_port()
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        return port


class Rack:
    """Starts processes in sessions of their own with their output in `folder`/logs, and stops them, last one first."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).absolute()
        self.logs = self.folder / "logs"
        self.logs.mkdir(parents=True)
        self.running = []
        self.mounts = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            stop(process)
        for mount in self.mounts:
            subprocess.run(["umount", mount], stderr=subprocess.DEVNULL, check=False)

    def start(self, name, command, environment=None):
        with open(self.logs / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        process.name = name
        self.running.append(process)
        return process

    def stop(self, process):
        self.check_alive()
        stop(process)
        self.running.remove(process)

    def run(self, name, command, environment=None, may_fail=False):
        """Runs to the end and gives the completed process; its output is appended to the log of this name."""
        command = [str(word) for word in command]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self.folder, timeout=2 * PATIENCE, check=False
        )
        with open(self.logs / f"{name}.log", "a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}exit code {done.returncode}\n\n")
        if done.returncode != 0 and not may_fail:
            tail = (done.stdout + done.stderr).strip().splitlines()[-5:]
            raise Failed(f"exit code {done.returncode}: {' '.join(command)}\n" + "\n".join(tail))
        return done

    def check_alive(self):
        for process in self.running:
            if process.poll() is not None:
                raise Failed(f"{process.name} ended by itself with exit code {process.returncode}")


def stop(process):
    """Ends the process and whatever it started: all in its session's group, which nobody else is in."""
    signal_group(process, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass
    # Workers of a server may outlive their parent.
    signal_group(process, signal.SIGKILL)
    process.wait(GRACE)


def signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
