# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes and encodes NTLMSSP messages (MS-NLMP 2.2.1) and AV_PAIRs (2.2.2.1). Data of a client raises only
NtStatusError."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

from ksmbd import limits
from ksmbd.auth.ntlm_crypto import NEGOTIATE_UNICODE
from ksmbd.smb.reader import Reader, decode_utf16, encode_utf16
from ksmbd.smb.status import WireError

SIGNATURE: Final = b"NTLMSSP\0"
_NEGOTIATE_MESSAGE: Final = 1
_CHALLENGE_MESSAGE: Final = 2
_AUTHENTICATE_MESSAGE: Final = 3

# MS-NLMP 2.2.2.1, AvId
AV_EOL: Final = 0
AV_NB_COMPUTER_NAME: Final = 1
AV_NB_DOMAIN_NAME: Final = 2
AV_DNS_COMPUTER_NAME: Final = 3
AV_DNS_DOMAIN_NAME: Final = 4
AV_DNS_TREE_NAME: Final = 5
AV_FLAGS: Final = 6
AV_TIMESTAMP: Final = 7
AV_FLAG_MIC: Final = 0x00000002
"""MsvAvFlags: the AUTHENTICATE_MESSAGE has a MIC."""

_HEADER: Final = Struct("<8sI")
_FIELD: Final = Struct("<HHI")
_AV: Final = Struct("<HH")
_U32: Final = Struct("<I")
_CHALLENGE: Final = Struct("<8sIHHII8s8xHHI8s")
# 2.2.2.10: version 6.1, build 0, NTLMSSP_REVISION_W2K3
_VERSION: Final = bytes((6, 1, 0, 0, 0, 0, 0, 15))
_FIELDS_OFFSET: Final = 12
_FLAGS_OFFSET: Final = 60
MIC_OFFSET: Final = 72
MIC_END: Final = 88
_CLIENT_BLOB_HEADER: Final = 28
MIN_V2_RESPONSE: Final = 16 + _CLIENT_BLOB_HEADER
_OEM: Final = "cp850"
NEGOTIATE_MAX: Final = limits.NTLM_NEGOTIATE.value
AV_PAIRS_MAX: Final = limits.NTLM_AV_PAIRS.value


def message_type(token: bytes) -> int:
    """The MessageType. Raises WireError if `token` is no NTLMSSP message."""
    signature, kind = Reader(token).unpack(_HEADER)
    if signature != SIGNATURE:
        raise WireError("no NTLMSSP message")
    return int(kind)


def negotiate_flags(token: bytes) -> int:
    """The flags of a NEGOTIATE_MESSAGE (2.2.1.1); domain and workstation are ignored. Raises WireError."""
    if message_type(token) != _NEGOTIATE_MESSAGE:
        raise WireError("no NEGOTIATE_MESSAGE")
    if len(token) > NEGOTIATE_MAX:  # it is kept for the MIC, as long as the log-on is under way
        raise WireError(f"a NEGOTIATE_MESSAGE of {len(token)} bytes")
    return int(Reader(token).unpack_at(_U32, _HEADER.size)[0])


def encode_av_pairs(pairs: Sequence[tuple[int, bytes]]) -> bytes:
    """AV_PAIRs with their end (2.2.2.1)."""
    return b"".join(_AV.pack(kind, len(value)) + value for kind, value in pairs) + _AV.pack(AV_EOL, 0)


def av_flags(blob: bytes) -> int:
    """MsvAvFlags of an NTLMv2_CLIENT_CHALLENGE (2.2.2.7), 0 if there is none.

    Raises WireError for a pair longer than the blob and for more than `AV_PAIRS_MAX` pairs. Old clients send no
    MsvAvEOL; the list then ends with the blob.
    """
    reader = Reader(blob, min(_CLIENT_BLOB_HEADER, len(blob)))
    flags = count = 0
    while reader.remaining >= _AV.size:
        count += 1
        if count > AV_PAIRS_MAX:
            raise WireError(f"more than {AV_PAIRS_MAX} AV_PAIRs")
        kind, size = reader.unpack(_AV)
        if kind == AV_EOL:
            break
        value = Reader(reader.view(size))
        if kind == AV_FLAGS:
            flags = value.u32()
    return flags


def challenge_message(flags: int, target: str, challenge: bytes, target_info: bytes) -> bytes:
    """A CHALLENGE_MESSAGE (2.2.1.2)."""
    name = encode_utf16(target) if flags & NEGOTIATE_UNICODE else target.encode(_OEM, "replace")
    fixed = _CHALLENGE.pack(
        SIGNATURE, _CHALLENGE_MESSAGE, len(name), len(name), _CHALLENGE.size, flags, challenge,
        len(target_info), len(target_info), _CHALLENGE.size + len(name), _VERSION,
    )  # fmt: skip
    return fixed + name + target_info


@dataclass(slots=True)
class Authenticate:
    """An AUTHENTICATE_MESSAGE (2.2.1.3)."""

    flags: int
    lm_response: bytes
    nt_response: bytes
    domain: str
    user: str
    workstation: str
    encrypted_session_key: bytes
    payload_offset: int
    """Offset of the payload; a MIC lies before it."""

    @property
    def is_anonymous(self) -> bool:
        """3.2.5.1.2: no user, no NT response, and an LM response of nothing or one zero byte."""
        return not self.user and not self.nt_response and self.lm_response in (b"", b"\0")


def parse_authenticate(token: bytes, negotiated: int) -> Authenticate:
    """Decode an AUTHENTICATE_MESSAGE; `negotiated` are the flags of the CHALLENGE_MESSAGE. Raises WireError."""
    if message_type(token) != _AUTHENTICATE_MESSAGE:
        raise WireError("no AUTHENTICATE_MESSAGE")
    reader = Reader(token)
    values: list[bytes] = []
    payload = len(token)
    for index in range(6):
        size, _, offset = reader.unpack_at(_FIELD, _FIELDS_OFFSET + index * _FIELD.size)
        if size:  # the offset of an empty field means nothing
            values.append(bytes(reader.at(offset, size)))
            payload = min(payload, offset)
        else:
            values.append(b"")
    lm_response, nt_response, domain, user, workstation, session_key = values
    if payload < _FLAGS_OFFSET:
        raise WireError("a payload inside the header")
    # The oldest clients leave out what follows the workstation: then the flags are the challenge's
    flags = int(reader.unpack_at(_U32, _FLAGS_OFFSET)[0]) if payload >= _FLAGS_OFFSET + 4 else 0
    flags = flags or negotiated
    unicode = bool(flags & NEGOTIATE_UNICODE)
    return Authenticate(
        flags=flags,
        lm_response=lm_response,
        nt_response=nt_response,
        domain=_text(domain, unicode),
        user=_text(user, unicode),
        workstation=_text(workstation, unicode),
        encrypted_session_key=session_key,
        payload_offset=payload,
    )


def _text(data: bytes, unicode: bool) -> str:
    return decode_utf16(data) if unicode else data.decode(_OEM)
