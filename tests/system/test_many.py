# SPDX-License-Identifier: GPL-2.0-or-later
"""Many files, many connections, and clients that vanish, stall or never begin: the others do not notice."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from rawclient import ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb import status as s

FILES = 10_000
ALL = 0x1F01FF
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(options={"max ip connections": "0", "max connections": "0", "smb2 max credits": "8192"})


@pytest.fixture
def bystander(server: KsmbdServer) -> Iterator[RawClient]:
    with RawClient(server) as client:
        yield client


def works(client: RawClient, name: str = "bystander", size: int = 100_000) -> None:
    """One client's day: make a file, write it, read it back, delete it."""
    data = os.urandom(size)
    charge = (size + 65535) // 65536
    file = client.open(name, ALL, c.FILE_OVERWRITE_IF, 0x1040)
    client.ask(c.WRITE, client.write_body(file, 0, size) + data, charge=charge)
    assert bytes(client.ask(c.READ, client.read_body(file, 0, size), charge=charge))[80:] == data
    client.close(file)


def nothing_is_left(server: KsmbdServer) -> None:
    server.wait_stats("\nconnections: 0\nsessions: 0\nopens: 0\n")


# ------------------------------------------------------------------------------------------------------------- files


def names_in(client: RawClient, folder: bytes, flags: int = 1) -> Iterator[tuple[str, int]]:
    """(name, size) of a folder's entries as FileIdBothDirectoryInformation (MS-FSCC 2.4.17)."""
    while True:
        body = struct.pack("<HBBI16sHHI", 33, 37, flags, 0, folder, 96, 2, 65536) + b"*\0"
        reply = bytes(client.ask(c.QUERY_DIRECTORY, body, ok=(0, s.STATUS_NO_MORE_FILES)))
        if status_of(reply):
            return
        flags = 0
        position, length = struct.unpack_from("<HI", reply, 66)
        assert position + length <= len(reply)
        while True:
            following = struct.unpack_from("<I", reply, position)[0]
            size, name_length = struct.unpack_from("<Q", reply, position + 40)[0], reply[position + 60]
            yield reply[position + 104 : position + 104 + name_length].decode("utf-16-le"), size
            if not following:
                break
            position += following


@pytest.mark.slow
def test_ten_thousand_files(server: KsmbdServer) -> None:
    """Created one by one, listed by two clients, deleted one by one."""
    with RawClient(server) as client:
        client.close(client.open("many", 0x120089, c.FILE_CREATE, 1))
        for index in range(FILES):
            file = client.open(f"many\\file-{index:05}-ä", ALL, c.FILE_CREATE)
            if index % 10 == 0:
                client.ask(c.WRITE, client.write_body(file, 0, 5) + b"%05d" % index)
            client.close(file)
        on_disk = server.share_path / "many"
        assert len(os.listdir(on_disk)) == FILES
        assert (on_disk / "file-09990-ä").read_bytes() == b"09990"
        folder = client.open("many", 0x120089, c.FILE_OPEN, 1)
        listed = dict(names_in(client, folder))
        assert len(listed) == FILES + 2
        assert set(listed) == {".", "..", *os.listdir(on_disk)}
        assert sum(listed[name] for name in listed if name.startswith("file")) == FILES // 10 * 5
        assert len(list(names_in(client, folder, flags=1))) == FILES + 2
        client.close(folder)
        if shutil.which("smbclient"):
            shown = server.smbclient("cd many; ls")
            assert shown.stdout.count("file-") == FILES, shown.stderr
        for index in range(FILES):
            file = client.open(f"many\\FILE-{index:05}-Ä", 0x10080, c.FILE_OPEN, 0x1040)
            client.close(file)
        assert os.listdir(on_disk) == []
    nothing_is_left(server)


# ------------------------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hundred_connections_at_once(start_ksmbd: StartKsmbd, workers: int) -> None:
    """All logged on at the same time, plain, signed and encrypted; each writes and reads; then nothing is left."""
    server = start_ksmbd(workers=workers, options={"max ip connections": "200", "max connections": "200"})

    def log_on(index: int) -> RawClient:
        return RawClient(server, encrypt=index % 3 == 0, signing=(None, c.SIGNING_AES_GMAC)[index % 2])

    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        clients = list(pool.map(log_on, range(100)))
        for client in clients:
            stack.enter_context(client)
        text = server.wait_stats("\nconnections: 100\n")
        assert "\nsessions: 100\n" in text
        opened = [client.open(f"file {index}", ALL, c.FILE_CREATE) for index, client in enumerate(clients)]
        data = [os.urandom(50_000) for _ in clients]
        writes = [
            (client, client.post(c.WRITE, client.write_body(file, 0, 50_000) + content))
            for client, file, content in zip(clients, opened, data, strict=True)
        ]
        for client, message_id in writes:
            assert status_of(client.reply(message_id)) == 0
        for client, file, content in zip(clients, opened, data, strict=True):
            assert bytes(client.ask(c.READ, client.read_body(file, 0, 50_000)))[80:] == content
        server.wait_stats("\nopens: 100\n")
        for client, file in zip(clients[::2], opened[::2], strict=True):
            client.close(file)
        server.wait_stats("\nopens: 50\n")
    nothing_is_left(server)
    assert [(server.share_path / f"file {index}").read_bytes() for index in range(100)] == data


