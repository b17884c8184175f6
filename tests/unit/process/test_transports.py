# SPDX-License-Identifier: GPL-2.0-or-later
"""A second transport, which is no TCP and has no socket, works with all that stands above transports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest

from ksmbd.conn.connections import Connections, Limits
from ksmbd.conn.contract import Arrival, Connected, Core, Counters, Listener, Provider
from ksmbd.conn.loop import Loop
from ksmbd.conn.scratch import Scratch
from ksmbd.ipc.settings import EngineSettings
from ksmbd.process.affinity import Affinity
from ksmbd.process.bpf_programs import BpfPrograms
from ksmbd.process.core import WorkerConnection
from ksmbd.process.listeners import Listeners
from ksmbd.process.peers import Kind, OnMessage, Peers
from ksmbd.process.shared import SharedState
from ksmbd.smb.ports.transport import Frame
from ksmbd.smb.waiting import Future

NEGOTIATE = b"\xfeSMB" + bytes(60) + b"\x24\0\1\0\1\0\0\0" + bytes(4) + bytes(range(1, 17)) + bytes(8) + b"\x02\x02"


class MemoryConnected:
    """A `Connected` whose client is the test. Its descriptor is an eventfd, so that there is one to hand over."""

    def __init__(self, make_core: Callable[[Connected], Core], on_closed: Callable[[Connected], None], fd: int) -> None:
        self.provider = "memory"
        self.peer = "192.0.2.7"
        self.local = "192.0.2.1"
        self.sessionless_since = self.last_received = self.last_progress = 0.0
        self.waiting_bytes = 0
        self.logged_on = False
        self.sent: list[bytes] = []
        self.reason = ""
        self._fd = fd
        self._on_closed = on_closed
        self._when_closed: list[Callable[[], None]] = []
        self.core = make_core(self)

    def send(self, frame: Frame) -> None:
        self.sent.append(bytes(frame.data))

    def close(self, reason: str) -> None:
        self.reason = reason
        self.core.disconnected(reason)
        self.give_away()

    abort = end = close

    def give_away(self) -> None:
        for call in self._when_closed:
            call()
        os.close(self._fd)
        self._on_closed(self)

    def when_closed(self, call: Callable[[], None]) -> None:
        self._when_closed.append(call)

    def unread(self, frame: bytearray) -> bytes:
        return bytes(frame)

    def descriptors(self) -> list[int]:
        return [self._fd]

    def room(self) -> Future[None] | None:
        return None

    def delivery_mark(self) -> int:
        return 0

    def delivery_seconds(self) -> float:
        return 0.0

    def confirmed(self) -> int:
        return 0

    def delivered(self, mark: int) -> bool:
        return True


class MemoryArrival:
    """An `Arrival`."""

    def __init__(self, fd: int) -> None:
        self.peer = "192.0.2.7"
        self._fd = fd

    def serve(
        self, loop: Loop, scratch: Scratch, make_core: Callable[[Connected], Core], counters: Counters,
        on_closed: Callable[[Connected], None], received: bytes,
    ) -> MemoryConnected:  # fmt: skip
        connected = MemoryConnected(make_core, on_closed, self._fd)
        if received:
            connected.core.receive(bytearray(received))
        return connected

    def refuse(self) -> None:
        os.close(self._fd)


class Memory:
    """Its `Provider`, `Listening`, `Group` and `Listener` at once: one place, for one worker, where clients wait that
    the eventfd counts."""

    def __init__(self) -> None:
        self.name = self.provider = "memory"
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        self.groups = self.listeners = [self]
        self.steered: list[object] = []

    def listen(self, workers: int) -> Memory:
        return self

    def update(self) -> tuple[list[Memory], list[Memory]]:
        return [], []

    def text(self) -> str:
        return "memory"

    def fileno(self) -> int:
        return self.fd

    def accept(self) -> Arrival:
        os.eventfd_read(self.fd)
        return MemoryArrival(os.eventfd(0))

    def arrival(self, fds: Sequence[int]) -> Arrival:
        return MemoryArrival(fds[0])

    def listener(self, fd: int) -> Memory:
        return self

    def close(self) -> None:
        os.close(self.fd)


class Post:
    """`Peers` of one worker: what it delivers reaches the other at once, in a copy of the descriptors."""

    def __init__(self) -> None:
        self.handlers: dict[int, OnMessage] = {}
        self.other = self

    def on(self, kind: Kind, handler: OnMessage) -> None:
        self.handlers[kind] = handler

    def deliver(self, worker: int, data: bytes, kind: Kind, fds: Sequence[int]) -> bool:
        self.other.handlers[kind](1, data, [os.dup(fd) for fd in fds])
        return True


class RecordingCore:
    """The protocol's connection: keeps frames."""

    max_frame = write_from = 1 << 20
    session_count = open_count = offloaded_bytes = 0

    def __init__(self, transport: Connected) -> None:
        self.transport = transport
        self.frames: list[bytes] = []
        self.gone: list[str] = []

    def receive(self, frame: bytearray) -> None:
        self.frames.append(bytes(frame))

    def disconnected(self, reason: str) -> None:
        self.gone.append(reason)


