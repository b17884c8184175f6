# SPDX-License-Identifier: GPL-2.0-or-later
"""Converts mountd's responses to the records of the port `Daemon`, so that no other module needs KSMBD's flags.

The functions raise WireError for lengths that contradict each other, and for a text that is no value of its parameter.
"""
from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, RpcStatus, ShareFlag, TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.messages import text_of
from ksmbd.ipc.options import (
    FORCE_GROUP,
    GUEST_GID,
    GUEST_GROUPS,
    GUEST_UID,
    OF_MEMBERS,
    PERSONAL,
    number,
    numbers,
    patterns,
    required,
    switch,
)
from ksmbd.smb.ports import GuestIds, LoginResponse, ShareConfig, SpnegoResponse, TreeConnectResult
from ksmbd.smb.reader import Reader
from ksmbd.smb.sid import Sid, sid_from_text
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_ACCOUNT_DISABLED,
    STATUS_ACCOUNT_EXPIRED,
    STATUS_ACCOUNT_LOCKED_OUT,
    STATUS_BAD_NETWORK_NAME,
    STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_DEVICE_REQUEST,
    STATUS_INVALID_HANDLE,
    STATUS_INVALID_PARAMETER,
    STATUS_LOGON_FAILURE,
    STATUS_NOT_IMPLEMENTED,
    STATUS_PIPE_BROKEN,
    STATUS_PIPE_NOT_AVAILABLE,
    STATUS_REQUEST_NOT_ACCEPTED,
    STATUS_SUCCESS,
    NtStatusError,
    WireError,
)

RPC_ERRORS: Final = {
    RpcStatus.BAD_FUNC: STATUS_INVALID_DEVICE_REQUEST,
    RpcStatus.ACCESS_DENIED: STATUS_ACCESS_DENIED,
    RpcStatus.BAD_FID: STATUS_INVALID_HANDLE,
    RpcStatus.NOMEM: STATUS_INSUFFICIENT_RESOURCES,
    RpcStatus.BAD_DATA: STATUS_PIPE_BROKEN,
    RpcStatus.BROKEN_PIPE: STATUS_PIPE_BROKEN,
    RpcStatus.PIPE_BUSY: STATUS_PIPE_NOT_AVAILABLE,
    RpcStatus.NOT_IMPLEMENTED: STATUS_NOT_IMPLEMENTED,
    RpcStatus.INVALID_PARAMETER: STATUS_INVALID_PARAMETER,
}
TREE_ERRORS: Final = {
    TreeStatus.NOMEM: STATUS_INSUFFICIENT_RESOURCES,
    TreeStatus.NO_SHARE: STATUS_BAD_NETWORK_NAME,
    TreeStatus.CONN_EXIST: STATUS_REQUEST_NOT_ACCEPTED,
    TreeStatus.TOO_MANY_CONNS: STATUS_REQUEST_NOT_ACCEPTED,
    TreeStatus.TOO_MANY_SESSIONS: STATUS_REQUEST_NOT_ACCEPTED,
}
"""The NTSTATUS of a refused TREE_CONNECT; STATUS_ACCESS_DENIED for all other statuses."""
LOGON_ERRORS: Final = {
    UserFlag.DISABLED: STATUS_ACCOUNT_DISABLED,
    UserFlag.LOCKED: STATUS_ACCOUNT_LOCKED_OUT,
    UserFlag.EXPIRED: STATUS_ACCOUNT_EXPIRED,
}
"""What an account with one of these flags gets that has the right password."""
_REFUSED: Final = UserFlag.BAD_PASSWORD | UserFlag.BAD_UID | UserFlag.BAD_USER


def fits(text: str, size: int) -> bool:
    """Whether a text has at most `size` bytes and no NUL, so that it fits a field of `size` + 1 bytes."""
    try:
        return "\0" not in text and len(text.encode()) <= size
    except UnicodeEncodeError:
        return False


def login_response(message: Message) -> LoginResponse:
    """Convert LOGIN_RESPONSE, or the one inside SPNEGO_AUTHEN_RESPONSE. The supplementary groups come separately."""
    fields = message.fields
    if fields["hash_sz"] > len(fields["hash"]):
        raise WireError(f"hash_sz {fields['hash_sz']}")
    refusal = next((status for flag, status in LOGON_ERRORS.items() if fields["status"] & flag), STATUS_SUCCESS)
    digest = fields["hash"][: fields["hash_sz"]]
    status = fields["status"]
    return LoginResponse(
        message.text("account"),
        digest,
        fields["uid"],
        fields["gid"],
        admitted=(bool(status & UserFlag.OK) or refusal != STATUS_SUCCESS) and not status & _REFUSED,
        is_guest=bool(status & UserFlag.GUEST_ACCOUNT),
        no_unix_account=bool(status & UserFlag.BAD_UID),
        throttled=bool(status & UserFlag.DELAY_SESSION),
        refusal=refusal,
    )


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise WireError("a text that is not hexadecimal") from None


