# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE of durable, resilient and persistent opens, their reconnects and replays (MS-SMB2 3.3.5.9.6 to 3.3.5.9.12),
over the ports in memory."""
from __future__ import annotations

from dataclasses import replace
from struct import pack
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of
from create_bench import (
    GUID,
    KEY,
    LEASE_V2,
    answers,
    asked,
    asked_durable,
    asked_to_reclaim,
    bench,
    refused,
    run,
    the_open,
)

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import durable
from ksmbd.smb import status as s
from ksmbd.smb.model import Open, TreeConnect
from ksmbd.smb.open_life import disconnect_open, purge_open
from ksmbd.smb.ports import (
    ENCRYPTED,
    SIGNED,
    CloseOutcome,
    DurableReconnect,
    Identity,
    OpenGrant,
    OpenRequest,
    PurgedOpen,
    Reconnected,
    ShareConfig,
)
from ksmbd.smb.request import Reply
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future


def durable_open(made: Bench, contexts: bytes, grant: OpenGrant, **arguments: Any) -> tuple[Open, Reply]:
    made.table.wait["open"] = Future.of(grant)
    reply = run(made, m.create("file", contexts=contexts, oplock=c.OPLOCK_LEVEL_BATCH, **arguments))
    made.table.wait.clear()
    return the_open(made, reply), reply


DH2Q = m.context(ctx.DH2Q, pack("<II8s16s", 600_000, 0, bytes(8), GUID))
BATCH = OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, False, 60_000)


def test_durable_grants() -> None:
    made = bench()
    open_, reply = durable_open(made, m.context(ctx.DHNQ, bytes(16)), BATCH)
    assert open_.is_durable and answers(reply) == {ctx.DHNQ: bytes(8)}
    open_, reply = durable_open(made, DH2Q, BATCH)
    assert open_.is_durable and open_.create_guid == GUID and answers(reply) == {ctx.DH2Q: pack("<II", 60_000, 0)}
    question = asked(made)
    assert question.durable is not None and question.durable.timeout == durable.MAX_TIMEOUT
    open_, reply = durable_open(made, DH2Q, OpenGrant(c.OPLOCK_LEVEL_II, None, True, False, 60_000))
    assert not open_.is_durable and answers(reply) == {}


def test_durable_handles_off() -> None:
    made = bench(durable_handles=False)
    run(made, m.create("file", contexts=DH2Q))
    assert asked(made).durable is None


def test_no_open_of_a_snapshot_is_durable() -> None:
    """It is reclaimed by its path, which leads to the live file."""
    made = bench(durable_handles=True)
    made.volume.is_snapshot = True
    run(made, m.create("file", contexts=DH2Q))
    assert asked(made).durable is None


def test_a_persistent_open_needs_the_share() -> None:
    made = bench()
    persistent = m.context(ctx.DH2Q, pack("<II8s16s", 0, 2, bytes(8), GUID))
    durable_open(made, persistent, OpenGrant(0))
    assert not asked_durable(made).persistent
    made.tree.share.continuous_availability = True
    open_, reply = durable_open(made, persistent, OpenGrant(0, None, True, True, 60_000))
    assert asked_durable(made).persistent and open_.is_persistent
    assert answers(reply)[ctx.DH2Q] == pack("<II", 60_000, 2)


def disconnected(made: Bench, contexts: bytes = DH2Q) -> Open:
    open_, _ = durable_open(made, contexts, BATCH)
    made.table.keep_on_disconnect = True
    disconnect_open(open_)
    assert open_.session is None and not open_.closed and not made.session.opens
    assert made.server.opens[open_.persistent_id] is open_ and made.table.kept == {open_.ref: open_}
    return open_


def reconnecting(open_: Open, guid: bytes = GUID, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return m.chain((ctx.DH2C, pack("<QQ16sI", open_.persistent_id, open_.volatile_id, guid, 0)), *extra)


def give_back(made: Bench, open_: Open, grant: OpenGrant | None = None) -> None:
    assert open_.ref is not None
    question = made.table.opens[open_.ref]
    made.table.reclaim = lambda request: Reconnected(question, grant or BATCH, open_)


def test_reconnect() -> None:
    made = bench()
    kept = disconnected(made)
    give_back(made, kept)
    # The impersonation level and the access are not looked at when an open is reclaimed.
    reply = run(made, m.create("file", access=0, impersonation=9, contexts=reconnecting(kept)))
    open_ = the_open(made, reply)
    assert open_.file is kept.file and open_.persistent_id == kept.persistent_id
    assert open_.volatile_id != kept.volatile_id and open_.session is made.session and open_.is_durable
    assert kept.closed and not open_.closed
    assert answers(reply) == {}


def test_the_table_is_asked_what_the_client_said() -> None:
    """MS-SMB2 3.3.5.9.7 and 3.3.5.9.12: a DHnC has no CreateGuid, and reclaims opens that have one, too."""
    made = bench()
    kept = disconnected(made)
    with_lease = reconnecting(kept, extra=((ctx.RQLS, KEY + pack("<IIQ", 7, 0, 0)),))
    assert refused(made, m.create("file", contexts=with_lease)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    v1 = m.context(ctx.DHNC, pack("<QQ", kept.persistent_id, kept.volatile_id))
    assert refused(made, m.create("file", contexts=v1)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    asked = asked_to_reclaim(made)
    assert [(one.version, one.create_guid) for one in asked] == [(2, GUID), (1, b"")]
    assert asked[0].lease is not None and asked[0].lease.key == KEY
    with_more = reconnecting(kept, extra=((ctx.QFID, b""),))
    assert refused(made, m.create("file", contexts=with_more)) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert len(asked_to_reclaim(made)) == 2


def give_back_without_handle(made: Bench, open_: Open) -> OpenRequest:
    """What is given back, as another worker's open, or one of the server that was here before, comes back."""
    assert open_.ref is not None
    question = made.table.opens.pop(open_.ref)
    del made.server.opens[open_.persistent_id]
    made.table.reclaim = lambda request: Reconnected(question, BATCH)
    return question


