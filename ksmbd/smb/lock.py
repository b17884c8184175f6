# SPDX-License-Identifier: GPL-2.0-or-later
"""LOCK (MS-SMB2 2.2.26, 2.2.27, 3.3.5.14): all ranges are locked or none, unlocks are made one by one, and LockSequence
finds replays."""
from __future__ import annotations

from collections.abc import Coroutine
from struct import Struct
from typing import Any, Final

from ksmbd import limits
from ksmbd.smb.constants import (
    DIALECT_202,
    DIALECT_300,
    GLOBAL_CAP_MULTI_CHANNEL,
    LOCKFLAG_EXCLUSIVE_LOCK,
    LOCKFLAG_FAIL_IMMEDIATELY,
    LOCKFLAG_SHARED_LOCK,
    LOCKFLAG_UNLOCK,
)
from ksmbd.smb.model import Open
from ksmbd.smb.open_life import wait_on_open
from ksmbd.smb.ports import LockElement, OpenRef
from ksmbd.smb.reader import Reader
from ksmbd.smb.request import Reply, Request
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import (
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_LOCK_RANGE,
    STATUS_INVALID_PARAMETER,
    STATUS_NETWORK_SESSION_EXPIRED,
    STATUS_RANGE_NOT_LOCKED,
    NtStatusError,
)
from ksmbd.smb.waiting import Future

_REQUEST: Final = Struct("<HHIQQ")  # StructureSize, LockCount, LockSequenceNumber (4 bits) and -Index (28), FileId
_ELEMENT: Final = Struct("<QQII")  # Offset, Length, Flags, Reserved
_RESPONSE: Final = Reply(b"\x04\0\0\0")

LOCK_SEQUENCE_INDEX_MAX: Final = limits.LOCK_SEQUENCES.value
"""Entries of Open.LockSequenceArray (MS-SMB2 3.3.1.10)."""

# Flags of an element that locks -> (exclusive, wait). Every other combination but UNLOCK alone is refused (2.2.26.1).
_LOCKING: Final[dict[int, tuple[bool, bool]]] = {
    LOCKFLAG_SHARED_LOCK: (False, True),
    LOCKFLAG_EXCLUSIVE_LOCK: (True, True),
    LOCKFLAG_SHARED_LOCK | LOCKFLAG_FAIL_IMMEDIATELY: (False, False),
    LOCKFLAG_EXCLUSIVE_LOCK | LOCKFLAG_FAIL_IMMEDIATELY: (True, False),
}


def handle(request: Request) -> Reply | Coroutine[Any, Any, Reply]:
    """Lock or unlock ranges. All elements must do what the first one does."""
    reader = request.reader()
    _, count, sequence, persistent, volatile = reader.unpack(_REQUEST)
    open_ = request.find_open(persistent, volatile)  # first: MS-SMB2 3.3.5.14 looks at LockCount after that
    if count == 0 or count * _ELEMENT.size > reader.remaining:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "LockCount")
    if count > limits.LOCK_ELEMENTS.value:
        raise NtStatusError(STATUS_INSUFFICIENT_RESOURCES, "LockCount")
    ref = open_.ref
    if ref is None or open_.file is None or open_.file.is_directory:
        raise NtStatusError(STATUS_INVALID_PARAMETER, "locks are for files")
    index = _sequence_index(request, open_, sequence >> 4)
    number = sequence & 0xF
    if index:
        if open_.lock_sequences.get(index) == number:
            return _RESPONSE
        open_.lock_sequences.pop(index, None)
    elements = _elements(reader, count)
    if elements[0][2] == LOCKFLAG_UNLOCK:
        _unlock(request, ref, elements)
    else:
        # Unlocks are served on an expired session, locks are not (3.3.5.2.9).
        if request.session.state is SessionState.EXPIRED:
            raise NtStatusError(STATUS_NETWORK_SESSION_EXPIRED)
        locks, wait = _locks(elements)
        side = open_.file.lock_side()
        if side is not None:
            request.server.table.share_locks(ref, side)
        future = request.server.table.lock(ref, locks, wait)
        if not future.done:
            return _wait(request, open_, future, index, number)
        future.result()
    if index:
        open_.lock_sequences[index] = number
    return _RESPONSE


async def _wait(request: Request, open_: Open, future: Future[None], index: int, number: int) -> Reply:
    request.go_async()
    await wait_on_open(open_, future, STATUS_RANGE_NOT_LOCKED)
    if index:
        open_.lock_sequences[index] = number
    return _RESPONSE


def _sequence_index(request: Request, open_: Open, index: int) -> int:
    """The index in LockSequenceArray that this request uses (MS-SMB2 3.3.5.14); 0: the request is not checked for
    replay."""
    dialect = request.session.dialect
    if dialect == DIALECT_202 or not 0 < index <= LOCK_SEQUENCE_INDEX_MAX:
        return 0
    multichannel = dialect >= DIALECT_300 and request.connection.server_capabilities & GLOBAL_CAP_MULTI_CHANNEL
    return index if open_.is_resilient or open_.is_durable or open_.is_persistent or multichannel else 0


def _elements(reader: Reader, count: int) -> list[tuple[int, int, int]]:
    """(Offset, Length, Flags) of each SMB2_LOCK_ELEMENT (2.2.26.1)."""
    return [reader.unpack(_ELEMENT)[:3] for _ in range(count)]


def _unlock(request: Request, ref: OpenRef, elements: list[tuple[int, int, int]]) -> None:
    """Unlock the ranges in order (MS-SMB2 3.3.5.14.1). If one is wrong, those before it stay unlocked, and its error is
    raised."""
    ranges = []
    for offset, length, flags in elements:
        if flags != LOCKFLAG_UNLOCK:
            break
        ranges.append(LockElement(offset, length, False))
    request.server.table.unlock(ref, ranges)
    if len(ranges) < len(elements):
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a lock among unlocks")


def _locks(elements: list[tuple[int, int, int]]) -> tuple[list[LockElement], bool]:
    """Decode elements that lock (MS-SMB2 3.3.5.14.2): the ranges, and whether to wait for them. Only a single lock may
    wait. Raises STATUS_INVALID_PARAMETER or STATUS_INVALID_LOCK_RANGE."""
    locks = []
    wait = False
    for offset, length, flags in elements:
        mode = _LOCKING.get(flags)
        if mode is None or (mode[1] and len(elements) > 1):
            raise NtStatusError(STATUS_INVALID_PARAMETER, f"lock flags 0x{flags:X}")
        exclusive, wait = mode
        locks.append(LockElement(offset, length, exclusive))
    for lock in locks:
        # MS-FSA 2.1.5.8: the last byte has a 64-bit offset.
        if lock.length and lock.offset + lock.length - 1 > 0xFFFFFFFFFFFFFFFF:
            raise NtStatusError(STATUS_INVALID_LOCK_RANGE)
    return locks, wait
