# SPDX-License-Identifier: GPL-2.0-or-later
"""LOCK (MS-SMB2 3.3.5.14)."""
from __future__ import annotations

from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of, file_of, started
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.limits import LOCK_ELEMENTS
from ksmbd.smb import constants as c
from ksmbd.smb import dispatch, lock
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import close_open
from ksmbd.smb.ports import LockElement
from ksmbd.smb.request import Reply
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Cancelled, Future, Task

SHARED, EXCLUSIVE, UNLOCK, NOW = 1, 2, 4, 16


def bench(dialect: int = c.DIALECT_311) -> tuple[Bench, Open]:
    made = Bench(dialect)
    made.volume.add("file", bytes(100))
    made.volume.add("dir", None)
    return made, made.open("file")


def run(made: Bench, open_: Open, *elements: tuple[int, int, int], sequence: int = 0, tree: Any = None) -> int:
    body = m.lock(open_.persistent_id, open_.volatile_id, *elements, sequence=sequence)
    try:
        reply = made.run(lock.handle, made.request(c.LOCK, body, tree))
    except NtStatusError as error:
        return error.status
    assert body_of(reply) == b"\4\0\0\0"
    return reply.status


def held(made: Bench) -> list[LockElement]:
    return [element for _, element in made.table.locks]


INSUFFICIENT = s.STATUS_INSUFFICIENT_RESOURCES


def test_lock_and_unlock() -> None:
    made, open_ = bench()
    assert run(made, open_, (5, 10, EXCLUSIVE | NOW)) == 0
    assert run(made, open_, (50, 10, SHARED)) == 0
    assert held(made) == [LockElement(5, 10, True), LockElement(50, 10, False)]
    assert [call[-1] for call in made.table.calls] == [False, True]  # whether it may wait
    assert run(made, open_, (5, 10, UNLOCK), (50, 10, UNLOCK)) == 0
    assert held(made) == []
    assert run(made, open_, (5, 10, UNLOCK)) == s.STATUS_RANGE_NOT_LOCKED


def test_the_first_lock_of_an_open_is_preceded_by_sharing_its_locks() -> None:
    """With local processes (File.lock_side); to unlock asks for nothing."""
    made, open_ = bench()
    file = file_of(open_)
    side: Any = object()
    file.side = side
    assert run(made, open_, (5, 10, UNLOCK)) == s.STATUS_RANGE_NOT_LOCKED
    assert file.side is side
    assert run(made, open_, (5, 10, EXCLUSIVE | NOW)) == run(made, open_, (50, 10, SHARED)) == 0
    calls = [call for call in made.table.calls if call[0] in ("share_locks", "lock")]
    assert [call[0] for call in calls] == ["share_locks", "lock", "lock"]
    assert calls[0] == ("share_locks", open_.ref, side)


@pytest.mark.parametrize(
    ("elements", "status"),
    [
        (((1, 1, 0),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, NOW),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, SHARED | EXCLUSIVE),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, UNLOCK | EXCLUSIVE),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, UNLOCK | SHARED),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, UNLOCK | NOW),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, 0xFFFFFFE8),), s.STATUS_INVALID_PARAMETER),
        (((1, 1, 0), (1, 1, UNLOCK)), s.STATUS_INVALID_PARAMETER),
        (((1, 1, SHARED | NOW), (2, 1, SHARED)), s.STATUS_INVALID_PARAMETER),
        (((1, 1, SHARED), (2, 1, SHARED | NOW)), s.STATUS_INVALID_PARAMETER),
        (((1, 1, SHARED | NOW), (2, 1, UNLOCK)), s.STATUS_INVALID_PARAMETER),
        (((1, 1, UNLOCK), (2, 1, 0)), s.STATUS_RANGE_NOT_LOCKED),  # the first is looked at first
        (((0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, EXCLUSIVE | NOW),), s.STATUS_INVALID_LOCK_RANGE),
        (((0xFFFFFFFFFFFFFFFF, 2, EXCLUSIVE | NOW),), s.STATUS_INVALID_LOCK_RANGE),
        (((0xFFFFFFFFFFFFFFFF, 1, EXCLUSIVE | NOW),), 0),
        (((0xFFFFFFFFFFFFFFFF, 0, EXCLUSIVE | NOW),), 0),
        (((0, 0xFFFFFFFFFFFFFFFF, EXCLUSIVE | NOW),), 0),
    ],
)
def test_elements(elements: tuple[tuple[int, int, int], ...], status: int) -> None:
    made, open_ = bench()
    assert run(made, open_, *elements) == status
    assert bool(held(made)) == (status == 0)


