# SPDX-License-Identifier: GPL-2.0-or-later
"""Durable and persistent opens: MS-SMB2 3.3.5.9.6, 3.3.5.9.7, 3.3.5.9.10, 3.3.5.9.12, 3.3.5.9.13, 3.3.7.1."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import Store
from ksmbd.smb import constants
from ksmbd.smb.ports import CloseOutcome, DurableRequest, OpenRequest, Reconnected

from .world import DATA, World, answer

V1 = DurableRequest(1)
GUID = b"g" * 16
V2 = DurableRequest(2, create_guid=GUID, timeout=10_000)
PERSISTENT = DurableRequest(2, create_guid=GUID, timeout=10_000, persistent=True)
NOT_FOUND = "STATUS_OBJECT_NAME_NOT_FOUND"
OPLOCKS = ("", "s", "x", "b")
LEASES = ("", "R", "RW", "RH", "RWH")


@pytest.mark.parametrize("request_", [V1, V2])
@pytest.mark.parametrize("kind", ["oplock", "lease"])
@pytest.mark.parametrize("level", [*OPLOCKS, *LEASES])
def test_durable_needs_a_batch_oplock_or_handle_caching(request_: DurableRequest, kind: str, level: str) -> None:
    if level not in (OPLOCKS if kind == "oplock" else LEASES):
        return
    asked: dict[str, Any] = {"oplock": level} if kind == "oplock" else {"lease": level, "key": "k"}
    _, future = World().client("a").ask(durable=request_, **asked)
    assert future.result().durable == (level == "b" or "H" in level)


def test_persistent_needs_no_caching_and_directories_are_not_durable(state: StateDirectory) -> None:
    client = World(state=state).client("a")
    grant = client.ask(durable=PERSISTENT)[1].result()
    assert (grant.durable, grant.persistent, grant.durable_timeout) == (True, True, 10_000)
    assert not client.ask(2, durable=V2, lease="RH", key="k", version=2, directory=True)[1].result().durable


@pytest.mark.parametrize(("asked", "granted"), [(0, 60_000), (1, 1), (10_000, 10_000), (0xFFFFFFFF, 300_000)])
def test_timeouts_of_version_2(asked: int, granted: int) -> None:
    grant = World().client("a").ask(oplock="b", durable=DurableRequest(2, GUID, asked))[1].result()
    assert grant.durable_timeout == granted


def test_not_when_switched_off() -> None:
    client = World(settings=OplockSettings(durable=False)).client("a")
    assert not client.ask(oplock="b", durable=V2)[1].result().durable


def test_an_open_survives_its_connection_with_its_locks(store: Store) -> None:
    world = World(store)
    client = world.client("a")
    ref, _ = client.open(oplock="b", durable=V1, path="F")
    client.lock(ref, 0, 10)
    client.table.keep(ref, "kept")
    assert client.table.disconnect(ref)
    back = client.reconnect(ref)
    assert isinstance(back, Reconnected)
    assert (back.handle, back.request.path, back.grant.oplock_level) == ("kept", "F", constants.OPLOCK_LEVEL_BATCH)
    assert client.reconnect(ref) == NOT_FOUND  # it is connected now
    assert client.unlock(ref, 0, 10) == "ok"
    client.table.close(ref)
    assert store.empty


def test_what_is_not_durable_is_not_kept() -> None:
    world = World()
    client = world.client("a")
    plain, _ = client.open(1, oplock="b")
    assert not client.table.disconnect(plain)
    broken, _ = client.open(2, oplock="b", durable=V1)
    client.ask(2)
    assert not client.table.disconnect(broken)  # its break is going on


DELETES = {"access": DATA | constants.DELETE, "options": constants.FILE_DELETE_ON_CLOSE}


def test_an_open_that_deletes_its_file_is_kept_and_reclaimed(store: Store) -> None:
    """MS-SMB2 3.3.7.1 makes no difference; the file goes with the open's end (MS-FSA 2.1.5.5)."""
    world = World(store)
    client = world.client("a")
    ref, _ = client.open(oplock="b", durable=V1, **DELETES)
    assert client.table.disconnect(ref)
    assert isinstance(client.reconnect(ref), Reconnected)
    assert client.table.close(ref).delete
    assert store.empty


