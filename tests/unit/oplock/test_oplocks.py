# SPDX-License-Identifier: GPL-2.0-or-later
"""Oplocks and share modes through the open table: MS-FSA 2.1.4.12, 2.1.5.1.2, 2.1.5.18; MS-SMB2 3.3.5.22.1."""
from __future__ import annotations

from itertools import product

import pytest

from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import Store
from ksmbd.smb import constants
from ksmbd.smb.ports import BreakKind, DurableRequest, OpenRef, Replaced
from ksmbd.smb.waiting import Cancelled

from .world import DATA, STAT, World, answer

ALL = constants.FILE_ALL_ACCESS
TARGET = Replaced((1, 2), None, b"")
ATTRIBUTES = constants.FILE_READ_ATTRIBUTES | constants.FILE_WRITE_ATTRIBUTES | constants.SYNCHRONIZE


@pytest.mark.parametrize("level", ["", "s", "x", "b"])
def test_the_first_gets_what_it_asks_for(level: str) -> None:
    assert World().client("a").open(oplock=level)[1] == level


@pytest.mark.parametrize(
    ("disposition", "left"),
    [(constants.FILE_SUPERSEDE, ""), (constants.FILE_OPEN, "s"), (constants.FILE_OVERWRITE_IF, ""),
     (constants.FILE_OPEN_IF, "s"), (constants.FILE_OVERWRITE, "")],
)  # fmt: skip
@pytest.mark.parametrize("held", "xb")
def test_a_second_open_breaks_an_exclusive_oplock(held: str, disposition: int, left: str) -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock=held)
    _, second = client.ask(oplock="b", disposition=disposition)
    assert answer(second) == "wait"
    assert world.breaks() == [f"{ref.open_id}>{left}!"]
    assert client.acknowledge_oplock(ref, left) == left
    world.settle()
    assert answer(second) == "s"


def test_an_exclusive_oplock_survives_a_sharing_violation_and_a_batch_one_does_not() -> None:
    """Batch means cached handles, so its holder may end the conflict by closing; exclusive does not."""
    world = World()
    client = world.client("a")
    client.open(1, oplock="x", share="")
    assert client.open(1)[1] == "STATUS_SHARING_VIOLATION"
    assert world.breaks() == []
    ref, _ = client.open(2, oplock="b", share="")
    _, second = client.ask(2, oplock="b", share="")
    assert world.breaks() == [f"{ref.open_id}>s!"]
    client.table.close(ref)
    assert answer(second) == "b"


def test_level_ii_breaks_untold_and_with_its_own_writes() -> None:
    """MS-FSA 2.1.4.12: unlike a lease, a level II oplock goes with the writes of its own open."""
    world = World()
    client = world.client("a")
    first, _ = client.open(oplock="s")
    second, _ = client.open(oplock="s")
    assert answer(client.table.break_caching(first, BreakKind(True, True, False))) == "ok"
    assert sorted(world.breaks()) == [f"{first.open_id}>", f"{second.open_id}>"]
    assert client.acknowledge_oplock(first, "") == "STATUS_INVALID_OPLOCK_PROTOCOL"


@pytest.mark.parametrize("level", "xb")
def test_an_exclusive_holder_writes_and_locks_without_a_break(level: str) -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock=level)
    assert answer(client.table.break_caching(ref, BreakKind(True, True, False))) == "ok"
    assert answer(client.lock(ref, 0, 4)) == "ok"
    assert world.breaks() == []


def test_a_lock_breaks_level_ii_of_all_but_a_refused_one_does_not() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    first, _ = a.open(oplock="s")
    b.open()
    assert answer(a.lock(first, 0, 4)) == "ok"
    assert world.breaks() == [f"{first.open_id}>"]
    assert answer(a.lock(first, 2, 4)) == "STATUS_LOCK_NOT_GRANTED"
    assert world.breaks() == []
    assert b.open(oplock="s")[1] == ""  # no caching beside byte-range locks


def test_attribute_opens_break_nothing_unless_they_overwrite() -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock="b", share="RWD")
    assert client.open(oplock="b", access=ATTRIBUTES)[1] == ""
    assert world.breaks() == []
    _, second = client.ask(oplock="b", access=ATTRIBUTES, disposition=constants.FILE_OVERWRITE)
    assert world.breaks() == [f"{ref.open_id}>!"]
    client.acknowledge_oplock(ref, "")
    world.settle()
    assert answer(second) == "s"