class Office:
    """Two workers beside each other."""

    def __init__(self, rundir: str) -> None:
        self.loop = Loop()
        self.memory = Memory()
        shared = SharedState.create(rundir, 2, 16)
        posts = [Post(), Post()]
        posts[0].other, posts[1].other = posts[1], posts[0]
        self.cores: list[list[RecordingCore]] = [[], []]
        self.workers = [self._worker(index, shared, post) for index, post in enumerate(posts)]

    def _worker(self, index: int, shared: SharedState, post: Post) -> Connections:
        def make_core(transport: Connected) -> WorkerConnection:
            self.cores[index].append(RecordingCore(transport))
            return cast(WorkerConnection, self.cores[index][-1])

        counters = shared.counters[index + 1]
        counters.begin(1)
        bpf = BpfPrograms(EngineSettings(bpf=False), [[]], lambda sock: sock)
        providers = [cast(Provider, self.memory)]
        affinity = Affinity(shared.table, counters, cast(Peers, post), bpf, make_core, providers)
        connections = Connections(self.loop, affinity.first_core, Limits(), None, counters)
        affinity.connections = connections
        return connections

    def come(self, worker: int) -> MemoryConnected:
        """A client comes to a worker."""
        self.workers[worker].listen([cast(Listener, self.memory)])
        os.eventfd_write(self.memory.fd, 1)
        self.loop.run_once(wait=False)
        self.workers[worker].stop_listening()
        return cast(MemoryConnected, self.cores[worker][-1].transport)


@pytest.fixture
def office(tmp_path: os.PathLike[str]) -> Iterator[Office]:
    made = Office(os.fspath(tmp_path))
    yield made
    for worker in made.workers:
        worker.abort_all("test ends")
    made.memory.close()
    made.loop.close()


def test_it_is_listened_on_and_its_connections_are_served(office: Office) -> None:
    client = office.come(0)
    client.core.receive(bytearray(NEGOTIATE))
    assert office.cores[0][0].frames == [NEGOTIATE] and len(office.workers[0]) == 1
    office.workers[0].close_all("the server stops", lambda: None)
    assert client.reason == "the server stops" and office.cores[0][0].gone == [client.reason]
    assert len(office.workers[0]) == 0


def test_its_connections_go_to_the_worker_that_has_the_client(office: Office) -> None:
    office.come(0).core.receive(bytearray(NEGOTIATE))
    second = office.come(1)
    second.core.receive(bytearray(NEGOTIATE))
    assert [core.frames for core in office.cores[0]] == [[NEGOTIATE]] * 2
    assert office.cores[1][0].frames == [] and office.cores[1][0].gone == ["handed over to another worker"]
    assert [len(worker) for worker in office.workers] == [2, 0]


def test_what_cannot_be_handed_over_stays(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryConnected, "descriptors", lambda self: [])
    office.come(0).core.receive(bytearray(NEGOTIATE))
    office.come(1).core.receive(bytearray(NEGOTIATE))
    assert [len(worker) for worker in office.workers] == [1, 1] and office.cores[1][0].frames == [NEGOTIATE]


def test_listeners_of_several_transports_are_one_row_for_each_worker(office: Office) -> None:
    other = Memory()
    listeners = Listeners([office.memory.listen(1), other.listen(1)], 1)  # type: ignore[list-item]
    assert listeners.rows() == [[office.memory, other]] and listeners.steered_rows() == [[]]
    assert listeners.addresses() == ["memory", "memory"] and listeners.update() == ([], [])
    other.close()
