# SPDX-License-Identifier: GPL-2.0-or-later
"""Leases through the open table: MS-SMB2 3.3.5.9.8, 3.3.5.22.2; MS-FSA 2.1.5.18. What the tables expect is what Windows
does."""
from __future__ import annotations

from itertools import product

import pytest

from ksmbd.smb import constants
from ksmbd.smb.ports import BreakKind

from .world import STAT, World, answer, lease_of

ALL_RIGHTS = constants.FILE_ALL_ACCESS
LEASES = ("", "R", "RH", "RW", "RWH")


@pytest.mark.parametrize(
    ("asked", "granted"),
    [("", ""), ("R", "R"), ("H", ""), ("W", ""), ("RH", "RH"), ("RW", "RW"), ("WH", ""), ("RWH", "RWH")],
)
def test_only_some_states_exist(asked: str, granted: str) -> None:
    assert World().client("a").open(lease=asked, key="k")[1] == granted


@pytest.mark.parametrize(("held", "asked"), list(product(LEASES, LEASES)))
def test_a_lease_asked_for_again_only_grows(held: str, asked: str) -> None:
    """MS-SMB2 3.3.5.9.8: upgraded if what is asked for contains what is held."""
    client = World().client("a")
    client.open(lease=held, key="k")
    expected = asked if set(held) <= set(asked) else held
    assert client.open(lease=asked, key="k")[1] == expected


@pytest.mark.parametrize(
    ("held", "other", "asked", "expected"),
    [
        ("R", "R", "", "R"), ("R", "R", "R", "R"), ("R", "R", "RW", "R"), ("R", "R", "RH", "RH"),
        ("R", "R", "RWH", "R"), ("R", "RH", "RW", "R"), ("R", "RH", "RH", "RH"), ("R", "RH", "RWH", "R"),
        ("RH", "R", "RW", "RH"), ("RH", "R", "RWH", "RH"), ("RH", "RH", "RWH", "RH"),
    ],
)  # fmt: skip
def test_an_upgrade_beside_another_lease_is_all_or_nothing(held: str, other: str, asked: str, expected: str) -> None:
    world = World()
    client = world.client("a")
    client.open(lease=held, key="k1")
    assert client.open(lease=other, key="k2")[1] == other
    assert client.open(lease=asked, key="k1")[1] == expected
    assert world.breaks() == []


@pytest.mark.parametrize(
    ("held", "asked", "left", "granted"),
    [
        ("R", "R", "R", "R"), ("R", "RH", "R", "RH"), ("R", "RW", "R", "R"), ("R", "RWH", "R", "RH"),
        ("RH", "R", "RH", "R"), ("RH", "RH", "RH", "RH"), ("RH", "RW", "RH", "R"), ("RH", "RWH", "RH", "RH"),
        ("RW", "R", "R", "R"), ("RW", "RH", "R", "RH"), ("RW", "RW", "R", "R"), ("RW", "RWH", "R", "RH"),
        ("RWH", "R", "RH", "R"), ("RWH", "RH", "RH", "RH"), ("RWH", "RW", "RH", "R"), ("RWH", "RWH", "RH", "RH"),
    ],
)  # fmt: skip
def test_one_lease_breaks_another(held: str, asked: str, left: str, granted: str) -> None:
    """MS-FSA 2.1.4.12: a second opener takes the write caching and waits for the acknowledgment."""
    world = World()
    client = world.client("a")
    client.open(lease=held, key="k1")
    _, second = client.ask(lease=asked, key="k2")
    if held != left:
        assert answer(second) == "wait"
        assert world.breaks() == [f"k1:{held}>{left}!"]
        assert client.acknowledge("k1", left) == left
        world.settle()
    assert answer(second) == granted
    assert client.open(lease="RWH", key="k1")[1] == left
    assert world.breaks() == []


@pytest.mark.parametrize(
    ("held", "asked", "left", "granted"),
    [(held, asked, "R" if held in ("R", "RW") else "RH", "s" if held in ("R", "RW") else "")
     for held, asked in product(("R", "RH", "RW", "RWH"), "sxb")],
)  # fmt: skip
def test_an_oplock_beside_a_lease(held: str, asked: str, left: str, granted: str) -> None:
    """An oplock is never granted beside handle caching."""
    world = World()
    client = world.client("a")
    client.open(lease=held, key="k")
    _, second = client.ask(oplock=asked)
    if held != left:
        assert world.breaks() == [f"k:{held}>{left}!"]
        client.acknowledge("k", left)
        world.settle()
    assert answer(second) == granted


