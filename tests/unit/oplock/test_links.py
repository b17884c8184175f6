# SPDX-License-Identifier: GPL-2.0-or-later
"""Deleting and renaming are of a name, share modes and caches of the file (MS-FSA 2.1.1.5, 2.1.5.5, 2.1.5.15.3)."""
from __future__ import annotations

import marshal
from pathlib import Path

import pytest

from ksmbd.oplock.record import OpenEntry
from ksmbd.oplock.state import FILE, StateDirectory
from ksmbd.oplock.state_rebuild import rebuild
from ksmbd.oplock.store import Store
from ksmbd.smb import constants
from ksmbd.smb.ports import CloseOutcome, DurableRequest, OpenRef

from .world import Client, World, answer

ALL = constants.FILE_ALL_ACCESS
STAYS = CloseOutcome(False)
NAME_GOES = CloseOutcome(True, True)
DELETED = constants.FILE_DELETE_ON_CLOSE


def by(client: Client, name: str, parent: int = 9, posix: bool = False, stream: str = "", options: int = 0) -> OpenRef:
    """File 1, opened by one of its names."""
    ref, granted = client.open(
        1, parent=parent, name=name.encode(), path=name, access=ALL, posix=posix, stream=stream, options=options
    )
    assert granted == "", granted
    return ref


def refused(client: Client, name: str, parent: int = 9) -> str:
    """What opening file 1 by this name answers; "" and closed again where it is granted."""
    ref, granted = client.open(1, parent=parent, name=name.encode(), path=name)
    if granted == "":
        client.table.close(ref)
    return granted


def mark(client: Client, ref: OpenRef, delete: bool = True, posix: bool = False) -> None:
    assert answer(client.table.set_delete_on_close(ref, delete, posix)) == "ok"


def test_one_name_goes_while_another_is_open(store: Store) -> None:
    world = World(store)
    client = world.client("a")
    a, b = by(client, "a"), by(client, "b")
    mark(client, b)
    assert client.table.link_deleted(b) and not client.table.link_deleted(a)
    assert (refused(client, "a"), refused(client, "b")) == ("", "STATUS_DELETE_PENDING")
    assert client.table.close(b) == NAME_GOES
    assert refused(client, "b") == ""  # somebody made it again
    assert client.table.close(a) == STAYS
    assert store.empty


def test_the_last_open_by_the_name_lets_it_go(store: Store) -> None:
    world = World(store)
    client = world.client("a")
    a, b, again = by(client, "a"), by(client, "b"), by(client, "b")
    mark(client, b)
    assert client.table.close(b) == STAYS
    assert refused(client, "b") == "STATUS_DELETE_PENDING"
    mark(client, a)
    assert client.table.close(a) == NAME_GOES
    assert client.table.close(again) == NAME_GOES
    assert store.empty


def test_the_same_name_in_another_folder_is_another_one(store: Store) -> None:
    client = World(store).client("a")
    here, there = by(client, "a"), by(client, "a", 10)
    mark(client, here)
    assert (refused(client, "a"), refused(client, "a", 10)) == ("STATUS_DELETE_PENDING", "")
    assert (client.table.close(there), client.table.close(here)) == (STAYS, NAME_GOES)


def test_delete_on_close_is_of_the_name(store: Store) -> None:
    client = World(store).client("a")
    a, b = by(client, "a"), by(client, "b", options=DELETED)
    assert client.table.close(b) == NAME_GOES
    assert client.table.close(a) == STAYS
    assert store.empty


def test_share_modes_are_of_the_file(store: Store) -> None:
    client = World(store).client("a")
    client.open(1, parent=9, name=b"a", share="RW")
    assert client.open(1, parent=9, name=b"b", access=constants.DELETE)[1] == "STATUS_SHARING_VIOLATION"


def test_a_stream_belongs_to_the_file_and_keeps_its_name_open(store: Store) -> None:
    client = World(store).client("a")
    file, stream, other = by(client, "a"), by(client, "a", stream="S"), by(client, "b", stream="S")
    mark(client, file)
    assert client.table.close(file) == STAYS
    mark(client, other)
    assert client.table.close(stream) == NAME_GOES
    assert client.table.close(other) == CloseOutcome(True)
    assert store.empty