def _sids(text: str) -> tuple[Sid, ...]:
    try:
        return tuple(sid_from_text(each) for each in text.split())
    except NtStatusError:
        raise WireError("a SID that is none") from None


def spnego_response(message: Message) -> SpnegoResponse:
    """Convert SPNEGO_AUTHEN_RESPONSE: the payload is the session key and the token for the client."""
    fields = message.fields
    reader = Reader(fields["payload"])
    return SpnegoResponse(
        login_response(message),
        session_key=reader.bytes(fields["session_key_len"]),
        token=reader.bytes(fields["spnego_blob_len"]),
        lifetime=message.numbers.get(Attribute.LIFETIME, 0),
        principal=message.texts.get(Attribute.ACCOUNT, ""),
        reason=message.texts.get(Attribute.REASON, ""),
        status=message.numbers.get(Attribute.NT_STATUS, STATUS_LOGON_FAILURE),
        mic=_octets(message.texts.get(Attribute.BODY, "")),
        number=message.numbers.get(Attribute.HANDLE, 0),
        sids=_sids(message.texts.get(Attribute.SIDS, "")),
    )


_GID: Final = struct.Struct("=I")


def groups(message: Message) -> tuple[int, ...]:
    """The supplementary groups in LOGIN_RESPONSE_EXT."""
    reader = Reader(message.fields["payload"])
    return tuple(reader.unpack(_GID)[0] for _ in range(max(0, message.fields["ngroups"])))


def share_config(message: Message) -> ShareConfig | None:
    """Convert SHARE_CONFIG_RESPONSE with its additional attributes; None: there is no such share."""
    if not message.fields["flags"] & ShareFlag.AVAILABLE:
        return None
    if PERSONAL in message.options:
        return ShareConfig(text_of(message.fields["share_name"]), "", personal=True)
    return _known_share(message)


def _known_share(message: Message) -> ShareConfig:
    fields, options, flags = message.fields, message.options, message.fields["flags"]
    veto, path = _veto_and_path(message)
    share = ShareConfig(
        name=text_of(fields["share_name"]),
        path=path,
        create_mask=fields["create_mask"],
        directory_mask=fields["directory_mask"],
        force_create_mode=fields["force_create_mode"],
        force_directory_mode=fields["force_directory_mode"],
        force_uid=message.numbers.get(Attribute.FORCE_UID),
        force_gid=message.numbers.get(Attribute.FORCE_GID),
        veto_files=tuple(p.decode("utf-8", "surrogateescape") for p in veto.split(b"\0") if p),
        comment=message.texts.get(Attribute.COMMENT, ""),
        is_pipe=bool(flags & ShareFlag.PIPE),
        encrypt=bool(message.numbers.get(Attribute.ENCRYPT, 0)),
        acl_flag_inherited_canonicalization=switch(options, "acl flag inherited canonicalization"),
        acl_map_full_control=switch(options, "acl map full control"),
        acl_xattr=bool(flags & ShareFlag.ACL_XATTR),
        acl_xattr_security_acl_name=required(options, "acl_xattr:security_acl_name"),
        change_notify=switch(options, "change notify"),
        continuous_availability=bool(flags & ShareFlag.CONTINUOUS_AVAILABILITY),
        crossmnt=bool(flags & ShareFlag.CROSSMNT),
        delete_readonly=switch(options, "delete readonly"),
        delete_veto_files=switch(options, "delete veto files"),
        dos_filemode=switch(options, "dos filemode"),
        ea_support=switch(options, "ea support"),
        follow_symlinks=bool(flags & ShareFlag.FOLLOW_SYMLINKS),
        force_group_of_members=options.get(FORCE_GROUP) == OF_MEMBERS,
        guest=_guest(options),
        hide_dot_files=bool(flags & ShareFlag.HIDE_DOT_FILES),
        hide_files=patterns(required(options, "hide files")),
        hide_special_files=switch(options, "hide special files"),
        hide_unreadable=bool(flags & ShareFlag.HIDE_UNREADABLE),
        hide_unwriteable_files=switch(options, "hide unwriteable files"),
        inherit_acls=switch(options, "inherit acls"),
        inherit_owner=required(options, "inherit owner"),
        inherit_permissions=switch(options, "inherit permissions"),
        kernel_oplocks=switch(options, "kernel oplocks"),
        map_archive=required(options, "map archive"),
        map_hidden=switch(options, "map hidden"),
        map_readonly=required(options, "map readonly"),
        map_system=switch(options, "map system"),
        msdfs_proxy=required(options, "msdfs proxy"),
        msdfs_root=switch(options, "msdfs root"),
        nt_acl_support=switch(options, "nt acl support"),
        oplocks=bool(flags & ShareFlag.OPLOCKS),
        posix_locking=required(options, "posix locking"),
        store_dos_attributes=bool(flags & ShareFlag.STORE_DOS_ATTRS),
        streams_xattr=bool(flags & ShareFlag.STREAMS),
        streams_xattr_max_xattrs_per_stream=number(options, "streams_xattr:max xattrs per stream"),
        wide_links=bool(flags & ShareFlag.WIDE_LINKS),
    )
    _set_names(share, options)
    _set_snapshots(share, options)
    return share