@pytest.mark.parametrize(("held", "asked"), list(product("sxb", ("R", "RH", "RW", "RWH"))))
def test_a_lease_beside_an_oplock(held: str, asked: str) -> None:
    """Handle caching is never granted beside an oplock, and an exclusive one breaks to level II."""
    world = World()
    client = world.client("a")
    ref, _ = client.open(oplock=held)
    _, second = client.ask(lease=asked, key="k")
    if held != "s":
        assert world.breaks() == [f"{ref.open_id}>s!"]
        assert client.acknowledge_oplock(ref, "s") == "s"
        world.settle()
    assert answer(second) == "R"
    assert world.breaks() == []


def test_a_key_of_a_file_that_lost_its_name_grants_nothing_for_the_next_one() -> None:
    """The client took the key for the name, which is another file's since."""
    client = World().client("a")
    client.open(1, lease="RWH", key="k", path="d\\name")
    assert client.open(2, lease="RWH", key="k", path="d\\other")[1] == "STATUS_INVALID_PARAMETER"
    new, granted = client.open(2, lease="RWH", key="k", path="d\\name")
    assert granted == ""
    assert client.open(1, lease="RWH", key="k", path="d\\name")[1] == "RWH"
    client.table.close(new)


def test_a_key_is_bound_to_one_file_and_stream_of_one_client() -> None:
    """MS-SMB2 3.3.5.9.8: another file under the same key is STATUS_INVALID_PARAMETER, until the lease has ended."""
    world = World()
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(1, lease="RWH", key="k")
    assert a.open(2, lease="R", key="k")[1] == "STATUS_INVALID_PARAMETER"
    assert a.open(3, lease="R", key="k", directory=True)[1] == "STATUS_INVALID_PARAMETER"
    assert a.open(1, stream="s", lease="R", key="k")[1] == "STATUS_INVALID_PARAMETER"
    assert a.open(1, stream="s", lease="RWH", key="k2")[1] == "RWH"
    assert b.open(2, lease="RWH", key="k")[1] == "RWH"
    a.table.close(ref)
    assert a.open(2, lease="R", key="k")[1] != "STATUS_INVALID_PARAMETER"


def test_breaking_lease_still_serves_its_own_key() -> None:
    world = World()
    client = world.client("a")
    client.open(lease="RWH", key="k")
    _, second = client.ask()
    assert world.breaks() == ["k:RWH>RH!"]
    assert client.open(lease="RWH", key="k")[1] == "RWH*"
    assert answer(second) == "wait"
    assert client.acknowledge("k", "RH") == "RH"
    world.settle()
    assert answer(second) == ""
    assert world.breaks() == []


def test_an_acknowledgment_may_give_up_more_but_not_less() -> None:
    """MS-SMB2 3.3.5.22.2: REQUEST_NOT_ACCEPTED for more than was left, UNSUCCESSFUL when no break is going on."""
    world = World()
    client = world.client("a")
    client.open(lease="RWH", key="k")
    _, second = client.ask(disposition=constants.FILE_OVERWRITE)
    assert world.breaks() == ["k:RWH>!"]
    for state in ("RWH", "RW", "WH", "RH", "W", "H", "R"):
        assert client.acknowledge("k", state) == "STATUS_REQUEST_NOT_ACCEPTED"
    assert answer(second) == "wait"
    assert client.acknowledge("k", "") == ""
    assert client.acknowledge("k", "") == "STATUS_UNSUCCESSFUL"
    world.settle()
    assert answer(second) == ""
    assert client.open(lease="", key="k")[1] == ""
    assert client.acknowledge("other", "") == "STATUS_OBJECT_NAME_NOT_FOUND"


def test_a_break_deepens_in_steps() -> None:
    """A plain open, then an overwriting one, against RWH: RH, then R, then nothing, one after the other."""
    world = World()
    client = world.client("a")
    client.open(lease="RWH", key="k", version=2, epoch=0x11)
    _, plain = client.ask()
    assert world.notices[0].epoch == 0x13
    assert world.breaks() == ["k:RWH>RH!"]
    _, overwriting = client.ask(disposition=constants.FILE_OVERWRITE)
    assert world.breaks() == []
    assert client.acknowledge("k", "RH") == "RH"
    assert world.notices == []  # the acknowledgment's response goes first
    world.settle()
    assert world.notices[0].epoch == 0x13
    assert world.breaks() == ["k:RH>R!"]
    assert client.open(lease="RWH", key="k")[1] == "RH*"
    assert (answer(plain), answer(overwriting)) == ("wait", "wait")
    assert client.acknowledge("k", "R") == "R"
    assert world.breaks() == ["k:R>"]
    assert (answer(plain), answer(overwriting)) == ("", "")
    assert client.open(lease="", key="k")[1] == ""