def test_a_renamed_name_takes_its_deletion_along(store: Store) -> None:
    client = World(store).client("a")
    a, again, b = by(client, "a"), by(client, "a"), by(client, "b")
    client.table.renamed(again, "d\\c", (1, 10), b"c")
    mark(client, a)
    assert (refused(client, "a"), refused(client, "b"), refused(client, "c", 10)) == ("", "", "STATUS_DELETE_PENDING")
    record = client.world.store.peek((1, 1))
    assert record is not None
    assert [record.opens[ref.open_id].path for ref in (a, again, b)] == ["d\\c", "d\\c", "b"]
    # As when another worker is quicker than the rename on the disk:
    client.table.renamed(again, "e", (1, 9), b"e")
    assert (refused(client, "c", 10), refused(client, "e")) == ("", "STATUS_DELETE_PENDING")
    assert client.table.close(a) == STAYS
    assert client.table.close(again) == NAME_GOES


@pytest.mark.parametrize("how", ["create context", "disposition", "delete on close"])
def test_a_posix_deletion_takes_the_name_at_once(store: Store, how: str) -> None:
    client = World(store).client("a")
    other = by(client, "a")
    own = by(client, "a", posix=how != "disposition", options=DELETED if how == "delete on close" else 0)
    if how != "delete on close":
        mark(client, own, posix=how == "disposition")
        mark(client, own, False)
        assert not client.table.link_deleted(own)
        mark(client, own, posix=how == "disposition")
    assert client.table.close(own) == NAME_GOES
    assert refused(client, "a") == ""  # another file's by now, or this one's again
    assert client.table.close(other) == STAYS
    assert store.empty


def test_a_posix_open_lets_others_deletions_wait(store: Store) -> None:
    client = World(store).client("a")
    own, other = by(client, "a", posix=True), by(client, "a")
    mark(client, other)
    assert client.table.close(own) == STAYS
    mark(client, other, False)
    assert client.table.close(other) == STAYS


def test_workers_agree_on_names(store: Store) -> None:
    world = World(store, workers=2)
    one, two = world.client("a"), world.client("b", 1)
    a, b = by(one, "a"), by(two, "b")
    mark(two, b)
    assert (refused(one, "b"), refused(one, "a")) == ("STATUS_DELETE_PENDING", "")
    assert (one.table.close(a), two.table.close(b)) == (STAYS, NAME_GOES)


def test_a_dead_worker_takes_no_other_name_along(store: Store) -> None:
    world = World(store, workers=2)
    one, two = world.client("a"), world.client("b", 1)
    a, b = by(one, "a"), by(two, "b")
    mark(two, b)
    one.table.worker_died(1, 0)
    assert [(purged.ref, purged.outcome) for purged in world.purged] == [(b, NAME_GOES)]
    assert refused(one, "b") == ""
    assert one.table.close(a) == STAYS
    assert store.empty


def persistent(client: Client, name: str, number: int) -> OpenRef:
    durable = DurableRequest(2, bytes([number]) * 16, 60_000, True)
    ref, granted = client.open(
        1, parent=9, name=name.encode(), path=f"d\\{name}", access=ALL, durable=durable
    )
    assert granted == "", granted
    return ref


def test_names_to_be_deleted_outlive_the_server(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    client = World(state=state).client("a")
    a, b = persistent(client, "a", 1), persistent(client, "b", 2)
    short = by(client, "c")
    mark(client, b)
    mark(client, short)
    [(_, adopted)] = state.load()
    assert adopted.deleted_links == {(1, 9, b"b")}  # who had c open is gone with the server
    assert {entry.name for entry in adopted.opens} == {b"a", b"b"}
    after = World(state=state)
    after.next_open = 100
    assert after.tables[0].adopt_persistent() == 1
    late = after.client("z")
    assert (refused(late, "b"), refused(late, "a")) == ("STATUS_DELETE_PENDING", "")
    assert after.tables[0].close(OpenRef(a.file, "", b.open_id)) == NAME_GOES
    assert after.tables[0].close(OpenRef(a.file, "", a.open_id)) == STAYS
    state.close()


def test_what_a_server_of_before_kept_is_read(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    fields = OpenEntry(
        5, "", 0, 0, b"g" * 16, 1, "o", "s", "d\\a", False, ALL, 7, 0, (1, 9), False, b"", 2, True, b"c" * 16, b"",
        None, 60_000, False, 0.0, b"",
    )  # fmt: skip
    old = tuple(fields)[: OpenEntry._fields.index("name")]
    with state._env.begin(write=True) as txn:
        txn.put(FILE.pack(1, 1), marshal.dumps((3, [old], [], ["", "s"])), db=state._records)
    state.close()
    assert rebuild(tmp_path, lambda key, handle: False).kept == 1  # as the server does before it serves
    state = StateDirectory(tmp_path)
    [(file, adopted)] = state.load()
    assert file == (1, 1)
    assert [entry.name for entry in adopted.opens] == [b"a"]
    assert (set(adopted.deleted_links), set(adopted.delete_pending)) == ({(1, 9, b"a")}, {"s"})
    state.close()
