# SPDX-License-Identifier: GPL-2.0-or-later
"""Shared extents and compression on the file systems that have them, each freshly made in a file and mounted: as root,
where the kernel has it and its mkfs is installed."""
from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import mount
from rawclient import RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC, FIEMAP_EXTENT_SHARED = 0x1, 0x2000
BLOCK = 65536


@pytest.fixture(params=["btrfs", "xfs"])
def kind(request: pytest.FixtureRequest) -> str:
    """The file system's name."""
    return str(request.param)


@pytest.fixture
def mounted(kind: str, tmp_path: Path) -> Iterator[Path]:
    """A folder on it, writable by all."""
    with mount(kind, tmp_path) as folder:
        yield folder


@pytest.fixture
def server(mounted: Path, start_ksmbd: StartKsmbd) -> KsmbdServer:
    """Shares the folder."""
    return start_ksmbd(shares={"share": {"path": str(mounted)}})


def ioctl(client: RawClient, code: int, file: bytes, data: bytes = b"") -> tuple[int, bytes]:
    """MS-SMB2 2.2.31: the status and the output."""
    body = struct.pack("<HHI16sIIIIIIII", 57, 0, code, file, 120 if data else 0, len(data), 0, 0, 0, 4096, 1, 0) + data
    client.credits -= 1
    reply = client.reply(client.post(c.IOCTL, body))
    if status_of(reply):
        return status_of(reply), b""
    offset, length = struct.unpack_from("<II", reply, 96)
    return 0, reply[offset : offset + length]


def shared(path: Path) -> int:
    """How many bytes of a file are in extents that another one has, too."""
    with path.open("rb") as file:
        request = bytearray(struct.pack("<QQIII4x", 0, (1 << 64) - 1, FIEMAP_FLAG_SYNC, 0, 64) + bytes(64 * 56))
        fcntl.ioctl(file, FS_IOC_FIEMAP, request)
    (count,) = struct.unpack_from("<I", request, 20)
    extents = [struct.unpack_from("<16xQ16xI", request, 32 + 56 * number) for number in range(count)]
    return sum(length for length, flags in extents if flags & FIEMAP_EXTENT_SHARED)


def attributes(client: RawClient, file: bytes) -> tuple[int, int]:
    """FileSystemAttributes (MS-FSCC 2.5.1) and FileAttributes."""
    body = struct.pack("<HBBIHHIIIQQ", 41, 2, 5, 64, 0, 0, 0, 0, 0, *struct.unpack("<QQ", file))
    client.credits -= 2
    reply = client.reply(client.post(c.QUERY_INFO, body))
    info = client.reply(client.post(c.QUERY_INFO, client.query_info_body(file, 35, 8)))
    return struct.unpack_from("<I", reply, 72)[0], struct.unpack_from("<I", info, 72)[0]


FILE_FILE_COMPRESSION, FILE_SUPPORTS_BLOCK_REFCOUNTING = 0x10, 0x08000000


@pytest.mark.parametrize("code", [c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX])
def test_extents_are_shared(server: KsmbdServer, code: int) -> None:
    """MS-FSCC 2.3.7, 2.3.9: the target has the source's bytes and blocks, and a write to one leaves the other."""
    data = os.urandom(4 * BLOCK)
    (server.share_path / "source").write_bytes(data)
    (server.share_path / "target").write_bytes(bytes(4 * BLOCK))
    with RawClient(server) as client:
        source, target = client.open("source"), client.open("target")
        assert attributes(client, source)[0] & FILE_SUPPORTS_BLOCK_REFCOUNTING
        request = source + struct.pack("<qqq", BLOCK, 2 * BLOCK, 2 * BLOCK)
        if code == c.FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX:
            request = struct.pack("<Q", 0x30) + request + struct.pack("<II", 1, 0)
        assert ioctl(client, code, target, request) == (0, b"")
        expected = bytes(2 * BLOCK) + data[BLOCK : 3 * BLOCK]
        assert (server.share_path / "target").read_bytes() == expected
        assert shared(server.share_path / "target") == 2 * BLOCK
        assert shared(server.share_path / "source") >= 2 * BLOCK  # btrfs counts whole extents
        assert client.status(c.WRITE, client.write_body(target, 2 * BLOCK, 1) + b"!") == 0
        assert (server.share_path / "source").read_bytes() == data
        # MS-FSA 2.1.5.10.4: ranges begin at clusters
        misaligned = source + struct.pack("<qqq", 1, 2 * BLOCK, BLOCK)
        assert ioctl(client, c.FSCTL_DUPLICATE_EXTENTS_TO_FILE, target, misaligned)[0] == s.STATUS_INVALID_PARAMETER


def test_compression(server: KsmbdServer, kind: str) -> None:
    """MS-FSCC 2.3.18, 2.3.69, MS-FSA 2.1.5.1.1: set, seen, inherited, not inherited by who does not want it; and where
    there is none, the volume says so and nothing but "none" can be set."""
    with RawClient(server) as client:
        folder = client.open("d", 0x12019F, c.FILE_CREATE, 1)
        lznt1, none = struct.pack("<H", 2), struct.pack("<H", 0)
        able = bool(attributes(client, folder)[0] & FILE_FILE_COMPRESSION)
        assert able == (kind == "btrfs")
        assert ioctl(client, c.FSCTL_GET_COMPRESSION, folder) == (0, none)
        if not able:
            assert ioctl(client, c.FSCTL_SET_COMPRESSION, folder, lznt1)[0] == s.STATUS_NOT_SUPPORTED
            assert ioctl(client, c.FSCTL_SET_COMPRESSION, folder, none) == (0, b"")
            return
        assert ioctl(client, c.FSCTL_SET_COMPRESSION, folder, lznt1) == (0, b"")
        assert ioctl(client, c.FSCTL_GET_COMPRESSION, folder) == (0, lznt1)
        for name, options, expected in (("d\\a", 0x40, lznt1), ("d\\b", 0x8040, none), ("d\\c", 0x8001, none)):
            file = client.open(name, 0x12019F, c.FILE_CREATE, options)
            assert ioctl(client, c.FSCTL_GET_COMPRESSION, file) == (0, expected), name
            assert bool(attributes(client, file)[1] & c.FILE_ATTRIBUTE_COMPRESSED) == (expected == lznt1)
        assert ioctl(client, c.FSCTL_SET_COMPRESSION, folder, struct.pack("<H", 3))[0] == s.STATUS_INVALID_PARAMETER
        assert ioctl(client, c.FSCTL_SET_COMPRESSION, folder, b"\2")[0] == s.STATUS_INVALID_PARAMETER
        file = client.open("d\\a", 0x120089, c.FILE_OPEN)
        assert ioctl(client, c.FSCTL_SET_COMPRESSION, file, none)[0] == s.STATUS_ACCESS_DENIED
