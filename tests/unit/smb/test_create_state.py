# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of a CREATE's steps: whole, and every way back takes back all that was made."""
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import create_messages as m
import pytest
from bench import Bench
from fake_files import FakeFile

from ksmbd.smb import constants as c
from ksmbd.smb import create
from ksmbd.smb import status as s
from ksmbd.smb.create_state import TRANSITIONS, WAY_BACK, CreateInput, CreateState, Creation, Undo
from ksmbd.smb.model import Open
from ksmbd.smb.ports import CreateIntent, OpenRef, OpenRequest
from ksmbd.smb.status import NtStatusError


def test_the_table_is_whole() -> None:
    ends = {CreateState.ANSWERED, CreateState.UNDONE}
    for state in set(CreateState) - ends:
        assert TRANSITIONS[state, CreateInput.FAIL] is CreateState.UNDONE
        forward = [event for event in CreateInput if event is not CreateInput.FAIL and (state, event) in TRANSITIONS]
        assert len(forward) == 1
        assert state in WAY_BACK
    assert not [pair for pair in TRANSITIONS if pair[0] in ends]
    reached, state = [CreateState.DECODED], CreateState.DECODED
    while state not in ends:
        state = next(after for (before, event), after in TRANSITIONS.items()
                     if before is state and event is not CreateInput.FAIL)  # fmt: skip
        reached.append(state)
    assert reached[-1] is CreateState.ANSWERED and set(reached) == set(CreateState) - {CreateState.UNDONE}


def test_each_step_back_is_at_least_the_one_before() -> None:
    """What an earlier state has to take back, a later one has, too."""
    order = [CreateState.DECODED, CreateState.OPENED, CreateState.GRANTED, CreateState.EMPTIED, CreateState.REGISTERED]
    for earlier, later in pairwise(order):
        assert set(WAY_BACK[earlier]) <= set(WAY_BACK[later])
    assert set(WAY_BACK[order[-1]]) == set(Undo)


def reach(made: Bench, state: CreateState, name: str, disposition: int, options: int = 0) -> Creation:
    """A Creation driven into `state`."""
    creation = Creation(made.server, options)
    intent = CreateIntent(name, "", c.FILE_ALL_ACCESS, disposition, options, 0)

    def grant() -> None:
        ask(creation)
        creation.granted()

    steps: list[Callable[[], object]] = [
        lambda: creation.open_file(made.volume, intent),
        grant,
        lambda: creation.empty(intent),
        lambda: creation.register(new_open(made, creation)),
        creation.answered,
    ]
    for step in steps:
        if creation.state is state:
            break
        step()
    assert creation.state is state
    return creation


def ask(creation: Creation) -> None:
    file = creation.file
    assert file is not None
    ref = OpenRef(file.key, "", creation.server.new_id())
    request = OpenRequest(ref, b"G" * 16, 1, "alice", "share", file.path, False, creation.action == c.FILE_CREATED,
                          c.FILE_ALL_ACCESS, 7, c.FILE_OPEN, creation.options, 0)  # fmt: skip
    creation.ask(request).result()


def new_open(made: Bench, creation: Creation) -> Open:
    assert creation.ref is not None
    number = creation.ref.open_id
    return Open(number, number, made.session, made.tree, made.connection, creation.file, c.FILE_ALL_ACCESS, 0,
                ref=creation.ref)  # fmt: skip


STATES = [state for state in WAY_BACK if state is not CreateState.DECODED]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("existing", [True, False])
def test_every_way_back(state: CreateState, existing: bool) -> None:
    made = Bench()
    if existing:
        made.volume.add("file", b"content")
    creation = reach(made, state, "file", c.FILE_OPEN_IF)
    creation.fail()
    assert creation.state is CreateState.UNDONE
    assert not made.server.opens and not made.session.opens and not made.table.opens
    file = creation.file
    assert isinstance(file, FakeFile) and file.closed
    node = made.volume.find("file")
    assert (node is not None) == existing
    if node is not None:
        assert bytes(node.data) == b"content"
    with pytest.raises(KeyError):
        creation.fail()


@pytest.mark.parametrize("state", STATES)
def test_the_way_back_goes_on_past_a_step_that_fails(state: CreateState) -> None:
    made = Bench()
    creation = reach(made, state, "file", c.FILE_CREATE)
    assert isinstance(creation.file, FakeFile)
    creation.file.fail["undo_create"] = s.STATUS_ACCESS_DENIED
    creation.fail()
    assert creation.file.closed and not made.table.opens and not made.server.opens


def test_a_failed_open_does_not_delete_by_its_own_option() -> None:
    made = Bench()
    made.volume.add("file", b"content")
    creation = reach(made, CreateState.EMPTIED, "file", c.FILE_OPEN, c.FILE_DELETE_ON_CLOSE)
    assert creation.file is not None
    made.table.pending_delete.add(creation.file.key)
    creation.fail()
    assert made.volume.find("file") is not None


def test_a_failed_open_deletes_what_somebody_else_has_asked_for() -> None:
    made = Bench()
    made.volume.add("file", b"content")
    creation = reach(made, CreateState.EMPTIED, "file", c.FILE_OPEN)
    assert creation.file is not None
    made.table.pending_delete.add(creation.file.key)
    creation.fail()
    assert made.volume.find("file") is None


@pytest.mark.parametrize("operation", ["overwrite", "info"])
def test_a_disk_that_fails(operation: str) -> None:
    """Emptying or asking for the attributes fails after the grant: the open is gone from the table again."""
    made = Bench()
    made.volume.add("file", b"content")
    made.volume.fail_files[operation] = s.STATUS_DISK_FULL
    with pytest.raises(NtStatusError) as caught:
        made.run(create.handle, made.request(c.CREATE, m.create("file", disposition=c.FILE_OVERWRITE)))
    assert caught.value.status == s.STATUS_DISK_FULL
    assert not made.server.opens and not made.session.opens and not made.table.opens
    assert all(file.closed for file in made.volume.opened)
