# SPDX-License-Identifier: GPL-2.0-or-later
"""Security identifiers (MS-DTYP 2.4.2): the value, its codec, its text, and the well-known ones (MS-DTYP 2.4.2.4)."""
from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from ksmbd.overriding import override
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.status import STATUS_INVALID_SID, NtStatusError, WireError

MAX_SUB_AUTHORITIES: Final = 15
_REVISION: Final = 1
SUB_AUTHORITIES: Final = tuple(Struct(f"<{count}I") for count in range(MAX_SUB_AUTHORITIES + 1))


class Sid(NamedTuple):
    """One SID: the 48-bit identifier authority and up to 15 sub-authorities. Hashable, compared by value."""

    authority: int
    sub_authorities: tuple[int, ...]

    @override
    def __str__(self) -> str:
        # MS-DTYP 2.4.2.1: an authority of 2^32 or more is written in hexadecimal.
        authority = str(self.authority) if self.authority < 1 << 32 else f"0x{self.authority:012X}"
        return "-".join(("S-1", authority, *map(str, self.sub_authorities)))

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return 8 + 4 * len(self.sub_authorities)

    @property
    def rid(self) -> int:
        """The last sub-authority, 0 where there is none."""
        return self.sub_authorities[-1] if self.sub_authorities else 0

    @property
    def domain(self) -> Sid:
        """The SID without its last sub-authority."""
        return Sid(self.authority, self.sub_authorities[:-1])

    def child(self, *rids: int) -> Sid:
        """This SID with further sub-authorities."""
        return Sid(self.authority, self.sub_authorities + rids)

    def encode(self) -> bytes:
        """The packet representation (MS-DTYP 2.4.2.2)."""
        count = len(self.sub_authorities)
        head = bytes((_REVISION, count)) + self.authority.to_bytes(6, "big")
        return head + SUB_AUTHORITIES[count].pack(*self.sub_authorities)


def is_of_domain(sid: Sid) -> bool:
    """Whether a SID belongs to a domain (S-1-5-21-a-b-c-RID), so that it is none of the well-known ones."""
    return sid.authority == 5 and len(sid.sub_authorities) == 5 and sid.sub_authorities[0] == 21


def read_sid(reader: Reader) -> Sid:
    """Decode the SID at the position of the reader. Raises WireError, with the status of the reader."""
    revision, count = reader.u8(), reader.u8()
    if revision != _REVISION or count > MAX_SUB_AUTHORITIES:
        raise WireError(f"SID of revision {revision} with {count} sub-authorities", reader.status)
    authority = int.from_bytes(reader.bytes(6), "big")
    return Sid(authority, reader.unpack(SUB_AUTHORITIES[count]))


def parse_sid(data: Buffer) -> Sid:
    """Decode the SID that fills `data`. Raises STATUS_INVALID_SID where it is malformed or bytes follow it."""
    reader = Reader(data, status=STATUS_INVALID_SID)
    sid = read_sid(reader)
    if reader.remaining:
        raise NtStatusError(STATUS_INVALID_SID, "bytes after the SID")
    return sid


def sid_from_text(text: str) -> Sid:
    """Parse text such as `S-1-5-32-544` (MS-DTYP 2.4.2.1). Raises STATUS_INVALID_SID where it is malformed."""
    parts = text.strip().split("-")
    if len(parts) < 3 or parts[0] not in ("S", "s") or parts[1] != "1":
        raise NtStatusError(STATUS_INVALID_SID, text)
    try:
        authority = int(parts[2], 16) if parts[2][:2].lower() == "0x" else int(parts[2])
        rids = tuple(int(part) for part in parts[3:])
    except ValueError:
        raise NtStatusError(STATUS_INVALID_SID, text) from None
    if not 0 <= authority < 1 << 48 or len(rids) > MAX_SUB_AUTHORITIES or any(not 0 <= rid < 1 << 32 for rid in rids):
        raise NtStatusError(STATUS_INVALID_SID, text)
    return Sid(authority, rids)


NULL_SID: Final = Sid(0, (0,))
EVERYONE: Final = Sid(1, (0,))
CREATOR_OWNER: Final = Sid(3, (0,))
CREATOR_GROUP: Final = Sid(3, (1,))
OWNER_SERVER: Final = Sid(3, (2,))
GROUP_SERVER: Final = Sid(3, (3,))
OWNER_RIGHTS: Final = Sid(3, (4,))
NETWORK: Final = Sid(5, (2,))
ANONYMOUS: Final = Sid(5, (7,))
PRINCIPAL_SELF: Final = Sid(5, (10,))
AUTHENTICATED_USERS: Final = Sid(5, (11,))
LOCAL_SYSTEM: Final = Sid(5, (18,))
BUILTIN_ADMINISTRATORS: Final = Sid(5, (32, 544))
BUILTIN_USERS: Final = Sid(5, (32, 545))
BUILTIN_GUESTS: Final = Sid(5, (32, 546))
BUILTIN_BACKUP_OPERATORS: Final = Sid(5, (32, 551))
NTLM_AUTHENTICATION: Final = Sid(5, (64, 10))
UNIX_USERS: Final = Sid(22, (1,))
"""S-1-22-1-UID: a Unix user without an account of its own (Samba's convention, which Windows shows as such)."""
UNIX_GROUPS: Final = Sid(22, (2,))
"""S-1-22-2-GID: a Unix group."""
NFS_USERS: Final = Sid(5, (88, 1))
"""S-1-5-88-1-UID, S-1-5-88-2-GID, S-1-5-88-3-MODE: what cifs.ko (modefromsid) and macOS read and write."""
NFS_GROUPS: Final = Sid(5, (88, 2))
NFS_MODE: Final = Sid(5, (88, 3))
UNTRUSTED_LABEL: Final = Sid(16, (0,))
MEDIUM_LABEL: Final = Sid(16, (0x2000,))

SDDL_ALIASES: Final[dict[Sid, str]] = {
    EVERYONE: "WD",
    CREATOR_OWNER: "CO",
    CREATOR_GROUP: "CG",
    OWNER_RIGHTS: "OW",
    NETWORK: "NU",
    ANONYMOUS: "AN",
    PRINCIPAL_SELF: "PS",
    AUTHENTICATED_USERS: "AU",
    LOCAL_SYSTEM: "SY",
    BUILTIN_ADMINISTRATORS: "BA",
    BUILTIN_USERS: "BU",
    BUILTIN_GUESTS: "BG",
    BUILTIN_BACKUP_OPERATORS: "BO",
    MEDIUM_LABEL: "ME",
}
"""SDDL's two letters for a SID (MS-DTYP 2.5.1.1)."""
