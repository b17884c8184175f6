# SPDX-License-Identifier: GPL-2.0-or-later
"""The project's own small client with frames as bad as a test wants them: what comes back is a status, or the end."""

from __future__ import annotations

import os
import socket
import struct
import sys
from types import TracebackType
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "bench"))

from client import BenchClient, BenchError
from server import KsmbdServer

from ksmbd.smb.header import HEADROOM

STATUS_PENDING = 0x103
NOTICE = b"\xff" * 8
"""MessageId of what the server says unasked."""

_FIELDS = {
    "protocol_id": (0, "4s"), "structure_size": (4, "<H"), "credit_charge": (6, "<H"), "status": (8, "<I"),
    "command": (12, "<H"), "credits": (14, "<H"), "flags": (16, "<I"), "next_command": (20, "<I"),
    "message_id": (24, "<Q"), "tree_id": (36, "<I"), "session_id": (40, "<Q"), "signature": (48, "16s"),
}  # fmt: skip
"""Offset and layout of the header's fields (MS-SMB2 2.2.1.2)."""


class ConnectionEnded(Exception):
    """The server closed the connection."""


class RawClient(BenchClient):
    """Logged on, unsigned and in the clear, connected to the server's first share; a context manager."""

    def __init__(
        self, server: KsmbdServer, share: str | None = None, *, user: str | None = None, **options: Any
    ) -> None:
        name = user if user is not None else server.user
        super().__init__("127.0.0.1", server.port, name, server.users[name], **options)
        self.notices: list[bytes] = []
        self.tree(share if share is not None else next(iter(server.shares)))
        self.want_credits(64)

    def post(self, command: int, body: bytes, charge: int = 1, **header: Any) -> int:
        """Send one request with these fields of the header overwritten; its MessageId."""
        message_id = self.message_id
        frame = self.message(command, body, charge)
        for name, value in header.items():
            offset, layout = _FIELDS[name]
            struct.pack_into(layout, frame, HEADROOM + offset, value)
        self.post_bytes(self.wire(frame))
        return int(header.get("message_id", message_id))

    def post_bytes(self, data: bytes | memoryview) -> None:
        """Send bytes as they are. Raises ConnectionEnded."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise ConnectionEnded from error

    def frame(self) -> bytes:
        """The next message of the server. Raises ConnectionEnded."""
        try:
            size = int.from_bytes(self._exactly(4), "big")
            message = self._exactly(size)
        except ConnectionResetError as error:
            raise ConnectionEnded from error
        if message[:4] == b"\xfdSMB":
            assert self.sealer is not None
            message = bytes(self.sealer.open(memoryview(bytearray(message))))
        self.credits += struct.unpack_from("<H", message, 14)[0]
        return message

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionEnded
            data += part
        return data

    def reply(self, message_id: int) -> bytes:
        """The final response with this MessageId; unasked notices are kept. Raises ConnectionEnded."""
        while True:
            message = self.frame()
            if message[24:32] == NOTICE:
                self.notices.append(message)
            elif struct.unpack_from("<Q", message, 24)[0] == message_id and status_of(message) != STATUS_PENDING:
                return message

    def notice(self) -> bytes:
        """The next thing that the server says unasked."""
        while not self.notices:
            message = self.frame()
            assert message[24:32] == NOTICE, message
            self.notices.append(message)
        return self.notices.pop(0)

    def status(self, command: int, body: bytes, charge: int = 1, **header: Any) -> int:
        """The status of the final response. Raises ConnectionEnded."""
        self.credits -= charge
        return status_of(self.reply(self.post(command, body, charge, **header)))

    def vanish(self) -> None:
        """Break the connection as a machine does whose network is gone: a reset, no good-bye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


def status_of(message: bytes) -> int:
    """The Status field of a response."""
    return int(struct.unpack_from("<I", message, 8)[0])


__all__ = ["BenchError", "ConnectionEnded", "RawClient", "status_of"]
