# SPDX-License-Identifier: GPL-2.0-or-later
"""Abuses of connections, log-ons and the server's tables: opens, locks, leases, notifications, pipes."""
from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from struct import pack, unpack_from

import spnego
from abuser import (
    ALL_ACCESS,
    AT_ONCE,
    EXCLUSIVE,
    LIST_ACCESS,
    READ_ACCESS,
    SHARED,
    STATUS_PENDING,
    UNLOCK,
    Abuser,
    Ground,
    Request,
    block,
    lease_context,
    quiet_reset,
    repeated,
)
from client import BenchClient, BenchError
from servers import ADDRESS

from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE

MOST_ELEMENTS = 65535
"""LockCount is 16 bits (MS-SMB2 2.2.26)."""
OPENED = 4000
MANY_OPENED = 20_000
MANY_LOCKS = 40_000
WATCHED = 2000
LEASED = 300


# ----------------------------------------------------------------------------------------------- before the log-on


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def spnego_oids(ground: Ground) -> None:
    """NegTokenInit with 21,000 mechanisms, on 20 connections at once."""
    listed = _der(0x30, _der(6, b"\x2a") * 21_000)
    token = _der(0x60, _der(6, bytes.fromhex("2b0601050502")) + _der(0xA0, _der(0x30, _der(0xA0, listed))))
    clients = [ground.half() for _ in range(20)]
    while ground.going():
        for number, client in enumerate(clients):
            try:
                client.setup(token)
            except OSError:
                clients[number] = ground.half()
        for number, client in enumerate(clients):
            try:
                while client.waiting:
                    client.take()
            except (OSError, BenchError):
                client.answered += 1
                clients[number] = ground.half()


def logons_in_progress(ground: Ground) -> None:
    """First rounds of log-ons, again and again, on 4 connections; none is ended."""
    token = spnego.client("nobody", "x", hostname=ADDRESS, service="cifs", protocol="ntlm").step() or b""
    clients = [ground.half() for _ in range(4)]
    while ground.going():
        for number, client in enumerate(clients):
            try:
                for _ in range(min(8, client.credits)):
                    client.setup(token)
                while client.waiting:
                    client.take()
            except (OSError, BenchError):
                clients[number] = ground.half()


def wrong_passwords(ground: Ground) -> None:
    """Whole log-ons with a wrong password, on 4 connections at once."""
    context = spnego.client(ground.user, "wrong", hostname=ADDRESS, service="cifs", protocol="ntlm")
    first, last = context.step() or b"", b""
    clients = [ground.half() for _ in range(4)]
    while ground.going():
        for number, client in enumerate(clients):
            try:
                client.setup(first)
                reply = client.take()
                where, size = unpack_from("<HH", reply, HEADER_SIZE + 4)
                last = last or context.step(bytes(reply[where : where + size])) or b""
                client.setup(last, unpack_from("<Q", reply, 40)[0])
            except (OSError, BenchError, spnego.exceptions.SpnegoError):
                clients[number] = ground.half()
        for number, client in enumerate(clients):
            try:
                while client.waiting:
                    client.take()
            except (OSError, BenchError):
                clients[number] = ground.half()


def connections(ground: Ground) -> None:
    """Connections made, negotiated and reset, 50 at a time."""
    while ground.going():
        some = []
        for _ in range(50):
            with contextlib.suppress(OSError, BenchError):
                some.append(ground.half())
                some[-1].answered += 1
        for client in some:
            quiet_reset(client.socket)


def trickle(ground: Ground) -> None:
    """Eight clients whose requests come a byte at a time, a WRITE of 1 MiB among them."""
    clients = [ground.client() for _ in range(8)]
    file_id = clients[0].open(ground.path("trickle"), ALL_ACCESS)

    def one(client: Abuser, command: int, body: bytes, charge: int, data: bytes) -> Iterator[None]:
        client.want_credits(charge)
        while True:
            for byte in bytes(client.wire(client.message(command, body, charge, charge, data))):
                client.socket.sendall(bytes((byte,)))
                yield
            client.waiting += 1
            client.take()

    size = 1 << 20
    work = [one(client, c.ECHO, b"\x04\0\0\0", 1, b"") for client in clients[1:]]
    work.append(one(clients[0], c.WRITE, clients[0].write_body(file_id, 0, size), 16, bytes(size)))
    ground.together(work)


