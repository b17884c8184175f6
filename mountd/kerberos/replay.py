# SPDX-License-Identifier: GPL-2.0-or-later
"""Remembers the authenticators of the log-ons of the last minutes, so that none is accepted twice (RFC 4120 3.2.3).

The table is a buffer of fixed size: a file in the state directory that is mapped, so that a restart forgets nothing.
A slot has a digest and the time until which it counts. What a principal may use of it is bounded, and a full table
refuses log-ons rather than to forget one that could be repeated.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import Counter, deque
from struct import Struct
from typing import Final

from ksmbd import limits

_SLOT: Final = Struct("=16sQ")
"""The first bytes of the digest, and the end in seconds since 1970; 0: free."""
SIZE: Final = _SLOT.size * limits.KERBEROS_REPLAYS.value
SECONDS: Final = 600
"""How long an authenticator counts: its time may be up to five minutes before or after ours."""


class ReplayTable:
    """The authenticators that were accepted, in a buffer of SIZE bytes."""

    def __init__(self, buffer: bytearray | mmap.mmap, seconds: int = SECONDS) -> None:
        self._buffer = buffer
        self._seconds = seconds
        self._ends: dict[bytes, int] = {}
        self._order: deque[tuple[int, bytes, int, str]] = deque()
        """(end, digest, slot, principal), the earliest end first."""
        self._free: list[int] = []
        self._users: Counter[str] = Counter()
        found = []
        for slot in range(limits.KERBEROS_REPLAYS.value):
            digest, end = _SLOT.unpack_from(buffer, slot * _SLOT.size)
            if end:
                found.append((end, digest, slot, ""))
                self._ends[digest] = end
            else:
                self._free.append(slot)
        self._order.extend(sorted(found))

    def __len__(self) -> int:
        return len(self._ends)

    def refuses(self, authenticator: bytes, principal: str, now: float) -> str:
        """Take a log-on of `principal` at `now` (seconds since 1970) into the table: ''. Or why it is refused."""
        self._expire(int(now))
        digest = hashlib.sha256(authenticator).digest()[:16]
        if digest in self._ends:
            return "the token was used before (replay)"
        if self._users[principal] >= limits.KERBEROS_REPLAYS_PER_USER.value or not self._free:
            return "too many log-ons in ten minutes"
        slot, end = self._free.pop(), int(now) + self._seconds
        _SLOT.pack_into(self._buffer, slot * _SLOT.size, digest, end)
        self._ends[digest] = end
        self._order.append((end, digest, slot, principal))
        self._users[principal] += 1
        return ""

    def _expire(self, now: int) -> None:
        """Free the slots whose time has passed, or lies further ahead than any can: the clock was turned back."""
        while self._order and (self._order[0][0] < now or self._order[0][0] > now + 2 * self._seconds):
            _, digest, slot, principal = self._order.popleft()
            _SLOT.pack_into(self._buffer, slot * _SLOT.size, bytes(16), 0)
            self._free.append(slot)
            del self._ends[digest]
            self._users[principal] -= 1
            if not self._users[principal]:
                del self._users[principal]


def open_table(path: str, seconds: int = SECONDS) -> ReplayTable:
    """The table in the file `path`, which is made where it is missing and begun anew where its size is another. '' is a
    table in memory. `seconds`: how long an authenticator counts. Raises OSError."""
    if not path:
        return ReplayTable(bytearray(SIZE), seconds)
    with open(path, "a+b", opener=_private) as file:
        if file.seek(0, 2) != SIZE:
            file.truncate(0)
            file.write(bytes(SIZE))
            file.flush()
        return ReplayTable(mmap.mmap(file.fileno(), SIZE), seconds)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
