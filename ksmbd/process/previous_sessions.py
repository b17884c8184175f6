# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends sessions of other workers, for PreviousSessionId of a log-on (MS-SMB2 3.3.5.5.3)."""
from __future__ import annotations

import struct
from typing import Final

from ksmbd.process.peers import Kind, Peers
from ksmbd.smb.model import Server
from ksmbd.smb.ports import Identity
from ksmbd.smb.previous_session import end_session_of
from ksmbd.smb.waiting import Future

ANSWER_SECONDS: Final = 2.0
"""Seconds to wait for the other worker. If it is slower, the log-on continues, and the session ends later."""
_REQUEST: Final = struct.Struct("<QQI")
"""Number of the request, SessionId, uid; then the account."""
_ANSWER: Final = struct.Struct("<Q")


class PreviousSessions:
    """Sends such requests to other workers, and answers theirs."""

    def __init__(self, server: Server, peers: Peers) -> None:
        self._server = server
        self._peers = peers
        self._number = 0
        self._waiting: dict[int, Future[None]] = {}
        peers.on(Kind.END_SESSION, self._asked)
        peers.on(Kind.SESSION_ENDED, self._answered)

    def end(self, session_id: int, identity: Identity) -> Future[None]:
        """Ask another worker to end this user's session. Complete when it has ended, or after ANSWER_SECONDS."""
        self._number += 1
        number = self._number
        data = _REQUEST.pack(number, session_id, identity.uid & 0xFFFFFFFF) + identity.account.encode()
        future: Future[None] = Future()
        self._waiting[number] = future
        if not self._peers.deliver(self._server.worker_of_session(session_id), data, Kind.END_SESSION):
            self._done(number)  # that worker is dead, its sessions with it
        timer = self._server.clock.call_later(ANSWER_SECONDS, lambda: self._done(number))
        future.add_callback(lambda _: timer.cancel())
        future.on_cancel = lambda: self._forget(number)
        return future

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def _asked(self, sender: int, data: bytes, fds: list[int]) -> None:
        number, session_id, uid = _REQUEST.unpack_from(data)
        account = data[_REQUEST.size :].decode()
        end_session_of(self._server, session_id, account, uid).add_callback(
            lambda _: self._ended(sender, number)
        )

    def _ended(self, asker: int, number: int) -> None:
        self._peers.deliver(asker, _ANSWER.pack(number), Kind.SESSION_ENDED)

    def _answered(self, sender: int, data: bytes, fds: list[int]) -> None:
        self._done(_ANSWER.unpack(data)[0])

    def _done(self, number: int) -> None:
        future = self._waiting.pop(number, None)
        if future is not None:
            future.set_result(None)