def test_an_open_that_deletes_its_file_does_so_when_nobody_reclaims_it(store: Store) -> None:
    world = World(store)
    client = world.client("a")
    ref, _ = client.open(oplock="b", durable=V1, **DELETES)
    assert client.table.disconnect(ref)
    world.settle(world.settings.durable_v1_timeout / 1000 + 1)
    assert [(purged.ref, purged.outcome) for purged in world.purged] == [(ref, CloseOutcome(True, True))]
    assert store.empty


def test_another_open_finds_deleted_what_gave_way_to_it(store: Store) -> None:
    """The file goes first; then the name may be opened anew."""
    world = World(store)
    client, other = world.client("a"), world.client("b")
    ref, _ = client.open(oplock="b", durable=V1, **DELETES)
    assert client.table.disconnect(ref)
    assert answer(other.ask()[1]) == "STATUS_DELETE_PENDING"
    assert [(purged.ref, purged.outcome) for purged in world.purged] == [(ref, CloseOutcome(True, True))]
    assert store.empty


def test_another_worker_deletes_before_an_open_is_told(store: Store) -> None:
    """The open waits until the worker that has the file has deleted it."""
    world = World(store, workers=2)
    a, b = world.client("a", 0), world.client("b", 1)
    ref, _ = a.open(oplock="b", durable=V1, **DELETES)
    assert a.table.disconnect(ref)
    future = b.ask()[1]
    assert answer(future) == "wait"
    deleted: list[str] = []
    a.table.on_purge = lambda purged: deleted.append(answer(future))
    world.settle()
    assert deleted == ["wait"]
    assert answer(future) == "STATUS_DELETE_PENDING"
    assert store.empty


def test_an_open_of_a_file_that_stays_beside_one_that_deletes_it(store: Store) -> None:
    """What does not break the kept open's lease opens beside it."""
    world = World(store)
    client, other = world.client("a"), world.client("b")

    ref, granted = client.open(lease="RH", key="k", durable=V1, **DELETES)
    assert granted == "RH" and client.table.disconnect(ref)
    beside, _ = other.open(access=constants.FILE_READ_ATTRIBUTES)
    assert not world.purged
    other.table.close(beside)
    assert client.table.close(ref).delete
    assert store.empty


@pytest.mark.parametrize("asked", [{}, {"oplock": "s"}, {"oplock": "b", "durable": V1}, {"lease": "R", "key": "k"}])
def test_a_resilient_open_needs_no_caching(store: Store, asked: dict[str, Any]) -> None:
    """MS-SMB2 3.3.5.15.9, 3.3.7.1, 3.3.5.9.7: kept with its locks for the time it asked for, as often as it is lost."""
    world = World(store)
    client = world.client("a")
    ref, _ = client.open(path="F", **asked)
    client.lock(ref, 0, 10)
    client.table.make_resilient(ref, 5_000)
    back = {"lease": "k"} if "lease" in asked else {}
    for _ in range(2):
        client.table.keep(ref, "kept")
        assert client.table.disconnect(ref)
        world.settle(4.9)
        assert not world.purged
        assert client.reconnect(ref, owner="mallory", **back) == "STATUS_ACCESS_DENIED"
        found = client.reconnect(ref, **back)
        assert isinstance(found, Reconnected) and found.handle == "kept"
        assert found.request.durable is not None and found.request.durable.resilient
        assert found.grant.durable_timeout == 5_000
    assert client.unlock(ref, 0, 10) == "ok"
    assert client.table.disconnect(ref)
    world.settle(5.1)
    assert [purged.ref for purged in world.purged] == [ref]
    assert store.empty


def test_a_resilient_open_is_not_given_up_for_another(store: Store) -> None:
    """MS-SMB2 3.3.4.6: an open that would break what a lost client caches has to wait for that client; one that fits
    beside it opens."""
    world = World(store)
    client, other = world.client("a"), world.client("b")
    ref, _ = client.open(1, oplock="b")
    client.table.make_resilient(ref, 60_000)
    assert client.table.disconnect(ref)
    assert answer(other.ask(1)[1]) == "STATUS_FILE_NOT_AVAILABLE"
    assert not world.purged
    plain, _ = client.open(2)
    client.table.make_resilient(plain, 60_000)
    assert client.table.disconnect(plain)
    other.open(2)
    assert isinstance(client.reconnect(plain), Reconnected)
    assert isinstance(client.reconnect(ref), Reconnected)


