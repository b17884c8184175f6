# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE (MS-SMB2 3.3.5.9) over the ports in memory; test_durable_create.py has the durable ones."""
from __future__ import annotations

from dataclasses import replace
from struct import pack, unpack_from
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of, started
from create_bench import KEY, LEASE_V1, LEASE_V2, answers, asked, bench, refused, run, the_open
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import create, create_pipe
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.open_life import close_open
from ksmbd.smb.ports import (
    LeaseGrant,
    OpenGrant,
    ShareConfig,
)
from ksmbd.smb.request import Reply
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Cancelled, Future, Task

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
