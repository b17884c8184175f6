# SPDX-License-Identifier: GPL-2.0-or-later
"""IOCTL: the table of access, pipes, the connection, malformed requests. test_fsctl_files.py has the FSCTLs of files,
test_server_copies.py the copies."""
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
import wire
from bench import Bench, body_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ioctl_requests import calls, control, out

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.fsctl import Target
from ksmbd.smb.ioctl import RULES, handle
from ksmbd.smb.model import Open
from ksmbd.smb.request import Reply
from ksmbd.smb.settings import NetworkInterface
from ksmbd.smb.status import ConnectionFatal, NtStatusError


def test_response_layout(bench: Bench) -> None:
    open_ = bench.open("source")
    body = body_of(control(bench, open_, c.FSCTL_GET_COMPRESSION))
    assert body == struct.pack(
        "<HHIQQIIIIII", 49, 0, 0x0009003C, open_.persistent_id, open_.volatile_id, 112, 0, 112, 2, 0, 0
    ) + b"\0\0"


# ------------------------------------------------------------------------------------------------ the table of access

ANY, WRITES = False, True
EXPECTED = {
    # code: target, access of which any bit is enough, refused on a read-only share
    c.FSCTL_VALIDATE_NEGOTIATE_INFO: (Target.CONNECTION, 0, ANY),
    c.FSCTL_QUERY_NETWORK_INTERFACE_INFO: (Target.CONNECTION, 0, ANY),
    c.FSCTL_DFS_GET_REFERRALS: (Target.CONNECTION, 0, ANY),
    c.FSCTL_DFS_GET_REFERRALS_EX: (Target.CONNECTION, 0, ANY),
    c.FSCTL_PIPE_WAIT: (Target.CONNECTION, 0, ANY),
    c.FSCTL_PIPE_TRANSCEIVE: (Target.PIPE, 0x1, ANY),
    c.FSCTL_PIPE_PEEK: (Target.PIPE, 0x1, ANY),
    c.FSCTL_SRV_REQUEST_RESUME_KEY: (Target.FILE, 0, ANY),
    c.FSCTL_SRV_COPYCHUNK: (Target.FILE, 0, WRITES),
    c.FSCTL_SRV_COPYCHUNK_WRITE: (Target.FILE, 0, WRITES),
    c.FSCTL_DUPLICATE_EXTENTS_TO_FILE: (Target.FILE, 0x2, WRITES),
    c.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX: (Target.FILE, 0x2, WRITES),
    c.FSCTL_SET_SPARSE: (Target.FILE, 0x106, WRITES),
    c.FSCTL_SET_ZERO_DATA: (Target.FILE, 0x2, WRITES),
    c.FSCTL_QUERY_ALLOCATED_RANGES: (Target.FILE, 0x1, ANY),
    c.FSCTL_QUERY_FILE_REGIONS: (Target.FILE, 0x1, ANY),
    c.FSCTL_FILE_LEVEL_TRIM: (Target.FILE, 0x2, WRITES),
    c.FSCTL_GET_COMPRESSION: (Target.FILE, 0, ANY),
    c.FSCTL_SET_COMPRESSION: (Target.FILE, 0x2, WRITES),
    c.FSCTL_GET_REPARSE_POINT: (Target.FILE, 0, ANY),
    c.FSCTL_SET_REPARSE_POINT: (Target.FILE, 0x102, WRITES),
    c.FSCTL_DELETE_REPARSE_POINT: (Target.FILE, 0x102, WRITES),
    c.FSCTL_GET_OBJECT_ID: (Target.FILE, 0, ANY),
    c.FSCTL_CREATE_OR_GET_OBJECT_ID: (Target.FILE, 0, ANY),
    c.FSCTL_SET_OBJECT_ID: (Target.FILE, 0, WRITES),
    c.FSCTL_DELETE_OBJECT_ID: (Target.FILE, 0x102, WRITES),
    c.FSCTL_SRV_ENUMERATE_SNAPSHOTS: (Target.FILE, 0, ANY),
    c.FSCTL_GET_NTFS_VOLUME_DATA: (Target.FILE, 0, ANY),
    c.FSCTL_LMR_REQUEST_RESILIENCY: (Target.FILE, 0, ANY),
    c.FSCTL_GET_INTEGRITY_INFORMATION: (Target.FILE, 0, ANY),
    c.FSCTL_SET_INTEGRITY_INFORMATION: (Target.FILE, 0x2, WRITES),
    c.FSCTL_SET_INTEGRITY_INFORMATION_EX: (Target.FILE, 0x2, WRITES),
    c.FSCTL_OFFLOAD_READ: (Target.FILE, 0x1, ANY),
    c.FSCTL_OFFLOAD_WRITE: (Target.FILE, 0x2, WRITES),
    c.FSCTL_SRV_READ_HASH: (Target.FILE, 0, ANY),
}


