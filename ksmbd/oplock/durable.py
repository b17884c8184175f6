# SPDX-License-Identifier: GPL-2.0-or-later
"""Durable and persistent opens: who gets one, who keeps it, who may reclaim it.

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
    """What a durable request is granted."""

    version: int = 0
    persistent: bool = False
    timeout: int = 0
    """Milliseconds."""


NOT_DURABLE: Final = DurableGrant()


def grant_durable(
    request: tuple[int, int, bool] | None, state: int, is_directory: bool, settings: OplockSettings
) -> DurableGrant:
    """MS-SMB2 3.3.5.9.6 and 3.3.5.9.10: durable needs a batch oplock or a lease with H; persistent needs nothing more
    than the share, which the protocol has checked. `state` is the caching that was granted."""
    if request is None or is_directory or not settings.durable:
        return NOT_DURABLE
    version, timeout, persistent = request
    if not persistent and not state & H:
        return NOT_DURABLE
    if version == 1:
        return DurableGrant(1, False, settings.durable_v1_timeout)
    return DurableGrant(version, persistent, min(timeout or settings.durable_v2_default, settings.durable_v2_maximum))


def outlives_connection(entry: OpenEntry, holder: Holder | None) -> bool:
    """Whether an open outlives its connection: persistent or resilient, or durable and its batch oplock or H lease
    still held. A durable one that deletes its file on close is closed with the connection, so that the deletion is not
    put off."""
    if entry.persistent or entry.durable == RESILIENT:
        return True
    if not entry.durable or entry.delete_on_close or holder is None or holder.breaking:
        return False
    return bool(holder.state & H) if holder.is_lease else holder.state == RWH


def check_reconnect(entry: OpenEntry | None, holder: Holder | None, request: Reconnect) -> int:
    """The status for reclaiming an open: MS-SMB2 3.3.5.9.7 (version 1), 3.3.5.9.12 (version 2).

    As Windows does it: either version reclaims an open of the other, where the create guids agree (that of a version 1
    open is zero, a version 1 reconnect has none to compare), and the client's guid counts for leases only. An open is
    its share's, which says how it is protected and what may be written: through another one, with another dialect,
    with less protection or where its user may only read by now, it is not given back."""
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
    """Refuses a failover from an application instance of a later version (MS-SMB2 3.3.5.9.16)."""
    if old.app_instance_version and new.app_instance_version and old.app_instance_version >= new.app_instance_version:
        raise Refused(STATUS_FILE_FORCED_CLOSED)
