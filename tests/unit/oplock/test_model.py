# SPDX-License-Identifier: GPL-2.0-or-later
"""Random clients against the open table, through both stores at once.

After every step: no two hold what excludes each other, and both stores gave the same answers. In the end: everybody who
waited was answered, and nothing is left of any record.
"""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ksmbd.oplock import locks as lock_rules
from ksmbd.oplock.record import R, W
from ksmbd.oplock.share import LEASE_STAT_ACCESS, conflict, is_stat_open
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.store_lmdb import LmdbStore
from ksmbd.overriding import override
from ksmbd.smb import constants
from ksmbd.smb.ports import BreakKind, DurableRequest, OpenRef, Reconnected, Replaced
from ksmbd.smb.status import NtStatusError, status_name
from ksmbd.smb.waiting import Cancelled, Future

from .world import DATA, STAT, Client, World, answer

CLIENTS = {"a": 0, "b": 0, "c": 1}
"""Names and the workers they are on."""
FILES = (1, 1, 2)
DIRECTORY = 3
STREAMS = ("", "s")
ACCESSES = (DATA, DATA, DATA, constants.FILE_READ_DATA, STAT, constants.READ_CONTROL, constants.FILE_ALL_ACCESS)
SHARES = ("RWD", "RWD", "RWD", "RW", "R", "")
DISPOSITIONS = (constants.FILE_OPEN, constants.FILE_OPEN, constants.FILE_OVERWRITE)
CACHING = st.one_of(
    st.sampled_from(["", "s", "x", "b"]).map(lambda level: {"oplock": level}),
    st.fixed_dictionaries({
        "lease": st.sampled_from(["", "R", "RH", "RW", "RWH"]), "key": st.sampled_from(["k1", "k2"]),
        "version": st.sampled_from([1, 2]),
    }),
)


class Opened:
    """One open of the model: its client, its reference, and its answer in either world."""

    def __init__(self, client: str, ref: OpenRef, futures: list[Future[Any]]) -> None:
        self.client = client
        self.ref = ref
        self.futures = futures
        self.connected = True


def settled(future: Future[Any]) -> str:
    """As `answer`, for futures that may have been cancelled."""
    try:
        return answer(future)
    except Cancelled:
        return "cancelled"


