# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted client for the protocol's ServerConnection, without sockets: build frames, feed them, read the replies."""
from __future__ import annotations

from struct import Struct, pack
from typing import Any

from bench import clock_of, security_of, volume_of
from fake_clock import FakeClock
from fake_files import FakeFiles, FakeVolume
from fake_opens import FakeTable
from fakes import FakeDaemon, FakeSecurity, FakeSigner, FakeTransport

from ksmbd.smb import constants as c
from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.header import HEADER_SIZE, SYNC_HEADER, Header
from ksmbd.smb.model import Server
from ksmbd.smb.ports import ShareConfig
from ksmbd.smb.settings import ServerSettings

CLIENT_KEY = b"\x01" * 16
"""What FakeSecurity derives as signing key."""


class Response:
    """One element of a reply frame."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.header = Header(message)
        self.status = self.header.status
        self.body = message[HEADER_SIZE:]


def split(frame: bytes) -> list[Response]:
    """The elements of a reply frame (a fake transform header is skipped)."""
    if frame[:4] == b"\xfdSMB":
        frame = frame[52:]
    responses: list[Response] = []
    while True:
        response = Response(frame)
        step = response.header.next_command
        if not step:
            return [*responses, response]
        responses.append(Response(frame[:step]))
        frame = frame[step:]


class Client:
    """One connection of a client with its own fake server, or with another client's."""

    def __init__(self, server: Server | None = None, settings: ServerSettings | None = None) -> None:
        if server is None:
            daemon = FakeDaemon()
            daemon.shares["SHARE"] = ShareConfig("share", "/srv", oplocks=False)
            daemon.shares["SECRET"] = ShareConfig("secret", "/srv", encrypt=True, oplocks=False)
            daemon.shares["IPC$"] = ShareConfig("IPC$", "", is_pipe=True, oplocks=False)
            server = Server(
                settings or ServerSettings(min_dialect=c.DIALECT_202, multichannel=True), FakeSecurity(),
                FakeFiles(FakeVolume()), FakeTable(), daemon, FakeClock(),
            )  # fmt: skip
        self.server = server
        self.daemon: Any = server.daemon
        self.transport = FakeTransport()
        self.connection = ServerConnection(server, self.transport)
        self.message_id = 0
        self.session_id = 0
        self.tree_id = 0
        self.sign = False
        self.guid = b"G" * 16

    @property
    def volume(self) -> FakeVolume:
        """Its server's one share."""
        return volume_of(self.server)

    @property
    def clock(self) -> FakeClock:
        """Its server's."""
        return clock_of(self.server)

    @property
    def security(self) -> FakeSecurity:
        """Its server's."""
        return security_of(self.server)

    # ------------------------------------------------------------------------------------------------ building

    def element(self, command: int, body: bytes, **fields: Any) -> bytes:
        """One request message. Fields: flags, session_id, tree_id, credits, charge, next_command, message_id..."""
        charge = fields.get("charge", 1)
        message_id = fields.get("message_id", self.message_id)
        if "message_id" not in fields and command != c.CANCEL:
            self.message_id += max(charge, 1)
        flags = fields.get("flags", 0)
        signs = fields.get("sign", self.sign)
        if signs:
            flags |= c.FLAGS_SIGNED
        message = bytearray(
            SYNC_HEADER.pack(
                fields.get("protocol", b"\xfeSMB"), 64, charge, fields.get("status", 0), command,
                fields.get("credits", 10), flags, fields.get("next_command", 0), message_id, 0,
                fields.get("tree_id", self.tree_id), fields.get("session_id", self.session_id), bytes(16),
            )
            + body
        )
        if signs:
            FakeSigner(fields.get("key", CLIENT_KEY)).sign(memoryview(message))
        return bytes(message)

    def compound(self, *parts: tuple[int, bytes, dict[str, Any]]) -> bytes:
        """A frame of several elements: (command, body, fields), each but the last padded to 8."""
        frame = b""
        for index, (command, body, fields) in enumerate(parts):
            if index < len(parts) - 1:
                body += bytes(-len(body) % 8)
                fields = {**fields, "next_command": HEADER_SIZE + len(body)}
            frame += self.element(command, body, **fields)
        return frame

    # ----------------------------------------------------------------------------------------------- exchanging

    def feed(self, frame: bytes) -> list[Response]:
        """Hand a frame over; the replies that came at once."""
        before = len(self.transport.frames)
        self.connection.receive(bytearray(frame))
        return [response for reply in self.transport.frames[before:] for response in split(reply)]

    def ask(self, command: int, body: bytes, **fields: Any) -> Response:
        """One request, exactly one reply."""
        (response,) = self.feed(self.element(command, body, **fields))
        return response

    def negotiate(self, *dialects: int, contexts: list[bytes] | None = None, **fields: Any) -> Response:
        """NEGOTIATE with these dialects; 3.1.1 brings its contexts."""
        if contexts is None and c.DIALECT_311 in dialects:
            contexts = [preauth_context(), context(2, pack("<HH", 1, 2)), context(8, pack("<HH", 1, 1))]
        names = b"".join(pack("<H", dialect) for dialect in dialects)
        tail = b""
        offset = count = 0
        if contexts:
            offset = (HEADER_SIZE + 36 + len(names) + 7) & ~7
            tail = bytes(offset - HEADER_SIZE - 36 - len(names)) + joined(contexts)
            count = len(contexts)
        body = pack("<HHHHI16sIHH", 36, len(dialects), 1, 0, 0x7F, self.guid, offset, count, 0) + names + tail
        return self.ask(c.NEGOTIATE, body, **fields)

    def setup(self, token: bytes, flags: int = 0, previous: int = 0, mode: int = 1, **fields: Any) -> Response:
        """One round of SESSION_SETUP."""
        return self.ask(c.SESSION_SETUP, self.setup_body(token, flags, previous, mode), **fields)

    @staticmethod
    def setup_body(token: bytes, flags: int = 0, previous: int = 0, mode: int = 1) -> bytes:
        """A SESSION_SETUP request's body."""
        return pack("<HBBIIHHQ", 25, flags, mode, 0, 0, HEADER_SIZE + 24, len(token), previous) + token

    def log_on(self, mode: int = 1, previous: int = 0) -> Response:
        """Both rounds; the session id is kept."""
        first = self.setup(b"hello", mode=mode)
        self.session_id = first.header.session_id
        return self.setup(b"proof", mode=mode, previous=previous)

    def tree(self, share: str = "share", **fields: Any) -> Response:
        """TREE_CONNECT; the tree id is kept. Signed, as 3.1.1 wants it."""
        path = f"\\\\server\\{share}".encode("utf-16-le")
        fields.setdefault("sign", True)
        response = self.ask(c.TREE_CONNECT, pack("<HHHH", 9, 0, HEADER_SIZE + 8, len(path)) + path, **fields)
        if response.status == 0:
            self.tree_id = response.header.tree_id
        return response

    def ready(self, dialect: int = c.DIALECT_311) -> Client:
        """Negotiated, logged on, connected to `share`."""
        assert self.negotiate(dialect).status == 0
        assert self.log_on().status == 0
        assert self.tree().status == 0
        return self


ECHO_BODY = b"\x04\0\0\0"
_CONTEXT = Struct("<HHI")


def context(kind: int, data: bytes) -> bytes:
    """One negotiate context, not padded."""
    return _CONTEXT.pack(kind, len(data), 0) + data


def preauth_context(*algorithms: int) -> bytes:
    """PREAUTH_INTEGRITY_CAPABILITIES with a salt of 4 bytes."""
    algorithms = algorithms or (1,)
    return context(1, pack("<HH", len(algorithms), 4) + b"".join(pack("<H", a) for a in algorithms) + b"salt")


def joined(contexts: list[bytes]) -> bytes:
    """A context list: every context starts on a multiple of 8."""
    return b"".join(one + bytes(-len(one) % 8) for one in contexts[:-1]) + contexts[-1]