def test_read_control_breaks_an_oplock() -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock="b")
    _, second = client.ask(access=constants.READ_CONTROL)
    assert world.breaks() == [f"{ref.open_id}>s!"]
    assert answer(second) == "wait"


def test_an_attribute_open_may_hold_a_batch_oplock() -> None:
    world = World()
    client = world.client("a")
    ref, granted = client.open(oplock="b", access=ATTRIBUTES, created=True, disposition=constants.FILE_CREATE)
    assert granted == "b"
    _, second = client.ask(oplock="b", access=ALL)
    assert world.breaks() == [f"{ref.open_id}>s!"]
    client.acknowledge_oplock(ref, "s")
    world.settle()
    assert answer(second) == "s"


def test_a_wrong_acknowledgment_ends_the_oplock() -> None:
    """MS-SMB2 3.3.5.22.1."""
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock="b")
    _, second = client.ask()
    assert client.acknowledge_oplock(ref, "b") == "STATUS_INVALID_OPLOCK_PROTOCOL"
    world.settle()
    assert answer(second) == ""
    assert client.acknowledge_oplock(ref, "s") == "STATUS_INVALID_OPLOCK_PROTOCOL"


def test_no_acknowledgment_in_time_takes_the_oplock() -> None:
    """MS-SMB2 3.3.6.1."""
    world = World(settings=OplockSettings(break_timeout=3.0))
    client = world.client("a")
    client.open(oplock="b")
    _, second = client.ask(oplock="s")
    world.settle(3.0)
    assert answer(second) == "s"


def test_who_cancels_is_not_opened() -> None:
    world = World()
    client = world.client("a")
    first, _ = client.open(oplock="b")
    _, second = client.ask()
    second.cancel()
    client.table.close(first)
    world.settle(100.0)
    assert world.store.empty


def test_without_oplocks_nobody_caches() -> None:
    client = World(settings=OplockSettings(oplocks=False)).client("a")
    assert client.open(oplock="b")[1] == ""
    assert client.open(lease="RWH", key="k")[1] == ""
    client = World(settings=OplockSettings(leases=False)).client("a")
    _, future = client.ask(lease="RWH", key="k")
    assert (future.result().lease, future.result().oplock_level) == (None, 0)


ACCESSES = {
    "read": (constants.FILE_READ_DATA, "R"),
    "execute": (constants.FILE_EXECUTE, "R"),
    "write": (constants.FILE_WRITE_DATA, "W"),
    "append": (constants.FILE_APPEND_DATA, "W"),
    "delete": (constants.DELETE, "D"),
    "stat": (STAT, ""),
    "control": (constants.READ_CONTROL | constants.WRITE_DAC, ""),
}
MODES = ("", "R", "W", "D", "RW", "RD", "WD", "RWD")


@pytest.mark.parametrize(("first", "second"), list(product(ACCESSES, ACCESSES)))
def test_share_modes(first: str, second: str) -> None:
    """MS-FSA 2.1.5.1.2.2, all combinations of access and ShareAccess."""
    access_1, needs_1 = ACCESSES[first]
    access_2, needs_2 = ACCESSES[second]
    for share_1, share_2 in product(MODES, MODES):
        client = World().client("a")
        client.open(access=access_1, share=share_1)
        both = needs_1 and needs_2
        excluded = both and (needs_2 not in share_1 or needs_1 not in share_2)
        expected = "STATUS_SHARING_VIOLATION" if excluded else ""
        assert client.open(access=access_2, share=share_2)[1] == expected


def test_share_modes_count_per_stream_and_deletion_for_all() -> None:
    """MS-FSA 2.1.5.1.2.2: streams do not exclude each other, but one that forbids deletion does so for the file."""
    client = World().client("a")
    client.open(stream="s", share="")
    assert client.open(share="")[1] == ""
    assert client.open(2, stream="s", share="RW")[1] == ""
    assert client.open(2, access=constants.DELETE)[1] == "STATUS_SHARING_VIOLATION"
    client.open(3, access=constants.DELETE)
    assert client.open(3, stream="s", share="RW")[1] == "STATUS_SHARING_VIOLATION"
    assert client.open(3, stream="s", share="RWD")[1] == ""


