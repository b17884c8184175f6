# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of an open table for tests: a clock turned by hand, opens by short names, notices written down as text."""
from __future__ import annotations

import heapq
import sys
from collections.abc import Callable
from typing import Any

from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import Store
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.smb import constants
from ksmbd.smb.ports import (
    BreakNotice,
    DurableReconnect,
    DurableRequest,
    FileKey,
    LeaseGrant,
    LeaseRequest,
    LocalOpen,
    LockElement,
    OpenGrant,
    OpenRef,
    OpenRequest,
    PurgedOpen,
    Reconnected,
)
from ksmbd.smb.status import NtStatusError, status_name
from ksmbd.smb.waiting import Future

BITS = {"R": constants.LEASE_READ_CACHING, "W": constants.LEASE_WRITE_CACHING, "H": constants.LEASE_HANDLE_CACHING}
LEVELS = {
    "": 0, "s": constants.OPLOCK_LEVEL_II, "x": constants.OPLOCK_LEVEL_EXCLUSIVE, "b": constants.OPLOCK_LEVEL_BATCH,
}  # fmt: skip
SHARES = {"R": constants.FILE_SHARE_READ, "W": constants.FILE_SHARE_WRITE, "D": constants.FILE_SHARE_DELETE}

DATA = constants.FILE_READ_DATA | constants.FILE_WRITE_DATA
STAT = constants.FILE_READ_ATTRIBUTES | constants.SYNCHRONIZE


def state(text: str) -> int:
    """"RWH" as bits."""
    return sum(BITS[letter] for letter in text)


def text_of(bits: int) -> str:
    """Bits as "RWH"."""
    return "".join(letter for letter, bit in BITS.items() if bits & bit)


def level_text(level: int) -> str:
    """An oplock level as "", "s", "x" or "b"."""
    return next(text for text, value in LEVELS.items() if value == level)


class HandClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._calls: list[tuple[float, int, HandTimer]] = []
        self._count = 0

    def monotonic(self) -> float:
        return self.now

    def filetime(self) -> int:
        return int(self.now * 10_000_000)

    def call_later(self, seconds: float, call: Callable[[], None]) -> HandTimer:
        timer = HandTimer(call)
        self._count += 1
        heapq.heappush(self._calls, (self.now + seconds, self._count, timer))
        return timer

    def timers(self) -> list[tuple[float, HandTimer]]:
        """What is to come."""
        return [(when, timer) for when, _, timer in self._calls]

    def turn(self, seconds: float = 0.0) -> None:
        """Let time go by; what is due runs in its order."""
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _, timer = heapq.heappop(self._calls)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.call()
        self.now = end


class HandTimer:
    """A timer of HandClock."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """One server: a store, and a table for each worker."""

    def __init__(
        self, store: Store | None = None, workers: int = 1, settings: OplockSettings | None = None,
        state: StateDirectory | None = None,
    ) -> None:
        self.state = state
        self.clock = HandClock()
        self.store: Store = store if store is not None else DictStore()
        self.tables: list[LocalOpenTable] = []
        self.mail: list[tuple[int, bytes]] = []
        self.notices: list[BreakNotice] = []
        self.purged: list[PurgedOpen] = []
        self.delete_pending: list[tuple[int, FileKey]] = []
        self.unreachable: set[bytes] = set()
        self.next_open = 0
        self.settings = settings or OplockSettings()
        for worker in range(workers):
            self.start_worker(worker)

    def start_worker(self, worker: int, epoch: int = 0) -> LocalOpenTable:
        """A worker, or its successor."""
        table = LocalOpenTable(self.store, self.clock, self.settings, worker, epoch, self.state)
        table.on_break = self._on_break
        table.on_purge = self.purged.append
        table.on_delete_pending = lambda directory: self.delete_pending.append((worker, directory))
        table.deliver = lambda to, message: self.mail.append((to, message))
        if worker == len(self.tables):
            self.tables.append(table)
        else:
            self.tables[worker] = table
        return table

    def _on_break(self, notice: BreakNotice) -> bool:
        if notice.client_guid in self.unreachable:
            return False
        self.notices.append(notice)
        return True

    def post(self) -> None:
        """Deliver the workers' messages to each other until there are none."""
        while self.mail:
            worker, message = self.mail.pop(0)
            self.tables[worker].on_message(message)

    def settle(self, seconds: float = 0.0) -> None:
        """Let time go by and messages arrive."""
        self.clock.turn(seconds)
        self.post()
        self.clock.turn(0.0)
        self.post()

    def breaks(self) -> list[str]:
        """The notices since the last call: "a1:RWH>RH" of a lease, "7>s" of open 7's oplock; "!" = to acknowledge."""
        self.settle()
        seen = []
        for notice in self.notices:
            mark = "!" if notice.ack_required else ""
            if notice.lease_key:
                key = notice.lease_key.rstrip(b"\0").decode()
                seen.append(f"{key}:{text_of(notice.current_state)}>{text_of(notice.new_state)}{mark}")
            else:
                seen.append(f"{notice.open_ids[0]}>{level_text(notice.oplock_level)}{mark}")
        self.notices.clear()
        return seen

    def client(self, name: str, worker: int = 0) -> Client:
        """A client on a worker."""
        return Client(self, name, worker)


