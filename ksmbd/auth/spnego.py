# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes and encodes the DER tokens of SPNEGO (RFC 4178 4.2, MS-SPNG 2.2.1) with the initial framing of the GSS-API
(RFC 2743 3.1)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import base, char, namedtype, tag, univ

from ksmbd import limits
from ksmbd.auth import der
from ksmbd.smb.status import WireError

SPNEGO_OID: Final = "1.3.6.1.5.5.2"
NTLMSSP_OID: Final = "1.3.6.1.4.1.311.2.2.10"
KERBEROS_OID: Final = "1.2.840.113554.1.2.2"
MS_KERBEROS_OID: Final = "1.2.840.48018.1.2.2"
"""The Kerberos OID that Windows 2000 sent by mistake and Windows offers first since then."""

# negState, RFC 4178 4.2.2
ACCEPT_COMPLETED: Final = 0
ACCEPT_INCOMPLETE: Final = 1
REJECT: Final = 2
REQUEST_MIC: Final = 3

MAX_TOKEN: Final = limits.LOGON_TOKEN.value
MAX_MECHANISMS: Final = limits.LOGON_MECHANISMS.value
_INITIAL_CONTEXT: Final = 0x60
_NEG_TOKEN_INIT: Final = 0xA0
_NEG_TOKEN_RESP: Final = 0xA1
# The name that MS-SPNG 2.2.1 prescribes for servers that know none of their principals
_NEG_HINT: Final = "not_defined_in_RFC4178@please_ignore"


def _context(number: int, form: int = tag.tagFormatConstructed) -> tag.Tag:
    return tag.Tag(tag.tagClassContext, form, number)


def _optional(name: str, number: int, kind: base.Asn1Item) -> namedtype.OptionalNamedType:
    return namedtype.OptionalNamedType(name, kind.subtype(explicitTag=_context(number)))


class MechTypeList(univ.SequenceOf):  # type: ignore[misc]
    """MechTypeList ::= SEQUENCE OF OBJECT IDENTIFIER."""

    componentType = univ.ObjectIdentifier()


class NegHints(univ.Sequence):  # type: ignore[misc]
    """NegHints (MS-SPNG 2.2.1)."""

    componentType = namedtype.NamedTypes(
        _optional("hintName", 0, char.GeneralString()), _optional("hintAddress", 1, univ.OctetString())
    )


class NegTokenResp(univ.Sequence):  # type: ignore[misc]
    """NegTokenResp (RFC 4178 4.2.2), for encoding."""

    componentType = namedtype.NamedTypes(
        _optional("negState", 0, univ.Enumerated()),
        _optional("supportedMech", 1, univ.ObjectIdentifier()),
        _optional("responseToken", 2, univ.OctetString()),
        _optional("mechListMIC", 3, univ.OctetString()),
    )


@dataclass(slots=True)
class Init:
    """A client's NegTokenInit."""

    mechanisms: list[str]
    mechanism_list: bytes
    """The DER of MechTypeList as received."""
    token: bytes


@dataclass(slots=True)
class Response:
    """A client's NegTokenResp."""

    state: int | None
    token: bytes
    mic: bytes | None


