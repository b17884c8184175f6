# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends the session that PreviousSessionId of a SESSION_SETUP names (MS-SMB2 3.3.5.5.3): the user's session from before
a reconnect. Its durable opens are kept.

The session may be in another worker, because a client that restarted has another ClientGuid.
"""
from __future__ import annotations

from ksmbd.smb.model import Server
from ksmbd.smb.ports import Identity
from ksmbd.smb.teardown import delete_session
from ksmbd.smb.waiting import Future


def end_previous_session(server: Server, session_id: int, identity: Identity) -> Future[None]:
    """End the session `session_id` in whichever worker it is, if it belongs to this user. Complete when it has
    ended."""
    if server.worker_of_session(session_id) == server.settings.worker & 0xFF:
        ended: Future[None] = Future()  # the waiter's own: cancelling it stops nothing else
        end_session_of(server, session_id, identity.account, identity.uid).add_callback(
            lambda _: ended.set_result(None)
        )
        return ended
    return server.end_remote_session(session_id, identity)


def end_session_of(server: Server, session_id: int, account: str, uid: int) -> Future[None]:
    """End a session of this worker if it belongs to this user. Another user's session is left alone, and the caller
    does not learn that it exists. Complete when it has ended."""
    old = server.sessions.get(session_id)
    if old is None or old.identity is None:
        return Future.of(None)
    if (old.identity.account.lower(), old.identity.uid) != (account.lower(), uid):
        return Future.of(None)
    channels = list(old.channels)
    ended = delete_session(old, keep=True)

    def cancel(_: Future[None]) -> None:
        for connection in channels:
            for waiting in list(connection.pending.values()):
                if waiting.session_ is old:
                    waiting.cancel()

    ended.add_callback(cancel)
    return ended
