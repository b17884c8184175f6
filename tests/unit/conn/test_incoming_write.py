# SPDX-License-Identifier: GPL-2.0-or-later
"""The data of a plain WRITE on its way from the socket to a file, past the receive buffers."""
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conn_fakes import STREAM_FROM, message
from test_transport import Rig

from ksmbd.conn.scratch import PIECE
from ksmbd.conn.tcp.streamed_write import AT_HAND
from ksmbd.smb.data_paths import Transfer

HEAD = 100
SIZE = PIECE + (256 << 10)


class FakeIncoming:
    """Writes to a descriptor; after `fails_at` bytes nothing is taken any more."""

    def __init__(self, fd: int, length: int, fails_at: int, method: Transfer = Transfer.SPLICE) -> None:
        self.fd = fd
        self.method = method
        self.left = self.length = length
        self.fails_at = fails_at
        self.finished = 0
        self.pieces = 0
        self.copied = 0
        self.ends: list[int] = []
        self.raises: Exception | None = None

    def take(self, data: memoryview) -> None:
        at = self.length - self.left
        self.left -= len(data)
        self.copied += 1
        self.ends.append(at + len(data))
        if at < self.fails_at:
            os.pwrite(self.fd, data, at)

    def take_pipe(self, pipe: int, count: int) -> bool:
        at = self.length - self.left
        self.left -= count
        self.pieces += 1
        if self.raises is not None:
            raise self.raises
        if at >= self.fails_at:
            return False
        while count:
            done = os.splice(pipe, self.fd, count, offset_dst=at)
            at += done
            count -= done
        return True

    def finish(self) -> None:
        self.finished += 1


class StreamRig(Rig):
    """The core takes every frame that is offered, its data from byte HEAD on."""

    def __init__(self, fd: int, fails_at: int = 1 << 40, method: Transfer = Transfer.SPLICE) -> None:
        super().__init__()
        self.taken: list[FakeIncoming] = []

        def begin_write(head: memoryview, length: int) -> FakeIncoming | None:
            if len(head) < HEAD:
                return None
            self.taken.append(FakeIncoming(fd, length - HEAD, fails_at, method))
            return self.taken[-1]

        self.core.begin_write = begin_write  # type: ignore[method-assign, assignment]

    def feed(self, data: bytes, piece: int = 1 << 20) -> None:
        for start in range(0, len(data), piece):
            part = memoryview(data)[start : start + piece]
            while part:
                try:
                    part = part[self.peer.send(part) :]
                except BlockingIOError:
                    pass
                self.turn(2)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    made = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield made
    os.close(made)


def big(size: int = STREAM_FROM + 54321) -> bytes:
    return message(os.urandom(size))


methods = pytest.mark.parametrize("method", [Transfer.SPLICE, Transfer.COPY, Transfer.EITHER])


@methods
@pytest.mark.parametrize("piece", [1 << 20, 65536, 30011])
def test_data_goes_to_the_file(fd: int, piece: int, method: Transfer) -> None:
    rig = StreamRig(fd, method=method)
    frame = big()
    rig.feed(frame + message(b"next"), piece)
    (incoming,) = rig.taken
    assert incoming.finished == 1 and not incoming.left
    if method is not Transfer.EITHER:
        assert (incoming.pieces > 0) == (method is Transfer.SPLICE)
    assert os.pread(fd, len(frame), 0) == frame[4 + HEAD :]
    assert rig.core.frames == [b"\xfeSMB" + bytes(60) + b"next"]
    assert rig.counted.sums[:2] == [2, len(frame) + 72]
    rig.close()


def test_copied_data_is_written_in_large_pieces_of_whole_pages(fd: int) -> None:
    rig = StreamRig(fd, method=Transfer.COPY)
    frame = big(SIZE + HEAD - 64)
    rig.feed(frame[:70_000])
    assert rig.taken[0].ends[-1] == 17 * 4096 < 70_000 - HEAD - 4 < 18 * 4096
    # Other connections use the same memory in between.
    rig.scratch.memory[:] = bytes(len(rig.scratch.memory))
    rig.feed(frame[70_000:])
    ends = rig.taken[0].ends
    assert ends[-1] == SIZE and not any(end % 4096 for end in ends)
    assert os.pread(fd, len(frame), 0) == frame[4 + HEAD :]
    rig.close()


