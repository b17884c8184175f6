# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes, chooses from and encodes the negotiate contexts of SMB 3.1.1 (MS-SMB2 2.2.3.1, 2.2.4.1, 3.3.5.4)."""
from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from ksmbd.smb.constants import (
    CIPHER_AES128_CCM,
    CIPHER_AES128_GCM,
    CIPHER_AES256_CCM,
    CIPHER_AES256_GCM,
    ENCRYPTION_CAPABILITIES,
    HASH_SHA512,
    POSIX_EXTENSIONS_AVAILABLE,
    PREAUTH_INTEGRITY_CAPABILITIES,
    SIGNING_AES_CMAC,
    SIGNING_AES_GMAC,
    SIGNING_CAPABILITIES,
    SIGNING_HMAC_SHA256,
)
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP, NtStatusError, WireError

CIPHER_PREFERENCE: Final = (CIPHER_AES128_GCM, CIPHER_AES256_GCM, CIPHER_AES128_CCM, CIPHER_AES256_CCM)
"""GCM costs a tenth of CCM. 256-bit keys are slower, so they are used only where the client offers no 128-bit ones."""
SIGNING_PREFERENCE: Final = (SIGNING_AES_GMAC, SIGNING_AES_CMAC, SIGNING_HMAC_SHA256)
POSIX_EXTENSIONS_ID: Final = bytes.fromhex("93ad25509cb411e7b42383de968bcd7c")
"""Data of the POSIX context; another value means another version of the extensions."""

_CONTEXT: Final = Struct("<HHI")
_PREAUTH: Final = Struct("<HH")


@dataclass(slots=True)
class NegotiateContexts:
    """What the client offers; None: the context is absent."""

    hash_algorithms: tuple[int, ...] | None = None
    ciphers: tuple[int, ...] | None = None
    signing_algorithms: tuple[int, ...] | None = None
    posix: bool = False


def _u16_list(reader: Reader, count: int) -> tuple[int, ...]:
    if count == 0:
        raise WireError("an empty list of algorithms")
    return tuple(reader.u16() for _ in range(count))


def parse(reader: Reader, offset: int, count: int) -> NegotiateContexts:
    """Decode the list of contexts at `offset` of the message. Each known context may appear once, and PREAUTH must
    appear. Unknown ones are ignored. Raises WireError (STATUS_INVALID_PARAMETER), and NtStatusError where the hash
    algorithms have none in common."""
    result = NegotiateContexts()
    for index in range(count):
        if index:
            offset = offset + 7 & ~7  # each context starts on a multiple of 8
        kind, length, _ = reader.unpack_at(_CONTEXT, offset)
        data = reader.restrict(offset + _CONTEXT.size, length)
        offset += _CONTEXT.size + length
        if kind == PREAUTH_INTEGRITY_CAPABILITIES:
            if result.hash_algorithms is not None:
                raise WireError("two preauth contexts")
            algorithm_count, salt_length = data.unpack(_PREAUTH)
            result.hash_algorithms = _u16_list(data, algorithm_count)
            data.skip(salt_length)
        elif kind == ENCRYPTION_CAPABILITIES:
            if result.ciphers is not None:
                raise WireError("two encryption contexts")
            result.ciphers = _u16_list(data, data.u16())
        elif kind == SIGNING_CAPABILITIES:
            if result.signing_algorithms is not None:
                raise WireError("two signing contexts")
            result.signing_algorithms = _u16_list(data, data.u16())
        elif kind == POSIX_EXTENSIONS_AVAILABLE:
            result.posix = length >= 16 and data.bytes(16) == POSIX_EXTENSIONS_ID
    if result.hash_algorithms is None:
        raise WireError("no preauth context")
    if HASH_SHA512 not in result.hash_algorithms:
        raise NtStatusError(STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP)
    return result


def choose(preference: tuple[int, ...], offered: tuple[int, ...]) -> int | None:
    """The first of `preference` that the client offers, or None."""
    return next((one for one in preference if one in offered), None)


def _one(kind: int, data: bytes) -> bytes:
    return _CONTEXT.pack(kind, len(data), 0) + data


def encode(salt: bytes, cipher: int | None, signing_algorithm: int | None, posix: bool) -> tuple[bytes, int]:
    """Encode the contexts of the response; returns them with their number. `cipher` 0 says that there is no common one,
    None leaves the context out, as it does for `signing_algorithm`."""
    contexts = [
        _one(PREAUTH_INTEGRITY_CAPABILITIES, _PREAUTH.pack(1, len(salt)) + HASH_SHA512.to_bytes(2, "little") + salt)
    ]
    if cipher is not None:
        contexts.append(_one(ENCRYPTION_CAPABILITIES, _PREAUTH.pack(1, cipher)))
    if signing_algorithm is not None:
        contexts.append(_one(SIGNING_CAPABILITIES, _PREAUTH.pack(1, signing_algorithm)))
    if posix:
        contexts.append(_one(POSIX_EXTENSIONS_AVAILABLE, POSIX_EXTENSIONS_ID))
    padded = [context + bytes(-len(context) % 8) for context in contexts[:-1]]
    return b"".join(padded) + contexts[-1], len(contexts)
