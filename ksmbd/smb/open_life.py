# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends Opens, for CLOSE, TREE_DISCONNECT, LOGOFF and the end of a connection (MS-SMB2 3.3.4.17, 3.3.7.1), and completes
what waits on them."""
from __future__ import annotations

import logging
from typing import Final, TypeVar

from ksmbd.smb.constants import FILE_APPEND_DATA, FILE_WRITE_DATA
from ksmbd.smb.model import Open, Server
from ksmbd.smb.ports import CloseOutcome, File, FileKey, LeaseGrant, PurgedOpen
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import STATUS_DELETE_PENDING, STATUS_FILE_CLOSED, NtStatusError
from ksmbd.smb.waiting import Future

T = TypeVar("T")
_WRITES: Final = FILE_WRITE_DATA | FILE_APPEND_DATA
logger = logging.getLogger("ksmbd.smb")


async def wait_on_open(open_: Open, future: Future[T], closed_status: int) -> T:
    """Await `future` for a request on `open_` and return its result. If the open ends first,
    NtStatusError(closed_status) is raised here. `future` is cancelled if it is not complete when the wait ends."""
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
    """Complete what waits on this open with an error: CHANGE_NOTIFY with STATUS_NOTIFY_CLEANUP, locks with
    STATUS_RANGE_NOT_LOCKED."""
    while open_.waits:
        waiter, status = open_.waits.popitem()
        waiter.set_error(NtStatusError(status, "the open has ended"))


def end_notify(server: Server, directory: FileKey) -> None:
    """End CHANGE_NOTIFY requests on a directory with STATUS_DELETE_PENDING, because it is to be deleted."""
    for open_ in list(server.opens.values()):
        if open_.watch is not None and open_.file is not None and open_.file.key == directory:
            for waiter in list(open_.waits):
                waiter.set_error(NtStatusError(STATUS_DELETE_PENDING))


def parent_changed(server: Server, file: File, lease: LeaseGrant | None, client_guid: bytes) -> None:
    """Break the directory leases of others on the directory of `file`, because an entry was added or removed."""
    parent = file.parent_key
    if parent is not None:
        server.table.directory_changed(parent, lease.parent_key if lease else b"", client_guid)


def close_open(open_: Open) -> bool:
    """Close the open: end what waits on it, remove it from all tables with its locks, oplock and lease, and delete the
    file if this was the last open and deletion is pending. Never raises; closing twice has no effect.

    Returns False where the open table has it no longer: another worker removed it just now (OpenTable.on_purge)."""
    session = open_.session
    if session is None or open_.closed:
        return True
    server = session.server
    file, ref = open_.file, open_.ref
    _forget(server, open_)
    if file is None:
        return True
    try:
        if ref is not None:
            outcome = server.table.close(ref)
            if open_.wrote and not outcome.delete:
                parent_changed(server, file, open_.lease, session.client_guid)
            if outcome.delete or file.is_directory:
                _delete(server, open_, file, outcome, session.client_guid)
    except NtStatusError as error:
        if error.status == STATUS_FILE_CLOSED:
            return False
        logger.debug("%s: not deleted on close: %s", file.path, error)
    finally:
        file.close()
    return True


def withdraw_writes(open_: Open) -> None:
    """Take the right to write data from an open, because its share has become read-only."""
    if open_.file is not None:
        open_.withdrawn_access |= open_.granted_access & _WRITES
        open_.granted_access &= ~_WRITES


def restore_writes(open_: Open) -> None:
    """Give back what `withdraw_writes` has taken."""
    open_.granted_access |= open_.withdrawn_access
    open_.withdrawn_access = 0


def purge_open(server: Server, purged: PurgedOpen) -> None:
    """Close an open that the open table has removed: a durable open whose client did not return, or one displaced by
    another instance of its application. OpenTable.on_purge is set to this. Never raises."""
    kept = purged.handle
    open_ = kept if isinstance(kept, Open) else server.opens.get(purged.ref.open_id)
    if open_ is None or open_.closed:
        return
    file = open_.file
    client_guid = open_.session.client_guid if open_.session is not None else b""
    _forget(server, open_)
    if file is None:
        return
    try:
        _delete(server, open_, file, purged.outcome, client_guid)
    except NtStatusError as error:
        logger.debug("%s: not deleted on close: %s", file.path, error)
    finally:
        file.close()


def _delete(server: Server, open_: Open, file: File, outcome: CloseOutcome, client_guid: bytes) -> None:
    """Delete the file if `outcome` says so (MS-FSA 2.1.5.5). A directory that has entries again stays."""
    if not outcome.delete:
        if file.is_directory and server.table.delete_pending(file.key):
            end_notify(server, file.key)
        return
    if outcome.whole_file and file.stream:
        file.unlink_file()  # the last open was of a stream, but the file itself is to go
    else:
        file.unlink()
    parent_changed(server, file, open_.lease, client_guid)


def _forget(server: Server, open_: Open) -> None:
    """Remove the open from the tables of the protocol."""
    open_.closed = True
    session = open_.session
    _leave(open_)
    server.opens.pop(open_.persistent_id, None)
    if open_.pipe_handle:
        server.daemon.rpc_close(open_.pipe_handle)
        open_.pipe_handle = 0
        if session is not None:
            session.pipes -= 1


def _leave(open_: Open) -> None:
    """Remove the open from its session, and release what only a connected open has."""
    if open_.waits:
        end_waits(open_)
    if open_.session is not None:
        open_.session.opens.pop(open_.volatile_id, None)
    open_.enumeration = None
    if open_.watch is not None:
        open_.watch.close()
        open_.watch = None


def disconnect_open(open_: Open) -> None:
    """Handle the loss of the connection of an open (MS-SMB2 3.3.7.1): keep a durable open, without session, tree
    connect and connection, and close any other. The open table removes a kept open after its timeout (3.3.2.2)."""
    session = open_.session
    if open_.closed or session is None:
        return
    server = session.server
    ref = open_.ref
    if ref is None or not (open_.is_durable or open_.is_persistent or open_.is_resilient):
        close_open(open_)
        return
    server.table.keep(ref, open_)
    try:
        kept = server.table.disconnect(ref)
    except NtStatusError:
        kept = False  # the table has no such open any longer
    if not kept:
        close_open(open_)
        return
    _leave(open_)
    open_.session = open_.tree = open_.connection = None


def finish_disconnect(open_: Open) -> None:
    """Disconnect an open at once whose session is being ended in time slices (ksmbd.smb.teardown), because a client
    reclaims it."""
    if open_.session is not None and open_.session.state is SessionState.DELETED:
        disconnect_open(open_)
