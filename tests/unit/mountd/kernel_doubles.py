# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's side of generic netlink, scripted: it sends KSMBD's structures as bytes and keeps the bytes that it
gets."""
from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from ksmbd.ipc.constants import Event
from ksmbd.ipc.genetlink import KernelChannel
from ksmbd.ipc.settings import EngineSettings
from ksmbd.overriding import override
from mountd.kernelserver.control import KernelControl
from mountd.loop import Loop, Timer

FAMILY_ID = 0x23
PORT = 4711


def text(value: str, size: int) -> bytes:
    """A fixed field."""
    return value.encode().ljust(size, b"\0")


def from_kernel(event: int, payload: bytes, family: int = FAMILY_ID, version: int = 1) -> bytes:
    """A message as the kernel builds it: no flags, no sequence number, one attribute of the message's own type."""
    attribute = struct.pack("=HH", 4 + len(payload), event) + payload + bytes(-len(payload) % 4)
    return struct.pack("=IHHIIBBH", 20 + len(attribute), family, 0, 0, 0, event, version, 0) + attribute


def error(code: int) -> bytes:
    """NLMSG_ERROR; 0 is an acknowledgment."""
    return struct.pack("=IHHIIi", 36, 2, 0, 1, PORT, code) + bytes(16)


def login(handle: int, account: str, event: int = Event.LOGIN_REQUEST) -> bytes:
    return from_kernel(event, struct.pack("=I", handle) + text(account, 48) + bytes(64))


def share_config(handle: int, name: str) -> bytes:
    return from_kernel(Event.SHARE_CONFIG_REQUEST, struct.pack("=I", handle) + text(name, 64) + bytes(64))


def tree_connect(
    handle: int, account: str, share: str, flags: int = 1, session: int = 7, tree: int = 1,
    peer: str = "0000:0000:0000:0000:0000:ffff:c000:0207",
) -> bytes:  # fmt: skip
    fixed = struct.pack("=IHHQQ", handle, flags, 2, session, tree)
    return from_kernel(
        Event.TREE_CONNECT_REQUEST, fixed + text(account, 48) + text(share, 64) + text(peer, 64) + bytes(64)
    )


def tree_disconnect(session: int = 7, tree: int = 1) -> bytes:
    return from_kernel(Event.TREE_DISCONNECT_REQUEST, struct.pack("=QQ", session, tree) + bytes(64))


def logout(account: str, flags: int) -> bytes:
    return from_kernel(Event.LOGOUT_REQUEST, text(account, 48) + struct.pack("=I", flags) + bytes(64))


def rpc(handle: int, flags: int, data: bytes = b"") -> bytes:
    """With the byte behind the payload that the kernel sends beside data."""
    more = b"\0" if data else b""
    return from_kernel(Event.RPC_REQUEST, struct.pack("=III", handle, flags, len(data)) + data + more)


class KernelSocket:
    """What the channel uses of a socket. `on_start` are the messages with which the kernel answers STARTING_UP."""

    def __init__(self, on_start: Iterable[bytes] = (error(0),)) -> None:
        self.sent: list[bytes] = []
        self.incoming: deque[bytes] = deque()
        self.on_start = list(on_start)
        self.sender = (0, 0)
        # Always readable, for select.
        self._read, self._write = os.pipe()
        os.write(self._write, b"x")

    def setblocking(self, flag: bool) -> None: ...
    def setsockopt(self, level: int, option: int, value: int) -> None: ...

    def getpeername(self) -> tuple[int, int]:
        return 0, 0

    def getsockname(self) -> tuple[int, int]:
        return PORT, 0

    def fileno(self) -> int:
        return self._read

    def close(self) -> None:
        if self._read >= 0:
            os.close(self._read)
            os.close(self._write)
            self._read = -1

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        if data[16] == Event.STARTING_UP:
            self.incoming.extend(self.on_start)
        return len(data)

    def recvmsg_into(self, buffers: list[bytearray], room: int) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming.popleft()
        buffers[0][: len(data)] = data
        return len(data), [(1, 2, struct.pack("=iII", 0, 0, 0))], 0, self.sender


class FakeLoop:
    """Timers that the test turns."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Timer]] = []

    def add_reader(self, descriptor: int, call: Callable[[], None]) -> None:
        self.readers[descriptor] = call

    def remove_reader(self, descriptor: int) -> None:
        del self.readers[descriptor]

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        self.timers.append((seconds, timer))
        return timer

    def turn(self) -> None:
        """Call the timers that are set now."""
        due, self.timers = self.timers, []
        for _, timer in due:
            if timer.call is not None:
                timer.call()

    @property
    def waits(self) -> list[float]:
        """The seconds of the timers that are set."""
        return [seconds for seconds, timer in self.timers if timer.call is not None]


class FakeControl(KernelControl):
    """The states that the kernel shows, one after the other; the last one stays."""

    def __init__(self, *states: str) -> None:
        super().__init__("/nowhere")
        self.states = list(states)
        self.killed = 0

    @override
    def state(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    @override
    def kill(self) -> None:
        self.killed += 1


def channel(sock: KernelSocket) -> KernelChannel:
    """A real channel over a scripted socket."""
    return KernelChannel(cast("Any", sock), FAMILY_ID)


def loop(fake: FakeLoop) -> Loop:
    """For what takes a Loop."""
    return cast("Loop", fake)


SETTINGS = EngineSettings(tcp_port=4450, interfaces=(), sub_auth=(1, 2, 3))