def test_a_resilient_open_dies_with_its_server(store: Store) -> None:
    """Unlike a persistent one: another worker finds nothing to give back."""
    world = World(store, workers=2)
    client = world.client("a")
    ref, _ = client.open()
    client.table.make_resilient(ref, 60_000)
    assert client.table.disconnect(ref)
    world.tables[1].worker_died(0, 0)
    assert world.store.empty
    assert client.reconnect(ref) == NOT_FOUND


LEASED = {"lease": "RWH", "key": "k"}
BATCH = {"oplock": "b"}


@pytest.mark.parametrize(
    ("opened", "durable", "back", "expected"),
    [
        (BATCH, V1, {}, None),
        (BATCH, V1, {"owner": "mallory"}, "STATUS_ACCESS_DENIED"),
        (BATCH, V1, {"lease": "k"}, NOT_FOUND),
        (BATCH, V1, {"version": 2, "create_guid": GUID}, NOT_FOUND),
        (BATCH, V1, {"version": 2, "create_guid": bytes(16)}, None),
        (BATCH, V1, {"client_guid": b"b" * 16}, None),
        (LEASED, V1, {"lease": "k"}, None),
        (LEASED, V1, {}, NOT_FOUND),
        (LEASED, V1, {"lease": "other"}, NOT_FOUND),
        (LEASED, V1, {"lease": "k", "lease_version": 2}, NOT_FOUND),
        (LEASED, V1, {"lease": "k", "client_guid": b"b" * 16}, NOT_FOUND),
        (LEASED, V1, {"lease": "k", "path": "other"}, "STATUS_INVALID_PARAMETER"),
        (LEASED, V1, {"lease": "k", "path": "F1"}, None),
        (BATCH, V2, {"version": 2, "create_guid": GUID}, None),
        (BATCH, V2, {"version": 2, "create_guid": GUID, "owner": "mallory"}, "STATUS_ACCESS_DENIED"),
        (BATCH, V2, {"version": 2, "create_guid": b"h" * 16}, NOT_FOUND),
        (BATCH, V2, {"version": 2, "create_guid": bytes(16)}, NOT_FOUND),
        (BATCH, V2, {"version": 2, "create_guid": GUID, "client_guid": b"b" * 16}, None),
        (LEASED, V2, {"version": 2, "create_guid": GUID, "lease": "k", "client_guid": b"b" * 16}, NOT_FOUND),
        (BATCH, V2, {"version": 2, "create_guid": GUID, "persistent": True}, NOT_FOUND),
        (BATCH, V2, {"version": 1}, None),
    ],
)
def test_only_the_right_client_reclaims(
    opened: dict[str, Any], durable: DurableRequest, back: dict[str, Any], expected: str | None
) -> None:
    client = World().client("a")
    ref, _ = client.open(durable=durable, **opened)
    assert client.table.disconnect(ref)
    result = client.reconnect(ref, **back)
    assert (None if isinstance(result, Reconnected) else result) == expected


READER = constants.FILE_READ_DATA


