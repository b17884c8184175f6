# SPDX-License-Identifier: GPL-2.0-or-later
"""Closes sessions, tree connects and opens of this worker that mountd names (ksmbd.ipc.activity.Target)."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from ksmbd.address import parse_address
from ksmbd.ipc.activity import Target
from ksmbd.oplock.record import OpenEntry
from ksmbd.process.activity import Kept, account_of, identity_of, open_id, path_of, session_id, slashed
from ksmbd.smb.model import Open, Server, Session
from ksmbd.smb.scheduler import TimeSlice
from ksmbd.smb.server_application import end_open, end_session, end_tree
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.teardown import wait_for

KeptOpens = Callable[[], Iterator[Kept | None]] | None
ShareOf = Callable[[Open], str]
"""The name of the share of an open, also while its client is disconnected."""


async def close(server: Server, target: Target, share_of: ShareOf, time_slice: TimeSlice) -> Counter[str]:
    """Close all that the target names, and return how many sessions, tree connects and files were closed."""
    closed: Counter[str] = Counter()
    if target.file or target.path is not None:
        await _close_opens(server, lambda open_: _is_file(target, open_, share_of), closed, time_slice)
    elif target.share:
        await close_share(server, target.share, share_of, closed, time_slice)
    else:
        for session in list(server.sessions.values()):
            if session.state is not SessionState.IN_PROGRESS and _is_session(target, session):
                closed.update(sessions=1, tree_connects=len(session.tree_connects), files=len(session.opens))
                await wait_for(end_session(session))
        await _close_opens(server, lambda open_: _was_of(target, open_), closed, time_slice)
    return closed


async def close_kept(
    server: Server, wanted: Callable[[OpenEntry], bool], kept: KeptOpens, closed: Counter[str], time_slice: TimeSlice
) -> None:
    """Close opens that the open table alone has: persistent opens of an earlier server."""
    for found in kept() if kept is not None else ():
        if found is not None and found[1].open_id not in server.opens and wanted(found[1]):
            server.table.close(found[0])
            closed["files"] += 1
        if time_slice.is_over():
            await time_slice.renew()


def names(target: Target, entry: OpenEntry) -> bool:
    """Whether a target names an open that the open table alone has. Where its client was is not known."""
    if target.file:
        return f"{entry.open_id:#x}" == target.file
    if target.share:
        path = slashed(entry.path)
        return entry.share.casefold() == target.share.casefold() and (
            target.path is None or path.casefold() == target.path.casefold()
        )
    return bool(target.account) and not target.address and _folded(account_of(entry)) == _folded(target.account)


async def close_share(
    server: Server, share: str, share_of: ShareOf, closed: Counter[str], time_slice: TimeSlice
) -> None:
    """Close all tree connects to a share, and the durable opens on it whose clients are disconnected (MS-SMB2
    3.3.4.15)."""
    wanted = share.casefold()
    for session in list(server.sessions.values()):
        for tree in list(session.tree_connects.values()):
            if tree.share.name.casefold() == wanted and not tree.closed:
                closed.update(tree_connects=1, files=sum(1 for _ in tree.opens))
                await wait_for(end_tree(tree))
    await _close_opens(
        server, lambda open_: open_.session is None and share_of(open_).casefold() == wanted, closed, time_slice
    )


async def _close_opens(
    server: Server, wanted: Callable[[Open], bool], closed: Counter[str], time_slice: TimeSlice
) -> None:
    for open_ in list(server.opens.values()):
        if not open_.closed and wanted(open_):
            closed["files"] += 1
            end_open(server, open_)
        if time_slice.is_over():
            await time_slice.renew()


def _is_file(target: Target, open_: Open, share_of: ShareOf) -> bool:
    if target.file:
        return open_id(open_) == target.file
    return (
        target.path is not None
        and path_of(open_).casefold() == target.path.casefold()
        and share_of(open_).casefold() == target.share.casefold()
    )


def _is_session(target: Target, session: Session) -> bool:
    if target.session and session_id(session) != target.session:
        return False
    if target.account and (session.identity is None or _folded(session.identity.account) != _folded(target.account)):
        return False
    return not target.address or any(
        same_address(connection.transport.peer, target.address) for connection in session.channels
    )


def _was_of(target: Target, open_: Open) -> bool:
    """Whether a durable open whose client is disconnected was of such a session. Its session is gone, so an id of one
    names none."""
    who = identity_of(open_)
    if open_.session is not None or who is None or target.session:
        return False
    if target.account and _folded(who.account) != _folded(target.account):
        return False
    return not target.address or same_address(who.address, target.address)


def _folded(account: str) -> str:
    return account.casefold()


def same_address(one: str, other: str) -> bool:
    """Whether two texts name the same address: IPv6 has several spellings, and IPv4 may be mapped into it."""
    try:
        return one == other or parse_address(one) == parse_address(other)
    except ValueError:
        return False
