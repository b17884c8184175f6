# SPDX-License-Identifier: GPL-2.0-or-later
"""Framing without a socket: bytes in all splits give the same frames."""

from __future__ import annotations

import pytest
from conn_fakes import message, nbss
from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.conn.scratch import Scratch
from ksmbd.conn.tcp.framing import BEFORE_LOGON, HEADER, KEEP, FramingError, Receiver
from ksmbd.smb import frames

LIMIT = 1 << 20


class Feed:
    """A stream into a Receiver."""

    def __init__(self, limit: int = LIMIT, scratch: Scratch | None = None) -> None:
        self.requests = 0
        self.limit = limit
        self.frames: list[bytearray] = []
        self.receiver = Receiver(scratch or Scratch(8192), self._request)

    def _request(self) -> None:
        self.requests += 1

    def feed(self, data: bytes) -> None:
        """Receive `data` as a socket would: at most what fits the target."""
        position = 0
        while position < len(data):
            target = self.receiver.target()
            assert len(target) > 0
            count = min(len(target), len(data) - position)
            target[:count] = data[position : position + count]
            self.receiver.advance(count)
            position += count
            while (frame := self.receiver.next(self.limit)) is not None:
                self.frames.append(frame)
            self.receiver.park()


STREAM_FRAMES = [
    b"\xfeSMB" + bytes(60),
    b"\xfeSMB" + bytes(range(256)) * 10,
    b"\xffSMB" + bytes(40),
    b"\xfdSMB" + bytes(200),
]
STREAM = b"".join(nbss(frame) for frame in STREAM_FRAMES)


def test_every_split_in_two() -> None:
    for cut in range(len(STREAM) + 1):
        feed = Feed()
        feed.feed(STREAM[:cut])
        feed.feed(STREAM[cut:])
        assert feed.frames == STREAM_FRAMES, cut
        assert feed.receiver.buffered == 0


