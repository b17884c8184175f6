# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE (MS-SMB2 3.3.5.9) over the ports in memory."""
from __future__ import annotations

from dataclasses import replace
from struct import pack, unpack_from
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of, started
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import create, create_pipe, durable
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.model import Open, TreeConnect
from ksmbd.smb.open_life import close_open, disconnect_open, purge_open
from ksmbd.smb.ports import (
    ENCRYPTED,
    SIGNED,
    CloseOutcome,
    DurableReconnect,
    DurableRequest,
    Identity,
    LeaseGrant,
    OpenGrant,
    OpenRequest,
    PurgedOpen,
    Reconnected,
    ShareConfig,
)
from ksmbd.smb.request import Reply
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Cancelled, Future, Task

KEY = bytes(range(16))
GUID = bytes(range(100, 116))


def bench(dialect: int = c.DIALECT_311, **changes: Any) -> Bench:
    """With oplocks, leases and durable handles on."""
    made = Bench(dialect, ServerSettings(**{"leases": True, "durable_handles": True, **changes}))
    made.tree.share = ShareConfig("share", "/srv", streams_xattr=True)
    made.volume.add("file", b"content")
    made.volume.add("dir", None)
    return made


def run(made: Bench, body: bytes, flags: int = 0, tree: Any = None) -> Reply:
    request = made.request(c.CREATE, body, tree)
    request.header.flags |= flags
    return made.run(create.handle, request)


def refused(made: Bench, body: bytes, flags: int = 0, tree: Any = None) -> int:
    """The status of a CREATE that fails, which must have left nothing behind."""
    before = (dict(made.session.opens), dict(made.server.opens), dict(made.table.opens))
    with pytest.raises(NtStatusError) as caught:
        run(made, body, flags, tree)
    assert (made.session.opens, made.server.opens, made.table.opens) == before
    held = [open_.file for open_ in (*before[0].values(), *before[1].values())]
    assert all(file.closed for file in made.volume.opened if file not in held)
    return caught.value.status


def the_open(made: Bench, reply: Reply) -> Open:
    persistent, volatile = unpack_from("<QQ", body_of(reply), 64)
    assert made.server.opens[persistent] is made.session.opens[volatile]
    return made.session.opens[volatile]


def answers(reply: Reply) -> dict[bytes, bytes]:
    """The response's contexts by name."""
    body = body_of(reply)
    offset, length = unpack_from("<II", body, 80)
    assert (offset == 152) == bool(length) and len(body) == 88 + length
    found, at = {}, 88
    while length:
        following, name_at, name_size, _, data_at, size = unpack_from("<IHHHHI", body, at)
        name = body[at + name_at : at + name_at + name_size]
        found[name] = body[at + data_at : at + data_at + size]
        if not following:
            break
        assert following % 8 == 0 and data_at % 8 == 0
        at += following
    return found


# ----------------------------------------------------------------------------------------------------- plain opens


def test_golden_response() -> None:
    made = bench()
    reply = run(made, m.create("file"))
    open_ = the_open(made, reply)
    info = file_of(open_).info()
    assert body_of(reply) == pack(
        "<HBBIQQQQQQIIQQII", 89, 0, 0, c.FILE_OPENED, info.creation_time, info.last_access_time, info.last_write_time,
        info.change_time, 4096, 7, c.FILE_ATTRIBUTE_NORMAL, 0, open_.persistent_id, open_.volatile_id, 0, 0,
    )  # fmt: skip
    assert open_.persistent_id != open_.volatile_id


def test_related_requests_use_the_new_open() -> None:
    made = bench()
    request = made.request(c.CREATE, m.create("file"))
    reply = made.run(create.handle, request)
    open_ = the_open(made, reply)
    assert request.chain.file_id == (open_.persistent_id, open_.volatile_id) and request.open is open_


