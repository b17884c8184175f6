# SPDX-License-Identifier: GPL-2.0-or-later
"""What the table tells of an open for the administrator's lists, whatever store it is in."""
from __future__ import annotations

from ksmbd.oplock import report
from ksmbd.oplock.report import OpenReport
from ksmbd.oplock.store import Store
from ksmbd.smb.constants import DELETE
from ksmbd.smb.ports import OpenRef

from .world import World


def told(world: World, ref: OpenRef) -> OpenReport:
    found = report.report(world.store, ref)
    assert found is not None
    return found


def test_a_lease_with_its_break(store: Store) -> None:
    world = World(store)
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(1, lease="RWH", key="k", through="docs")
    found = told(world, ref)
    assert (found.share, report.caching_text(found.caching), found.is_lease, found.breaking) == (
        "docs", "RWH", True, False,
    )  # fmt: skip
    assert found.lease_key == b"k".ljust(16, b"\0")
    b.ask(1)
    assert told(world, ref).breaking
    a.acknowledge("k", "RH")
    world.settle()
    found = told(world, ref)
    assert (report.caching_text(found.caching), found.breaking) == ("RH", False)


def test_an_oplock_is_no_lease(store: Store) -> None:
    world = World(store)
    ref, _ = world.client("a").open(1, oplock="b")
    found = told(world, ref)
    assert (report.caching_text(found.caching), found.is_lease, found.lease_key) == ("RWH", False, b"")


def test_the_locks_of_one_open_alone(store: Store) -> None:
    world = World(store)
    a = world.client("a")
    ref, _ = a.open(1)
    other, _ = a.open(1)
    assert told(world, ref).locks == 0
    a.lock(ref, 10, 5)
    a.lock(ref, 100, 0, exclusive=False)
    a.lock(other, 50, 1)
    assert told(world, ref).locks == 2
    assert [(lock.first, lock.last - lock.first + 1, lock.exclusive) for lock in report.locks_of(store, ref)] == [
        (10, 5, True), (100, 0, False),
    ]  # fmt: skip


def test_what_will_be_deleted(store: Store) -> None:
    world = World(store)
    a = world.client("a")
    ref, _ = a.open(1, access=DELETE, parent=9, name=b"f")
    assert not told(world, ref).delete_pending
    a.table.set_delete_on_close(ref, True)
    assert told(world, ref).delete_pending


def test_an_open_that_is_gone(store: Store) -> None:
    world = World(store)
    a = world.client("a")
    ref, _ = a.open(1)
    a.table.close(ref)
    assert report.report(store, ref) is None
