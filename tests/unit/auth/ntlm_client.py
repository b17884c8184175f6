# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NTLMSSP client whose every message can be bent, for the acceptor's tests."""
from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass, field
from hashlib import md5

from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth.md4 import md4

DEFAULT_FLAGS = (
    crypto.NEGOTIATE_UNICODE | crypto.REQUEST_TARGET | crypto.NEGOTIATE_SIGN | crypto.NEGOTIATE_NTLM
    | crypto.NEGOTIATE_ALWAYS_SIGN | crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY | crypto.NEGOTIATE_128
    | crypto.NEGOTIATE_KEY_EXCH | crypto.NEGOTIATE_VERSION
)  # fmt: skip


def hmac_md5(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, "md5").digest()


@dataclass
class Client:
    """`kind`: v2, v1, ntlm2, lmv2, anonymous. `mic` writes one and announces it."""

    user: str = "alice"
    password: str = "Pa55wörd"
    domain: str = "WORKGROUP"
    kind: str = "v2"
    flags: int = DEFAULT_FLAGS
    mic: bool = True
    damage_mic: bool = False
    session_key: bytes = field(default=b"", init=False)
    authenticate_flags: int | None = None

    def negotiate(self) -> bytes:
        self.first = struct.pack("<8sIIHHIHHI8s", b"NTLMSSP\0", 1, self.flags, 0, 0, 0, 0, 0, 0, bytes(8))
        return self.first

    def parse(self, challenge: bytes) -> None:
        self.second = challenge
        fields = struct.unpack_from("<8sIHHII8s8xHHI", challenge)
        assert fields[0] == b"NTLMSSP\0" and fields[1] == 2
        self.challenge_flags, self.server_challenge = fields[5], fields[6]
        self.target = challenge[fields[4] : fields[4] + fields[2]].decode("utf-16-le")
        self.target_info = challenge[fields[9] : fields[9] + fields[7]]

    def responses(self) -> tuple[bytes, bytes, bytes]:
        """(LM response, NT response, KeyExchangeKey), straight from MS-NLMP 3.3."""
        nt_hash = crypto.ntowf_v1(self.password)
        mine = os.urandom(8)
        if self.kind == "anonymous":
            return b"\0", b"", bytes(16)
        if self.kind == "v1":
            answer = crypto.desl(nt_hash, self.server_challenge)
            return answer, answer, md4(nt_hash)
        if self.kind == "ntlm2":
            both = self.server_challenge + mine
            answer = crypto.desl(nt_hash, md5(both).digest()[:8])
            return mine + bytes(16), answer, hmac_md5(md4(nt_hash), both)
        key = hmac_md5(nt_hash, (self.user.upper() + self.domain).encode("utf-16-le", "surrogatepass"))
        if self.kind == "lmv2":
            proof = hmac_md5(key, self.server_challenge + mine)
            return proof + mine, b"", hmac_md5(key, proof)
        info = self.target_info[:-4] + (struct.pack("<HHI", 6, 4, 2) if self.mic else b"") + bytes(4)
        blob = struct.pack("<BB6xQ8s4x", 1, 1, 133500000000000000, mine) + info + bytes(4)
        proof = hmac_md5(key, self.server_challenge + blob)
        return bytes(24), proof + blob, hmac_md5(key, proof)

    def authenticate(self, challenge: bytes) -> bytes:
        self.parse(challenge)
        lm_response, nt_response, exchange_key = self.responses()
        flags = self.challenge_flags if self.authenticate_flags is None else self.authenticate_flags
        encrypted = b""
        self.session_key = exchange_key
        if flags & crypto.NEGOTIATE_KEY_EXCH:
            self.session_key = os.urandom(16)
            encrypted = crypto.rc4(exchange_key).update(self.session_key)
        user = "" if self.kind == "anonymous" else self.user
        parts = [
            lm_response, nt_response, self.domain.encode("utf-16-le"), user.encode("utf-16-le", "surrogatepass"),
            "CLIENT".encode("utf-16-le"), encrypted,
        ]  # fmt: skip
        header, payload = struct.pack("<8sI", b"NTLMSSP\0", 3), b""
        for part in parts:
            header += struct.pack("<HHI", len(part), len(part), 88 + len(payload))
            payload += part
        header += struct.pack("<I8s", flags, bytes(8))
        if self.kind == "v2" and self.mic:
            whole = self.first + self.second + header + bytes(16) + payload
            mic = hmac_md5(self.session_key, whole)
            self.third = header + (bytes(16) if self.damage_mic else mic) + payload
        else:
            self.third = header + bytes(16) + payload
        return self.third