def test_a_failed_create_leaves_no_open_to_related_requests() -> None:
    """MS-SMB2 3.3.5.2.7.2: what comes behind a failed CREATE fails like it, not on an older open."""
    made = bench()
    request = made.request(c.CREATE, m.create("missing"))
    request.chain.file_id = (1, 2)
    with pytest.raises(NtStatusError):
        made.run(create.handle, request)
    assert request.chain.file_id is None


@pytest.mark.parametrize(
    ("disposition", "name", "action", "status"),
    [
        (c.FILE_SUPERSEDE, "file", c.FILE_SUPERSEDED, 0),
        (c.FILE_SUPERSEDE, "new", c.FILE_CREATED, 0),
        (c.FILE_OPEN, "file", c.FILE_OPENED, 0),
        (c.FILE_OPEN, "new", 0, s.STATUS_OBJECT_NAME_NOT_FOUND),
        (c.FILE_CREATE, "file", 0, s.STATUS_OBJECT_NAME_COLLISION),
        (c.FILE_CREATE, "new", c.FILE_CREATED, 0),
        (c.FILE_OPEN_IF, "file", c.FILE_OPENED, 0),
        (c.FILE_OPEN_IF, "new", c.FILE_CREATED, 0),
        (c.FILE_OVERWRITE, "file", c.FILE_OVERWRITTEN, 0),
        (c.FILE_OVERWRITE, "new", 0, s.STATUS_OBJECT_NAME_NOT_FOUND),
        (c.FILE_OVERWRITE_IF, "file", c.FILE_OVERWRITTEN, 0),
        (c.FILE_OVERWRITE_IF, "new", c.FILE_CREATED, 0),
    ],
)
def test_dispositions(disposition: int, name: str, action: int, status: int) -> None:
    made = bench()
    body = m.create(name, disposition=disposition)
    if status:
        assert refused(made, body) == status
        return
    reply = run(made, body)
    assert unpack_from("<I", body_of(reply), 4)[0] == action
    emptied = action in (c.FILE_SUPERSEDED, c.FILE_OVERWRITTEN)
    node = made.volume.find(name)
    assert node is not None and bytes(node.data) == (b"" if emptied or name == "new" else b"content")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"impersonation": 4}, s.STATUS_BAD_IMPERSONATION_LEVEL),
        ({"impersonation": 0x12345678}, s.STATUS_BAD_IMPERSONATION_LEVEL),
        ({"options": 0x01000000}, s.STATUS_INVALID_PARAMETER),
        ({"options": 0x80000000}, s.STATUS_INVALID_PARAMETER),
        ({"options": c.FILE_CREATE_TREE_CONNECTION}, s.STATUS_NOT_SUPPORTED),
        ({"options": c.FILE_OPEN_BY_FILE_ID}, s.STATUS_NOT_SUPPORTED),
        ({"options": c.FILE_RESERVE_OPFILTER}, s.STATUS_NOT_SUPPORTED),
        ({"options": c.FILE_DIRECTORY_FILE | c.FILE_NON_DIRECTORY_FILE}, s.STATUS_INVALID_PARAMETER),
        ({"options": c.FILE_DIRECTORY_FILE, "disposition": c.FILE_OVERWRITE}, s.STATUS_INVALID_PARAMETER),
        ({"options": c.FILE_DIRECTORY_FILE, "attributes": c.FILE_ATTRIBUTE_TEMPORARY}, s.STATUS_INVALID_PARAMETER),
        ({"options": c.FILE_DIRECTORY_FILE}, s.STATUS_NOT_A_DIRECTORY),
        ({"options": c.FILE_DELETE_ON_CLOSE, "access": c.FILE_READ_DATA}, s.STATUS_INVALID_PARAMETER),
        ({"options": c.FILE_DELETE_ON_CLOSE, "access": c.GENERIC_ALL}, s.STATUS_INVALID_PARAMETER),
        ({"options": c.FILE_DELETE_ON_CLOSE, "access": c.MAXIMUM_ALLOWED}, s.STATUS_INVALID_PARAMETER),
        ({"disposition": 6}, s.STATUS_INVALID_PARAMETER),
        ({"share": 8}, s.STATUS_INVALID_PARAMETER),
        ({"access": 0}, s.STATUS_ACCESS_DENIED),
        ({"access": c.ACCESS_SYSTEM_SECURITY}, s.STATUS_PRIVILEGE_NOT_HELD),
        ({"attributes": 0x8}, s.STATUS_INVALID_PARAMETER),
        ({"attributes": 0x40}, s.STATUS_INVALID_PARAMETER),
        ({"attributes": 0x10000}, s.STATUS_INVALID_PARAMETER),
        ({"attributes": 0x200000}, s.STATUS_INVALID_PARAMETER),
        ({"attributes": 0x800000}, s.STATUS_INVALID_PARAMETER),
        ({"attributes": 0x80000000}, s.STATUS_INVALID_PARAMETER),
        *(({"access": 1 << bit}, s.STATUS_ACCESS_DENIED) for bit in (9, 10, 15, 21, 22, 23, 26, 27)),
    ],
)
def test_bad_fields(arguments: dict[str, Any], status: int) -> None:
    assert refused(bench(), m.create("file", **arguments)) == status


