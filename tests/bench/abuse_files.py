# SPDX-License-Identifier: GPL-2.0-or-later
"""Abuses of files: data, metadata, names and listings."""
from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from struct import pack, unpack_from

from abuser import (
    ALL_ACCESS,
    DISK_SHARE,
    LIST_ACCESS,
    PLAIN_SHARE,
    READ_ACCESS,
    WRITE_ACCESS,
    Abuser,
    Ground,
    Request,
    block,
    charge_of,
    ea_list,
    repeated,
    security_descriptor,
)

from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE

MIB = 1 << 20
EXTENTS = 100_000
LISTED = 100_000
STREAMS = 2000
TRIMMED = 60_000
ACES = 2000
EVERYONE = bytes.fromhex("010100000000000100000000")


# ------------------------------------------------------------------------------------------------- data and ranges


def copy_chunks(ground: Ground) -> None:
    """Copies of 16 MiB in chunks of 1 MiB and of 64 KiB, the most that one request may ask for, four under way on each
    of two connections; a request of 256 chunks of 1 MiB among them."""
    clients = [ground.client() for _ in range(2)]
    pumps = []
    for number, client in enumerate(clients):
        source = client.open(ground.path(f"source-{number}"), ALL_ACCESS)
        for at in range(16):
            client.want_credits(16)
            client.ask(c.WRITE, client.write_body(source, at * MIB, MIB), charge=16, data=block(MIB))
        target = client.open(ground.path(f"target-{number}"), ALL_ACCESS)
        key = bytes(client.ioctl(source, c.FSCTL_SRV_REQUEST_RESUME_KEY)[:24])
        requests: list[Request] = []
        for chunks, size in ((16, MIB), (256, 65536), (256, MIB)):
            data = key + pack("<II", chunks, 0) + b"".join(
                pack("<QQII", i * size % (16 * MIB), i * size % (16 * MIB), size, 0) for i in range(chunks)
            )
            requests.append((c.IOCTL, client.ioctl_body(target, c.FSCTL_SRV_COPYCHUNK, data), 1, b""))
        pumps.append(_stepped(client, repeated(*requests)))
    ground.together(pumps)
    _drain(clients)


def _stepped(client: Abuser, requests: Iterator[Request], depth: int = 4) -> Iterator[None]:
    """pump in steps, for several clients in turn."""
    for command, body, charge, data in requests:
        while client.waiting and (client.waiting >= depth or client.credits < charge + 1):
            client.take()
        client.post(command, body, charge, data)
        yield


def _drain(clients: list[Abuser]) -> None:
    for client in clients:
        while client.waiting:
            client.take()


def make_sparse(folder: Path) -> None:
    """A file of 100,000 pages with a hole behind each."""
    with open(folder / "sparse", "wb", buffering=0) as file:
        for number in range(EXTENTS):
            os.pwrite(file.fileno(), b"x", number * 8192)
        file.truncate(EXTENTS * 8192)


def allocated_ranges(ground: Ground) -> None:
    """QUERY_ALLOCATED_RANGES of a file with 100,000 extents."""
    client = ground.client()
    writer = client.open(ground.path("sparse"), WRITE_ACCESS, c.FILE_OPEN)
    client.ioctl(writer, c.FSCTL_SET_SPARSE)
    file_id = client.open(ground.path("sparse"), READ_ACCESS, c.FILE_OPEN)
    client.want_credits(64)
    data = pack("<qq", 0, EXTENTS * 8192)
    body = client.ioctl_body(file_id, c.FSCTL_QUERY_ALLOCATED_RANGES, data, MIB)
    small = client.ioctl_body(file_id, c.FSCTL_QUERY_ALLOCATED_RANGES, data, 64)
    client.pump(repeated((c.IOCTL, body, 16, b""), (c.IOCTL, small, 1, b"")), ground.going, 4)


def trim_ranges(ground: Ground) -> None:
    """TRIM of 60,000 and of 4,000 ranges of a file that has data in each."""
    client = ground.client()
    file_id = client.open(ground.path("sparse"), WRITE_ACCESS, c.FILE_OPEN)
    client.want_credits(64)
    ranges = b"".join(pack("<QQ", number * 8192, 4096) for number in range(TRIMMED))
    requests: list[Request] = []
    for number in (TRIMMED, 4000):
        body = client.ioctl_body(file_id, c.FSCTL_FILE_LEVEL_TRIM, pack("<II", 0, number) + ranges[: 16 * number])
        requests.append((c.IOCTL, body, charge_of(len(body)), b""))
    client.pump(repeated(*requests), ground.going, 4)


