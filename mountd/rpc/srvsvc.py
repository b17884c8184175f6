# SPDX-License-Identifier: GPL-2.0-or-later
"""srvsvc, the Server Service (MS-SRVS): shares, sessions, the server itself."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from mountd.rpc import srvsvc_sessions as sessions
from mountd.rpc.enumeration import read_enum, write_enum, write_enum_error, write_info
from mountd.rpc.facts import ShareFacts
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Syntax
from mountd.rpc.service import Caller, Interface, Win32
from mountd.rpc.srvsvc_sessions import STYPE_DISKTREE, STYPE_IPC

PLATFORM_ID_NT: Final = 500
"""MS-SRVS 2.2.2.6."""
VERSION: Final = (10, 0)
"""The version of Windows whose file server behaves like this one (6.1 and later: SMB 2.1, 10.0: SMB 3.1.1)."""
SV_TYPE: Final = 0x00009003
"""MS-SRVS 2.2.2.7: workstation, server, NT, server NT."""
STYPE_SPECIAL: Final = 0x80000000
UNLIMITED_USES: Final = 0xFFFFFFFF


# ----------------------------------------------------------------------------------------------------------- shares


def _kind(share: ShareFacts) -> int:
    return STYPE_IPC | STYPE_SPECIAL if share.is_ipc else STYPE_DISKTREE


def _windows_path(share: ShareFacts) -> str:
    """MS-SRVS wants a drive's path; the root file system is C:, as with Samba."""
    return "" if share.is_ipc else "C:" + share.path.replace("/", "\\")


def _visible(caller: Caller) -> list[ShareFacts]:
    return [
        share for key, share in caller.facts().shares.items()
        if share.is_ipc or (share.browseable and share.served and key not in caller.hidden)
    ]


def _find(caller: Caller, name: str) -> ShareFacts | None:
    share = caller.facts().shares.get(name.casefold())
    return share if share is not None and share.served else None


def _share_0(writer: NdrWriter, share: ShareFacts) -> None:
    writer.string_pointer(share.name)


def _share_1(writer: NdrWriter, share: ShareFacts) -> None:
    writer.string_pointer(share.name)
    writer.u32(_kind(share))
    writer.string_pointer(share.comment)


def _share_2(writer: NdrWriter, share: ShareFacts) -> None:
    _share_1(writer, share)
    writer.u32(0)  # permissions: of share-level security alone
    writer.u32(UNLIMITED_USES if share.is_ipc else share.max_connections)
    writer.u32(share.uses)
    writer.string_pointer(_windows_path(share))
    writer.string_pointer(None)  # passwd: never sent


def _share_501(writer: NdrWriter, share: ShareFacts) -> None:
    _share_1(writer, share)
    writer.u32(0)  # flags: manual caching (MS-SRVS 2.2.4.29)


def _share_502(writer: NdrWriter, share: ShareFacts) -> None:
    _share_2(writer, share)
    writer.u32(0)  # the share has no security descriptor: who may connect is said by its lists of users
    writer.pointer(None)


def _share_503(writer: NdrWriter, share: ShareFacts) -> None:
    _share_2(writer, share)
    writer.string_pointer("*")  # MS-SRVS 2.2.4.27: not scoped to a server name
    writer.u32(0)
    writer.pointer(None)


def _share_1005(writer: NdrWriter, share: ShareFacts) -> None:
    writer.u32(0)  # MS-SRVS 2.2.4.29: not DFS, manual caching


_SHARE_LEVELS: Final[Mapping[int, Callable[[NdrWriter, ShareFacts], None]]] = {
    0: _share_0,
    1: _share_1,
    2: _share_2,
    501: _share_501,
    502: _share_502,
    503: _share_503,
}
_OPEN_SHARE_LEVELS: Final = (0, 1, 501, 1005)
"""What guests may ask too: no paths, no counts (MS-SRVS 3.1.4.8, 3.1.4.10)."""


