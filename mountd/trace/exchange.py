# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection: frames of both directions -> Commands, each a request with its reply (MS-SMB2 3.2.5.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ksmbd.smb import constants as c
from ksmbd.smb.header import (
    COMPRESSION_PROTOCOL_ID,
    HEADER_SIZE,
    SMB1_PROTOCOL_ID,
    SMB2_PROTOCOL_ID,
    TRANSFORM_PROTOCOL_ID,
    Header,
)
from ksmbd.smb.status import (
    STATUS_BUFFER_OVERFLOW,
    STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_NOTIFY_CLEANUP,
    STATUS_NOTIFY_ENUM_DIR,
    STATUS_PENDING,
    STATUS_SUCCESS,
    ConnectionFatal,
    status_name,
)
from mountd.trace import messages
from mountd.trace.keys import KeyRing
from mountd.trace.known import Known
from mountd.trace.packets import Endpoint
from mountd.trace.sealed import session_of
from mountd.trace.stream import Frame

UNSOLICITED: Final = 0xFFFFFFFFFFFFFFFF
"""MessageId of a notification (MS-SMB2 2.2.23.1)."""
UNDER_WAY_MAX: Final = 8192 + 512
"""Requests of a connection that wait for a reply: more than credits allow."""
ROOT: Final = "\\"
"""The name of a share's folder, which has none on the wire."""
HELD_MAX: Final = 1024
"""Sealed frames that wait for their session's key."""
_SMB1_NEGOTIATE: Final = SMB1_PROTOCOL_ID + b"\x72"


@dataclass(slots=True)
class Command:
    """A request and its reply."""

    begun: int
    """When the request had come, ns since 1970."""
    client: Endpoint
    server: Endpoint
    command: str
    session: int
    tree: int
    message: int
    user: str = ""
    share: str = ""
    name: str = ""
    file_id: bytes = b""
    size: int | None = None
    """Bytes of data that were wanted, and of those transferred when there is a reply."""
    offset: int | None = None
    what: str = ""
    status: int | None = None
    """None without a reply."""
    ended: int = 0
    """When the reply began, ns."""
    sealed: bool = False
    signed: bool = False
    pending: bool = False
    """There was an interim reply (STATUS_PENDING)."""
    compound: int = 0
    """Its place in a compound, from 1; 0: alone."""
    problem: str = ""
    request: bytes = b""
    reply: bytes = b""

    @property
    def latency_us(self) -> float | None:
        """From the end of the request to the beginning of the reply."""
        return (self.ended - self.begun) / 1000 if self.ended else None

    @property
    def failed(self) -> bool:
        """Whether there was a reply, and it is neither success nor a step on the way to it."""
        return self.status not in (None, STATUS_SUCCESS, STATUS_PENDING, STATUS_MORE_PROCESSING_REQUIRED)

    @property
    def status_text(self) -> str:
        """STATUS_... ; '' without a reply."""
        return "" if self.status is None else status_name(self.status)