def zero_ranges(ground: Ground) -> None:
    """SET_ZERO_DATA over all of a large file that is not sparse, and of one that is."""
    client = ground.client()
    plain = client.open(ground.path("plain"), ALL_ACCESS)
    client.ask(c.SET_INFO, client.set_info_body(plain, 1, 20, pack("<Q", 2048 * MIB)))
    sparse = client.open(ground.path("sparse"), WRITE_ACCESS, c.FILE_OPEN)
    client.ioctl(sparse, c.FSCTL_SET_SPARSE)
    requests = [
        (c.IOCTL, client.ioctl_body(file_id, c.FSCTL_SET_ZERO_DATA, pack("<qq", 0, size)), 1, b"")
        for file_id, size in ((plain, 2048 * MIB), (sparse, 1 << 50))
    ]
    client.pump(repeated(*requests), ground.going, 4)


def allocations(ground: Ground) -> None:
    """Allocations and ends of file of 2 GiB, 1 TiB and 4 EiB, and back to nothing."""
    client = ground.client()
    file_id = client.open(ground.path("allocated"), ALL_ACCESS)
    requests: list[Request] = []
    for size in (2048 * MIB, 0, 1 << 40, 0, 1 << 62, 0):
        for info_class in (19, 20):
            body = client.set_info_body(file_id, 1, info_class, pack("<Q", size))
            requests.append((c.SET_INFO, body, 1, b""))
    client.pump(repeated(*requests), ground.going, 4)


def sealed_io(ground: Ground) -> None:
    """READs and WRITEs of 8 MiB, sealed, eight under way on each of two connections."""
    clients = [ground.client(encrypt=True) for _ in range(2)]
    size = 8 * MIB
    data = block(size)
    work = []
    for number, client in enumerate(clients):
        client.want_credits(128 * 8)
        file_id = client.open(ground.path(f"sealed-{number}"), ALL_ACCESS)
        client.ask(c.WRITE, client.write_body(file_id, 0, size), charge=128, data=data)
        one: Request = (
            (c.WRITE, client.write_body(file_id, 0, size), 128, data) if number
            else (c.READ, client.read_body(file_id, 0, size), 128, b"")
        )
        work.append(_stepped(client, repeated(one), 8))
    ground.together(work)
    _drain(clients)


def flushes(ground: Ground) -> None:
    """64 MiB written to a disk and flushed, again and again."""
    client = ground.client(DISK_SHARE)
    file_id = client.open(f"{ground.disk.name}\\dirty", ALL_ACCESS)
    client.want_credits(512)
    data = block(4 * MIB)
    requests: list[Request] = [
        (c.WRITE, client.write_body(file_id, at * 4 * MIB, 4 * MIB), 64, data) for at in range(16)
    ]
    flush = pack("<HHI16s", 24, 0, 0, file_id)
    client.pump(repeated(*requests, (c.FLUSH, flush, 1, b"")), ground.going, 4)


# -------------------------------------------------------------------------------------------------------- metadata


def eas(ground: Ground) -> None:
    """5,000 EAs, and 1,000, set, asked for and removed; sixteen of 57,344 bytes, and one, the same."""
    client = ground.client()
    client.want_credits(128)
    requests: list[Request] = []
    for name, entries in (
        ("many-eas", [(f"ea{number:05}", b"value") for number in range(5000)]),
        ("some-eas", [(f"ea{number:05}", b"value") for number in range(1000)]),
        ("large-ea", [("large", block(4096) * 14)]),
        ("large-eas", [(f"large{number}", block(4096) * 14) for number in range(16)]),
    ):
        file_id = client.open(ground.path(name), ALL_ACCESS)
        for some in (entries, [(one, b"") for one, _ in entries]):
            body = client.set_info_body(file_id, 1, 15, ea_list(some))
            requests.append((c.SET_INFO, body, charge_of(len(body)), b""))
            requests.append((c.QUERY_INFO, client.query_body(file_id, 1, 15, MIB), 16, b""))
    client.pump(repeated(*requests), ground.going, 4)


