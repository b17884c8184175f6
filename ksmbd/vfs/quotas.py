# SPDX-License-Identifier: GPL-2.0-or-later
"""Users' quotas of the file system that a file is on (MS-FSA 2.1.5.21, 2.1.5.24): a user is told his own, root all of
them, and root alone sets them."""
from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ksmbd.kernel.quota import Quota
from ksmbd.smb.ports import QuotaEntry
from ksmbd.smb.sid import Sid
from ksmbd.smb.status import STATUS_NONE_MAPPED, STATUS_NOT_SUPPORTED, NtStatusError
from ksmbd.vfs import gate
from ksmbd.vfs.errors import to_status
from ksmbd.vfs.place import Place

_NONE: Final = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ESRCH, errno.ENOTTY, errno.ENODEV)
_LAST: Final = 0xFFFFFFFE
"""The highest uid; the next is none."""
_LOOKS: Final = 4
"""Users without quota and files that are passed over for one that is told of, before the request is answered."""


@contextmanager
def _quotas() -> Iterator[None]:
    """OSError to NtStatusError."""
    try:
        yield
    except OSError as error:
        if error.errno in _NONE:
            raise NtStatusError(STATUS_NOT_SUPPORTED, "the file system has no quotas") from error
        raise to_status(error) from error


def of_sid(place: Place, fd: int, sid: Sid) -> QuotaEntry:
    """See the port File."""
    uid = place.access.idmap.uid(sid)
    with _quotas():
        if uid is None or uid > _LAST:
            gate.quota_of(place.access.caller, fd, place.user.uid)  # whether there are quotas
            return QuotaEntry(sid, 0, -1, -1)
        found = gate.quota_of(place.access.caller, fd, uid)
    return QuotaEntry(sid, found.used, found.soft or -1, found.hard or -1)


def uid_of(place: Place, sid: Sid) -> int:
    """The uid that a SID stands for. Raises STATUS_NONE_MAPPED."""
    uid = place.access.idmap.uid(sid)
    if uid is None or uid > _LAST:
        raise NtStatusError(STATUS_NONE_MAPPED, str(sid))
    return uid


def listed(place: Place, fd: int, position: int, most: int) -> tuple[list[QuotaEntry], int]:
    """See the port File; positions are uids. Users who have neither files nor limits are left out."""
    found: list[QuotaEntry] = []
    caller, idmap = place.access.caller, place.access.idmap
    looks = most * _LOOKS
    with _quotas():
        while position <= _LAST and len(found) < most and (looks > 0 or not found):
            looks -= 1
            entry = gate.next_quota(caller, fd, position)
            if entry is None:
                break
            position = entry.id + 1
            if entry.used or entry.soft or entry.hard:
                found.append(QuotaEntry(idmap.user_sid(entry.id), entry.used, entry.soft or -1, entry.hard or -1))
    return found, position


def set_all(place: Place, fd: int, entries: Sequence[QuotaEntry]) -> None:
    """See the port File. Those set before one that fails are given back what they had."""
    caller = place.access.caller
    uids = [uid_of(place, entry.sid) for entry in entries]
    done: list[Quota] = []
    with _quotas():
        try:
            for uid, entry in zip(uids, entries, strict=True):
                before = gate.quota_of(caller, fd, uid)
                gate.set_quota(caller, fd, uid, max(entry.threshold, 0), max(entry.limit, 0))
                done.append(before)
        except OSError:
            for before in reversed(done):
                gate.set_quota(caller, fd, before.id, before.soft, before.hard)
            raise
