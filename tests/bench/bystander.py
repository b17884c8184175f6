# SPDX-License-Identifier: GPL-2.0-or-later
"""Bystanders: other clients of the same server, each a process, that ask for a little every 20 ms and note how long it
takes.

A request is sent at its time, or as soon as the one before it is answered. One that is late because the one before it
took long has waited too: its wait counts from when it should have been sent, so that a server which stands still for a
second spoils fifty figures and not one.
"""
from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from client import BenchClient, BenchError
from servers import ADDRESS, SHARE, Server

from ksmbd.smb import constants as c

INTERVAL: Final = 0.02
KINDS: Final = ("echo", "open-close")
GIVE_UP: Final = 60.0
"""Seconds after which a request counts as never answered."""
_NICE: Final = -15
"""A bystander that waits for a CPU of this machine would tell nothing of the server (with root's rights)."""


@dataclass(frozen=True)
class Waits:
    """What one bystander saw, in milliseconds."""

    count: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: list[float]) -> Waits:
        """Of at least one request."""
        ordered = sorted(one * 1000 for one in seconds)
        return cls(
            len(ordered), ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
            ordered[-1],
        )


class BystanderLost(Exception):
    """A bystander's connection ended, or its request is not answered at all."""


def _echo(client: BenchClient, name: str) -> None:
    client.ask(c.ECHO, b"\x04\0\0\0")


def _open_close(client: BenchClient, name: str) -> None:
    client.close(client.open(name))


_ASKS: Final[dict[str, Callable[[BenchClient, str], None]]] = {"echo": _echo, "open-close": _open_close}


class Bystander:
    """One of them. It runs from the start on; `begin` and `end` say from when to when its waits count."""

    def __init__(self, kind: str, server: Server, number: int = 0) -> None:
        """Raises BystanderLost where it cannot log on."""
        self.kind = kind
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, kind, server.port, server.user, server.password, number), daemon=True
        )
        self._process.start()
        theirs.close()
        self._answer(GIVE_UP)

    def begin(self) -> None:
        """What counts begins."""
        self._ours.send("begin")
        self._answer(GIVE_UP)

    def end(self) -> list[float]:
        """Seconds of each request since `begin`; waits for the one under way. Raises BystanderLost."""
        self._ours.send("end")
        return self._answer(GIVE_UP)

    def stop(self) -> None:
        """It goes, whatever it waits for."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def _answer(self, seconds: float) -> list[float]:
        with contextlib.suppress(EOFError, OSError):
            if self._ours.poll(seconds):
                answer = self._ours.recv()
                if isinstance(answer, list):
                    return answer
                raise BystanderLost(f"{self.kind}: {answer}")
        raise BystanderLost(f"{self.kind}: no answer within {seconds:g} s")


def _serve(pipe: Connection, kind: str, port: int, user: str, password: str, number: int) -> None:
    """The process of a Bystander."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    try:
        client = BenchClient(ADDRESS, port, user, password)
        client.tree(SHARE)
        client.socket.settimeout(GIVE_UP)
        ask, name = _ASKS[kind], f"bystander-{kind}-{number}"
        ask(client, name)
        pipe.send([])
        waits: list[float] = []
        due = time.monotonic()
        while True:
            while pipe.poll():
                word = pipe.recv()
                pipe.send([] if word == "begin" else waits)
                waits = []
                due = time.monotonic()
            ask(client, name)
            now = time.monotonic()
            while due <= now:
                waits.append(now - due)
                due += INTERVAL
            time.sleep(due - now)
            due = time.monotonic()  # this process's own lateness is not the server's
    except (BenchError, OSError, EOFError) as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{type(error).__name__}: {error}")