def test_delete_on_close_takes_the_file_with_the_last_close() -> None:
    world = World()
    client = world.client("a")
    first, _ = client.open(access=ALL, options=constants.FILE_DELETE_ON_CLOSE)
    second, _ = client.open()
    assert not client.table.delete_pending((1, 1))
    assert not client.table.close(first).delete
    assert client.table.delete_pending((1, 1))
    assert client.open()[1] == "STATUS_DELETE_PENDING"
    assert client.open(access=STAT)[1] == "STATUS_DELETE_PENDING"
    assert client.open(stream="s")[1] == "STATUS_DELETE_PENDING"
    assert client.table.close(second).delete
    assert client.open()[1] == ""


def test_a_disposition_can_be_taken_back_and_needs_delete_access() -> None:
    client = World().client("a")
    ref, _ = client.open(access=ALL)
    assert answer(client.table.set_delete_on_close(ref, True)) == "ok"
    assert client.open()[1] == "STATUS_DELETE_PENDING"
    assert answer(client.table.set_delete_on_close(ref, False)) == "ok"
    other, granted = client.open()
    assert granted == ""
    assert answer(client.table.set_delete_on_close(other, True)) == "STATUS_ACCESS_DENIED"
    client.table.close(other)
    assert not client.table.close(ref).delete


def test_deleting_a_stream_leaves_the_file() -> None:
    client = World().client("a")
    base, _ = client.open()
    stream, _ = client.open(stream="s", access=ALL)
    assert answer(client.table.set_delete_on_close(stream, True)) == "ok"
    assert client.open(stream="s")[1] == "STATUS_DELETE_PENDING"
    assert client.open()[1] == ""
    outcome = client.table.close(stream)
    assert (outcome.delete, outcome.whole_file) == (True, False)
    assert client.open(stream="s")[1] == ""
    assert not client.table.close(base).delete


def test_a_deleted_file_goes_with_its_last_stream() -> None:
    client = World().client("a")
    base, _ = client.open(access=ALL, options=constants.FILE_DELETE_ON_CLOSE)
    stream, _ = client.open(stream="s")
    assert not client.table.close(base).delete
    outcome = client.table.close(stream)
    assert (outcome.delete, outcome.whole_file) == (True, True)


def test_a_pending_deletion_breaks_nothing() -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock="b", access=ALL)
    assert answer(client.table.set_delete_on_close(ref, True)) == "ok"
    assert client.open(access=constants.FILE_READ_DATA)[1] == "STATUS_DELETE_PENDING"
    assert world.breaks() == []


def test_a_folder_with_open_files_is_not_renamed() -> None:
    world = World()
    client = world.client("a")
    folder, _ = client.open(9, path="Dir", directory=True, access=ALL)
    inside, _ = client.open(1, path="dir\\sub\\file")
    beside, _ = client.open(2, path="Dir2\\file")
    assert client.table.open_paths_below((1, 9))
    assert answer(client.table.check_rename(folder, None)) == "STATUS_ACCESS_DENIED"
    client.table.close(inside)
    assert not client.table.open_paths_below((1, 9))
    assert answer(client.table.check_rename(folder, None)) == "ok"
    client.table.renamed(folder, "Dir2", (1, 2), b"Dir2")
    assert client.table.open_paths_below((1, 9))
    client.table.close(beside)


def test_a_folder_waits_for_the_cached_handles_below_it() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    folder, _ = a.open(9, path="d", directory=True, access=ALL)
    inside, _ = b.open(1, path="d\\f", lease="RH", key="k")
    rename = a.table.check_rename(folder, None)
    assert answer(rename) == "wait"
    assert world.breaks() == ["k:RH>R!"]
    b.table.close(inside)
    world.settle()
    assert answer(rename) == "ok"