def _decode(data: bytes, kind: base.Asn1Item) -> tuple[base.Asn1Item, bytes]:
    der.check(data)
    # Whatever the decoder stumbles over in a peer's bytes is the peer's mistake.
    try:
        value, rest = decoder.decode(data, asn1Spec=kind)
    except (PyAsn1Error, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        raise WireError(f"no DER of {type(kind).__name__}") from error
    return value, bytes(rest)


def _whole(data: bytes, kind: base.Asn1Item) -> base.Asn1Item:
    value, rest = _decode(data, kind)
    if rest:
        raise WireError(f"bytes behind the {type(kind).__name__}")
    return value


def _fields(data: bytes) -> dict[int, bytes]:
    """The explicitly tagged fields of a SEQUENCE by number, not decoded, because mechListMIC covers the bytes as
    sent."""
    content, _ = _unwrap(data, 0x30)
    fields: dict[int, bytes] = {}
    while content:
        number = content[0] - 0xA0
        if not 0 <= number <= 4 or number in fields:
            raise WireError(f"field of tag 0x{content[0]:02x}")
        fields[number], content = _unwrap(content, content[0])
    return fields


def _octets(field: bytes | None) -> bytes | None:
    return None if field is None else bytes(_whole(field, univ.OctetString()))


def is_initial_token(token: bytes) -> bool:
    """Whether `token` begins with the initial framing of the GSS-API."""
    return token[:1] == b"\x60"


def _der_length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def _unwrap(data: bytes, expected: int) -> tuple[bytes, bytes]:
    """(content, rest) of one definite-length TLV with a single-byte tag."""
    if data[:1] != bytes((expected,)):
        raise WireError(f"no tag 0x{expected:02x}")
    _, begin, end = der.header(data, 0, len(data))
    return data[begin:end], data[end:]


def _wrap(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + _der_length(len(content)) + content


def parse_initial(token: bytes) -> tuple[str, bytes]:
    """Split the initial framing of the GSS-API (RFC 2743 3.1) into mechanism and inner token, which need not be DER.
    Raises WireError."""
    content, _ = _unwrap(token, _INITIAL_CONTEXT)
    oid, inner = _decode(content, univ.ObjectIdentifier())
    return str(oid), inner


def parse_init(token: bytes) -> Init:
    """Decode the first token of a client: an InitialContextToken with NegTokenInit, or the bare NegTokenInit that some
    clients send. Raises WireError."""
    if len(token) > MAX_TOKEN:
        raise WireError("a token of more than 64 KiB")
    if is_initial_token(token):
        mechanism, token = parse_initial(token)
        if mechanism != SPNEGO_OID:
            raise WireError(f"mechanism {mechanism} is not SPNEGO")
    fields = _fields(_unwrap(token, _NEG_TOKEN_INIT)[0])
    # Field 3 is mechListMIC in RFC 4178 and negHints in MS-SPNG; neither says anything to a server
    mechanism_list = fields.get(0)
    if mechanism_list is None:
        raise WireError("NegTokenInit without mechTypes")
    mechanisms = _whole(mechanism_list, MechTypeList())
    if not 0 < len(mechanisms) <= MAX_MECHANISMS:
        raise WireError("a MechTypeList that is none")
    return Init([str(each) for each in mechanisms], mechanism_list, _octets(fields.get(2)) or b"")


def parse_response(token: bytes) -> Response:
    """Decode a later token of a client, a NegTokenResp. Raises WireError."""
    if len(token) > MAX_TOKEN:
        raise WireError("a token of more than 64 KiB")
    fields = _fields(_unwrap(token, _NEG_TOKEN_RESP)[0])
    state = fields.get(0)
    return Response(
        None if state is None else int(_whole(state, univ.Enumerated())),
        _octets(fields.get(2)) or b"",
        _octets(fields.get(3)),
    )


def encode_response(
    state: int, mechanism: str | None = None, token: bytes | None = None, mic: bytes | None = None
) -> bytes:
    """Encode a NegTokenResp."""
    value = NegTokenResp()
    value["negState"] = state
    if mechanism is not None:
        value["supportedMech"] = mechanism
    if token:
        value["responseToken"] = token
    if mic is not None:
        value["mechListMIC"] = mic
    return _wrap(_NEG_TOKEN_RESP, bytes(encoder.encode(value)))


def encode_mechanisms(mechanisms: Sequence[str]) -> bytes:
    """The DER of a MechTypeList."""
    value = MechTypeList()
    value.extend(mechanisms)
    return bytes(encoder.encode(value))


def encode_hints(mechanisms: Sequence[str]) -> bytes:
    """Encode the NegTokenInit2 of the NEGOTIATE response with the framing of the GSS-API (MS-SPNG 2.2.1)."""
    hints = NegHints()
    hints["hintName"] = _NEG_HINT
    content = _wrap(_NEG_TOKEN_INIT, encode_mechanisms(mechanisms)) + _wrap(0xA3, bytes(encoder.encode(hints)))
    init = _wrap(_NEG_TOKEN_INIT, _wrap(0x30, content))
    return _wrap(_INITIAL_CONTEXT, bytes(encoder.encode(univ.ObjectIdentifier(SPNEGO_OID))) + init)