@pytest.mark.parametrize("option", [1 << bit for bit in range(24) if 0x00EFCF7E >> bit & 1])
def test_options_that_change_nothing(option: int) -> None:
    """Every other option alone opens a file, the undefined ones among them, as Windows does."""
    made = bench()
    the_open(made, run(made, m.create("file", access=c.MAXIMUM_ALLOWED, options=option)))


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (c.GENERIC_READ, c.FILE_GENERIC_READ),
        (c.GENERIC_WRITE, c.FILE_GENERIC_WRITE),
        (c.GENERIC_EXECUTE, c.FILE_GENERIC_EXECUTE),
        (c.GENERIC_ALL, c.FILE_ALL_ACCESS),
        (c.GENERIC_READ | c.DELETE, c.FILE_GENERIC_READ | c.DELETE),
        (c.MAXIMUM_ALLOWED, c.FILE_ALL_ACCESS),
        (c.SYNCHRONIZE, c.SYNCHRONIZE),
    ],
)
def test_generic_rights(asked: int, granted: int) -> None:
    made = bench()
    assert the_open(made, run(made, m.create("file", access=asked))).granted_access == granted


@pytest.mark.parametrize(
    "body",
    [
        m.create("file")[:55],
        m.create(b"\xd8\x00\xd8"),  # odd length
        m.create("file")[:-2],  # the name ends outside
        m.create("file")[:44] + pack("<HH", 119, 8) + m.create("file")[48:],  # NameOffset inside the fixed part
        m.create("file")[:44] + pack("<HH", 0, 8) + m.create("file")[48:],
        m.create("file")[:44] + pack("<HH", 120, 0xFFFE) + m.create("file")[48:],
        m.create("file")[:48] + pack("<II", 64, 24) + m.create("file")[56:],  # contexts inside the fixed part
        m.create("file")[:48] + pack("<II", 124, 24) + m.create("file")[56:] + bytes(40),  # misaligned
        m.create("file")[:48] + pack("<II", 128, 0xFFFFFFFF) + m.create("file")[56:],
        m.create("file")[:48] + pack("<II", 0xFFFFFFF8, 24) + m.create("file")[56:],
        m.create("file", contexts=b"\0" * 8),
    ],
)
def test_bounds(body: bytes) -> None:
    assert refused(bench(), body) == s.STATUS_INVALID_PARAMETER


