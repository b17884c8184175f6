# SPDX-License-Identifier: GPL-2.0-or-later
"""One element of a (compound) request on its way to its command's module, and the Reply that comes back.

A command module has `handle(request) -> Reply | Coroutine`. It raises NtStatusError for an error response. A coroutine
may await Futures; before a wait that can last (a break, a lock, notify) it calls `request.go_async()`, which sends the
interim STATUS_PENDING where the protocol allows one (MS-SMB2 3.3.4.2).
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
"""Commands that give the elements behind them a SessionId or a TreeId."""


@dataclass(slots=True)
class Reply:
    """A response: the body after the header, the NTSTATUS, perhaps a part of a file that follows the body.

    `body` may be the `Body` of `request.allocate`, whose frame then is sent as it is. STATUS_BUFFER_OVERFLOW and other
    warnings come with a body as here; an error without one is raised as NtStatusError."""

    body: bytes | bytearray | Body
    status: int = STATUS_SUCCESS
    span: FileSpan | None = None


class Body:
    """A response body with room for the headers before it, so that a large read is not copied again.

    `data` is the body (length `size`), with whatever in it; `shrink` cuts it when fewer bytes were read."""

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
    """What the elements of one compound share (MS-SMB2 3.3.5.2.7.2)."""

    # Defaults in the class: an element that is no compound's sets none of them, and costs no time for them.
    file_id: tuple[int, int] | None = None
    """FileId of the open that the last element made or used."""
    session_id: int = 0
    tree_id: int = 0
    status: int = STATUS_SUCCESS
    """Of the element before."""
    broken: bool = False
    """The element before had or left no session or tree connect: nothing can be related to it."""

    def __init__(self, count: int) -> None:
        self.count = count
        """Elements in the chain: 1 = no compound, and a READ may be sent with sendfile."""

    def follow(self, request: Request, status: int) -> None:
        """An element has been answered: its identifiers, used or made, are the next one's."""
        self.status = status
        self.session_id, self.tree_id = request.reply_ids()
        if status & 0x80000000 and status != STATUS_MORE_PROCESSING_REQUIRED and request.header.command in _MAKERS:
            self.broken = True


class Request(PendingRequest):
    """One request. `message` is its bytes, header first: offsets on the wire count from message[0]."""

    # Defaults in the class: most requests set few of them, and a request is made for every message.
    sealed: bool = False
    """It came encrypted, so the reply goes encrypted."""
    signed: bool = False
    """It came with a signature that was verified."""
    async_id: int = 0
    interim_sent: bool = False
    counted: bool = False
    """As one of the connection's requests that wait."""
    on_cancel: Callable[[], None] | None = None
    """CANCEL calls this when set (else the waiting Future is cancelled): notify answers STATUS_CANCELLED itself."""
    task: Task[Reply] | None = None
    """Set while the request waits."""
    on_done: Callable[[Request, Task[Any]], None] | None = None
    sign_reply: bool = False
    """SESSION_SETUP decides for itself whether its reply is signed."""
    exchange: Exchange | None = None
    """SESSION_SETUP's exchange, whose preauth hash takes in this reply."""
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
        """The request's session; the dispatcher checked that there is one."""
        assert self.session_ is not None
        return self.session_

    @property
    def tree(self) -> TreeConnect:
        """The request's tree connect; the dispatcher checked that there is one."""
        assert self.tree_ is not None
        return self.tree_

    def reader(self) -> Reader:
        """A Reader over the whole element, positioned at the body."""
        reader = Reader(self.message)
        reader.position = HEADER_SIZE
        return reader

    def find_open(self, persistent: int, volatile: int) -> Open:
        """The Open of a FileId on the wire; a related element's is that of the element before it, whatever its own says
        (MS-SMB2 3.3.5.2.7.2).

        Raises STATUS_FILE_CLOSED; for a related element the status of the one before that should have had a FileId and
        failed, STATUS_INVALID_HANDLE where that one needed none."""
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
        """A body of `size` bytes with room before it for the headers."""
        return Body(size)

    def time_slice(self) -> TimeSlice:
        """For work that may take long, in pieces between which others are served (ksmbd.smb.scheduler)."""
        return self.server.scheduler.time_slice(self.connection)

    # ------------------------------------------------------------------------------------------------- waiting

    def go_async(self) -> None:
        """This request will wait: send the interim response where the protocol allows it.

        The response leaves when the coroutine has come to its wait, so one that ends without waiting sends none."""
        self.interim_sent = True
        if self._interim is not None and not self.async_id:
            self._interim(self)

    def allow_interim(self, interim: Callable[[Request], None]) -> None:
        """The compound run has parked this request as the frame's last: from here on it may answer STATUS_PENDING."""
        self._interim = interim
        if self.interim_sent:
            interim(self)

    def finished(self, task: Task[Any]) -> None:
        """The Task of a request that waited has ended."""
        if self.on_done is not None:
            on_done, self.on_done = self.on_done, None
            on_done(self, task)

    @override
    def cancel(self) -> None:
        """CANCEL: the command's own hook, else the waiting Task is cancelled and answers STATUS_CANCELLED."""
        if self.on_cancel is not None:
            self.on_cancel()
        elif self.task is not None:
            self.task.cancel()

    @override
    def abort(self) -> None:
        """The connection is gone: nothing is answered, the Task is cancelled so that it gives back what it holds."""
        if self.task is not None:
            self.task.cancel()

    # ------------------------------------------------------------------------------------------------ the reply

    def reply_ids(self) -> tuple[int, int]:
        """SessionId and TreeId of the reply's header: the request's, or those that the command has just made."""
        session = self._reply_session
        tree = self._reply_tree
        if session is None:
            session = self.header.session_id
        if tree is None:
            tree = self.header.tree_id
        return session, tree

    def set_reply_session(self, session_id: int) -> None:
        """SESSION_SETUP made this session."""
        self._reply_session = session_id

    def set_reply_tree(self, tree_id: int) -> None:
        """TREE_CONNECT made this tree connect."""
        self._reply_tree = tree_id


Handler = Callable[[Request], Reply | Coroutine[Any, Any, Reply]]
