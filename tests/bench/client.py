# SPDX-License-Identifier: GPL-2.0-or-later
"""A small SMB 3.1.1 client that logs on, then hands its socket and frames made beforehand to smbload.

It speaks to any server: the log-on is pyspnego's NTLM, the signatures are made here, key derivation and sealing are
ksmbd.auth's (both ends do the same).
"""
from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from struct import Struct, pack, pack_into, unpack_from

import spnego
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from ksmbd.auth.encryption import AeadSealer
from ksmbd.auth.keys import derive_keys
from ksmbd.smb import constants as c
from ksmbd.smb.header import HEADER_SIZE, HEADROOM, SYNC_HEADER
from ksmbd.smb.preauth import INITIAL_HASH, preauth_update

_CREATE = Struct("<HBBIQQIIIIIHHII")
_IO = Struct("<HBBIQ16sIIIHH")


class BenchError(Exception):
    """The server answered something else than the benchmark needs."""


class ClientSigner:
    """Signs requests with AES-GMAC or AES-CMAC (MS-SMB2 3.1.4.1)."""

    def __init__(self, algorithm: int, key: bytes) -> None:
        self._aead = AESGCM(key) if algorithm == c.SIGNING_AES_GMAC else None
        self._cmac = CMAC(algorithms.AES(key))

    def sign(self, message: bytearray, offset: int, message_id: int) -> None:
        """Write the signature of message[offset:], whose field is zero; no CANCEL."""
        view = memoryview(message)[offset:]
        if self._aead is not None:
            mac = self._aead.encrypt(pack("<QI", message_id, 0), b"", view)
        else:
            cmac = self._cmac.copy()
            cmac.update(bytes(view))
            mac = cmac.finalize()
        view[48:64] = mac


@dataclass(frozen=True)
class Keys:
    """A session's keys, for smbload: what signs, what seals requests, what opens replies."""

    signing: bytes = bytes(16)
    sealing: bytes = bytes(16)
    opening: bytes = bytes(16)


