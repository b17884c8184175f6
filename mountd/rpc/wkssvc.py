# SPDX-License-Identifier: GPL-2.0-or-later
"""wkssvc, the Workstation Service (MS-WKST): information about the machine."""

from __future__ import annotations

import uuid
from typing import Final

from mountd.rpc.enumeration import read_enum, write_enum, write_enum_error
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Syntax
from mountd.rpc.rows import SessionInfo
from mountd.rpc.service import Caller, Interface, Win32
from mountd.rpc.srvsvc import PLATFORM_ID_NT, VERSION


def netr_wksta_get_info(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrWkstaGetInfo, opnum 0 (MS-WKST 3.2.4.1), levels 100 for all, 101 for users, 102 for administrators."""
    reader.unique_string()
    level = reader.u32()
    facts = caller.facts()

    def info() -> None:
        writer.u32(PLATFORM_ID_NT)
        writer.string_pointer(facts.netbios_name)
        writer.string_pointer(facts.workgroup)
        writer.u32(VERSION[0])
        writer.u32(VERSION[1])
        if level >= 101:
            writer.string_pointer("")  # lanroot: not used (MS-WKST 2.2.5.2)
        if level == 102:
            writer.u32(facts.accounts)

    status = Win32.SUCCESS
    if level not in (100, 101, 102):
        status = Win32.INVALID_LEVEL
    elif (level == 101 and caller.restricted) or (level == 102 and not caller.is_admin):
        status = Win32.ACCESS_DENIED
    writer.u32(level)
    writer.pointer(info if status is Win32.SUCCESS else None)
    writer.flush()
    writer.u32(status)


def _user_0(writer: NdrWriter, session: SessionInfo) -> None:
    writer.string_pointer(session.account)


def netr_wksta_user_enum(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """NetrWkstaUserEnum, opnum 2 (MS-WKST 3.2.4.3): who is logged on, for administrators. Levels 0 and 1."""
    reader.unique_string()
    request = read_enum(reader)
    facts = caller.facts()

    def user_1(writer: NdrWriter, session: SessionInfo) -> None:
        writer.string_pointer(session.account)
        writer.string_pointer(facts.netbios_name.upper())
        writer.string_pointer("")
        writer.string_pointer(facts.netbios_name.upper())

    entry = {0: _user_0, 1: user_1}.get(request.level)
    if entry is None:
        write_enum_error(writer, request, Win32.INVALID_LEVEL)
    elif not caller.is_admin:
        write_enum_error(writer, request, Win32.ACCESS_DENIED)
    else:
        write_enum(writer, request, [session for session in caller.names.sessions() if not session.guest], entry)


INTERFACE: Final = Interface(
    pipe="wkssvc",
    syntax=Syntax(uuid.UUID("6bffd098-a112-3610-9833-46c3f87e345a"), 1),
    operations={0: netr_wksta_get_info, 2: netr_wksta_user_enum},
)
