# SPDX-License-Identifier: GPL-2.0-or-later
"""Segments in any order give the frames that were sent; what is missing is told and costs no more than it must."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mountd.trace.stream import BEGINNING, WHOLE, Frame, Stream

START = 0xFFFFF000


def smb(size: int, fill: int = 0) -> bytes:
    return b"\xfeSMB" + bytes([fill % 251]) * (size - 4)


def frames_of(messages: list[bytes]) -> bytes:
    return b"".join(len(each).to_bytes(4, "big") + each for each in messages)


def run(pieces: list[tuple[int, bytes]]) -> tuple[list[Frame], Stream]:
    got: list[Frame] = []
    stream = Stream(got.append)
    stream.start(START - 1)
    for at, data in pieces:
        stream.take((START + at) % (1 << 32), len(data), memoryview(data), at)
    return got, stream


def kept(message: bytes) -> tuple[int, bytes]:
    return len(message), message if len(message) <= WHOLE else message[:BEGINNING]


def cut(data: bytes, places: list[int]) -> list[tuple[int, bytes]]:
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [(a, data[a:b]) for a, b in pairwise(edges)]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([4, 5, 64, 1000, WHOLE, WHOLE + 1, 3 * WHOLE]), min_size=1, max_size=5),
    st.lists(st.integers(0, 1 << 20), max_size=12),
    st.randoms(use_true_random=False),
)
def test_any_order_and_any_repetition_give_the_same_frames(
    sizes: list[int], places: list[int], chance: random.Random
) -> None:
    messages = [smb(size, number) for number, size in enumerate(sizes)]
    pieces = cut(frames_of(messages), places)
    shuffled = pieces + chance.sample(pieces, len(pieces) // 2)
    chance.shuffle(shuffled)
    got, stream = run(shuffled)
    assert [(frame.size, frame.data) for frame in got] == [kept(message) for message in messages]
    assert stream.gaps == 0


def test_segments_that_overlap_are_taken_once() -> None:
    data = frames_of([smb(100), smb(50, 1)])
    got, stream = run([(0, data[:60]), (30, data[30:120]), (10, data[10:])])
    assert [frame.data for frame in got] == [smb(100), smb(50, 1)]
    assert stream.again == 2


def test_a_gap_in_what_is_not_kept_loses_no_frame() -> None:
    data = frames_of([smb(4 * WHOLE), smb(30, 1)])
    got, stream = run([(0, data[:WHOLE]), (2 * WHOLE, data[2 * WHOLE :])])
    stream.finish()
    assert [frame.size for frame in got] == [4 * WHOLE, 30]
    assert (stream.gaps, stream.lost) == (1, WHOLE)


def test_after_a_gap_in_what_is_kept_it_goes_on_with_the_next_frame_that_begins_a_segment() -> None:
    first, second = frames_of([smb(100)]), frames_of([smb(30, 1)])
    got, stream = run([(0, first[:50]), (80, first[80:]), (len(first), second)])
    stream.finish()
    assert [frame.data for frame in got] == [smb(30, 1)]
    assert (stream.gaps, stream.lost) == (1, 30)


def test_a_stream_that_is_met_in_the_middle_begins_with_the_next_frame() -> None:
    got: list[Frame] = []
    stream = Stream(got.append)
    rest, frame = b"\1" * 70, frames_of([smb(30)])
    stream.take(5, len(rest), memoryview(rest), 1)
    stream.take(75, len(frame), memoryview(frame), 2)
    assert [frame.data for frame in got] == [smb(30)]


def test_packets_that_the_capture_cut_off_are_counted_by_their_size() -> None:
    got: list[Frame] = []
    stream = Stream(got.append)
    stream.start(0)
    data = frames_of([smb(2 * WHOLE), smb(30, 1)])
    stream.take(1, WHOLE, memoryview(data)[:200], 1)
    stream.take(1 + WHOLE, len(data) - WHOLE, memoryview(data)[WHOLE:], 2)
    assert [(frame.size, len(frame.data)) for frame in got] == [(2 * WHOLE, 196), (30, 30)]


def test_a_keep_alive_of_netbios_is_passed_over() -> None:
    data = b"\x85\0\0\0" + frames_of([smb(30)])
    got, _ = run([(0, data)])
    assert [frame.data for frame in got] == [smb(30)]


def test_times_are_those_of_the_first_and_the_last_segment() -> None:
    data = frames_of([smb(100)])
    got, _ = run([(0, data[:3]), (3, data[3:50]), (50, data[50:])])
    assert (got[0].begun, got[0].ended) == (0, 50)
