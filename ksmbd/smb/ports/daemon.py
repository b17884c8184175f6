# SPDX-License-Identifier: GPL-2.0-or-later
"""Daemon, the port of the ipc room: what mountd knows of accounts and shares, and its RPC pipes."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class LoginResponse:
    """What mountd says of an account (LOGIN_RESPONSE and LOGIN_RESPONSE_EXT)."""

    status: int
    """KSMBD_USER_FLAG bits: OK 1, BAD_PASSWORD 2, BAD_UID 4, BAD_USER 8, GUEST_ACCOUNT 16, DELAY_SESSION 32."""
    account: str
    nt_hash: bytes
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(slots=True)
class ShareConfig:
    """One share as mountd describes it (SHARE_CONFIG_RESPONSE and our own attributes)."""

    name: str
    path: str
    flags: int
    """KSMBD_SHARE_FLAG bits, see ksmbd.ipc.messages."""
    create_mask: int = 0o744
    directory_mask: int = 0o755
    force_create_mode: int = 0
    force_directory_mode: int = 0
    force_uid: int | None = None
    force_gid: int | None = None
    veto_files: tuple[str, ...] = ()
    comment: str = ""
    is_pipe: bool = False
    encrypt: bool = False
    """`smb3 encryption = mandatory` on the share: TREE_CONNECT answers SHAREFLAG_ENCRYPT_DATA."""
    options: dict[str, str] = field(default_factory=dict)
    """Further share parameters by their name in ksmbd.conf: `change notify`, `kernel oplocks`, ..."""


@dataclass(slots=True)
class TreeConnectResult:
    """Mountd's answer to TREE_CONNECT."""

    status: int
    """KSMBD_TREE_CONN_STATUS: 0 OK, 1 NOMEM, 2 NO_SHARE, 3 NO_USER, 4 INVALID_USER, 5 HOST_DENIED, 6 CONN_EXIST,
    7 TOO_MANY_CONNS, 8 TOO_MANY_SESSIONS, 9 ERROR."""
    flags: int
    """KSMBD_TREE_CONN_FLAG bits: GUEST 1, READ_ONLY 2, WRITABLE 4, ADMIN 8, UPDATE 16."""


class Daemon(Protocol):
    """Mountd, over netlink. Every Future fails with NtStatusError(STATUS_IO_TIMEOUT) after `ipc timeout`."""

    def login(self, account: str) -> Future[LoginResponse]: ...
    def logout(self, account: str, account_flags: int) -> None: ...
    def share_config(self, name: str) -> Future[ShareConfig | None]: ...
    def tree_connect(
        self, session_id: int, connect_id: int, account: str, account_flags: int, share: str, peer: str
    ) -> Future[TreeConnectResult]: ...
    def tree_disconnect(self, session_id: int, connect_id: int) -> None: ...
    def spnego_authen(self, blob: bytes) -> Future[tuple[LoginResponse, bytes, bytes] | None]:
        """Kerberos in mountd: (account, session key, AP-REP token), or None where refused."""
        ...

    def rpc_open(self, pipe: str, account: str, restricted: bool) -> Future[int]:
        """Open `srvsvc`, `wkssvc`, `samr`, `lsarpc`; the pipe's handle. STATUS_OBJECT_NAME_NOT_FOUND for others."""
        ...

    def rpc_write(self, handle: int, data: bytes) -> Future[None]: ...
    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        """At most `size` bytes of the answer, and whether more is there (STATUS_BUFFER_OVERFLOW)."""
        ...

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """What a read would get of the next message, which stays (FSCTL_PIPE_PEEK), and whether there is more of it."""
        ...

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """Write and read in one (FSCTL_PIPE_TRANSCEIVE)."""
        ...

    def rpc_close(self, handle: int) -> None: ...
