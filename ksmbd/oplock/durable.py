# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of durable and persistent opens: when one is granted, when it is kept, and who may reclaim it.

MS-SMB2 3.3.5.9.6, 3.3.5.9.7, 3.3.5.9.10, 3.3.5.9.12, 3.3.5.9.13, 3.3.7.1.
"""
from __future__ import annotations

from typing import Final, NamedTuple

from ksmbd.oplock.record import RESILIENT, RWH, H, Holder, OpenEntry
from ksmbd.oplock.requests import Reconnect, Refused
from ksmbd.oplock.settings import OplockSettings
from ksmbd.smb.access_mask import WRITE_BITS
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_SUCCESS,
)

NO_GUID: Final = bytes(16)
STATUS_FILE_FORCED_CLOSED: Final = 0xC00000B6


class DurableGrant(NamedTuple):
    """The grant of a durable request."""

    version: int = 0
    persistent: bool = False
    timeout: int = 0
    """Milliseconds."""


NOT_DURABLE: Final = DurableGrant()


def grant_durable(
    request: tuple[int, int, bool] | None, state: int, is_directory: bool, settings: OplockSettings
) -> DurableGrant:
    """Grant a durable request, (version, milliseconds, persistent), as MS-SMB2 3.3.5.9.6 and 3.3.5.9.10 say. A durable
    open needs a batch oplock or a lease with H; `state` is the caching that was granted. A persistent open needs only
    the share's capability, which the protocol has checked."""
    if request is None or is_directory or not settings.durable:
        return NOT_DURABLE
    version, timeout, persistent = request
    if not persistent and not state & H:
        return NOT_DURABLE
    if version == 1:
        return DurableGrant(1, False, settings.durable_v1_timeout)
    return DurableGrant(version, persistent, min(timeout or settings.durable_v2_default, settings.durable_v2_maximum))


def outlives_connection(entry: OpenEntry, holder: Holder | None) -> bool:
    """Whether an open outlives its connection (MS-SMB2 3.3.7.1): it is persistent or resilient, or it is durable and
    still has its batch oplock or lease with H. With FILE_DELETE_ON_CLOSE, too: the file is deleted when the open ends
    because of its timeout or of another open."""
    if entry.persistent or entry.durable == RESILIENT:
        return True
    if not entry.durable or holder is None or holder.breaking:
        return False
    return bool(holder.state & H) if holder.is_lease else holder.state == RWH


def check_reconnect(entry: OpenEntry | None, holder: Holder | None, request: Reconnect) -> int:
    """The status of a durable reconnect: MS-SMB2 3.3.5.9.7 (version 1), 3.3.5.9.12 (version 2).

    As on Windows, a request of one version may reclaim an open of the other if the CreateGuids agree: that of a
    version 1 open is zero, and a version 1 request has none to compare. The ClientGuid is compared for leases only.

    The open belongs to its share, which determines encryption and write access. So it is not given back through
    another share, with another dialect, with less protection, or where its user may now only read."""
    if entry is None or not entry.durable or entry.connected:
        return STATUS_OBJECT_NAME_NOT_FOUND
    if request.version == 2 and (
        (entry.create_guid or NO_GUID) != (request.create_guid or NO_GUID) or entry.persistent != request.persistent
    ):
        return STATUS_OBJECT_NAME_NOT_FOUND
    if entry.lease_key != request.lease_key:
        return STATUS_OBJECT_NAME_NOT_FOUND
    if entry.lease_key:
        if entry.client_guid != request.client_guid:
            return STATUS_OBJECT_NAME_NOT_FOUND
        if holder is not None and holder.version != request.lease_version:
            return STATUS_OBJECT_NAME_NOT_FOUND
        if request.path and entry.path.casefold() != request.path.casefold():
            return STATUS_INVALID_PARAMETER
    if entry.share.lower() != request.share.lower() or (entry.dialect and entry.dialect != request.dialect):
        return STATUS_OBJECT_NAME_NOT_FOUND
    if entry.owner != request.owner or entry.protection > request.protection:
        return STATUS_ACCESS_DENIED
    if request.read_only and entry.access & WRITE_BITS:
        return STATUS_ACCESS_DENIED
    return STATUS_SUCCESS


def check_instance_version(old: OpenEntry, new: OpenEntry) -> None:
    """Raise Refused where the existing open `old` has the same or a later AppInstanceVersion (MS-SMB2 3.3.5.9.13)."""
    if old.app_instance_version and new.app_instance_version and old.app_instance_version >= new.app_instance_version:
        raise Refused(STATUS_FILE_FORCED_CLOSED)
