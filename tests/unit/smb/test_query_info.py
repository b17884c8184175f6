# SPDX-License-Identifier: GPL-2.0-or-later
"""QUERY_INFO: golden bytes of every class, the buffer rules, the access rules, malformed requests."""
from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
import wire
from bench import Bench, body_of, file_of
from fake_clock import NOW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.dispatch import failed
from ksmbd.smb.info_file import FILE_CLASSES
from ksmbd.smb.info_filesystem import FILESYSTEM_CLASSES
from ksmbd.smb.model import Open
from ksmbd.smb.posix import posix_mode
from ksmbd.smb.query_info import handle
from ksmbd.smb.request import Reply
from ksmbd.smb.status import ConnectionFatal, NtStatusError

TIMES = struct.pack("<QQQQ", NOW + 1, NOW + 2, NOW + 3, NOW + 4)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.volume.add("Ordner", None)
    node = bench.volume.add("Ordner\\a long name.txt", b"x" * 5000)
    node.eas = {"ONE": (0, b"eins"), "THREE": (0x80, b"drei!")}
    node.streams = {"meta": bytearray(b"12345")}
    return bench


def ask(bench: Bench, open_: Open, info_type: int, info_class: int, limit: int = 65536, **more: Any) -> Reply:
    body = wire.query_info(open_, info_type, info_class, limit, **more)
    return bench.run(handle, bench.request(c.QUERY_INFO, body, open_.tree))


def name(text: str) -> bytes:
    return text.encode("utf-16-le")


def sized(text: str) -> bytes:
    return struct.pack("<I", len(name(text))) + name(text)


BASIC = TIMES + struct.pack("<II", 0x80, 0)
STANDARD = struct.pack("<QQIBBH", 8192, 5000, 1, 0, 0, 0)
INODE = struct.pack("<Q", 102)
EA_SIZE = struct.pack("<I", len("ONE") + 4 + 5 + len("THREE") + 5 + 5)

GOLDEN = {
    4: BASIC,
    5: STANDARD,
    6: struct.pack("<Q", 103),
    7: EA_SIZE,
    8: struct.pack("<I", 0x001F01FF),
    14: struct.pack("<Q", 77),
    15: struct.pack("<IBBH", 16, 0, 3, 4) + b"ONE\0eins" + struct.pack("<IBBH", 0, 0x80, 5, 5) + b"THREE\0drei!",
    16: struct.pack("<I", 2),
    17: struct.pack("<I", 0),
    18: BASIC + STANDARD + struct.pack("<Q", 103) + EA_SIZE + struct.pack("<IQII", 0x001F01FF, 77, 2, 0)
        + sized("\\Ordner\\a long name.txt"),
    22: struct.pack("<IIQQ", 40, 14, 5000, 8192) + name("::$DATA") + bytes(2)
        + struct.pack("<IIQQ", 0, 22, 5, 4096) + name(":meta:$DATA"),
    28: struct.pack("<QHBBB3x", 8192, 0, 0, 0, 0),
    34: TIMES + struct.pack("<QQII", 8192, 5000, 0x80, 0),
    35: struct.pack("<II", 0x80, 0),
    48: sized("Ordner\\a long name.txt"),
    59: struct.pack("<QQQ", 0x1122334455667788, 103, 0),
}  # fmt: skip


@pytest.mark.parametrize("info_class", sorted(GOLDEN))
def test_golden_file_classes(bench: Bench, info_class: int) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    open_.current_byte_offset, open_.mode = 77, 2
    reply = ask(bench, open_, 1, info_class)
    assert reply.status == s.STATUS_SUCCESS
    assert wire.output(reply) == GOLDEN[info_class]


def test_posix_class(bench: Bench) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    wire.raises(s.STATUS_INVALID_INFO_CLASS, ask, bench, open_, 1, 100)
    open_.is_posix = True
    owner = b"\x01\x02\0\0\0\0\0\x16" + struct.pack("<II", 1, 1000)
    group = b"\x01\x02\0\0\0\0\0\x16" + struct.pack("<II", 2, 1001)
    assert wire.output(ask(bench, open_, 1, 100)) == TIMES + struct.pack(
        "<QQIQIIIII", 5000, 8192, 0x80, 103, 0x55667788, 0, 1, 0, 0o644
    ) + owner + group


