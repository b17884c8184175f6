# SPDX-License-Identifier: GPL-2.0-or-later
"""Daemon, the port of the ipc room: what mountd knows of accounts and shares, and its RPC pipes."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class LoginResponse:
    """What mountd says of an account (LOGIN_RESPONSE and LOGIN_RESPONSE_EXT)."""

    account: str
    nt_hash: bytes
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    admitted: bool = False
    """The account exists and may log on; its password is not checked yet."""
    is_guest: bool = False
    """It is the guest account, which has no password."""
    throttled: bool = False
    """Log-ons of this name failed too often: the next failure is answered late."""


class GuestIds(NamedTuple):
    """The Unix account that the guests of a share work as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(slots=True)
class ShareConfig:
    """One share as mountd describes it (SHARE_CONFIG_RESPONSE and our own attributes).

    Fields named as a parameter of ksmbd.conf have its default (mountd/parameters.py; a test compares them)."""

    name: str
    path: str
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
    acl_flag_inherited_canonicalization: bool = True
    acl_xattr: bool = False
    """`vfs objects = acl_xattr`."""
    acl_xattr_security_acl_name: str = "security.NTACL"
    change_notify: bool = True
    continuous_availability: bool = False
    crossmnt: bool = True
    delete_veto_files: bool = False
    follow_symlinks: bool = False
    force_group_of_members: bool = False
    """`force group = +GROUP` without `force user`: `force_gid` is for the group's members alone."""
    guest: GuestIds | None = None
    """The share's own `guest account`; None: that of [global]."""
    hide_dot_files: bool = True
    hide_files: tuple[str, ...] = ()
    hide_unreadable: bool = False
    inherit_owner: bool = False
    kernel_oplocks: bool = False
    oplocks: bool = True
    posix_locking: bool = False
    shadow_basedir: str = ""
    shadow_crossmountpoints: bool = False
    shadow_delimiter: str = "_GMT"
    shadow_localtime: bool = False
    shadow_mountpoint: str = ""
    shadow_snapdirseverywhere: bool = False
    shadow_snapprefix: str = ""
    shadow_snapsharepath: str = ""
    shadow_sort: str = "desc"
    shadow_sscanf: bool = False
    snapshot_path: str = ""
    """Folder and format of the snapshots, with a slash between; '': none are offered."""
    store_dos_attributes: bool = True
    streams_xattr: bool = False
    """`vfs objects = streams_xattr`."""
    wide_links: bool = False


@dataclass(slots=True)
class TreeConnectResult:
    """Mountd's answer to TREE_CONNECT."""

    status: int = 0
    """STATUS_SUCCESS, or the NTSTATUS that TREE_CONNECT is refused with."""
    writable: bool = False
    is_admin: bool = False
    is_guest: bool = False
    keeps_group: bool = False
    """The share's `force_gid` does not count for this user."""


class Daemon(Protocol):
    """Mountd, over netlink. Every Future fails with NtStatusError(STATUS_IO_TIMEOUT) after `ipc timeout`."""

    def login(self, account: str) -> Future[LoginResponse]: ...
    def logout(self, account: str, failed: bool) -> None:
        """A session of the account has ended, or a log-on with its name has failed."""
        ...

    def share_config(self, name: str) -> Future[ShareConfig | None]: ...
    def tree_connect(
        self, session_id: int, connect_id: int, account: str, is_guest: bool, share: str, peer: str
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