def test_the_table() -> None:
    assert {code: (rule.target, rule.access, rule.writes) for code, rule in RULES.items()} == EXPECTED


@pytest.mark.parametrize("code", sorted(EXPECTED))
def test_access_and_target(bench: Bench, code: int) -> None:
    target, access, writes = EXPECTED[code]
    if target is Target.CONNECTION:
        status = s.STATUS_FILE_CLOSED if code == c.FSCTL_PIPE_WAIT else s.STATUS_INVALID_PARAMETER
        wire.raises(status, control, bench, bench.open("source"), code)
        return
    wire.raises(s.STATUS_FILE_CLOSED, control, bench, None, code)
    pipe, file = bench.open_pipe(), bench.open("source", c.FILE_ALL_ACCESS & ~access)
    right, wrong = (pipe, file) if target is Target.PIPE else (file, pipe)
    # MS-SMB2 3.3.5.15.4 has a status of its own for a peek at a file.
    misplaced = s.STATUS_NOT_SUPPORTED if code == c.FSCTL_PIPE_PEEK else s.STATUS_INVALID_DEVICE_REQUEST
    wire.raises(misplaced, control, bench, wrong, code)
    if access:
        right.granted_access = c.FILE_ALL_ACCESS & ~access
        wire.raises(s.STATUS_ACCESS_DENIED, control, bench, right, code, bytes(64))
    if writes:
        bench.tree.read_only = True
        wire.raises(s.STATUS_ACCESS_DENIED, control, bench, bench.open("source"), code, bytes(64))
    assert calls(file) == [] and bench.table.calls == []


@pytest.mark.parametrize("code", [0, 0x0009002C, 0x00090060, 0x00140000, 0xFFFFFFFF])
def test_unknown_codes(bench: Bench, code: int) -> None:
    wire.raises(s.STATUS_INVALID_DEVICE_REQUEST, control, bench, bench.open("source"), code)
    wire.raises(s.STATUS_FILE_CLOSED, control, bench, None, code)


# --------------------------------------------------------------------------------------------------------------- pipes


def test_transceive(bench: Bench) -> None:
    open_, code = bench.open_pipe(), c.FSCTL_PIPE_TRANSCEIVE
    assert out(bench, open_, code, b"bind", 1024) == b"bind"
    assert bench.daemon.calls == [("rpc_transceive", 77, b"bind", 1024)]
    bench.daemon.pipe_reply = b"a longer answer"
    reply = control(bench, open_, code, b"x", 8)
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, b"a longer")
    bench.daemon.fail["rpc_transceive"] = s.STATUS_IO_TIMEOUT
    wire.raises(s.STATUS_IO_TIMEOUT, control, bench, open_, code, b"x")


def test_peek(bench: Bench) -> None:
    """MS-SMB2 3.3.5.15.4, MS-FSCC 2.3.46: nothing, a message, part of one, no room; and the message stays."""
    open_, code = bench.open_pipe(), c.FSCTL_PIPE_PEEK
    assert out(bench, open_, code, b"", 16) == struct.pack("<IIII", 3, 0, 0, 0)
    bench.daemon.pipe_reply = b"the answer"
    control(bench, open_, c.FSCTL_PIPE_TRANSCEIVE, b"call", 0)
    head = struct.pack("<IIII", 3, 10, 1, 10)
    for _ in range(2):
        assert out(bench, open_, code, b"", 26) == head + b"the answer"
    for limit, expected in ((25, head + b"the answe"), (16, head), (3, head[:3]), (0, b"")):
        reply = control(bench, open_, code, b"", limit)
        assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, expected)
    bench.daemon.fail["rpc_peek"] = s.STATUS_PIPE_BROKEN
    wire.raises(s.STATUS_PIPE_BROKEN, control, bench, open_, code)


