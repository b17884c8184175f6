# SPDX-License-Identifier: GPL-2.0-or-later
"""What few clients ask for, over the wire: resilient opens, a peek at a pipe, a directory that changes while
it is read."""
from __future__ import annotations

import contextlib
import os
import struct

import pytest
from rawclient import RawClient, status_of
from server import StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

NO_SHARING = 0


def ioctl(code: int, file: bytes, data: bytes = b"", limit: int = 65536) -> bytes:
    """MS-SMB2 2.2.31."""
    return struct.pack("<HHI16sIIIIIIII", 57, 0, code, file, 120 if data else 0, len(data), 0, 0, 0, limit, 1, 0) + data


def output(reply: bytes) -> bytes:
    """The output buffer of an IOCTL Response (MS-SMB2 2.2.32)."""
    offset, length = struct.unpack_from("<II", reply, 64 + 32)
    return reply[offset : offset + length]


def create(name: str, share: int = 7, context: bytes = b"") -> bytes:
    raw = name.encode("utf-16-le")
    padded = raw + bytes(-(56 + len(raw)) % 8)
    return struct.pack(
        "<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 0x12019F, 0x80, share, c.FILE_OPEN_IF, 0x40, 120, len(raw),
        120 + len(padded) if context else 0, len(context),
    ) + padded + context  # fmt: skip


def reclaim(file: bytes) -> bytes:
    """DHnC (MS-SMB2 2.2.13.2.4)."""
    return struct.pack("<IHHHHI4s4x16s", 0, 16, 4, 0, 24, 16, b"DHnC", file)


def lock(file: bytes, flags: int) -> bytes:
    return struct.pack("<HHI16sQQII", 48, 1, 0, file, 0, 10, flags, 0)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_resilient_open_outlives_its_connection(start_ksmbd: StartKsmbd, workers: int) -> None:
    """MS-SMB2 3.3.5.15.9: no oplock, no durable request, and still there with its lock and its sharing; once its time
    is over, it is not."""
    server = start_ksmbd(workers=workers, options={"durable handles": "yes"})
    guid = os.urandom(16)
    client = RawClient(server, guid=guid)
    reply = client.reply(client.post(c.CREATE, create("f", NO_SHARING)))
    assert status_of(reply) == 0
    file = reply[128:144]
    assert client.status(c.LOCK, lock(file, 0x12)) == 0
    request = struct.pack("<II", 60_000, 0)
    assert client.status(c.IOCTL, ioctl(c.FSCTL_LMR_REQUEST_RESILIENCY, file, request)) == 0
    client.vanish()
    with RawClient(server, guid=os.urandom(16)) as other, RawClient(server, guid=guid) as back:
        assert other.status(c.CREATE, create("f")) == s.STATUS_SHARING_VIOLATION
        reply = back.reply(back.post(c.CREATE, create("f", NO_SHARING, reclaim(file))))
        assert status_of(reply) == 0
        found = reply[128:144]
        assert found[:8] == file[:8] and found[8:] != file[8:]
        assert back.status(c.LOCK, lock(found, 4)) == 0  # the lock was kept
        # A millisecond, and nobody comes back.
        request = struct.pack("<II", 1, 0)
        assert back.status(c.IOCTL, ioctl(c.FSCTL_LMR_REQUEST_RESILIENCY, found, request)) == 0
        back.vanish()
        attempts = (other.status(c.CREATE, create("f")) for _ in range(10_000))
        assert next(status for status in attempts if status != s.STATUS_SHARING_VIOLATION) == 0
        assert other.status(c.CREATE, create("f", NO_SHARING, reclaim(found))) == s.STATUS_OBJECT_NAME_NOT_FOUND


def test_peek_at_a_pipe(start_ksmbd: StartKsmbd) -> None:
    """FSCTL_PIPE_PEEK (MS-SMB2 3.3.5.15.4): as often as one likes; the answer to a call stays for the READ."""
    server = start_ksmbd()
    with RawClient(server, share="IPC$") as client:
        file = client.open("srvsvc", options=0)
        peek = ioctl(c.FSCTL_PIPE_PEEK, file)
        reply = client.reply(client.post(c.IOCTL, peek))
        assert (status_of(reply), output(reply)) == (0, struct.pack("<IIII", 3, 0, 0, 0))
        bind = struct.pack(
            "<BBBBIHHIHHIB3xHBx16sI16sI", 5, 0, 11, 3, 0x10, 72, 0, 1, 4280, 4280, 0, 1, 0, 1,
            bytes.fromhex("c84f324b7016d30112785a47bf6ee188"), 3,
            bytes.fromhex("045d888aeb1cc9119fe808002b104860"), 2,
        )  # fmt: skip
        write = struct.pack("<HHIQ16sIIHHI", 49, 112, len(bind), 0, file, 0, 0, 0, 0, 0) + bind
        assert client.status(c.WRITE, write) == 0
        seen = []
        for limit in (65536, 65536, 20):
            reply = client.reply(client.post(c.IOCTL, ioctl(c.FSCTL_PIPE_PEEK, file, limit=limit)))
            seen.append((status_of(reply), output(reply)))
        state, available, messages, length = struct.unpack_from("<IIII", seen[0][1])
        message = seen[0][1][16:]
        assert (state, available, messages, length) == (3, len(message), 1, len(message)) and message[2] == 12
        assert seen == [(0, seen[0][1]), (0, seen[0][1]), (s.STATUS_BUFFER_OVERFLOW, seen[0][1][:20])]
        reply = client.reply(client.post(c.READ, client.read_body(file, 0, 4280)))
        assert (status_of(reply), reply[80 : 80 + len(message)]) == (0, message)
        reply = client.reply(client.post(c.IOCTL, peek))
        assert output(reply) == struct.pack("<IIII", 3, 0, 0, 0)
    with RawClient(server) as client:
        file = client.open("f")
        assert client.status(c.IOCTL, ioctl(c.FSCTL_PIPE_PEEK, file)) == s.STATUS_NOT_SUPPORTED


