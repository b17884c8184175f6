# SPDX-License-Identifier: GPL-2.0-or-later
"""Converts the records of the OpenTable port (ksmbd/smb/ports/opens.py) to those of decisions, and back."""
from __future__ import annotations

from typing import Final

from ksmbd.oplock.kernel_sync import kernel_flags
from ksmbd.oplock.record import RESILIENT, OpenEntry, WorkerTag
from ksmbd.oplock.requests import LeaseContext, OpenResult, Reconnect
from ksmbd.smb.constants import FILE_DELETE_ON_CLOSE, OPLOCK_LEVEL_NONE
from ksmbd.smb.ports import DurableReconnect, DurableRequest, FileKey, LeaseGrant, OpenGrant, OpenRef, OpenRequest

_new: Final = tuple.__new__


def durable_of(request: OpenRequest) -> tuple[int, int, bool] | None:
    """The durable request of an open as (version, milliseconds, persistent); None where it has none."""
    durable = request.durable
    return (durable.version, durable.timeout, durable.persistent) if durable is not None and durable.version else None


def grant_of(granted: OpenResult) -> OpenGrant:
    """The port's OpenGrant for the result of a decision."""
    lease = LeaseContext._make(granted.lease) if granted.lease is not None else None
    return OpenGrant(
        oplock_level=granted.oplock_level,
        lease=None if lease is None else LeaseGrant(
            lease.key, lease.state, lease.version, lease.flags, lease.parent_key, lease.epoch
        ),
        durable=bool(granted.durable),
        persistent=granted.persistent,
        durable_timeout=granted.timeout,
    )  # fmt: skip


def request_of(file: FileKey, entry: OpenEntry) -> OpenRequest:
    """The OpenRequest of an existing open, from which the protocol rebuilds its Open on a reconnect."""
    return OpenRequest(
        ref=OpenRef(file, entry.stream, entry.open_id), client_guid=entry.client_guid, session_id=entry.session_id,
        owner=entry.owner, share=entry.share, path=entry.path, is_directory=entry.is_directory, created=False,
        granted_access=entry.access, share_access=entry.share_access, disposition=0, options=entry.options,
        oplock_level=OPLOCK_LEVEL_NONE, parent=entry.parent, persistent_state=entry.reconnectable_state,
        durable=DurableRequest(
            version=entry.durable, create_guid=entry.create_guid, timeout=entry.timeout, persistent=entry.persistent,
            app_instance_id=entry.app_instance_id, app_instance_version=entry.app_instance_version,
            resilient=entry.durable == RESILIENT, handle=entry.handle,
        ),
    )  # fmt: skip


def reconnect_of(request: DurableReconnect) -> Reconnect:
    """The Reconnect request of a decision, for a durable reconnect."""
    lease = request.lease
    return Reconnect(
        open_id=request.persistent_id,
        version=request.version,
        create_guid=request.create_guid,
        client_guid=request.client_guid,
        owner=request.owner,
        lease_key=lease.key if lease else b"",
        lease_version=lease.version if lease else 0,
        persistent=request.persistent,
        path=request.path,
        session_id=request.session_id,
        share=request.share,
        read_only=request.read_only,
        dialect=request.dialect,
        protection=request.protection,
    )


def entry_of(request: OpenRequest, lease: LeaseContext | None, me: WorkerTag) -> OpenEntry:
    """The record entry of a new open. `lease` is its lease request as far as the settings allow it; `me` is the worker
    that has the open."""
    durable = request.durable
    ref = request.ref
    options = request.options
    worker, epoch = me
    # In the order of the fields: keywords would cost eight times as much on every open.
    return _new(OpenEntry, (
        ref.open_id, ref.stream, worker, epoch, request.client_guid, request.session_id, request.owner,
        request.share, request.path, request.is_directory, request.granted_access, request.share_access, options,
        request.parent, options & FILE_DELETE_ON_CLOSE != 0, lease.key if lease is not None else b"",
        0, False, durable.create_guid if durable is not None else b"",
        durable.app_instance_id if durable is not None else b"",
        durable.app_instance_version if durable is not None else None, 0, True, 0.0, request.persistent_state,
        0 if request.local is None else kernel_flags(request.local), request.name, request.posix, False,
        request.dialect, request.protection, durable.handle if durable is not None else b"",
    ))  # fmt: skip