def test_pipe_wait(bench: Bench) -> None:
    def wait(tree: Any, name: str, length: int | None = None) -> Reply:
        raw = name.encode("utf-16-le")
        data = struct.pack("<QIBB", 0, len(raw) if length is None else length, 1, 0) + raw
        return bench.run(handle, bench.request(c.IOCTL, wire.ioctl(None, c.FSCTL_PIPE_WAIT, data), tree))

    assert wire.output(wait(bench.ipc, "srvsvc"), 48) == b""
    assert [call[0] for call in bench.daemon.calls] == ["rpc_open", "rpc_close"]
    wire.raises(s.STATUS_OBJECT_NAME_NOT_FOUND, wait, bench.ipc, "absent")
    wire.raises(s.STATUS_INVALID_DEVICE_REQUEST, wait, bench.tree, "srvsvc")
    wire.raises(s.STATUS_INVALID_PARAMETER, wait, bench.ipc, "srvsvc", 14)
    wire.raises(s.STATUS_INVALID_PARAMETER, wait, bench.ipc, "srvsvc", 3)


# ---------------------------------------------------------------------------------------------------------- connection

DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302)


def negotiated(dialect: int = c.DIALECT_302) -> Bench:
    bench = Bench(dialect)
    bench.connection.client_dialects = tuple(each for each in DIALECTS if each <= dialect)
    bench.server.settings.server_guid = b"S" * 16
    return bench


def validate(
    capabilities: int = 0x7F, guid: bytes = b"G" * 16, mode: int = 1, dialects: tuple[int, ...] = DIALECTS
) -> bytes:
    count = len(dialects)
    return struct.pack("<I16sHH", capabilities, guid, mode, count) + struct.pack(f"<{count}H", *dialects)


def test_validate_negotiate() -> None:
    bench = negotiated()
    assert out(bench, None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, validate(), 24) == struct.pack(
        "<I16sHH", 0x44, b"S" * 16, 1, 0x0302
    )
    bench = negotiated(c.DIALECT_210)
    data = validate(capabilities=0, dialects=(0x0202, 0x0210))
    assert out(bench, None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, data)[-2:] == b"\x10\x02"


@pytest.mark.parametrize(
    "data",
    [
        validate(capabilities=0x7E), validate(guid=b"H" * 16), validate(mode=3), validate(dialects=()),
        validate(dialects=(0x0202, 0x0210, 0x0300)), validate(dialects=(0x0202, 0x0210, 0x0302)),
        validate(dialects=(*DIALECTS, 0x0311)), validate()[:-1], validate()[:23], b"",
    ],
)  # fmt: skip
def test_a_changed_negotiate_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ConnectionFatal):
        control(negotiated(), None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, data)


def test_validate_negotiate_without_room_or_on_311() -> None:
    with pytest.raises(ConnectionFatal):
        control(negotiated(), None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, validate(), 23)
    with pytest.raises(ConnectionFatal):
        control(Bench(c.DIALECT_311), None, c.FSCTL_VALIDATE_NEGOTIATE_INFO, validate())


def test_network_interfaces(bench: Bench) -> None:
    code = c.FSCTL_QUERY_NETWORK_INTERFACE_INFO
    bench.server.settings.multichannel = True
    bench.server.settings.interfaces = lambda local: [
        NetworkInterface(2, 1, 10_000_000_000, "192.0.2.1"), NetworkInterface(3, 2, 1000, "2001:db8::1"),
    ]  # fmt: skip
    first = struct.pack("<IIIIQ", 152, 2, 1, 0, 10_000_000_000) + b"\x02\0\0\0\xc0\0\x02\x01" + bytes(120)
    second = struct.pack("<IIIIQ", 0, 3, 2, 0, 1000) + b"\x17\0" + bytes(6)
    second += bytes.fromhex("20010db8000000000000000000000001") + bytes(104)
    assert out(bench, None, code, b"", 304) == first + second
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, None, code, b"", 303)
    bench.server.settings.interfaces = lambda local: [NetworkInterface(2, 0, 1000, local)]
    assert out(bench, None, code, b"", 152)[28:32] == b"\xc0\0\x02\x07", "asked for the address that the client uses"
    wire.raises(s.STATUS_NOT_SUPPORTED, control, Bench(c.DIALECT_210), None, code)
    bench.server.settings.multichannel = False
    wire.raises(s.STATUS_NOT_SUPPORTED, control, bench, None, code)


