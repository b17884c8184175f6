# SPDX-License-Identifier: GPL-2.0-or-later
"""SET_INFO of file systems (MS-SMB2 3.3.5.21.2): requests are checked and then refused, because there are no quotas,
and label and object id belong to the administrator."""
from __future__ import annotations

from typing import Final, NamedTuple

from ksmbd.smb import info_classes as classes
from ksmbd.smb.constants import FILE_WRITE_DATA
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
_KNOWN: Final = frozenset((classes.FileFsLabelInformation, classes.FileFsVolumeFlagsInformation))
"""Classes with the use "Set" or "LOCAL" that SMB2 does not carry."""


def set_filesystem(change: Change, info_class: int) -> None:
    """Always raises: an error of the checks, else STATUS_NOT_SUPPORTED."""
    rule = _CLASSES.get(info_class)
    if rule is None:
        raise NtStatusError(STATUS_NOT_SUPPORTED if info_class in _KNOWN else STATUS_INVALID_INFO_CLASS)
    if len(change.data) < rule.size:
        raise NtStatusError(STATUS_INFO_LENGTH_MISMATCH)
    if not change.open.granted_access & rule.access or change.request.tree.read_only:
        raise NtStatusError(STATUS_ACCESS_DENIED)
    raise NtStatusError(STATUS_NOT_SUPPORTED)
