# SPDX-License-Identifier: GPL-2.0-or-later
"""The ports of the protocol: what it needs of other packages. Clock, Security (auth), Files (vfs), OpenTable (oplock),
Daemon (ipc), Transport (conn).

`ksmbd/smb` imports nothing above it: the other packages implement these ports, and `ksmbd/process/worker.py` connects
them. All calls come from one thread. What may take long returns a Future (ksmbd.smb.waiting), which is completed in the
same thread. Errors for the client are raised as `NtStatusError`.

Conventions: times are FILETIME integers (100 ns since 1601, MS-DTYP 2.3.3), 0 = not given; sizes and offsets are bytes;
names are `str` decoded from UTF-16 (unpaired surrogates are kept), without a leading backslash, with components joined
by `\\`.
"""
from __future__ import annotations

from ksmbd.smb.clock import (
    Clock,
    Timer,
)
from ksmbd.smb.ports.auth import (
    Authenticator,
    AuthStep,
    Identity,
    Sealer,
    Security,
    SessionKeys,
    Signer,
)
from ksmbd.smb.ports.daemon import (
    Client,
    Daemon,
    GuestIds,
    LoginResponse,
    ShareConfig,
    SpnegoResponse,
    TreeConnectResult,
)
from ksmbd.smb.ports.file_records import CreateIntent, DirectoryEntry, FileInfo
from ksmbd.smb.ports.files import (
    NO_POSIX_MODE,
    QUOTA_STREAM,
    CreateResult,
    File,
    FileKey,
    Files,
    QuotaEntry,
    StreamInfo,
    Unfinished,
    Volume,
    VolumeInfo,
    Watch,
)
from ksmbd.smb.ports.local import (
    NO_LEASE,
    READ_LEASE,
    READ_LOCK,
    UNLOCKED,
    WRITE_LEASE,
    WRITE_LOCK,
    LocalOpen,
)
from ksmbd.smb.ports.opens import (
    ENCRYPTED,
    SIGNED,
    BreakKind,
    BreakNotice,
    CloseOutcome,
    DurableReconnect,
    DurableRequest,
    LeaseGrant,
    LeaseRequest,
    LockElement,
    OpenGrant,
    OpenRef,
    OpenRequest,
    OpenTable,
    PurgedOpen,
    Reconnected,
    Replaced,
)
from ksmbd.smb.ports.transport import (
    FileSpan,
    Frame,
    Transport,
)

__all__ = [
    "AuthStep",
    "Authenticator",
    "BreakKind",
    "BreakNotice",
    "Client",
    "Clock",
    "CloseOutcome",
    "CreateIntent",
    "CreateResult",
    "Daemon",
    "DirectoryEntry",
    "DurableReconnect",
    "DurableRequest",
    "ENCRYPTED",
    "File",
    "FileInfo",
    "FileKey",
    "FileSpan",
    "Files",
    "Frame",
    "GuestIds",
    "Identity",
    "LeaseGrant",
    "LeaseRequest",
    "LocalOpen",
    "LockElement",
    "LoginResponse",
    "NO_LEASE",
    "NO_POSIX_MODE",
    "OpenGrant",
    "OpenRef",
    "OpenRequest",
    "OpenTable",
    "PurgedOpen",
    "QUOTA_STREAM", "READ_LEASE",
    "READ_LOCK",
    "Reconnected",
    "Replaced",
    "SIGNED",
    "Sealer",
    "Security",
    "SessionKeys",
    "ShareConfig",
    "Signer",
    "SpnegoResponse",
    "QuotaEntry", "StreamInfo",
    "Timer",
    "Transport",
    "TreeConnectResult",
    "UNLOCKED",
    "Unfinished",
    "Volume",
    "VolumeInfo",
    "WRITE_LEASE",
    "WRITE_LOCK",
    "Watch",
]
