# SPDX-License-Identifier: GPL-2.0-or-later
"""Passes the Kerberos tokens of the engine's processes to ksmbd.kerberos, and answers with the user that it finds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final, Protocol

from ksmbd import limits
from ksmbd.ipc.answers import LOGON_ERRORS
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, UserFlag
from ksmbd.smb.status import STATUS_INSUFF_SERVER_RESOURCES, STATUS_LOGON_FAILURE, STATUS_TIME_DIFFERENCE_AT_DC
from mountd.accounts import NAME_MAX
from mountd.kerberos.admission import decide_principal
from mountd.kerberos.answers import Accepted, Kind, Refused, Status
from mountd.login import UserView
from mountd.rpc.frames import Answer, Request
from mountd.userlookups import Run

PRINCIPAL_MAX: Final = 256
WAITING: Final = "too many log-ons with Kerberos wait"


class Backend(Protocol):
    """The process, wherever it runs. `on_answer` and `on_end` are called later, or before `send` returns."""

    on_answer: Callable[[Answer], None]
    on_end: Callable[[], None]

    @property
    def serving(self) -> bool:
        """Whether requests can be sent now."""

    def refresh(self) -> None:
        """Called before a new log-on: the process may be followed by a fresh one."""

    def send(self, request: Request, guest: bool) -> bool:
        """Send a request. False: too much waits already."""


class KerberosHost:
    """The log-ons that wait for ksmbd.kerberos."""

    def __init__(self, server: UserView) -> None:
        self._server = server
        self._backend: Backend | None = None
        self.in_spnego = False
        """Clients' tokens come in SPNEGO as they are, and so go the answers: the kernel's server does not read them."""
        self._numbers = itertools.cycle(range(1, 1 << 31))
        self._waiting: dict[int, tuple[int, int]] = {}
        """Number of the request -> (slot, handle)."""
        self._associations: dict[int, Callable[[Answer | None], None]] = {}
        """Number of the request -> who waits for its answer, of associations of DCE/RPC."""
        self.reply: Callable[[int, Message], None] = lambda slot, message: None
        """Sends an answer."""
        self.run: Run = lambda slot, decide, failed: decide()
        """Calls what decides by Unix users (mountd.userlookups)."""

    @property
    def serving(self) -> bool:
        """Whether tickets can be checked now."""
        return self._backend is not None and self._backend.serving

    def ask(self, kind: Kind, payload: bytes, number: int, then: Callable[[Answer | None], None]) -> None:
        """Ask about a token of a client of DCE/RPC; `then` gets the answer, later or before this returns, None where
        there is none. `number`: that of the log-on that goes on; 0 begins one. ValueError of `then`: the answer is
        malformed, and the process is ended."""
        backend = self._backend
        if backend is not None and not number:
            backend.refresh()
        if backend is None or not backend.serving:
            then(None)
            return
        number = number or next(self._numbers)
        self._associations[number] = then
        if not backend.send(Request(kind, 0, number, payload), guest=False):
            del self._associations[number]
            then(None)

    def attach(self, backend: Backend) -> None:
        """Pass tokens to this process; without one they are refused."""
        self._backend = backend
        backend.on_answer = self._answered
        backend.on_end = self._ended

    def __len__(self) -> int:
        """The number of log-ons that wait."""
        return len(self._waiting)

    def handle(self, slot: int, message: Message) -> Message | None:
        """Handle SPNEGO_AUTHEN_REQUEST. Returns the answer; None where `reply` sends it later."""
        payload = message.fields["payload"]
        if message.fields["blob_len"] != len(payload):
            return _refusal(message.handle, "the lengths of the message contradict each other")
        kept = message.numbers.get(Attribute.HANDLE)
        if self._backend is not None and kept is None:
            self._backend.refresh()
        if self._backend is None or not self._backend.serving:
            return _refusal(message.handle, "Kerberos is not there", STATUS_INSUFF_SERVER_RESOURCES)
        if kept is not None:  # the client's mechListMIC
            number, request = kept, Request(Kind.VERIFY, 0, kept, payload)
        else:
            if self.in_spnego and len(self._waiting) >= limits.DAEMON_QUESTIONS.value:
                return _refusal(message.handle, WAITING, STATUS_INSUFF_SERVER_RESOURCES)
            number = next(self._numbers)
            mechanisms = bytes.fromhex(message.texts.get(Attribute.BODY, ""))
            kind = Kind.UNWRAP if self.in_spnego else Kind.ACCEPT
            request = Request(kind, len(mechanisms), number, mechanisms + payload)
        self._waiting[number] = slot, message.handle
        if not self._backend.send(request, guest=False):
            del self._waiting[number]
            return _refusal(message.handle, WAITING, STATUS_INSUFF_SERVER_RESOURCES)
        return None

    def forget(self, slot: int) -> None:
        """Drop what a process of the engine waits for that has ended."""
        for number in [number for number, (of, _) in self._waiting.items() if of == slot]:
            del self._waiting[number]

    def _answered(self, answer: Answer) -> None:
        """Take an answer. Raises ValueError where it is malformed: the process is ended then."""
        then = self._associations.pop(answer.pipe, None)
        if then is not None:
            then(answer)
            return
        waiter = self._waiting.pop(answer.pipe, None)
        if waiter is None:
            return  # the engine's process has ended
        slot, handle = waiter

        def failed(why: str) -> None:
            self.reply(slot, _refusal(handle, why, STATUS_INSUFF_SERVER_RESOURCES))

        try:
            self.run(slot, lambda: self.reply(slot, self._judge(handle, answer)), failed)
        except ValueError:
            failed("Kerberos has failed")
            raise

    def _judge(self, handle: int, answer: Answer) -> Message:
        if answer.status == Status.REFUSED:
            refused = Refused.decode(answer.payload)
            status = STATUS_TIME_DIFFERENCE_AT_DC if refused.skew else STATUS_LOGON_FAILURE
            return _refusal(handle, refused.why, status, refused.principal)
        if answer.status == Status.VERIFIED:
            return Message(Event.SPNEGO_AUTHEN_RESPONSE, {"handle": handle, "status": int(UserFlag.OK)})
        accepted = Accepted.decode(answer.payload)
        server = self._server
        login = decide_principal(accepted, server.accounts, server.configuration, server.users)
        if login.unix is None or not login.status & UserFlag.OK or len(login.account.encode()) > NAME_MAX:
            status = next((error for flag, error in LOGON_ERRORS.items() if login.status & flag), STATUS_LOGON_FAILURE)
            return _refusal(handle, login.note or "the user's name is too long", status, accepted.principal)
        fields = {
            "handle": handle, "status": int(login.status), "account": login.account, "uid": login.unix.uid,
            "gid": login.unix.gid, "session_key_len": len(accepted.key), "spnego_blob_len": len(accepted.token),
            "payload": accepted.key + accepted.token,
        }  # fmt: skip
        numbers = {Attribute.LIFETIME: accepted.lifetime}
        texts = {Attribute.ACCOUNT: accepted.principal[:PRINCIPAL_MAX]}
        if accepted.mic:
            numbers[Attribute.HANDLE] = answer.pipe
            texts[Attribute.BODY] = accepted.mic.hex()
        if accepted.sids:
            texts[Attribute.SIDS] = " ".join(accepted.sids)
        return Message(Event.SPNEGO_AUTHEN_RESPONSE, fields, numbers, texts)

    def _ended(self) -> None:
        """Refuse what waits, because the process has ended."""
        waiting, self._waiting = self._waiting, {}
        for slot, handle in waiting.values():
            self.reply(slot, _refusal(handle, "Kerberos has failed", STATUS_INSUFF_SERVER_RESOURCES))
        associations, self._associations = self._associations, {}
        for then in associations.values():
            then(None)


def _printable(text: str) -> str:
    """A text for a line of the log: one line, and not too long."""
    return "".join(c if c.isprintable() else "?" for c in text)[:PRINCIPAL_MAX]


def _refusal(handle: int, why: str, status: int = STATUS_LOGON_FAILURE, principal: str = "") -> Message:
    fields = {"handle": handle, "status": int(UserFlag.BAD_USER)}
    texts = {Attribute.REASON: _printable(why)}
    if principal:
        texts[Attribute.ACCOUNT] = _printable(principal)
    return Message(Event.SPNEGO_AUTHEN_RESPONSE, fields, {Attribute.NT_STATUS: status}, texts)
