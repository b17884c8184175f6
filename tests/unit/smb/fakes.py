# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports Daemon, Security and Transport in memory; the other ports are in `fake_clock.py`, `fake_files.py` and
`fake_opens.py`.

Small and honest: each fake does what its port's docstring says for one process and one user, records the calls that
tests look at (`calls`), and raises what a test puts into `fail` (operation name -> NTSTATUS).
"""
from __future__ import annotations

from typing import Any

from ksmbd.smb import status as s
from ksmbd.smb.ports import (
    AuthStep,
    Client,
    Frame,
    Identity,
    LoginResponse,
    SessionKeys,
    ShareConfig,
    SpnegoResponse,
    TreeConnectResult,
)
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.waiting import Future


class FakeDaemon:
    """Mountd with accounts, shares and one echoing pipe."""

    def __init__(self) -> None:
        self.accounts: dict[str, LoginResponse] = {}
        self.shares: dict[str, ShareConfig] = {}
        self.personal: dict[str, ShareConfig] = {}
        self.tree_result = TreeConnectResult(writable=True)
        self.pipe_reply = b""
        """What an RPC request is answered with; empty: the request itself."""
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, int] = {}
        self._unread: dict[int, bytes] = {}

    def _do(self, name: str, result: Any, *arguments: Any) -> Future[Any]:
        self.calls.append((name, *arguments))
        if name in self.fail:
            return Future.failed(NtStatusError(self.fail[name]))
        return Future.of(result)

    def login(self, account: str, mapped: bool = False) -> Future[LoginResponse]:
        return self._do("login", self.accounts.get(account) or LoginResponse(account, bytes(16), 0, 0), account)

    def logout(self, account: str, failed: bool) -> None:
        self.calls.append(("logout", account, failed))

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        return self._do("share_config", self.shares.get(name.upper()), name)

    def personal_share(self, name: str, client: Client) -> Future[ShareConfig | None]:
        return self._do("personal_share", self.personal.get(name.upper()), name, client)

    def tree_connect(
        self,
        session_id: int,
        connect_id: int,
        account: str,
        is_guest: bool,
        share: str,
        peer: str,
        client: Client | None = None,
    ) -> Future[TreeConnectResult]:
        more = () if client is None else (client,)
        arguments = (session_id, connect_id, account, is_guest, share, peer, *more)
        return self._do("tree_connect", self.tree_result, *arguments)

    def check_tree_connect(
        self, account: str, is_guest: bool, share: str, peer: str, client: Client | None = None
    ) -> Future[TreeConnectResult]:
        more = () if client is None else (client,)
        return self._do("check_tree_connect", self.tree_result, account, is_guest, share, peer, *more)

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        self.calls.append(("tree_disconnect", session_id, connect_id))

    def spnego_authen(self, blob: bytes, mechanism_list: bytes = b"") -> Future[SpnegoResponse]:
        return self._do("spnego_authen", SpnegoResponse(LoginResponse("", b"", 0, 0)), blob, mechanism_list)

    def spnego_verify(self, number: int, mic: bytes) -> Future[SpnegoResponse]:
        return self._do("spnego_verify", SpnegoResponse(LoginResponse("", b"", 0, 0)), number, mic)

    def rpc_open(self, pipe: str, account: str, restricted: bool, address: str = "") -> Future[int]:
        if pipe not in ("srvsvc", "wkssvc", "samr", "lsarpc"):
            return Future.failed(NtStatusError(s.STATUS_OBJECT_NAME_NOT_FOUND))
        return self._do("rpc_open", 77, pipe, account, restricted)

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
        self._unread[handle] = self.pipe_reply or bytes(data)
        return self._do("rpc_write", None, handle, bytes(data))

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        data = self._unread.get(handle, b"")
        self._unread[handle] = data[size:]
        return self._do("rpc_read", (data[:size], len(data) > size), handle, size)

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        return self._do("rpc_peek", (self._unread.get(handle, b""), False), handle)

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        self._unread[handle] = self.pipe_reply or bytes(data)
        self.calls.append(("rpc_transceive", handle, bytes(data), size))
        if "rpc_transceive" in self.fail:
            return Future.failed(NtStatusError(self.fail["rpc_transceive"]))
        answer = self._unread[handle]
        self._unread[handle] = answer[size:]
        return Future.of((answer[:size], len(answer) > size))

    def rpc_close(self, handle: int) -> None:
        self.calls.append(("rpc_close", handle))


class FakeSigner:
    """The "signature" is the sum of the message's other bytes."""

    slow = False

    def __init__(self, key: bytes) -> None:
        self.key = key

    def _sum(self, message: memoryview) -> bytes:
        return (sum(message[:48]) + sum(message[64:]) + sum(self.key)).to_bytes(16, "little")

    def sign(self, message: memoryview) -> None:
        message[48:64] = self._sum(message)

    def verify(self, message: memoryview) -> bool:
        return bytes(message[48:64]) == self._sum(message)


