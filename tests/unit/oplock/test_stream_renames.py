# SPDX-License-Identifier: GPL-2.0-or-later
"""The open table while a stream is renamed (MS-FSA 2.1.5.15.11.1): the open, its locks and its lease go along."""
from __future__ import annotations

from typing import Any, Final

import pytest

from ksmbd.oplock.store import Store
from ksmbd.smb import constants
from ksmbd.smb.ports import CloseOutcome, DurableRequest, Reconnected

from .world import DATA, World, answer

MOVES: Final[dict[str, Any]] = {"access": DATA | constants.DELETE, "stream": "S"}


@pytest.mark.parametrize("target", ["T", ""])
def test_opens_of_the_new_name_meet_the_renamed_open(store: Store, target: str) -> None:
    client = World(store).client("a")
    ref, _ = client.open(share="R", **MOVES)
    assert answer(client.table.check_stream_rename(ref, target)) == "ok"
    moved = client.table.stream_renamed(ref, target)
    assert (moved.file, moved.stream, moved.open_id) == (ref.file, target, ref.open_id)
    assert client.open(stream=target)[1] == "STATUS_SHARING_VIOLATION"
    again, granted = client.open(stream="S", share="D")
    assert granted == ""
    assert client.table.close(again) == client.table.close(moved) == CloseOutcome(False)
    assert store.empty


@pytest.mark.parametrize("target", ["T", ""])
def test_an_open_target_stays_what_it_is(store: Store, target: str) -> None:
    client = World(store).client("a")
    ref, _ = client.open(**MOVES)
    client.open(stream=target)
    assert answer(client.table.check_stream_rename(ref, target)) == "STATUS_ACCESS_DENIED"


def test_a_stream_that_others_have_open_keeps_its_name(store: Store) -> None:
    world = World(store)
    client, other = world.client("a"), world.client("b")
    ref, _ = client.open(**MOVES)
    beside, _ = other.open(stream="S")
    assert answer(client.table.check_stream_rename(ref, "")) == "STATUS_SHARING_VIOLATION"
    other.table.close(beside)
    assert answer(client.table.check_stream_rename(ref, "")) == "ok"


@pytest.mark.parametrize("cached", ["S", "", "T"])
def test_cached_handles_of_either_stream_are_asked_for(store: Store, cached: str) -> None:
    world = World(store)
    client, other = world.client("a"), world.client("b")
    ref, _ = client.open(**MOVES)
    kept, _ = other.open(lease="RH", key="k", stream=cached)
    rename = client.table.check_stream_rename(ref, "T" if cached == "T" else "")
    assert answer(rename) == "wait"
    assert world.breaks() == ["k:RH>R!"]
    other.table.close(kept)
    world.settle()
    assert answer(rename) == "ok"


def test_what_is_to_be_deleted_keeps_its_name(store: Store) -> None:
    client = World(store).client("a")
    ref, _ = client.open(**MOVES)
    assert answer(client.table.set_delete_on_close(ref, True)) == "ok"
    for target in ("", "T"):
        assert answer(client.table.check_stream_rename(ref, target)) == "STATUS_ACCESS_DENIED"


def test_the_end_of_the_open_does_not_delete_the_file(store: Store) -> None:
    """FILE_DELETE_ON_CLOSE was asked for the stream alone."""
    client = World(store).client("a")
    ref, _ = client.open(options=constants.FILE_DELETE_ON_CLOSE, **MOVES)
    assert answer(client.table.check_stream_rename(ref, "")) == "STATUS_ACCESS_DENIED"
    assert answer(client.table.check_stream_rename(ref, "T")) == "ok"
    assert client.table.close(client.table.stream_renamed(ref, "T")) == CloseOutcome(True)
    assert store.empty


def test_locks_go_along(store: Store) -> None:
    world = World(store)
    client, other = world.client("a"), world.client("b")
    ref, _ = client.open(**MOVES)
    assert answer(client.lock(ref, 0, 10)) == "ok"
    moved = client.table.stream_renamed(ref, "")
    file, _ = other.open()
    stream, _ = other.open(stream="S")
    assert other.io(file, 0, 5, True) == "STATUS_FILE_LOCK_CONFLICT"
    assert (other.io(stream, 0, 5, True), client.io(moved, 0, 5, True)) == ("ok", "ok")
    assert client.unlock(moved, 0, 10) == "ok"
    assert other.io(file, 0, 5, True) == "ok"
    for client_, one in ((other, file), (other, stream), (client, moved)):
        client_.table.close(one)
    assert store.empty


def test_the_lease_goes_along(store: Store) -> None:
    world = World(store)
    client, other = world.client("a"), world.client("b")
    ref, granted = client.open(lease="RWH", key="k", **MOVES)
    assert granted == "RWH"
    moved = client.table.stream_renamed(ref, "")
    other.open(stream="S")
    assert world.breaks() == []
    _, future = other.ask()
    assert world.breaks() == ["k:RWH>RH!"]
    assert client.acknowledge("k", "RH") == "RH"
    world.settle()
    assert answer(future) == ""
    assert client.open(lease="R", key="k")[1] == "RH"
    client.table.close(moved)


def test_a_durable_open_is_reclaimed_by_its_new_name(store: Store) -> None:
    client = World(store).client("a")
    ref, _ = client.open(oplock="b", durable=DurableRequest(1), **MOVES)
    moved = client.table.stream_renamed(ref, "")
    assert client.table.disconnect(moved)
    found = client.reconnect(moved)
    assert isinstance(found, Reconnected) and found.request.ref == moved
    assert client.table.close(moved) == CloseOutcome(False)
    assert store.empty
