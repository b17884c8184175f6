# SPDX-License-Identifier: GPL-2.0-or-later
"""Security descriptors (MS-DTYP 2.4.3 to 2.4.6), the access check (2.5.3.2) and inheritance (2.5.3.4) of files.

Pure values and functions, without files, user database or sockets. What was received survives a round trip: object
ACEs, system ACEs and ACEs of unknown types are kept byte for byte. Mandatory labels, resource attributes and central
policies are stored but not evaluated. The condition of a callback ACE counts as one that cannot be evaluated: it never
allows and always denies (MS-DTYP 2.4.4.17.3).
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from struct import Struct
from typing import Final

from ksmbd.smb.acl import (
    ACCESS_ALLOWED,
    ACCESS_ALLOWED_OBJECT,
    ACCESS_DENIED,
    ACCESS_DENIED_CALLBACK,
    ACCESS_DENIED_CALLBACK_OBJECT,
    ACCESS_DENIED_OBJECT,
    ACL_REVISION,
    INHERIT_ONLY,
    INHERITED_ACE,
    SYSTEM_MANDATORY_LABEL,
    SYSTEM_RESOURCE_ATTRIBUTE,
    SYSTEM_SCOPED_POLICY_ID,
    Ace,
    Acl,
    ace_text,
    for_owner,
    has_generic,
    inherited_aces,
    map_generic,
    parse_acl,
    sid_text,
)
from ksmbd.smb.constants import (
    ACCESS_SYSTEM_SECURITY,
    DACL_SECURITY_INFORMATION,
    DELETE,
    FILE_ALL_ACCESS,
    FILE_GENERIC_READ,
    FILE_GENERIC_WRITE,
    FILE_TRAVERSE,
    GROUP_SECURITY_INFORMATION,
    LABEL_SECURITY_INFORMATION,
    MAXIMUM_ALLOWED,
    OWNER_SECURITY_INFORMATION,
    READ_CONTROL,
    SACL_SECURITY_INFORMATION,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.reader import Buffer, Reader
from ksmbd.smb.sid import LOCAL_SYSTEM, OWNER_RIGHTS, Sid, read_sid
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_SECURITY_DESCR,
    STATUS_INVALID_SID,
    STATUS_PRIVILEGE_NOT_HELD,
    STATUS_UNKNOWN_REVISION,
    NtStatusError,
)

__all__ = [
    "Ace", "Acl", "Privilege", "SecurityDescriptor", "Token", "check_access", "default_dacl", "inherit", "map_generic",
    "maximal_access", "parse_acl", "parse_security_descriptor",
]  # fmt: skip

# MS-DTYP 2.4.6, Control
SE_OWNER_DEFAULTED: Final = 0x0001
SE_GROUP_DEFAULTED: Final = 0x0002
SE_DACL_PRESENT: Final = 0x0004
SE_DACL_DEFAULTED: Final = 0x0008
SE_SACL_PRESENT: Final = 0x0010
SE_SACL_DEFAULTED: Final = 0x0020
SE_DACL_AUTO_INHERIT_REQ: Final = 0x0100
SE_SACL_AUTO_INHERIT_REQ: Final = 0x0200
SE_DACL_AUTO_INHERITED: Final = 0x0400
SE_SACL_AUTO_INHERITED: Final = 0x0800
SE_DACL_PROTECTED: Final = 0x1000
SE_SACL_PROTECTED: Final = 0x2000
SE_RM_CONTROL_VALID: Final = 0x4000
SE_SELF_RELATIVE: Final = 0x8000

# MS-DTYP 2.4.7 beyond ksmbd.smb.constants
ATTRIBUTE_SECURITY_INFORMATION: Final = 0x00000020
SCOPE_SECURITY_INFORMATION: Final = 0x00000040
BACKUP_SECURITY_INFORMATION: Final = 0x00010000
_HEADER: Final = Struct("<BBHIIII")


# ---------------------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """A security descriptor (MS-DTYP 2.4.6). SE_DACL_PRESENT with `dacl` None is the NULL DACL, which grants everybody
    everything."""

    control: int = SE_SELF_RELATIVE
    owner: Sid | None = None
    group: Sid | None = None
    dacl: Acl | None = None
    sacl: Acl | None = None
    resource_manager: int = 0
    """Sbz1: the bits of the resource manager, if SE_RM_CONTROL_VALID is set."""

    def encode(self, information: int | None = None) -> bytes:
        """Encode the parts named in `information` (SECURITY_INFORMATION, MS-DTYP 2.4.7) as a self-relative descriptor;
        None: all parts."""
        sacl = self.sacl
        if information is None or information & BACKUP_SECURITY_INFORMATION:
            information = (
                OWNER_SECURITY_INFORMATION
                | GROUP_SECURITY_INFORMATION
                | DACL_SECURITY_INFORMATION
                | SACL_SECURITY_INFORMATION
            )
        control = SE_SELF_RELATIVE | self.control & SE_RM_CONTROL_VALID
        owner = group = dacl = b""
        system = b""
        if information & OWNER_SECURITY_INFORMATION:
            control |= self.control & SE_OWNER_DEFAULTED
            owner = self.owner.encode() if self.owner else b""
        if information & GROUP_SECURITY_INFORMATION:
            control |= self.control & SE_GROUP_DEFAULTED
            group = self.group.encode() if self.group else b""
        if information & DACL_SECURITY_INFORMATION:
            control |= self.control & _DACL_CONTROL
            dacl = self.dacl.encode() if self.dacl is not None and control & SE_DACL_PRESENT else b""
        kinds = _system_kinds(information)
        if information & SACL_SECURITY_INFORMATION or kinds:
            control |= self.control & _SACL_CONTROL
            if sacl is not None and control & SE_SACL_PRESENT:
                if not information & SACL_SECURITY_INFORMATION:
                    sacl = replace(sacl, aces=tuple(ace for ace in sacl.aces if ace.type in kinds))
                system = sacl.encode()
        offsets, place = [], _HEADER.size
        for part in (owner, group, system, dacl):
            offsets.append(place if part else 0)
            place += len(part)
        manager = self.resource_manager if control & SE_RM_CONTROL_VALID else 0
        return _HEADER.pack(1, manager, control, *offsets) + owner + group + system + dacl

    def with_parts(
        self, other: SecurityDescriptor, information: int, canonicalize: bool = True
    ) -> SecurityDescriptor:
        """Return this descriptor with the parts of `other` that `information` names, as SET_INFO replaces them (MS-FSA
        2.1.5.17). Generic bits of entries that apply to the object itself are mapped, as NTFS stores them."""
        result = self
        if information & OWNER_SECURITY_INFORMATION and other.owner is not None:
            control = result.control & ~SE_OWNER_DEFAULTED | other.control & SE_OWNER_DEFAULTED
            result = replace(result, owner=other.owner, control=control)
        if information & GROUP_SECURITY_INFORMATION and other.group is not None:
            control = result.control & ~SE_GROUP_DEFAULTED | other.control & SE_GROUP_DEFAULTED
            result = replace(result, group=other.group, control=control)
        if information & DACL_SECURITY_INFORMATION:
            settled = other.control & _DACL_CONTROL
            if canonicalize:
                settled = _settled(settled, SE_DACL_AUTO_INHERIT_REQ, SE_DACL_AUTO_INHERITED)
            control = result.control & ~_DACL_CONTROL | settled
            result = replace(result, dacl=_mapped(other.dacl), control=control)
        kinds = _system_kinds(information)
        if information & SACL_SECURITY_INFORMATION:
            settled = other.control & _SACL_CONTROL
            if canonicalize:
                settled = _settled(settled, SE_SACL_AUTO_INHERIT_REQ, SE_SACL_AUTO_INHERITED)
            control = result.control & ~_SACL_CONTROL | settled
            result = replace(result, sacl=_mapped(other.sacl), control=control)
        elif kinds:
            kept = [ace for ace in (result.sacl.aces if result.sacl else ()) if ace.type not in kinds]
            new = [ace for ace in (other.sacl.aces if other.sacl else ()) if ace.type in kinds]
            revision = result.sacl.revision if result.sacl else ACL_REVISION
            result = replace(result, sacl=Acl(tuple(kept + new), revision), control=result.control | SE_SACL_PRESENT)
        return result

    def canonical(self) -> SecurityDescriptor:
        """Normalise the descriptor so that equivalent ones are equal: without defaulted and request bits, with mapped
        masks."""
        control = self.control & ~_TRANSIENT | SE_SELF_RELATIVE
        dacl = self.dacl if control & SE_DACL_PRESENT else None
        sacl = self.sacl if control & SE_SACL_PRESENT else None
        return SecurityDescriptor(control, self.owner, self.group, _canonical(dacl), _canonical(sacl))

    def to_sddl(self) -> str:
        """The descriptor as SDDL (MS-DTYP 2.5.1), for messages and tests."""
        text = f"O:{sid_text(self.owner)}" if self.owner else ""
        text += f"G:{sid_text(self.group)}" if self.group else ""
        for letter, acl, present, protected, auto, request in (
            ("D", self.dacl, SE_DACL_PRESENT, SE_DACL_PROTECTED, SE_DACL_AUTO_INHERITED, SE_DACL_AUTO_INHERIT_REQ),
            ("S", self.sacl, SE_SACL_PRESENT, SE_SACL_PROTECTED, SE_SACL_AUTO_INHERITED, SE_SACL_AUTO_INHERIT_REQ),
        ):
            if self.control & present:
                text += f"{letter}:" + "P" * bool(self.control & protected) + "AR" * bool(self.control & request)
                text += "AI" * bool(self.control & auto)
                text += "NO_ACCESS_CONTROL" if acl is None else "".join(ace_text(ace) for ace in acl.aces)
        return text


_DACL_CONTROL: Final = (
    SE_DACL_PRESENT | SE_DACL_DEFAULTED | SE_DACL_AUTO_INHERIT_REQ | SE_DACL_AUTO_INHERITED | SE_DACL_PROTECTED
)
_SACL_CONTROL: Final = (
    SE_SACL_PRESENT | SE_SACL_DEFAULTED | SE_SACL_AUTO_INHERIT_REQ | SE_SACL_AUTO_INHERITED | SE_SACL_PROTECTED
)
_TRANSIENT: Final = (
    SE_OWNER_DEFAULTED | SE_GROUP_DEFAULTED | SE_DACL_DEFAULTED | SE_SACL_DEFAULTED
    | SE_DACL_AUTO_INHERIT_REQ | SE_SACL_AUTO_INHERIT_REQ | SE_RM_CONTROL_VALID
)  # fmt: skip


def _settled(control: int, request: int, done: int) -> int:
    # MS-DTYP 2.4.6: AUTO_INHERITED is set only for a caller that asks for it with AUTO_INHERIT_REQ, which is not
    # stored.
    if not control & request:
        control &= ~done
    return control & ~request


def _system_kinds(information: int) -> frozenset[int]:
    kinds = set()
    if information & LABEL_SECURITY_INFORMATION:
        kinds.add(SYSTEM_MANDATORY_LABEL)
    if information & ATTRIBUTE_SECURITY_INFORMATION:
        kinds.add(SYSTEM_RESOURCE_ATTRIBUTE)
    if information & SCOPE_SECURITY_INFORMATION:
        kinds.add(SYSTEM_SCOPED_POLICY_ID)
    return frozenset(kinds)


def _mapped(acl: Acl | None) -> Acl | None:
    if acl is None or not any(has_generic(ace) for ace in acl.aces):
        return acl
    aces = (ace._replace(mask=map_generic(ace.mask)) if has_generic(ace) else ace for ace in acl.aces)
    return replace(acl, aces=tuple(aces))


def _canonical(acl: Acl | None) -> Acl | None:
    if acl is None:
        return None
    return Acl(tuple(ace._replace(mask=map_generic(ace.mask)) if ace.sid else ace for ace in acl.aces))


# ----------------------------------------------------------------------------------------------------------- codec


def parse_security_descriptor(data: Buffer) -> SecurityDescriptor:
    """Decode a self-relative descriptor (MS-DTYP 2.4.6).

    Raises NtStatusError: STATUS_INVALID_SECURITY_DESCR (header, offsets), STATUS_UNKNOWN_REVISION, STATUS_INVALID_SID
    (owner, group), STATUS_INVALID_ACL.
    """
    reader = Reader(data, status=STATUS_INVALID_SECURITY_DESCR)
    revision, manager, control, owner, group, sacl, dacl = reader.unpack(_HEADER)
    if revision != 1:
        raise NtStatusError(STATUS_UNKNOWN_REVISION, f"security descriptor of revision {revision}")
    if not control & SE_SELF_RELATIVE:
        raise NtStatusError(STATUS_INVALID_SECURITY_DESCR, "not self-relative")
    view = reader.buffer

    def part(offset: int) -> memoryview | None:
        if offset == 0:
            return None
        if not _HEADER.size <= offset < len(view):
            raise NtStatusError(STATUS_INVALID_SECURITY_DESCR, f"offset {offset}")
        return view[offset:]

    def sid(offset: int) -> Sid | None:
        place = part(offset)
        return None if place is None else read_sid(Reader(place, status=STATUS_INVALID_SID))

    def acl(offset: int, present: int) -> Acl | None:
        # An offset without its present bit points at nothing that counts.
        place = part(offset) if control & present else None
        return None if place is None else parse_acl(place)

    return SecurityDescriptor(
        control,
        sid(owner),
        sid(group),
        acl(dacl, SE_DACL_PRESENT),
        acl(sacl, SE_SACL_PRESENT),
        manager if control & SE_RM_CONTROL_VALID else 0,
    )


# ---------------------------------------------------------------------------------------------------- access check


class Privilege(IntFlag):
    """The privileges (MS-LSAD 3.1.1.2.1) that the access check of files uses."""

    NONE = 0
    SECURITY = 1
    """SeSecurityPrivilege: grants ACCESS_SYSTEM_SECURITY."""
    TAKE_OWNERSHIP = 2
    """SeTakeOwnershipPrivilege: grants WRITE_OWNER."""
    BACKUP = 4
    """SeBackupPrivilege: grants reading to an open with backup intent."""
    RESTORE = 8
    """SeRestorePrivilege: grants writing to an open with backup intent, and setting any owner."""


@dataclass(frozen=True, slots=True)
class Token:
    """The token of a caller (MS-DTYP 2.5.2): the SIDs of the user and of the groups, Everyone and Authenticated Users
    included."""

    user: Sid
    groups: frozenset[Sid] = frozenset()
    privileges: Privilege = Privilege.NONE

    def holds(self, sid: Sid) -> bool:
        """Whether `sid` is the user or one of the groups."""
        return sid == self.user or sid in self.groups


def _allowed(descriptor: SecurityDescriptor, token: Token) -> int:
    """The rights that DACL and ownership grant. The first ACE that names a bit decides it."""
    dacl = descriptor.dacl
    if dacl is None:  # absent or NULL
        return FILE_ALL_ACCESS
    owner = descriptor.owner
    owns = owner is not None and token.holds(owner)
    granted = denied = 0
    implicit = owns
    for ace in dacl.aces:
        sid = ace.sid
        if sid is None or ace.flags & INHERIT_ONLY:
            continue
        if sid == OWNER_RIGHTS:
            implicit = False  # MS-DTYP 2.5.3.2: an OWNER RIGHTS entry replaces what an owner has by being it
            matches = owns
        else:
            matches = sid == token.user or sid in token.groups
        if not matches:
            continue
        kind = ace.type
        if kind == ACCESS_ALLOWED or (kind == ACCESS_ALLOWED_OBJECT and not ace.object_type):
            granted |= map_generic(ace.mask) & ~denied
        elif kind in (ACCESS_DENIED, ACCESS_DENIED_CALLBACK) or (
            kind in (ACCESS_DENIED_OBJECT, ACCESS_DENIED_CALLBACK_OBJECT) and not ace.object_type
        ):
            denied |= map_generic(ace.mask) & ~granted
    if implicit:
        granted |= READ_CONTROL | WRITE_DAC
    return granted & FILE_ALL_ACCESS


def maximal_access(descriptor: SecurityDescriptor, token: Token) -> int:
    """All rights of `token` on a file with this descriptor, with generic bits mapped; 0 for none.
    ACCESS_SYSTEM_SECURITY is never included, since it must be requested (MS-DTYP 2.5.3.2).
    """
    granted = _allowed(descriptor, token)
    if token.privileges & Privilege.TAKE_OWNERSHIP:
        granted |= WRITE_OWNER
    return granted


def check_access(descriptor: SecurityDescriptor, token: Token, desired: int, backup_intent: bool = False) -> int:
    """The access granted for `desired` (MS-DTYP 2.5.3.2); generic bits are mapped, MAXIMUM_ALLOWED is resolved.

    With `backup_intent` (FILE_OPEN_FOR_BACKUP_INTENT) the backup and restore privileges grant their rights (MS-FSA
    2.1.5.1).

    Raises NtStatusError: STATUS_ACCESS_DENIED, or STATUS_PRIVILEGE_NOT_HELD for ACCESS_SYSTEM_SECURITY without
    SeSecurityPrivilege.
    """
    desired = map_generic(desired)
    granted = 0
    if desired & ACCESS_SYSTEM_SECURITY:
        if not token.privileges & Privilege.SECURITY:
            raise NtStatusError(STATUS_PRIVILEGE_NOT_HELD, "ACCESS_SYSTEM_SECURITY")
        granted |= ACCESS_SYSTEM_SECURITY
    maximum = maximal_access(descriptor, token)
    if backup_intent:
        if token.privileges & Privilege.BACKUP:
            maximum |= FILE_GENERIC_READ | FILE_TRAVERSE
        if token.privileges & Privilege.RESTORE:
            maximum |= FILE_GENERIC_WRITE | WRITE_DAC | WRITE_OWNER | DELETE
    wanted = desired & ~(MAXIMUM_ALLOWED | ACCESS_SYSTEM_SECURITY)
    if wanted & ~maximum:
        raise NtStatusError(STATUS_ACCESS_DENIED, f"0x{wanted & ~maximum:08x} not granted")
    if desired & MAXIMUM_ALLOWED:
        if not maximum and not granted:
            raise NtStatusError(STATUS_ACCESS_DENIED, "nothing granted")
        return granted | maximum
    return granted | wanted


# ----------------------------------------------------------------------------------------------------- inheritance


def default_dacl(owner: Sid) -> Acl:
    """The DACL where none is inherited or given: full access for owner and system (MS-DTYP 2.5.3.4.1)."""
    aces = tuple(Ace(ACCESS_ALLOWED, 0, FILE_ALL_ACCESS, sid) for sid in dict.fromkeys((owner, LOCAL_SYSTEM)))
    return Acl(aces)


def inherit(
    parent: SecurityDescriptor | None,
    owner: Sid,
    group: Sid,
    is_directory: bool,
    creator: SecurityDescriptor | None = None,
    default: Acl | None = None,
    canonicalize: bool = True,
) -> SecurityDescriptor:
    """The descriptor of a new file or directory (MS-DTYP 2.5.3.4, CreateSecurityDescriptor).

    `creator` is what came with CREATE (its owner and group win, its ACLs where present); `default` is the DACL where
    neither `creator` nor `parent` gives one (None: `default_dacl`). Entries are marked INHERITED_ACE only below a
    parent with SE_DACL_AUTO_INHERITED, as NTFS does. An ACL that `creator` gives with SE_DACL_AUTO_INHERIT_REQ and
    without SE_DACL_PROTECTED gets the parent's entries behind its own. Without `canonicalize` its flags of inheritance
    are kept as they come.
    """
    control = SE_SELF_RELATIVE
    if creator is not None:
        owner = creator.owner or owner
        group = creator.group or group
    lists: list[Acl | None] = []
    for present, protected, auto, request, theirs, ours in (
        (
            SE_DACL_PRESENT, SE_DACL_PROTECTED, SE_DACL_AUTO_INHERITED, SE_DACL_AUTO_INHERIT_REQ,
            parent.dacl if parent else None, creator.dacl if creator else None,
        ),
        (
            SE_SACL_PRESENT, SE_SACL_PROTECTED, SE_SACL_AUTO_INHERITED, SE_SACL_AUTO_INHERIT_REQ,
            parent.sacl if parent else None, creator.sacl if creator else None,
        ),
    ):  # fmt: skip
        mark = parent is not None and bool(parent.control & auto)
        from_parent = inherited_aces(theirs.aces, owner, group, is_directory, mark) if theirs else ()
        given = creator.control if creator is not None else 0
        if given & present:
            control |= present | given & (protected if canonicalize else protected | auto | request)
            if given & request:
                control |= auto
                if ours is not None and not given & protected:
                    explicit = tuple(ace for ace in ours.aces if not ace.flags & INHERITED_ACE)
                    marked = tuple(ace._replace(flags=ace.flags | INHERITED_ACE) for ace in from_parent)
                    ours = replace(ours, aces=explicit + marked)
            lists.append(_with_owner(ours, owner, group))
        elif from_parent:
            control |= present | (auto if mark else 0)
            revision = theirs.revision if theirs else ACL_REVISION
            lists.append(Acl(from_parent, revision))
        elif present == SE_DACL_PRESENT:
            control |= present
            lists.append(default if default is not None else default_dacl(owner))
        else:
            lists.append(None)
    return SecurityDescriptor(control, owner, group, lists[0], lists[1])


def _with_owner(acl: Acl | None, owner: Sid, group: Sid) -> Acl | None:
    """The ACL given by the creator, with generic bits mapped and CREATOR entries that apply here replaced by owner and
    group."""
    if acl is None:
        return None
    aces = []
    for ace in acl.aces:
        if not ace.flags & INHERIT_ONLY:
            ace = ace._replace(sid=for_owner(ace.sid, owner, group), mask=map_generic(ace.mask))
        aces.append(ace)
    return replace(acl, aces=tuple(aces))
