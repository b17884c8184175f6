# SPDX-License-Identifier: GPL-2.0-or-later
"""Implements the port Security: everything that the protocol needs of log-on and cryptography."""
from __future__ import annotations

import os
import time
from collections.abc import Callable

from ksmbd.auth.acceptor import SpnegoAuthenticator, offered_mechanisms
from ksmbd.auth.encryption import AeadSealer
from ksmbd.auth.keys import derive_keys
from ksmbd.auth.settings import AuthSettings
from ksmbd.auth.signing import MessageSigner, make_signer
from ksmbd.auth.spnego import encode_hints
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.ports import Daemon, SessionKeys


def _now() -> int:
    return time.time_ns() // 100 + FILETIME_UNIX_EPOCH


class CryptoSecurity:
    """The port Security. `filetime` returns the current time for CHALLENGE_MESSAGEs (as `Clock.filetime`)."""

    def __init__(self, settings: AuthSettings, filetime: Callable[[], int] = _now) -> None:
        self._settings = settings
        self._filetime = filetime
        self._negotiate_token = encode_hints(offered_mechanisms(settings))

    def negotiate_token(self) -> bytes:
        """The NegTokenInit2 of the NEGOTIATE response (MS-SPNG 2.2.1)."""
        return self._negotiate_token

    def authenticator(self, daemon: Daemon) -> SpnegoAuthenticator:
        """A new log-on, which asks `daemon` for accounts."""
        return SpnegoAuthenticator(self._settings, daemon, self._filetime)

    def derive_keys(self, dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
        """Derive the keys of a session (MS-SMB2 3.1.4.2); for 2.x the signing key is the session key itself."""
        return derive_keys(dialect, session_key, preauth_hash, cipher)

    def signer(self, algorithm: int, key: bytes) -> MessageSigner:
        """A signer for SIGNING_HMAC_SHA256, SIGNING_AES_CMAC or SIGNING_AES_GMAC."""
        return make_signer(algorithm, key)

    def sealer(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> AeadSealer:
        """A sealer for one of the ciphers of MS-SMB2 2.2.3.1.2; the keys as in SessionKeys."""
        return AeadSealer(cipher, encryption_key, decryption_key)

    def random(self, size: int) -> bytes:
        """Unpredictable bytes."""
        return os.urandom(size)