def test_reconnect_of_an_open_that_is_not_in_this_process() -> None:
    """The file is opened again by its name (MS-SMB2 3.3.5.9.12)."""
    made = bench()
    kept = disconnected(made)
    give_back_without_handle(made, kept)
    open_ = the_open(made, run(made, m.create("file", contexts=reconnecting(kept))))
    assert open_.file is not None and open_.file is not kept.file and open_.ref == kept.ref
    assert open_.persistent_id == kept.persistent_id and open_.granted_access == kept.granted_access
    assert made.server.opens[open_.persistent_id] is open_ and open_.is_durable


def test_reconnect_where_another_file_has_the_name() -> None:
    made = bench()
    kept = disconnected(made)
    question = give_back_without_handle(made, kept)
    assert kept.ref is not None and kept.file is not None
    kept.file.close()
    question.ref = kept.ref._replace(file=(9, 9))
    made.table.calls.clear()
    assert refused(made, m.create("file", contexts=reconnecting(kept))) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert not made.session.opens
    assert "disconnect" not in [call[0] for call in made.table.calls], "nothing was taken from who waits for it"
    assert all(file.closed for file in made.volume.opened[1:])


def test_what_a_reconnect_is_checked_against() -> None:
    """Share, dialect, protection and the right to write, at the open and when it is taken up again."""
    made = bench()
    made.session.signing_required = True
    kept = disconnected(made)
    question = asked(made)
    assert (question.owner, question.share) == ("alice", "share")
    assert (question.dialect, question.protection) == (c.DIALECT_311, SIGNED)
    made.tree.read_only = made.tree.encrypt_data = True
    assert refused(made, m.create("file", contexts=reconnecting(kept))) == s.STATUS_OBJECT_NAME_NOT_FOUND
    (back,) = asked_to_reclaim(made)
    assert (back.owner, back.share, back.read_only) == ("alice", "share", True)
    assert (back.dialect, back.protection) == (c.DIALECT_311, ENCRYPTED)