class FakeSealer:
    """A transform header without cipher: the payload stays readable."""

    slow = False
    keys = b"e" * 16, b"d" * 16

    def seal(self, frame: bytearray, start: int, session_id: int) -> None:
        size = (len(frame) - start).to_bytes(4, "little")
        frame[start - 52 : start] = b"\xfdSMB" + bytes(32) + size + b"\0\0\1\0" + session_id.to_bytes(8, "little")

    def open(self, frame: memoryview) -> memoryview:
        return memoryview(bytes(frame[52:])) if frame.readonly else frame[52:]


class FakeAuthenticator:
    """Two rounds; the second names the account."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.rounds = 0

    def step(self, token: bytes) -> Future[AuthStep]:
        self.rounds += 1
        if token in (b"bad", b"too often"):
            return Future.failed((NtStatusError if token == b"bad" else s.LogonThrottled)(s.STATUS_LOGON_FAILURE))
        return Future.of(AuthStep(b"challenge") if self.rounds == 1 else AuthStep(b"done", self.identity))


class FakeSecurity:
    """Cryptography that can be predicted."""

    def __init__(self, identity: Identity | None = None) -> None:
        self.identity = identity or Identity("alice", "WORKGROUP", 1000, 1000, (), b"K" * 16)

    def negotiate_token(self) -> bytes:
        return b"NegTokenInit2"

    def authenticator(self, daemon: Any) -> FakeAuthenticator:
        return FakeAuthenticator(self.identity)

    def derive_keys(self, dialect: int, session_key: bytes, preauth_hash: bytes, cipher: int) -> SessionKeys:
        return SessionKeys(*(bytes([number]) * 16 for number in (1, 2, 3, 4)))

    def signer(self, algorithm: int, key: bytes) -> FakeSigner:
        return FakeSigner(key)

    def sealer(self, cipher: int, encryption_key: bytes, decryption_key: bytes) -> FakeSealer:
        return FakeSealer()

    def random(self, size: int) -> bytes:
        return bytes(range(size))


class FakeTransport:
    """Collects what is sent, whole messages without their length. The client confirms it at once.

    `closed` is the reason once the core ended the connection."""

    def __init__(self, peer: str = "192.0.2.7", local: str = "192.0.2.1") -> None:
        self.peer, self.local = peer, local
        self.frames: list[bytes] = []
        self.size = 0
        self.closed: str | None = None

    def send(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.span is not None:
            data += frame.span.file.read(frame.span.offset, frame.span.length)
        self.size += len(data)
        self.take(data)

    def take(self, data: bytes) -> None:
        """What has left."""
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        self.frames.append(data[4:])

    def close(self, reason: str) -> None:
        self.closed = reason

    def room(self) -> Future[None] | None:
        return None

    def delivery_mark(self) -> int:
        return self.size

    def delivery_seconds(self) -> float:
        return 1.0

    def confirmed(self) -> int:
        return self.size

    def delivered(self, mark: int) -> bool:
        return mark <= self.size and self.closed is None
