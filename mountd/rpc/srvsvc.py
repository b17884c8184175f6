# SPDX-License-Identifier: GPL-2.0-or-later
"""srvsvc, the Server Service (MS-SRVS): the server itself; shares and sessions have modules of their own."""

from __future__ import annotations

import time
import uuid
from typing import Final

from mountd.rpc import srvsvc_names as names
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
        20: shares.net_share_check,
        21: net_server_get_info,
        28: net_remote_tod,
        33: names.net_name_validate,
        35: names.net_name_compare,
        36: shares.net_share_enum_sticky,
    },
)