class BenchClient:
    """One connection with its session and tree connect, or one more channel of another one's session."""

    signing: int | None
    encrypt: bool
    guid: bytes

    def __init__(
        self, address: str, port: int, user: str, password: str, *,
        signing: int | None = None, encrypt: bool = False, guid: bytes = b"", source: str = "",
        channel_of: BenchClient | None = None,
    ) -> None:
        """`signing` is SIGNING_AES_GMAC or _CMAC, None: plain. `channel_of`: bind to that one's session, whose signing,
        encryption, GUID and tree this one then has. Raises BenchError, OSError."""
        if channel_of is not None:
            signing, encrypt, guid = channel_of.signing, channel_of.encrypt, channel_of.guid
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(60)
        self.socket.connect((address, port))
        self.host = address
        self.guid = guid or os.urandom(16)
        self.message_id = 0
        self.session_id = 0
        self.tree_id = 0
        self.credits = 1
        self.signing = signing
        self.encrypt = encrypt
        self.signer: ClientSigner | None = None
        self.sealer: AeadSealer | None = None
        self.keys = Keys()
        self._hash = INITIAL_HASH
        self.negotiated_signing = self._negotiate()
        if signing is not None and self.negotiated_signing != signing:
            raise BenchError(f"the server chose signing algorithm {self.negotiated_signing}, not {signing}")
        if channel_of is not None:
            self.session_id = channel_of.session_id
        self._log_on(user, password, channel_of)
        if channel_of is not None:
            self.tree_id = channel_of.tree_id

    def close_socket(self) -> None:
        """Disconnect; the server closes what was open."""
        self.socket.close()

    # ------------------------------------------------------------------------------------------------- frames

    def message(
        self, command: int, body: bytes, charge: int = 1, wanted: int = 0, data: bytes = b"",
        signer: ClientSigner | None = None,
    ) -> bytearray:
        """One request with room before it for the transport's and the transform header, signed where it is to be.

        `wanted` credits: 0 asks for as many as it takes. `signer` signs whatever else holds (a channel's binding).
        """
        frame = bytearray(HEADROOM + HEADER_SIZE) + body + data
        if signer is None and not (self.encrypt and self.sealer is not None):
            # 3.1.1 wants a TREE_CONNECT signed or sealed
            signer = self.signer if self.signing is not None or command == c.TREE_CONNECT else None
        SYNC_HEADER.pack_into(
            frame, HEADROOM, b"\xfeSMB", 64, charge, 0, command, wanted or charge,
            c.FLAGS_SIGNED if signer is not None else 0, 0, self.message_id, 0xFEFF, self.tree_id, self.session_id,
            bytes(16),
        )
        if signer is not None:
            signer.sign(frame, HEADROOM, self.message_id)
        self.message_id += charge
        return frame

    def related(self, parts: list[tuple[int, bytes]]) -> bytearray:
        """Related requests in one frame, neither signed nor sealed, with room before it as message() leaves it
        (MS-SMB2 3.2.4.1.4)."""
        joined = bytearray(HEADROOM)
        for number, (command, body) in enumerate(parts):
            one = self.message(command, body)[HEADROOM:]
            if number + 1 < len(parts):
                one += bytes(-len(one) % 8)
                pack_into("<I", one, 20, len(one))
            if number:
                pack_into("<I", one, 16, c.FLAGS_RELATED_OPERATIONS)
            joined += one
        return joined

    def wire(self, frame: bytearray) -> memoryview:
        """The frame as it is sent: sealed where the session seals."""
        if self.encrypt and self.sealer is not None:
            self.sealer.seal(frame, HEADROOM, self.session_id)
            frame[:4] = pack(">I", len(frame) - 4)
            return memoryview(frame)
        frame[HEADROOM - 4 : HEADROOM] = pack(">I", len(frame) - HEADROOM)
        return memoryview(frame)[HEADROOM - 4 :]

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        at = 0
        while at < size:
            count = self.socket.recv_into(view[at:])
            if not count:
                raise BenchError("the server closed the connection")
            at += count
        return data

    def ask(
        self, command: int, body: bytes, ok: tuple[int, ...] = (0,), charge: int = 1, data: bytes = b"",
    ) -> memoryview:
        """Send one request and give its reply, header first; interim replies are passed over."""
        self.socket.sendall(self.wire(self.message(command, body, charge, 512, data)))
        self.credits -= charge
        while True:
            reply = memoryview(self._receive(int.from_bytes(self._receive(4), "big")))
            if bytes(reply[:4]) == b"\xfdSMB":
                assert self.sealer is not None
                reply = self.sealer.open(reply)
            status, granted = unpack_from("<I", reply, 8)[0], unpack_from("<H", reply, 14)[0]
            self.credits += granted
            if status == 0x103:
                continue
            if status not in ok:
                raise BenchError(f"{c.COMMAND_NAMES[command]}: 0x{status:08X}")
            return reply

    def ask_related(self, parts: list[tuple[int, bytes]]) -> list[int]:
        """Send related requests in one frame; the status of each reply."""
        self.socket.sendall(self.wire(self.related(parts)))
        self.credits -= len(parts)
        reply = memoryview(self._receive(int.from_bytes(self._receive(4), "big")))
        statuses = []
        while True:
            following = int(unpack_from("<I", reply, 20)[0])
            statuses.append(int(unpack_from("<I", reply, 8)[0]))
            self.credits += int(unpack_from("<H", reply, 14)[0])
            if not following:
                return statuses
            reply = reply[following:]

    # ------------------------------------------------------------------------------------------------- log-on

    def _negotiate(self) -> int:
        """The signing algorithm that the server chose; 0: it named none."""
        contexts = [
            pack("<HHIHHH4s", 1, 10, 0, 1, 4, 1, b"salt"),
            pack("<HHIHH", 2, 4, 0, 1, c.CIPHER_AES128_GCM),
            pack("<HHIHH", 8, 4, 0, 1, self.signing if self.signing is not None else c.SIGNING_AES_CMAC),
        ]
        listed = b"".join(one + bytes(-len(one) % 8) for one in contexts)
        offset = (HEADER_SIZE + 36 + 2 + 7) & ~7
        body = pack("<HHHHI16sIHH", 36, 1, 1, 0, 0x7F, self.guid, offset, len(contexts), 0)
        body += pack("<H", c.DIALECT_311) + bytes(offset - HEADER_SIZE - 38) + listed
        frame = self.message(c.NEGOTIATE, body)
        self.socket.sendall(self.wire(frame))
        reply = self._receive(int.from_bytes(self._receive(4), "big"))
        status = unpack_from("<I", reply, 8)[0]
        if status:
            raise BenchError(f"NEGOTIATE: 0x{status:08X}")
        self._hash = preauth_update(preauth_update(self._hash, bytes(frame[HEADROOM:])), bytes(reply))
        count, at = unpack_from("<H", reply, 70)[0], unpack_from("<I", reply, 124)[0]
        for _ in range(count):
            kind, size = unpack_from("<HH", reply, at)
            if kind == 8:
                return int(unpack_from("<H", reply, at + 10)[0])
            at = (at + 8 + size + 7) & ~7
        return 0

    def _log_on(self, user: str, password: str, channel_of: BenchClient | None) -> None:
        binding = channel_of.signer if channel_of is not None else None
        context = spnego.client(user, password, hostname=self.host, service="cifs", protocol="ntlm")
        token = context.step() or b""
        while True:
            flags = c.SESSION_FLAG_BINDING if binding is not None else 0
            body = pack("<HBBIIHHQ", 25, flags, 1, 0x7F, 0, HEADER_SIZE + 24, len(token), 0) + token
            frame = self.message(c.SESSION_SETUP, body, wanted=512, signer=binding)
            self.socket.sendall(self.wire(frame))
            self._hash = preauth_update(self._hash, bytes(frame[HEADROOM:]))
            reply = self._receive(int.from_bytes(self._receive(4), "big"))
            status = unpack_from("<I", reply, 8)[0]
            self.session_id = unpack_from("<Q", reply, 40)[0]
            if status == 0:
                self.credits = unpack_from("<H", reply, 14)[0]
                break
            if status != 0xC0000016:
                raise BenchError(f"log-on: 0x{status:08X}")
            self._hash = preauth_update(self._hash, bytes(reply))
            where, size = unpack_from("<HH", reply, HEADER_SIZE + 4)
            token = context.step(bytes(reply[where : where + size])) or b""
        keys = derive_keys(c.DIALECT_311, context.session_key, self._hash, c.CIPHER_AES128_GCM)
        self.signer = ClientSigner(self.negotiated_signing or c.SIGNING_AES_CMAC, keys.signing)
        self.keys = Keys(keys.signing, keys.decryption, keys.encryption)
        # A client seals with the server's decryption key. Channels share the session's keys, and one run of nonces.
        if channel_of is not None:
            self.sealer = channel_of.sealer
        else:
            self.sealer = AeadSealer(c.CIPHER_AES128_GCM, keys.decryption, keys.encryption)

    def tree(self, share: str) -> None:
        """Connect to a share."""
        path = f"\\\\{self.host}\\{share}".encode("utf-16-le")
        reply = self.ask(c.TREE_CONNECT, pack("<HHHH", 9, 0, HEADER_SIZE + 8, len(path)) + path)
        self.tree_id = unpack_from("<I", reply, 36)[0]

    def want_credits(self, count: int) -> None:
        """Hold at least this many credits, or raise BenchError."""
        for _ in range(256):
            if self.credits >= count:
                return
            self.ask(c.ECHO, b"\x04\0\0\0")
        raise BenchError(f"{self.credits} credits, {count} wanted")

    # ----------------------------------------------------------------------------------------------- requests

    @staticmethod
    def create_body(name: str, access: int, disposition: int, options: int = 0x40) -> bytes:
        """CREATE without contexts."""
        raw = name.encode("utf-16-le")
        fixed = _CREATE.pack(57, 0, 0, 2, 0, 0, access, 0x80, 7, disposition, options, HEADER_SIZE + 56, len(raw), 0, 0)
        return fixed + (raw or b"\0")

    def open(self, name: str, access: int = 0x12019F, disposition: int = c.FILE_OPEN_IF, options: int = 0x40) -> bytes:
        """The FileId of a file opened."""
        reply = self.ask(c.CREATE, self.create_body(name, access, disposition, options))
        return bytes(reply[HEADER_SIZE + 64 : HEADER_SIZE + 80])

    def close(self, file_id: bytes) -> None:
        """CLOSE."""
        self.ask(c.CLOSE, self.close_body(file_id))

    @staticmethod
    def close_body(file_id: bytes = bytes(16)) -> bytes:
        """CLOSE; the FileId is at 8 of the body."""
        return pack("<HHI16s", 24, 0, 0, file_id)

    @staticmethod
    def read_body(file_id: bytes, offset: int, length: int) -> bytes:
        """READ."""
        return _IO.pack(49, 0x50, 0, length, offset, file_id, 1, 0, 0, 0, 0) + b"\0"

    @staticmethod
    def write_body(file_id: bytes, offset: int, length: int) -> bytes:
        """WRITE; the data follows."""
        return _IO.pack(49, HEADER_SIZE + 48, 0, length, offset, file_id, 0, 0, 0, 0, 0)

    @staticmethod
    def query_info_body(file_id: bytes = bytes(16), info_class: int = 18, length: int = 4096) -> bytes:
        """QUERY_INFO of a file class; the FileId is at 24 of the body."""
        return pack("<HBBIHHIII16s", 41, 1, info_class, length, 0, 0, 0, 0, 0, file_id) + b"\0"

    @staticmethod
    def query_directory_body(file_id: bytes, info_class: int = 37, length: int = 65536, restart: bool = False) -> bytes:
        """QUERY_DIRECTORY of all names; the class 37 is FileIdBothDirectoryInformation."""
        fixed = pack("<HBBI16sHHI", 33, info_class, 1 if restart else 0, 0, file_id, HEADER_SIZE + 32, 2, length)
        return fixed + b"*\0"


class BareClient(BenchClient):
    """A connection without any log-on, for a server that knows no protocol."""

    def __init__(self, address: str, port: int, signing: int | None = None, encrypt: bool = False) -> None:
        """Signs or seals with keys of zeros."""
        self.socket = socket.create_connection((address, port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message_id = self.session_id = self.tree_id = 0
        self.signing = signing
        self.encrypt = encrypt
        self.keys = Keys()
        self.signer = None if signing is None else ClientSigner(signing, self.keys.signing)
        self.sealer = AeadSealer(c.CIPHER_AES128_GCM, self.keys.sealing, self.keys.opening) if encrypt else None
