# SPDX-License-Identifier: GPL-2.0-or-later
"""The ids, flags and statuses of the messages between the engine and mountd: KSMBD's (ksmbd_netlink.h), and additional
ones."""
from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, IntFlag, unique
from typing import Final


class Event(IntEnum):
    """Message ids: KSMBD's (enum ksmbd_event), and from 64 on additional ones."""

    HEARTBEAT_REQUEST = 1
    STARTING_UP = 2
    SHUTTING_DOWN = 3
    LOGIN_REQUEST = 4
    LOGIN_RESPONSE = 5
    SHARE_CONFIG_REQUEST = 6
    SHARE_CONFIG_RESPONSE = 7
    TREE_CONNECT_REQUEST = 8
    TREE_CONNECT_RESPONSE = 9
    TREE_DISCONNECT_REQUEST = 10
    LOGOUT_REQUEST = 11
    RPC_REQUEST = 12
    RPC_RESPONSE = 13
    SPNEGO_AUTHEN_REQUEST = 14
    SPNEGO_AUTHEN_RESPONSE = 15
    LOGIN_REQUEST_EXT = 16
    LOGIN_RESPONSE_EXT = 17

    SETTINGS = 64
    """mountd to engine, after STARTING_UP: the settings that KSMBD's structure has no fields for."""
    LISTENING = 65
    """Engine to mountd: clients can connect to these addresses."""
    HELLO = 66
    """Engine to mountd: a new process uses this socket; requests of its predecessor are void."""
    RELOAD = 67
    """mountd to engine: configuration or accounts have changed; drop cached shares."""
    QUESTION = 68
    """mountd to a worker: list what the process has, or end some of it (ksmbd.ipc.activity)."""
    ANSWER = 69
    """Engine to mountd: a part of the answer to QUESTION; the last message has SIZE, the number of parts."""
    FAILED = 70
    """Both directions: the request with this handle could not be answered."""


@unique
class Attribute(IntEnum):
    """The types of the additional attributes."""

    HANDLE = 64
    OPTION = 65
    COMMENT = 66
    ENCRYPT = 67
    FORCE_UID = 68
    FORCE_GID = 69
    ACCOUNT = 70
    SIZE = 71
    ADDRESS = 72
    WORKERS = 73
    BPF = 74
    PID = 75
    BODY = 76
    REASON = 77
    LIFETIME = 78
    """Seconds until the ticket of a log-on ends."""
    NT_STATUS = 79
    WITHHELD = 80
    SIDS = 81
    """The groups of a ticket's PAC, with spaces between."""
    DEBUG = 82
    """With RELOAD: the debug components that `log level` says now (ksmbd.debug)."""


class GlobalFlag(IntFlag):
    """STARTING_UP's flags (KSMBD_GLOBAL_FLAG)."""

    SMB2_LEASES = 1 << 0
    SMB2_ENCRYPTION = 1 << 1
    SMB3_MULTICHANNEL = 1 << 2
    SMB2_ENCRYPTION_OFF = 1 << 3
    DURABLE_HANDLE = 1 << 4


class UserFlag(IntFlag):
    """LOGIN_RESPONSE's status, and account_flags (KSMBD_USER_FLAG)."""

    INVALID = 0
    OK = 1 << 0
    BAD_PASSWORD = 1 << 1
    BAD_UID = 1 << 2
    BAD_USER = 1 << 3
    GUEST_ACCOUNT = 1 << 4
    DELAY_SESSION = 1 << 5
    EXTENSION = 1 << 6
    DISABLED = 1 << 8
    """Additional: the account exists and may not log on; neither OK nor one of the refusals is set with it."""
    LOCKED = 1 << 9
    """Additional: likewise."""
    EXPIRED = 1 << 10
    """Additional: likewise."""