@pytest.mark.parametrize("durable", [V1, V2, PERSISTENT, None], ids=["v1", "v2", "persistent", "resilient"])
@pytest.mark.parametrize(
    ("opened", "back", "expected"),
    [
        ({}, {}, None),
        ({}, {"share": "S"}, None),
        ({}, {"share": "other"}, NOT_FOUND),
        ({"dialect": 0x311}, {"dialect": 0x311}, None),
        ({"dialect": 0x311}, {"dialect": 0x300}, NOT_FOUND),
        ({"dialect": 0x300}, {"dialect": 0x311}, NOT_FOUND),
        ({"dialect": 0}, {"dialect": 0x311}, None),  # noted on the disk by a server that kept no dialect
        ({"protection": 2}, {"protection": 2}, None),
        ({"protection": 2}, {"protection": 1}, "STATUS_ACCESS_DENIED"),
        ({"protection": 1}, {"protection": 0}, "STATUS_ACCESS_DENIED"),
        ({"protection": 1}, {"protection": 2}, None),
        ({}, {"read_only": True}, "STATUS_ACCESS_DENIED"),
        ({"access": READER}, {"read_only": True}, None),
    ],
)
def test_an_open_comes_back_as_it_was_made_alone_and_a_refusal_leaves_it_to_its_client(
    tmp_path: Path, durable: DurableRequest | None, opened: dict[str, Any], back: dict[str, Any], expected: str | None
) -> None:
    """Through its share, with its dialect and its protection, where its user may still write; what is refused has
    neither taken the open nor put off its end."""
    world = World(state=StateDirectory(tmp_path))
    client = world.client("a")
    right: dict[str, Any] = {}
    if durable is not None:
        right = {"version": durable.version, "create_guid": durable.create_guid, "persistent": durable.persistent}
    own = {name: opened[name] for name in ("dialect", "protection") if name in opened}
    own["dialect"] = own.get("dialect") or back.get("dialect", 0)
    ref, _ = client.open(oplock="b", durable=durable, **opened)
    if durable is None:
        client.table.make_resilient(ref, 60_000)
    client.table.keep(ref, "kept")
    assert client.table.disconnect(ref)
    world.settle(5.0)
    result = client.reconnect(ref, **(right | own | back))
    assert (None if isinstance(result, Reconnected) else result) == expected
    if expected is not None:
        found = client.find_kept(ref, **(right | own))
        assert found is None, "what was kept with it is still here"
        result = client.reconnect(ref, **(right | own))
        assert isinstance(result, Reconnected) and result.handle == "kept"


def test_a_refusal_does_not_put_off_the_scavenger() -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock="b", durable=V2)
    assert client.table.disconnect(ref)
    for _ in range(9):
        world.settle(1.0)
        assert client.reconnect(ref, version=2, create_guid=GUID, share="other") == NOT_FOUND
        assert client.reconnect(ref, version=2, create_guid=GUID, owner="mallory") == "STATUS_ACCESS_DENIED"
    world.settle(1.2)
    assert len(world.purged) == 1


def test_looking_for_a_kept_open_changes_nothing(store: Store) -> None:
    world = World(store, workers=2)
    client, other = world.client("a"), world.client("a", 1)
    ref, _ = client.open(oplock="b", durable=V2)
    client.table.disconnect(ref)
    right = {"version": 2, "create_guid": GUID}
    for _ in range(2):
        found = other.find_kept(ref, **right)
        assert isinstance(found, OpenRequest) and found.ref == ref and found.share == "s"
        assert other.find_kept(ref, **right, share="other") == NOT_FOUND
    assert isinstance(client.reconnect(ref, **right), Reconnected)
    assert client.find_kept(ref, **right) == NOT_FOUND


def test_an_open_that_is_in_use_is_not_reclaimed() -> None:
    client = World().client("a")
    ref, _ = client.open(oplock="b", durable=V2)
    assert client.reconnect(ref, version=2, create_guid=GUID) == NOT_FOUND


def test_nobody_comes_back_in_time(store: Store) -> None:
    """MS-SMB2 3.3.2.2: the durable open scavenger."""
    world = World(store)
    client = world.client("a")
    ref, _ = client.open(oplock="b", durable=V2, share="")
    client.table.keep(ref, "kept")
    assert client.table.disconnect(ref)
    world.settle(9.9)
    assert world.purged == []
    world.settle(0.2)
    assert [(purged.ref, purged.handle, purged.outcome.delete) for purged in world.purged] == [(ref, "kept", False)]
    assert client.reconnect(ref, version=2, create_guid=GUID) == NOT_FOUND
    assert store.empty


def test_coming_back_stops_the_scavenger() -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock="b", durable=V2)
    client.table.disconnect(ref)
    world.settle(5.0)
    assert isinstance(client.reconnect(ref, version=2, create_guid=GUID), Reconnected)
    world.settle(100.0)
    assert world.purged == []
    client.table.disconnect(ref)
    world.settle(9.0)
    assert world.purged == []
    world.settle(2.0)
    assert len(world.purged) == 1


@pytest.mark.parametrize("opened", [BATCH, LEASED, {"lease": "RH", "key": "k", "share": ""}])
def test_who_is_away_gives_way(store: Store, opened: dict[str, Any]) -> None:
    """MS-SMB2 3.3.4.6, 3.3.4.7: a break without a connection ends a durable open."""
    world = World(store)
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(durable=V1, **opened)
    a.table.disconnect(ref)
    second, granted = b.open(lease="RWH", key="k2")
    assert granted == "RWH"
    assert [purged.ref for purged in world.purged] == [ref]
    assert a.reconnect(ref, lease=opened.get("key")) == NOT_FOUND
    assert world.breaks() == []
    b.table.close(second)
    assert store.empty


