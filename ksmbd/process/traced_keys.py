# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of encrypted sessions, for ksmbd.trace: the key question of ksmbd.ipc.activity.

Keys leave the worker only as an answer to mountd, which asks for nobody but root (mountd/control.py) and not where
`trace keys = no`. While it asks, the keys of sessions that have ended since are kept, because a session may be shorter
than the time between two questions.
"""
from __future__ import annotations

from collections import deque
from typing import Final

from ksmbd.ipc.activity import KeyRow
from ksmbd.limits import TRACED_SESSIONS
from ksmbd.smb.model import Server, Session

TRACE_SECONDS: Final = 5.0
"""Seconds after a question in which another one is expected, and the keys of ended sessions are kept."""


class TracedKeys:
    """The keys of this worker's sessions."""

    def __init__(self, server: Server, worker: int) -> None:
        self._server = server
        self._worker = worker
        self._until = 0.0
        self._ended: deque[tuple[int, KeyRow]] = deque(maxlen=TRACED_SESSIONS.value)
        """(creation time, keys) of sessions that have ended."""
        server.on_session_end = self._end

    def rows(self, after: int) -> list[KeyRow]:
        """The keys of the sessions that were established at `after` (FILETIME) or later."""
        now = self._server.clock.monotonic()
        if now >= self._until:
            self._ended.clear()
        self._until = now + TRACE_SECONDS
        rows = [row for created, row in self._ended if created >= after]
        for session in self._server.sessions.values():
            if session.sealer is not None and session.creation_time >= after:
                rows.append(self._row(session))
        return rows

    def _end(self, session: Session) -> None:
        if session.sealer is None:
            return
        if self._server.clock.monotonic() < self._until:
            self._ended.append((session.creation_time, self._row(session)))
        elif self._ended:
            self._ended.clear()

    def _row(self, session: Session) -> KeyRow:
        assert session.sealer is not None
        encryption, decryption = session.sealer.keys
        return KeyRow(
            session=f"{session.session_id:#x}",
            account=session.identity.account if session.identity is not None else "",
            session_key=session.session_key.hex(),
            encryption=encryption.hex(),
            decryption=decryption.hex(),
            worker=self._worker,
        )
