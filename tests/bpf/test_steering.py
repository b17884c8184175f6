# SPDX-License-Identifier: GPL-2.0-or-later
"""The BPF programs with real sockets in a network namespace of their own."""
from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from ksmbd.kernel import bpf, bpf_cache
from ksmbd.kernel.steering import Lookup, Steer, Tune, TuneRule, packed_address

pytestmark = pytest.mark.root
PORT = 14450


def listeners(count: int, host: str = "127.0.0.1", family: int = socket.AF_INET) -> list[socket.socket]:
    """A group of sockets on one address, as the forker opens them."""
    group = []
    for _ in range(count):
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, PORT))
        one.listen(64)
        one.setblocking(False)
        group.append(one)
    return group


class Clients:
    """Connections that stay open until the test's end."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def connect(self, source: str = "127.0.0.1", host: str = "127.0.0.1", port: int = PORT) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = socket.socket(family, socket.SOCK_STREAM)
        self.sockets.append(client)
        client.settimeout(5)
        client.bind((source, 0))
        client.connect((host, port))
        return client


@pytest.fixture
def clients() -> Iterator[Clients]:
    every = Clients()
    yield every
    for client in every.sockets:
        client.close()


def accepted(group: list[socket.socket]) -> list[int]:
    """How many connections wait at each listener; they are accepted and closed."""
    counts = []
    for listener in group:
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                count += 1
        counts.append(count)
    return counts


@pytest.fixture
def steer(namespace: None, cache: Path) -> Iterator[Steer]:
    one = Steer(4, cache)
    yield one
    one.close()


def test_sixteen_connections_from_one_address_spread_evenly(steer: Steer, clients: Clients) -> None:
    group = listeners(4)
    steer.attach(group)
    for slot in range(4):
        steer.set_alive(slot, True)
    for _ in range(16):
        clients.connect()
    assert accepted(group) == [4, 4, 4, 4]


def test_two_workers_get_eight_each_from_sixteen_addresses(steer: Steer, clients: Clients) -> None:
    group = listeners(2)
    steer.attach(group)
    steer.set_alive(0, True)
    steer.set_alive(1, True)
    for host in range(2, 18):
        clients.connect(f"127.0.1.{host}")
    assert accepted(group) == [8, 8]


def test_a_pinned_address_goes_to_its_worker_and_back_to_load(steer: Steer, clients: Clients) -> None:
    group = listeners(4)
    steer.attach(group)
    for slot in range(4):
        steer.set_alive(slot, True)
    steer.pin("127.0.0.9", 2)
    assert steer.pinned() == {"127.0.0.9": 2}
    for _ in range(6):
        clients.connect("127.0.0.9")
    assert accepted(group) == [0, 0, 6, 0]
    steer.unpin("127.0.0.9")
    for slot in range(4):
        steer.queue_empty(slot)
    for _ in range(4):
        clients.connect("127.0.0.9")
    assert accepted(group) == [1, 1, 1, 1]


def test_the_least_loaded_worker_is_chosen(steer: Steer, clients: Clients) -> None:
    group = listeners(3)
    steer.attach(group)
    for slot, load in enumerate((100, 0, 3)):
        steer.set_alive(slot, True)
        steer.set_load(slot, load)
    for _ in range(5):
        clients.connect()
    assert accepted(group) == [0, 4, 1]


def test_a_dead_worker_gets_nothing_even_where_an_address_is_pinned_to_it(steer: Steer, clients: Clients) -> None:
    group = listeners(2)
    steer.attach(group)
    steer.set_alive(0, True)
    steer.set_alive(1, False)
    steer.pin("127.0.0.9", 1)
    for _ in range(4):
        clients.connect("127.0.0.9")
    assert accepted(group) == [4, 0]


def test_without_a_living_worker_connections_wait_for_one_that_will_accept(steer: Steer, clients: Clients) -> None:
    *group, _anchor = listeners(3)
    steer.attach(group)
    for _ in range(4):
        clients.connect()
    assert sum(accepted(group)) == 4


def test_ipv6(steer: Steer, clients: Clients) -> None:
    group = listeners(2, "::1", socket.AF_INET6)
    steer.attach(group)
    steer.set_alive(0, True)
    steer.set_alive(1, True)
    steer.pin("::1", 1)
    for _ in range(3):
        clients.connect("::1", "::1")
    assert accepted(group) == [0, 3]


def test_ipv4_clients_of_a_dual_stack_listener(steer: Steer, clients: Clients) -> None:
    group = listeners(2, "::", socket.AF_INET6)
    steer.attach(group)
    steer.set_alive(0, True)
    steer.set_alive(1, True)
    steer.pin("127.0.0.1", 1)
    for _ in range(3):
        clients.connect()
    assert accepted(group) == [0, 3]


def test_decisions_are_counted_while_conn_is_toggled_on(steer: Steer, clients: Clients) -> None:
    group = listeners(2)
    steer.attach(group)
    steer.set_alive(0, True)
    clients.connect()
    assert steer.decisions() == (0, 0, 0)
    steer.debug_mask.cast("I")[0] = 1 << 5
    steer.pin("127.0.0.9", 0)
    clients.connect()
    clients.connect("127.0.0.9")
    assert steer.decisions() == (1, 1, 0)


def test_lookup_serves_445_for_its_own_address_alone(namespace: None, cache: Path, clients: Clients) -> None:
    (listener,) = listeners(1)
    lookup = Lookup(445, [listener], cache)
    clients.connect(port=445)
    assert accepted([listener]) == [1] and lookup.hits == 1
    with pytest.raises(ConnectionRefusedError):
        clients.connect(host="127.0.0.77", port=445)
    with pytest.raises(ConnectionRefusedError):
        clients.connect(port=446)
    lookup.close()
    with pytest.raises(ConnectionRefusedError):
        clients.connect(port=445)


@pytest.mark.parametrize(("bound", "host"), [("0.0.0.0", "127.0.0.5"), ("::", "::1"), ("::1", "::1")])
def test_lookup_for_wildcard_and_ipv6_listeners(
    namespace: None, cache: Path, clients: Clients, bound: str, host: str
) -> None:
    (listener,) = listeners(1, bound, socket.AF_INET6 if ":" in bound else socket.AF_INET)
    lookup = Lookup(445, [listener], cache)
    clients.connect(host if ":" in host else "127.0.0.1", host, 445)
    assert accepted([listener]) == [1]
    lookup.close()


def test_lookup_and_steer_together(steer: Steer, cache: Path, clients: Clients) -> None:
    """A connection to 445 is assigned to the group by a socket that stands for it; steer still chooses the worker."""
    *group, anchor = listeners(5)
    steer.attach(group)
    for slot in range(4):
        steer.set_alive(slot, True)
    lookup = Lookup(445, [anchor], cache)
    for _ in range(8):
        clients.connect(port=445)
    assert accepted(group) == [2, 2, 2, 2]
    lookup.close()


def test_an_unprivileged_process_may_serve_445(namespace: None, cache: Path, clients: Clients) -> None:
    """The link is made by root; the listener belongs to nobody, who may not bind 445."""
    (listener,) = listeners(1)
    lookup = Lookup(445, [listener], cache)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with contextlib.suppress(PermissionError), socket.socket() as denied:
                denied.bind(("127.0.0.1", 445))
                os._exit(2)
            os.write(write, b"r")
            select.select([listener], [], [], 10)
            listener.accept()[0].sendall(str(os.getuid()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    assert os.read(read, 1) == b"r"
    assert clients.connect(port=445).recv(100) == b"65534"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(read)
    os.close(write)
    lookup.close()


def test_tune_sets_options_by_network_and_counts(namespace: None, cache: Path, clients: Clients) -> None:
    rules = [TuneRule("127.0.0.0/8", 1 << 20, 1 << 19), TuneRule("127.0.0.8/32", 0, 0, no_delay=False)]
    tune = Tune([PORT], rules, cache)
    (listener,) = listeners(1)
    client = clients.connect("127.0.0.2")
    select.select([listener], [], [], 5)
    server, _ = listener.accept()
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 1 << 20
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 1 << 19
    assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    clients.connect("127.0.0.8")
    select.select([listener], [], [], 5)
    plain, _ = listener.accept()
    assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    for _ in range(5):
        client.sendall(b"x" * 1000)
        received = 0
        server.settimeout(5)
        while received < 1000:
            received += len(server.recv(1000))
        server.sendall(b"y" * 500)
        assert client.recv(500)
    (figures,) = [one for one in tune.connections() if one.peer == "127.0.0.2"]
    assert figures.port == client.getsockname()[1] and figures.errors == 0
    assert figures.samples > 0 and figures.srtt_us > 0 and figures.bytes_received >= 4000
    assert tune.totals()["opened"] == 2
    client.close()
    server.close()
    tune.close()


def test_tune_leaves_other_ports_alone(namespace: None, cache: Path, clients: Clients) -> None:
    tune = Tune([PORT + 1], [TuneRule("0.0.0.0/0", 1 << 20, 1 << 20)], cache)
    listeners_ = listeners(1)
    clients.connect()
    assert tune.connections() == [] and tune.totals()["opened"] == 0
    assert accepted(listeners_) == [1]
    tune.close()


def test_the_cache_holds_bytecode_that_loads_without_the_compiler(
    namespace: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpf_cache.get("steer", bpf.PROG_SK_REUSEPORT, cache=cache)
    monkeypatch.setattr(bpf_cache, "_compile", lambda *a: pytest.fail("compiled again"))
    os.close(bpf_cache.get("steer", bpf.PROG_SK_REUSEPORT, cache=cache).load({}))


def test_a_cache_that_others_may_write_is_not_believed(tmp_path: Path, namespace: None) -> None:
    program = bpf_cache.get("lookup", bpf.PROG_SK_LOOKUP, bpf.ATTACH_SK_LOOKUP, tmp_path)
    (stored,) = tmp_path.glob("lookup-*.json")
    stored.write_text("{}")
    stored.chmod(0o666)
    assert bpf_cache.get("lookup", bpf.PROG_SK_LOOKUP, bpf.ATTACH_SK_LOOKUP, tmp_path).code == program.code


def test_the_verifier_s_reason_is_told(namespace: None) -> None:
    exit_without_result = struct.pack("=BBhi", 0x95, 0, 0, 0)
    with pytest.raises(OSError, match="R0"):
        bpf.load_program(bpf.PROG_SK_REUSEPORT, exit_without_result, "broken")


@pytest.mark.parametrize(
    ("text", "packed"),
    [("10.1.2.3", bytes(10) + b"\xff\xff\x0a\1\2\3"), ("fe80::1%eth0", b"\xfe\x80" + bytes(13) + b"\1")],
)
def test_addresses(text: str, packed: bytes) -> None:
    assert packed_address(text) == packed