def test_who_is_away_with_handles_only_is_left_alone() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(durable=V1, lease="RH", key="k")
    a.table.disconnect(ref)
    assert b.open()[1] == ""
    assert isinstance(a.reconnect(ref, lease="k"), Reconnected)


def test_without_a_state_directory_nothing_is_persistent() -> None:
    grant = World().client("a").ask(durable=PERSISTENT, oplock="b")[1].result()
    assert (grant.durable, grant.persistent) == (True, False)


def test_a_persistent_open_does_not_give_way(state: StateDirectory) -> None:
    world = World(state=state)
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(durable=PERSISTENT, lease="RWH", key="k", version=2, share="")
    a.table.disconnect(ref)
    assert b.open()[1] == "STATUS_FILE_NOT_AVAILABLE"
    back = a.reconnect(ref, version=2, create_guid=GUID, lease="k", lease_version=2, persistent=True)
    assert isinstance(back, Reconnected)
    assert (back.grant.persistent, back.grant.lease is not None) == (True, True)


def test_the_create_guid_finds_an_open_again(store: Store) -> None:
    """MS-SMB2 3.3.5.9.10: for a replayed CREATE."""
    client = World(store).client("a")
    ref, _ = client.open(oplock="b", durable=V2, stream="s")
    assert client.table.find_replay(client.guid, GUID) == ref
    assert client.table.find_replay(b"x" * 16, GUID) is None
    client.table.close(ref)
    assert client.table.find_replay(client.guid, GUID) is None


def test_the_create_guid_finds_an_open_that_still_waits(store: Store) -> None:
    """MS-SMB2 3.3.5.9.10: the first CREATE is under way."""
    client = World(store).client("a")
    first, _ = client.open(oplock="b")
    ref, future = client.ask(oplock="b", durable=V2)
    assert client.table.find_replay(client.guid, GUID) == ref
    future.cancel()
    assert client.table.find_replay(client.guid, GUID) is None
    ref, future = client.ask(oplock="b", durable=V2)
    client.table.close(first)
    assert answer(future) == "b"
    assert client.table.find_replay(client.guid, GUID) == ref
    client.table.close(ref)
    assert store.empty


def instance(version: tuple[int, int] | None = None) -> DurableRequest:
    return DurableRequest(2, GUID, 0, app_instance_id=b"i" * 16, app_instance_version=version)


def test_an_application_fails_over_to_another_client() -> None:
    """MS-SMB2 3.3.5.9.13: the instance's old open is closed for the new one."""
    world = World()
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(oplock="b", durable=instance(), share="")
    assert b.open(oplock="b", durable=instance(), share="")[1] == "b"
    assert [purged.ref for purged in world.purged] == [ref]
    assert world.breaks() == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [((1, 0), (1, 1), "b"), ((1, 1), (2, 0), "b"), ((1, 1), (1, 1), "0xC00000B6"), ((2, 0), (1, 9), "0xC00000B6"),
     (None, (1, 0), "b"), ((1, 0), None, "b")],
)  # fmt: skip
def test_a_failover_needs_a_later_version(
    old: tuple[int, int] | None, new: tuple[int, int] | None, expected: str
) -> None:
    """MS-SMB2 3.3.5.9.13, STATUS_FILE_FORCED_CLOSED."""
    world = World()
    world.client("a").open(oplock="b", durable=instance(old), share="")
    granted = world.client("b").open(oplock="b", durable=instance(new), share="")[1]
    assert granted.replace("STATUS_FILE_FORCED_CLOSED", "0xC00000B6") == expected
    assert bool(world.purged) == (expected == "b")


