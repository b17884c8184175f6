# SPDX-License-Identifier: GPL-2.0-or-later
"""How an Open ends, whoever ends it: CLOSE, TREE_DISCONNECT, LOGOFF, the connection (MS-SMB2 3.3.4.17, 3.3.7.1)."""
from __future__ import annotations

from typing import TypeVar

from ksmbd.smb.model import Open, Server
from ksmbd.smb.ports import File, LeaseGrant
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future

T = TypeVar("T")


async def wait_on_open(open_: Open, future: Future[T], closed_status: int) -> T:
    """Await `future` for a request on `open_`; the open's end raises NtStatusError(closed_status) here instead.

    Whatever ends the wait, `future` is cancelled where it is not complete, so that its owner forgets the waiter."""
    waiter: Future[T] = Future()
    waiter.on_cancel = future.cancel

    def pass_on(source: Future[T]) -> None:
        try:
            waiter.set_result(source.result())
        except BaseException as error:  # noqa: BLE001  (Cancelled goes on to the waiter, too)
            waiter.set_error(error)

    open_.waits[waiter] = closed_status
    future.add_callback(pass_on)
    try:
        return await waiter
    finally:
        open_.waits.pop(waiter, None)
        if not future.done:
            future.cancel()


def end_waits(open_: Open) -> None:
    """End what waits on this open: notify with STATUS_NOTIFY_CLEANUP, locks with STATUS_RANGE_NOT_LOCKED."""
    while open_.waits:
        waiter, status = open_.waits.popitem()
        waiter.set_error(NtStatusError(status, "the open has ended"))


def parent_changed(server: Server, file: File, lease: LeaseGrant | None, client_guid: bytes) -> None:
    """An entry of the file's directory was made or removed: break the directory leases of others."""
    parent = file.parent_key
    if parent is not None:
        server.table.directory_changed(parent, lease.parent_key if lease else b"", client_guid)


def close_open(open_: Open) -> None:
    """End the open: pending requests on it, its table entries, its locks and caches; delete the file where this was the
    last open of one that is to be deleted. Never raises; closing twice does nothing."""
    session = open_.session
    if session is not None:
        _close(session.server, open_)


def close_disconnected(server: Server, open_: Open) -> None:
    """The same for a durable open that nobody has reclaimed; one that is connected stays."""
    if open_.session is None:
        _close(server, open_)


def _close(server: Server, open_: Open) -> None:
    if open_.closed:
        return
    open_.closed = True
    session = open_.session
    _leave(open_)
    server.opens.pop(open_.persistent_id, None)
    if open_.pipe_handle:
        server.daemon.rpc_close(open_.pipe_handle)
        open_.pipe_handle = 0
    file = open_.file
    if file is None:
        return
    try:
        if open_.ref is not None and server.table.close(open_.ref).delete:
            file.unlink()
            parent_changed(server, file, open_.lease, session.client_guid if session else b"")
    except NtStatusError:
        # MS-FSA 2.1.5.5: a file that cannot be deleted at the end (a directory that is not empty any more) stays.
        pass
    finally:
        file.close()


def _leave(open_: Open) -> None:
    """Out of its session, with all that belongs to a connected open only."""
    end_waits(open_)
    if open_.session is not None:
        open_.session.opens.pop(open_.volatile_id, None)
    open_.enumeration = None
    if open_.watch is not None:
        open_.watch.close()
        open_.watch = None


def disconnect_open(open_: Open) -> None:
    """The connection is gone: a durable open is kept without session, tree connect and connection, for a reconnect
    (MS-SMB2 3.3.7.1); any other is closed. A kept one is closed when its time is over."""
    session = open_.session
    if open_.closed or session is None:
        return
    server = session.server
    durable = open_.is_durable or open_.is_persistent or open_.is_resilient
    if not durable or open_.ref is None or not server.table.disconnect(open_.ref):
        _close(server, open_)
        return
    _leave(open_)
    open_.session = open_.tree = open_.connection = None
    # The Durable Open Scavenger Timer (MS-SMB2 3.3.2.2), one an open; a reconnect makes a new Open of it.
    server.clock.call_later(open_.durable_timeout / 1000, lambda: close_disconnected(server, open_))
