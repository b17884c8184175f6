# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the open pipes of the engine's processes, and passes their requests to the RPC process.

What clients send is not looked at here: it goes on to the process of the RPC services (mountd/rpc/child.py), and the
answer comes back. A pipe is a few words here whatever is written to it, and there is a budget of pipes. A pipe that is
not known (closed, taken for somebody else, or gone with its process) is broken.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ksmbd import limits, log
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import PIPES, RPC_METHODS, Attribute, Event, RpcFlag, RpcStatus
from ksmbd.limit import Meter
from mountd import rpclogon, rpcticket
from mountd.config import Configuration
from mountd.dfsroots import DfsRoots, DirectRoots, query
from mountd.rpc.facts import Level, encode_share
from mountd.rpc.frames import ANSWER_MAX, Answer, Kind, Request, Status
from mountd.rpc.names import (
    ACCOUNTS,
    ACT,
    ALONE,
    DFS,
    LOGON,
    MEMBER,
    PASSWORD,
    TICKET,
    Admitted,
    Found,
    Question,
    decode_questions,
    encode_found,
)
from mountd.rpc.telling import ServerView, facts, hidden, level_of, own_home
from mountd.unixnames import Answers, DirectNames, NameResolver
from mountd.userlookups import Run

_KINDS: Final = {RpcFlag.WRITE: Kind.WRITE, RpcFlag.READ: Kind.READ, RpcFlag.IOCTL: Kind.TRANSCEIVE}
_STATUSES: Final = {Status.DONE: RpcStatus.OK, Status.MORE: RpcStatus.MORE_DATA, Status.BROKEN: RpcStatus.BROKEN_PIPE}
_OF_USERS: Final = (LOGON, PASSWORD, TICKET, DFS)
"""Questions that come alone, and not of administrators."""
GUESTS: Final = ""
"""The user that stands for anonymous users and guests."""


class Backend(Protocol):
    """The services, wherever they run. `on_answer` and `on_end` are called later, or before `send` returns."""

    on_answer: Callable[[Answer], None]
    on_end: Callable[[], None]
    """Called when the process has ended: all pipes are broken."""

    @property
    def serving(self) -> bool:
        """Whether requests can be sent now."""

    def send(self, request: Request, guest: bool) -> bool:
        """Send a request. False: too much waits already, for a guest's sooner; it is not sent. OPEN, CLOSE and FACTS
        always are."""


class Administrator(Protocol):
    """Answers what administrators alone may ask: mountd.administration.Administration."""

    def answer(self, question: Question, account: str, then: Callable[[Found], None]) -> None:
        """Call `then` with the answer, now or later. Raises ValueError where the question is none."""


class Passwords(Protocol):
    """Changes passwords: mountd.passwords.PasswordChanges."""

    def change(self, text: str, address: str, then: Callable[[Found], None]) -> None:
        """Do what a question of kind PASSWORD asks for, and call `then` with the outcome, later. `address` is the
        client's. Raises ValueError where it is none; mountd.userlookups.NameWantedError."""


class NoAdministrator:
    """Answers nothing."""

    def answer(self, question: Question, account: str, then: Callable[[Found], None]) -> None:
        """See Administrator."""
        then(None)


@dataclass
class _Pipe:
    """One open pipe. `used`: time of its last request."""

    number: int
    slot: int
    handle: int
    user: str
    level: Level
    used: float
    pending: bool = False
    account: str = ""
    """As whom its calls run: its opener, or who has logged on inside the association."""
    address: str = ""
    """The client's."""
    begun: set[int] = field(default_factory=set)
    """Log-ons with Kerberos that wait for the client's next token."""


