# SPDX-License-Identifier: GPL-2.0-or-later
"""Decides on an open: breaks, sharing violations, the grant (MS-FSA 2.1.5.1.2, MS-SMB2 3.3.5.9)."""
from __future__ import annotations

from ksmbd.limits import OPENS_PER_FILE
from ksmbd.oplock import durable, local
from ksmbd.oplock.breaks import break_holder, break_others, purge
from ksmbd.oplock.caching import break_for_open, survey
from ksmbd.oplock.context import WAIT, Context
from ksmbd.oplock.grant import Beside, grant
from ksmbd.oplock.record import H, Holder, OpenEntry, Record, holder_key
from ksmbd.oplock.requests import Open, OpenResult, Refused
from ksmbd.oplock.share import OVERWRITES, is_stat_open, sharing_violation
from ksmbd.smb.constants import FILE_READ_DATA, FILE_WRITE_DATA
from ksmbd.smb.status import (
    STATUS_DELETE_PENDING,
    STATUS_FILE_NOT_AVAILABLE,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_SHARING_VIOLATION,
)


def open_file(context: Context, request: Open, retried: bool) -> OpenResult | None:
    """Decide on an open (MS-FSA 2.1.5.1.2). As on Windows, oplocks and leases are broken before share modes are
    checked. Returns WAIT while a break must be acknowledged. Raises Refused."""
    record = context.record
    entry = request.entry
    overwrite = request.disposition in OVERWRITES and not request.created
    access = entry.access | FILE_WRITE_DATA if overwrite else entry.access
    if (record.deleted_links or record.delete_pending) and record.is_deleted(entry):
        raise Refused(STATUS_DELETE_PENDING)
    displace_instance(context, entry)
    own = record.holders.get((entry.client_guid, entry.lease_key)) if entry.lease_key else None
    if own is not None and own.stream != entry.stream:
        own = None
    if not is_stat_open(access):
        again = True
        while again:
            again = wait = False
            violation = sharing_violation(record, entry.stream, access, entry.share_access)
            for holder in list(record.holders.values()):
                if holder.stream != entry.stream or holder is own:
                    continue
                left, holds_up = break_for_open(holder, access, overwrite, violation, retried)
                if entry.kernel and not violation:
                    left, holds_up = local.break_for_descriptor(holder, entry, left, holds_up)
                if left != holder.state and not break_holder(context, holder, left, True):
                    again = True
                    break
                wait |= holds_up
            if wait and not again:
                return WAIT
        if violation:
            check_available(record, entry.stream, access, entry.share_access)
            raise Refused(STATUS_SHARING_VIOLATION)
    return grant_open(context, request, own)


def check_available(record: Record, stream: str, access: int, share_access: int) -> None:
    """Raise Refused (STATUS_FILE_NOT_AVAILABLE) where the sharing violation may come from a persistent open whose
    client is not connected."""
    if any(entry.persistent and not entry.connected and entry.stream == stream for entry in record.opens.values()):
        raise Refused(STATUS_FILE_NOT_AVAILABLE)


def displace_instance(context: Context, entry: OpenEntry) -> None:
    """Close the opens of an application instance that has failed over to another client, if the new open's user may
    read the file (MS-SMB2 3.3.5.9.13). Raises Refused."""
    if not entry.app_instance_id:
        return
    for other in list(context.record.opens.values()):
        if (
            other.app_instance_id == entry.app_instance_id and other.client_guid != entry.client_guid
            and other.stream == entry.stream and other.share.lower() == entry.share.lower()
            and (other.owner == entry.owner or entry.access & FILE_READ_DATA)
        ):  # fmt: skip
            durable.check_instance_version(other, entry)
            purge(context, other)


def grant_open(context: Context, request: Open, own: Holder | None) -> OpenResult:
    """Add the open to the record, with the caching that it is granted. `own` is the existing lease that it shares, or
    None. Raises Refused, STATUS_DELETE_PENDING where what gave way to this open takes the file with it."""
    record = context.record
    link = request.entry.link
    if context.gone and ((link, "") in context.gone or (link, request.entry.stream) in context.gone):
        raise Refused(STATUS_DELETE_PENDING)
    if len(record.opens) >= OPENS_PER_FILE.value:
        raise Refused(STATUS_INSUFFICIENT_RESOURCES)
    entry = request.entry
    beside = Beside(
        survey(record, entry.stream, entry.client_guid, entry.lease_key),
        own,
        context.locks(entry.stream).count > 0,
        entry.kernel != 0 and local.writes(record, entry.kernel),
    )
    granted = grant(entry, request.oplock_level, request.lease, request.durable, context.settings, beside)
    if granted.holder is not None:
        record.holders[holder_key(granted.holder)] = granted.holder
    record.opens[entry.open_id] = granted.entry
    if entry.delete_on_close:
        break_others(context, entry.stream, granted.entry, H)
    return granted.result
