# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of well-known SIDs (MS-DTYP 2.4.2.4), and of the aliases in BUILTIN that the server gives to its users."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from ksmbd.smb.sid import (
    ANONYMOUS,
    AUTHENTICATED_USERS,
    BUILTIN_ADMINISTRATORS,
    BUILTIN_BACKUP_OPERATORS,
    BUILTIN_GUESTS,
    BUILTIN_USERS,
    CREATOR_GROUP,
    CREATOR_OWNER,
    EVERYONE,
    GROUP_SERVER,
    LOCAL_SYSTEM,
    NETWORK,
    NTLM_AUTHENTICATION,
    OWNER_RIGHTS,
    OWNER_SERVER,
    PRINCIPAL_SELF,
    UNIX_GROUPS,
    UNIX_USERS,
    Sid,
)

BUILTIN: Final = Sid(5, (32,))
BUILTIN_NAME: Final = "BUILTIN"
NT_AUTHORITY: Final = "NT AUTHORITY"
UNIX_USER_NAME: Final = "Unix User"
UNIX_GROUP_NAME: Final = "Unix Group"


class SidUse(IntEnum):
    """SID_NAME_USE (MS-LSAT 2.2.13)."""

    USER = 1
    GROUP = 2
    DOMAIN = 3
    ALIAS = 4
    WELL_KNOWN_GROUP = 5
    DELETED_ACCOUNT = 6
    INVALID = 7
    UNKNOWN = 8


class Named(NamedTuple):
    """The name of a SID, and that of its domain."""

    domain: str
    name: str
    use: SidUse


def _well_known(domain: str, name: str) -> Named:
    return Named(domain, name, SidUse.WELL_KNOWN_GROUP)


def _alias(name: str) -> Named:
    return Named(BUILTIN_NAME, name, SidUse.ALIAS)


ALIASES: Final[Mapping[Sid, str]] = {
    BUILTIN_ADMINISTRATORS: "Administrators",
    BUILTIN_USERS: "Users",
    BUILTIN_GUESTS: "Guests",
    BUILTIN_BACKUP_OPERATORS: "Backup Operators",
}
"""The aliases of BUILTIN."""

NAMES: Final[Mapping[Sid, Named]] = {
    EVERYONE: _well_known("", "Everyone"),
    CREATOR_OWNER: _well_known("", "CREATOR OWNER"),
    CREATOR_GROUP: _well_known("", "CREATOR GROUP"),
    OWNER_SERVER: _well_known("", "CREATOR OWNER SERVER"),
    GROUP_SERVER: _well_known("", "CREATOR GROUP SERVER"),
    OWNER_RIGHTS: _well_known("", "OWNER RIGHTS"),
    Sid(5, (1,)): _well_known(NT_AUTHORITY, "DIALUP"),
    NETWORK: _well_known(NT_AUTHORITY, "NETWORK"),
    Sid(5, (3,)): _well_known(NT_AUTHORITY, "BATCH"),
    Sid(5, (4,)): _well_known(NT_AUTHORITY, "INTERACTIVE"),
    Sid(5, (6,)): _well_known(NT_AUTHORITY, "SERVICE"),
    ANONYMOUS: _well_known(NT_AUTHORITY, "ANONYMOUS LOGON"),
    PRINCIPAL_SELF: _well_known(NT_AUTHORITY, "SELF"),
    AUTHENTICATED_USERS: _well_known(NT_AUTHORITY, "Authenticated Users"),
    Sid(5, (12,)): _well_known(NT_AUTHORITY, "RESTRICTED"),
    Sid(5, (14,)): _well_known(NT_AUTHORITY, "REMOTE INTERACTIVE LOGON"),
    Sid(5, (15,)): _well_known(NT_AUTHORITY, "This Organization"),
    LOCAL_SYSTEM: _well_known(NT_AUTHORITY, "SYSTEM"),
    Sid(5, (19,)): _well_known(NT_AUTHORITY, "LOCAL SERVICE"),
    Sid(5, (20,)): _well_known(NT_AUTHORITY, "NETWORK SERVICE"),
    NTLM_AUTHENTICATION: _well_known(NT_AUTHORITY, "NTLM Authentication"),
    BUILTIN: Named(BUILTIN_NAME, "", SidUse.DOMAIN),
    UNIX_USERS: Named(UNIX_USER_NAME, "", SidUse.DOMAIN),
    UNIX_GROUPS: Named(UNIX_GROUP_NAME, "", SidUse.DOMAIN),
    **{sid: _alias(name) for sid, name in ALIASES.items()},
}
"""SID -> its name."""

DOMAINS: Final[Mapping[str, Sid]] = {
    BUILTIN_NAME: BUILTIN,
    UNIX_USER_NAME: UNIX_USERS,
    UNIX_GROUP_NAME: UNIX_GROUPS,
}
"""Domain -> its SID, of those that have names of their own."""