@pytest.mark.parametrize(
    ("more", "displaced"),
    [({}, True), ({"through": "other"}, False), ({"access": constants.FILE_WRITE_DATA}, False),
     ({"access": constants.FILE_WRITE_DATA, "owner": "a"}, True)],
)  # fmt: skip
def test_a_failover_is_of_a_share_and_of_who_may_read(more: dict[str, Any], displaced: bool) -> None:
    """MS-SMB2 3.3.5.9.13."""
    world = World()
    first, second = world.client("a"), world.client("b")
    durable = DurableRequest(2, GUID, 60_000, False, b"I" * 16)
    first.open(oplock="b", durable=durable)
    second.ask(durable=replace(durable, create_guid=b"h" * 16), **more)
    assert bool(world.purged) == displaced


def test_a_failover_is_of_one_stream() -> None:
    """MS-SMB2 3.3.5.9.13: the path name is the same, with the stream in it."""
    world = World()
    first, second = world.client("a"), world.client("b")
    first.open(stream="s", oplock="b", durable=instance())
    second.ask(durable=instance())
    assert not world.purged
    second.ask(stream="s", durable=instance())
    assert len(world.purged) == 1


def test_a_failover_needs_no_request_for_a_durable_open() -> None:
    """MS-SMB2 3.3.5.9.13."""
    world = World()
    first, second = world.client("a"), world.client("b")
    alone = DurableRequest(0, app_instance_id=b"i" * 16)
    ref, _ = first.open(oplock="b", durable=alone, share="")
    assert second.open(oplock="b", durable=alone, share="")[1] == "b"
    assert [purged.ref for purged in world.purged] == [ref]


def test_a_scavenged_open_deletes_what_it_was_to_delete(state: StateDirectory) -> None:
    world = World(state=state)
    client = world.client("a")
    ref, _ = client.open(durable=PERSISTENT, access=constants.FILE_ALL_ACCESS)
    assert answer(client.table.set_delete_on_close(ref, True)) == "ok"
    client.table.disconnect(ref)
    world.settle(11.0)
    assert [purged.outcome.delete for purged in world.purged] == [True]


def test_persistent_opens_outlive_the_server(tmp_path: Path) -> None:
    """With their lease and their locks, but not those that were closed, nor plain durable ones."""
    state = StateDirectory(tmp_path / "state")
    world = World(state=state)
    client = world.client("a")
    ref, _ = client.open(1, durable=PERSISTENT, lease="RWH", key="k", version=2, epoch=7, path="F", stream="s")
    client.lock(ref, 0, 10)
    client.lock(ref, 100, 10)
    client.unlock(ref, 0, 10)
    closed, _ = client.open(2, durable=DurableRequest(2, b"h" * 16, 0, persistent=True))
    client.lock(closed, 0, 1)
    client.table.close(closed)
    client.open(3, durable=V1, oplock="b")
    state.close()

    state = StateDirectory(tmp_path / "state")
    world = World(state=state)
    world.next_open = 100
    assert world.tables[0].adopt_persistent() == 1
    client, other = world.client("a"), world.client("b")
    assert world.store.files() == [(1, 1)]
    assert other.open(1, stream="s")[1] == "STATUS_FILE_NOT_AVAILABLE"
    assert client.open(9, lease="R", key="k")[1] == "STATUS_INVALID_PARAMETER"
    assert client.table.find_replay(client.guid, GUID) == ref
    assert world.store.lock_count((1, 1), "s") == 1
    back = client.reconnect(ref, version=2, create_guid=GUID, lease="k", lease_version=2, persistent=True, path="f")
    assert isinstance(back, Reconnected)
    assert back.grant.lease is not None
    assert (back.grant.lease.state, back.grant.lease.epoch, back.handle) == (7, 8, None)
    assert client.unlock(ref, 100, 10) == "ok"
    client.table.close(ref)
    assert state.load() == []
    assert world.store.empty
    state.close()


def test_a_break_of_a_persistent_lease_is_noted_and_its_time_runs_out_after_a_restart(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    world = World(state=state)
    world.client("a").open(durable=PERSISTENT, lease="RWH", key="k", version=2)
    world.client("b").ask()
    assert world.breaks() == ["k:RWH>RH!"]
    state.close()

    state = StateDirectory(tmp_path / "state")
    world = World(state=state)
    world.next_open = 100
    world.tables[0].adopt_persistent()
    assert world.client("b").open()[1] == ""  # RH is left, which holds nobody up
    assert world.client("b").open(share="")[1] == "STATUS_FILE_NOT_AVAILABLE"
    world.settle(11.0)
    assert len(world.purged) == 1
    assert state.load() == []
    state.close()