def test_delete_pending_costs_a_link(bench: Bench) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    assert open_.file is not None
    bench.table.pending_delete.add(open_.file.key)
    assert wire.output(ask(bench, open_, 1, 5)) == struct.pack("<QQIBBH", 8192, 5000, 0, 1, 0, 0)


def test_directory_is_said_to_be_one(bench: Bench) -> None:
    open_ = bench.open("Ordner")
    assert wire.output(ask(bench, open_, 1, 5)) == struct.pack("<QQIBBH", 0, 0, 1, 0, 1, 0)
    assert wire.output(ask(bench, open_, 1, 22)) == b""  # a directory has no unnamed stream


def test_alternate_name(bench: Bench) -> None:
    bench.volume.add("Short.txt")
    assert wire.output(ask(bench, bench.open("Short.txt"), 1, 21)) == sized("Short.txt")
    assert wire.output(ask(bench, bench.open("Ordner\\a long name.txt"), 1, 21)) == sized("ALONGN~1.TXT")
    wire.raises(s.STATUS_OBJECT_NAME_NOT_FOUND, ask, bench, bench.open(""), 1, 21)


VOLUME = struct.pack("<QIIBB", NOW, 0xCAFEBABE, 14, 0, 0) + name("Etikett")
GOLDEN_FS = {
    1: VOLUME,
    3: struct.pack("<QQII", 1000, 500, 8, 512),
    4: struct.pack("<II", 7, 0x20),
    5: struct.pack("<III", 0x4F, 255, 8) + name("NTFS"),
    6: bytes(24) + b"\xff" * 16 + bytes(8),
    7: struct.pack("<QQQII", 1000, 500, 600, 8, 512),
    8: bytes(range(16)) + bytes(48),
    11: struct.pack("<IIIIIII", 512, 512, 4096, 512, 0xB, 0, 0),
}


@pytest.mark.parametrize("info_class", sorted(GOLDEN_FS))
def test_golden_filesystem_classes(bench: Bench, info_class: int) -> None:
    assert wire.output(ask(bench, bench.open(""), 2, info_class)) == GOLDEN_FS[info_class]


def test_posix_filesystem_class(bench: Bench) -> None:
    open_ = bench.open("")
    wire.raises(s.STATUS_INVALID_INFO_CLASS, ask, bench, open_, 2, 100)
    open_.is_posix = True
    ones = 0xFFFFFFFFFFFFFFFF
    assert wire.output(ask(bench, open_, 2, 100)) == struct.pack(
        "<IIQQQQQQ", 0xFFFFFFFF, 4096, 1000, 600, 500, ones, ones, 0xCAFEBABE
    )


def test_read_only_share_shows_in_attributes(bench: Bench) -> None:
    bench.tree.read_only = True
    assert wire.output(ask(bench, bench.open(""), 2, 5))[:4] == struct.pack("<I", 0x4F | 0x80000)
    assert wire.output(ask(bench, bench.open(""), 2, 4)) == struct.pack("<II", 7, 0x22)


