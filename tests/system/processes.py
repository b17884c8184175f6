# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts a process and waits for what it prints, without sleeping."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_TIME = re.compile(r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (?=ksmbd: )")


def free_port() -> int:
    """A TCP port on which nobody listens; below those that the kernel gives to clients, who could take it
    before the server does, and drawn, so that several runs of the tests do not meet."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("", port))
            return port


class Process:
    """A child whose standard error is read line by line. As a context manager it is ended in any case."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self.printed = ""
        """All of standard error."""
        self._spawn()

    @property
    def stderr(self) -> str:
        """Standard error, without the times before the lines of a server."""
        return _TIME.sub("", self.printed)

    def _spawn(self) -> None:
        self._child = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # the terminal's ^C is for the tests, which stop it in order
        )
        assert self._child.stderr is not None
        os.set_blocking(self._child.stderr.fileno(), False)

    def restart(self) -> None:
        """Start the same command again, once it has ended; what it printed before is forgotten."""
        assert self._child.poll() is not None
        if self._child.stderr is not None:
            self._child.stderr.close()
        self.printed = ""
        self._spawn()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._child.poll()

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self.drain()

    def wait_for(self, pattern: str, seconds: float = START_SECONDS, after: int = 0) -> re.Match[str]:
        """Wait until standard error, from character `after` on, matches. AssertionError with all of it otherwise."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.compile(pattern, re.MULTILINE).search(self.stderr, after)
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{self.command[0]} did not print {pattern!r}; it printed:\n{self.stderr}")

    def _read(self, seconds: float) -> bool:
        """Read more; False at its end."""
        assert self._child.stderr is not None
        fd = self._child.stderr.fileno()
        if not select.select([fd], [], [], seconds)[0]:
            return True
        data = os.read(fd, 65536)
        self.printed += data.decode(errors="replace")
        return bool(data)

    def drain(self) -> str:
        """Everything printed so far."""
        assert self._child.stderr is not None
        while select.select([self._child.stderr], [], [], 0)[0] and self._read(0):
            pass
        return self.stderr

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; the exit status. AssertionError if it does not come."""
        deadline = time.monotonic() + seconds
        while self._child.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.command[0]} did not end in {seconds:g} s; it printed:\n{self.stderr}")
            if not self._read(min(left, 1.0)):
                self._child.wait(max(left, 0.1))
        self.drain()
        return self._child.returncode

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; the exit status."""
        if self._child.poll() is None:
            self._child.send_signal(number)
        return self.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._child.poll() is None:
                self.stop()
        finally:
            self.kill()
            if kind is not None:
                print(f"--- {' '.join(self.command)} printed:\n{self.drain()}")
            if self._child.stderr is not None:
                self._child.stderr.close()
