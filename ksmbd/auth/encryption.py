# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypts and decrypts messages (MS-SMB2 3.1.4.3, 3.3.5.2.1.1): AES-128/256 in GCM or CCM behind the transform header
(2.2.41)."""
from __future__ import annotations

import os
from itertools import count
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADDecryptionContext, Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from ksmbd.smb.constants import CIPHER_AES128_CCM, CIPHER_AES128_GCM, CIPHER_AES256_CCM, CIPHER_AES256_GCM
from ksmbd.smb.header import TRANSFORM_HEADER, TRANSFORM_HEADER_SIZE, TRANSFORM_PROTOCOL_ID
from ksmbd.smb.reader import unpack_from
from ksmbd.smb.status import ConnectionFatal, WireError

TAG_SIZE: Final = 16
_AAD_OFFSET: Final = 20
_ENCRYPTED: Final = 0x0001
# What is authenticated: Nonce to SessionId
_AAD: Final = Struct("<16sIHHQ")
_KEY_SIZES: Final = {CIPHER_AES128_CCM: 16, CIPHER_AES128_GCM: 16, CIPHER_AES256_CCM: 32, CIPHER_AES256_GCM: 32}
_IN_PLACE: Final = hasattr(AESGCM, "encrypt_into") and hasattr(AESGCM, "decrypt_into")
SMALL: Final = 4096
"""Size in bytes up to which a message is encrypted into a copy: that costs less than room for the tag behind it."""
LARGE: Final = 64 * 1024
"""Size in bytes from which GCM decrypts as a stream: setting it up costs less than copying the ciphertext."""


class Nonces:
    """Nonces that never repeat for a key: a random prefix and a 64-bit counter with a random start."""

    __slots__ = ("_counter", "_prefix")

    def __init__(self, size: int) -> None:
        self._prefix = os.urandom(size - 8)
        self._counter = count(int.from_bytes(os.urandom(8), "little"))

    def next(self) -> bytes:
        """The next nonce. Threads may call it at the same time, since `itertools.count` returns no number twice."""
        return self._prefix + (next(self._counter) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")


class AeadSealer:
    """Encrypts and decrypts for one session (the port Sealer)."""

    __slots__ = ("_decrypt", "_decrypt_algorithm", "_encrypt", "_nonce_size", "_nonces", "keys", "slow")

    def __init__(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> None:
        size = _KEY_SIZES[cipher]
        if len(encryption_key) != size or len(decryption_key) != size:
            raise ValueError(f"cipher {cipher} wants keys of {size} bytes")
        self.keys = encryption_key, decryption_key
        """See the port Sealer."""
        gcm = cipher in (CIPHER_AES128_GCM, CIPHER_AES256_GCM)
        self._encrypt: AESGCM | AESCCM = AESGCM(encryption_key) if gcm else AESCCM(encryption_key, TAG_SIZE)
        self._decrypt: AESGCM | AESCCM = AESGCM(decryption_key) if gcm else AESCCM(decryption_key, TAG_SIZE)
        self._decrypt_algorithm = algorithms.AES(decryption_key) if gcm else None
        self._nonce_size = 12 if gcm else 11  # 2.2.41: the rest of the Nonce field is zero
        self._nonces = Nonces(self._nonce_size)
        self.slow = not gcm
        """See the port Sealer."""

    def seal(self, frame: bytearray, start: int, session_id: int) -> None:
        """Encrypt frame[start:] in place and write the transform header into frame[start - 52:start]."""
        size = len(frame) - start
        nonce = self._nonces.next()
        aad = _AAD.pack(nonce, size, 0, _ENCRYPTED, session_id)
        if size < SMALL:
            sealed = self._encrypt.encrypt(nonce, bytes(frame[start:]), aad)
            frame[start:] = sealed[:size]
            tag = sealed[size:]
        elif _IN_PLACE and _extend(frame):
            with memoryview(frame) as view, view[start : start + size] as message, view[start:] as output:
                self._encrypt.encrypt_into(nonce, message, aad, output)
            tag = bytes(frame[-TAG_SIZE:])
            del frame[-TAG_SIZE:]
        else:
            with memoryview(frame) as view:
                sealed = self._encrypt.encrypt(nonce, view[start:], aad)
                view[start:] = memoryview(sealed)[:size]
            tag = sealed[size:]
        TRANSFORM_HEADER.pack_into(
            frame, start - TRANSFORM_HEADER_SIZE, TRANSFORM_PROTOCOL_ID, tag, nonce, size, 0, _ENCRYPTED, session_id
        )

    def open(self, frame: memoryview) -> memoryview:
        """Decrypt the message of a transform frame, in place if `frame` is writable.

        Raises ConnectionFatal where there is no transform header, OriginalMessageSize or Flags is wrong, or the tag
        does not match (MS-SMB2 3.3.5.2.1.1).
        """
        try:
            protocol_id, tag, nonce, size, _, flags, _ = unpack_from(frame, 0, TRANSFORM_HEADER)
        except WireError as error:
            raise ConnectionFatal("a frame shorter than the transform header") from error
        if protocol_id != TRANSFORM_PROTOCOL_ID or flags != _ENCRYPTED:
            raise ConnectionFatal("no transform header")
        message = frame[TRANSFORM_HEADER_SIZE:]
        if size != len(message):
            raise ConnectionFatal(f"OriginalMessageSize {size} of a message of {len(message)} bytes")
        aad = frame[_AAD_OFFSET:TRANSFORM_HEADER_SIZE]
        nonce = nonce[: self._nonce_size]
        try:
            if frame.readonly:
                return memoryview(self._decrypt.decrypt(nonce, bytes(message) + tag, aad))
            if size >= LARGE and self._decrypt_algorithm is not None:
                cipher = Cipher(self._decrypt_algorithm, modes.GCM(nonce))
                _decrypt_stream(cipher.decryptor(), message, aad, tag)
            elif _IN_PLACE:
                self._decrypt.decrypt_into(nonce, b"".join((message, tag)), aad, message)
            else:
                message[:] = self._decrypt.decrypt(nonce, b"".join((message, tag)), aad)
        except InvalidTag:
            raise ConnectionFatal("a message that does not decrypt") from None
        return message


def _extend(frame: bytearray) -> bool:
    """Extend the frame for the tag, which the library writes behind the message. False: somebody holds a view of it."""
    try:
        frame.extend(bytes(TAG_SIZE))
    except BufferError:
        return False
    return True


def _decrypt_stream(decryptor: AEADDecryptionContext, message: memoryview, aad: memoryview, tag: bytes) -> None:
    # Older libraries want an output 15 bytes longer than the input: the last block goes through a copy.
    decryptor.authenticate_additional_data(aad)
    whole = len(message) - 16
    decryptor.update_into(message[:whole], message)
    message[whole:] = decryptor.update(message[whole:])
    decryptor.finalize_with_tag(tag)