class Client:
    """One ClientGuid."""

    def __init__(self, world: World, name: str, worker: int) -> None:
        self.world = world
        self.name = name
        self.guid = name.encode().ljust(16, b"\0")
        self.worker = worker

    @property
    def table(self) -> LocalOpenTable:
        return self.world.tables[self.worker]

    def ask(
        self, file: int | FileKey = 1, *, lease: str | None = None, key: str = "", version: int = 1, oplock: str = "",
        access: int = DATA, share: str = "RWD", disposition: int = constants.FILE_OPEN, created: bool = False,
        stream: str = "", options: int = 0, directory: bool = False, durable: DurableRequest | None = None,
        path: str = "", parent: int | None = None, epoch: int = 0, parent_key: str = "", owner: str = "",
        local: LocalOpen | None = None, name: bytes = b"", posix: bool = False,
        session: int = 1, through: str = "s", dialect: int = 0, protection: int = 0,
    ) -> tuple[OpenRef, Future[OpenGrant]]:
        """Send an open; the reference it will have, and the answer to come."""
        self.world.next_open += 1
        where = (1, file) if isinstance(file, int) else file
        ref = OpenRef(where, stream, self.world.next_open)
        request = OpenRequest(
            ref=ref, client_guid=self.guid, session_id=session, owner=owner or self.name, share=through,
            path=path or f"f{where[1]}", is_directory=directory, created=created, granted_access=access,
            share_access=sum(SHARES[letter] for letter in share), disposition=disposition, options=options,
            oplock_level=constants.OPLOCK_LEVEL_LEASE if lease is not None else LEVELS[oplock],
            lease=None if lease is None else LeaseRequest(
                key.encode().ljust(16, b"\0"), state(lease), version,
                constants.LEASE_FLAG_PARENT_LEASE_KEY_SET if parent_key else 0,
                parent_key.encode().ljust(16, b"\0"), epoch,
            ),
            durable=durable, parent=(1, parent) if parent is not None else None, local=local, name=name, posix=posix,
            dialect=dialect, protection=protection,
        )  # fmt: skip
        return ref, self.table.open(request)

    def open(self, file: int | FileKey = 1, **more: Any) -> tuple[OpenRef, str]:
        """Open at once: the reference and what was granted ("RH", "RWH*" while breaking, "b", or a status)."""
        ref, future = self.ask(file, **more)
        return ref, answer(future)

    def acknowledge(self, key: str, to: str) -> str:
        """Acknowledge a lease break; the state that holds, or a status."""
        try:
            return text_of(self.table.acknowledge_lease(self.guid, key.encode().ljust(16, b"\0"), state(to)))
        except NtStatusError as error:
            return status_name(error.status)

    def acknowledge_oplock(self, ref: OpenRef, to: str) -> str:
        """Acknowledge an oplock break; the level that holds, or a status."""
        try:
            return level_text(self.table.acknowledge_oplock(ref, LEVELS[to]))
        except NtStatusError as error:
            return status_name(error.status)

    def lock(self, ref: OpenRef, offset: int, length: int, exclusive: bool = True, wait: bool = False) -> Future[None]:
        """Ask for one byte-range lock."""
        return self.table.lock(ref, [LockElement(offset, length, exclusive)], wait)

    def unlock(self, ref: OpenRef, offset: int, length: int) -> str:
        """Release one; "ok" or a status."""
        try:
            self.table.unlock(ref, [LockElement(offset, length, False)])
        except NtStatusError as error:
            return status_name(error.status)
        return "ok"

    def io(self, ref: OpenRef, offset: int, length: int, write: bool) -> str:
        """Whether reading or writing is allowed: "ok" or a status."""
        try:
            self.table.check_io(ref, offset, length, write)
        except NtStatusError as error:
            return status_name(error.status)
        return "ok"

    def find_kept(self, ref: OpenRef, **more: Any) -> str | OpenRequest | None:
        """What `reconnect` would reclaim; a status where it would be refused."""
        try:
            return self.table.find_kept(self._reconnect(ref, **more))
        except NtStatusError as error:
            return status_name(error.status)

    def reconnect(self, ref: OpenRef, **more: Any) -> str | Reconnected:
        """Reclaim a durable open; a status where it is refused."""
        try:
            return self.table.reconnect(self._reconnect(ref, **more))
        except NtStatusError as error:
            return status_name(error.status)

    def _reconnect(self, ref: OpenRef, **more: Any) -> DurableReconnect:
        lease = more.pop("lease", None)
        version = more.pop("lease_version", 1)
        fields: dict[str, Any] = {
            "persistent_id": ref.open_id, "version": 1, "create_guid": b"", "client_guid": self.guid,
            "owner": self.name, "share": "s",
            "lease": None if lease is None else LeaseRequest(lease.encode().ljust(16, b"\0"), 0, version),
        }  # fmt: skip
        return DurableReconnect(**(fields | more))


def lease_of(future: Future[OpenGrant]) -> LeaseGrant:
    """The lease that an open was granted."""
    lease = future.result().lease
    assert lease is not None
    return lease


def answer(future: Future[Any]) -> str:
    """A Future as text: "wait", a status, what an open was granted, or "ok"."""
    if not future.done:
        return "wait"
    try:
        result = future.result()
    except NtStatusError as error:
        return status_name(error.status)
    if not isinstance(result, OpenGrant):
        return "ok"
    if result.lease is not None:
        breaking = "*" if result.lease.flags & constants.LEASE_FLAG_BREAK_IN_PROGRESS else ""
        return text_of(result.lease.state) + breaking
    return level_text(result.oplock_level)


def calls_of(do: Callable[[], object]) -> int:
    """How many calls something makes, Python's and C's."""
    count = 0

    def on_event(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count
