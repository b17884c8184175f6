# SPDX-License-Identifier: GPL-2.0-or-later
"""SET_INFO of file systems (MS-SMB2 3.3.5.21.2): requests are checked and then refused, because label, object id and
whether there are quotas belong to the administrator of the machine; but what is so already may be set."""
from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from ksmbd.smb import info_classes as classes
from ksmbd.smb.constants import FILE_WRITE_DATA
from ksmbd.smb.reader import Reader
from ksmbd.smb.set_query import Change
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INFO_LENGTH_MISMATCH,
    STATUS_INVALID_INFO_CLASS,
    STATUS_NOT_SUPPORTED,
    NtStatusError,
)


class _Rule(NamedTuple):
    size: int
    access: int


_CLASSES: Final[dict[int, _Rule]] = {
    classes.FileFsControlInformation: _Rule(48, FILE_WRITE_DATA),
    classes.FileFsObjectIdInformation: _Rule(64, FILE_WRITE_DATA),
}
_CONTROL: Final = Struct("<qqqqqI")
_QUOTA_FLAGS: Final = 3
"""FILE_VC_QUOTA_TRACK and FILE_VC_QUOTA_ENFORCE."""
_UNLIMITED: Final = frozenset((-1, 0))
_KNOWN: Final = frozenset((classes.FileFsLabelInformation, classes.FileFsVolumeFlagsInformation))
"""Classes with the use "Set" or "LOCAL" that SMB2 does not carry."""


def set_filesystem(change: Change, info_class: int) -> None:
    """Do nothing where nothing would change. Raises an error of the checks, else STATUS_NOT_SUPPORTED."""
    rule = _CLASSES.get(info_class)
    if rule is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED if info_class in _KNOWN else STATUS_INVALID_INFO_CLASS)
    if len(change.data) < rule.size:
        raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
    if not change.open.granted_access & rule.access or change.request.tree.read_only:
        raise NtStatusError(STATUS_ACCESS_DENIED)
    if info_class != classes.FileFsControlInformation or not _is_so(change):
        raise NtStatusError(STATUS_NOT_SUPPORTED)


def _is_so(change: Change) -> bool:
    """Whether FileFsControlInformation (MS-FSCC 2.5.2) asks for the quotas that the file system has: tracked and
    enforced as they are, and no limits for who has none of his own."""
    _, _, _, threshold, limit, flags = Reader(change.data).unpack(_CONTROL)
    return flags & _QUOTA_FLAGS == change.file.volume_info().quota_flags and {threshold, limit} <= _UNLIMITED
