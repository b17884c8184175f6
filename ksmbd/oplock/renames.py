# SPDX-License-Identifier: GPL-2.0-or-later
"""Deletion and names: FileDispositionInformation, FileRenameInformation, FileLinkInformation (MS-FSA 2.1.5.15)."""
from __future__ import annotations

from ksmbd.oplock.breaks import break_others
from ksmbd.oplock.context import GRANTED, WAIT, Context
from ksmbd.oplock.modes import DATA_ACCESS
from ksmbd.oplock.record import H
from ksmbd.oplock.requests import Moved, MoveWithFolder, Rebase, Refused, Rename, Replace, SetDelete
from ksmbd.oplock.share import replace_refused
from ksmbd.smb.constants import DELETE, FILE_SHARE_DELETE
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_SHARING_VIOLATION


def set_delete(context: Context, request: SetDelete, retried: bool) -> bool | None:
    """Mark for deletion, or take the mark off (MS-FSA 2.1.5.15.3)."""
    entry = context.entry(request.open_id)
    if not entry.access & DELETE:
        raise Refused(STATUS_ACCESS_DENIED)
    record = context.record
    if not request.delete:
        if entry.stream:
            record.delete_pending -= {entry.stream}
        else:
            record.deleted_links -= {entry.link}
            record.opens[entry.open_id] = entry._replace(unlinks=False)
        return GRANTED
    if break_others(context, entry.stream, entry, H):
        return WAIT
    record.mark_deleted(entry)
    if (request.posix or entry.posix) and not entry.stream:
        record.opens[entry.open_id] = entry._replace(unlinks=True)
    return GRANTED


def rename(context: Context, request: Rename, retried: bool) -> bool | None:
    """Others must give up their cached handles, and those that are really open must share deletion."""
    entry = context.entry(request.open_id)
    if break_others(context, entry.stream, entry, H):
        return WAIT
    for other in context.record.opens.values():
        if (
            other.open_id != entry.open_id and other.stream == entry.stream and other.access & DATA_ACCESS
            and not other.share_access & FILE_SHARE_DELETE
        ):  # fmt: skip
            raise Refused(STATUS_SHARING_VIOLATION)
    return GRANTED


def move_with_folder(context: Context, request: MoveWithFolder, retried: bool) -> bool | None:
    """A file that moves with its folder must not be open; handle caching is broken first."""
    if break_handles(context):
        return WAIT
    if context.record.opens:
        raise Refused(STATUS_ACCESS_DENIED)
    return GRANTED


def break_handles(context: Context) -> bool:
    """Break the handle caching of all streams. Returns whether an acknowledgment is still to come."""
    wait = False
    for stream in {entry.stream for entry in context.record.opens.values()}:
        wait |= break_others(context, stream, None, H)
    return wait


def replace(context: Context, request: Replace, retried: bool) -> bool | None:
    """Opens that share deletion go on with a file that has lost its name, as after a deletion with POSIX semantics.

    MS-FSA 2.1.5.15.11 refuses whatever is open with ACCESS_DENIED. The Linux client then deletes the target and tries
    again: it is open still, so that both are lost, the old file and the name. Samba and KSMBD replace as this does."""
    if break_handles(context):
        return WAIT
    if status := replace_refused(context.record, request.link, request.posix):
        raise Refused(status)
    return GRANTED


def moved(context: Context, request: Moved) -> bool:
    """All opens that came by the name have the new one; a path is told to those of the same share alone."""
    record = context.record
    opens = record.opens
    mover = context.entry(request.open_id)
    old = mover.link
    for open_id, entry in opens.items():
        if entry.link == old:
            path = request.path if entry.share == mover.share else entry.path
            opens[open_id] = entry._replace(path=path, parent=request.parent or entry.parent, name=request.name)
    if old in record.deleted_links:
        # Somebody in another worker was quicker: the name is to go, whatever it is called.
        record.deleted_links = record.deleted_links - {old} | {opens[request.open_id].link}
    return GRANTED


def rebase(context: Context, request: Rebase) -> bool:
    """All opens of the share that have a path below the folder."""
    opens = context.record.opens
    above = request.old + "\\"
    for open_id, entry in opens.items():
        if entry.share == request.share and entry.path.startswith(above):
            opens[open_id] = entry._replace(path=request.new + entry.path[len(request.old) :])
    return GRANTED
