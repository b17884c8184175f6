# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the authenticator in a client's first Kerberos token (RFC 4121 4.1, RFC 4120 5.5.1).

Its ciphertext is what one log-on has and no other: a second one with the same is a replay. The token is read as strict
DER, so that one message has one form here, whatever libkrb5 would tolerate.
"""

from __future__ import annotations

from typing import Final

from ksmbd.smb.reader import Reader
from ksmbd.smb.status import WireError

_APPLICATION_0: Final = 0x60
_AP_REQ: Final = 0x6E
_SEQUENCE: Final = 0x30
_OCTET_STRING: Final = 0x04
_IDENTIFIER: Final = 0x06
_FIELD: Final = 0xA0
_TOKEN_ID: Final = b"\x01\x00"
"""TOK_ID of KRB_AP_REQ."""
_AUTHENTICATOR: Final = 4
_CIPHER: Final = 2
_KERBEROS: Final = bytes.fromhex("06092a864886f712010202")
_MISTAKEN: Final = bytes.fromhex("06092a864882f712010202")
_FRAMING_MAX: Final = 16
"""Bytes within which the object identifier ends."""


def authenticator(token: bytes, bare: bool = False) -> bytes:
    """The ciphertext of the authenticator of a GSS-API token with KRB_AP_REQ. `bare`: it may come without the framing
    of the GSS-API, as in DCE style (RFC 4757 7.1). Raises WireError where it is none."""
    message = Reader(token) if bare and token[:1] == bytes((_AP_REQ,)) else _message(token)
    request = _only(_only(message, _AP_REQ), _SEQUENCE)
    sealed = _only(_field(request, _AUTHENTICATOR), _SEQUENCE)
    cipher = _only(_field(sealed, _CIPHER), _OCTET_STRING)
    return cipher.bytes(cipher.remaining)


def unframed(token: bytes) -> bytes:
    """The KRB_AP_REQ of a GSS-API token; b'' where it is none."""
    try:
        message = _message(token)
    except WireError:
        return b""
    return message.bytes(message.remaining)


def _message(token: bytes) -> Reader:
    framed = _only(Reader(token), _APPLICATION_0)
    _element(framed, _IDENTIFIER)
    if framed.bytes(2) != _TOKEN_ID:
        raise WireError("no KRB_AP_REQ")
    return framed


def usual(token: bytes) -> bytes:
    """The token with Kerberos' object identifier in the place of the one that Windows 2000 wrote by mistake, which some
    clients still write (MS-KILE 3.4.5, MS-SPNG 2.2.1). Both have one length."""
    begin = token.find(_MISTAKEN, 0, _FRAMING_MAX)
    return token if begin < 0 else token[:begin] + _KERBEROS + token[begin + len(_KERBEROS) :]


def _element(reader: Reader, tag: int) -> Reader:
    """The content of the next element, whose length has the shortest form (X.690 10.1)."""
    found, size = reader.u8(), reader.u8()
    if found != tag:
        raise WireError(f"tag 0x{found:02x} where 0x{tag:02x} is to be")
    if size & 0x80:
        octets = size & 0x7F
        size = int.from_bytes(reader.bytes(octets), "big")
        if size < 0x80 or octets != (size.bit_length() + 7) // 8:
            raise WireError("a length that is longer than needed")
    return Reader(reader.view(size))


def _only(reader: Reader, tag: int) -> Reader:
    """The content of the one element that is left."""
    content = _element(reader, tag)
    if reader.remaining:
        raise WireError("bytes behind an element")
    return content


def _field(reader: Reader, number: int) -> Reader:
    """The content of field `number` of a SEQUENCE; those before it are passed over."""
    while reader.remaining:
        tag = reader.buffer[reader.position]
        content = _element(reader, tag)
        if tag == _FIELD + number:
            return content
    raise WireError(f"no field {number}")