@pytest.mark.parametrize(
    ("name", "options", "status"),
    [
        ("\\file", 0, s.STATUS_INVALID_PARAMETER),
        ("a*", 0, s.STATUS_OBJECT_NAME_INVALID),
        ("..\\file", 0, s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("file\\", c.FILE_NON_DIRECTORY_FILE, s.STATUS_OBJECT_NAME_INVALID),
        ("file\\", 0, s.STATUS_NOT_A_DIRECTORY),
        ("dir::$DATA", 0, s.STATUS_FILE_IS_A_DIRECTORY),
        ("dir::$DATA", c.FILE_DIRECTORY_FILE, s.STATUS_NOT_A_DIRECTORY),
        ("dir:stream", c.FILE_DIRECTORY_FILE, s.STATUS_NOT_A_DIRECTORY),
        ("file::$INDEX_ALLOCATION", 0, s.STATUS_NOT_A_DIRECTORY),
        ("none\\file", 0, s.STATUS_OBJECT_PATH_NOT_FOUND),
    ],
)
def test_names(name: str, options: int, status: int) -> None:
    assert refused(bench(), m.create(name, options=options)) == status


def test_without_streams_no_name_has_a_colon() -> None:
    made = bench()
    made.tree.share = ShareConfig("share", "/srv", streams_xattr=False)
    assert refused(made, m.create("file::$DATA")) == s.STATUS_OBJECT_NAME_INVALID
    assert refused(made, m.create("file::none")) == s.STATUS_OBJECT_NAME_INVALID


def test_the_root_and_directories() -> None:
    made = bench()
    assert file_of(the_open(made, run(made, m.create("")))).is_directory
    assert file_of(the_open(made, run(made, m.create("dir\\")))).is_directory
    assert file_of(the_open(made, run(made, m.create("dir::$INDEX_ALLOCATION")))).is_directory
    reply = run(made, m.create("dir\\neu", disposition=c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE))
    assert file_of(the_open(made, reply)).path == "dir\\neu"


def test_streams() -> None:
    made = bench()
    open_ = the_open(made, run(made, m.create("file:s1:$DATA", disposition=c.FILE_OPEN_IF)))
    assert open_.file is not None and open_.file.stream == "s1" and open_.ref is not None and open_.ref.stream == "s1"


def test_read_only_share() -> None:
    """As Samba: rights that write and dispositions that make or empty are ACCESS_DENIED."""
    made = bench()
    made.tree.read_only = True
    for access in (c.FILE_WRITE_DATA, c.FILE_APPEND_DATA, c.DELETE, c.WRITE_DAC, c.GENERIC_WRITE, c.GENERIC_ALL):
        assert refused(made, m.create("file", access=access)) == s.STATUS_ACCESS_DENIED
    for disposition in (c.FILE_SUPERSEDE, c.FILE_CREATE, c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF):
        assert refused(made, m.create("new", c.FILE_READ_DATA, disposition)) == s.STATUS_ACCESS_DENIED
    reply = run(made, m.create("file", c.FILE_READ_DATA, contexts=m.context(ctx.MXAC)))
    assert unpack_from("<II", answers(reply)[ctx.MXAC]) == (0, 0x1200A9)


def test_too_many_open_files() -> None:
    made = bench(max_open_files=1)
    run(made, m.create("file"))
    assert refused(made, m.create("file")) == s.STATUS_TOO_MANY_OPENED_FILES
    assert refused(made, m.create("srvsvc"), tree=made.ipc) == s.STATUS_TOO_MANY_OPENED_FILES


def test_one_session_leaves_some_of_max_open_files_to_others() -> None:
    made = bench(max_open_files=16)
    for _ in range(14):
        run(made, m.create("file"))
    assert refused(made, m.create("file")) == s.STATUS_TOO_MANY_OPENED_FILES
    assert len(made.server.opens) == 14


def test_delete_on_close_of_what_cannot_be_deleted() -> None:
    made = bench()
    node = made.volume.add("locked")
    node.attributes = c.FILE_ATTRIBUTE_READONLY
    assert refused(made, m.create("locked", options=c.FILE_DELETE_ON_CLOSE)) == s.STATUS_CANNOT_DELETE
    made.volume.add("dir\\entry")
    # A directory may be emptied before it is closed.
    the_open(made, run(made, m.create("dir", options=c.FILE_DELETE_ON_CLOSE)))


# --------------------------------------------------------------------------------------------------------- contexts


def test_contexts_are_answered() -> None:
    made = bench()
    contexts = m.chain((ctx.MXAC, b""), (ctx.QFID, b""), (ctx.POSIX, pack("<I", 0o600)), (b"AAPL", bytes(8)))
    reply = run(made, m.create("file", contexts=contexts))
    found = answers(reply)
    open_ = the_open(made, reply)
    assert open_.is_posix
    info = file_of(open_).info()
    assert found[ctx.MXAC] == pack("<II", 0, c.FILE_ALL_ACCESS)
    assert found[ctx.QFID] == pack("<QQ16x", info.file_id, info.volume_id)
    sids = bytes.fromhex("010200000000001601000000e8030000" "010200000000001602000000e9030000")
    assert found[ctx.POSIX] == pack("<III", 1, 0, 0o644) + sids
    assert set(found) == {ctx.MXAC, ctx.QFID, ctx.POSIX}


def test_maximal_access_of_an_unchanged_file() -> None:
    """MS-SMB2 3.3.5.9.5: the client's time stamp is the file's."""
    made = bench()
    node = made.volume.find("file")
    assert node is not None
    reply = run(made, m.create("file", contexts=m.context(ctx.MXAC, pack("<Q", node.times[2]))))
    assert unpack_from("<I", answers(reply)[ctx.MXAC])[0] == s.STATUS_NONE_MAPPED


def test_posix_context_without_the_extensions_is_ignored() -> None:
    made = bench()
    made.connection.posix = False
    reply = run(made, m.create("file", contexts=m.context(ctx.POSIX, pack("<I", 0o600))))
    assert answers(reply) == {} and not the_open(made, reply).is_posix


def asked(made: Bench) -> OpenRequest:
    """The last question to the open table."""
    question: OpenRequest = [call[1] for call in made.table.calls if call[0] == "open"][-1]
    return question


def asked_durable(made: Bench) -> DurableRequest:
    """Of the last question."""
    durable = asked(made).durable
    assert durable is not None
    return durable


def asked_to_reclaim(made: Bench) -> list[DurableReconnect]:
    """What the open table was asked to give back."""
    return [call[1] for call in made.table.calls if call[0] == "reconnect"]


LEASE_V1 = m.context(ctx.RQLS, KEY + pack("<IIQ", 7, 0, 0))
LEASE_V2 = m.context(ctx.RQLS, KEY + pack("<IIQ16sHH", 7, 0, 0, bytes(16), 3, 0))


@pytest.mark.parametrize(
    ("dialect", "name", "contexts", "level", "seen"),
    [
        (c.DIALECT_311, "file", b"", c.OPLOCK_LEVEL_BATCH, c.OPLOCK_LEVEL_BATCH),
        (c.DIALECT_311, "file", b"", 0x55, c.OPLOCK_LEVEL_NONE),
        (c.DIALECT_311, "dir", b"", c.OPLOCK_LEVEL_BATCH, c.OPLOCK_LEVEL_NONE),
        (c.DIALECT_311, "file", LEASE_V1, c.OPLOCK_LEVEL_BATCH, c.OPLOCK_LEVEL_BATCH),
        (c.DIALECT_311, "file", b"", c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_NONE),
        (c.DIALECT_311, "file", LEASE_V1, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_LEASE),
        (c.DIALECT_311, "file", LEASE_V2, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_LEASE),
        (c.DIALECT_311, "dir", LEASE_V1, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_LEASE),
        (c.DIALECT_311, "dir", LEASE_V2, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_LEASE),
        (c.DIALECT_210, "file", LEASE_V1, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_LEASE),
        (c.DIALECT_210, "file", LEASE_V2, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_NONE),
        (c.DIALECT_202, "file", LEASE_V1, c.OPLOCK_LEVEL_LEASE, c.OPLOCK_LEVEL_NONE),
    ],
)
def test_what_the_open_table_is_asked(dialect: int, name: str, contexts: bytes, level: int, seen: int) -> None:
    made = bench(dialect)
    run(made, m.create(name, oplock=level, contexts=contexts))
    question = asked(made)
    assert question.oplock_level == seen and (question.lease is not None) == (seen == c.OPLOCK_LEVEL_LEASE)
    assert question.owner == "alice" and question.share == "share" and question.path == name
    assert question.parent == (1, made.volume.root.inode)


def test_a_share_without_oplocks() -> None:
    made = bench()
    made.tree.share = ShareConfig("share", "/srv", oplocks=False)
    run(made, m.create("file", oplock=c.OPLOCK_LEVEL_LEASE, contexts=LEASE_V1))
    assert asked(made).oplock_level == 0 and asked(made).lease is None


def test_a_granted_lease_is_answered() -> None:
    made = bench()
    made.table.wait["open"] = Future.of(OpenGrant(c.OPLOCK_LEVEL_LEASE, LeaseGrant(KEY, 3, 2, 0, b"", 4)))
    reply = run(made, m.create("file", oplock=c.OPLOCK_LEVEL_LEASE, contexts=LEASE_V2))
    assert body_of(reply)[2] == c.OPLOCK_LEVEL_LEASE
    assert answers(reply) == {ctx.RQLS: KEY + pack("<IIQ16sHH", 3, 0, 0, bytes(16), 4, 0)}


def test_a_new_entry_breaks_directory_leases() -> None:
    made = bench()
    run(made, m.create("new", disposition=c.FILE_CREATE))
    assert ("directory_changed", (1, made.volume.root.inode), b"", b"G" * 16) in made.table.calls
    made.table.calls.clear()
    run(made, m.create("file"))
    assert not [call for call in made.table.calls if call[0] == "directory_changed"]


# ------------------------------------------------------------------------------------------------ waiting, way back


def waiting(made: Bench, body: bytes) -> tuple[Any, Task[Reply], Future[Any]]:
    """A CREATE that waits for somebody else's cache."""
    future: Future[Any] = Future()
    made.table.wait["open"] = future
    request = made.request(c.CREATE, body)
    task = started(create.handle(request))
    assert not task.done and request.interim_sent
    return request, task, future


def test_a_create_waits_for_a_break() -> None:
    made = bench()
    _, task, future = waiting(made, m.create("file", disposition=c.FILE_OVERWRITE))
    node = made.volume.find("file")
    assert node is not None and bytes(node.data) == b"content"  # not emptied before the table agreed
    future.set_result(OpenGrant(0))
    assert task.done and the_open(made, task.result()) and not node.data


@pytest.mark.parametrize("how", ["cancel", "violation", "tree"])
@pytest.mark.parametrize("name", ["file", "new"])
def test_the_way_back_from_a_wait(how: str, name: str) -> None:
    made = bench()
    _, task, future = waiting(made, m.create(name, disposition=c.FILE_OVERWRITE_IF))
    error: type[BaseException] = NtStatusError
    if how == "cancel":
        task.cancel()
        error = Cancelled
    elif how == "violation":
        future.set_error(NtStatusError(s.STATUS_SHARING_VIOLATION))
    else:
        made.tree.closed = True
        future.set_result(OpenGrant(0))
    assert task.done
    with pytest.raises(error):
        task.result()
    node = made.volume.find(name)
    assert (node is not None and bytes(node.data) == b"content") if name == "file" else node is None
    assert not made.server.opens and not made.session.opens
    assert all(file.closed for file in made.volume.opened)
    closes = [call for call in made.table.calls if call[0] == "close"]
    assert len(closes) == (1 if how == "tree" else 0)


# ---------------------------------------------------------------------------------------------------------- durable


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


# ------------------------------------------------------------------------------------------------------------ pipes


@pytest.mark.parametrize("name", ["srvsvc", "\\srvsvc", "\\PIPE\\SRVSVC"])
def test_pipes(name: str) -> None:
    made = bench()
    reply = run(made, m.create(name, access=c.MAXIMUM_ALLOWED), tree=made.ipc)
    open_ = the_open(made, reply)
    assert (open_.pipe_handle, open_.pipe_name, open_.file) == (77, "srvsvc", None)
    assert open_.granted_access == c.FILE_ALL_ACCESS
    close_open(open_)
    close_open(open_)
    assert [call for call in made.daemon.calls if call[0] == "rpc_close"] == [("rpc_close", 77)]
    assert not made.server.opens and not made.session.opens


def test_a_session_has_so_many_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_pipe, "PIPES_MAX", 2)
    made = bench()
    pipes = [run(made, m.create("srvsvc"), tree=made.ipc) for _ in range(2)]
    assert refused(made, m.create("srvsvc"), tree=made.ipc) == s.STATUS_INSUFFICIENT_RESOURCES
    made.daemon.fail["rpc_open"] = s.STATUS_PIPE_NOT_AVAILABLE
    close_open(next(iter(made.session.opens.values())))
    assert refused(made, m.create("srvsvc"), tree=made.ipc) == s.STATUS_PIPE_NOT_AVAILABLE
    del made.daemon.fail["rpc_open"]
    run(made, m.create("srvsvc"), tree=made.ipc)
    assert refused(made, m.create("srvsvc"), tree=made.ipc) == s.STATUS_INSUFFICIENT_RESOURCES
    for open_ in list(made.session.opens.values()):
        close_open(open_)
    assert made.session.pipes == 0 and len(pipes) == 2