def test_an_element_of_another_kind_ends_a_series_of_unlocks() -> None:
    """MS-SMB2 3.3.5.14.1: those before it stay unlocked."""
    made, open_ = bench()
    run(made, open_, (1, 1, SHARED | NOW), (2, 1, SHARED | NOW))
    assert run(made, open_, (1, 1, UNLOCK), (2, 1, SHARED | NOW)) == s.STATUS_INVALID_PARAMETER
    assert held(made) == [LockElement(2, 1, False)]


def test_counts() -> None:
    made, open_ = bench()
    for count, elements in ((0, 1), (2, 1), (0xFFFF, 3)):
        body = bytearray(m.lock(open_.persistent_id, open_.volatile_id, *[(1, 1, SHARED | NOW)] * elements))
        body[2:4] = count.to_bytes(2, "little")
        with pytest.raises(NtStatusError) as caught:
            made.run(lock.handle, made.request(c.LOCK, bytes(body)))
        assert caught.value.status == s.STATUS_INVALID_PARAMETER
    assert run(made, open_, *[(index, 1, SHARED | NOW) for index in range(500)]) == 0
    assert len(held(made)) == 500
    most = LOCK_ELEMENTS.value
    assert run(made, open_, *[(5000 + index, 1, SHARED | NOW) for index in range(most)]) == 0
    assert run(made, open_, *[(9000 + index, 1, SHARED | NOW) for index in range(most + 1)]) == INSUFFICIENT
    assert run(made, open_, *[(5000 + index, 1, UNLOCK) for index in range(most)]) == 0
    assert run(made, open_, *[(0, 1, UNLOCK)] * (most + 1)) == INSUFFICIENT
    assert len(held(made)) == 500


def test_only_files_are_locked() -> None:
    made, _ = bench()
    assert run(made, made.open("dir"), (0, 1, SHARED)) == s.STATUS_INVALID_PARAMETER
    assert run(made, made.open_pipe(), (0, 1, SHARED), tree=made.ipc) == s.STATUS_INVALID_PARAMETER


def test_a_conflict() -> None:
    made, open_ = bench()
    made.table.fail["lock"] = s.STATUS_LOCK_NOT_GRANTED
    assert run(made, open_, (0, 1, EXCLUSIVE | NOW)) == s.STATUS_LOCK_NOT_GRANTED


def waiting(made: Bench, open_: Open, sequence: int = 0) -> tuple[Task[Reply], Future[None]]:
    future: Future[None] = Future()
    made.table.wait["lock"] = future
    request = made.request(c.LOCK, m.lock(open_.persistent_id, open_.volatile_id, (0, 1, EXCLUSIVE), sequence=sequence))
    task = started(lock.handle(request))
    assert not task.done and request.interim_sent and len(open_.waits) == 1
    return task, future


def test_a_lock_that_waits_is_granted() -> None:
    made, open_ = bench()
    task, future = waiting(made, open_)
    future.set_result(None)
    assert task.done and task.result().status == 0 and not open_.waits


def test_a_lock_that_waits_is_cancelled() -> None:
    made, open_ = bench()
    task, future = waiting(made, open_)
    withdrawn: list[bool] = []
    future.on_cancel = lambda: withdrawn.append(True)
    task.cancel()
    assert task.done and isinstance(task.error, Cancelled) and withdrawn == [True] and not open_.waits


def test_a_lock_that_waits_ends_with_its_open() -> None:
    """STATUS_RANGE_NOT_LOCKED, as Windows answers; the table forgets the waiter."""
    made, open_ = bench()
    task, future = waiting(made, open_)
    withdrawn: list[bool] = []
    future.on_cancel = lambda: withdrawn.append(True)
    close_open(open_)
    assert task.done and isinstance(task.error, NtStatusError) and task.error.status == s.STATUS_RANGE_NOT_LOCKED
    assert withdrawn == [True] and not open_.waits


# ------------------------------------------------------------------------------------------------------- sequences


def durable(dialect: int = c.DIALECT_311) -> tuple[Bench, Open]:
    made, open_ = bench(dialect)
    open_.is_durable = True
    return made, open_