def test_what_has_come_whole_is_written_at_once(fd: int) -> None:
    rig = StreamRig(fd, method=Transfer.COPY)
    rig.own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    rig.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    frame = big(SIZE + HEAD - 64)
    sent = rig.peer.send(frame)
    rig.turn(1)
    if sent == len(frame):
        assert rig.taken[0].ends == [PIECE, SIZE] and rig.taken[0].finished == 1
    rig.feed(frame[sent:])
    assert os.pread(fd, len(frame), 0) == frame[4 + HEAD :]
    rig.close()


def test_one_alone_waits_for_a_piece_and_several_do_not(fd: int) -> None:
    rig = StreamRig(fd, method=Transfer.COPY)
    frame = big()
    rig.feed(frame[:150_000])
    assert rig.own.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) > 65536
    rig.feed(frame[150_000:])
    assert rig.taken[0].finished == 1 and rig.own.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    rig.scratch.last_writer = 0
    rig.feed(frame[:150_000])
    assert rig.own.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    rig.feed(frame[150_000:])
    assert rig.taken[1].finished == 1
    rig.close()


def test_small_frames_and_refused_ones_come_whole(fd: int) -> None:
    rig = StreamRig(fd)
    small = message(bytes(100_000))
    rig.feed(small)
    rig.core.begin_write = lambda head, length: None  # type: ignore[method-assign]
    frame = big()
    rig.feed(frame)
    assert not rig.taken and rig.core.frames == [small[4:], frame[4:]]
    rig.close()


@methods
@pytest.mark.parametrize("fails_at", [0, 100_000])
def test_what_the_file_does_not_take_is_thrown_away(fd: int, method: Transfer, fails_at: int) -> None:
    rig = StreamRig(fd, fails_at, method)
    frame = big()
    rig.feed(frame + message(b"next"))
    assert rig.taken[0].finished == 1 and len(rig.core.frames) == 1
    good = StreamRig(fd)
    good.feed(frame)
    assert os.pread(fd, len(frame), 0) == frame[4 + HEAD :]
    rig.close()
    good.close()


@methods
def test_a_client_that_goes_in_the_middle(fd: int, method: Transfer) -> None:
    rig = StreamRig(fd, method=method)
    rig.feed(big()[:150_000])
    rig.peer.close()
    rig.turn(3)
    assert rig.closed and not rig.taken[0].finished and len(rig.core.gone) == 1
    rig.loop.close()


def test_what_has_come_is_spliced_and_the_rest_copied(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transfer.EITHER goes by what waits in the socket when its turn comes, if several connections write."""
    frame = big(900_000)
    left = len(frame) - 200_000
    assert left < AT_HAND, "all that is left is what has to be there"
    there = [left - 1]
    monkeypatch.setattr("ksmbd.conn.tcp.streamed_write.bytes_at_hand", lambda sock: there[0])
    rig = StreamRig(fd, method=Transfer.EITHER)
    there[0] = len(frame)
    rig.feed(frame)
    alone = rig.taken.pop()
    assert alone.copied and not alone.pieces and alone.finished
    rig.scratch.last_writer = 0
    there[0] = 0
    rig.feed(frame[:200_000])
    (incoming,) = rig.taken
    assert (incoming.copied > 0, incoming.pieces) == (True, 0)
    there[0] = left
    copied = incoming.copied
    rig.feed(frame[200_000:400_000])
    assert incoming.copied <= copied + 1 and incoming.pieces, "a rest of a page may have been left"
    there[0] = 0
    pieces = incoming.pieces
    rig.feed(frame[400_000:])
    assert incoming.copied > copied and incoming.pieces == pieces and incoming.finished == 1
    assert os.pread(fd, len(frame), 0) == frame[4 + HEAD :]
    rig.close()


def test_a_defect_ends_that_connection_and_leaves_the_pipe_empty(fd: int, capfd: pytest.CaptureFixture[str]) -> None:
    rig = StreamRig(fd)
    rig.feed(big()[:70_000])
    rig.taken[0].raises = ZeroDivisionError()
    rig.feed(big()[70_000:150_000])
    assert rig.closed and not rig.taken[0].finished and "unexpected ZeroDivisionError" in capfd.readouterr().err
    with pytest.raises(BlockingIOError):
        os.read(rig.scratch.pipe().reader, 1)
    rig.close()