@pytest.mark.parametrize("guest, anonymous", [(True, False), (False, True), (False, False)])
def test_guests_and_anonymous_callers_are_restricted(guest: bool, anonymous: bool) -> None:
    made = bench()
    assert made.session.identity is not None
    made.session.identity = replace(made.session.identity, is_guest=guest, is_anonymous=anonymous)
    run(made, m.create("srvsvc"), tree=made.ipc)
    assert made.daemon.calls[-1] == ("rpc_open", "srvsvc", "alice", guest or anonymous)


def test_bad_pipes() -> None:
    made = bench()
    assert refused(made, m.create("no such pipe"), tree=made.ipc) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert refused(made, m.create(""), tree=made.ipc) == s.STATUS_OBJECT_NAME_INVALID
    assert refused(made, m.create("srvsvc", impersonation=7), tree=made.ipc) == s.STATUS_BAD_IMPERSONATION_LEVEL
    assert refused(made, m.create("srvsvc", access=0), tree=made.ipc) == s.STATUS_ACCESS_DENIED


# ------------------------------------------------------------------------------------------------------------- fuzz


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_create_opens_or_is_refused(data: st.DataObject) -> None:
    made = bench()
    body = bytearray(m.create("file", contexts=m.chain((ctx.MXAC, b""), (ctx.DH2Q, bytes(32)), (ctx.RQLS, bytes(52)))))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        run(made, bytes(body))
    except NtStatusError:
        assert not made.server.opens and not made.table.opens


@given(st.binary(min_size=56, max_size=200))
def test_any_bytes(body: bytes) -> None:
    try:
        run(bench(), body)
    except NtStatusError:
        pass


@pytest.mark.parametrize("attribute", [0x4000, 0x8000, 0x20000, 0x40000, 0x80000, 0x100000, 0x400000])
def test_attributes_that_the_server_does_not_keep_are_ignored(attribute: int) -> None:
    """As SET_INFO ignores them (MS-FSCC 2.6, MS-FSA 2.1.5.1.1)."""
    made = bench()
    for disposition in (c.FILE_CREATE, c.FILE_OVERWRITE_IF, c.FILE_OPEN):
        run(made, m.create("kept", attributes=attribute | c.FILE_ATTRIBUTE_ARCHIVE, disposition=disposition))
