# SPDX-License-Identifier: GPL-2.0-or-later
"""Which file it is, and which file system it is on: ids that every answer tells alike, that are not used again and that
outlive a restart; the room of the handle's own file system."""
from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mounted import mount
from rawclient import RawClient
from server import KsmbdServer, StartKsmbd
from smbprotocol.create_contexts import SMB2CreateContextRequest
from smbprotocol.file_info import FileInformationClass
from smbprotocol.open import CreateDisposition
from smbprotocol_client import DELETE, DIRECTORY, NOT_DIRECTORY, READ, WRITE, Client

from ksmbd.smb import constants as c

FILE, FILE_SYSTEM = 1, 2
INTERNAL, ALL, FILE_ID = 6, 18, 59
VOLUME, SIZE, FULL_SIZE = 1, 3, 7


def query(client: RawClient, file: bytes, kind: int, info_class: int, size: int = 1024) -> bytes:
    """The output of a QUERY_INFO that succeeds (MS-SMB2 2.2.37)."""
    body = struct.pack("<HBBIHHIIIQQ", 41, kind, info_class, size, 0, 0, 0, 0, 0, *struct.unpack("<QQ", file))
    client.credits -= 1
    reply = client.reply(client.post(c.QUERY_INFO, body))
    assert struct.unpack_from("<I", reply, 8)[0] == 0
    offset, length = struct.unpack_from("<HI", reply, 66)
    return reply[offset : offset + length]


def ids(server: KsmbdServer, name: str, options: int) -> set[int]:
    """The file's id as FileInternalInformation, FileAllInformation and FileIdInformation have it, as QFid in CREATE,
    and as the listing of its folder."""
    with RawClient(server) as client:
        file = client.open(name, READ, c.FILE_OPEN, options)
        internal = query(client, file, FILE, INTERNAL)
        found = {struct.unpack("<Q", internal)[0], struct.unpack_from("<Q", query(client, file, FILE, ALL), 64)[0]}
        serial, low, high = struct.unpack("<QQQ", query(client, file, FILE, FILE_ID))
        assert high == 0 and serial
        found.add(low)
    context = SMB2CreateContextRequest()
    context["buffer_name"] = b"QFid"
    with Client(server) as other:
        opened = other.new_open(name)
        answers: Any = opened.create(2, READ, 0, 7, CreateDisposition.FILE_OPEN, options, [context])
        (answer,) = (entry for entry in answers or [] if hasattr(entry, "fields") and "disk_file_id" in entry.fields)
        found.add(answer["disk_file_id"].get_value())
        above, _, last = name.rpartition("\\")
        folder = other.open(above, READ, CreateDisposition.FILE_OPEN, DIRECTORY)
        for kind in (
            FileInformationClass.FILE_ID_BOTH_DIRECTORY_INFORMATION,
            FileInformationClass.FILE_ID_FULL_DIRECTORY_INFORMATION,
        ):
            for pattern in ("*", last):
                listed = folder.query_directory(pattern, kind, flags=1)
                found |= {
                    entry["file_id"].get_value()
                    for entry in listed
                    if entry["file_name"].get_value().decode("utf-16-le") == last
                }
    return found


@pytest.fixture(params=["birth times", "no birth times"])
def nested(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A share's folder with another file system mounted in it. ext4 keeps birth times in what makes an inode longer
    than 128 bytes."""
    share = tmp_path / "share"
    share.mkdir()
    features = () if request.param == "birth times" else ("-I", "128")
    with mount("ext4", share, features=features) as folder:
        (share / "image").unlink()
        yield folder


def test_ids_are_told_alike_and_outlive_a_restart(start_ksmbd: StartKsmbd, tmp_path: Path, nested: Path) -> None:
    share = tmp_path / "share"
    for folder in (share, nested):
        (folder / "f").write_text("data")
        (folder / "d").mkdir()
        os.chmod(folder / "d", 0o777)
    server = start_ksmbd(shares={"s": {"path": str(share)}})
    names = {
        "f": NOT_DIRECTORY, "d": DIRECTORY, f"{nested.name}\\f": NOT_DIRECTORY, f"{nested.name}\\d": DIRECTORY,
        nested.name: DIRECTORY,
    }  # fmt: skip
    before = {name: ids(server, name, options) for name, options in names.items()}
    assert all(len(found) == 1 for found in before.values())
    assert len(set.union(*before.values())) == len(names)
    assert server.stop() == 0
    server.restart()
    server.wait_until_listening()
    assert {name: ids(server, name, options) for name, options in names.items()} == before


def test_ids_are_not_used_again(start_ksmbd: StartKsmbd, tmp_path: Path, nested: Path) -> None:
    """ext4 gives the next file the inode that was freed last."""
    server = start_ksmbd(shares={"s": {"path": str(nested)}})
    seen: list[tuple[int, int]] = []
    with Client(server) as client:
        for _ in range(20):
            file = client.open("f", READ | WRITE | DELETE)
            (found,) = ids(server, "f", NOT_DIRECTORY)
            seen.append((found, os.stat(nested / "f").st_ino))
            file.close()
            os.unlink(nested / "f")
    assert len({ino for _, ino in seen}) < len(seen)
    assert len({id_ for id_, _ in seen}) == len(seen)


def test_the_room_is_the_file_systems_that_the_handle_is_on(
    start_ksmbd: StartKsmbd, tmp_path: Path, nested: Path
) -> None:
    """MS-FSCC 2.5.4, 2.5.8, 2.5.9: also below a mount point; and what of it a user may use (f_bavail)."""
    server = start_ksmbd(shares={"s": {"path": str(tmp_path / "share")}})
    (nested / "f").write_text("")
    with RawClient(server) as client:
        serials = []
        for name, path in (("", tmp_path / "share"), (nested.name, nested), (f"{nested.name}\\f", nested)):
            file = client.open(name, READ, c.FILE_OPEN, 0)
            full = query(client, file, FILE_SYSTEM, FULL_SIZE)
            total, caller, actual, sectors, sector = struct.unpack("<QQQII", full)
            expected = os.statvfs(path)
            unit = sectors * sector
            assert total * unit == expected.f_blocks * expected.f_frsize
            assert abs(caller * unit - expected.f_bavail * expected.f_frsize) < 1 << 30
            assert abs(actual * unit - expected.f_bfree * expected.f_frsize) < 1 << 30
            assert struct.unpack_from("<Q", query(client, file, FILE_SYSTEM, SIZE))[0] == total
            serials.append(struct.unpack_from("<I", query(client, file, FILE_SYSTEM, VOLUME), 8)[0])
        assert serials[0] != serials[1] == serials[2]
        inside = os.statvfs(nested)
        assert inside.f_bavail < inside.f_bfree  # blocks that ext4 keeps for root
