# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the tools are tried: a server's files, and stand-ins for the daemon and the engine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest
from ksmbd.tools import addshare, adduser, control

from ksmbd.debug import COMPONENTS
from mountd import accounts
from mountd.controlsocket import socket_address
from mountd.rundir import RunDirectory


@dataclass
class Outcome:
    status: int
    out: str
    err: str


@dataclass
class Place:
    """A server's files, and the tools run on them."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        return self.folder / "ksmbd.conf"

    @property
    def database(self) -> Path:
        return self.folder / "ksmbdpwd.db"

    @property
    def rundir(self) -> RunDirectory:
        return RunDirectory(str(self.folder / "run"))

    def call(self, tool: str, *argv: str) -> Outcome:
        files = ["-R", self.rundir.path]
        if tool != "control":
            files += ["-C", str(self.config), "-P", str(self.database)]
        main = {"adduser": adduser.main, "addshare": addshare.main, "control": control.main}[tool]
        self.capsys.readouterr()
        try:
            status = main([*argv, *files])
        except SystemExit as leaving:
            assert isinstance(leaving.code, int)
            status = leaving.code
        captured = self.capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    def fails(self, tool: str, *argv: str) -> str:
        """The one line on stderr of a call that returns 1."""
        outcome = self.call(tool, *argv)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert outcome.err.startswith(f"ksmbd.{tool}: ")
        return outcome.err

    def hash(self, user: str) -> bytes | None:
        account = accounts.load(str(self.database)).find(user)
        return account.nt_hash if account else None


MANAGER = """
import os, signal, sys
def say(text):  # not print: a signal may come while print is at work
    os.write(1, text.encode() + b"\\n")
fifo = sys.argv[1]
def listing(*_):
    with open(fifo, "w") as stream:
        stream.write(sys.argv[2])
def done(*_):
    say("terminated")
    os._exit(0)
signal.signal(signal.SIGUSR1, listing)
signal.signal(signal.SIGTERM, done)
signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
with open(sys.argv[3], "w") as stream:
    stream.write(str(os.getpid()))
say("ready")
while True:
    signal.pause()
"""


class Manager:
    """A stand-in for ksmbd.mountd that answers signals as the daemon does."""

    def __init__(self, place: Place, answer: str = "") -> None:
        command = f"import sys, os; sys.argv[1] += str(os.getpid()); exec({MANAGER!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-Pc", command, place.rundir.fifo(0)[:-1], answer, place.rundir.lock, "ksmbd.mountd"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Answering:
    """The control socket of a daemon that answers the first question with these lines; a context manager."""

    def __init__(self, place: Place, *answers: dict[str, object]) -> None:
        self.asked: dict[str, object] = {}
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = place.rundir.socket
        with socket_address(self._path) as address:
            self._socket.bind(address)
        self._socket.listen()
        self._socket.settimeout(20)
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            with connection, connection.makefile("rwb") as stream:
                line = stream.readline()
                if line:
                    self.asked = json.loads(line)
                for answer in self._answers:
                    stream.write(json.dumps(answer).encode() + b"\n")

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError), socket_address(self._path) as address:
            if not self.asked:  # nobody came: end the wait
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(address)
        self._thread.join()
        self._socket.close()


class Engine:
    """Serves class/ksmbd-control/debug as the engine does: rewrites it whenever a component was written to it."""

    def __init__(self, place: Place) -> None:
        self.path = place.rundir.debug
        os.makedirs(place.rundir.control)
        self.on: set[str] = set()
        self.write()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def write(self) -> None:
        Path(self.path).write_text(" ".join(f"[{c}]" if c in self.on else c for c in COMPONENTS) + "\n")

    def watch(self) -> None:
        while not self.stop.wait(0.002):
            text = Path(self.path).read_text().strip()
            if text == "all":
                self.on = set() if self.on == set(COMPONENTS) else set(COMPONENTS)
            elif text in COMPONENTS:
                self.on ^= {text}
            else:
                continue
            self.write()

    def end(self) -> None:
        self.stop.set()
        self.thread.join()
