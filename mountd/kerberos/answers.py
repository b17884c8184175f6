# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon asks the process of Kerberos, and what it answers, in the frames of mountd/rpc/frames.py.

A payload of an answer is JSON. The daemon takes it as it takes a client's bytes: types and lengths are checked.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, Final

from ksmbd import limits
from mountd.rpc import frames

NAME_MAX: Final = 1024
ANSWER_MAX: Final = 128 << 10
"""Bytes of an answer: all of the SIDs, and a token."""
KEY_MAX: Final = 64
SIDS_MAX: Final = limits.KERBEROS_SIDS.value + 2
"""Those of the user and of the primary group as well."""
LIFETIME_MAX: Final = 0xFFFFFFFF


class Kind(IntEnum):
    """The kind of a request."""

    ACCEPT = 1
    """The payload is the first token of a client, behind as many bytes of a MechTypeList as the argument says: with
    some, the context is kept for VERIFY."""
    VERIFY = 2
    """The number is that of an ACCEPT; the payload is the client's mechListMIC (RFC 4178 5)."""
    BEGIN = 3
    """The payload is the first token of a client of DCE/RPC; the answer has the keys of the messages that follow."""
    CONTINUE = 4
    """The number is that of a BEGIN that was answered by BEGUN; the payload is the client's next token."""
    UNWRAP = 5
    """The payload is a client's NegTokenInit with the token of Kerberos in it; that of the answer is a NegTokenResp."""


class Status(IntEnum):
    """The status of an answer."""

    ACCEPTED = 0
    """The payload is an Accepted."""
    REFUSED = 1
    """The payload is a Refused."""
    VERIFIED = 2
    """The mechListMIC is right."""
    BEGUN = 4
    """The payload is a Begun: the client's next token is to come."""
    READY = frames.READY
    """Before all others: a Ready. Nothing else comes from a process that cannot serve."""


class BadPayload(ValueError):
    """A payload that is none."""


@dataclass(frozen=True)
class Ready:
    """What the process says of itself. `why`: why it cannot serve, or ''."""

    why: str = ""
    missing: list[str] = field(default_factory=list)
    """Rights that it could not give up."""
    keytab: str = ""
    principals: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """For a frame."""
        return _encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Ready:
        """Raises BadPayload."""
        values = _decode(payload)
        return cls(
            _text(values, "why"), _texts(values, "missing"), _text(values, "keytab"), _texts(values, "principals")
        )


@dataclass(frozen=True)
class Refused:
    """Why a token is refused, and as whom its sender is known, if at all. `skew`: by the clocks' difference."""

    why: str
    principal: str = ""
    skew: bool = False

    def encode(self) -> bytes:
        """For a frame."""
        return _encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Refused:
        """Raises BadPayload."""
        values = _decode(payload)
        return cls(_text(values, "why"), _text(values, "principal"), values.get("skew") is True)


@dataclass(frozen=True)
class Begun:
    """The server's token of a log-on that is not complete."""

    token: bytes

    def encode(self) -> bytes:
        """For a frame."""
        return _encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Begun:
        """Raises BadPayload."""
        return cls(_octets(_decode(payload), "token"))


@dataclass(frozen=True)
class Messages:
    """The fields of ksmbd.auth.krb5_sealing.MessageKeys."""

    enctype: int = 0
    key: bytes = b""
    by_acceptor: bool = False
    sent: int = 0
    received: int = 0

    @classmethod
    def of(cls, values: object) -> Messages:
        """From JSON. Raises BadPayload."""
        if not isinstance(values, dict):
            raise BadPayload("no keys")
        key = _octets(values, "key")
        if len(key) > KEY_MAX:
            raise BadPayload("keys")
        enctype, sent, received = (_number(values, name) for name in ("enctype", "sent", "received"))
        return cls(enctype, key, values.get("by_acceptor") is True, sent, received)


@dataclass(frozen=True)
class Accepted:
    """A log-on. `lifetime`: seconds until the ticket ends."""

    principal: str
    local: str
    """The user that krb5.conf's rules make of the principal; '' where they make none."""
    key: bytes
    token: bytes
    """KRB_AP_REP for the client; b'' where it did not ask for mutual authentication."""
    lifetime: int
    account: str = ""
    """sAMAccountName of the ticket's verified PAC; '' without one."""
    sids: list[str] = field(default_factory=list)
    """The user's SID and those of its groups, of the verified PAC."""
    mic: bytes = b""
    """The server's mechListMIC; b'' where no MechTypeList was given."""
    messages: Messages = field(default_factory=Messages)
    """After BEGIN and CONTINUE."""

    def encode(self) -> bytes:
        """For a frame."""
        return _encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Accepted:
        """Raises BadPayload."""
        values = _decode(payload)
        lifetime = values.get("lifetime")
        key = _octets(values, "key")
        if not isinstance(lifetime, int) or not 0 <= lifetime <= LIFETIME_MAX or not 0 < len(key) <= KEY_MAX:
            raise BadPayload("lifetime or key")
        return cls(
            _text(values, "principal"), _text(values, "local"), key, _octets(values, "token"), lifetime,
            _text(values, "account"), _texts(values, "sids"), _octets(values, "mic"),
            Messages.of(values.get("messages")),
        )  # fmt: skip


def _encode(record: Ready | Refused | Begun | Accepted) -> bytes:
    return json.dumps(asdict(record), default=bytes.hex).encode()


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadPayload("no JSON") from error
    if not isinstance(values, dict):
        raise BadPayload("no object")
    return values


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or len(value) > NAME_MAX:
        raise BadPayload(name)
    return value


def _texts(values: dict[str, Any], name: str) -> list[str]:
    value = values.get(name)
    if not isinstance(value, list) or len(value) > SIDS_MAX or not all(isinstance(each, str) for each in value):
        raise BadPayload(name)
    return value


def _number(values: dict[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise BadPayload(name)
    return value


def _octets(values: dict[str, Any], name: str) -> bytes:
    value = values.get(name)
    if not isinstance(value, str):
        raise BadPayload(name)
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise BadPayload(name) from error