@pytest.mark.parametrize(
    "identity",
    [
        Identity("Alice", "WORKGROUP", 1000, 1000, (7, 8), b"K" * 16, is_admin=True),
        Identity("alice", "WORKGROUP", 1000, 1000, (7, 8, 9), b"K" * 16, is_admin=True),
    ],
)
def test_a_user_with_the_same_rights_takes_it_up_again(identity: Identity) -> None:
    made = bench()
    made.session.identity = Identity("alice", "WORKGROUP", 1000, 1000, (7, 8), b"K" * 16, is_admin=True)
    kept = disconnected(made)
    give_back(made, kept)
    made.session.identity = identity
    assert the_open(made, run(made, m.create("file", contexts=reconnecting(kept)))).file is kept.file


@pytest.mark.parametrize(
    "change", [{"uid": 1002}, {"gid": 1002}, {"groups": (7,)}, {"is_admin": False}, {"is_guest": True}]
)
def test_who_has_lost_rights_does_not_get_them_back_with_an_open(change: dict[str, Any]) -> None:
    made = bench()
    made.session.identity = Identity("alice", "WORKGROUP", 1000, 1000, (7, 8), b"K" * 16, is_admin=True)
    kept = disconnected(made)
    give_back(made, kept)
    made.session.identity = replace(made.session.identity, **change)
    assert refused(made, m.create("file", contexts=reconnecting(kept))) == s.STATUS_ACCESS_DENIED
    assert not kept.closed and not made.session.opens


def test_an_owner_is_who_has_the_account() -> None:
    alice = Identity("Alice", "WORKGROUP", 1000, 1000)
    guest, nobody = replace(alice, is_guest=True), replace(alice, is_anonymous=True)
    assert durable.owner_of(alice) == durable.owner_of(replace(alice, account="alice")) == "alice"
    assert len({durable.owner_of(one) for one in (alice, guest, nobody)}) == 3


def test_a_file_opened_for_an_open_that_somebody_took_meanwhile_is_closed() -> None:
    made = bench()
    kept = disconnected(made)
    assert kept.ref is not None
    made.table.kept_elsewhere = made.table.opens[kept.ref]
    assert refused(made, m.create("file", contexts=reconnecting(kept))) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert made.volume.opened[-1] is not kept.file and made.volume.opened[-1].closed


def test_a_replay_through_another_tree_connect_is_another_create() -> None:
    made = bench()
    open_, _ = durable_open(made, DH2Q, BATCH, disposition=c.FILE_OPEN_IF)
    assert open_.ref is not None
    made.table.replays[b"G" * 16, GUID] = open_.ref
    other = TreeConnect(3, made.session, ShareConfig("other", "/srv", oplocks=False), made.volume, c.FILE_ALL_ACCESS)
    body = m.create("file", contexts=DH2Q, oplock=c.OPLOCK_LEVEL_BATCH, disposition=c.FILE_OPEN_IF)
    assert refused(made, body, c.FLAGS_REPLAY_OPERATION, tree=other) == s.STATUS_DUPLICATE_OBJECTID


def test_a_purged_open_is_closed_and_deleted() -> None:
    made = bench()
    kept = disconnected(made)
    assert kept.ref is not None and kept.file is not None
    purge_open(made.server, PurgedOpen(kept.ref, "share", "file", CloseOutcome(True), kept))
    assert kept.closed and file_of(kept).closed and made.volume.find("file") is None
    assert not made.server.opens


def test_an_open_that_is_not_durable_is_closed_with_its_connection() -> None:
    made = bench()
    open_ = the_open(made, run(made, m.create("file")))
    disconnect_open(open_)
    assert open_.closed and file_of(open_).closed and not made.server.opens