def test_a_link_to_elsewhere(start_ksmbd: StartKsmbd) -> None:
    """STATUS_STOPPED_ON_SYMLINK with where it goes, in an error context (MS-SMB2 2.2.2.1, 2.2.2.2.1)."""
    server = start_ksmbd()
    target = r"\??\C:\elsewhere".encode("utf-16-le")
    data = struct.pack("<HHHHI", 0, len(target), len(target), len(target), 0) + target + target
    with RawClient(server) as client:
        link = client.open("link", options=0x200040)
        request = struct.pack("<IHH", 0xA000000C, len(data), 0) + data
        assert client.status(c.IOCTL, ioctl(c.FSCTL_SET_REPARSE_POINT, link, request)) == 0
        reply = client.reply(client.post(c.CREATE, create("link")))
        assert status_of(reply) == s.STATUS_STOPPED_ON_SYMLINK
        answer = struct.pack("<IIIHH", 12 + len(data), 0x4C4D5953, 0xA000000C, len(data), 0) + data
        context = struct.pack("<II", len(answer), 0) + answer
        assert reply[64:] == struct.pack("<HBBI", 9, 1, 0, len(context)) + context
        client.open("link", options=0x200040)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_last_open_of_a_deleted_file_is_one_of_its_streams(start_ksmbd: StartKsmbd, workers: int) -> None:
    """MS-FSA 2.1.5.5: the file goes with it. Until then its names are taken. FileAllInformation tells the stream's name
    as it was made."""
    server = start_ksmbd(workers=workers, shares={"share": {"vfs objects": "streams_xattr"}})
    with RawClient(server) as client:
        client.close(client.open("File"))
        reply = client.reply(client.post(c.CREATE, create("file:Stream")))
        assert status_of(reply) == 0
        stream = reply[128:144]
        information = client.reply(client.post(c.QUERY_INFO, client.query_info_body(stream)))
        length = struct.unpack_from("<I", information, 72 + 96)[0]
        assert information[172 : 172 + length].decode("utf-16-le") == "\\File:Stream"
        doomed = client.open("file", 0x110080, c.FILE_OPEN, 0x1040)
        client.close(doomed)
        assert client.status(c.CREATE, create("file")) == s.STATUS_DELETE_PENDING
        client.close(stream)
        assert os.listdir(server.share_path) == []


ENTRIES = 100_000


def test_a_large_directory_that_changes_while_it_is_listed(start_ksmbd: StartKsmbd) -> None:
    """MS-FSA 2.1.5.6.3: what is there all the time comes once, whatever else is made and removed meanwhile."""
    server = start_ksmbd()
    folder = server.share_path / "many"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for number in range(ENTRIES):
            os.close(os.open(f"file {number:06}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=descriptor))
        with RawClient(server) as client:
            file = client.open("many", 0x120081, c.FILE_OPEN, 1)
            seen: list[str] = []
            rounds = 0
            while True:
                body = client.query_directory_body(file, 12, 1 << 20)
                client.credits -= 16
                reply = client.reply(client.post(c.QUERY_DIRECTORY, body, 16))
                if status_of(reply) == s.STATUS_NO_MORE_FILES:
                    break
                assert status_of(reply) == 0
                seen += names(reply)
                rounds += 1
                # One that was seen goes, one that may come goes, and new ones come.
                for name in {seen[-1], f"file {ENTRIES - rounds:06}"}:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=descriptor)
                os.close(os.open(f"new {rounds}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=descriptor))
            assert rounds > 3
            assert len(seen) == len(set(seen))
            removed = {f"file {number:06}" for number in range(ENTRIES)} - set(os.listdir(descriptor))
            assert {f"file {number:06}" for number in range(ENTRIES)} - set(seen) <= removed
            assert removed and seen[:2] == [".", ".."]
    finally:
        os.close(descriptor)


def names(reply: bytes) -> list[str]:
    """Of the FileNamesInformation entries (MS-FSCC 2.4.33) in a QUERY_DIRECTORY Response."""
    offset, length = struct.unpack_from("<HI", reply, 66)
    found = []
    at, step = offset, 1
    while step:
        step, _, size = struct.unpack_from("<III", reply, at)
        found.append(reply[at + 12 : at + 12 + size].decode("utf-16-le"))
        at += step
    assert at + 12 + size == offset + length
    return found
