# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of long replies is used again once nobody has it, and never before."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from ksmbd.auth.encryption import TAG_SIZE, AeadSealer
from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.framing import Receiver
from ksmbd.smb import constants as c
from ksmbd.smb import frames
from ksmbd.smb.header import HEADROOM
from ksmbd.smb.request import Body

LONG = 1 << 20


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    frames._kept.clear()
    yield
    frames._kept.clear()


def test_it_is_used_again() -> None:
    first = Body(LONG)
    address = id(first.frame)
    del first
    assert id(Body(LONG).frame) == address


def test_who_has_a_view_has_the_frame() -> None:
    waiting = memoryview(Body(LONG).frame)[4:]
    waiting[0] = 7
    others = [frames.make(LONG + Body.START) for _ in range(5)]
    assert all(other is not waiting.obj for other in others)
    assert len({id(other) for other in others}) == 5
    waiting.release()
    assert len(frames._kept) == frames.KEPT


def test_sizes_in_turn() -> None:
    sizes = [LONG, LONG // 2, LONG, LONG - 1, frames.LEAST, frames.LEAST - 1, 100, frames.MOST + 1, LONG]
    for size in sizes:
        assert len(frames.make(size)) == size
    assert len(frames._kept) == 1 and frames.LEAST <= len(frames._kept[0]) <= frames.MOST


def test_a_frame_that_was_cut_is_not_taken_for_a_whole_one() -> None:
    body = Body(LONG)
    body.shrink(10)
    del body
    assert Body(LONG).data.nbytes == LONG


def test_encryption_finds_room_behind_the_message() -> None:
    assert frames.TAIL == TAG_SIZE
    sealer = AeadSealer(c.CIPHER_AES128_GCM, bytes(16), bytes(16))
    for _ in range(3):
        frame = frames.make(LONG)
        before = frame.__alloc__()
        sealer.seal(frame, HEADROOM, 1)
        assert len(frame) == LONG and frame.__alloc__() == before
        del frame


def test_frames_that_are_received_use_it_too() -> None:
    """Two at a time have two, and who keeps a part of one keeps it whole."""
    scratch = Scratch(8192)
    length = LONG + 112
    head = length.to_bytes(4, "big") + b"\xfeSMB"

    def begin() -> Receiver:
        receiver = Receiver(scratch, lambda: None)
        target = receiver.target()
        target[: len(head)] = head
        receiver.advance(len(head))
        assert receiver.next(length) is None
        receiver.park()
        return receiver

    def finish(receiver: Receiver, fill: int) -> bytearray:
        target = receiver.target()
        assert len(target) == length - 4
        target[:] = bytes([fill]) * len(target)
        receiver.advance(len(target))
        frame = receiver.next(length)
        assert frame is not None
        return frame

    one, two = begin(), begin()
    first, second = finish(one, 1), finish(two, 2)
    assert first is not second and first[4:] == b"\1" * (length - 4) and second[4:] == b"\2" * (length - 4)
    address = id(first)
    kept = memoryview(second)[10:20]
    del first, second
    third = finish(begin(), 3)
    assert id(third) == address and kept == b"\2" * 10
