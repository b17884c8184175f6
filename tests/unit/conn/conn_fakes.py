# SPDX-License-Identifier: GPL-2.0-or-later
"""A core that records what it is given, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import Callable

from ksmbd.smb.ports import Frame, Transport

STREAM_FROM = 192 << 10
"""The length from which on FakeCore wants to be offered frames."""


class TurnedClock:
    """Monotonic seconds that stand still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeCore:
    """Answers through `answer`, if set."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.max_frame = 1 << 20
        self.write_from = STREAM_FROM
        self.session_count = 0
        self.open_count = 0
        self.offloaded_bytes = 0
        self.frames: list[bytes] = []
        self.gone: list[str] = []
        self.answer: Callable[[FakeCore, bytes], None] | None = None

    def receive(self, frame: bytearray) -> None:
        data = bytes(frame)
        self.frames.append(data)
        if self.answer is not None:
            self.answer(self, data)

    def receive_batch(self, view: memoryview, position: int, end: int, limit: int) -> tuple[int, int]:
        """Frames are wanted one by one."""
        return position, 0

    def begin_write(self, head: memoryview, length: int) -> None:
        """Every frame is wanted whole."""

    def disconnected(self, reason: str) -> None:
        self.gone.append(reason)


def message(body: bytes) -> bytes:
    """A session message around an SMB2-like frame of 64 bytes and `body`."""
    return nbss(b"\xfeSMB" + bytes(60) + body)


def nbss(data: bytes) -> bytes:
    """The 4-byte header and the data."""
    return len(data).to_bytes(4, "big") + data


def reply(core: FakeCore, data: bytes) -> None:
    """An `answer`: sends the frame back."""
    core.transport.send(Frame(nbss(data)))