def test_no_dfs(bench: Bench) -> None:
    for code in (c.FSCTL_DFS_GET_REFERRALS, c.FSCTL_DFS_GET_REFERRALS_EX):
        wire.raises(s.STATUS_FS_DRIVER_REQUIRED, control, bench, None, code, bytes(20))


# ----------------------------------------------------------------------------------------------------------- malformed


@pytest.mark.parametrize(
    ("layout", "offset", "value", "status"),
    [
        ("<H", 0, 56, s.STATUS_INVALID_PARAMETER),
        ("<Q", 8, 1, s.STATUS_FILE_CLOSED),
        ("<Q", 16, 1, s.STATUS_FILE_CLOSED),
        ("<I", 24, 0, s.STATUS_INVALID_PARAMETER),  # InputOffset
        ("<I", 24, 119, s.STATUS_INVALID_PARAMETER),
        ("<I", 24, 121, s.STATUS_INVALID_PARAMETER),
        ("<I", 24, 0xFFFFFFFF, s.STATUS_INVALID_PARAMETER),
        ("<I", 28, 17, s.STATUS_INVALID_PARAMETER),  # InputCount
        ("<I", 28, 0xFFFFFFFF, s.STATUS_INVALID_PARAMETER),
        ("<I", 32, (4 << 20) + 1, s.STATUS_INVALID_PARAMETER),  # MaxInputResponse
        ("<I", 40, 1, s.STATUS_INVALID_PARAMETER),  # OutputCount with OutputOffset 0
        ("<I", 44, (4 << 20) + 1, s.STATUS_INVALID_PARAMETER),  # MaxOutputResponse
        ("<I", 48, 0, s.STATUS_NOT_SUPPORTED),  # Flags
        ("<I", 48, 2, s.STATUS_NOT_SUPPORTED),
    ],
)
def test_bad_fields(bench: Bench, layout: str, offset: int, value: int, status: int) -> None:
    body = bytearray(wire.ioctl(bench.open("source"), c.FSCTL_QUERY_ALLOCATED_RANGES, bytes(16)))
    struct.pack_into(layout, body, offset, value)
    wire.raises(status, bench.run, handle, bench.request(c.IOCTL, bytes(body)))


def test_short_bodies(bench: Bench) -> None:
    whole = wire.ioctl(bench.open("source"), c.FSCTL_QUERY_ALLOCATED_RANGES, bytes(16))
    for length in range(len(whole)):
        wire.raises(s.STATUS_INVALID_PARAMETER, bench.run, handle, bench.request(c.IOCTL, whole[:length]))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=st.sampled_from(sorted(RULES)) | st.integers(0, 0xFFFFFFFF), data=st.binary(max_size=100),
    limit=st.integers(0, 200), kind=st.sampled_from(("file", "directory", "pipe", "none")),
    dialect=st.sampled_from((0x0202, 0x0210, 0x0302, 0x0311)),
)  # fmt: skip
def test_fuzz(code: int, data: bytes, limit: int, kind: str, dialect: int) -> None:
    bench = Bench(dialect)
    bench.volume.add("file", b"x" * 100)
    opens: dict[str, Callable[[], Open]] = {
        "file": lambda: bench.open("file"), "directory": lambda: bench.open(""), "pipe": lambda: bench.open_pipe(),
    }  # fmt: skip
    open_ = opens[kind]() if kind in opens else None
    try:
        reply = control(bench, open_, code, data, limit)
    except (NtStatusError, ConnectionFatal):
        return
    assert len(wire.output(reply, 48)) <= limit


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=120))
def test_fuzz_any_bytes(bench: Bench, body: bytes) -> None:
    with pytest.raises((NtStatusError, ConnectionFatal)):
        bench.run(handle, bench.request(c.IOCTL, b"\x39\0" + body))
