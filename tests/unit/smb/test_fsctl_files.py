# SPDX-License-Identifier: GPL-2.0-or-later
"""IOCTL: the FSCTLs of files and volumes, their bytes and limits (MS-FSCC 2.3)."""
from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import wire
from bench import Bench, file_of
from ioctl_requests import calls, control, out

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import BreakKind, LockElement

# -------------------------------------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(("data", "sparse"), [(b"", True), (b"\1", True), (b"\0", False), (b"\2more", True)])
def test_set_sparse(bench: Bench, data: bytes, sparse: bool) -> None:
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_SET_SPARSE, data) == b""
    assert calls(open_) == [("set_sparse", sparse)]
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, bench.open("d"), c.FSCTL_SET_SPARSE, data)


def test_zero_data(bench: Bench) -> None:
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_SET_ZERO_DATA, struct.pack("<qq", 10, 20)) == b""
    assert calls(open_) == [("zero_data", 10, 20)]
    assert bench.table.calls == [
        ("check_io", open_.ref, 10, 10, True), ("break_caching", open_.ref, BreakKind(True, True, False)),
    ]  # fmt: skip
    assert out(bench, open_, c.FSCTL_SET_ZERO_DATA, struct.pack("<qq", 10, 10)) == b""
    assert len(calls(open_)) == 1
    for low, high in ((-1, 5), (6, 5), (5, -1)):
        data = struct.pack("<qq", low, high)
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, c.FSCTL_SET_ZERO_DATA, data)
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, c.FSCTL_SET_ZERO_DATA, bytes(15))
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, bench.open("d"), c.FSCTL_SET_ZERO_DATA, bytes(16))


def test_zero_data_over_a_lock(bench: Bench) -> None:
    holder = bench.open("source")
    assert holder.ref is not None
    bench.table.locks.append((holder.ref, LockElement(15, 1, True)))
    open_ = bench.open("source")
    data = struct.pack("<qq", 10, 20)
    wire.raises(s.STATUS_FILE_LOCK_CONFLICT, control, bench, open_, c.FSCTL_SET_ZERO_DATA, data)
    assert calls(open_) == []


def test_allocated_ranges(bench: Bench) -> None:
    node = bench.volume.add("sparse", b"x" * 4096 + bytes(4096) + b"y" * 100)
    node.sparse = True
    open_ = bench.open("sparse")
    code, everything = c.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 0, 1 << 40)
    ranges = struct.pack("<qqqq", 0, 4096, 8192, 100)
    assert out(bench, open_, code, everything) == ranges
    assert out(bench, open_, code, everything + bytes(16)) == ranges
    assert out(bench, open_, code, everything, 32) == ranges
    for limit in (16, 31):
        reply = control(bench, open_, code, everything, limit)
        assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, ranges[:16])
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, code, everything, 15)
    assert out(bench, open_, code, struct.pack("<qq", 4096, 4096), 0) == b""
    assert out(bench, open_, code, bytes(16), 0) == b""
    for bad in (b"", everything[:15], struct.pack("<qq", -1, 1), struct.pack("<qq", 512, -1),
                struct.pack("<qq", 1, (1 << 63) - 1)):  # fmt: skip
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, bad)