def test_more_connections_than_allowed_are_refused(start_ksmbd: StartKsmbd) -> None:
    """`max ip connections`: the 33rd from one address is closed, another address is served."""
    server = start_ksmbd(options={"max ip connections": "32"})
    with ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(RawClient(server))
        extra = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        assert extra.recv(1) == b""
        with RawClient(server, source="127.0.0.2") as client:
            works(client)
    server.wait_stats("\nconnections: 0\n")
    with RawClient(server) as client:
        works(client)


@pytest.mark.parametrize("option", ["max ip connections", "max connections"])
def test_connections_without_a_session_give_way(start_ksmbd: StartKsmbd, option: str) -> None:
    """All places are held by connections that say nothing, or half a message: who logs on gets one nevertheless, and
    keeps it."""
    server = start_ksmbd(options={option: "8"}, workers=1)
    with ExitStack() as stack:
        first = stack.enter_context(RawClient(server))
        where = ("127.0.0.1", server.port)
        idle = [stack.enter_context(socket.create_connection(where, timeout=20)) for _ in range(20)]
        for sock in idle[-4:]:
            sock.sendall(b"\0\0\1\0\xfeSMB")
        clients = [stack.enter_context(RawClient(server)) for _ in range(7)]
        for client in (first, *clients):
            works(client)
        extra = stack.enter_context(socket.create_connection(where, timeout=20))
        assert extra.recv(1) == b"", "they keep theirs"
    server.wait_stats("\nconnections: 0\n")


def test_a_thousand_half_open_connections(server: KsmbdServer, bystander: RawClient) -> None:
    """A thousand connections that announce a frame and never send it: who was there works on, who comes is served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    try:
        with ExitStack() as stack:
            for index in range(1000):
                sock = stack.enter_context(
                    socket.create_connection(("127.0.0.1", server.port), 20, (f"127.0.1.{index % 250 + 1}", 0))
                )
                sock.sendall(b"\0\0\xff\xff"[: 1 + index % 4] if index % 2 else b"\0\0\1\0\xfeSMB")
            server.wait_stats(r"\nconnections: 1001\n")
            works(bystander)
            with RawClient(server) as late:
                works(late, "late")
        server.wait_stats(r"\nconnections: 1\n")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ------------------------------------------------------------------------------------------------- clients that vanish


@pytest.mark.parametrize("how", ["reset", "close", "close after a header", "kill while a reply is due"])
def test_a_client_that_vanishes_in_the_middle_of_a_write(
    server: KsmbdServer, bystander: RawClient, how: str
) -> None:
    """What was acknowledged is on disk, nothing of the unfinished frame is; its opens and locks are gone."""
    name = f"vanishing {how}"
    client = RawClient(server)
    file = bytes(client.ask(c.CREATE, client.create_body(name, ALL, c.FILE_CREATE)))[128:144]
    written = os.urandom(20 * 60_000)
    for start in range(0, len(written), 60_000):
        piece = written[start : start + 60_000]
        client.ask(c.WRITE, client.write_body(file, start, len(piece)) + piece)
    lock = struct.pack("<HHI16s", 48, 1, 0, file) + struct.pack("<QQII", 0, 1000, 0x12, 0)
    client.ask(c.LOCK, lock)
    other = bystander.open(name, ALL, c.FILE_OPEN)
    assert bystander.status(c.WRITE, bystander.write_body(other, 0, 4) + b"data") == s.STATUS_FILE_LOCK_CONFLICT
    frame = client.wire(client.message(c.WRITE, client.write_body(file, len(written), 60_000) + b"\xaa" * 60_000))
    unfinished = {"reset": 30_000, "close": 30_000, "close after a header": 70}.get(how, len(frame))
    client.post_bytes(frame[:unfinished])
    if how in ("reset", "kill while a reply is due"):
        client.vanish()
    else:
        client.socket.close()
    # The lock goes with its owner: a lock that waits is granted
    waiting = struct.pack("<HHI16s", 48, 1, 0, other) + struct.pack("<QQII", 0, 1000, 0x02, 0)
    assert bystander.status(c.LOCK, waiting) == 0
    bystander.close(other)
    server.wait_stats("\nopens: 0\n")
    server.wait_stats("\nconnections: 1\n")
    content = (server.share_path / name).read_bytes()
    assert content[: len(written)] == written
    assert content[len(written) :] in (b"", b"\xaa" * 60_000)
    if unfinished < len(frame):
        assert len(content) == len(written)
    works(bystander)


def test_vanishing_clients_leave_nothing(server: KsmbdServer, bystander: RawClient) -> None:
    """Gone at each place of a connection's life: the counters come back."""
    for stop in range(0, 300, 7):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        sock.sendall((b"\0\0\0\x6c\xfeSMB\x40\0" + bytes(58) + b"\x24\0\1\0" + bytes(42))[:stop] if stop < 112 else b"")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    for index in range(20):
        client = RawClient(server, encrypt=bool(index % 2))
        client.open(f"left {index}", ALL, c.FILE_OPEN_IF, 0x1040)
        folder = client.open("", 0x120089, c.FILE_OPEN, 1)
        client.post(c.CHANGE_NOTIFY, struct.pack("<HHI16sII", 32, 1, 1024, folder, 0x17F, 0))
        client.vanish()
    server.wait_stats("\nconnections: 1\n")
    text = server.wait_stats("\nopens: 0\n")
    assert "\nsessions: 1\n" in text
    assert not list(server.share_path.glob("left *")), "delete on close is done for who vanished"
    works(bystander)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_client_that_does_not_read_its_replies(server: KsmbdServer, bystander: RawClient) -> None:
    """Its replies wait in the file, not in the server's memory; when it reads at last they all come, and are right."""
    data = os.urandom(MEBIBYTE)
    (server.share_path / "mebibyte").write_bytes(data)
    with RawClient(server) as deaf:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        deaf.want_credits(16 * 200)
        file = deaf.open("mebibyte", 0x120089, c.FILE_OPEN)
        worker = server.stats()["workers"][0]["pid"]
        before = resident(worker)
        asked = [deaf.post(c.READ, deaf.read_body(file, 0, MEBIBYTE), charge=16) for _ in range(200)]
        for index in range(20):
            works(bystander, f"meanwhile {index}")
        assert resident(worker) - before < 120 * MEBIBYTE
        digest = hashlib.sha256(data).digest()
        for message_id in asked:
            assert hashlib.sha256(deaf.reply(message_id)[80:]).digest() == digest
        works(deaf)


