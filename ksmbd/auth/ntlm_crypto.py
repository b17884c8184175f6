# SPDX-License-Identifier: GPL-2.0-or-later
"""The computations of NTLM (MS-NLMP 3.3, 3.4): responses, session keys, message signatures."""
from __future__ import annotations

import hmac
import zlib
from hashlib import md5
from struct import Struct
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, modes

from ksmbd.auth.md4 import md4
from ksmbd.smb.reader import encode_utf16

# MS-NLMP 2.2.2.5, NEGOTIATE
NEGOTIATE_UNICODE: Final = 0x00000001
NEGOTIATE_OEM: Final = 0x00000002
REQUEST_TARGET: Final = 0x00000004
NEGOTIATE_SIGN: Final = 0x00000010
NEGOTIATE_SEAL: Final = 0x00000020
NEGOTIATE_DATAGRAM: Final = 0x00000040
NEGOTIATE_LM_KEY: Final = 0x00000080
NEGOTIATE_NTLM: Final = 0x00000200
NEGOTIATE_ANONYMOUS: Final = 0x00000800
NEGOTIATE_ALWAYS_SIGN: Final = 0x00008000
TARGET_TYPE_DOMAIN: Final = 0x00010000
TARGET_TYPE_SERVER: Final = 0x00020000
NEGOTIATE_EXTENDED_SESSIONSECURITY: Final = 0x00080000
NEGOTIATE_TARGET_INFO: Final = 0x00800000
NEGOTIATE_VERSION: Final = 0x02000000
NEGOTIATE_128: Final = 0x20000000
NEGOTIATE_KEY_EXCH: Final = 0x40000000
NEGOTIATE_56: Final = 0x80000000

_U32: Final = Struct("<I")
_SIGNING: Final = b"session key to %s signing key magic constant\0"
_SEALING: Final = b"session key to %s sealing key magic constant\0"
_CLIENT: Final = b"client-to-server"
_SERVER: Final = b"server-to-client"


def hmac_md5(key: bytes, data: bytes) -> bytes:
    """HMAC-MD5 (RFC 2104)."""
    return hmac.digest(key, data, "md5")


def rc4(key: bytes) -> CipherContext:
    """An RC4 cipher with this key."""
    return Cipher(ARC4(key), None).encryptor()


def des(key: bytes, block: bytes) -> bytes:
    """DES of one 8-byte block with a 7-byte key, spread over 8 bytes (MS-NLMP 6, DES)."""
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> 49 - 7 * index & 0x7F) << 1 for index in range(8))
    # Triple DES with one key three times is DES, which the library has no longer
    return Cipher(TripleDES(spread * 3), modes.ECB()).encryptor().update(block)  # noqa: S305


def desl(key: bytes, block: bytes) -> bytes:
    """DESL (MS-NLMP 6): three DES blocks of the 16-byte key, 24 bytes."""
    padded = key.ljust(21, b"\0")
    return b"".join(des(padded[start : start + 7], block) for start in (0, 7, 14))


def upper(text: str) -> str:
    """Upper case as in Windows: character by character, so that the length is unchanged."""
    return "".join(big if len(big := each.upper()) == 1 else each for each in text)


def ntowf_v1(password: str) -> bytes:
    """NTOWFv1, the NT hash that an account's record holds (MS-NLMP 3.3.1)."""
    return md4(encode_utf16(password))


def ntowf_v2(nt_hash: bytes, user: str, domain: str) -> bytes:
    """NTOWFv2 from the NT hash; `domain` as the client wrote it (MS-NLMP 3.3.2)."""
    return hmac_md5(nt_hash, encode_utf16(upper(user) + domain))


def nt_proof(response_key: bytes, server_challenge: bytes, blob: bytes) -> bytes:
    """NTProofStr, or with an 8-byte client challenge as `blob` LMv2's first half (MS-NLMP 3.3.2)."""
    return hmac_md5(response_key, server_challenge + blob)


def kxkey_v1(flags: int, nt_hash: bytes, lm_response: bytes, server_challenge: bytes) -> bytes:
    """KeyExchangeKey of NTLMv1 and of NTLM2 session responses (MS-NLMP 3.4.5.1); no LM key, which is never offered."""
    base = md4(nt_hash)
    if flags & NEGOTIATE_EXTENDED_SESSIONSECURITY:
        return hmac_md5(base, server_challenge + lm_response[:8])
    return base


def seal_key(flags: int, session_key: bytes, server: bool) -> bytes:
    """SEALKEY (MS-NLMP 3.4.5.3)."""
    if flags & NEGOTIATE_EXTENDED_SESSIONSECURITY:
        size = 16 if flags & NEGOTIATE_128 else 7 if flags & NEGOTIATE_56 else 5
        return md5(session_key[:size] + _SEALING % (_SERVER if server else _CLIENT)).digest()
    if flags & NEGOTIATE_LM_KEY:
        return session_key[:7] + b"\xa0" if flags & NEGOTIATE_56 else session_key[:5] + b"\xe5\x38\xb0"
    return session_key


def sign_key(session_key: bytes, server: bool) -> bytes:
    """SIGNKEY with extended session security (MS-NLMP 3.4.5.2)."""
    return md5(session_key + _SIGNING % (_SERVER if server else _CLIENT)).digest()


class MessageSignatures:
    """GSS_GetMIC on both sides of a completed exchange (MS-NLMP 3.4.4), as SPNEGO's mechListMIC needs it."""

    def __init__(self, flags: int, session_key: bytes) -> None:
        self._flags = flags
        self._extended = bool(flags & NEGOTIATE_EXTENDED_SESSIONSECURITY)
        self._client_stream = rc4(seal_key(flags, session_key, False))
        # Without extended session security one stream and one sequence number serve both directions
        self._server_stream = rc4(seal_key(flags, session_key, True)) if self._extended else self._client_stream
        self._client_key = sign_key(session_key, False)
        self._server_key = sign_key(session_key, True)
        self._client_number = 0
        self._server_number = 0

    def of_client(self, message: bytes) -> bytes:
        """The signature that the next message of the client must have."""
        signature = self._signature(self._client_stream, self._client_key, self._client_number, message)
        self._client_number += 1
        if not self._extended:
            self._server_number += 1
        return signature

    def of_server(self, message: bytes) -> bytes:
        """The signature of the next message of the server."""
        signature = self._signature(self._server_stream, self._server_key, self._server_number, message)
        self._server_number += 1
        if not self._extended:
            self._client_number += 1
        return signature

    def _signature(self, stream: CipherContext, key: bytes, number: int, message: bytes) -> bytes:
        if not self._flags & NEGOTIATE_SIGN:
            return _U32.pack(1) + bytes(12)  # the dummy of NEGOTIATE_ALWAYS_SIGN alone
        sequence = _U32.pack(number)
        if self._extended:
            checksum = hmac_md5(key, sequence + message)[:8]
            if self._flags & NEGOTIATE_KEY_EXCH:
                checksum = stream.update(checksum)
            return _U32.pack(1) + checksum + sequence
        stream.update(bytes(4))  # RandomPad, which is sent as zero
        checksum = stream.update(_U32.pack(zlib.crc32(message)))
        return _U32.pack(1) + bytes(4) + checksum + stream.update(sequence)
