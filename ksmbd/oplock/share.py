# SPDX-License-Identifier: GPL-2.0-or-later
"""Share modes: which opens of one file exclude each other (MS-FSA 2.1.5.1.2.2)."""
from __future__ import annotations

from typing import Final

from ksmbd.oplock.record import Link, OpenEntry, Record
from ksmbd.smb.constants import (
    DELETE,
    FILE_APPEND_DATA,
    FILE_EXECUTE,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_READ_ATTRIBUTES,
    FILE_READ_DATA,
    FILE_SHARE_DELETE,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    FILE_SUPERSEDE,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    READ_CONTROL,
    SYNCHRONIZE,
)
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_DELETE_PENDING, STATUS_FILE_NOT_AVAILABLE

OVERWRITES: Final = frozenset((FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF))
"""The dispositions that truncate a file that exists."""

STAT_ACCESS: Final = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE
"""An open for no more than this breaks no oplock and takes part in no share check (MS-FSA 2.1.5.1.2)."""

LEASE_STAT_ACCESS: Final = STAT_ACCESS | READ_CONTROL
"""An open for no more than this breaks no lease, although READ_CONTROL alone does break oplocks."""

SHARED_ACCESS: Final = (
    (FILE_READ_DATA | FILE_EXECUTE, FILE_SHARE_READ),
    (FILE_WRITE_DATA | FILE_APPEND_DATA, FILE_SHARE_WRITE),
    (DELETE, FILE_SHARE_DELETE),
)
"""Which access needs which ShareAccess of everybody else."""

DATA_ACCESS: Final = FILE_READ_DATA | FILE_EXECUTE | FILE_WRITE_DATA | FILE_APPEND_DATA | DELETE


def is_stat_open(access: int, allowed: int = STAT_ACCESS) -> bool:
    """Whether an open looks at attributes only."""
    return access & ~allowed == 0


def conflict(access: int, share_access: int, other_access: int, other_share_access: int) -> bool:
    """Whether two opens of one stream exclude each other. Opens without data or delete access exclude nobody."""
    if not access & DATA_ACCESS or not other_access & DATA_ACCESS:
        return False
    return any(
        (access & mask and not other_share_access & share) or (other_access & mask and not share_access & share)
        for mask, share in SHARED_ACCESS
    )


def delete_conflict(entry: OpenEntry, stream: str, access: int, share_access: int) -> bool:
    """Deleting a file takes its streams along: DELETE access to the file and an open stream that does not share
    deletion exclude each other (MS-FSA 2.1.5.1.2.2)."""
    if stream == "":
        return bool(access & DELETE and entry.access & DATA_ACCESS and not entry.share_access & FILE_SHARE_DELETE)
    if entry.stream == "":
        return bool(entry.access & DELETE and access & DATA_ACCESS and not share_access & FILE_SHARE_DELETE)
    return False


def sharing_violation(record: Record, stream: str, access: int, share_access: int) -> bool:
    """Whether an open that asks for this finds others that forbid it. Share modes count per stream."""
    for entry in record.opens.values():
        if entry.stream == stream:
            if conflict(access, share_access, entry.access, entry.share_access):
                return True
        elif delete_conflict(entry, stream, access, share_access):
            return True
    return False


def replace_refused(record: Record, link: Link, posix: bool) -> int:
    """The status that forbids another file to take this name, 0 for none. An open that does not share deletion refuses
    the Linux client's deletion of the target, too, so that its second try does no harm; ACCESS_DENIED for anything else
    would make it delete what is open."""
    if link in record.deleted_links and not posix:
        return STATUS_DELETE_PENDING
    for entry in record.opens.values():
        if entry.access & DATA_ACCESS and not entry.share_access & FILE_SHARE_DELETE:
            return STATUS_ACCESS_DENIED
        if not entry.connected:
            return STATUS_FILE_NOT_AVAILABLE
    return 0