class PipeHost:
    """The open pipes, by slot of the engine's process and handle."""

    def __init__(
        self,
        server: ServerView,
        backend: Backend,
        clock: Callable[[], float] = time.monotonic,
        names: NameResolver | None = None,
    ) -> None:
        self._server = server
        self._names: NameResolver = names if names is not None else DirectNames()
        self._backend = backend
        self._clock = clock
        self.reply: Callable[[int, Message], None] = lambda slot, message: None
        """Sends an answer that `handle` did not return at once."""
        self.run: Run = lambda slot, decide, failed: decide()
        """Calls what decides by Unix users (mountd.userlookups)."""
        self.later: Callable[[float, Callable[[], None]], object] = lambda seconds, call: call()
        """Makes a call after so many seconds; the daemon sets it."""
        self.administrator: Administrator = NoAdministrator()
        self.passwords: Passwords | None = None
        """Who changes passwords; None: nobody."""
        self.tickets: rpcticket.Office = rpcticket.NoOffice()
        self.roots: DfsRoots | DirectRoots = DirectRoots()
        self.total = Meter(limits.PIPES)
        self.users = Meter(limits.PIPES_PER_USER)
        self._pipes: dict[tuple[int, int], _Pipe] = {}
        self._numbered: dict[int, _Pipe] = {}
        """The open pipes; those of guests are in order of their last use."""
        self._next = itertools.count(1)
        self._levels = [0] * len(Level)
        """Level -> number of open pipes."""
        self._told: tuple[Level, Configuration, int, int, bool] | None = None
        backend.on_answer = self._answered
        backend.on_end = self._ended

    def __len__(self) -> int:
        return len(self._pipes)

    def forget(self, slot: int) -> None:
        """Close the pipes of a process of the engine that has ended."""
        for pipe in [pipe for pipe in self._pipes.values() if pipe.slot == slot]:
            self._close(pipe)

    def handle(self, slot: int, message: Message) -> Message | None:
        """Handle an RPC_REQUEST. Returns the answer; None where `reply` sends it later."""
        fields = message.fields
        flags = RpcFlag(fields["flags"])
        if fields["payload_sz"] != len(fields["payload"]):
            return _response(message.handle, RpcStatus.BAD_DATA)
        status = self._call(slot, message, flags)
        return None if status is None else _response(message.handle, status)

    def _call(self, slot: int, message: Message, flags: RpcFlag) -> RpcStatus | None:
        method = next((method for method in RPC_METHODS if flags & method == method), None)
        if method is RpcFlag.OPEN:
            return self._open(slot, message, flags)
        pipe = self._pipes.get((slot, message.handle))
        if method is RpcFlag.CLOSE:
            if pipe is not None:
                self._close(pipe)
            return RpcStatus.OK
        kind = _KINDS.get(method) if method is not None else None
        if kind is None:
            return RpcStatus.BAD_FUNC
        if pipe is None:
            return RpcStatus.BROKEN_PIPE
        return self._forward(pipe, kind, message)

    def _forward(self, pipe: _Pipe, kind: Kind, message: Message) -> RpcStatus | None:
        if pipe.pending:
            return RpcStatus.NOMEM  # the engine asks for one thing after the other
        self._used(pipe)
        if kind is not Kind.READ:
            self._tell()
        size = min(message.numbers.get(Attribute.SIZE, ANSWER_MAX), ANSWER_MAX)
        pipe.pending = True
        if not self._backend.send(Request(kind, size, pipe.number, message.fields["payload"]), pipe.user == GUESTS):
            pipe.pending = False
            return RpcStatus.NOMEM
        return None

    def _answered(self, answer: Answer) -> None:
        pipe = self._numbered.get(answer.pipe)
        if pipe is None or not pipe.pending:
            return  # closed meanwhile
        if answer.status == Status.QUESTION:
            self._look_up(pipe, answer.payload)
            return
        pipe.pending = False
        if answer.status == Status.BROKEN:
            self._close(pipe)
        self.reply(pipe.slot, _response(pipe.handle, _STATUSES[Status(answer.status)], answer.payload))

    def _look_up(self, pipe: _Pipe, payload: bytes) -> None:
        """Look up the names that a pipe's request needs."""
        try:
            questions = decode_questions(payload)
            if any(question.kind in ALONE for question in questions):
                self._alone(pipe, questions)
                return
            every = any(question.kind in (ACCOUNTS, MEMBER) for question in questions)
            accounts = [account.name for account in self._server.accounts] if every else []
            asked = pipe.level > Level.NAMES and self._names.resolve(
                questions, accounts, lambda found: self._found(pipe.number, found)
            )
        except ValueError as error:
            log.error(f"ksmbd.rpc asks what it may not ask: {error}")
            asked = False
        if not asked:
            self._fail(pipe)

    def _alone(self, pipe: _Pipe, questions: list[Question]) -> None:
        """Answer a question that comes alone. Raises ValueError where the pipe's caller may not ask it."""
        (question, *more) = questions
        needed = Level.SHARES if question.kind in _OF_USERS else Level.SESSIONS
        if pipe.level < needed or more:
            raise ValueError(f"{question.kind}, for a caller of level {pipe.level.name}")
        if question.kind == LOGON:
            self._log_on(pipe, question)
            return
        if question.kind == PASSWORD:
            self._change_password(pipe, question)
            return
        if question.kind == TICKET:
            self._take_ticket(pipe, question)
            return
        if question.kind == DFS:
            self._find_links(pipe, question)
            return
        if question.kind == ACT and level_of(self._server, pipe.account, False) is not Level.SESSIONS:
            raise ValueError("an act, for a caller who is no administrator any longer")
        self.administrator.answer(question, pipe.account, lambda found: self._found(pipe.number, {question: found}))

    def _log_on(self, pipe: _Pipe, question: Question) -> None:
        """Answer whether a log-on inside an association is right. The calls of the pipe run as its account then."""

        def decide() -> None:
            account, key, delay = rpclogon.check(self._server, question.value, pipe.address)
            if not account:
                self.later(delay, lambda: self._found(pipe.number, {question: None}))
                return
            self._found(pipe.number, {question: self._admit_as(pipe, account, key.hex())})

        self.run(pipe.slot, decide, lambda why: self._found(pipe.number, {question: None}))

    def _change_password(self, pipe: _Pipe, question: Question) -> None:
        passwords, number = self.passwords, pipe.number
        if passwords is None:
            self._found(number, {question: None})
            return

        def change() -> None:
            passwords.change(question.value, pipe.address, lambda found: self._found(number, {question: found}))

        self.run(pipe.slot, change, lambda why: self._found(number, {question: None}))

    def _take_ticket(self, pipe: _Pipe, question: Question) -> None:
        """Answer a step of a log-on with Kerberos. Raises ValueError where the question is none."""

        def then(found: rpcticket.Step) -> None:
            def decide() -> None:
                ticket = found.ticket
                if ticket is not None and found.accepted is not None:
                    account = rpcticket.account(self._server, found.accepted, pipe.address)
                    admitted = self._admit_as(pipe, account) if account else None
                    ticket = ticket._replace(admitted=admitted) if admitted is not None else None
                elif ticket is not None:
                    pipe.begun.add(ticket.number)
                self._found(pipe.number, {question: ticket})

            self.run(pipe.slot, decide, lambda why: self._found(pipe.number, {question: None}))

        rpcticket.step(self.tickets, question.value, pipe.begun, pipe.address, then)

    def _find_links(self, pipe: _Pipe, question: Question) -> None:
        """Answer which links a DFS root has, as far as the caller may see them."""

        def decide() -> None:
            asked = query(self._server, question.value, pipe.account, pipe.address)
            found = asked is not None and self.roots.find(
                asked, lambda links: self._found(pipe.number, {question: links})
            )
            if not found:
                self._found(pipe.number, {question: None})

        self.run(pipe.slot, decide, lambda why: self._found(pipe.number, {question: None}))

    def _admit_as(self, pipe: _Pipe, account: str, key: str = "") -> Admitted | None:
        """The calls of a pipe run as an account from now on. None: it was closed meanwhile."""
        level = level_of(self._server, account, False)
        home = encode_share(own_home(self._server, account, False, pipe.address))
        admitted = Admitted(account, key, level, tuple(hidden(self._server, account, False)), home)
        if self._numbered.get(pipe.number) is not pipe:
            return None
        self._levels[pipe.level] -= 1
        self._levels[level] += 1
        pipe.level, pipe.account = level, account
        self._tell()
        return admitted

    def _found(self, number: int, found: Answers) -> None:
        pipe = self._numbered.get(number)
        if pipe is None or not pipe.pending:
            return  # closed meanwhile
        if not self._backend.send(Request(Kind.FOUND, 0, number, encode_found(found)), guest=False):
            self._fail(pipe)

    def _fail(self, pipe: _Pipe) -> None:
        """Break a pipe whose request cannot be answered."""
        pipe.pending = False
        self._close(pipe)
        self.reply(pipe.slot, _response(pipe.handle, RpcStatus.BROKEN_PIPE))

    def _ended(self) -> None:
        """Break all pipes, and fail waiting requests, because the RPC process has ended."""
        pipes = list(self._pipes.values())
        for pipe in pipes:
            self._drop(pipe)
        self._told = None
        for pipe in pipes:
            if pipe.pending:
                self.reply(pipe.slot, _response(pipe.handle, RpcStatus.BROKEN_PIPE))

    # ------------------------------------------------------------------------------------------------------ budget

    def _open(self, slot: int, message: Message, flags: RpcFlag) -> RpcStatus:
        name = next((name for name, bit in PIPES.items() if flags & bit), "")
        if not name:
            return RpcStatus.NOT_IMPLEMENTED
        if (slot, message.handle) in self._pipes:
            return RpcStatus.BAD_FID
        if not self._backend.serving:
            return RpcStatus.PIPE_BUSY
        account = message.texts.get(Attribute.ACCOUNT, "")
        restricted = bool(flags & RpcFlag.RESTRICTED_CONTEXT) or not account
        user = GUESTS if restricted else account.casefold()
        level = level_of(self._server, account, restricted)
        address = message.addresses[0] if message.addresses else ""
        left_out = hidden(self._server, account, restricted)  # all ask for names, before anything is counted
        home = encode_share(own_home(self._server, account, restricted, address))
        if not self._admit(user):
            return RpcStatus.NOMEM
        pipe = _Pipe(next(self._next), slot, message.handle, user, level, self._clock(), account=account)
        pipe.address = address
        self._pipes[slot, message.handle] = self._numbered[pipe.number] = pipe
        self._levels[level] += 1
        payload = "\0".join((name, account, home, *left_out)).encode("utf-8", "replace")
        self._backend.send(Request(Kind.OPEN, level, pipe.number, payload), user == GUESTS)
        return RpcStatus.OK

    def _admit(self, user: str) -> bool:
        """Count one more pipe of the user. Where guests have all of theirs, the one that was idle longest goes."""
        if not self.users.take(user):
            if user != GUESTS or not self._evict() or not self.users.take(user):
                return False
        if self.total.take(None):
            return True
        self.users.give(user)
        return False

    def _evict(self) -> bool:
        """Close the guest pipe that was idle longest, if it was idle long enough."""
        limit = self._clock() - limits.PIPE_IDLE.value
        for pipe in self._numbered.values():
            if pipe.user == GUESTS and not pipe.pending:
                if pipe.used > limit:
                    return False
                self._close(pipe)
                return True
        return False

    def _used(self, pipe: _Pipe) -> None:
        pipe.used = self._clock()
        self._numbered[pipe.number] = self._numbered.pop(pipe.number)

    def _close(self, pipe: _Pipe) -> None:
        self._drop(pipe)
        self._backend.send(Request(Kind.CLOSE, 0, pipe.number, b""), pipe.user == GUESTS)

    def _drop(self, pipe: _Pipe) -> None:
        del self._pipes[pipe.slot, pipe.handle]
        del self._numbered[pipe.number]
        self._levels[pipe.level] -= 1
        self.users.give(pipe.user)
        self.total.give(None)

    # ------------------------------------------------------------------------------------------------------- facts

    def _tell(self) -> None:
        """Send the facts of the open pipes' levels to the services, where they have changed."""
        level = max((level for level in Level if self._levels[level]), default=Level.NAMES)
        version = self._server.sessions.version if level > Level.NAMES else 0
        configuration = self._server.configuration
        security = self._server.share_security.version if level is Level.SESSIONS else 0
        told, kerberos = self._told, self.tickets.serving
        if told is None or told[1] is not configuration or (told[0], *told[2:]) != (level, version, security, kerberos):
            self._told = (level, configuration, version, security, kerberos)
            self._backend.send(Request(Kind.FACTS, 0, 0, facts(self._server, level, kerberos).encode()), False)


def _response(handle: int, status: RpcStatus, payload: bytes = b"") -> Message:
    fields = {"handle": handle, "flags": int(status), "payload_sz": len(payload), "payload": payload}
    return Message(Event.RPC_RESPONSE, fields=fields)
