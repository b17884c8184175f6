# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol's words and those of decisions: each field gets to its place."""
from __future__ import annotations

from ksmbd.oplock.conversion import entry_of
from ksmbd.oplock.grant import new_lease, new_oplock
from ksmbd.oplock.local import WATCHED, WRITER
from ksmbd.oplock.record import RWH, Holder, OpenEntry
from ksmbd.oplock.requests import LeaseContext
from ksmbd.smb import constants as c
from ksmbd.smb.ports import ENCRYPTED, DurableRequest, LeaseRequest, OpenRef, OpenRequest

from .kernel_fake import Kernel, Side

KEY = b"k" * 16


def request(**changes: object) -> OpenRequest:
    """An open in which no two fields of one type have the same value."""
    made = OpenRequest(
        ref=OpenRef((1, 2), "stream", 3), client_guid=b"g" * 16, session_id=4, owner="owner", share="share",
        path="d\\path", is_directory=True, created=False, granted_access=5, share_access=6, disposition=7,
        options=c.FILE_DELETE_ON_CLOSE | 8, oplock_level=9, lease=LeaseRequest(KEY, 1, 2, 0, b"", 10),
        durable=DurableRequest(2, b"c" * 16, 11, True, b"i" * 16, (12, 13)), parent=(14, 15), persistent_state=b"kept",
        name=b"path", posix=True, dialect=16, protection=ENCRYPTED,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_an_open_becomes_the_entry_of_its_record() -> None:
    assert entry_of(request(), LeaseContext(KEY, 1, 2, 0, b"", 10), (17, 18)) == OpenEntry(
        open_id=3, stream="stream", worker=17, epoch=18, client_guid=b"g" * 16, session_id=4, owner="owner",
        share="share", path="d\\path", is_directory=True, access=5, share_access=6,
        options=c.FILE_DELETE_ON_CLOSE | 8, parent=(14, 15), delete_on_close=True, lease_key=KEY, durable=0,
        persistent=False, create_guid=b"c" * 16, app_instance_id=b"i" * 16, app_instance_version=(12, 13), timeout=0,
        connected=True, deadline=0.0, reconnectable_state=b"kept", kernel=0, name=b"path", posix=True, unlinks=False,
        dialect=16, protection=ENCRYPTED,
    )  # fmt: skip


def test_what_a_request_leaves_out() -> None:
    made = entry_of(request(durable=None, options=0, posix=False), None, (17, 18))
    assert (made.lease_key, made.create_guid, made.app_instance_id, made.app_instance_version) == (b"", b"", b"", None)
    assert (made.delete_on_close, made.posix) == (False, False)


def test_a_lease_and_an_oplock_become_holders() -> None:
    made = entry_of(request(), LeaseContext(KEY, 1, 2, 0, b"", 10), (17, 18))
    lease = LeaseContext(KEY, RWH, 2, 4, b"p" * 16, 0xFFFF)
    assert new_lease(made, lease, RWH) == Holder(
        stream="stream", client_guid=b"g" * 16, key=KEY, open_id=0, state=RWH, breaking=False, requested=0, required=0,
        epoch=0, version=2, flags=4, parent_key=b"p" * 16, deadline=0.0,
    )  # fmt: skip
    assert new_lease(made, lease, 0).epoch == 0xFFFF, "nothing granted is no new state"
    assert new_oplock(made, RWH) == Holder(
        stream="stream", client_guid=b"g" * 16, key=b"", open_id=3, state=RWH, breaking=False, requested=0, required=0,
        epoch=0, version=0, flags=0, parent_key=b"", deadline=0.0,
    )  # fmt: skip


def test_the_descriptor_of_an_open_beside_local_processes() -> None:
    kernel = Kernel()
    for side, expected in ((Side(kernel), WATCHED | WRITER), (Side(kernel, False), WATCHED),
                           (Side(kernel, oplocks=False), 0)):  # fmt: skip
        assert entry_of(request(local=side), None, (17, 18)).kernel == expected
