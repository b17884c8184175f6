# SPDX-License-Identifier: GPL-2.0-or-later
"""Security, the port implemented by ksmbd/auth: log-on, keys, signatures and encryption."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ksmbd.smb.ports.daemon import Daemon
from ksmbd.smb.sid import Sid
from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class Identity:
    """Who a session belongs to: the SMB account, and the Unix user whose rights its file operations have."""

    account: str
    domain: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    session_key: bytes = b""
    """The key that Session.SessionKey is derived from: 16 bytes, or a Kerberos key; empty for anonymous and guest."""
    is_guest: bool = False
    is_anonymous: bool = False
    is_admin: bool = False
    expires: float = 0.0
    """When the credentials expire (Kerberos), in seconds of the monotonic clock; 0: never."""
    sids: tuple[Sid, ...] = ()
    """The SIDs that a Kerberos ticket's domain gives the user; they count in access control lists."""
    address: str = ""
    """Where the client is, for records of what it does."""
    workstation: str = ""
    """The name that the client has given itself; '' for none."""


@dataclass(slots=True)
class AuthStep:
    """The result of one step of a log-on: the token for the client, and the identity once it is complete."""

    token: bytes
    identity: Identity | None = None
    """None: another round is needed (STATUS_MORE_PROCESSING_REQUIRED)."""


class Authenticator(Protocol):
    """One log-on, a GSS exchange (SPNEGO or NTLMSSP)."""

    def step(self, token: bytes) -> Future[AuthStep]:
        """Handle a token of the client. The Future fails with NtStatusError (STATUS_LOGON_FAILURE,
        STATUS_INVALID_PARAMETER, ...)."""
        ...


@dataclass(slots=True)
class SessionKeys:
    """The keys derived from Session.SessionKey (MS-SMB2 3.3.5.5.3), 16 bytes, or 32 for AES-256."""

    signing: bytes
    application: bytes
    encryption: bytes
    """Encrypts messages of the server."""
    decryption: bytes
    """Decrypts messages of the client."""


class Signer(Protocol):
    """Signs and verifies messages with one key and algorithm (MS-SMB2 3.1.4.1)."""

    slow: bool
    """Whether it takes about a millisecond for a MiB and lets other threads run meanwhile, so that a helper thread
    pays."""

    def sign(self, message: memoryview) -> None:
        """Write the signature of a whole message (from its header on, FLAGS_SIGNED set) into its bytes 48..64."""
        ...

    def verify(self, message: memoryview) -> bool:
        """Whether bytes 48..64 are the right signature, compared in constant time. The message is unchanged
        afterwards."""
        ...


class Sealer(Protocol):
    """Encrypts and decrypts for one session (MS-SMB2 3.1.4.3, 3.3.5.2.1.1). Nonces never repeat."""

    slow: bool
    """As Signer.slow."""
    keys: tuple[bytes, bytes]
    """Session.EncryptionKey and Session.DecryptionKey, for ksmbd.trace."""

    def seal(self, frame: bytearray, start: int, session_id: int) -> None:
        """Encrypt frame[start:] in place and write the transform header into frame[start-52:start]."""
        ...

    def open(self, frame: memoryview) -> memoryview:
        """Decrypt a transform frame and return its message, from the header on; in place if `frame` is writable, else
        in memory of its own. Raises ConnectionFatal where the tag does not match."""
        ...


class Security(Protocol):
    """Makes the objects for log-on and cryptography."""

    def negotiate_token(self) -> bytes:
        """The NegTokenInit2 of the NEGOTIATE response (MS-SPNG 2.2.1)."""
        ...

    def authenticator(self, daemon: Daemon) -> Authenticator:
        """A new log-on, which asks `daemon` for accounts."""
        ...

    def derive_keys(self, dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
        """Derive the keys of a session (MS-SMB2 3.1.4.2); for 2.x the signing key is the session key itself."""
        ...

    def signer(self, algorithm: int, key: bytes) -> Signer:
        """A Signer; `algorithm` is SIGNING_HMAC_SHA256, SIGNING_AES_CMAC or SIGNING_AES_GMAC."""
        ...

    def sealer(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> Sealer:
        """A Sealer; `cipher` is one of MS-SMB2 2.2.3.1.2, the keys are those of SessionKeys."""
        ...

    def random(self, size: int) -> bytes:
        """Random bytes for cryptographic use."""
        ...