def test_allocated_ranges_of_a_file_with_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are looked for than are answered (MS-FSCC 2.3.56)."""
    monkeypatch.setattr(limits, "ALLOCATED_RANGES", replace(limits.ALLOCATED_RANGES, value=3))
    node = bench.volume.add("sparse", (b"x" * 4096 + bytes(4096)) * 8)
    node.sparse = True
    open_ = bench.open("sparse")
    reply = control(bench, open_, c.FSCTL_QUERY_ALLOCATED_RANGES, struct.pack("<qq", 0, 1 << 40))
    expected = b"".join(struct.pack("<qq", number * 8192, 4096) for number in range(3))
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, expected)


def test_file_regions(bench: Bench) -> None:
    open_, code = bench.open("source"), c.FSCTL_QUERY_FILE_REGIONS
    assert out(bench, open_, code) == struct.pack("<IIIIqqII", 0, 1, 1, 0, 0, 16384, 1, 0)
    assert out(bench, open_, code, struct.pack("<qqII", 16000, 1000, 1, 0)) == struct.pack(
        "<IIIIqqII", 0, 1, 1, 0, 16000, 384, 1, 0
    )
    assert out(bench, open_, code, struct.pack("<qqII", 16384, 1, 1, 0)) == bytes(16)
    reply = control(bench, open_, code, b"", 39)
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, struct.pack("<IIII", 0, 1, 0, 0))
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, code, b"", 15)
    for bad in (bytes(23), struct.pack("<qqII", 0, 1, 2, 0), struct.pack("<qqII", -1, 1, 1, 0)):
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, bad)


def test_trim(bench: Bench) -> None:
    open_, code = bench.open("source"), c.FSCTL_FILE_LEVEL_TRIM
    data = struct.pack("<IIQQQQ", 0, 2, 0, 4096, 16000, 1 << 20)
    assert out(bench, open_, code, data) == struct.pack("<I", 2)
    assert out(bench, open_, code, data, 0) == b""
    assert calls(open_)[:2] == [("zero_data", 0, 4096), ("zero_data", 16000, 16384)]
    for bad in (data[:-1], struct.pack("<II", 0, 0), b"\1" + data[1:], struct.pack("<IIQQ", 0, 1, 1 << 63, 1),
                struct.pack("<II", 0, 0xFFFFFFFF)):  # fmt: skip
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, bad)


# -------------------------------------------------------------------------------------------- compression, reparse, ids


def test_compression(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    volume_info = bench.volume.volume_info()
    volume_info.attributes |= 0x10  # FILE_FILE_COMPRESSION
    monkeypatch.setattr(bench.volume, "volume_info", lambda: volume_info)
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_SET_COMPRESSION, b"\x02\0") == b""
    assert out(bench, open_, c.FSCTL_GET_COMPRESSION) == b"\x02\0"
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, c.FSCTL_GET_COMPRESSION, b"", 1)
    for bad in (b"", b"\0", b"\x03\0", b"\xff\xff"):
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, c.FSCTL_SET_COMPRESSION, bad)


def test_compression_where_there_is_none(bench: Bench) -> None:
    open_ = bench.open("source")
    assert out(bench, open_, c.FSCTL_GET_COMPRESSION) == b"\0\0"
    assert out(bench, open_, c.FSCTL_SET_COMPRESSION, b"\0\0") == b""
    for state in (b"\1\0", b"\2\0"):
        wire.raises(s.STATUS_NOT_SUPPORTED, control, bench, open_, c.FSCTL_SET_COMPRESSION, state)
    assert calls(open_) == []


SYMLINK = 0xA000000C


def reparse(tag: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<IHH", tag, len(data) if length is None else length, 0) + data


def test_reparse_points(bench: Bench) -> None:
    open_ = bench.open("target")
    wire.raises(s.STATUS_NOT_A_REPARSE_POINT, control, bench, open_, c.FSCTL_GET_REPARSE_POINT)
    out(bench, open_, c.FSCTL_SET_REPARSE_POINT, reparse(SYMLINK, b"somewhere"))
    whole = reparse(SYMLINK, b"somewhere")
    assert out(bench, open_, c.FSCTL_GET_REPARSE_POINT) == whole
    assert out(bench, open_, c.FSCTL_GET_REPARSE_POINT, b"", len(whole)) == whole
    reply = control(bench, open_, c.FSCTL_GET_REPARSE_POINT, b"", len(whole) - 1)
    assert (reply.status, wire.output(reply, 48)) == (s.STATUS_BUFFER_OVERFLOW, whole[:-1])
    wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, open_, c.FSCTL_GET_REPARSE_POINT, b"", 7)
    out(bench, open_, c.FSCTL_DELETE_REPARSE_POINT, reparse(SYMLINK, b""))
    assert calls(open_) == [("set_reparse_point", SYMLINK, b"somewhere"), ("delete_reparse_point", SYMLINK)]


def test_reparse_points_of_other_vendors_carry_a_guid(bench: Bench) -> None:
    open_ = bench.open("target")
    data = reparse(0x1234, b"G" * 16 + b"data", 4)
    out(bench, open_, c.FSCTL_SET_REPARSE_POINT, data)
    assert out(bench, open_, c.FSCTL_GET_REPARSE_POINT) == data
    out(bench, open_, c.FSCTL_DELETE_REPARSE_POINT, reparse(0x1234, b"G" * 16, 0))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", s.STATUS_IO_REPARSE_DATA_INVALID),
        (bytes(7), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(0, b""), s.STATUS_IO_REPARSE_TAG_INVALID),
        (reparse(1, b""), s.STATUS_IO_REPARSE_TAG_INVALID),
        (reparse(SYMLINK, b"abc", 2), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(SYMLINK, b"abc", 4), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(0x1234, b"abc"), s.STATUS_IO_REPARSE_DATA_INVALID),
        (reparse(SYMLINK, bytes(16385)), s.STATUS_IO_REPARSE_DATA_INVALID),
    ],
)
@pytest.mark.parametrize("code", [c.FSCTL_SET_REPARSE_POINT, c.FSCTL_DELETE_REPARSE_POINT])
def test_bad_reparse_data(bench: Bench, code: int, data: bytes, status: int) -> None:
    open_ = bench.open("target")
    wire.raises(status, control, bench, open_, code, data)
    assert calls(open_) == []


def test_deleting_a_reparse_point_takes_no_data(bench: Bench) -> None:
    data = reparse(SYMLINK, b"x")
    wire.raises(
        s.STATUS_IO_REPARSE_DATA_INVALID, control, bench, bench.open("target"), c.FSCTL_DELETE_REPARSE_POINT, data
    )


def test_object_ids(bench: Bench) -> None:
    """MS-FSA 2.1.5.10.1: one of the two codes makes an id, the other finds it."""
    own = (102).to_bytes(16, "little")
    open_ = bench.open("source")
    wire.raises(s.STATUS_OBJECTID_NOT_FOUND, control, bench, open_, c.FSCTL_GET_OBJECT_ID)
    for code in (c.FSCTL_CREATE_OR_GET_OBJECT_ID, c.FSCTL_GET_OBJECT_ID):
        assert out(bench, open_, code) == own + bytes(range(16)) + own + bytes(16)
        wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, b"", 63)


def test_no_object_id_is_made_on_a_read_only_share(bench: Bench) -> None:
    open_ = bench.open("source")
    bench.tree.read_only = True
    wire.raises(s.STATUS_MEDIA_WRITE_PROTECTED, control, bench, open_, c.FSCTL_CREATE_OR_GET_OBJECT_ID)
    wire.raises(s.STATUS_OBJECTID_NOT_FOUND, control, bench, open_, c.FSCTL_GET_OBJECT_ID)
    assert not file_of(open_).node.has_object_id
    file_of(open_).node.has_object_id = True
    for code in (c.FSCTL_CREATE_OR_GET_OBJECT_ID, c.FSCTL_GET_OBJECT_ID):
        assert out(bench, open_, code)[:16] == (102).to_bytes(16, "little")


def test_ntfs_volume_data(bench: Bench) -> None:
    code = c.FSCTL_GET_NTFS_VOLUME_DATA
    assert out(bench, bench.open("d"), code) == struct.pack(
        "<QQQQQIIIIQQQQQ", 0xCAFEBABE, 8000, 1000, 600, 0, 512, 4096, 1024, 0, 0, 0, 0, 0, 0
    )
    # MS-SMB2 2.2.2.2: the error tells the size that is needed
    assert wire.raises(s.STATUS_BUFFER_TOO_SMALL, control, bench, bench.open("d"), code, b"", 95).data == b"\x60\0\0\0"


def test_snapshots(bench: Bench) -> None:
    open_, code = bench.open("d"), c.FSCTL_SRV_ENUMERATE_SNAPSHOTS
    assert out(bench, open_, code, b"", 16) == struct.pack("<IIII", 0, 0, 2, 0)
    # 2024-02-29 12:34:56 and the epoch of Unix
    bench.volume.previous_versions = [133536836960000000, 116444736000000000]
    assert out(bench, open_, code, b"", 16) == struct.pack("<IIII", 2, 0, 102, 0)
    assert out(bench, open_, code, b"", 113) == struct.pack("<IIII", 2, 0, 102, 0)
    tokens = "@GMT-2024.02.29-12.34.56\0@GMT-1970.01.01-00.00.00\0\0".encode("utf-16-le")
    assert out(bench, open_, code, b"", 114) == struct.pack("<III", 2, 2, 102) + tokens
    wire.raises(s.STATUS_INVALID_PARAMETER, control, bench, open_, code, b"", 15)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (c.FSCTL_OFFLOAD_READ, s.STATUS_NOT_SUPPORTED), (c.FSCTL_OFFLOAD_WRITE, s.STATUS_NOT_SUPPORTED),
        (c.FSCTL_SET_OBJECT_ID, s.STATUS_ACCESS_DENIED), (c.FSCTL_DELETE_OBJECT_ID, s.STATUS_INVALID_DEVICE_REQUEST),
        (c.FSCTL_SRV_READ_HASH, s.STATUS_NOT_SUPPORTED), (c.FSCTL_LMR_REQUEST_RESILIENCY, s.STATUS_NOT_SUPPORTED),
        (c.FSCTL_GET_INTEGRITY_INFORMATION, s.STATUS_INVALID_DEVICE_REQUEST),
        (c.FSCTL_SET_INTEGRITY_INFORMATION, s.STATUS_INVALID_DEVICE_REQUEST),
    ],
)  # fmt: skip
def test_refused_as_specified(bench: Bench, code: int, status: int) -> None:
    wire.raises(status, control, bench, bench.open("source"), code, bytes(64))


def test_resiliency_is_checked_first() -> None:
    code = c.FSCTL_LMR_REQUEST_RESILIENCY
    for dialect, data, status in (
        (c.DIALECT_202, bytes(8), s.STATUS_INVALID_DEVICE_REQUEST),
        (c.DIALECT_210, bytes(7), s.STATUS_INVALID_PARAMETER),
        # 3.3.5.15.9: seconds are compared, so that part of one is no excess
        (c.DIALECT_210, struct.pack("<II", 301_000, 0), s.STATUS_INVALID_PARAMETER),
    ):
        bench = Bench(dialect)
        bench.server.settings.durable_handles = True
        wire.raises(status, control, bench, bench.open(""), code, data)
        assert not bench.table.calls


@pytest.mark.parametrize(("asked", "granted"), [(0, 120_000), (1, 1), (300_999, 300_999)])
def test_an_open_becomes_resilient(bench: Bench, asked: int, granted: int) -> None:
    """MS-SMB2 3.3.5.15.9: Open.IsResilient, no longer Open.IsDurable; Reserved is ignored."""
    bench.server.settings.durable_handles = True
    open_ = bench.open("source")
    open_.is_durable = True
    assert out(bench, open_, c.FSCTL_LMR_REQUEST_RESILIENCY, struct.pack("<II", asked, 0xFFFFFFFF)) == b""
    assert (open_.is_resilient, open_.is_durable, open_.durable_timeout) == (True, False, granted)
    assert bench.table.calls == [("make_resilient", open_.ref, granted)]


def test_set_object_id_takes_one_structure(bench: Bench) -> None:
    """MS-FSA 2.1.5.10.35: the size is checked before the right to restore."""
    for size in (0, 63, 65):
        wire.raises(
            s.STATUS_INVALID_PARAMETER, control, bench, bench.open("source"), c.FSCTL_SET_OBJECT_ID, bytes(size)
        )
