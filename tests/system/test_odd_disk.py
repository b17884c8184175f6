# SPDX-License-Identifier: GPL-2.0-or-later
"""What a disk may hold and the wire cannot say: nothing of it hides a folder, or is made and then out of reach."""
from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import mount
from rawclient import BenchError, RawClient
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH

ALL = 0x1F01FF
DIRECTORY = 0x21
LARGEST = 0x7FFFFFFFFFFFFFFF


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tmpfs keeps every time that a local process sets."""
    with mount("tmpfs", tmp_path_factory.mktemp("mounted")) as folder:
        yield folder


@pytest.fixture(scope="module")
def server(folder: Path, start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(shares={
        "share": {"path": str(folder), "vfs objects": "streams_xattr"},
        "veto": {"path": str(folder), "veto files": "/._*/Thumbs.db/", "delete veto files": "yes"},
    })  # fmt: skip


def listed(client: RawClient, name: str, info_class: int = 37) -> bytes:
    """A whole listing as it comes, without its first 64 bytes."""
    directory = client.open(name, 0x120089, c.FILE_OPEN, DIRECTORY)
    found = b""
    while True:
        client.credits -= 1
        reply = client.reply(client.post(c.QUERY_DIRECTORY, client.query_directory_body(directory, info_class, 65536)))
        if struct.unpack_from("<I", reply, 8)[0]:
            assert struct.unpack_from("<I", reply, 8)[0] == s.STATUS_NO_MORE_FILES
            client.close(directory)
            return found
        found += reply[72:]


def status_of_open(client: RawClient, name: str, disposition: int = c.FILE_OPEN_IF, options: int = 0x40) -> int:
    try:
        client.close(client.open(name, ALL, disposition, options))
    except BenchError as error:
        return int(str(error).rpartition("0x")[2], 16)
    return 0


def set_info(client: RawClient, file: bytes, info_class: int, data: bytes) -> int:
    body = struct.pack("<HBBIHHI16s", 33, 1, info_class, len(data), 96, 0, 0, file) + data
    return client.status(c.SET_INFO, body)


def rename(client: RawClient, file: bytes, target: str) -> int:
    name = target.encode("utf-16-le")
    return set_info(client, file, 10, struct.pack("<B7xQI", 0, 0, len(name)) + name)


def delete(client: RawClient, name: str, options: int = 0) -> int:
    """By FileDispositionInformation; the first status that is not 0."""
    try:
        file = client.open(name, 0x10080, c.FILE_OPEN, options)
    except BenchError as error:
        return int(str(error).rpartition("0x")[2], 16)
    status = set_info(client, file, 13, b"\1")
    client.close(file)
    return status


TIMES = {"good": 1_700_000_000, "of the year 40000": 1_200_000_000_000, "of the year 61000": 1_862_000_000_000,
         "before 1601": -12_000_000_000}  # fmt: skip


def test_times_that_the_wire_cannot_say(server: KsmbdServer) -> None:
    """MS-FSCC 2.1.1: clamped, in listings and in each class that a client may ask for."""
    below = server.share_path / "times"
    below.mkdir(mode=0o777)
    for name, seconds in TIMES.items():
        (below / name).touch()
        os.utime(below / name, (seconds, seconds))
    with RawClient(server) as client:
        for info_class in (1, 2, 3, 37, 38, 60):
            found = listed(client, "times", info_class)
            assert all(name.encode("utf-16-le") in found for name in TIMES), info_class
        for name, seconds in TIMES.items():
            file = client.open(f"times\\{name}", 0x80, c.FILE_OPEN)
            for info_class in (4, 18, 34):
                client.credits -= 1
                reply = client.reply(client.post(c.QUERY_INFO, client.query_info_body(file, info_class)))
                assert struct.unpack_from("<I", reply, 8)[0] in (0, s.STATUS_BUFFER_OVERFLOW), (name, info_class)
                (written,) = struct.unpack_from("<q", reply, 72 + 16)
                assert written == min(max(seconds * 10**7 + FILETIME_UNIX_EPOCH, 0), LARGEST), (name, info_class)
            client.close(file)


def test_what_can_be_made_can_be_listed_renamed_and_deleted(server: KsmbdServer) -> None:
    with RawClient(server) as client:
        path = ""
        for number in range(30):
            below = f"{path}\\{number:02}{'x' * 198}" if path else f"{number:02}{'x' * 198}"
            status = status_of_open(client, below, options=DIRECTORY)
            if status:
                assert status == s.STATUS_OBJECT_PATH_NOT_FOUND
                break
            path = below
        assert len(path) > 3000
        leaf = f"{path}\\leaf"
        assert status_of_open(client, leaf) == 0
        file = client.open(leaf, 0x10080, c.FILE_OPEN)
        assert rename(client, file, f"{path}\\{'x' * 250}") == s.STATUS_OBJECT_PATH_NOT_FOUND
        assert rename(client, file, f"{path}\\leaf2") == 0
        client.close(file)
        assert "leaf2".encode("utf-16-le") in listed(client, path)
        assert delete(client, f"{path}\\leaf2") == 0
        while path:
            assert delete(client, path) == 0
            path = path.rpartition("\\")[0]


def test_repeated_separators_are_one(server: KsmbdServer) -> None:
    with RawClient(server) as client:
        assert status_of_open(client, "twice", options=DIRECTORY) == 0
        assert status_of_open(client, "twice\\\\file") == 0
        assert (server.share_path / "twice" / "file").exists()
        file = client.open("twice\\\\\\file", 0x10080, c.FILE_OPEN)
        assert rename(client, file, "twice\\\\other") == 0
        client.close(file)
        assert os.listdir(server.share_path / "twice") == ["other"]


def test_a_folder_goes_with_what_is_hidden_in_it(server: KsmbdServer) -> None:
    for name in ("hides", "shows"):
        below = server.share_path / name
        below.mkdir()
        (below / "Thumbs.db").touch()
        (below / "._folder").mkdir()
        (below / "._folder" / "icons").touch()
        os.chmod(below, 0o777)
        os.chmod(below / "._folder", 0o777)
    (server.share_path / "shows" / "kept").touch()
    with RawClient(server, "veto") as client:
        assert delete(client, "hides", 1) == 0
        assert not (server.share_path / "hides").exists()
        assert delete(client, "shows", 1) == s.STATUS_DIRECTORY_NOT_EMPTY
        assert sorted(os.listdir(server.share_path / "shows")) == ["._folder", "Thumbs.db", "kept"]
        assert os.listdir(server.share_path / "shows" / "._folder") == ["icons"]
    with RawClient(server) as client:
        assert delete(client, "shows", 1) == s.STATUS_DIRECTORY_NOT_EMPTY


def test_a_file_system_mounted_read_only_says_so(server: KsmbdServer) -> None:
    """MS-FSA 2.1.5.1.1 and 2.1.5.1.2; reading goes on."""
    kept = server.share_path / "kept"
    kept.write_bytes(b"data")
    kept.chmod(0o666)
    mounted = ["mount", "-o"]
    subprocess.run([*mounted, "remount,ro", str(server.share_path)], check=True)
    try:
        with RawClient(server) as client:
            for name, disposition, options in (
                ("new", c.FILE_CREATE, 0x40), ("new", c.FILE_CREATE, DIRECTORY), ("new", c.FILE_OPEN_IF, 0x40),
                ("kept", c.FILE_OPEN, 0x40), ("kept", c.FILE_OVERWRITE, 0x40), ("kept:stream", c.FILE_CREATE, 0x40),
            ):  # fmt: skip
                assert status_of_open(client, name, disposition, options) == s.STATUS_MEDIA_WRITE_PROTECTED, name
            assert delete(client, "kept", 0x40) == s.STATUS_MEDIA_WRITE_PROTECTED
            client.close(client.open("kept", 0x120089, c.FILE_OPEN))
    finally:
        subprocess.run([*mounted, "remount,rw", str(server.share_path)], check=True)
