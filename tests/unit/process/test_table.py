# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.process.shared import SharedState
from ksmbd.process.table import UNPIN, SharedTable, address_key, table_size


@pytest.fixture
def make_table(tmp_path: Path) -> Iterator[Callable[[int], SharedTable]]:
    with open(tmp_path / "lock", "w+b") as stream:
        yield lambda connections: SharedTable(memoryview(bytearray(table_size(connections))), stream.fileno())


def test_connections_of_an_address_are_limited_over_all_workers(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(100)
    assert [table.add_connection("10.0.0.1", worker, 1, 3, 3) for worker in (1, 2, 3, 1)] == [True, True, True, False]
    assert table.add_connection("10.0.0.2", 1, 1, 3, 3)
    table.remove_connection("10.0.0.1", 2, 1)
    assert table.add_connection("10.0.0.1", 1, 1, 3, 3)
    assert table.connections_of("10.0.0.1", 3) == 3


def test_a_guid_has_one_owner_until_its_last_connection_ends(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(100)
    guid = b"g" * 16
    assert [table.claim(guid, worker, 1) for worker in (2, 1, 2)] == [2, 2, 2]
    table.release(guid, 1)
    table.release(guid, 2)
    assert table.owner(guid) == 2
    table.release(guid, 2)
    assert table.owner(guid) == 0
    assert table.claim(guid, 1, 1) == 1
    table.release(guid, 1)
    assert len(table) == 0


def test_a_dead_worker_leaves_nothing(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(100)
    for worker in (1, 2):
        for index in range(20):
            table.add_connection(f"10.0.0.{index}", worker, 1, 2, 0)
            table.claim(bytes([worker, index]) * 8, worker, 1)
    table.forget_worker(1)
    assert len(table) == 40
    assert all(table.connections_of(f"10.0.0.{index}", 2) == 1 for index in range(20))
    assert all(table.owner(bytes([1, index]) * 8) == 0 for index in range(20))
    assert all(table.owner(bytes([2, index]) * 8) == 2 for index in range(20))


def test_a_full_table_refuses_and_recovers(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(1)
    counted = [address for address in range(200) if table.add_connection(f"10.0.1.{address}", 1, 1, 1, 0)]
    assert len(counted) == 48, "three quarters of 64"
    assert table.claim(b"x" * 16, 2, 1) == 2 and table.owner(b"x" * 16) == 0
    for address in counted:
        table.remove_connection(f"10.0.1.{address}", 1, 1)
    assert len(table) == 0
    assert table.add_connection("10.0.0.1", 1, 1, 1, 1)


@settings(max_examples=40, deadline=None)
@given(operations=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11), st.integers(1, 3)), max_size=120))
def test_behaves_like_a_dictionary(
    operations: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open(tmp_path_factory.getbasetemp() / "table-lock", "w+b") as stream:
        table = SharedTable(memoryview(bytearray(table_size(1))), stream.fileno())
        counts: dict[tuple[str, int], int] = {}
        guids: dict[bytes, tuple[int, int]] = {}
        for what, name, worker in operations:
            address, guid = f"10.0.0.{name}", bytes([name]) * 16
            if what == 0 and table.add_connection(address, worker, 1, 3, 0):
                counts[address, worker] = counts.get((address, worker), 0) + 1
            elif what == 1 and counts.get((address, worker)):
                table.remove_connection(address, worker, 1)
                counts[address, worker] -= 1
            elif what == 2:
                owner, held = guids.get(guid, (worker, 0))
                assert table.claim(guid, worker, 1) == owner
                if owner == worker:
                    guids[guid] = owner, held + 1
            elif what == 3:
                table.release(guid, worker)
                owner, held = guids.get(guid, (0, 0))
                if owner == worker:
                    guids[guid] = owner, held - 1
                    if held == 1:
                        del guids[guid]
        for name in range(12):
            address, guid = f"10.0.0.{name}", bytes([name]) * 16
            assert table.connections_of(address, 3) == sum(counts.get((address, worker), 0) for worker in (1, 2, 3))
            assert table.owner(guid) == guids.get(guid, (0, 0))[0]


def test_addresses_have_one_key_each() -> None:
    assert address_key("10.0.0.1") == bytes(10) + b"\xff\xff\x0a\0\0\x01"
    assert address_key("::1") == bytes(15) + b"\1"
    assert address_key("local") == b"local" + bytes(11)


def test_shared_state_replaces_an_earlier_servers(tmp_path: Path) -> None:
    old = SharedState.create(str(tmp_path), 1, 10)
    old.counters[1].count(7, 0, 0)
    new = SharedState.create(str(tmp_path), 2, 10)
    assert new.counters[1].read().requests == 0
    assert old.counters[1].read().requests == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["ksmbd.state"]
    SharedState.remove(str(tmp_path))
    SharedState.remove(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_all_of_the_shared_state_is_allocated(tmp_path: Path) -> None:
    SharedState.create(str(tmp_path), 2, 5000)
    status = (tmp_path / "ksmbd.state").stat()
    assert status.st_blocks * 512 >= status.st_size


def test_counters(tmp_path: Path) -> None:
    state = SharedState.create(str(tmp_path), 1, 10)
    counters = state.counters[1]
    assert counters.begin(0) == 1
    counters.set_pid(42)
    counters.connected()
    counters.connected()
    counters.disconnected()
    counters.refused()
    counters.publish(3, 4)
    counters.count(1, 20, 300)
    counters.count(1, 20, 300)
    stats = counters.read()
    assert (stats.pid, stats.epoch, stats.connections, stats.sessions, stats.opens) == (42, 1, 1, 3, 4)
    assert (stats.requests, stats.bytes_received, stats.bytes_sent, stats.accepted, stats.refused) == (2, 40, 600, 2, 1)
    counters.end()
    assert counters.begin(43) == 2
    stats = counters.read()
    assert (stats.connections, stats.sessions, stats.opens, stats.requests) == (0, 0, 0, 2)


def test_an_address_is_pinned_to_its_client_s_worker(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(100)
    assert table.client_connected("10.0.0.1", b"a" * 16, 2) == 2
    assert table.client_connected("10.0.0.1", b"a" * 16, 2) == 0
    assert table.client_connected("10.0.0.1", b"a" * 16, 3) == 3, "its connections live elsewhere now"
    for _ in range(3):
        table.client_disconnected("10.0.0.1")
    assert len(table) == 0
    table.client_disconnected("10.0.0.1")


def test_an_address_of_several_clients_is_not_pinned(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(100)
    assert table.client_connected("10.0.0.1", b"a" * 16, 1) == 1
    assert table.client_connected("10.0.0.1", b"b" * 16, 1) == UNPIN
    assert table.client_connected("10.0.0.1", b"c" * 16, 4) == 0
    assert table.client_connected("10.0.0.1", b"a" * 16, 2) == 0
    for _ in range(4):
        table.client_disconnected("10.0.0.1")
    assert table.client_connected("10.0.0.1", b"b" * 16, 3) == 3, "after its last connection it is as new"


def test_clients_of_a_dead_worker_are_forgotten(make_table: Callable[[int], SharedTable]) -> None:
    table = make_table(100)
    table.client_connected("10.0.0.1", b"a" * 16, 1)
    table.client_connected("10.0.0.2", b"b" * 16, 2)
    table.forget_worker(1)
    assert len(table) == 1
    assert table.client_connected("10.0.0.1", b"a" * 16, 2) == 2
