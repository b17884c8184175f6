# SPDX-License-Identifier: GPL-2.0-or-later
"""Kerberos without libkrb5: tokens, a mechanism that answers what the test says, and rules."""

from __future__ import annotations

from mountd.kerberos.answers import Refused
from mountd.kerberos.mechanism import Context, HalfOpen


def element(tag: int, *content: bytes) -> bytes:
    """One element of DER."""
    data = b"".join(content)
    size = len(data)
    length = bytes((size,)) if size < 0x80 else bytes((0x82,)) + size.to_bytes(2, "big")
    return bytes((tag,)) + (length if size < 0x80 or size > 0xFF else bytes((0x81, size))) + data


OID = bytes.fromhex("06092a864886f712010202")


def token(cipher: bytes, number: int = 1) -> bytes:
    """A GSS-API token with KRB_AP_REQ (RFC 4120 5.5.1)."""
    ticket = element(0x61, element(0x30, bytes(200)))
    sealed = element(0x30, element(0xA0, element(2, b"\x12")), element(0xA2, element(4, cipher)))
    fields = (
        element(0xA0, element(2, b"\5")), element(0xA1, element(2, b"\x0e")),
        element(0xA2, element(3, bytes((0, 32, 0, 0, number)))), element(0xA3, ticket), element(0xA4, sealed),
    )  # fmt: skip
    return element(0x60, OID, b"\1\0", element(0x6E, element(0x30, *fields)))


class Scripted:
    """A mechanism that answers what the test says."""

    def __init__(self, result: Context | Refused, half_open: HalfOpen | None = None) -> None:
        """`half_open`: what a client's first token leads to, in DCE style."""
        self.result = result
        self.half_open = half_open
        self.asked: list[bytes] = []

    def accept(self, token: bytes) -> Context | Refused:
        self.asked.append(token)
        return self.result

    def step(self, token: bytes, context: object = None) -> Context | HalfOpen | Refused:
        self.asked.append(token)
        if self.half_open is None:
            return self.result
        if context is None:
            return self.half_open
        assert context is self.half_open.context
        return self.result

    def sign(self, exported: bytes, message: bytes) -> bytes:
        return b"server:" + exported + message

    def verify(self, exported: bytes, message: bytes, mic: bytes) -> str:
        return "" if mic == b"client:" + exported + message else "bad signature"


class Rules:
    """The default ones: a name of one component in the default realm is a local one; and bob of another is alice."""

    realm = "KSMBD.TEST"

    def local_name(self, principal: str) -> str:
        name, _, realm = principal.rpartition("@")
        if principal == "bob@PARTNER.TEST":
            return "alice"
        return name.replace("\\", "") if realm == self.realm and "/" not in name else ""
