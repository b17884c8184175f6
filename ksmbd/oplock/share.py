# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks share modes: whether an open conflicts with other opens of the file (MS-FSA 2.1.5.1.2.2)."""
from __future__ import annotations

from typing import Final

from ksmbd.oplock.modes import (
    ACCESS,
    DATA_ACCESS,
    DELETES,
    SHARED_ACCESS,
    SHARES_DELETE,
    STAT_ACCESS,
    mode_of,
    modes_conflict,
)
from ksmbd.oplock.open_map import OpenMap
from ksmbd.oplock.record import Link, OpenEntry, Record
from ksmbd.smb.constants import (
    DELETE,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_SHARE_DELETE,
    FILE_SUPERSEDE,
    READ_CONTROL,
)
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_DELETE_PENDING, STATUS_FILE_NOT_AVAILABLE

OVERWRITES: Final = frozenset((FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF))
"""The CreateDispositions that truncate an existing file."""

LEASE_STAT_ACCESS: Final = STAT_ACCESS | READ_CONTROL
"""An open with no other access breaks no lease. (READ_CONTROL alone does break oplocks.)"""

def is_stat_open(access: int, allowed: int = STAT_ACCESS) -> bool:
    """Whether an open has no access beyond `allowed`: a stat open."""
    return access & ~allowed == 0


def conflict(access: int, share_access: int, other_access: int, other_share_access: int) -> bool:
    """Whether two opens of one stream conflict. Opens without data or delete access never do."""
    if not access & DATA_ACCESS or not other_access & DATA_ACCESS:
        return False
    return any(
        (access & mask and not other_share_access & share) or (other_access & mask and not share_access & share)
        for mask, share in SHARED_ACCESS
    )


def delete_conflict(entry: OpenEntry, stream: str, access: int, share_access: int) -> bool:
    """Whether opens of different streams of a file conflict. Deleting a file deletes its streams, so DELETE access to
    the file conflicts with an open stream that does not share deletion (MS-FSA 2.1.5.1.2.2)."""
    if stream == "":
        return bool(access & DELETE and entry.access & DATA_ACCESS and not entry.share_access & FILE_SHARE_DELETE)
    if entry.stream == "":
        return bool(entry.access & DELETE and access & DATA_ACCESS and not share_access & FILE_SHARE_DELETE)
    return False


def sharing_violation(record: Record, stream: str, access: int, share_access: int) -> bool:
    """Whether a new open with this access and ShareAccess conflicts with an existing one. Share modes count per
    stream."""
    if record.opens.counted:
        return _counted_violation(record.opens, stream, mode_of(access, share_access))
    for entry in record.opens.values():
        if entry.stream == stream:
            if conflict(access, share_access, entry.access, entry.share_access):
                return True
        elif delete_conflict(entry, stream, access, share_access):
            return True
    return False


def replace_refused(record: Record, link: Link, posix: bool) -> int:
    """The status with which replacing this name by another file is refused; 0 if it is allowed.

    STATUS_ACCESS_DENIED makes the Linux client delete the target and try again. Where an open does not share deletion,
    that deletion is refused, too, so it does no harm. In all other cases it would delete an open file."""
    if link in record.deleted_links and not posix:
        return STATUS_DELETE_PENDING
    for entry in record.opens.values():
        if entry.access & DATA_ACCESS and not entry.share_access & FILE_SHARE_DELETE:
            return STATUS_ACCESS_DENIED
        if not entry.connected:
            return STATUS_FILE_NOT_AVAILABLE
    return 0


def _counted_violation(opens: OpenMap[OpenEntry], stream: str, mode: int) -> bool:
    """`sharing_violation` for a record with many opens, by their modes."""
    if any(modes_conflict(mode, other) for other in opens.counts(stream).modes):
        return True
    if stream:
        keeps = mode & ACCESS and not mode & SHARES_DELETE
        return bool(keeps) and any(other & DELETES for other in opens.counts("").modes)
    return bool(mode & DELETES) and any(
        other & ACCESS and not other & SHARES_DELETE
        for name in opens.streams() if name for other in opens.counts(name).modes
    )  # fmt: skip