@dataclass
class Exchange:
    """The requests and replies of one connection. `on_command` gets each Command when it is complete."""

    client: Endpoint
    server: Endpoint
    known: Known
    keys: KeyRing
    on_command: Callable[[Command], None]
    waits_for_keys: bool = False
    """Whether keys may still come: sealed frames without one are held until `retry`."""
    _under_way: dict[int, Command] = field(default_factory=dict)
    _held: list[tuple[Frame, bool]] = field(default_factory=list)

    def take(self, frame: Frame, from_server: bool) -> None:
        """Take a frame."""
        if self._held:
            self._hold(frame, from_server)
        else:
            self._take(frame, from_server)

    def retry(self, give_up: bool) -> None:
        """Try held frames again, because keys have come; `give_up`: none will come any more."""
        held, self._held = self._held, []
        for number, (frame, from_server) in enumerate(held):
            if not self._take(frame, from_server, give_up):
                self._held = held[number:]
                return

    @property
    def holds(self) -> int:
        """When the first held frame came, ns; 0: none is held."""
        return self._held[0][0].ended if self._held else 0

    def end(self) -> None:
        """The connection has ended: what has no reply gets none."""
        self.retry(True)
        for command in list(self._under_way.values()):
            self.on_command(command)
        self._under_way.clear()

    def _hold(self, frame: Frame, from_server: bool) -> None:
        self._held.append((frame, from_server))
        if len(self._held) > HELD_MAX:
            self.retry(True)

    def _take(self, frame: Frame, from_server: bool, give_up: bool = False) -> bool:
        """Take a frame. Returns False where it is sealed and its key may still come."""
        data, sealed = frame.data, False
        if data[:4] == TRANSFORM_PROTOCOL_ID:
            session = session_of(data)
            message = self.keys.open(data, session, from_server) if session is not None else None
            if message is None:
                if self.waits_for_keys and not give_up and session is not None and not self.keys.has(session):
                    self._hold(frame, from_server)
                    return False
                self._closed(frame, session or 0, from_server)
                return True
            data, sealed = message, True
        if data[:4] != SMB2_PROTOCOL_ID:
            self._foreign(frame, from_server)
            return True
        self._messages(frame, data, sealed, from_server)
        return True

    def _told(self, frame: Frame, command: str, session: int = 0) -> Command:
        return Command(
            begun=frame.ended, client=self.client, server=self.server, command=command, session=session, tree=0,
            message=0,
        )  # fmt: skip

    def _whole(self, frame: Frame, kind: str, from_server: bool, session: int = 0) -> Command:
        """What is told of a frame in which no commands are seen."""
        told = self._told(frame, kind, session)
        told.size, told.what = frame.size, "from the server" if from_server else "from the client"
        return told

    def _closed(self, frame: Frame, session: int, from_server: bool) -> None:
        """A frame that cannot be decrypted is told of as it is."""
        told = self._whole(frame, "SEALED", from_server, session)
        told.user, told.sealed = self._user(session), True
        self.on_command(told)

    def _foreign(self, frame: Frame, from_server: bool) -> None:
        """SMB1 (a NEGOTIATE, MS-SMB2 3.3.5.3.1), a compressed message (2.2.42), or what is none."""
        kind = {SMB1_PROTOCOL_ID: "SMB1", COMPRESSION_PROTOCOL_ID: "COMPRESSED"}.get(frame.data[:4], "UNKNOWN")
        told = self._whole(frame, kind, from_server)
        if frame.data[:5] == _SMB1_NEGOTIATE and not from_server:
            told.command, told.what = c.COMMAND_NAMES[c.NEGOTIATE], "SMB1"
            self._under_way[0] = told  # 3.3.5.3: answered with MessageId 0
            return
        self.on_command(told)

    def _messages(self, frame: Frame, data: bytes, sealed: bool, from_server: bool) -> None:
        """Walk a compound (MS-SMB2 3.3.5.2.7)."""
        at = place = 0
        before: Command | None = None
        while True:
            try:
                header = Header(data, at)
            except ConnectionFatal:
                return
            following = header.next_command
            end = at + following if following else len(data)
            message = data[at:end]
            place = place + 1 if following or place else 0
            if from_server:
                self._reply(frame, header, message, sealed)
            else:
                before = self._request(frame, header, message, sealed, place, before)
            if following < HEADER_SIZE or end >= len(data):
                return
            at = end

    def _user(self, session: int) -> str:
        return self.keys.account(session) or self.known.users.get(session, "")

    def _new(self, frame: Frame, header: Header, sealed: bool) -> Command:
        number = header.command
        name = c.COMMAND_NAMES[number] if number < len(c.COMMAND_NAMES) else f"{number:#06x}"
        made = self._told(frame, name, header.session_id)
        made.tree, made.message = header.tree_id, header.message_id
        made.sealed, made.signed = sealed, bool(header.flags & c.FLAGS_SIGNED)
        return made

    def _request(
        self, frame: Frame, header: Header, message: bytes, sealed: bool, place: int, before: Command | None
    ) -> Command:
        command = self._new(frame, header, sealed)
        told = messages.request(message, header.command)
        command.compound, command.request = place, message
        command.size, command.offset, command.what, command.name = told.size, told.offset, told.what, told.name
        command.user = told.user
        if header.flags & c.FLAGS_RELATED_OPERATIONS and before is not None:
            command.session, command.tree = before.session, before.tree
            if told.file_id == messages.RELATED:
                command.name = command.name or before.name
                told.file_id = before.file_id
        if header.command == c.OPLOCK_BREAK:
            told = messages.oplock_break(message)
            command.what = f"acknowledgment, {told.what}"
        command.file_id = told.file_id
        command.name = command.name or self.known.file(told.file_id)
        if header.command == c.CREATE and not command.name:
            command.name = ROOT
        if header.command == c.CANCEL:
            self._describe(command)
            self.on_command(command)
            return command
        if len(self._under_way) >= UNDER_WAY_MAX:
            self.on_command(self._under_way.pop(next(iter(self._under_way))))
        self._under_way[header.message_id] = command
        return command

    def _describe(self, command: Command) -> None:
        command.user = command.user or self._user(command.session)
        command.share = command.share or self.known.shares.get((command.session, command.tree), "")

    def _reply(self, frame: Frame, header: Header, message: bytes, sealed: bool) -> None:
        if header.message_id == UNSOLICITED:
            told = messages.oplock_break(message)
            notice = self._new(frame, header, sealed)
            notice.file_id, notice.name = told.file_id, self.known.file(told.file_id)
            notice.what, notice.reply = f"notification, {told.what}", message
            self._describe(notice)
            self.on_command(notice)
            return
        command = self._under_way.get(header.message_id)
        if command is None:
            command = self._new(frame, header, sealed)  # its request came before the trace began
            command.begun, command.problem = frame.begun, "no request seen"
        elif header.status == STATUS_PENDING and header.flags & c.FLAGS_ASYNC_COMMAND:
            command.pending = True
            return
        else:
            del self._under_way[header.message_id]
            command.ended = frame.begun
        command.status, command.reply = header.status, message
        command.session = command.session or header.session_id
        command.tree = command.tree or header.tree_id
        self._learn(command, header, messages.reply(message, header.command) if _is_whole(header) else messages.Told())
        self._describe(command)
        self.on_command(command)

    def _learn(self, command: Command, header: Header, told: messages.Told) -> None:
        """Take what the reply tells, and remember what its ids mean."""
        if told.size is not None:
            command.size = told.size
        if told.what:
            command.what = f"{command.what}: {told.what}" if command.what else told.what
        if header.status not in (STATUS_SUCCESS, STATUS_BUFFER_OVERFLOW):
            return
        match header.command:
            case c.SESSION_SETUP if command.user:
                self.known.users.tell(header.session_id, command.user)
            case c.TREE_CONNECT:
                command.share = command.name.rpartition("\\")[2]
                self.known.shares.tell((header.session_id, header.tree_id), command.share)
                command.tree = header.tree_id
            case c.CREATE:
                command.file_id = told.file_id
                self.known.files.tell(told.file_id, command.name)


_OWN_STRUCTURE: Final = (
    STATUS_SUCCESS, STATUS_BUFFER_OVERFLOW, STATUS_MORE_PROCESSING_REQUIRED, STATUS_NOTIFY_ENUM_DIR,
    STATUS_NOTIFY_CLEANUP,
)  # fmt: skip


def _is_whole(header: Header) -> bool:
    """Whether the reply has the command's own structure and not an error's (MS-SMB2 2.2.2)."""
    return header.status in _OWN_STRUCTURE