def test_handle_caching_alone_holds_no_overwriter_up() -> None:
    world = World()
    client = world.client("a")
    client.open(lease="RH", key="k")
    for _ in range(2):
        ref, granted = client.open(disposition=constants.FILE_OVERWRITE)
        assert granted == ""
        client.table.close(ref)
    assert world.breaks() == ["k:RH>!"]
    assert client.open(lease="", key="k")[1] == "RH*"
    assert client.acknowledge("k", "") == ""


def test_read_caching_goes_without_acknowledgment() -> None:
    world = World()
    client = world.client("a")
    client.open(lease="R", key="k")
    assert client.open(disposition=constants.FILE_OVERWRITE)[1] == ""
    assert world.breaks() == ["k:R>"]
    assert client.open(lease="", key="k")[1] == ""
    assert client.acknowledge("k", "") == "STATUS_UNSUCCESSFUL"


def test_a_sharing_violation_takes_handles_and_leaves_data() -> None:
    world = World()
    client = world.client("a")
    client.open(lease="RWH", key="k1", version=2, epoch=0x11)
    _, second = client.ask(lease="RWH", key="k2", version=2, epoch=0x22, share="R")
    assert world.breaks() == ["k1:RWH>RW!"]
    client.acknowledge("k1", "RW")
    world.settle()
    assert answer(second) == "STATUS_SHARING_VIOLATION"
    _, third = client.ask(lease="RWH", key="k2", version=2, epoch=0x22)
    assert world.notices[0].epoch == 0x14
    assert world.breaks() == ["k1:RW>R!"]
    client.acknowledge("k1", "R")
    world.settle()
    assert answer(third) == "RH"
    assert lease_of(third).epoch == 0x23


def test_a_close_answers_who_waits() -> None:
    world = World()
    client = world.client("a")
    ref, _ = client.open(lease="RWH", key="k1", share="")
    _, second = client.ask(lease="RWH", key="k2", share="")
    assert world.breaks() == ["k1:RWH>RW!"]
    client.table.close(ref)
    assert answer(second) == "RWH"


def test_no_acknowledgment_in_time_takes_the_lease() -> None:
    """MS-SMB2 3.3.6.5."""
    world = World()
    client = world.client("a")
    client.open(lease="RWH", key="k1")
    _, second = client.ask(lease="RWH", key="k2")
    assert world.breaks() == ["k1:RWH>RH!"]
    world.settle(34.9)
    assert answer(second) == "wait"
    world.settle(0.2)
    assert answer(second) == "RH"
    assert client.acknowledge("k1", "RH") == "STATUS_UNSUCCESSFUL"
    assert client.open(lease="", key="k1")[1] == ""


def test_a_client_that_cannot_be_told_loses_its_lease_at_once() -> None:
    """MS-SMB2 3.3.4.7: no connection is left for the notice."""
    world = World()
    a, b = world.client("a"), world.client("b")
    a.open(lease="RWH", key="k")
    world.unreachable.add(a.guid)
    assert b.open(lease="RWH", key="k")[1] == "RH"
    assert a.open(lease="", key="k")[1] == ""


STAT_TABLE = [
    (constants.FILE_READ_DATA, False), (constants.FILE_WRITE_DATA, False), (constants.FILE_READ_EA, False),
    (constants.FILE_WRITE_EA, False), (constants.FILE_EXECUTE, False), (constants.FILE_READ_ATTRIBUTES, True),
    (constants.FILE_WRITE_ATTRIBUTES, True), (constants.DELETE, False), (constants.READ_CONTROL, True),
    (constants.WRITE_DAC, False), (constants.WRITE_OWNER, False), (constants.SYNCHRONIZE, True),
]  # fmt: skip


@pytest.mark.parametrize(("access", "is_stat"), STAT_TABLE)
def test_stat_opens_break_no_lease(access: int, is_stat: bool) -> None:
    world = World()
    client = world.client("a")
    client.open(lease="RWH", key="k", access=ALL_RIGHTS)
    _, second = client.ask(access=access)
    assert (world.breaks() == []) == is_stat
    assert (answer(second) == "") == is_stat


def test_stat_opens_stand_in_no_leases_way() -> None:
    world = World()
    client = world.client("a")
    client.open(access=STAT)
    assert client.open(lease="RWH", key="k")[1] == "RWH"


def test_an_open_under_a_lease_without_state_still_counts() -> None:
    """Two things prevent W: any other lease, even an empty one, and any other open that is no stat open."""
    client = World().client("a")
    client.open(lease="", key="k1", access=STAT)
    assert client.open(lease="RWH", key="k2")[1] == "RH"


