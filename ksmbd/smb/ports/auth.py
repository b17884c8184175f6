# SPDX-License-Identifier: GPL-2.0-or-later
"""Security, the port of the auth room: log-on exchanges, keys, signatures and encryption."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ksmbd.smb.ports.daemon import Daemon
from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class Identity:
    """Who a session is: the SMB account and the Unix user whose rights its file operations have."""

    account: str
    domain: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    session_key: bytes = b""
    """Session.SessionKey's source, 16 bytes (or a Kerberos key); empty for anonymous and guest."""
    is_guest: bool = False
    is_anonymous: bool = False
    is_admin: bool = False
    expires: float = 0.0
    """Monotonic seconds at which the credentials end (Kerberos); 0: never."""


@dataclass(slots=True)
class AuthStep:
    """One answer of an Authenticator: the token for the client, and the identity once complete."""

    token: bytes
    identity: Identity | None = None
    """None: STATUS_MORE_PROCESSING_REQUIRED."""


class Authenticator(Protocol):
    """One GSS exchange (SPNEGO, raw NTLMSSP)."""

    def step(self, token: bytes) -> Future[AuthStep]:
        """Feed the client's token. Fails with NtStatusError (LOGON_FAILURE, INVALID_PARAMETER, ...)."""
        ...


@dataclass(slots=True)
class SessionKeys:
    """MS-SMB2 3.3.5.5.3: what is derived from Session.SessionKey (full keys; 16 bytes, or 32 for AES-256)."""

    signing: bytes
    application: bytes
    encryption: bytes
    """Server to client."""
    decryption: bytes
    """Client to server."""


class Signer(Protocol):
    """Signs and verifies with one key and algorithm (MS-SMB2 3.1.4.1). Keeps its cipher object."""

    slow: bool
    """It takes about a millisecond a MiB, and lets other threads work meanwhile."""

    def sign(self, message: memoryview) -> None:
        """Write the signature of a whole message (header first, SIGNED flag set already) into bytes 48..64."""
        ...

    def verify(self, message: memoryview) -> bool:
        """Whether bytes 48..64 sign the message; constant time. The message is left as it was."""
        ...


class Sealer(Protocol):
    """Encrypts and decrypts for one session (MS-SMB2 3.1.4.3, 3.3.5.2.1.1). Nonces never repeat."""

    slow: bool
    """As Signer.slow."""

    def seal(self, frame: bytearray, start: int, session_id: int) -> None:
        """Encrypt frame[start:] in place and write the transform header into frame[start-52:start]."""
        ...

    def open(self, frame: memoryview) -> memoryview:
        """The message in a transform frame (header first); decrypts in place where `frame` is writable.

        Raises ConnectionFatal where the tag does not fit."""
        ...


class Security(Protocol):
    """Makes what the core needs of cryptography."""

    def negotiate_token(self) -> bytes:
        """The NegTokenInit2 of the NEGOTIATE response (MS-SPNG 2.2.1)."""
        ...

    def authenticator(self, daemon: Daemon) -> Authenticator:
        """A new exchange; accounts come from `daemon`."""
        ...

    def derive_keys(self, dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
        """MS-SMB2 3.1.4.2; for 2.x the signing key is the session key itself."""
        ...

    def signer(self, algorithm: int, key: bytes) -> Signer:
        """`algorithm` is SIGNING_HMAC_SHA256, SIGNING_AES_CMAC or SIGNING_AES_GMAC."""
        ...

    def sealer(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> Sealer:
        """`cipher` is one of MS-SMB2 2.2.3.1.2; the keys as in SessionKeys."""
        ...

    def random(self, size: int) -> bytes:
        """Unpredictable bytes."""
        ...
