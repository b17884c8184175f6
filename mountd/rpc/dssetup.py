# SPDX-License-Identifier: GPL-2.0-or-later
"""dssetup, the Directory Services Setup (MS-DSSP): what a member of a domain asks before it shows names. Its pipe is
lsarpc."""

from __future__ import annotations

import uuid
from typing import Final

from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Syntax
from mountd.rpc.service import Caller, Interface, Win32

BASIC, UPGRADE, OPERATION = 1, 2, 3
"""DSROLE_PRIMARY_DOMAIN_INFO_LEVEL (MS-DSSP 2.2.2)."""
STANDALONE_SERVER: Final = 2
"""DsRole_RoleStandaloneServer (MS-DSSP 2.2.1)."""


def get_primary_domain_information(caller: Caller, reader: NdrReader, writer: NdrWriter) -> None:
    """DsRolerGetPrimaryDomainInformation, opnum 0 (MS-DSSP 3.2.5.1)."""
    level = reader.u16()
    facts = caller.facts()

    def info() -> None:
        writer.u16(level)
        if level == BASIC:
            writer.align(4)
            writer.u16(STANDALONE_SERVER)
            writer.u32(0)  # flags: no directory service
            writer.string_pointer(facts.workgroup.upper())
            writer.string_pointer(None)
            writer.string_pointer(None)
            writer.raw(bytes(16))
        elif level == UPGRADE:
            writer.u32(0)  # no upgrade is under way
            writer.u16(0)
        else:
            writer.u16(0)  # DsRoleOperationIdle

    known = level in (BASIC, UPGRADE, OPERATION)
    writer.pointer(info if known else None)
    writer.flush()
    writer.u32(Win32.SUCCESS if known else Win32.INVALID_PARAMETER)


INTERFACE: Final = Interface(
    pipe="lsarpc",
    syntax=Syntax(uuid.UUID("3919286a-b10c-11d0-9ba8-00c04fd92ef5"), 0),
    operations={0: get_primary_domain_information},
)
