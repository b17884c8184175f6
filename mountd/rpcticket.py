# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons with Kerberos inside RPC associations (mountd/rpc/ticket.py): ksmbd.kerberos checks the tokens, and who the
user is the same rules decide as over SMB (mountd/kerberos/admission.py)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import astuple
from typing import Any, Final, NamedTuple, Protocol

from ksmbd import limits
from ksmbd.ipc.constants import UserFlag
from ksmbd.refusals import refused
from ksmbd.smb.status import STATUS_LOGON_FAILURE, status_name
from mountd.kerberos.admission import decide_principal
from mountd.kerberos.answers import Accepted, Begun, Kind, Refused, Status
from mountd.login import UserView
from mountd.rpc.frames import Answer
from mountd.rpc.names import TICKET_MAX, Ticket

_WHY_MAX: Final = 256


class Office(Protocol):
    """Checks tokens: mountd.kerberos.host.KerberosHost."""

    @property
    def serving(self) -> bool:
        """Whether it can."""

    def ask(self, kind: Kind, payload: bytes, number: int, then: Callable[[Answer | None], None]) -> None:
        """See KerberosHost.ask."""


class NoOffice:
    """Checks none."""

    @property
    def serving(self) -> bool:
        """See Office."""
        return False

    def ask(self, kind: Kind, payload: bytes, number: int, then: Callable[[Answer | None], None]) -> None:
        """See Office."""
        then(None)


class Step(NamedTuple):
    """The answer to a token: None where it is refused. With `accepted` the log-on is complete, where the user may."""

    ticket: Ticket | None
    accepted: Accepted | None = None


def step(office: Office, text: str, begun: set[int], address: str, then: Callable[[Step], None]) -> None:
    """Let a token be checked. `begun`: the log-ons of the pipe that may go on. Raises ValueError where the question is
    none."""
    raw: Any = json.loads(text)
    if not isinstance(raw, dict) or not isinstance(raw.get("token"), str) or not isinstance(raw.get("of"), int):
        raise ValueError("no log-on")
    token, number = base64.b64decode(raw["token"], validate=True), int(raw["of"])
    if not 0 < len(token) <= TICKET_MAX or (number and number not in begun):
        raise ValueError("a token of no log-on")
    begun.discard(number)
    if len(begun) >= limits.RPC_SECURITY_CONTEXTS.value:
        raise ValueError("too many log-ons")

    def answered(answer: Answer | None) -> None:
        try:
            found = _read(answer, address)
        except ValueError:
            then(Step(None))
            raise
        then(found)

    office.ask(Kind.CONTINUE if number else Kind.BEGIN, token, number, answered)


def _read(answer: Answer | None, address: str) -> Step:
    """What an answer says. Raises ValueError."""
    if answer is None:
        _refuse(address, "Kerberos is not there")
        return Step(None)
    if answer.status == Status.BEGUN:
        return Step(Ticket(Begun.decode(answer.payload).token.hex(), answer.pipe))
    if answer.status == Status.ACCEPTED:
        accepted = Accepted.decode(answer.payload)
        enctype, key, by_acceptor, sent, received = astuple(accepted.messages)
        keys = (enctype, key.hex(), by_acceptor, sent, received)
        return Step(Ticket(accepted.token.hex(), 0, None, keys, accepted.lifetime), accepted)
    if answer.status != Status.REFUSED:
        raise ValueError(f"an answer of status {answer.status}")
    refusal = Refused.decode(answer.payload)
    _refuse(address, refusal.why, refusal.principal)
    return Step(None)


def account(server: UserView, accepted: Accepted, address: str) -> str:
    """The user that a ticket is of, '' where it may not log on, which the log tells with the client's address."""
    login = decide_principal(accepted, server.accounts, server.configuration, server.users)
    if login.unix is not None and login.status & UserFlag.OK:
        return login.account
    _refuse(address, login.note or "no Unix account of that name", accepted.principal)
    return ""


def _refuse(address: str, why: str, principal: str = "") -> None:
    printable = "".join(c if c.isprintable() else "?" for c in why)[:_WHY_MAX]
    refused(
        "log-on", address or "nobody", printable, status_name(STATUS_LOGON_FAILURE), account=principal[:_WHY_MAX],
        by="RPC",
    )  # fmt: skip
