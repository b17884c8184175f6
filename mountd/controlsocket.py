# SPDX-License-Identifier: GPL-2.0-or-later
"""The socket `control` in the run directory, on which ksmbd.control asks the running daemon.

A client sends one line of JSON and receives lines of JSON until the daemon closes the connection. Only root and the
user that runs the daemon may connect: the socket's mode says so, and the kernel's word about the peer (SO_PEERCRED).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ksmbd import log
from mountd.loop import Loop, Timer

RETRY: Final = 0.005
"""Seconds until sending to a full socket is tried again."""
ROOT: Final = 0
CONNECTIONS_MAX: Final = 16
QUESTION_MAX: Final = 32 << 10
"""Bytes of a question."""
_CREDENTIALS: Final = struct.Struct("=iII")
_RECEIVE: Final = 64 << 10


@contextlib.contextmanager
def socket_address(path: str) -> Iterator[str]:
    """An address for a socket at `path`, however long that is: sun_path has 108 bytes. Raises OSError."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


class Conversation:
    """One connection of a client."""

    def __init__(self, server: ControlSocket, connection: socket.socket) -> None:
        self._server = server
        self._socket = connection
        self.refusal = ""
        """Why its question is not answered; it is read first, so that the client sees this and no broken pipe."""
        self.who = ""
        """The process and the user that ask."""
        self._received = b""
        self._waiting = bytearray()
        self._ending = False
        self._reads = True
        self._timer: Timer | None = None

    def fileno(self) -> int:
        """The descriptor of the connection, -1 once it is closed."""
        return self._socket.fileno()

    @property
    def gone(self) -> bool:
        """Whether the connection is closed; what is said is dropped then."""
        return self._socket.fileno() < 0

    def say(self, answer: Mapping[str, object]) -> None:
        """Send a line of the answer."""
        if not self.gone and not self._ending:
            self._waiting += json.dumps(answer).encode() + b"\n"
            self._send()

    def end(self, answer: Mapping[str, object] | None = None) -> None:
        """Send the last line, if there is one, and close the connection when all is sent."""
        if answer is not None:
            self.say(answer)
        self._ending = True
        self._send()

    def on_readable(self) -> None:
        """Take what the client has sent; its whole question goes to the server's handler."""
        try:
            data = self._socket.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data and b"\n" in self._received:
            self._stop_reading()  # it sends no more, and may still read its answer
            return
        if not data:
            self.close()
            return
        if b"\n" in self._received:
            return  # one question a connection
        self._received += data
        if b"\n" in self._received:
            if self.refusal:
                self.end({"error": self.refusal})
            else:
                self._server.asked(self, self._received.partition(b"\n")[0])
        elif len(self._received) > QUESTION_MAX:
            self.end({"error": "the question is too long"})

    def _send(self) -> None:
        if self.gone or self._timer is not None:
            return
        try:
            while self._waiting:
                sent = self._socket.send(self._waiting)
                del self._waiting[:sent]
        except (BlockingIOError, InterruptedError):
            self._timer = self._server.loop.call_later(RETRY, self._again)
            return
        except OSError:
            self.close()
            return
        if self._ending:
            self.close()

    def _again(self) -> None:
        self._timer = None
        self._send()

    def _stop_reading(self) -> None:
        if self._reads:
            self._reads = False
            self._server.loop.remove_reader(self.fileno())

    def close(self) -> None:
        """Close the connection now."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.gone:
            self._stop_reading()
            self._server.forget(self)
            self._socket.close()


class ControlSocket:
    """The listening socket. `handle` gets each question."""

    def __init__(self, loop: Loop, path: str, handle: Callable[[dict[str, Any], Conversation], None]) -> None:
        """Listen at `path`, where a socket of a dead daemon is replaced. Raises OSError."""
        self.loop = loop
        self._path = path
        self._handle = handle
        self._conversations: set[Conversation] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            with socket_address(path) as address:
                self._socket.bind(address)
            self._socket.listen(CONNECTIONS_MAX)
        except OSError:
            self._socket.close()
            raise
        finally:
            os.umask(mask)
        loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Close all connections, and remove the socket."""
        self.loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for conversation in list(self._conversations):
            conversation.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def forget(self, conversation: Conversation) -> None:
        """A connection is about to be closed."""
        self._conversations.discard(conversation)

    def asked(self, conversation: Conversation, line: bytes) -> None:
        """Handle a question: a JSON object."""
        try:
            question = json.loads(line)
        except ValueError:
            question = None
        if not isinstance(question, dict):
            conversation.end({"error": "the question is no JSON object"})
            return
        try:
            self._handle(question, conversation)
        except Exception as error:  # noqa: BLE001  a question must not end the daemon
            log.exception("a question of ksmbd.control failed", error)
            conversation.end({"error": f"ksmbd.mountd failed: {type(error).__name__}"})

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        connection.setblocking(False)
        conversation = Conversation(self, connection)
        self._conversations.add(conversation)
        self.loop.add_reader(connection.fileno(), conversation.on_readable)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        conversation.who = f"process {pid} of uid {uid}"
        if uid not in (ROOT, os.geteuid()):
            conversation.refusal = "not allowed"
        elif len(self._conversations) > CONNECTIONS_MAX:
            conversation.refusal = "too many of ksmbd.control ask at once; try again"