def test_a_write_breaks_the_others_but_not_oneself() -> None:
    world = World()
    client = world.client("a")
    first, _ = client.open(lease="R", key="k1")
    second, _ = client.open(lease="R", key="k2")
    writing = BreakKind(True, False, False)
    assert answer(client.table.break_caching(first, writing)) == "ok"
    assert world.breaks() == ["k2:R>"]
    client.open(lease="R", key="k2")
    assert answer(client.table.break_caching(second, writing)) == "ok"
    assert world.breaks() == ["k1:R>"]


def test_a_lock_breaks_the_read_caches_of_others() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    first, _ = a.open(lease="RH", key="k1")
    a.open(lease="RH", key="k2")
    third, _ = b.open(lease="RH", key="k3")
    assert answer(a.lock(first, 0, 1)) == "ok"
    assert world.breaks() == ["k2:RH>!", "k3:RH>!"]
    a.acknowledge("k2", "")
    b.acknowledge("k3", "")
    assert a.open(lease="", key="k1")[1] == "RH"
    assert answer(b.lock(third, 4, 1)) == "ok"
    assert world.breaks() == ["k1:RH>!"]


def test_epochs_and_versions() -> None:
    """MS-SMB2 3.3.5.9.8: a lease keeps the version it began with; every grant and break adds one to the epoch."""
    world = World()
    client = world.client("a")
    v2, future = client.ask(lease="R", key="k", version=2, epoch=0x4711)
    grant = lease_of(future)
    assert (grant.version, grant.epoch) == (2, 0x4712)
    v1, future = client.ask(lease="RH", key="k", version=1)
    grant = lease_of(future)
    assert (grant.version, grant.epoch) == (2, 0x4713)
    client.table.close(v2)
    _, future = client.ask(lease="RWH", key="k", version=2, epoch=0x11)
    assert lease_of(future).epoch == 0x4714
    client.ask()
    assert world.notices[0].epoch == 0x4715
    client.table.close(v1)


def test_the_parent_key_is_echoed_when_its_flag_is_set() -> None:
    _, future = World().client("a").ask(lease="RWH", key="k", version=2, epoch=1, parent_key="p")
    grant = lease_of(future)
    assert grant.flags == constants.LEASE_FLAG_PARENT_LEASE_KEY_SET
    assert grant.parent_key.rstrip(b"\0") == b"p"


@pytest.mark.parametrize(("asked", "granted"), [("RWH", "RH"), ("RW", "R"), ("RH", "RH"), ("R", "R"), ("H", "")])
def test_directories_are_never_leased_for_writing(asked: str, granted: str) -> None:
    assert World().client("a").open(lease=asked, key="k", version=2, directory=True)[1] == granted


@pytest.mark.parametrize("level", "sxb")
def test_directories_have_no_oplocks(level: str) -> None:
    assert World().client("a").open(oplock=level, directory=True)[1] == ""


def test_a_change_in_a_folder_breaks_its_leases_but_the_one_it_was_made_with() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    a.open(9, lease="RH", key="k1", version=2, directory=True)
    b.open(9, lease="RH", key="k2", version=2, directory=True)
    a.table.directory_changed((1, 9), b"k1".ljust(16, b"\0"), a.guid)
    assert world.breaks() == ["k2:RH>!"]
    b.acknowledge("k2", "")
    a.table.directory_changed((1, 9), b"", a.guid)
    assert world.breaks() == ["k1:RH>!"]


def test_a_folder_opened_exclusively_takes_the_handles_of_its_lease() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    ref, _ = a.open(9, lease="RH", key="k1", version=2, directory=True)
    _, second = b.ask(9, lease="RH", key="k2", version=2, directory=True, share="")
    assert world.breaks() == ["k1:RH>R!"]
    a.table.close(ref)
    assert answer(second) == "RH"


def test_renaming_waits_for_the_handles_of_others() -> None:
    world = World()
    client = world.client("a")
    first, _ = client.open(lease="RH", key="k1", access=ALL_RIGHTS)
    client.open(lease="RH", key="k2")
    rename = client.table.check_rename(first, None)
    assert answer(rename) == "wait"
    assert world.breaks() == ["k2:RH>R!"]
    client.acknowledge("k2", "R")
    world.settle()
    assert answer(rename) == "ok"


def test_deleting_breaks_the_handles_of_others() -> None:
    world = World()
    a, b = world.client("a"), world.client("b")
    a.open(lease="RH", key="k1")
    second, _ = b.open(lease="RH", key="k2", access=ALL_RIGHTS)
    deletion = b.table.set_delete_on_close(second, True)
    assert world.breaks() == ["k1:RH>R!"]
    assert not b.table.delete_pending((1, 1))
    a.acknowledge("k1", "R")
    world.settle()
    assert answer(deletion) == "ok"
    assert b.table.delete_pending((1, 1))
