# SPDX-License-Identifier: GPL-2.0-or-later
"""Closes sessions, tree connects and opens because an administrator, or a changed configuration, wants it: the events
of MS-SMB2 3.3.4.12 (session), 3.3.4.15 (the tree connects of a share) and 3.3.4.17 (open).

The client is told nothing; its next request fails with STATUS_USER_SESSION_DELETED, STATUS_NETWORK_NAME_DELETED or
STATUS_FILE_CLOSED, after which it connects again if it may. Durable opens are closed, too. Requests that wait end with
STATUS_CANCELLED.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable

from ksmbd.smb.model import Connection, Open, PendingRequest, Server, Session, TreeConnect
from ksmbd.smb.open_life import close_open, purge_open
from ksmbd.smb.ports import CloseOutcome, PurgedOpen
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.teardown import close_tree, delete_session
from ksmbd.smb.waiting import Future


def end_session(session: Session) -> Future[None]:
    """Close a session with all its opens (MS-SMB2 3.3.4.12). Complete when they are closed."""
    channels = list(session.channels)
    ended = delete_session(session)
    ended.add_callback(lambda _: _cancel(channels, lambda request: request.session_ is session))
    return ended


def end_tree(tree: TreeConnect) -> Future[None]:
    """Close a tree connect with all its opens (MS-SMB2 3.3.4.15). Complete when they are closed."""
    channels = list(tree.session.channels)
    ended = close_tree(tree)
    ended.add_callback(lambda _: _cancel(channels, lambda request: request.tree_ is tree))
    return ended


def end_open(server: Server, open_: Open) -> None:
    """Close an open (MS-SMB2 3.3.4.17), also one whose client is disconnected. Never raises; closing twice has no
    effect."""
    if open_.closed:
        return
    if open_.session is not None:
        close_open(open_)
    elif open_.ref is not None:
        try:
            outcome = server.table.close(open_.ref)
        except NtStatusError:
            outcome = CloseOutcome(False)  # the table has no such open any longer
        purge_open(server, PurgedOpen(open_.ref, "", "", outcome, open_))


def _cancel(channels: Iterable[Connection], ends: Callable[[PendingRequest], bool]) -> None:
    for connection in channels:
        for waiting in list(connection.pending.values()):
            if ends(waiting):
                waiting.cancel()