def _veto_and_path(message: Message) -> tuple[bytes, str]:
    """The patterns of `veto files`, each but the last with a NUL behind it, and the path of the share."""
    fields = message.fields
    reader = Reader(fields["payload"])
    if fields["payload_sz"] != len(reader):
        raise WireError(f"payload_sz {fields['payload_sz']}")
    veto = reader.bytes(fields["veto_list_sz"])
    if veto:
        reader.skip(1)  # the NUL between veto list and path
    return veto, reader.bytes(reader.remaining).partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _set_names(share: ShareConfig, options: Mapping[str, str]) -> None:
    """Set what decides on the names of files."""
    share.case_sensitive = required(options, "case sensitive")
    share.catia_mappings = required(options, "catia:mappings")
    share.default_case = required(options, "default case")
    share.mangled_names = required(options, "mangled names")
    share.preserve_case = switch(options, "preserve case")
    share.short_preserve_case = switch(options, "short preserve case")


def _set_snapshots(share: ShareConfig, options: Mapping[str, str]) -> None:
    """Set what the parameters of `vfs objects = shadow_copy2` and `snapshot path` say."""
    share.shadow_basedir = required(options, "shadow:basedir")
    share.shadow_crossmountpoints = switch(options, "shadow:crossmountpoints")
    share.shadow_delimiter = required(options, "shadow:delimiter")
    share.shadow_localtime = switch(options, "shadow:localtime")
    share.shadow_mountpoint = required(options, "shadow:mountpoint")
    share.shadow_snapdirseverywhere = switch(options, "shadow:snapdirseverywhere")
    share.shadow_snapprefix = required(options, "shadow:snapprefix")
    share.shadow_snapsharepath = required(options, "shadow:snapsharepath")
    share.shadow_sort = required(options, "shadow:sort")
    share.shadow_sscanf = switch(options, "shadow:sscanf")
    share.snapshot_path = required(options, "snapshot path")


def _guest(options: Mapping[str, str]) -> GuestIds | None:
    """The ids of the share's own guest account; None where it has none."""
    if GUEST_UID not in options:
        return None
    uid, gid = number(options, GUEST_UID), number(options, GUEST_GID)
    return GuestIds(uid, gid, numbers(options.get(GUEST_GROUPS, "")))


def tree_result(message: Message) -> TreeConnectResult:
    """Convert TREE_CONNECT_RESPONSE."""
    status, flags = message.fields["status"], message.fields["connection_flags"]
    if status != TreeStatus.OK:
        return TreeConnectResult(TREE_ERRORS.get(status, STATUS_ACCESS_DENIED))
    return TreeConnectResult(
        STATUS_SUCCESS,
        writable=bool(flags & TreeFlag.WRITABLE),
        is_admin=bool(flags & TreeFlag.ADMIN_ACCOUNT),
        is_guest=bool(flags & TreeFlag.GUEST_ACCOUNT),
        keeps_group=bool(flags & TreeFlag.KEEP_GROUP),
        withheld=message.numbers.get(Attribute.WITHHELD, 0),
    )


def pipe_data(message: Message) -> tuple[bytes, bool]:
    """Convert RPC_RESPONSE to (data, whether there is more of the message). Raises NtStatusError where the call
    failed."""
    fields = message.fields
    if fields["payload_sz"] != len(fields["payload"]):
        raise WireError(f"payload_sz {fields['payload_sz']}", STATUS_PIPE_BROKEN)
    status = fields["flags"]
    if status in (RpcStatus.OK, RpcStatus.MORE_DATA):
        return fields["payload"], status == RpcStatus.MORE_DATA
    raise NtStatusError(RPC_ERRORS.get(status, STATUS_PIPE_BROKEN), "pipe")
