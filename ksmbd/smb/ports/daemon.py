# SPDX-License-Identifier: GPL-2.0-or-later
"""Daemon, the port implemented by ksmbd/ipc: asks mountd about accounts and shares, and uses its RPC pipes."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ksmbd.smb.sid import Sid
from ksmbd.smb.status import STATUS_LOGON_FAILURE
from ksmbd.smb.waiting import Future


@dataclass(slots=True)
class LoginResponse:
    """The answer of mountd about an account (LOGIN_RESPONSE and LOGIN_RESPONSE_EXT)."""

    account: str
    nt_hash: bytes
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    admitted: bool = False
    """Whether the account exists and may log on; its password is not checked yet."""
    is_guest: bool = False
    """Whether it is the guest account, which has no password."""
    no_unix_account: bool = False
    """Whether it is refused because the system has no Unix account of that name."""
    throttled: bool = False
    """Log-ons with this name have failed too often, so the next failure is answered late."""
    refusal: int = 0
    """The NTSTATUS that a log-on with the right password gets, because the account is disabled, locked out or
    expired; STATUS_SUCCESS for others."""


@dataclass(slots=True)
class SpnegoResponse:
    """The answer of mountd about a Kerberos token (SPNEGO_AUTHEN_RESPONSE): the account, which may be refused."""

    account: LoginResponse
    session_key: bytes = b""
    token: bytes = b""
    """The mechanism's token for the client (KRB_AP_REP); empty where it wants none."""
    lifetime: int = 0
    """Seconds until the ticket ends."""
    principal: str = ""
    reason: str = ""
    """Why it is refused, for the administrator."""
    status: int = STATUS_LOGON_FAILURE
    """The NTSTATUS of the refusal."""
    mic: bytes = b""
    """The server's mechListMIC, where a MechTypeList was given."""
    sids: tuple[Sid, ...] = ()
    """What the ticket's domain says of the user: its SID and those of its groups there (MS-PAC)."""
    number: int = 0
    """The log-on, for `spnego_verify`."""


class GuestIds(NamedTuple):
    """The Unix account that guests of a share work as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Client(NamedTuple):
    """What a share may depend on: the %-variables of an smb.conf."""

    account: str
    is_guest: bool
    """A guest, or anonymous."""
    peer: str
    """The client's address."""
    local: str
    """The server's address."""
    name: str
    """The name that the client has given itself; '' for none."""
    dialect: int


@dataclass(slots=True)
class ShareConfig:
    """One share as mountd describes it (SHARE_CONFIG_RESPONSE and further attributes).

    Fields named after a parameter of ksmbd.conf have its default (mountd/parameters.py; a test compares them)."""

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
    acl_map_full_control: bool = True
    acl_xattr: bool = False
    """`vfs objects = acl_xattr`."""
    acl_xattr_security_acl_name: str = "security.NTACL"
    case_sensitive: str = "auto"
    catia_mappings: str = ""
    """'' without `vfs objects = catia`."""
    change_notify: bool = True
    continuous_availability: bool = False
    crossmnt: bool = True
    default_case: str = "lower"
    delete_readonly: bool = False
    delete_veto_files: bool = False
    dos_filemode: bool = False
    ea_support: bool = True
    follow_symlinks: bool = False
    force_group_of_members: bool = False
    """`force group = +GROUP` without `force user`: `force_gid` is for the group's members alone."""
    guest: GuestIds | None = None
    """The `guest account` of the share; None: that of [global]."""
    hide_dot_files: bool = True
    hide_files: tuple[str, ...] = ()
    hide_special_files: bool = False
    hide_unreadable: bool = False
    hide_unwriteable_files: bool = False
    inherit_acls: bool = False
    inherit_owner: str = "no"
    inherit_permissions: bool = False
    kernel_oplocks: bool = False
    mangled_names: str = "no"
    map_archive: str = "auto"
    map_hidden: bool = False
    map_readonly: str = "no"
    map_system: bool = False
    msdfs_proxy: str = ""
    """The share that clients are referred to instead; '' without `host msdfs`."""
    msdfs_root: bool = False
    """Never without `host msdfs`."""
    nt_acl_support: bool = True
    oplocks: bool = True
    personal: bool = False
    """The share is not the same for all sessions; `Daemon.personal_share` tells what it is for one."""
    posix_locking: str = "auto"
    preserve_case: bool = True
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
    short_preserve_case: bool = True
    snapshot_path: str = ""
    """Folder and format of the snapshots, with a slash between; '': none are offered."""
    store_dos_attributes: bool = True
    streams_xattr: bool = False
    """`vfs objects = streams_xattr`."""
    streams_xattr_max_xattrs_per_stream: int = 16
    wide_links: bool = False
    withheld: int = 0
    """Of a tree connect: the rights that no open may have, by the security descriptor of the share."""