def test_a_client_that_writes_without_reading(server: KsmbdServer, bystander: RawClient) -> None:
    """Echoes without end whose replies nobody takes: the server stops reading from that client, not from the others."""
    with RawClient(server) as deaf:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.want_credits(4000)
        for _ in range(4000):
            deaf.post(c.ECHO, b"\4\0\0\0")
        works(bystander)
        deaf.vanish()
    server.wait_stats("\nconnections: 1\n")


def test_a_log_off_while_requests_wait(server: KsmbdServer, bystander: RawClient) -> None:
    with RawClient(server) as client:
        folder = client.open("", 0x120089, c.FILE_OPEN, 1)
        watch = client.post(c.CHANGE_NOTIFY, struct.pack("<HHI16sII", 32, 1, 1024, folder, 0x17F, 0))
        interim = client.frame()
        assert status_of(interim) == 0x103
        gone = client.post(c.LOGOFF, b"\4\0\0\0")
        replies = {}
        while gone not in replies or watch not in replies:
            message = client.frame()
            replies[struct.unpack_from("<Q", message, 24)[0]] = status_of(message)
        assert replies[gone] == 0
        assert replies[watch] in (s.STATUS_NOTIFY_CLEANUP, s.STATUS_CANCELLED, s.STATUS_USER_SESSION_DELETED)
        assert client.status(c.TREE_DISCONNECT, b"\4\0\0\0") == s.STATUS_USER_SESSION_DELETED
    works(bystander)


def test_many_log_ons_on_one_connection(server: KsmbdServer) -> None:
    """Wrong blobs over and over: each is refused, nothing piles up, and the right one still logs on."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        stream = sock.makefile("rwb")
        for index in range(300):
            message = struct.pack(
                "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 0, 0, 0 if index == 0 else 1, 1, 0, 0, index, 0, 0, 0, bytes(16)
            )
            if index == 0:
                message += struct.pack("<HHHHI16sQHH", 36, 1, 1, 0, 0, b"g" * 16, 0, 0x302, 0)[:38]
            else:
                message += struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, 40, 0) + b"NTLMSSP\0" + bytes(32)
            stream.write(len(message).to_bytes(4, "big") + message)
            stream.flush()
            head = stream.read(4)
            if not head:
                break
            answer = stream.read(int.from_bytes(head, "big"))
            assert (status_of(answer) == 0) == (index == 0)
        server.wait_stats("\nconnections: 1\nsessions: 0\n")
        stream.close()


def test_everything_is_closed_in_the_end(server: KsmbdServer) -> None:
    nothing_is_left(server)
    with RawClient(server) as client, pytest.raises(ConnectionEnded):
        client.post_bytes(b"\xff" * 4)
        client.frame()
    nothing_is_left(server)