def unread(ground: Ground) -> None:
    """Eight clients that ask for 1 MiB again and again, and read nothing."""
    some = [ground.client() for _ in range(8)]
    file_id = some[0].open(ground.path("unread"), ALL_ACCESS)
    some[0].ask(c.WRITE, some[0].write_body(file_id, 0, 1 << 20), charge=16, data=block(1 << 20))
    for client in some:
        client.want_credits(400)
        file_id = client.open(ground.path("unread"), READ_ACCESS, c.FILE_OPEN)
        client.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(client.credits // 16):
                client.post(c.READ, client.read_body(file_id, 0, 1 << 20), 16)
                client.answered += 1
    time.sleep(max(0.0, ground.until - time.monotonic()))


def tree_connects(ground: Ground) -> None:
    """One session connects to the share again and again, and logs off with all of it."""
    client = ground.client()
    path = f"\\\\{ADDRESS}\\bench".encode("utf-16-le")
    body = pack("<HHHH", 9, 0, HEADER_SIZE + 8, len(path)) + path
    client.pump(repeated((c.TREE_CONNECT, body, 1, b"")), ground.going)
    client.ask(c.LOGOFF, b"\x04\0\0\0", (0, 0xC0000203))


# ------------------------------------------------------------------------------------------------------------ locks


def _lock_elements(ground: Ground, elements: list[tuple[int, int, int]], undo: bool = False) -> None:
    client = ground.client()
    while ground.going():
        file_id = client.open(ground.path("locks"), ALL_ACCESS)
        client.post(c.LOCK, client.lock_body(file_id, elements))
        client.take()
        if undo:
            client.post(c.LOCK, client.lock_body(file_id, [(at, size, UNLOCK) for at, size, _ in elements]))
            client.take()
        client.close(file_id)


def lock_same(ground: Ground) -> None:
    """LOCK of 65,535 times the same range, shared."""
    _lock_elements(ground, [(0, 10, SHARED | AT_ONCE)] * MOST_ELEMENTS)


def lock_overlapping(ground: Ground) -> None:
    """LOCK of 65,535 ranges one inside the other."""
    _lock_elements(ground, [(i, 4 * MOST_ELEMENTS - 2 * i, SHARED | AT_ONCE) for i in range(MOST_ELEMENTS)])


def lock_unlock(ground: Ground) -> None:
    """LOCK of 65,535 ranges apart from each other, then their unlocking."""
    _lock_elements(ground, [(2 * i, 1, EXCLUSIVE | AT_ONCE) for i in range(MOST_ELEMENTS)], undo=True)


def many_locks(ground: Ground) -> None:
    """Up to 40,000 locks on one file, then reads and writes between them by another open."""
    client = ground.client()
    name = ground.path("many-locks")
    file_id = client.open(name, ALL_ACCESS)
    client.ask(c.WRITE, client.write_body(file_id, 0, 65536), data=block(65536))
    half = time.monotonic() + (ground.until - time.monotonic()) / 2
    held = 0
    for start in range(0, MANY_LOCKS, 64):
        elements = [(2 * i, 1, EXCLUSIVE | AT_ONCE) for i in range(start, start + 64)]
        reply = client.ask(c.LOCK, client.lock_body(file_id, elements), (0, 0xC000009A, 0xC0000055, 0xC0000205))
        client.answered += 1
        if unpack_from("<I", reply, 8)[0] or time.monotonic() > half:
            break
        held += 64
    other = client.open(name, ALL_ACCESS)
    client.pump(
        repeated(
            (c.READ, client.read_body(other, 2 * held + 1, 1), 1, b""),
            (c.WRITE, client.write_body(other, 1, 1), 1, b"x"),
            (c.LOCK, client.lock_body(other, [(2 * held + 2, 1, EXCLUSIVE | AT_ONCE)]), 1, b""),
            (c.LOCK, client.lock_body(other, [(2 * held + 2, 1, UNLOCK)]), 1, b""),
        ),
        ground.going,
    )


# ------------------------------------------------------------------------------------------------------------ opens


def _opens(client: Abuser, names: Iterator[str], most: int, ground: Ground, options: int = 0x40) -> list[bytes]:
    """FileIds of as many opens as are granted."""
    found: list[bytes] = []
    waiting = 0
    refused = False

    def take() -> None:
        nonlocal waiting, refused
        reply = client.take()
        waiting -= 1
        if unpack_from("<I", reply, 8)[0]:
            refused = True
        else:
            found.append(bytes(reply[HEADER_SIZE + 64 : HEADER_SIZE + 80]))

    for _ in range(most):
        while waiting and (waiting >= 32 or client.credits < 2):
            take()
        if refused or not ground.going():
            break
        body = client.create_with(next(names), b"", options=options)
        client.post(c.CREATE, body)
        waiting += 1
    while waiting:
        take()
    return found


def one_file_opens(ground: Ground) -> None:
    """4,000 opens of one file, then the connection ends."""
    client = ground.client()
    _opens(client, repeated_name(ground.path("one")), OPENED, ground)
    client.close_socket()


def logoff_opens(ground: Ground) -> None:
    """Opens of many files, 20,000 in all where they are granted, on four connections; then LOGOFF at once."""
    clients = [ground.client() for _ in range(4)]
    for number, client in enumerate(clients):
        _opens(client, (ground.path(f"{number}-{i}") for i in count()), MANY_OPENED // 4, ground)
    for client in clients:
        client.post(c.LOGOFF, b"\x04\0\0\0")
    for client in clients:
        client.take()


def delete_on_close(ground: Ground) -> None:
    """4,000 files open to be deleted on close; then the connection ends."""
    client = ground.client()
    _opens(client, (ground.path(f"doomed-{i}") for i in count()), OPENED, ground, options=0x1040)
    client.close_socket()


def repeated_name(name: str) -> Iterator[str]:
    """It, again and again."""
    while True:
        yield name


def rename_many_open(ground: Ground) -> None:
    """4,000 files of a folder are open; the folder and a file elsewhere are renamed again and again."""
    client = ground.client()
    folder = client.open(ground.path("folder"), ALL_ACCESS, c.FILE_OPEN_IF, 0x21)
    opened = (ground.path(f"folder\\{i}") for i in count())
    half = Ground(ground.port, ground.user, ground.folder, ground.disk, (ground.until + time.monotonic()) / 2)
    _opens(client, opened, OPENED, half)
    other = client.open(ground.path("other"), ALL_ACCESS)

    def renames() -> Iterator[Request]:
        for number in count():
            for file_id, name in ((other, f"other{number % 2}"), (folder, f"folder{number % 2}")):
                target = ground.path(name).encode("utf-16-le")
                data = pack("<B7xQI", 0, 0, len(target)) + target
                yield c.SET_INFO, client.set_info_body(file_id, 1, 10, data), 1, b""

    client.pump(renames(), ground.going)


# ----------------------------------------------------------------------------------------------------------- breaks


def breaks(ground: Ground) -> None:
    """Leases and oplocks on 300 files, whose breaks are never acknowledged, and clients that open the files."""
    owner, other = ground.client(), ground.client()
    for number in range(LEASED):
        name = ground.path(f"leased-{number}")
        leased = number % 2
        contexts = lease_context(os.urandom(16)) if leased else b""
        owner.ask(c.CREATE, owner.create_with(name, contexts, oplock=0xFF if leased else 9))
        owner.answered += 1
        if not ground.going():
            return
    other.want_credits(400)
    for number in range(LEASED):
        other.post(c.CREATE, other.create_with(ground.path(f"leased-{number}"), b""))
    other.socket.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while ground.going():
            other.take(interim=True)
            other.answered += 1
    time.sleep(max(0.0, ground.until - time.monotonic()))


# ---------------------------------------------------------------------------------------------------- notifications


def notify_flood(ground: Ground) -> None:
    """CHANGE_NOTIFY as often as the credits of four clients allow, then a change; again and again."""
    clients = [ground.client() for _ in range(4)]
    folder = ground.path()
    opened = [client.open(folder, LIST_ACCESS, c.FILE_OPEN, 0x21) for client in clients]
    other = ground.client()
    number = 0
    while ground.going():
        for client, file_id in zip(clients, opened, strict=True):
            client.socket.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                while client.credits > 1 and client.waiting < 8000 and ground.going():
                    client.post(c.CHANGE_NOTIFY, client.notify_body(file_id))
                    if client.waiting % 64 == 0:
                        for _ in range(64):
                            client.take(interim=True)
                            client.answered += 1
        for _ in range(20):
            number += 1
            other.close(other.open(f"{folder}\\{number}"))
            other.answered += 1
        for client in clients:
            client.socket.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                while client.waiting:
                    client.take(interim=True)


def make_tree(folder: Path) -> None:
    """2,000 folders."""
    for number in range(WATCHED // 50):
        for inner in range(49):
            (folder / f"{number}" / f"{inner}").mkdir(parents=True)


def notify_trees(ground: Ground) -> None:
    """Forty watches of a tree of 2,000 folders, in which folders and files come and go."""
    clients = [ground.client() for _ in range(8)]
    watches: dict[Abuser, list[bytes]] = {}
    for client in clients:
        opened = [client.open(ground.path(), LIST_ACCESS, c.FILE_OPEN, 0x21) for _ in range(5)]
        client.answered += len(opened)
        watches[client] = opened
        for file_id in opened:
            client.post(c.CHANGE_NOTIFY, client.notify_body(file_id, tree=True))
    for number in count():
        if not ground.going():
            return
        folder = ground.folder / f"{number % (WATCHED // 50)}" / f"new{number}"
        folder.mkdir()
        (folder / "file").write_bytes(b"x")
        (folder / "file").unlink()
        folder.rmdir()
        if number % 20 == 0:
            for client, opened in watches.items():
                while select.select([client.socket], [], [], 0)[0] and ground.going():
                    interim = unpack_from("<I", client.take(interim=True), 8)[0] == STATUS_PENDING
                    if not interim:
                        file_id = opened[client.answered % len(opened)]
                        client.post(c.CHANGE_NOTIFY, client.notify_body(file_id, tree=True))


# ------------------------------------------------------------------------------------------------------------ pipes


def half_pipes(ground: Ground) -> None:
    """Pipes opened and left with the half of an RPC request in them, on four connections."""
    clients = [ground.client("IPC$") for _ in range(4)]
    fragment = pack("<BBBBIHHI", 5, 0, 11, 1, 0x10, 4280, 0, 1) + bytes(4000)
    body = clients[0].create_with("srvsvc", b"", access=0x12019F)
    while ground.going():
        for client in clients:
            for _ in range(8):
                client.post(c.CREATE, body)
        for client in clients:
            opened = []
            while client.waiting:
                reply = client.take()
                if not unpack_from("<I", reply, 8)[0]:
                    opened.append(bytes(reply[HEADER_SIZE + 64 : HEADER_SIZE + 80]))
            for file_id in opened:
                client.post(c.WRITE, client.write_body(file_id, 0, len(fragment)), data=fragment)
        for client in clients:
            while client.waiting:
                client.take()


# -------------------------------------------------------------------------------------------------------- compounds


def _compounds(ground: Ground, elements: list[tuple[int, bytes]]) -> None:
    client = ground.client()
    client.want_credits(len(elements) + 1)
    while ground.going():
        client.want_credits(len(elements) + 1)
        client.raw(client.compound(elements))
        reply = memoryview(client._receive(int.from_bytes(client._receive(4), "big")))
        while True:
            client.answered += 1
            client.credits += unpack_from("<H", reply, 14)[0]
            following = unpack_from("<I", reply, 20)[0]
            if not following:
                break
            reply = reply[following:]


def make_compound(folder: Path) -> None:
    """A folder of 1,000 files."""
    for number in range(1000):
        (folder / f"file-{number:04}").touch()


def compound_listings(ground: Ground) -> None:
    """Compounds of 250 elements: a folder of 1,000 files is listed from its start in each."""
    folder = BenchClient.create_body(ground.path(), LIST_ACCESS, c.FILE_OPEN, 0x21)
    every = b"\xff" * 16
    listing = Abuser.find_body(every, flags=1)
    _compounds(ground, [(c.CREATE, folder), *[(c.QUERY_DIRECTORY, listing)] * 248, (c.CLOSE, _close_body(every))])


def compound_creates(ground: Ground) -> None:
    """Compounds of 300 elements: files are made, locked, asked about and closed, again and again."""
    every = b"\xff" * 16
    elements: list[tuple[int, bytes]] = []
    for number in range(60):
        elements += [
            (c.CREATE, BenchClient.create_body(ground.path(f"made-{number}"), ALL_ACCESS, c.FILE_OPEN_IF)),
            (c.LOCK, Abuser.lock_body(every, [(2 * i, 1, EXCLUSIVE | AT_ONCE) for i in range(64)])),
            (c.QUERY_INFO, Abuser.query_body(every, 1, 18, 65536)),
            (c.QUERY_INFO, Abuser.query_body(every, 3, 0, 65536, 7)),
            (c.CLOSE, _close_body(every)),
        ]
    _compounds(ground, elements)


def _close_body(file_id: bytes) -> bytes:
    return BenchClient.close_body(file_id)


def create_contexts(ground: Ground) -> None:
    """CREATE with 40,000 create contexts, and with 60."""
    client = ground.client()
    every = b"".join(pack("<IHHHHI4s4x", 24, 16, 4, 0, 0, 0, b"%04X" % number) for number in range(40_000))
    requests: list[Request] = []
    for size in (40_000 * 24, 60 * 24):
        contexts = every[: size - 24] + pack("<I", 0) + every[size - 20 : size]
        body = client.create_with(ground.path("contexts"), contexts)
        requests.append((c.CREATE, body, max(1, size // 60_000), b""))
    try:
        client.pump(repeated(*requests), ground.going, 4)
    except (OSError, BenchError):
        client.answered += 1


