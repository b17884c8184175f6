# SPDX-License-Identifier: GPL-2.0-or-later
"""srvsvc, the Server Service (MS-SRVS): the server itself; shares and sessions have modules of their own."""

from __future__ import annotations

import time
import uuid
from typing import Final

from ksmbd.smb.status import WireError
from mountd.rpc import srvsvc_names as names
from mountd.rpc import srvsvc_paths as paths
from mountd.rpc import srvsvc_sessions as sessions
from mountd.rpc import srvsvc_shares as shares
from mountd.rpc.enumeration import write_info
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Syntax
from mountd.rpc.service import Caller, Interface, Win32

PLATFORM_ID_NT: Final = 500
"""MS-SRVS 2.2.2.6."""
VERSION: Final = (10, 0)
"""The version of Windows whose file server behaves like this one (6.1 and later: SMB 2.1, 10.0: SMB 3.1.1)."""
DISK: Final = "C:"
"""What the paths of shares begin with."""
SV_TYPE: Final = 0x00009003
"""MS-SRVS 2.2.2.7: workstation, server, NT, server NT."""


# ------------------------------------------------------------------------------------------------------- the server


_SERVER_502: Final[tuple[int | None, ...]] = (
    16384, 1, 2048, 4356, 4, 65535, 4, 11, 65535, None, 2048, 0xFFFFFFFF, 0xFFFFFFFF, 1, 1, 0, 1, 0,
)  # fmt: skip
"""SERVER_INFO_502 (MS-SRVS 2.2.4.44) from sessopens to lmannounce: the defaults of the section, which nothing uses;
None: the sessions that are allowed."""
_SERVER_503: Final = (8192, 0, 480, 3600, 600, 600, 2, 9, 30, 2, 2, 65536, 1, 50, 35, 35, 1, 0, 1, 0, 1, 2, 2)
"""What SERVER_INFO_503 (2.2.4.45) has behind the domain, from maxcopyreadlen to maxfreeconnections."""


def net_server_get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrServerGetInfo, opnum 21 (MS-SRVS 3.1.4.17), levels 100 to 103, 502 and 503."""
    reader.unique_string()
    level = reader.u32()
    facts = caller.facts()

    def tuning() -> None:
        for value in _SERVER_502:
            writer.u32(facts.max_sessions if value is None else value)
        if level == 503:
            writer.string_pointer(facts.workgroup)
            for value in _SERVER_503:
                writer.u32(value)

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
        if level == 103:
            writer.u32(0)  # capabilities: no remote administration of shares of its own kind

    if level not in (100, 101, 102, 103, 502, 503):
        write_info(writer, level, None, Win32.INVALID_LEVEL)
    elif (level in (102, 103) and caller.restricted) or (level > 103 and not caller.is_admin):
        write_info(writer, level, None, Win32.ACCESS_DENIED)
    else:
        write_info(writer, level, tuning if level > 103 else info, Win32.SUCCESS)


def net_server_set_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrServerSetInfo, opnum 22 (MS-SRVS 3.1.4.18). The configuration alone changes the server: administrators are
    told so, others are refused."""
    writer.unique_u32(None)  # ParmErr
    writer.u32(Win32.NOT_SUPPORTED if caller.is_admin else Win32.ACCESS_DENIED)


def net_server_disk_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrServerDiskEnum, opnum 23 (MS-SRVS 3.1.4.19), level 0: one disk."""
    reader.unique_string()
    level = reader.u32()
    reader.u32()  # EntriesRead
    if reader.pointer() and any([reader.u32() for _ in ("maximum", "offset", "count")][1:]):
        raise WireError("disks in a request")
    reader.u32()  # PreferedMaximumLength: one disk is told in any case
    resume = reader.unique_u32()
    disks: list[str] = []
    status = Win32.SUCCESS
    if level != 0:
        status = Win32.INVALID_LEVEL
    elif caller.restricted:
        status = Win32.ACCESS_DENIED
    elif not resume:
        disks = [DISK]

    def array() -> None:
        for value in (len(disks), 0, len(disks)):
            writer.u32(value)
        for disk in disks:
            encoded = (disk + "\0").encode("utf-16-le")
            writer.u32(0)
            writer.u32(len(encoded) // 2)
            writer.raw(encoded)

    writer.u32(len(disks))
    writer.pointer(array if status is Win32.SUCCESS else None)
    writer.flush()
    writer.u32(len(disks))
    writer.unique_u32(None if resume is None else resume + len(disks))
    writer.u32(status)


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
        14: shares.net_share_add,
        15: shares.net_share_enum,
        16: shares.net_share_get_info,
        17: shares.net_share_set_info,
        18: shares.net_share_del,
        19: shares.net_share_del,  # NetrShareDelSticky (3.1.4.13): a share that is gone is gone after a restart, too
        20: shares.net_share_check,
        21: net_server_get_info,
        22: net_server_set_info,
        23: net_server_disk_enum,
        28: net_remote_tod,
        30: paths.net_path_type,
        31: paths.net_path_canonicalize,
        32: paths.net_path_compare,
        33: names.net_name_validate,
        34: names.net_name_canonicalize,
        35: names.net_name_compare,
        36: shares.net_share_enum_sticky,
    },
)