def test_replay() -> None:
    """MS-SMB2 3.3.5.9.10."""
    made = bench()
    open_, first = durable_open(made, DH2Q, BATCH, disposition=c.FILE_OPEN_IF)
    assert open_.ref is not None
    made.table.replays[b"G" * 16, GUID] = open_.ref
    body = m.create("file", contexts=DH2Q, oplock=c.OPLOCK_LEVEL_BATCH, disposition=c.FILE_OPEN_IF)
    assert refused(made, body) == s.STATUS_DUPLICATE_OBJECTID
    again = run(made, body, c.FLAGS_REPLAY_OPERATION)
    assert body_of(again) == body_of(first) and list(made.session.opens.values()) == [open_]
    plain = run(made, m.create("file", contexts=DH2Q), c.FLAGS_REPLAY_OPERATION)
    assert body_of(plain)[2] == 0 and answers(plain) == {}  # as durable as a CREATE without oplock would be
    with_lease = m.create("file", contexts=m.chain((ctx.DH2Q, DH2Q[24:]), (ctx.RQLS, LEASE_V2[24:])))
    assert refused(made, with_lease, c.FLAGS_REPLAY_OPERATION) == s.STATUS_ACCESS_DENIED
    made.request(c.READ, b"").find_open(open_.persistent_id, open_.volatile_id)
    assert the_open(made, run(made, body, c.FLAGS_REPLAY_OPERATION)) is not open_  # used since: not eligible
    del made.server.opens[open_.persistent_id]
    assert refused(made, body, c.FLAGS_REPLAY_OPERATION) == s.STATUS_FILE_NOT_AVAILABLE


PERSISTENT_DH2Q = m.context(ctx.DH2Q, pack("<II8x16s", 0, 2, GUID))


def persistent_and_lost(made: Bench) -> Open:
    """A persistent open whose connection has ended; its client may have it back."""
    made.tree.share = ShareConfig("share", "/srv", continuous_availability=True)
    kept = disconnected(made, PERSISTENT_DH2Q)
    assert kept.ref is not None
    kept.is_persistent = True
    made.table.replays[b"G" * 16, GUID] = kept.ref
    return kept


def test_the_replay_of_a_persistent_open_reclaims_it() -> None:
    """MS-SMB2 3.3.5.9.10: the answer to the first CREATE was lost with its connection, and is given again."""
    made = bench()
    kept = persistent_and_lost(made)
    body = m.create("file", contexts=PERSISTENT_DH2Q, oplock=c.OPLOCK_LEVEL_BATCH)
    assert refused(made, body) == s.STATUS_DUPLICATE_OBJECTID
    assert refused(made, body, c.FLAGS_REPLAY_OPERATION) == s.STATUS_DUPLICATE_OBJECTID  # not this client's
    give_back(made, kept, OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, True, 60_000))
    reply = run(made, body, c.FLAGS_REPLAY_OPERATION)
    open_ = the_open(made, reply)
    assert open_.persistent_id == kept.persistent_id and open_.session is made.session and open_.file is kept.file
    assert answers(reply) == {ctx.DH2Q: pack("<II", 60_000, 2)}


def test_a_persistent_open_is_found_by_its_create_guid() -> None:
    """MS-SMB2 3.3.5.9.12: where the FileId of a DH2C names none."""
    made = bench()
    kept = persistent_and_lost(made)
    asked: list[int] = []
    give_back(made, kept, OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, True, 60_000))
    back = made.table.reclaim
    assert back is not None

    def reconnect(request: DurableReconnect) -> Reconnected:
        asked.append(request.persistent_id)
        if request.persistent_id != kept.persistent_id:
            raise NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND)
        return back(request)

    made.table.reclaim = reconnect
    lost = m.context(ctx.DH2C, pack("<QQ16sI", 77, 88, GUID, 2))
    open_ = the_open(made, run(made, m.create("file", contexts=lost)))
    assert asked == [77, kept.persistent_id, kept.persistent_id] and open_.persistent_id == kept.persistent_id
    durable_alone = m.context(ctx.DH2C, pack("<QQ16sI", 77, 88, GUID, 0))
    assert refused(made, m.create("file", contexts=durable_alone)) == s.STATUS_OBJECT_NAME_NOT_FOUND
