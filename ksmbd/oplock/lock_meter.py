# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the byte-range locks that each session of this worker holds, over all files (LOCKS_PER_SESSION)."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from ksmbd.limits import LOCKS_PER_SESSION
from ksmbd.oplock.record import WorkerTag
from ksmbd.oplock.requests import Decision


class LockMeter:
    """The counts per session, updated by the decisions that change locks."""

    __slots__ = ("_me", "_opens", "_sessions")

    def __init__(self, me: WorkerTag) -> None:
        self._me: Final = me
        self._opens: dict[int, tuple[int, int]] = {}
        """Open id -> (session id, number of locks)."""
        self._sessions: dict[int, int] = {}

    def follow(self, decision: Decision) -> None:
        """Count the locks that a decision of this worker took or released."""
        for overlay in decision.locks.values():
            more = Counter([lock.open_id for lock in overlay.added.values()])
            more.subtract([lock.open_id for lock in overlay.removed])
            for open_id, change in more.items():
                entry = decision.record.opens.get(open_id)
                if entry is None:
                    self.set(open_id, 0, 0)
                elif (entry.worker, entry.epoch) == self._me:
                    known = self._opens.get(open_id)
                    self.set(open_id, entry.session_id, max(0, change + known[1] if known is not None else change))

    def set(self, open_id: int, session_id: int, count: int) -> None:
        """Set the number of locks of an open. Called where another worker has granted a lock."""
        before, had = self._opens.pop(open_id, (0, 0))
        if had:
            left = self._sessions[before] - had
            if left:
                self._sessions[before] = left
            else:
                del self._sessions[before]
        if count:
            self._opens[open_id] = (session_id, count)
            self._sessions[session_id] = self._sessions.get(session_id, 0) + count

    def room(self, open_id: int, wanted: int, session_of: Callable[[], int]) -> bool:
        """Whether the session of an open may take `wanted` more locks. `session_of` returns the session of an open that
        has no locks yet."""
        if not self._sessions and wanted <= LOCKS_PER_SESSION.value:
            return True
        known = self._opens.get(open_id)
        session_id = known[0] if known is not None else session_of()
        return self._sessions.get(session_id, 0) + wanted <= LOCKS_PER_SESSION.value

    def count(self, session_id: int) -> int:
        """The number of locks that a session holds."""
        return self._sessions.get(session_id, 0)

    def __len__(self) -> int:
        """The number of sessions that hold locks."""
        return len(self._sessions)
