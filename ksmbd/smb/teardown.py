# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends sessions and tree connects with all their opens (MS-SMB2 3.3.4.12, 3.3.5.6, 3.3.5.8, 3.3.7.1).

As soon as the end begins, no further request of theirs is served. A client may have thousands of opens, so they are
closed in time slices (ksmbd.smb.scheduler). The functions return a Future that is complete when all is closed; with few
opens that is at once. Whatever must come after the end (the reply to LOGOFF, a log-on that names a previous session)
waits for this Future.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ksmbd.smb import open_life
from ksmbd.smb.model import Open, PendingRequest, Server, Session, TreeConnect
from ksmbd.smb.scheduler import TimeSlice
from ksmbd.smb.session_state import SessionInput, SessionState, next_state
from ksmbd.smb.waiting import Future, Task

logger = logging.getLogger("ksmbd.smb")


def close_tree(tree: TreeConnect) -> Future[None]:
    """End a tree connect: close its opens and tell mountd (MS-SMB2 3.3.5.8). Complete when all are closed."""
    if tree.closed:
        return Future.of(None)
    tree.closed = True
    tree.session.tree_connects.pop(tree.tree_id, None)
    ended: Future[None] = Future()
    Task(_end_tree(tree, ended)).start()
    return ended


def delete_session(session: Session, keep: bool = False, after: Future[None] | None = None) -> Future[None]:
    """Delete a session, for LOGOFF, a failed log-on, PreviousSessionId or the end of its last channel. Complete when
    its opens and tree connects are closed. `keep`: durable opens are disconnected, not closed. `after`: opens are
    closed when this is complete."""
    if session.state is SessionState.DELETED:
        return session.ended or Future.of(None)
    was_valid = session.state is not SessionState.IN_PROGRESS
    session.server.on_session_end(session)
    session.state = next_state(session.state, SessionInput.DELETE)
    session.server.sessions.pop(session.session_id, None)
    for connection in list(session.channels):
        connection.sessions.pop(session.session_id, None)
        connection.exchanges.remove(session.session_id)
    session.ended = Future()
    Task(_end_session(session, was_valid, keep, after, session.ended)).start()
    return session.ended


def abort_all(server: Server, owner: object, requests: list[PendingRequest]) -> Future[None]:
    """Abort these requests, because their connection has ended. Complete when all have ended."""
    ended: Future[None] = Future()
    Task(_abort_all(server.scheduler.time_slice(owner), requests, ended)).start()
    return ended


async def _abort_all(time_slice: TimeSlice, requests: list[PendingRequest], ended: Future[None]) -> None:
    for request in requests:
        try:
            request.abort()
        except Exception:
            logger.exception("a request could not be ended as it should")
        if time_slice.is_over():
            await time_slice.renew()
    ended.set_result(None)


async def wait_for(ended: Future[None]) -> None:
    """Await a Future of `close_tree` or `delete_session`. Cancelling this wait does not stop the end."""
    if not ended.done:
        own: Future[None] = Future()
        ended.add_callback(lambda _: own.set_result(None))
        await own


async def _end_session(
    session: Session, was_valid: bool, keep: bool, after: Future[None] | None, ended: Future[None]
) -> None:
    server = session.server
    if after is not None:
        await wait_for(after)
    time_slice = server.scheduler.time_slice(session)
    trees = list(session.tree_connects.values())
    session.tree_connects.clear()
    end_open = open_life.disconnect_open if keep else open_life.close_open
    while session.opens:  # a CREATE in progress may have added one
        # Durable opens first, since their client may reconnect soon.
        await _end_opens(sorted(session.opens.values(), key=_for_good), end_open, time_slice)
    for tree in trees:
        if not tree.closed:
            tree.closed = True
            _leave(tree)
            if time_slice.is_over():
                await time_slice.renew()
    session.channels.clear()
    if session.admitted is not None:
        server.admission.give(session.admitted)
        session.admitted = None
    if was_valid and session.identity is not None:
        server.daemon.logout(session.identity.account, failed=False)
    ended.set_result(None)


async def _end_tree(tree: TreeConnect, ended: Future[None]) -> None:
    time_slice = tree.session.server.scheduler.time_slice(tree.session)
    while opens := list(tree.opens):
        await _end_opens(opens, open_life.close_open, time_slice)
    _leave(tree)
    ended.set_result(None)


async def _end_opens(opens: Iterable[Open], end_open: Callable[[Open], object], time_slice: TimeSlice) -> None:
    """Close all opens; an exception for one does not stop the others."""
    for open_ in opens:
        try:
            end_open(open_)
        except Exception:
            logger.exception("an open could not be ended as it should")
            if open_.session is not None:
                open_.session.opens.pop(open_.volatile_id, None)
        if time_slice.is_over():
            await time_slice.renew()


def _for_good(open_: Open) -> bool:
    return not (open_.is_durable or open_.is_persistent or open_.is_resilient)


def _leave(tree: TreeConnect) -> None:
    if tree.user is not None:
        tree.session.trees -= 1
        tree.session.server.tree_admission.give(tree.user)
    try:
        if tree.volume is not None:
            tree.volume.close()
        tree.session.server.daemon.tree_disconnect(tree.session.session_id, tree.tree_id)
    except Exception:
        logger.exception("a tree connect could not be ended as it should")