def test_a_rename_over_an_open_file(store: Store) -> None:
    """Opens that share deletion go on without their name; others refuse it, so that nobody's file is lost."""
    client = World(store).client("a")
    source, _ = client.open(1, access=ALL)
    stat, _ = client.open(2, access=STAT, share="")
    assert answer(client.table.check_rename(source, TARGET)) == "ok"
    shares, _ = client.open(2, access=DATA)
    assert answer(client.table.check_rename(source, TARGET)) == "ok"
    does_not, _ = client.open(2, access=DATA, share="RW")
    for posix in (False, True):
        assert answer(client.table.check_rename(source, TARGET, posix)) == "STATUS_ACCESS_DENIED"
        assert answer(client.table.check_replace(TARGET, posix)) == "STATUS_ACCESS_DENIED"
    client.table.close(does_not)
    assert answer(client.table.check_replace(TARGET)) == "ok"
    for ref in (stat, shares):
        client.table.close(ref)


def test_a_name_that_is_to_be_deleted_is_replaced_by_posix_clients_alone(store: Store) -> None:
    client = World(store).client("a")
    source, _ = client.open(1, access=ALL)
    target, _ = client.open(2, access=ALL, parent=9, name=b"b")
    client.open(2, access=ALL, parent=9, name=b"c")
    assert answer(client.table.set_delete_on_close(target, True)) == "ok"
    b, c = Replaced((1, 2), (1, 9), b"b"), Replaced((1, 2), (1, 9), b"c")
    assert answer(client.table.check_rename(source, b)) == "STATUS_DELETE_PENDING"
    assert answer(client.table.check_rename(source, c)) == "ok"
    assert answer(client.table.check_rename(source, b, True)) == "ok"


def test_a_file_that_waits_for_its_client_is_not_replaced(state: StateDirectory) -> None:
    world = World(state=state)
    client = world.client("a")
    source, _ = client.open(1, access=ALL)
    kept, _ = client.open(2, durable=DurableRequest(2, b"g" * 16, 60_000, True))
    assert client.table.disconnect(kept)
    assert answer(client.table.check_rename(source, TARGET)) == "STATUS_FILE_NOT_AVAILABLE"


def test_posix_clients_rename_a_folder_with_open_files(store: Store) -> None:
    world = World(store, workers=2)
    client, other = world.client("a"), world.client("b", 1)
    folder, _ = client.open(9, path="Dir", directory=True, access=ALL, parent=5, name=b"Dir")
    inside, _ = other.open(1, path="Dir\\sub\\file")
    alike, _ = other.open(2, path="dir\\file")
    assert answer(client.table.check_rename(folder, None, True)) == "ok"
    client.table.renamed(folder, "d2\\New", (1, 6), b"New")
    assert [peeked(world, 1, inside), peeked(world, 2, alike)] == ["d2\\New\\sub\\file", "dir\\file"]


def peeked(world: World, file: int, ref: OpenRef) -> str:
    """The path that the table has of an open."""
    record = world.store.peek((1, file))
    assert record is not None
    return record.opens[ref.open_id].path


@pytest.mark.parametrize(
    ("access", "share", "expected"),
    [(ALL, "RWD", "STATUS_SHARING_VIOLATION"), (ALL & ~constants.DELETE, "RWD", "ok"), (DATA, "RW", "ok"),
     (DATA, "R", "STATUS_SHARING_VIOLATION"), (DATA, "", "STATUS_SHARING_VIOLATION"), (STAT, "", "ok")],
)  # fmt: skip
def test_a_rename_opens_the_folder_to_add_to_it(access: int, share: str, expected: str) -> None:
    """MS-FSA 2.1.5.15.12: for writing, and sharing no deletion."""
    client = World().client("a")
    folder, _ = client.open(9, directory=True, access=access, share=share)
    ref, _ = client.open(1, parent=9, access=ALL)
    assert answer(client.table.check_rename(ref, None)) == expected
    client.table.close(folder)
    assert answer(client.table.check_rename(ref, None)) == "ok"


def test_a_rename_that_waits_can_be_cancelled() -> None:
    world = World()
    client = world.client("a")
    source, _ = client.open(1, access=ALL)
    client.open(2, lease="RH", key="k")
    rename = client.table.check_rename(source, TARGET)
    assert answer(rename) == "wait"
    rename.cancel()
    with pytest.raises(Cancelled):
        rename.result()
    record = world.store.peek((1, 2))
    assert record is not None
    assert record.waiters == []
