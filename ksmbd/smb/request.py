# SPDX-License-Identifier: GPL-2.0-or-later
"""One request, single or of a compound, on its way to the module of its command, and the Reply that comes back.

The module of a command has `handle(request) -> Reply | Coroutine`. It raises NtStatusError for an error response. A
coroutine may await Futures. Before a wait that may be long (a break, a lock, CHANGE_NOTIFY) it calls
`request.go_async()`, which sends the interim STATUS_PENDING where the protocol allows one (MS-SMB2 3.3.4.2).
"""
from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ksmbd.overriding import override
from ksmbd.smb import channel_sequence, frames
from ksmbd.smb.constants import FLAGS_RELATED_OPERATIONS, FLAGS_REPLAY_OPERATION, SESSION_SETUP, TREE_CONNECT
from ksmbd.smb.header import HEADER_SIZE, HEADROOM, Header
from ksmbd.smb.model import Connection, Exchange, Open, PendingRequest, Server, Session, TreeConnect
from ksmbd.smb.ports import FileSpan
from ksmbd.smb.reader import Reader
from ksmbd.smb.scheduler import TimeSlice
from ksmbd.smb.status import (
    STATUS_FILE_CLOSED,
    STATUS_INVALID_HANDLE,
    STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS,
    NtStatusError,
)
from ksmbd.smb.waiting import Task

_MAKERS: Final = frozenset((SESSION_SETUP, TREE_CONNECT))
"""Commands whose reply gives the related requests behind them a SessionId or TreeId."""


@dataclass(slots=True, init=False)
class Reply:
    """A response: its body, its NTSTATUS, and perhaps a part of a file that follows the body.

    `body` may be the Body of `request.allocate`, whose buffer is then sent without a copy. STATUS_BUFFER_OVERFLOW and
    other warnings carry a body; errors without a body are raised as NtStatusError."""

    body: bytes | bytearray | Body
    status: int = STATUS_SUCCESS
    span: FileSpan | None = None

    def __init__(
        self, body: bytes | bytearray | Body, status: int = STATUS_SUCCESS, span: FileSpan | None = None
    ) -> None:
        self.body = body
        self.status = status
        self.span = span


class Body:
    """A response body behind free space for the headers, so that a large READ is not copied again.

    `data` is the body of `size` bytes with arbitrary content; `shrink` cuts it where fewer bytes were read."""

    __slots__ = ("frame", "data", "size")

    START: ClassVar[int] = HEADROOM + HEADER_SIZE

    def __init__(self, size: int) -> None:
        self.frame = frames.make(self.START + size)
        self.data = memoryview(self.frame)[self.START :]
        self.size = size

    def shrink(self, size: int) -> None:
        """Keep the first `size` bytes."""
        self.data.release()
        del self.frame[self.START + size :]
        self.data = memoryview(self.frame)[self.START :]
        self.size = size


class Chain:
    """What the requests of one compound share (MS-SMB2 3.3.5.2.7.2)."""

    # Defaults in the class: a single request sets none of them, which saves time.
    file_id: tuple[int, int] | None = None
    """FileId of the open that the last request made or used."""
    session_id: int = 0
    tree_id: int = 0
    status: int = STATUS_SUCCESS
    """NTSTATUS of the request before."""
    broken: bool = False
    """The request before has no session or tree connect, so nothing can be related to it."""

    def __init__(self, count: int) -> None:
        self.count = count
        """How many requests the message has. A READ uses sendfile only if it is 1."""

    def follow(self, request: Request, status: int) -> None:
        """Store status and ids of an answered request for the one behind it."""
        self.status = status
        self.session_id, self.tree_id = request.reply_ids()
        if status & 0x80000000 and status != STATUS_MORE_PROCESSING_REQUIRED and request.header.command in _MAKERS:
            self.broken = True


