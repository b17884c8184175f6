# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the running server: for its ports, for what is open already, and again and again for the keys of sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any, Final, NoReturn

from ksmbd.overriding import override
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from mountd.commandline import Command
from mountd.console.asking import ask, last
from mountd.rundir import RunDirectory
from mountd.trace.keys import Keys, of_answer

SECONDS: Final = 0.2
"""Seconds between two questions for keys."""
SLACK: Final = 600_000_000
"""100 ns units before the last question of which the keys are asked for again: a minute."""
_LISTED: Final = ("sessions", "tree_connects", "files")


class _Quiet(Command):
    """A command that says nothing where it fails."""

    @override
    def fail(self, message: str) -> NoReturn:
        """Raise SystemExit."""
        raise SystemExit(1)


class Feed:
    """The conversation with the server. A thread asks for keys and puts them into `keys`."""

    def __init__(self, command: Command, rundir: RunDirectory) -> None:
        """Ask for the ports. Without a server the command fails."""
        self._command = command
        self._quiet = _Quiet(command.name, "", (), ())
        self._rundir = rundir
        answer = last(command, rundir, {"ask": "trace"})
        self.ports: list[int] = answer["ports"]
        self.has_keys: bool = answer["keys"]
        """Whether the server hands out keys."""
        self.keys: SimpleQueue[Keys] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def listed(self) -> dict[str, list[Mapping[str, Any]]]:
        """What is open already: the rows of these kinds."""
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for answer in ask(self._command, self._rundir, {"ask": "list", "kinds": list(_LISTED)}):
            for kind in _LISTED:
                rows.setdefault(kind, []).extend(answer.get(kind, ()))
        return rows

    def start(self) -> None:
        """Begin to ask for keys, where there are any."""
        if self.has_keys:
            self._thread.start()

    def stop(self) -> None:
        """Ask a last time, and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        newest = 0
        ending = False
        while True:
            try:
                newest = self._ask(newest)
            except SystemExit:
                pass  # the server is being started again, or has ended
            if ending:
                return
            ending = self._stopping.wait(SECONDS)

    def _ask(self, after: int) -> int:
        """Ask for keys, and return the time for the next question."""
        now = filetime()
        for answer in ask(self._quiet, self._rundir, {"ask": "keys", "after": max(after - SLACK, 0)}):
            for keys in of_answer(answer.get("keys", ())):
                self.keys.put(keys)
        return now


def filetime() -> int:
    """The time as FILETIME (MS-DTYP 2.3.3)."""
    return time.time_ns() // 100 + FILETIME_UNIX_EPOCH
