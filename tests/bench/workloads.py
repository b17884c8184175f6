# SPDX-License-Identifier: GPL-2.0-or-later
"""The workloads: each logs on to a server, has smbload replay requests, gives a figure and the CPU behind it."""
from __future__ import annotations

import ctypes
import os
import random
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import unpack_from

from client import BareClient, BenchClient, BenchError
from plan import FILE_ID_AT_8, FILE_ID_AT_16, FILE_ID_AT_24, Plan, Step
from servers import ADDRESS, SHARE, Limit, Server

from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE

_LIBC = ctypes.CDLL(None)
MIB = 1 << 20
CHARGE = 16
"""Credits of a request of 1 MiB (MS-SMB2 3.2.4.1.5)."""
_READ_ACCESS = 0x120089
_WRITE_ACCESS = 0x12019F
_DELETE_ACCESS = 0x130196
_STATUS_NO_MORE_FILES = 0x80000006
_DATA = os.urandom(MIB)


@dataclass(frozen=True)
class Sizes:
    """How much each workload does."""

    mebibytes: int = 1024
    small_files: int = 2000
    listed: int = 10_000
    opened: int = 1000
    operations: int = 4000
    """open-close, open-stat-close; the others in proportion."""
    idle: Sequence[int] = (1, 10, 100, 1000)

    @classmethod
    def scaled(cls, scale: float) -> Sizes:
        """`scale` 1 is the benchmark as it is meant."""

        def n(full: int, least: int) -> int:
            return max(least, int(full * scale))

        return cls(
            n(1024, 8) // 8 * 8, n(2000, 10), n(10_000, 100), n(1000, 10), n(4000, 20),
            sorted({1, n(10, 1), n(100, 2), n(1000, 4)}),
        )


@dataclass(frozen=True)
class Place:
    """Where things are: `share` is the shared folder, `scratch` a folder of the client's."""

    share: Path
    scratch: Path
    smbload: Path
    sizes: Sizes
    spin: bool = False
    """Whether smbload may spin while it waits."""
    share_name: str = SHARE


@dataclass(frozen=True)
class Measured:
    """`value` in the workload's unit; `cpu` seconds of the server, for a GiB or an operation."""

    value: float
    cpu: float


@dataclass(frozen=True)
class Limited:
    """What the bare loop runs beside a row, and how it is started."""

    writes: bool
    protection: str
    run: Callable[[Server, Place], Measured]


@dataclass(frozen=True)
class Workload:
    """One row."""

    name: str
    unit: str
    run: Callable[[Server, Place], Measured]
    what: str
    cpu_unit: str = "µs/op"
    target: float | None = None
    """The ratio to Samba that is aimed at."""
    apart: bool = True
    """The client has a CPU of its own and the server the others; else all share all."""
    limit: Limited | None = None
    """The same pieces at a server that knows no protocol."""
    ext4: bool = False
    """In a share on ext4."""
    default: bool = False
    """Beside a Samba with its default settings, too."""


@dataclass(frozen=True)
class Protection:
    """How requests are protected."""

    name: str
    signing: int | None = None
    encrypt: bool = False


PLAIN = Protection("plain")
GMAC = Protection("signed-gmac", signing=c.SIGNING_AES_GMAC)
CMAC = Protection("signed-cmac", signing=c.SIGNING_AES_CMAC)
SEALED = Protection("encrypted-gcm", encrypt=True)


# --------------------------------------------------------------------------------------------------------- the files