def net_share_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareEnum, opnum 15 (MS-SRVS 3.1.4.8)."""
    reader.unique_string()
    request = read_enum(reader)
    entry = _SHARE_LEVELS.get(request.level)
    if entry is None:
        write_enum_error(writer, request, Win32.INVALID_LEVEL)
    elif caller.restricted and request.level not in _OPEN_SHARE_LEVELS:
        write_enum_error(writer, request, Win32.ACCESS_DENIED)
    else:
        write_enum(writer, request, _visible(caller), entry)


def net_share_get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrShareGetInfo, opnum 16 (MS-SRVS 3.1.4.10). Also of shares that enumerations hide."""
    reader.unique_string()
    name, level = reader.string(), reader.u32()
    entry = {**_SHARE_LEVELS, 1005: _share_1005}.get(level)
    share = _find(caller, name)
    if entry is None:
        write_info(writer, level, None, Win32.INVALID_LEVEL)
    elif caller.restricted and level not in _OPEN_SHARE_LEVELS:
        write_info(writer, level, None, Win32.ACCESS_DENIED)
    elif share is None:
        write_info(writer, level, None, Win32.NERR_NET_NAME_NOT_FOUND)
    else:
        found, write = share, entry
        write_info(writer, level, lambda: write(writer, found), Win32.SUCCESS)


# ------------------------------------------------------------------------------------------------------- the server


def net_server_get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrServerGetInfo, opnum 21 (MS-SRVS 3.1.4.17), levels 100 to 102."""
    reader.unique_string()
    level = reader.u32()
    facts = caller.facts()

    def info() -> None:
        writer.u32(PLATFORM_ID_NT)
        writer.string_pointer(facts.netbios_name)
        if level == 100:
            return
        writer.u32(VERSION[0])
        writer.u32(VERSION[1])
        writer.u32(SV_TYPE)
        writer.string_pointer(facts.server_string)
        if level == 101:
            return
        writer.u32(facts.max_sessions)  # users
        writer.u32(facts.deadtime or 0xFFFFFFFF)  # disc: minutes, SV_NODISC
        writer.u32(0)  # hidden: no
        writer.u32(240)  # announce and anndelta, in seconds and milliseconds: the protocol's defaults,
        writer.u32(3000)  # since this server does not announce itself
        writer.u32(0)  # licenses
        writer.string_pointer("C:\\")  # userpath

    if level not in (100, 101, 102):
        write_info(writer, level, None, Win32.INVALID_LEVEL)
    elif level == 102 and caller.restricted:
        write_info(writer, level, None, Win32.ACCESS_DENIED)
    else:
        write_info(writer, level, info, Win32.SUCCESS)


def net_remote_tod(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrRemoteTOD, opnum 28 (MS-SRVS 3.1.4.21): TIME_OF_DAY_INFO, in UTC."""
    reader.unique_string()
    now = time.time_ns()
    seconds, hundredths = now // 10**9, now // 10**7 % 100
    utc = time.gmtime(seconds)

    def info() -> None:
        for value in (
            seconds,
            time.monotonic_ns() // 10**6,
            utc.tm_hour,
            utc.tm_min,
            utc.tm_sec,
            hundredths,
            (time.altzone if time.localtime(seconds).tm_isdst > 0 else time.timezone) // 60,
            310,  # tinterval: a clock tick in units of 0.1 ms (MS-SRVS 2.2.4.105)
            utc.tm_mday,
            utc.tm_mon,
            utc.tm_year,
            (utc.tm_wday + 1) % 7,
        ):
            writer.u32(value)

    writer.pointer(info)
    writer.flush()
    writer.u32(Win32.SUCCESS)


INTERFACE: Final = Interface(
    pipe="srvsvc",
    syntax=Syntax(uuid.UUID("4b324fc8-1670-01d3-1278-5a47bf6ee188"), 3),
    operations={
        8: sessions.net_connection_enum,
        9: sessions.net_file_enum,
        10: sessions.net_file_get_info,
        11: sessions.net_file_close,
        12: sessions.net_session_enum,
        13: sessions.net_session_del,
        15: net_share_enum,
        16: net_share_get_info,
        21: net_server_get_info,
        28: net_remote_tod,
        36: net_share_enum,  # NetrShareEnumSticky (MS-SRVS 3.1.4.9): all of our shares outlive a restart
    },
)