@pytest.mark.parametrize("size", [1, 2, 3, 5, 63, 64, 65, 1000])
def test_equal_pieces(size: int) -> None:
    feed = Feed()
    for start in range(0, len(STREAM), size):
        feed.feed(STREAM[start : start + size])
    assert feed.frames == STREAM_FRAMES


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(64, 3 * KEEP), min_size=1, max_size=6), st.data())
def test_random_frames_in_random_pieces(sizes: list[int], data: st.DataObject) -> None:
    frames = [b"\xfeSMB" + bytes([index]) * (size - 4) for index, size in enumerate(sizes)]
    stream = b"".join(map(nbss, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    feed = Feed()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        feed.feed(stream[start:end])
    assert feed.frames == frames


def test_two_connections_share_one_scratch_buffer() -> None:
    scratch = Scratch(8192)
    one, two = Feed(scratch=scratch), Feed(scratch=scratch)
    for index in range(0, len(STREAM), 37):
        one.feed(STREAM[index : index + 37])
        two.feed(STREAM[index : index + 37])
    assert one.frames == two.frames == STREAM_FRAMES


def test_a_large_frame_is_received_into_its_own_buffer() -> None:
    feed = Feed()
    frame = b"\xfeSMB" + bytes(500_000)
    data = nbss(frame)
    feed.feed(data[:5000])
    assert feed.receiver.missing == len(data) - 5000
    assert len(feed.receiver.target()) == len(data) - 5000
    feed.feed(data[5000:] + nbss(STREAM_FRAMES[0]))
    assert feed.frames == [frame, STREAM_FRAMES[0]]


@pytest.mark.parametrize("piece", [1400, 30_000, 1 << 20])
@pytest.mark.parametrize(("limit", "length"), [(BEFORE_LOGON, BEFORE_LOGON), (8 << 20, 6_000_000)])
def test_no_more_is_set_aside_than_twice_what_has_come(limit: int, length: int, piece: int) -> None:
    feed = Feed(limit=limit)
    frame = b"\xfeSMB" + bytes(range(256)) * (length // 256 - 1)
    data = nbss(frame) + nbss(STREAM_FRAMES[0])
    most = frames.MOST if limit > BEFORE_LOGON else 2 * KEEP
    for start in range(0, len(data), piece):
        feed.feed(data[start : start + piece])
        assert feed.receiver.buffered <= max(2 * min(start + piece, len(data)), most)
        assert feed.receiver.missing == 0 or feed.receiver.missing == len(frame) + HEADER - start - piece
    assert feed.frames == [frame, STREAM_FRAMES[0]] and feed.receiver.buffered == 0
    feed.frames[0].extend(bytes(16))  # with room for a cipher's tag, as each frame


def test_a_frame_that_grew_is_nobody_elses_later() -> None:
    feed = Feed(limit=8 << 20)
    data = nbss(b"\xfeSMB" + bytes(3_000_000))
    feed.feed(data[:20_000])
    feed.feed(data[20_000:])
    assert all(len(kept) <= frames.MOST for kept in frames._kept) and feed.frames[0] not in frames._kept


def test_who_receives_nothing_more_holds_nothing() -> None:
    for data in (b"\0\0\xff\0\xfeSMB" + bytes(5000), b"\0\0\xff\0\xfeSMB", b"\0\0"):
        feed = Feed()
        feed.feed(data)
        assert feed.receiver.buffered > 0
        feed.receiver.clear()
        assert (feed.receiver.buffered, feed.receiver.missing, feed.receiver.parked) == (0, 0, False)


def test_a_frame_is_the_callers_own() -> None:
    scratch = Scratch(8192)
    feed = Feed(scratch=scratch)
    feed.feed(message(b"mine"))
    scratch.view[:] = bytes(len(scratch.view))
    assert feed.frames[0].endswith(b"mine")
    feed.frames[0].extend(b"more")  # would fail while something holds a view on it


@pytest.mark.parametrize("length", [0, 1, 3, 4, 34, LIMIT + 1, 0xFFFFFF])
def test_length_out_of_bounds(length: int) -> None:
    feed = Feed()
    with pytest.raises(FramingError, match=str(length)):
        feed.feed(length.to_bytes(4, "big") + b"\xfeSMB")
    assert feed.receiver.buffered == 0, "nothing is held for a promise that is refused"


def test_longest_and_shortest_frames_are_taken() -> None:
    feed = Feed(limit=10_000)
    longest = b"\xfeSMB" + bytes(9_996)
    smb1 = b"\xffSMB" + bytes(31)
    feed.feed(nbss(longest) + nbss(smb1))
    assert feed.frames == [longest, smb1]


@pytest.mark.parametrize("first", [0xFE, 0xFD, 0x00])
def test_shorter_than_an_smb2_header(first: int) -> None:
    with pytest.raises(FramingError, match="too short for a header"):
        Feed().feed(nbss(bytes([first]) + bytes(62)))


def test_limit_is_asked_for_each_frame() -> None:
    feed = Feed(limit=100)
    feed.feed(nbss(STREAM_FRAMES[0]))
    feed.limit = 5000
    feed.feed(nbss(STREAM_FRAMES[1]))
    assert feed.frames == STREAM_FRAMES[:2]


def test_session_request_and_keep_alive() -> None:
    feed = Feed()
    feed.feed(b"\x81\x00\x00\x44" + bytes(68) + b"\x85\0\0\0" + nbss(STREAM_FRAMES[0]) + b"\x85\0\0\0")
    assert feed.requests == 1
    assert feed.frames == STREAM_FRAMES[:1]
    assert feed.receiver.buffered == 0


@pytest.mark.parametrize(
    "data",
    [
        nbss(STREAM_FRAMES[0]) + b"\x81\x00\x00\x44" + bytes(68),  # not the first packet
        b"\x81\x00\x02\x01",  # longer than two names
        b"\x85\x00\x00\x01\x00",  # a keep-alive has no data
        b"\x82\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_no_session_packet(data: bytes) -> None:
    with pytest.raises(FramingError):
        Feed().feed(data)


def test_parked_frames_come_again_and_are_handed_over_whole() -> None:
    """A receiver stopped after its first frame gives the rest later, or to another worker."""
    feed = Feed()
    target = feed.receiver.target()
    target[: len(STREAM)] = STREAM
    feed.receiver.advance(len(STREAM))
    first = feed.receiver.next(LIMIT)
    assert first is not None and bytes(first) == STREAM_FRAMES[0]
    handed_over = feed.receiver.unread(first)
    assert handed_over == STREAM
    feed.receiver.park()
    assert feed.receiver.parked
    rest = []
    while (frame := feed.receiver.next(LIMIT)) is not None:
        rest.append(frame)
        feed.receiver.park()  # a turn of one frame each
    assert rest == STREAM_FRAMES[1:]
    successor = Feed()
    successor.receiver.preload(handed_over)
    again = []
    while (frame := successor.receiver.next(LIMIT)) is not None:
        again.append(frame)
    assert again == STREAM_FRAMES


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8), st.integers(1, 5000))
def test_no_bytes_raise_anything_but_a_framing_error(pieces: list[bytes], limit: int) -> None:
    feed = Feed(limit=limit)
    for piece in pieces:
        try:
            feed.feed(piece)
        except FramingError:
            return
        assert feed.receiver.buffered <= limit + 600, "no more is held than a frame that is allowed"
    assert all(35 <= len(frame) <= limit for frame in feed.frames)