def prepare(share: Path, sizes: Sizes, owner: tuple[int, int]) -> None:
    """Make the files that the workloads read, owned by the account that the servers access them as."""

    def own(path: Path) -> Path:
        os.chown(path, *owner)
        return path

    share.mkdir(parents=True, exist_ok=True)
    own(share)
    block = os.urandom(8 * MIB)
    with open(own_new(share / "data", owner), "wb", buffering=0) as file:
        for _ in range(sizes.mebibytes // 8):
            file.write(block)
    with open(own_new(share / "random", owner), "wb", buffering=0) as file:
        for _ in range(max(1, sizes.mebibytes // 32)):
            file.write(block)
    for name, count, content in (("many", sizes.listed, b""), ("open", sizes.opened, block[:4096])):
        folder = share / name
        folder.mkdir()
        own(folder)
        for number in range(count):
            path = folder / f"file-{number:05}.txt"
            path.write_bytes(content)
            own(path)
    (share / "small").mkdir()
    own(share / "small")


def own_new(path: Path, owner: tuple[int, int]) -> Path:
    """A new empty file of that owner."""
    path.touch()
    os.chown(path, *owner)
    return path


# ------------------------------------------------------------------------------------------------------- connections


def connect(
    server: Server, protection: Protection = PLAIN, guid: bytes = b"", share: str = SHARE,
) -> BenchClient:
    """Logged on, with the share connected."""
    client = BenchClient(
        ADDRESS, server.port, server.user, server.password, signing=protection.signing, encrypt=protection.encrypt,
        guid=guid,
    )
    client.tree(share)
    return client


def channels(server: Server, protection: Protection, count: int, share: str = SHARE) -> list[BenchClient]:
    """One session with `count` channels."""
    first = connect(server, protection, share=share)
    more = [
        BenchClient(ADDRESS, server.port, server.user, server.password, channel_of=first) for _ in range(count - 1)
    ]
    return [first, *more]


@dataclass
class Load:
    """Connections and their operations; run() replays them and closes the connections."""

    server: Server
    place: Place
    depth: int
    clients: list[BenchClient] = field(default_factory=list)
    operations: list[list[list[Step]]] = field(default_factory=list)

    def add(self, client: BenchClient, operations: list[list[Step]]) -> None:
        self.clients.append(client)
        self.operations.append(operations)

    def run(self, bare: bool = False, live: bool = False) -> tuple[float, float, int]:
        """Seconds, seconds of the server's CPU, bytes received. `live`: see Plan."""
        plan = Plan(self.depth, self.place.scratch, live)
        try:
            for client, operations in zip(self.clients, self.operations, strict=True):
                if not bare:
                    largest = max(sum(step.charge for step in steps) for steps in operations)
                    client.want_credits(self.depth * largest)
                plan.add(client, operations, bare)
            before = self.server.cpu()
            result = plan.run(self.place.smbload, self.place.spin)
            return result.seconds, self.server.cpu() - before, result.received
        finally:
            plan.discard()
            for client in self.clients:
                client.close_socket()


# -------------------------------------------------------------------------------------------------------- sequential


def check_reading(server: Server, place: Place) -> None:
    """That what is read is what the file holds, plain and sealed; smbload itself does not look."""
    with open(place.share / "data", "rb") as file:
        expected = file.read(MIB)
    for protection in (PLAIN, SEALED):
        client = connect(server, protection)
        client.want_credits(CHARGE)
        file_id = client.open("data", _READ_ACCESS, c.FILE_OPEN)
        reply = client.ask(c.READ, client.read_body(file_id, 0, MIB), charge=CHARGE)
        offset = reply[HEADER_SIZE + 2]
        if reply[offset:] != expected:
            raise BenchError(f"{server.name}: other data was read, {protection.name}")
        client.close_socket()


def _parts(total: int, connections: int, interleaved: bool) -> list[list[int]]:
    if interleaved:
        return [list(range(number, total, connections)) for number in range(connections)]
    share = total // connections
    return [list(range(number * share, (number + 1) * share)) for number in range(connections)]


def sequential(protection: Protection, writes: bool, connections: int = 1, bound: bool = False, depth: int = 1,
               ) -> Callable[[Server, Place], Measured]:
    """Requests of 1 MiB in order. `bound`: the connections are channels of one session and share one file; otherwise
    each has a session of its own and reads a part of the file, or writes a file of its own."""

    def run(server: Server, place: Place) -> Measured:
        total = place.sizes.mebibytes
        load = Load(server, place, depth)
        clients = (
            channels(server, protection, connections, place.share_name) if bound
            else [connect(server, protection, share=place.share_name) for _ in range(connections)]
        )
        parts = _parts(total, connections, bound)
        files: list[Path] = []
        file_id = b""
        for number, (client, blocks) in enumerate(zip(clients, parts, strict=True)):
            if writes and (number == 0 or not bound):
                files.append(place.share / f"written-{number}")
                file_id = client.open(files[-1].name, _WRITE_ACCESS, c.FILE_OVERWRITE_IF)
            elif not writes and (number == 0 or not bound):
                file_id = client.open("data", _READ_ACCESS, c.FILE_OPEN)
            first = 0 if bound or not writes else blocks[0]
            steps = [
                [Step(c.WRITE, client.write_body(file_id, (block - first) * MIB, MIB), CHARGE, _DATA)] if writes
                else [Step(c.READ, client.read_body(file_id, block * MIB, MIB), CHARGE)]
                for block in blocks
            ]
            load.add(client, steps)
        settle(place)
        seconds, cpu, received = load.run()
        done = sum(len(blocks) for blocks in parts)
        if writes:
            _check_written(files, done)
        else:
            assert received >= done * MIB, f"{received} bytes of {done} MiB came"
        return Measured(done / seconds, cpu * 1024 / done)

    return run


def settle(place: Place) -> None:
    """Let a file system of the benchmark's own write what waits, so that no round pays for the one before."""
    if place.share_name == SHARE:
        return
    fd = os.open(place.share, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _LIBC.syncfs(fd)
    finally:
        os.close(fd)


def _check_written(files: list[Path], mebibytes: int) -> None:
    assert sum(path.stat().st_size for path in files) == mebibytes * MIB, "not all was written"
    for path in files:
        with open(path, "rb") as file:
            for block in (0, path.stat().st_size // MIB - 1):
                file.seek(block * MIB)
                assert file.read(MIB) == _DATA, f"other data in {path}"
        path.unlink()


def limited(protection: Protection, writes: bool, connections: int = 1, depth: int = 1) -> Limited:
    """The same frames, signed or sealed alike, at a server that knows no protocol."""

    def run(server: Server, place: Place) -> Measured:
        total = place.sizes.mebibytes
        if isinstance(server, Limit) and server.file.name == "received":
            server.file.write_bytes(b"")
        load = Load(server, place, depth)
        for blocks in _parts(total, connections, False):
            client = BareClient(ADDRESS, server.port, protection.signing, protection.encrypt)
            load.add(client, [
                [Step(c.WRITE, client.write_body(bytes(16), block * MIB, MIB), CHARGE, _DATA)] if writes
                else [Step(c.READ, client.read_body(bytes(16), block * MIB, MIB), CHARGE)]
                for block in blocks
            ])
        settle(place)
        seconds, cpu, received = load.run(bare=True)
        done = total // connections * connections
        assert writes or received >= done * MIB, f"{received} bytes of {done} MiB came"
        if writes:
            assert server.share.joinpath("received").stat().st_size == done * MIB, "not all was written"
            server.share.joinpath("received").write_bytes(b"")
        return Measured(done / seconds, cpu * 1024 / done)

    return Limited(writes, protection.name, run)


# ------------------------------------------------------------------------------------------------------------ random


def random_4k(writes: bool, depth: int) -> Callable[[Server, Place], Measured]:
    """4 KiB at random places of a file."""

    def run(server: Server, place: Place) -> Measured:
        name = "random" if writes else "data"
        blocks = (place.share / name).stat().st_size // 4096
        count = place.sizes.operations * (4 if depth > 1 else 2)
        client = connect(server, share=place.share_name)
        file_id = client.open(name, _WRITE_ACCESS if writes else _READ_ACCESS, c.FILE_OPEN)
        drawn = random.Random(count)
        data = _DATA[:4096]
        load = Load(server, place, depth)
        load.add(client, [
            [Step(c.WRITE, client.write_body(file_id, block * 4096, 4096), 1, data)] if writes
            else [Step(c.READ, client.read_body(file_id, block * 4096, 4096))]
            for block in (drawn.randrange(blocks) for _ in range(count))
        ])
        seconds, cpu, _ = load.run()
        return Measured(count / seconds, cpu / count)

    return run


# ---------------------------------------------------------------------------------------------------- small requests


def echo(depth: int, connections: int = 1) -> Callable[[Server, Place], Measured]:
    """ECHO."""

    def run(server: Server, place: Place) -> Measured:
        count = max(1, place.sizes.operations * (16 if depth > 1 else 4) // connections)
        load = Load(server, place, depth)
        for _ in range(connections):
            load.add(connect(server), [[Step(c.ECHO, b"\x04\0\0\0")] for _ in range(count)])
        seconds, cpu, _ = load.run()
        return Measured(count * connections / seconds, cpu / count / connections)

    return run


def open_close(
    queries: Sequence[int] = (), connections: int = 1, depth: int = 1, protection: Protection = PLAIN,
) -> Callable[[Server, Place], Measured]:
    """Open, ask for these classes of information, close; many files, each request after the reply to the one before."""

    def run(server: Server, place: Place) -> Measured:
        count = max(1, place.sizes.operations // connections)
        load = Load(server, place, depth)
        for offset in range(connections):
            client = connect(server, protection)
            load.add(client, [
                [
                    Step(c.CREATE, client.create_body(name, _READ_ACCESS, c.FILE_OPEN), saves=True),
                    *(
                        Step(c.QUERY_INFO, client.query_info_body(info_class=one), patch=FILE_ID_AT_24)
                        for one in queries
                    ),
                    Step(c.CLOSE, client.close_body(), patch=FILE_ID_AT_8),
                ]
                for name in _opened(place, count, connections, offset)
            ])
        seconds, cpu, _ = load.run(live=protection is not PLAIN)
        return Measured(count * connections / seconds, cpu / count / connections)

    return run


def _opened(place: Place, count: int, connections: int, offset: int) -> list[str]:
    return [
        f"open\\file-{(number * connections + offset) % place.sizes.opened:05}.txt" for number in range(count)
    ]


def compound(server: Server, place: Place) -> Measured:
    """Open, query all information, close in one frame, as Linux' client looks at a file."""
    client = connect(server)
    every = bytes([255]) * 16

    def parts(name: str) -> list[tuple[int, bytes]]:
        return [
            (c.CREATE, client.create_body(name, _READ_ACCESS, c.FILE_OPEN)),
            (c.QUERY_INFO, client.query_info_body(every)), (c.CLOSE, client.close_body(every)),
        ]

    names = _opened(place, place.sizes.operations, 1, 0)
    client.want_credits(8)
    statuses = client.ask_related(parts(names[0]))
    assert statuses == [0, 0, 0], f"a compound was answered with {statuses}"
    load = Load(server, place, 1)
    operations = []
    for name in names:
        (command, body), *related = parts(name)
        operations.append([Step(command, body, related=tuple(related))])
    load.add(client, operations)
    seconds, cpu, _ = load.run()
    return Measured(len(names) / seconds, cpu / len(names))


def small_files(server: Server, place: Place) -> Measured:
    """Create, write 4 KiB, close; open to delete, close."""
    client = connect(server, share=place.share_name)
    data = _DATA[:4096]
    count = place.sizes.small_files
    load = Load(server, place, 1)
    load.add(client, [
        [
            Step(c.CREATE, client.create_body(name, _WRITE_ACCESS, c.FILE_CREATE), saves=True),
            Step(c.WRITE, client.write_body(bytes(16), 0, 4096), 1, data, patch=FILE_ID_AT_16),
            Step(c.CLOSE, client.close_body(), patch=FILE_ID_AT_8),
            Step(c.CREATE, client.create_body(name, _DELETE_ACCESS, c.FILE_OPEN, 0x1040), saves=True),
            Step(c.CLOSE, client.close_body(), patch=FILE_ID_AT_8),
        ]
        for name in (f"small\\new-{number:05}" for number in range(count))
    ])
    seconds, cpu, _ = load.run()
    assert not os.listdir(place.share / "small"), "files were not deleted"
    return Measured(count / seconds, cpu / count)


def listing(server: Server, place: Place) -> Measured:
    """List a folder, 64 KiB a reply."""
    rounds = 3
    client = connect(server)
    client.want_credits(16)
    before = server.cpu()
    begun = time.perf_counter()
    for _ in range(rounds):
        file_id = client.open("many", 0x100081, c.FILE_OPEN, 0x21)
        replies = []
        while True:
            reply = client.ask(c.QUERY_DIRECTORY, client.query_directory_body(file_id), (0, _STATUS_NO_MORE_FILES))
            if unpack_from("<I", reply, 8)[0]:
                break
            replies.append(reply)
        client.close(file_id)
    seconds = time.perf_counter() - begun
    cpu = server.cpu() - before
    client.close_socket()
    names = sum(_count_entries(reply) for reply in replies)
    assert names == place.sizes.listed + 2, f"{names} names of {place.sizes.listed} files"
    total = rounds * place.sizes.listed
    return Measured(total / seconds, cpu / total)


def _count_entries(reply: memoryview) -> int:
    at = unpack_from("<H", reply, HEADER_SIZE + 2)[0]
    count = 1
    while following := unpack_from("<I", reply, at)[0]:
        at += following
        count += 1
    return count


# ---------------------------------------------------------------------------------------------- an independent client


def smbclient(program: str, writes: bool, encrypt: bool) -> Callable[[Server, Place], Measured]:
    """A file copied with smbclient, from its start to its end."""

    def run(server: Server, place: Place) -> Measured:
        local = place.scratch / "copied"
        source = place.share / "data"
        command = f"put {source} written-0" if writes else f"get data {local}"
        line = [
            program, f"//{ADDRESS}/{SHARE}", "-p", str(server.port), "-U", f"{server.user}%{server.password}", "-m",
            "SMB3_11", f"--client-protection={'encrypt' if encrypt else 'off'}", "-s", "/dev/null", "-c", command,
        ]
        before = server.cpu()
        begun = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
        seconds = time.perf_counter() - begun
        cpu = server.cpu() - before
        assert done.returncode == 0, f"smbclient: {done.stdout}{done.stderr}"
        copied = place.share / "written-0" if writes else local
        size = copied.stat().st_size
        assert size == source.stat().st_size, "smbclient copied another size"
        copied.unlink()
        return Measured(size / MIB / seconds, cpu * (1 << 30) / size)

    return run


# -------------------------------------------------------------------------------------------------------------- idle


@dataclass(frozen=True)
class Idle:
    """What idle connections cost, by their number."""

    memory: dict[int, float]
    """Bytes (PSS) of all processes, less those before the first connection."""
    cpu: float
    """Seconds of CPU a second, with the most connections."""
    log_on: float
    """Seconds of CPU for a connection, its log-on and its tree connect."""
    alone: float
    """Bytes (PSS) of all processes before the first connection."""


SETTLED = 8.0
"""Seconds after which a server has done what the last log-on leaves to do: counters, a look at its connections."""


def idle(server: Server, counts: Sequence[int], seconds: float = 3) -> Idle:
    """Open connections, each with a session and a tree connect, and let them be. The server is fresh."""
    memory: dict[int, float] = {}
    clients: list[BenchClient] = []
    before = server.pss()
    used = server.cpu()
    try:
        for count in counts:
            while len(clients) < count:
                clients.append(connect(server))
            memory[count] = server.pss() - before
        log_on = (server.cpu() - used) / len(clients)
        select.select([], [], [], SETTLED)
        used = server.cpu()
        begun = time.perf_counter()
        select.select([], [], [], seconds)
        return Idle(memory, (server.cpu() - used) / (time.perf_counter() - begun), log_on, before)
    finally:
        for client in clients:
            client.close_socket()