def acls(ground: Ground) -> None:
    """A DACL of 2,000 entries, and one of 1,000, set and asked for: kept as it is, and made one of modes."""
    work = []
    clients = []
    for share in ("bench", PLAIN_SHARE):
        client = ground.client(share)
        clients.append(client)
        file_id = client.open(ground.path("acl"), ALL_ACCESS)
        requests: list[Request] = []
        for number_of in (ACES, ACES // 2):
            entries = [(ALL_ACCESS, EVERYONE)]
            entries += [
                (READ_ACCESS, bytes.fromhex("010200000000001601000000") + pack("<I", 100_000 + number))
                for number in range(number_of)
            ]
            body = client.set_info_body(file_id, 3, 0, security_descriptor(entries), 4)
            requests += [
                (c.SET_INFO, body, charge_of(len(body)), b""),
                (c.QUERY_INFO, client.query_body(file_id, 3, 0, 131072, 7), 2, b""),
                (c.CREATE, client.create_body(ground.path("acl"), ALL_ACCESS, c.FILE_OPEN), 1, b""),
            ]
        client.want_credits(32)
        work.append(_stepped(client, repeated(*requests)))
    ground.together(work)
    _drain(clients)


def make_streams(folder: Path) -> None:
    """A file with 2,000 streams."""
    (folder / "streams").touch(0o666)
    for number in range(STREAMS):
        os.setxattr(folder / "streams", f"user.DosStream.s{number:04}:$DATA", b"data\0")


def streams(ground: Ground) -> None:
    """A file's 2,000 streams are listed, and opened by names in other case."""
    client = ground.client()
    file_id = client.open(ground.path("streams"), READ_ACCESS, c.FILE_OPEN)
    client.want_credits(64)
    client.pump(
        repeated(
            (c.QUERY_INFO, client.query_body(file_id, 1, 22, 4 * 65536), 4, b""),
            (c.CREATE, client.create_body(ground.path("streams:S1999"), READ_ACCESS, c.FILE_OPEN), 1, b""),
            (c.CREATE, client.create_body(ground.path("streams:none"), READ_ACCESS, c.FILE_OPEN), 1, b""),
        ),
        ground.going, 8,
    )


# -------------------------------------------------------------------------------------------------------- listings


def make_listed(folder: Path) -> None:
    """A folder of 100,000 files whose names repeat a letter."""
    for number in range(LISTED):
        os.close(os.open(folder / f"{'a' * 20}.{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))


def _listings(ground: Ground, *bodies: tuple[str, int, int]) -> None:
    """QUERY_DIRECTORY of (pattern, flags, length) in turn, in pieces up to the end where the flags do not restart."""
    client = ground.client()
    file_id = client.open(ground.path(), LIST_ACCESS, c.FILE_OPEN, 0x21)
    client.want_credits(max(charge_of(length) for _, _, length in bodies) + 1)
    while ground.going():
        for pattern, flags, length in bodies:
            charge = charge_of(length)
            client.post(c.QUERY_DIRECTORY, client.find_body(file_id, pattern, flags, length), charge)
            reply = client.take()
            while not flags & 2 and not unpack_from("<I", reply, 8)[0] and ground.going():
                client.post(c.QUERY_DIRECTORY, client.find_body(file_id, pattern, 0, length), charge)
                reply = client.take()


def list_backtracking(ground: Ground) -> None:
    """100,000 names searched for patterns that match none and could be tried in many ways: `*a*a*...*b`."""
    stars = "*a" * 12 + "*b"
    _listings(ground, (stars, 0x11, 65536), ("*a?" * 8 + "*b", 0x11, 65536), ("*" * 200 + "b", 0x11, 65536))


def list_dos(ground: Ground) -> None:
    """The same with DOS wildcards."""
    _listings(ground, ("<a" * 12 + '"b', 0x11, 65536), ("<>" * 60 + "b", 0x11, 65536))


def list_long_pattern(ground: Ground) -> None:
    """The same with patterns of 30,000 characters."""
    _listings(ground, ("*a" * 15_000, 0x11, 65536), ("<a" * 15_000, 0x11, 65536), ("<" * 30_000, 0x11, 65536))


def list_rescans(ground: Ground) -> None:
    """The folder is listed from its start, one entry at a time and 1 MiB at a time."""
    _listings(ground, ("*", 3, 65536), ("*9", 3, 65536), ("*", 1, MIB))


def list_large(ground: Ground) -> None:
    """The folder is listed in replies of 8 MiB."""
    _listings(ground, ("*", 1, 8 * MIB - 65536))


def list_two_ways(ground: Ground) -> None:
    """Sixteen requests for 1 MiB under way at once, on each of two opens."""
    client = ground.client()
    opened = [client.open(ground.path(), LIST_ACCESS, c.FILE_OPEN, 0x21) for _ in range(2)]
    client.want_credits(300)
    client.pump(
        repeated(*((c.QUERY_DIRECTORY, client.find_body(one, "*", 0x11, MIB), 16, b"") for one in opened)),
        ground.going, 16,
    )


# ----------------------------------------------------------------------------------------------------------- names


def case_misses(ground: Ground) -> None:
    """Names that are not there are looked for in a folder of 100,000 files, whose times change before each look."""
    client = ground.client()
    folder = client.open(ground.path(), 0x1F01FF, c.FILE_OPEN, 0x21)
    for number in count():
        if not ground.going():
            return
        client.ask(c.SET_INFO, client.set_info_body(folder, 1, 4, pack("<QQQQII", 0, 0, 10**17 + number, 0, 0, 0)))
        client.post(c.CREATE, client.create_body(ground.path(f"None-{number}"), READ_ACCESS, c.FILE_OPEN))
        client.take()


def long_paths(ground: Ground) -> None:
    """Folders inside each other with names of 200 characters, as deep as they may be; paths of 16,000 components."""
    client = ground.client()
    name = "d" * 200

    def deep() -> Iterator[Request]:
        for number in count():
            path = ground.path(f"{number}")
            for _ in range(18):
                yield c.CREATE, client.create_body(path, LIST_ACCESS, c.FILE_OPEN_IF, 0x21), 1, b""
                path += f"\\{name}"
            for components in ("d", "No", ".."):
                path = ground.path("\\".join([components] * (32_000 // (len(components) + 1))))
                yield c.CREATE, client.create_body(path, READ_ACCESS, c.FILE_OPEN), 1, b""

    def tree() -> Iterator[Request]:
        # One folder inside the other, 1,000 deep where that is allowed
        for number in count():
            path = ground.path(f"t{number}")
            for _ in range(1000):
                yield c.CREATE, client.create_body(path, LIST_ACCESS, c.FILE_OPEN_IF, 0x21), 1, b""
                path += "\\n"

    clients = [client, ground.client()]
    ground.together([_closing(clients[0], deep()), _closing(clients[1], tree())])
    _drain(clients)


def _closing(client: Abuser, requests: Iterator[Request]) -> Iterator[None]:
    """Each request answered before the next, and what it opened closed."""
    for command, body, charge, data in requests:
        client.post(command, body, charge, data)
        reply = client.take()
        if not unpack_from("<I", reply, 8)[0]:
            client.close(bytes(reply[HEADER_SIZE + 64 : HEADER_SIZE + 80]))
        yield


def make_links(folder: Path) -> None:
    """Symlinks to themselves, to each other in a ring, to one another in a chain of 39, and to the folder itself."""
    (folder / "self").symlink_to("self")
    for number in range(39):
        (folder / f"chain{number}").symlink_to(f"chain{number + 1}")
        (folder / f"ring{number}").symlink_to(f"ring{(number + 1) % 39}")
    (folder / "chain39").touch(0o666)
    (folder / "here").symlink_to(".")
    (folder / "up").symlink_to("../" * 1000)
    (folder / "down").symlink_to("here/" * 800)


def links(ground: Ground) -> None:
    """Symlinks in loops and chains, and paths of thousands of them and of `..`."""
    client = ground.client()
    names = [
        "self", "ring0", "chain0", "up", "\\".join(["down"] * 6000), "\\".join(["here"] * 6000) + "\\chain39",
        "\\".join(["here", ".."] * 4000), "\\".join(["here"] * 30) + "\\chain20", "\\".join(["Here"] * 30),
    ]
    client.pump(
        repeated(*(
            (c.CREATE, client.create_body(ground.path(name), READ_ACCESS, c.FILE_OPEN), 1, b"") for name in names
        )),
        ground.going, 8,
    )