class ShareFlag(IntFlag):
    """SHARE_CONFIG_RESPONSE's flags (KSMBD_SHARE_FLAG)."""

    INVALID = 0
    AVAILABLE = 1 << 0
    BROWSEABLE = 1 << 1
    WRITEABLE = 1 << 2
    READONLY = 1 << 3
    GUEST_OK = 1 << 4
    GUEST_ONLY = 1 << 5
    STORE_DOS_ATTRS = 1 << 6
    OPLOCKS = 1 << 7
    PIPE = 1 << 8
    HIDE_DOT_FILES = 1 << 9
    INHERIT_OWNER = 1 << 10
    STREAMS = 1 << 11
    FOLLOW_SYMLINKS = 1 << 12
    ACL_XATTR = 1 << 13
    UPDATE = 1 << 14
    CROSSMNT = 1 << 15
    CONTINUOUS_AVAILABILITY = 1 << 16
    HIDE_UNREADABLE = 1 << 17
    TIME_MACHINE = 1 << 18
    WIDE_LINKS = 1 << 19


class TreeRequestFlag(IntFlag):
    """TREE_CONNECT_REQUEST's flags."""

    IPV6 = 1 << 0
    SMB2 = 1 << 1
    CHECK = 1 << 8
    """Additional: nobody connects; who is connected is checked again after a reload."""


class TreeFlag(IntFlag):
    """TREE_CONNECT_RESPONSE's connection_flags (KSMBD_TREE_CONN_FLAG)."""

    GUEST_ACCOUNT = 1 << 0
    READ_ONLY = 1 << 1
    WRITABLE = 1 << 2
    ADMIN_ACCOUNT = 1 << 3
    UPDATE = 1 << 4
    KEEP_GROUP = 1 << 8
    """Additional: `force group = +GROUP`, and the user is no member of the group."""


class TreeStatus(IntEnum):
    """TREE_CONNECT_RESPONSE's status (KSMBD_TREE_CONN_STATUS)."""

    OK = 0
    NOMEM = 1
    NO_SHARE = 2
    NO_USER = 3
    INVALID_USER = 4
    HOST_DENIED = 5
    CONN_EXIST = 6
    TOO_MANY_CONNS = 7
    TOO_MANY_SESSIONS = 8
    ERROR = 9


class RpcFlag(IntFlag):
    """RPC_REQUEST's flags: a method, a service, and RESTRICTED_CONTEXT for an anonymous or guest session."""

    RETURN = 0x1
    SRVSVC = 0x2
    WKSSVC = 0x4
    IOCTL = 0x9
    OPEN = 0x10
    WRITE = 0x20
    READ = 0x41
    CLOSE = 0x80
    RAP = 0x101
    RESTRICTED_CONTEXT = 0x200
    SAMR = 0x400
    LSARPC = 0x800
    WINREG = 0x1000
    NETDFS = 0x2000
    """Two of ours: KSMBD has no such pipes."""


RPC_METHODS: Final = (RpcFlag.IOCTL, RpcFlag.OPEN, RpcFlag.WRITE, RpcFlag.READ, RpcFlag.CLOSE)
"""The methods. Their bits are disjoint except RETURN, so that `flags & method == method` finds the method."""

PIPES: Final[Mapping[str, RpcFlag]] = {
    "srvsvc": RpcFlag.SRVSVC,
    "wkssvc": RpcFlag.WKSSVC,
    "samr": RpcFlag.SAMR,
    "lsarpc": RpcFlag.LSARPC,
    "winreg": RpcFlag.WINREG,
    "netdfs": RpcFlag.NETDFS,
}
"""The named pipes, and their service flags."""


class RpcStatus(IntEnum):
    """RPC_RESPONSE's flags: the status of the call (KSMBD_RPC_*)."""

    OK = 0
    BAD_FUNC = 0x1
    ACCESS_DENIED = 0x5
    BAD_FID = 0x6
    NOMEM = 0x8
    BAD_DATA = 0xD
    NOT_IMPLEMENTED = 0x40
    INVALID_PARAMETER = 0x57
    BROKEN_PIPE = 0x6D
    """Additional: the service has ended."""
    INVALID_LEVEL = 0x7C
    PIPE_BUSY = 0xE7
    """Additional: the service is not available now."""
    MORE_DATA = 0xEA
    SOME_NOT_MAPPED = 0x107
