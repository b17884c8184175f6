# SPDX-License-Identifier: GPL-2.0-or-later
"""Lends the listeners of a worker that has ended to one that serves, until its successor is ready.

Without BPF the kernel spreads new connections over the listeners of all workers, those of a dead one, too: its clients
would wait for the successor, which may start late. The forker keeps all listeners open.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from ksmbd.conn.contract import Listener
from ksmbd.process.peers import INODE, Kind

Deliver = Callable[[int, bytes, Kind, Sequence[int]], bool]
"""Sends (worker, data, kind, descriptors) to a worker; False: it has not got it."""


class Owner(Protocol):
    """A worker as the forker sees it."""

    index: int
    ready: bool
    listeners: list[Listener]


class Lending:
    """Who has the listeners of workers that do not serve."""

    def __init__(self, workers: Sequence[Owner], deliver: Deliver) -> None:
        self._workers = workers
        self._deliver = deliver
        self._missing: set[int] = set()
        """The workers that have ended and whose successors do not serve yet."""
        self.borrowers: dict[int, int] = {}
        """Index of a worker that does not serve -> index of the one that has its listeners."""

    def ended(self, worker: Owner) -> None:
        """A worker has ended, and so has what it borrowed. Call with its `ready` reset."""
        self._missing.add(worker.index)
        self.borrowers = {index: borrower for index, borrower in self.borrowers.items() if borrower != worker.index}
        self._lend()

    def is_ready(self, worker: Owner) -> None:
        """A worker serves: it has its own listeners back. Call with its `ready` set."""
        self._missing.discard(worker.index)
        borrower = self.borrowers.pop(worker.index, 0)
        if borrower:
            for listener in worker.listeners:
                self._deliver(borrower, INODE.pack(os.fstat(listener.fileno()).st_ino), Kind.UNLISTEN, ())
        self._lend()

    def _lend(self) -> None:
        borrower = next((worker.index for worker in self._workers if worker.ready), 0)
        if not borrower:
            return
        for worker in self._workers:
            if worker.index in self._missing and worker.index not in self.borrowers:
                self.borrowers[worker.index] = borrower
                for listener in worker.listeners:
                    self._deliver(borrower, listener.provider.encode(), Kind.LISTEN, (listener.fileno(),))

    def who_have(self, worker: Owner) -> set[int]:
        """The workers that may accept from the listeners of `worker`: itself, and who has borrowed them."""
        return {worker.index, self.borrowers.get(worker.index, worker.index)}