def test_a_replayed_lock_is_answered_and_not_done_again() -> None:
    made, open_ = durable()
    assert run(made, open_, (0, 1, SHARED | NOW), sequence=0x25) == 0
    assert run(made, open_, (0, 1, SHARED | NOW), sequence=0x25) == 0
    assert len(held(made)) == 1
    assert run(made, open_, (0, 1, SHARED | NOW), sequence=0x26) == 0  # the bucket's next number: a new request
    assert len(held(made)) == 2
    assert run(made, open_, (0, 1, UNLOCK), sequence=0x35) == 0
    assert run(made, open_, (0, 1, UNLOCK), sequence=0x35) == 0
    assert len(held(made)) == 1


def test_a_failure_is_not_remembered() -> None:
    made, open_ = durable()
    made.table.fail["lock"] = s.STATUS_LOCK_NOT_GRANTED
    for _ in range(2):
        assert run(made, open_, (0, 1, SHARED | NOW), sequence=0x11) == s.STATUS_LOCK_NOT_GRANTED
    made.table.fail.clear()
    assert run(made, open_, (0, 1, SHARED | NOW), sequence=0x11) == 0 and len(held(made)) == 1


def test_a_lock_that_waited_is_remembered() -> None:
    made, open_ = durable()
    task, future = waiting(made, open_, 0x21)
    assert open_.lock_sequences == {}
    future.set_result(None)
    assert task.done and open_.lock_sequences == {2: 1}


@pytest.mark.parametrize("index", [0, 65, 0x0FFFFFFF])
def test_indices_outside_the_array(index: int) -> None:
    made, open_ = durable()
    for _ in range(2):
        assert run(made, open_, (0, 1, SHARED | NOW), sequence=index << 4 | 5) == 0
    assert len(held(made)) == 2 and open_.lock_sequences == {}


def test_which_opens_have_sequences() -> None:
    made, open_ = bench()
    for _ in range(2):
        run(made, open_, (0, 1, SHARED | NOW), sequence=0x25)
    assert len(held(made)) == 2
    made.connection.server_capabilities |= c.GLOBAL_CAP_MULTI_CHANNEL
    for _ in range(2):
        run(made, open_, (0, 1, SHARED | NOW), sequence=0x25)
    assert len(held(made)) == 3
    made, open_ = durable(c.DIALECT_202)
    for _ in range(2):
        run(made, open_, (0, 1, SHARED | NOW), sequence=0x25)
    assert len(held(made)) == 2


def test_an_expired_session_may_unlock_but_not_lock() -> None:
    made, open_ = bench()
    run(made, open_, (0, 1, SHARED | NOW))
    made.session.state = SessionState.EXPIRED
    assert run(made, open_, (5, 1, SHARED | NOW)) == s.STATUS_NETWORK_SESSION_EXPIRED
    assert run(made, open_, (0, 1, UNLOCK)) == 0


def test_the_open_is_looked_for_before_the_locks() -> None:
    """MS-SMB2 3.3.5.14: LockCount is looked at when the open is found. StructureSize counts the first lock, which is
    not there where LockCount is 0."""
    made, open_ = bench()
    body = m.lock(open_.persistent_id, open_.volatile_id)[:2] + bytes(6) + b"\xff" * 16
    with pytest.raises(NtStatusError) as caught:
        made.run(lock.handle, made.request(c.LOCK, body))
    assert caught.value.status == s.STATUS_FILE_CLOSED
    request = made.request(c.LOCK, m.lock(open_.persistent_id, open_.volatile_id)[:24])
    dispatch.check_structure(request, dispatch.COMMANDS[c.LOCK])
    with pytest.raises(NtStatusError) as caught:
        made.run(lock.handle, request)
    assert caught.value.status == s.STATUS_INVALID_PARAMETER


@settings(deadline=None)
@given(st.data())
def test_any_bytes(data: st.DataObject) -> None:
    made, open_ = bench()
    elements = data.draw(st.binary(max_size=100))
    count = data.draw(st.integers(0, 5))
    body = m.lock(open_.persistent_id, open_.volatile_id)[:2] + bytes([count, 0]) + m.lock(
        open_.persistent_id, open_.volatile_id
    )[4:] + elements  # fmt: skip
    try:
        made.run(lock.handle, made.request(c.LOCK, body))
    except NtStatusError:
        assert True
