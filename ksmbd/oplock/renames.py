# SPDX-License-Identifier: GPL-2.0-or-later
"""Decisions on deletions, renames and links: FileDispositionInformation, FileRenameInformation, FileLinkInformation
(MS-FSA 2.1.5.15)."""
from __future__ import annotations

from ksmbd.oplock.breaks import break_others
from ksmbd.oplock.context import GRANTED, WAIT, Context
from ksmbd.oplock.modes import DATA_ACCESS
from ksmbd.oplock.record import H, holder_key
from ksmbd.oplock.requests import (
    Moved,
    MoveWithFolder,
    Rebase,
    Refused,
    Rename,
    RenameStream,
    Replace,
    SetDelete,
    StreamMoved,
)
from ksmbd.oplock.share import replace_refused
from ksmbd.smb.constants import DELETE, FILE_SHARE_DELETE
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_SHARING_VIOLATION


def set_delete(context: Context, request: SetDelete, retried: bool) -> bool | None:
    """Mark the file or stream for deletion, or remove the mark (MS-FSA 2.1.5.15.3). Raises Refused."""
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
    """Break the handle caching of others before a rename. Opens that remain must share deletion, else Refused is
    raised."""
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
    """Break the handle caching of a file below a directory that is renamed. The file must not be open then, else
    Refused is raised."""
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
    """Break the handle caching of a file that is about to be replaced. Opens that share deletion stay valid: their file
    has lost its name, as after a deletion with POSIX semantics. Raises Refused.

    MS-FSA 2.1.5.15.11 refuses to replace an open file with ACCESS_DENIED. The Linux client then deletes the target and
    tries again; as the file is still open, that fails, and both the file and the name are lost. Samba and KSMBD replace
    open files, as this does."""
    if break_handles(context):
        return WAIT
    if status := replace_refused(context.record, request.link, request.posix):
        raise Refused(status)
    return GRANTED


def moved(context: Context, request: Moved) -> bool:
    """Give all opens by the renamed name the new name; only opens of the same share get the new path, too."""
    record = context.record
    opens = record.opens
    mover = context.entry(request.open_id)
    old = mover.link
    for open_id, entry in opens.items():
        if entry.link == old:
            path = request.path if entry.share == mover.share else entry.path
            opens[open_id] = entry._replace(path=path, parent=request.parent or entry.parent, name=request.name)
    if old in record.deleted_links:
        # Another worker has marked the old name for deletion meanwhile: move the mark to the new name.
        record.deleted_links = record.deleted_links - {old} | {opens[request.open_id].link}
    return GRANTED


def rebase(context: Context, request: Rebase) -> bool:
    """Change the path of all opens of the share below a renamed directory."""
    opens = context.record.opens
    above = request.old + "\\"
    for open_id, entry in opens.items():
        if entry.share == request.share and entry.path.startswith(above):
            opens[open_id] = entry._replace(path=request.new + entry.path[len(request.old) :])
    return GRANTED


def rename_stream(context: Context, request: RenameStream, retried: bool) -> bool | None:
    """Break the handle caching of others on either stream. Neither may be open then, but by this open: the others
    would go on to use the old name, or data that is gone. A stream that is to be deleted keeps its name, and one that
    is deleted when this open is closed does not become the unnamed one, which the whole file would go with. Raises
    Refused."""
    entry, record, stream = context.entry(request.open_id), context.record, request.stream
    if entry.stream in record.delete_pending or (entry.delete_on_close and not stream):
        raise Refused(STATUS_ACCESS_DENIED)
    wait = break_others(context, entry.stream, entry, H)
    if break_others(context, stream, None, H) or wait:
        return WAIT
    for other in record.opens.values():
        if other.stream == stream:
            raise Refused(STATUS_ACCESS_DENIED)
        if other.stream == entry.stream and other.open_id != entry.open_id:
            raise Refused(STATUS_SHARING_VIOLATION)
    return GRANTED


def stream_moved(context: Context, request: StreamMoved) -> bool:
    """Give the open, its oplock or lease and its byte-range locks the stream's new name."""
    record = context.record
    entry = context.entry(request.open_id)
    holder = record.holder_of(entry)
    if holder is not None:
        record.holders[holder_key(holder)] = holder._replace(stream=request.stream)
    held = context.locks(entry.stream).of_open(entry.open_id)
    if held:
        context.locks(entry.stream).drop_open(entry.open_id)
        context.locks(request.stream).add_all(held)
    record.opens[entry.open_id] = entry._replace(stream=request.stream)
    return GRANTED