class Request(PendingRequest):
    """One request. `message` holds its bytes from the header on, so offsets on the wire count from message[0]."""

    # Defaults in the class: most requests set few of them, and every message makes a Request.
    sealed: bool = False
    """It was received encrypted, so the reply must be encrypted."""
    signed: bool = False
    """It was received with a valid signature."""
    async_id: int = 0
    interim_sent: bool = False
    counted: bool = False
    """Whether PendingBudget counts it as a request that waits."""
    on_cancel: Callable[[], None] | None = None
    """CANCEL calls this if it is set, so that a command can end its own wait; else the waiting Future is cancelled."""
    task: Task[Reply] | None = None
    """The Task of the coroutine, while the request waits."""
    on_done: Callable[[Request, Task[Any]], None] | None = None
    sign_reply: bool = False
    """SESSION_SETUP sets this if its reply is to be signed."""
    exchange: Exchange | None = None
    """The Exchange of SESSION_SETUP, whose preauthentication hash includes the reply."""
    _interim: Callable[[Request], None] | None = None
    _reply_session: int | None = None
    _reply_tree: int | None = None

    def __init__(self, connection: Connection, header: Header, message: memoryview, chain: Chain) -> None:
        self.connection = connection
        self.server: Server = connection.server
        self.header = header
        self.message = message
        self.chain = chain

    @property
    def session(self) -> Session:
        """The session of the request; dispatch has checked that there is one."""
        assert self.session_ is not None
        return self.session_

    @property
    def tree(self) -> TreeConnect:
        """The tree connect of the request; dispatch has checked that there is one."""
        assert self.tree_ is not None
        return self.tree_

    def reader(self) -> Reader:
        """A Reader over the whole request, positioned at its body."""
        reader = Reader(self.message)
        reader.position = HEADER_SIZE
        return reader

    def find_open(self, persistent: int, volatile: int) -> Open:
        """Find the Open of a FileId. For a related request it is the open of the request before, whatever its FileId
        (MS-SMB2 3.3.5.2.7.2).

        Raises STATUS_FILE_CLOSED. For a related request it raises the status of the request before if that failed,
        STATUS_INVALID_HANDLE if that had no open."""
        chain = self.chain
        if self.header.flags & FLAGS_RELATED_OPERATIONS:
            if chain.file_id is None:
                raise NtStatusError(chain.status if chain.status & 0x80000000 else STATUS_INVALID_HANDLE)
            persistent, volatile = chain.file_id
        assert self.session_ is not None
        open_ = self.session_.opens.get(volatile)
        if open_ is None or open_.persistent_id != persistent or open_.tree is not self.tree_:
            raise NtStatusError(STATUS_FILE_CLOSED)
        chain.file_id = (persistent, volatile)
        header = self.header
        if header.status & 0xFFFF != open_.channel_sequence or header.flags & FLAGS_REPLAY_OPERATION:
            channel_sequence.verify(self.connection, self, open_)
        open_.is_replay_eligible = open_.is_persistent
        self.open = open_
        return open_

    def allocate(self, size: int) -> Body:
        """A Body of `size` bytes."""
        return Body(size)

    def time_slice(self) -> TimeSlice:
        """A TimeSlice for work that may take long (ksmbd.smb.scheduler)."""
        return self.server.scheduler.time_slice(self.connection)

    # ------------------------------------------------------------------------------------------------- waiting

    def go_async(self) -> None:
        """Announce a long wait: the interim response is sent where the protocol allows it. It is sent when the
        coroutine waits, so a request that ends without waiting sends none."""
        self.interim_sent = True
        if self._interim is not None and not self.async_id:
            self._interim(self)

    def allow_interim(self, interim: Callable[[Request], None]) -> None:
        """Allow the interim response. CompoundRun calls this for the last request of a message once it is pending."""
        self._interim = interim
        if self.interim_sent:
            interim(self)

    def finished(self, task: Task[Any]) -> None:
        """Called when the Task of a request that waited has ended."""
        if self.on_done is not None:
            on_done, self.on_done = self.on_done, None
            on_done(self, task)

    @override
    def cancel(self) -> None:
        """Cancel the request: call its own hook, or cancel its Task, which then answers STATUS_CANCELLED."""
        if self.on_cancel is not None:
            self.on_cancel()
        elif self.task is not None:
            self.task.cancel()

    @override
    def abort(self) -> None:
        """End the request without a reply: its Task is cancelled and releases its resources."""
        if self.task is not None:
            self.task.cancel()

    # ------------------------------------------------------------------------------------------------ the reply

    def reply_ids(self) -> tuple[int, int]:
        """SessionId and TreeId of the reply: those of the request, or those that the command has just made."""
        session = self._reply_session
        tree = self._reply_tree
        if session is None:
            session = self.header.session_id
        if tree is None:
            tree = self.header.tree_id
        return session, tree

    def set_reply_session(self, session_id: int) -> None:
        """Set the SessionId of the reply, which SESSION_SETUP has made."""
        self._reply_session = session_id

    def set_reply_tree(self, tree_id: int) -> None:
        """Set the TreeId of the reply, which TREE_CONNECT has made."""
        self._reply_tree = tree_id


Handler = Callable[[Request], Reply | Coroutine[Any, Any, Reply]]