@pytest.mark.parametrize(
    ("attributes", "read_only", "flags"), [(0x4F, False, 0xB), (0x0F, False, 3), (0x8004F, False, 3), (0x4F, True, 3)]
)
def test_a_volume_trims_where_its_files_are_sparse_and_may_be_written(
    bench: Bench, attributes: int, read_only: bool, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MS-FSCC 2.5.7, 2.3.13."""
    info = replace(bench.volume.volume_info(), attributes=attributes)
    monkeypatch.setattr(bench.volume, "volume_info", lambda: info)
    bench.tree.read_only = read_only
    assert wire.output(ask(bench, bench.open(""), 2, 11))[16:20] == struct.pack("<I", flags)


# What the buffer must hold at least, from MS-FSA 2.1.5.12 and 2.1.5.13 (and as smb2.getinfo.*_buffercheck has it).
FIXED = {
    1: {4: 40, 5: 24, 6: 8, 7: 4, 8: 4, 14: 8, 16: 4, 17: 4, 18: 104, 21: 8, 22: 32, 28: 16, 34: 56, 35: 8, 48: 8,
        59: 24},
    2: {1: 24, 3: 24, 4: 8, 5: 16, 6: 48, 7: 32, 8: 64, 11: 28},
}  # fmt: skip


@pytest.mark.parametrize(("info_type", "info_class"), [(kind, each) for kind, every in FIXED.items() for each in every])
def test_every_buffer_length(bench: Bench, info_type: int, info_class: int) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    full = wire.output(ask(bench, open_, info_type, info_class))
    fixed = FIXED[info_type][info_class]
    for limit in range(len(full) + 1):
        if limit < fixed:
            wire.raises(s.STATUS_INFO_LENGTH_MISMATCH, ask, bench, open_, info_type, info_class, limit)
            continue
        reply = ask(bench, open_, info_type, info_class, limit)
        data = wire.output(reply)
        if limit < len(full):
            assert reply.status == s.STATUS_BUFFER_OVERFLOW
            if info_class != 22 or info_type != 1:
                assert data == full[:limit]
        else:
            assert (reply.status, data) == (s.STATUS_SUCCESS, full)


def test_streams_come_whole_and_end_their_chain(bench: Bench) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    reply = ask(bench, open_, 1, 22, 85)
    assert reply.status == s.STATUS_BUFFER_OVERFLOW
    assert wire.output(reply) == struct.pack("<IIQQ", 0, 14, 5000, 8192) + name("::$DATA")


def test_every_class_is_checked() -> None:
    assert set(FIXED[1]) | {15, 100} == set(FILE_CLASSES)
    assert set(FIXED[2]) | {100} == set(FILESYSTEM_CLASSES)


ACCESS = {
    0: (5, 6, 7, 8, 14, 16, 17, 21, 22, 28, 48, 59),
    c.FILE_READ_ATTRIBUTES: (4, 18, 34, 35),
    c.FILE_READ_EA: (15,),
}


@pytest.mark.parametrize(("needed", "info_class"), [(need, each) for need, every in ACCESS.items() for each in every])
def test_access(bench: Bench, needed: int, info_class: int) -> None:
    open_ = bench.open("Ordner\\a long name.txt", c.SYNCHRONIZE)
    if needed:
        wire.raises(s.STATUS_ACCESS_DENIED, ask, bench, open_, 1, info_class)
        open_ = bench.open("Ordner\\a long name.txt", c.FILE_ALL_ACCESS & ~needed)
        wire.raises(s.STATUS_ACCESS_DENIED, ask, bench, open_, 1, info_class)
        open_ = bench.open("Ordner\\a long name.txt", needed)
    assert ask(bench, open_, 1, info_class).status == s.STATUS_SUCCESS


@pytest.mark.parametrize(
    ("info_type", "info_class", "status"),
    [
        (1, 1, s.STATUS_NOT_SUPPORTED), (1, 9, s.STATUS_NOT_SUPPORTED), (1, 37, s.STATUS_NOT_SUPPORTED),
        (1, 0, s.STATUS_INVALID_INFO_CLASS), (1, 10, s.STATUS_INVALID_INFO_CLASS),
        (1, 255, s.STATUS_INVALID_INFO_CLASS), (1, 23, s.STATUS_INVALID_PARAMETER),
        (2, 0, s.STATUS_INVALID_INFO_CLASS), (2, 2, s.STATUS_NOT_SUPPORTED), (2, 12, s.STATUS_INVALID_INFO_CLASS),
        (0, 4, s.STATUS_INVALID_PARAMETER), (5, 4, s.STATUS_INVALID_PARAMETER),
    ],
)  # fmt: skip
def test_classes_that_are_not_answered(bench: Bench, info_type: int, info_class: int, status: int) -> None:
    wire.raises(status, ask, bench, bench.open(""), info_type, info_class)


def test_dialects() -> None:
    bench = Bench(c.DIALECT_302)
    wire.raises(s.STATUS_NOT_SUPPORTED, ask, bench, bench.open(""), 1, 48)
    assert ask(bench, bench.open(""), 1, 59).status == s.STATUS_SUCCESS
    bench = Bench(c.DIALECT_210)
    wire.raises(s.STATUS_NOT_SUPPORTED, ask, bench, bench.open(""), 1, 59)


# ------------------------------------------------------------------------------------------------ extended attributes


def ea_names(*names: str) -> bytes:
    out = b""
    for index, each in enumerate(names):
        entry = struct.pack("<IB", 0, len(each)) + each.encode() + b"\0"
        if index < len(names) - 1:
            size = -(-len(entry) // 4) * 4
            entry = struct.pack("<I", size) + entry[4:].ljust(size - 4, b"\0")
        out += entry
    return out


def test_ea_list_keeps_the_order_and_names_what_is_missing(bench: Bench) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    reply = ask(bench, open_, 1, 15, data=ea_names("three", "NONE"))
    assert wire.output(reply) == (
        struct.pack("<IBBH", 20, 0x80, 5, 5) + b"THREE\0drei!" + bytes(1) + struct.pack("<IBBH", 0, 0, 4, 0) + b"NONE\0"
    )


def test_ea_scan_one_by_one(bench: Bench) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    assert wire.output(ask(bench, open_, 1, 15, flags=3))[8:11] == b"ONE"
    assert wire.output(ask(bench, open_, 1, 15, flags=2))[8:13] == b"THREE"
    wire.raises(s.STATUS_NO_MORE_EAS, ask, bench, open_, 1, 15)
    assert len(wire.output(ask(bench, open_, 1, 15, flags=1))) == len(GOLDEN[15])
    assert wire.output(ask(bench, open_, 1, 15, additional=2, flags=4))[8:13] == b"THREE"
    wire.raises(s.STATUS_NONEXISTENT_EA_ENTRY, ask_index_0, bench, open_)


def ask_index_0(bench: Bench, open_: Open) -> Reply:
    return ask(bench, open_, 1, 15, additional=0, flags=4)


def test_ea_buffers(bench: Bench) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    assert wire.raises(s.STATUS_BUFFER_TOO_SMALL, ask, bench, open_, 1, 15, 15).data == struct.pack("<I", 16)
    reply = ask(bench, open_, 1, 15, 34)
    assert (reply.status, wire.output(reply)) == (
        s.STATUS_BUFFER_OVERFLOW, struct.pack("<IBBH", 0, 0, 3, 4) + b"ONE\0eins",
    )  # fmt: skip
    bench.volume.add("bare")
    wire.raises(s.STATUS_NO_EAS_ON_FILE, ask, bench, bench.open("bare"), 1, 15)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\0", s.STATUS_EA_LIST_INCONSISTENT),
        (struct.pack("<IB", 0, 9) + b"ONE\0", s.STATUS_EA_LIST_INCONSISTENT),
        (struct.pack("<IB", 0, 3) + b"ONEx", s.STATUS_EA_LIST_INCONSISTENT),
        (struct.pack("<IB", 4, 3) + b"ONE\0", s.STATUS_EA_LIST_INCONSISTENT),
        (struct.pack("<IB", 10, 3) + b"ONE\0" + bytes(20), s.STATUS_EA_LIST_INCONSISTENT),
        (struct.pack("<IB", 400, 3) + b"ONE\0", s.STATUS_EA_LIST_INCONSISTENT),
        (struct.pack("<IB", 0, 0) + b"\0", s.STATUS_INVALID_EA_NAME),
        (struct.pack("<IB", 0, 2) + b"A*\0", s.STATUS_INVALID_EA_NAME),
    ],
)
def test_bad_ea_lists(bench: Bench, data: bytes, status: int) -> None:
    open_ = bench.open("Ordner\\a long name.txt")
    request = bench.request(c.QUERY_INFO, wire.query_info(open_, 1, 15, data=data))
    wire.raises(status, bench.run, handle, request)


# ---------------------------------------------------------------------------------------------------- security, quota


def test_compression_of_what_is_compressed(bench: Bench) -> None:
    """MS-FSCC 2.4.9: CompressionFormat LZNT1, and the shifts of unit, chunk and cluster."""
    node = bench.volume.find("Ordner\\a long name.txt")
    assert node is not None
    node.compression = 2
    reply = ask(bench, bench.open("Ordner\\a long name.txt"), 1, 28)
    assert wire.output(reply) == struct.pack("<QHBBB3x", 8192, 2, 16, 12, 12)


def test_security(bench: Bench) -> None:
    node = bench.volume.find("Ordner")
    assert node is not None
    node.descriptor = b"\x01\0\x04\x80" + bytes(16) + b"rest"
    open_ = bench.open("Ordner")
    reply = ask(bench, open_, 3, 0, additional=7)
    assert wire.output(reply) == node.descriptor
    for dialect in (c.DIALECT_311, c.DIALECT_302):
        bench.connection.dialect = dialect
        for limit in (0, 1, 23):
            body = wire.query_info(open_, 3, 0, limit)
            error = wire.raises(s.STATUS_BUFFER_TOO_SMALL, bench.run, handle, bench.request(c.QUERY_INFO, body))
            reply = failed(bench.request(c.QUERY_INFO, body), error)
            assert reply.status == s.STATUS_BUFFER_TOO_SMALL
            # An ERROR Response with the size that is needed, on 3.1.1 in a context (MS-SMB2 2.2.2.1)
            expected = {
                c.DIALECT_311: struct.pack("<HBBIIII", 9, 1, 0, 12, 4, 0, 24),
                c.DIALECT_302: struct.pack("<HBBII", 9, 0, 0, 4, 24),
            }
            assert body_of(reply) == expected[dialect]


@pytest.mark.parametrize(
    ("information", "access"),
    [*((part, c.READ_CONTROL) for part in (1, 2, 4, 16)), (8, c.ACCESS_SYSTEM_SECURITY)],
)
def test_security_access(bench: Bench, information: int, access: int) -> None:
    def with_access(granted: int) -> Reply:
        open_ = bench.open("Ordner", granted)
        body = wire.query_info(open_, 3, 0, additional=information)
        return bench.run(handle, bench.request(c.QUERY_INFO, body))

    wire.raises(s.STATUS_ACCESS_DENIED, with_access, (c.FILE_ALL_ACCESS | c.ACCESS_SYSTEM_SECURITY) & ~access)
    assert with_access(access).status == s.STATUS_SUCCESS


# -------------------------------------------------------------------------------------------------------------- pipes


@pytest.mark.parametrize(
    ("info_class", "data"),
    [
        (4, bytes(32) + struct.pack("<II", 0x80, 0)),
        (5, struct.pack("<QQIBBH", 4096, 0, 1, 1, 0, 0)),
        (7, bytes(4)),
        (8, struct.pack("<I", 0x001F01FF)),
        (23, struct.pack("<II", 1, 0)),
        (24, struct.pack("<IIIIIIIIII", 1, 2, 0xFFFFFFFF, 1, 4096, 0, 4096, 4096, 3, 0)),
        (25, bytes(16)),
    ],
)
def test_pipe_classes(bench: Bench, info_class: int, data: bytes) -> None:
    assert wire.output(ask(bench, bench.open_pipe(), 1, info_class)) == data


def test_pipe_names_itself(bench: Bench) -> None:
    assert wire.output(ask(bench, bench.open_pipe(), 1, 18)).endswith(sized("\\srvsvc"))
    assert wire.output(ask(bench, bench.open_pipe(), 2, 4)) == struct.pack("<II", 0x11, 0)


@pytest.mark.parametrize(
    ("info_type", "info_class", "status"),
    [
        (1, 15, s.STATUS_NOT_SUPPORTED), (1, 22, s.STATUS_NOT_SUPPORTED), (1, 48, s.STATUS_NOT_SUPPORTED),
        (1, 200, s.STATUS_INVALID_INFO_CLASS), (2, 1, s.STATUS_INVALID_DEVICE_REQUEST),
        (2, 5, s.STATUS_INVALID_DEVICE_REQUEST), (3, 0, s.STATUS_NOT_SUPPORTED),
    ],
)  # fmt: skip
def test_what_pipes_do_not_have(bench: Bench, info_type: int, info_class: int, status: int) -> None:
    wire.raises(status, ask, bench, bench.open_pipe(), info_type, info_class)


# ---------------------------------------------------------------------------------------------------- malformed bodies


def patched(open_: Open, layout: str, offset: int, value: int) -> bytes:
    body = bytearray(wire.query_info(open_, 1, 15, data=ea_names("ONE")))
    struct.pack_into(layout, body, offset, value)
    return bytes(body)


@pytest.mark.parametrize(
    ("layout", "offset", "value", "status"),
    [
        ("<H", 0, 40, s.STATUS_INVALID_PARAMETER),  # StructureSize
        ("<I", 4, (4 << 20) + 1, s.STATUS_INVALID_PARAMETER),  # OutputBufferLength
        ("<H", 8, 0, s.STATUS_INVALID_PARAMETER),  # InputBufferOffset into the header
        ("<H", 8, 103, s.STATUS_INVALID_PARAMETER),  # into the fixed part
        ("<H", 8, 105, s.STATUS_INVALID_PARAMETER),  # one byte beyond the message
        ("<H", 8, 0xFFFF, s.STATUS_INVALID_PARAMETER),
        ("<I", 12, 10, s.STATUS_INVALID_PARAMETER),  # InputBufferLength
        ("<I", 12, 0xFFFFFFFF, s.STATUS_INVALID_PARAMETER),
        ("<Q", 24, 1, s.STATUS_FILE_CLOSED),
        ("<Q", 32, 1, s.STATUS_FILE_CLOSED),
    ],
)
def test_bad_fields(bench: Bench, layout: str, offset: int, value: int, status: int) -> None:
    body = patched(bench.open("Ordner\\a long name.txt"), layout, offset, value)
    wire.raises(status, bench.run, handle, bench.request(c.QUERY_INFO, body))


def test_short_bodies(bench: Bench) -> None:
    whole = wire.query_info(bench.open(""), 1, 4)
    for length in range(40):
        request = bench.request(c.QUERY_INFO, whole[:length])
        wire.raises(s.STATUS_INVALID_PARAMETER, bench.run, handle, request)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    info_type=st.integers(0, 5), info_class=st.integers(0, 110), limit=st.integers(0, 300), flags=st.integers(0, 7),
    additional=st.integers(0, 0xFFFFFFFF), data=st.binary(max_size=80), pipe=st.booleans(), cut=st.integers(0, 8),
)  # fmt: skip
def test_fuzz(
    bench: Bench, info_type: int, info_class: int, limit: int, flags: int, additional: int, data: bytes, pipe: bool,
    cut: int,
) -> None:  # fmt: skip
    open_ = bench.open_pipe() if pipe else bench.open("Ordner\\a long name.txt")
    body = wire.query_info(open_, info_type, info_class, limit, data, additional, flags)
    request = bench.request(c.QUERY_INFO, body[: len(body) - cut], open_.tree)
    try:
        reply = bench.run(handle, request)
    except (NtStatusError, ConnectionFatal):
        return
    if reply.status != s.STATUS_BUFFER_TOO_SMALL:
        assert len(wire.output(reply)) <= limit


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=120))
def test_fuzz_any_bytes(bench: Bench, body: bytes) -> None:
    with pytest.raises((NtStatusError, ConnectionFatal)):
        bench.run(handle, bench.request(c.QUERY_INFO, b"\x29\0" + body))


@pytest.mark.parametrize(
    ("mode", "wire_mode"),
    [(0o100644, 0o644), (0o040755, 0o10755), (0o120777, 0o20777), (0o020600, 0o30600), (0o060600, 0o40600),
     (0o010600, 0o50600), (0o140600, 0o60600), (0o104755, 0o4755), (0o041777, 0o11777)],
)  # fmt: skip
def test_the_file_type_on_the_wire_is_not_st_mode_s(bench: Bench, mode: int, wire_mode: int) -> None:
    """SMB 3.1.1 POSIX extensions: the kernel's client takes S_IFDIR's bits for a block device."""
    info = file_of(bench.open("Ordner\\a long name.txt")).info()
    info.mode = mode
    assert posix_mode(info) == wire_mode


def test_a_mode_without_type_takes_the_directory_s(bench: Bench) -> None:
    info = file_of(bench.open("Ordner")).info()
    info.mode = 0o750
    assert posix_mode(info) == 0o10750
