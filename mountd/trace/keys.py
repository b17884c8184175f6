# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of encrypted sessions: asked of the server while the trace runs, or read from a file.

The file has a line a session, in the form of the table smb2_seskey_list of Wireshark's SMB2 dissector:

    SessionId,SessionKey,ServerToClient,ClientToServer       all in hexadecimal digits, the SessionId as on the wire
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ksmbd.smb.constants import CIPHER_AES128_CCM, CIPHER_AES128_GCM, CIPHER_AES256_CCM, CIPHER_AES256_GCM
from mountd.trace.sealed import unseal

_CIPHERS: Final[Mapping[int, tuple[int, ...]]] = {
    16: (CIPHER_AES128_GCM, CIPHER_AES128_CCM),
    32: (CIPHER_AES256_GCM, CIPHER_AES256_CCM),
}
"""By the size of the key; which of the two it is, what is decrypted tells."""


@dataclass
class Keys:
    """The keys of one session (MS-SMB2 3.3.1.8). What is not known is empty."""

    session: int
    session_key: bytes = b""
    to_client: bytes = b""
    to_server: bytes = b""
    account: str = ""

    def line(self) -> str:
        """The line of a file of keys."""
        parts = self.session_key.hex(), self.to_client.hex(), self.to_server.hex()
        return ",".join((self.session.to_bytes(8, "little").hex(), *parts))


@dataclass
class KeyRing:
    """The keys of all sessions, by SessionId."""

    keys: dict[int, Keys] = field(default_factory=dict)
    _ciphers: dict[int, int] = field(default_factory=dict)

    def add(self, keys: Keys) -> bool:
        """Add or replace the keys of a session. Returns whether they are new."""
        known = self.keys.get(keys.session)
        self.keys[keys.session] = keys
        if known != keys:
            self._ciphers.pop(keys.session, None)
        return known != keys

    def account(self, session: int) -> str:
        """Whose session it is; '' where that is not known."""
        found = self.keys.get(session)
        return found.account if found is not None else ""

    def has(self, session: int) -> bool:
        """Whether messages of this session can be decrypted."""
        found = self.keys.get(session)
        return found is not None and bool(found.to_client and found.to_server)

    def open(self, frame: bytes, session: int, from_server: bool) -> bytes | None:
        """The message in a transform frame, or None where there is no key that fits."""
        found = self.keys.get(session)
        if found is None:
            return None
        key = found.to_client if from_server else found.to_server
        known = self._ciphers.get(session)
        for cipher in (known,) if known is not None else _CIPHERS.get(len(key), ()):
            message = unseal(frame, cipher, key)
            if message is not None:
                self._ciphers[session] = cipher
                return message
        return None


def of_answer(rows: Iterable[Mapping[str, Any]]) -> list[Keys]:
    """The keys in an answer of the server (ksmbd.ipc.activity.KeyRow). Raises KeyError, ValueError."""
    return [
        Keys(
            int(row["session"], 16), bytes.fromhex(row["session_key"]), bytes.fromhex(row["encryption"]),
            bytes.fromhex(row["decryption"]), row["account"],
        )
        for row in rows
    ]  # fmt: skip


def read(text: str) -> list[Keys]:
    """The keys of a file. Raises ValueError with the number of the line that is wrong."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = [part.strip().strip('"') for part in line.split(",")]
        try:
            session, session_key, to_client, to_server = (bytes.fromhex(part) for part in [*parts, "", "", ""][:4])
            found.append(Keys(int.from_bytes(session, "little"), session_key, to_client, to_server))
        except ValueError:
            raise ValueError(f"line {number} is not SessionId,SessionKey,S2C,C2S in hexadecimal digits") from None
    return found


def create_file(path: str) -> int:
    """Create a file that its owner alone can read, or empty one. Returns its descriptor. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