@dataclass(slots=True)
class TreeConnectResult:
    """The answer of mountd to a TREE_CONNECT."""

    status: int = 0
    """STATUS_SUCCESS, or the NTSTATUS of the refusal."""
    writable: bool = False
    is_admin: bool = False
    is_guest: bool = False
    keeps_group: bool = False
    """`force_gid` of the share does not apply to this user."""
    withheld: int = 0
    """Access rights that the security descriptor of the share does not grant this user."""


class Daemon(Protocol):
    """mountd, reached over netlink. Every Future fails with NtStatusError(STATUS_IO_TIMEOUT) after `ipc timeout`."""

    def login(self, account: str, mapped: bool = False) -> Future[LoginResponse]:
        """Ask for an account by name; "" asks whether anonymous users are allowed. `mapped`: the name is that of a
        session, and not one that a client has sent."""
        ...

    def logout(self, account: str, failed: bool) -> None:
        """Report that a session of the account has ended, or with `failed` that a log-on with this name has failed."""
        ...

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        """The share of this name, ignoring case; None if there is none."""
        ...

    def personal_share(self, name: str, client: Client) -> Future[ShareConfig | None]:
        """What a share that is `personal`, or may be one, is for a session; None: there is none."""
        ...

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
        """Ask whether a user may connect to a share. `connect_id`: the TreeId; `peer`: the address of the client;
        `client`: for a share that is `personal`."""
        ...

    def check_tree_connect(
        self, account: str, is_guest: bool, share: str, peer: str, client: Client | None = None
    ) -> Future[TreeConnectResult]:
        """Ask again whether a user who is connected to a share may be so, after a reload. Nothing is counted for it."""
        ...

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        """Report the end of a tree connect that `tree_connect` allowed."""
        ...

    def spnego_authen(self, blob: bytes, mechanism_list: bytes = b"") -> Future[SpnegoResponse]:
        """Let mountd check a Kerberos token. `mechanism_list`: the MechTypeList that a mechListMIC is to protect; the
        client's is checked with `spnego_verify`."""
        ...

    def spnego_verify(self, number: int, mic: bytes) -> Future[SpnegoResponse]:
        """Let mountd check the client's mechListMIC of the log-on `number`. Its account is admitted where it is
        right."""
        ...

    def rpc_open(self, pipe: str, account: str, restricted: bool, address: str = "") -> Future[int]:
        """Open one of the pipes that mountd serves and return its handle. `restricted`: for a guest or anonymous user.
        `address`: the client's, for the log. Raises STATUS_OBJECT_NAME_NOT_FOUND for other names."""
        ...

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
        """Write a part of an RPC request. Raises STATUS_PIPE_BROKEN, STATUS_INSUFFICIENT_RESOURCES."""
        ...

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        """Read at most `size` bytes of the answer. Returns them, and whether more are left (STATUS_BUFFER_OVERFLOW)."""
        ...

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """Return the next message without removing it (FSCTL_PIPE_PEEK), and whether there is more of it."""
        ...

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """Write a request and read its answer (FSCTL_PIPE_TRANSCEIVE), as `rpc_write` and `rpc_read`."""
        ...

    def rpc_close(self, handle: int) -> None:
        """Close the pipe."""
        ...