class OpenTableMachine(RuleBasedStateMachine):
    """See the module."""

    directory: Path
    shared: list[LmdbStore]

    def __init__(self) -> None:
        super().__init__()
        if not self.shared[0].empty:  # after an example that failed
            self.shared.pop().close()
            self.shared.append(LmdbStore(self.directory, fresh=True))
        self.worlds = [World(DictStore(), workers=2), World(self.shared[0], workers=2)]
        self.epoch = 0
        self.opens: list[Opened] = []
        self.waits: list[list[Future[Any]]] = []

    # ---------------------------------------------------------------------------------------------------- helpers

    def clients(self, name: str) -> list[Client]:
        return [world.client(name, CLIENTS[name]) for world in self.worlds]

    def both(self, do: Callable[[Client], Any], name: str) -> list[Any]:
        """The same in both worlds; their answers agree."""
        results: list[Any] = []
        for client in self.clients(name):
            try:
                results.append(do(client))
            except NtStatusError as error:
                results.append(status_name(error.status))
        texts = [settled(result) if isinstance(result, Future) else repr(result) for result in results]
        assert texts[0] == texts[1]
        return results

    def ask_both(self, ask: Callable[[Client], tuple[OpenRef, Future[Any]]], name: str) -> None:
        """An open asked for in both worlds, where it is called the same."""
        refs: list[OpenRef] = []

        def future_of(client: Client) -> Future[Any]:
            ref, future = ask(client)
            refs.append(ref)
            return future

        futures = self.both(future_of, name)
        assert refs[0] == refs[1]
        self.opens.append(Opened(name, refs[0], futures))

    def opened(self, number: int) -> Opened | None:
        """One of the opens that were granted and are still there."""
        there = [
            opened for opened in self.opens
            if settled(opened.futures[0]) not in ("wait", "cancelled") and self.in_table(opened)
        ]  # fmt: skip
        return there[number % len(there)] if there else None

    def in_table(self, opened: Opened) -> bool:
        record = self.worlds[0].store.peek(opened.ref.file)
        return record is not None and opened.ref.open_id in record.opens

    def settle(self, seconds: float = 0.0) -> None:
        for world in self.worlds:
            world.settle(seconds)

    # ------------------------------------------------------------------------------------------------------ rules

    @rule(
        name=st.sampled_from(sorted(CLIENTS)), file=st.sampled_from(FILES), stream=st.sampled_from(("", "", "s")),
        access=st.sampled_from(ACCESSES), share=st.sampled_from(SHARES), disposition=st.sampled_from(DISPOSITIONS),
        caching=CACHING, durable=st.sampled_from([0, 0, 1, 2]), delete=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    def open(
        self, name: str, file: int, stream: str, access: int, share: str, disposition: int, caching: dict[str, Any],
        durable: int, delete: bool,
    ) -> None:
        request = None
        if durable:
            guid = (len(self.opens) + 1).to_bytes(16, "big") if durable == 2 else b""
            request = DurableRequest(durable, guid, 20_000)
        options = constants.FILE_DELETE_ON_CLOSE if delete else 0
        def ask(client: Client) -> tuple[OpenRef, Future[Any]]:
            return client.ask(
                file, stream=stream, access=access, share=share, disposition=disposition, durable=request,
                options=options, **caching,
            )  # fmt: skip

        self.ask_both(ask, name)

    @rule(
        name=st.sampled_from(sorted(CLIENTS)), access=st.sampled_from(ACCESSES), share=st.sampled_from(SHARES),
        state=st.sampled_from(["", "R", "RH", "RWH"]), version=st.sampled_from([1, 2, 2, 2]),
        durable=st.sampled_from([0, 0, 2]), delete=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    def open_directory(
        self, name: str, access: int, share: str, state: str, version: int, durable: int, delete: bool
    ) -> None:
        """Directories have leases of version 2 alone (MS-SMB2 3.3.5.9.8, 3.3.5.9.11)."""
        guid = (len(self.opens) + 1).to_bytes(16, "big")
        request = DurableRequest(durable, guid, 20_000) if durable else None
        def ask(client: Client) -> tuple[OpenRef, Future[Any]]:
            return client.ask(
                DIRECTORY, directory=True, access=access, share=share, durable=request, lease=state, key="kd",
                version=version, options=constants.FILE_DELETE_ON_CLOSE if delete else 0,
            )  # fmt: skip

        self.ask_both(ask, name)

    @rule(name=st.sampled_from(sorted(CLIENTS)), key=st.sampled_from([b"", b"kd"]))
    def change_directory(self, name: str, key: bytes) -> None:
        """Nobody waits for directory leases to break, and the one with the key of who makes the change stays."""
        for client in self.clients(name):
            client.table.directory_changed((1, DIRECTORY), key.ljust(16, b"\0") if key else b"", client.guid)
        record = self.worlds[0].store.peek((1, DIRECTORY))
        for holder in record.holders.values() if record is not None else ():
            if holder.state & R and not holder.breaking:
                assert key and holder.client_guid == self.clients(name)[0].guid

    @rule(number=st.integers(0, 99))
    def close(self, number: int) -> None:
        opened = self.opened(number)
        if opened is not None and opened.connected:
            self.both(lambda client: client.table.close(opened.ref), opened.client)

    @rule(number=st.integers(0, 99), state=st.sampled_from(["requested", "requested", "", "RWH", "R"]))
    def acknowledge(self, number: int, state: str) -> None:
        notices = [notice for notice in self.worlds[0].notices if notice.ack_required]
        if not notices:
            return
        notice = notices[number % len(notices)]
        name = notice.client_guid.rstrip(b"\0").decode()
        if notice.lease_key:
            bits = notice.new_state if state == "requested" else sum({"R": 1, "H": 2, "W": 4}[bit] for bit in state)
            self.both(lambda client: client.table.acknowledge_lease(client.guid, notice.lease_key, bits), name)
        else:
            level = notice.oplock_level if state == "requested" else {"": 0, "RWH": 9, "R": 1}[state]
            refs = [opened.ref for opened in self.opens if opened.ref.open_id == notice.open_ids[0]]
            if refs:
                self.both(lambda client: client.table.acknowledge_oplock(refs[0], level), name)
        for world in self.worlds:
            world.notices.remove(notice)

    @rule(
        number=st.integers(0, 99), offset=st.integers(0, 8), length=st.integers(0, 4), exclusive=st.booleans(),
        wait=st.booleans(),
    )  # fmt: skip
    def lock(self, number: int, offset: int, length: int, exclusive: bool, wait: bool) -> None:
        opened = self.opened(number)
        if opened is not None and opened.connected:
            self.waits.append(
                self.both(lambda client: client.lock(opened.ref, offset, length, exclusive, wait), opened.client)
            )

    @rule(number=st.integers(0, 99), offset=st.integers(0, 8), length=st.integers(0, 4))
    def unlock(self, number: int, offset: int, length: int) -> None:
        opened = self.opened(number)
        if opened is not None:
            self.both(lambda client: client.unlock(opened.ref, offset, length), opened.client)

    @rule(number=st.integers(0, 99), offset=st.integers(0, 8), length=st.integers(0, 4), write=st.booleans())
    def read_or_write(self, number: int, offset: int, length: int, write: bool) -> None:
        opened = self.opened(number)
        if opened is not None and opened.connected:
            self.both(lambda client: client.io(opened.ref, offset, length, write), opened.client)
            if write:
                kind = BreakKind(True, True, False)
                self.waits.append(
                    self.both(lambda client: client.table.break_caching(opened.ref, kind), opened.client)
                )

    @rule(number=st.integers(0, 99), what=st.sampled_from(["delete", "keep", "rename", "replace"]))
    def change_name(self, number: int, what: str) -> None:
        opened = self.opened(number)
        if opened is None or not opened.connected:
            return

        def change(client: Client) -> Future[None]:
            if what in ("delete", "keep"):
                return client.table.set_delete_on_close(opened.ref, what == "delete")
            return client.table.check_rename(opened.ref, Replaced((1, 2), None, b"") if what == "replace" else None)

        self.waits.append(self.both(change, opened.client))

    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        waiting = [opened.futures for opened in self.opens] + self.waits
        waiting = [futures for futures in waiting if not futures[0].done]
        if waiting:
            for future in waiting[number % len(waiting)]:
                future.cancel()

    @rule(number=st.integers(0, 99))
    def disconnect(self, number: int) -> None:
        opened = self.opened(number)
        if opened is not None and opened.connected:
            kept = self.both(lambda client: client.table.disconnect(opened.ref), opened.client)
            if kept[0]:
                opened.connected = False
            else:
                self.both(lambda client: client.table.close(opened.ref), opened.client)

    @rule(number=st.integers(0, 99), right=st.booleans())
    def reconnect(self, number: int, right: bool) -> None:
        opened = self.opened(number)
        if opened is None:
            return
        record = self.worlds[0].store.peek(opened.ref.file)
        assert record is not None
        entry = record.opens[opened.ref.open_id]
        holder = record.holder_of(entry)

        def back(client: Client) -> str:
            more: dict[str, Any] = {"version": entry.durable, "create_guid": entry.create_guid}
            if entry.lease_key:
                more["lease"] = entry.lease_key.rstrip(b"\0").decode()
                more["lease_version"] = holder.version if holder else 1
            result = client.reconnect(opened.ref, **more, owner=client.name if right else "mallory")
            return "back" if isinstance(result, Reconnected) else result

        if self.both(back, opened.client)[0] == "back":
            assert right
            opened.connected = True

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 15.0, 40.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.settle(seconds)

    @rule(name=st.sampled_from(sorted(CLIENTS)), away=st.booleans())
    def lose_channels(self, name: str, away: bool) -> None:
        for world, client in zip(self.worlds, self.clients(name), strict=True):
            (world.unreachable.add if away else world.unreachable.discard)(client.guid)

    @rule()
    def worker_dies(self) -> None:
        """Worker 1 dies with its clients' futures and starts again."""
        for world in self.worlds:
            world.mail = [(worker, message) for worker, message in world.mail if worker != 1]
            world.tables[0].worker_died(1, self.epoch)
            world.start_worker(1, self.epoch + 1)
        self.epoch += 1
        self.opens = [opened for opened in self.opens if CLIENTS[opened.client] != 1]
        # Who waited in worker 1 is gone; those of worker 0 stay. Told apart by whether their table still knows them.
        known = [
            {id(waiting.future) for table in world.tables for waiting in table._waiting.values()}
            for world in self.worlds
        ]
        self.waits = [
            futures for futures in self.waits
            if futures[0].done or id(futures[0]) in known[0] or futures[0].on_cancel is None
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def nobody_holds_what_excludes_another(self) -> None:
        store = self.worlds[0].store
        for file in store.files():
            record = store.peek(file)
            assert record is not None
            for one, other in combinations(record.opens.values(), 2):
                if one.stream == other.stream:
                    assert not conflict(one.access, one.share_access, other.access, other.share_access)
            for holder in record.holders.values():
                sharers = record.opens_of(holder)
                assert sharers, "a lease or an oplock without an open"
                assert holder.requested & ~holder.state == 0
                assert holder.required & ~holder.requested == 0
                assert holder.breaking == bool(holder.deadline)
                if holder.state & W:
                    for other in record.opens.values():
                        if other.stream == holder.stream and other not in sharers:
                            assert is_stat_open(other.access, LEASE_STAT_ACCESS)
                            beside = record.holder_of(other)
                            assert beside is None or beside.state == 0
            for stream in STREAMS:
                view = store.locks_of(file)(stream)
                taken = [lock for entry in record.opens for lock in view.of_open(entry)]
                assert len(taken) == view.count, "a lock without an open"
                for one_lock, other_lock in combinations(sorted(taken, key=lambda lock: lock.number), 2):
                    if one_lock.first <= other_lock.last and other_lock.first <= one_lock.last:
                        same = one_lock.open_id == other_lock.open_id
                        assert not other_lock.exclusive
                        assert same or not one_lock.exclusive

    @invariant()
    def both_stores_say_the_same(self) -> None:
        for futures in [opened.futures for opened in self.opens] + self.waits:
            assert settled(futures[0]) == settled(futures[1])
        first, second = (world.store for world in self.worlds)
        assert sorted(first.files()) == sorted(second.files())
        assert self.worlds[0].notices == self.worlds[1].notices
        for file in first.files():
            one, other = first.peek(file), second.peek(file)
            assert one is not None and other is not None
            assert (one.opens, one.holders, one.deleted_links) == (other.opens, other.holders, other.deleted_links)
            assert len(one.waiters) == len(other.waiters)
            for stream in STREAMS:
                assert first.lock_count(file, stream) == second.lock_count(file, stream)

    @override
    def teardown(self) -> None:
        """Everybody goes home: whoever waits is answered, and nothing is left."""
        for _ in range(3):
            self.settle(1000.0)
            for opened in self.opens:
                if self.in_table(opened) and opened.connected:
                    self.both(lambda client, opened=opened: client.table.close(opened.ref), opened.client)  # type: ignore[misc]
        self.settle(1000.0)
        for futures in [opened.futures for opened in self.opens] + self.waits:
            assert settled(futures[0]) != "wait"
        for world in self.worlds:
            assert [world.store.peek(file) for file in world.store.files()] == []
            assert world.store.empty


@pytest.fixture(scope="module")
def machine() -> Iterator[type[OpenTableMachine]]:
    """One LMDB store for all examples: every example has to leave it empty, and making one takes long."""
    directory = Path(tempfile.mkdtemp(prefix="ksmbd-model-"))
    shared = [LmdbStore(directory / "table", fresh=True)]
    yield type("Machine", (OpenTableMachine,), {"shared": shared, "directory": directory / "table"})
    shared[0].close()
    shutil.rmtree(directory)


def test_random_clients(machine: type[OpenTableMachine]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_rules_are_the_tables_own() -> None:
    """The invariant above would not notice if locks never conflicted: here they do."""
    view = lock_rules.LockSet()
    view.add(lock_rules.make_lock(0, 4, True, 1, 1))
    assert lock_rules.lock_conflict(view, 3, 1, True, 2)
