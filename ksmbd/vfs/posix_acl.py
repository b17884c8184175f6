# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes POSIX ACLs (system.posix_acl_access), encodes them for Samba's hash, and maps them to Windows' DACLs
and back."""
from __future__ import annotations

import errno
import os
from struct import Struct
from typing import Final, NamedTuple

from ksmbd.kernel import descriptors
from ksmbd.kernel.files import access_fd, chmod_fd
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, Stat
from ksmbd.kernel.xattr import get_attribute
from ksmbd.smb.acl import (
    ACCESS_ALLOWED,
    ACCESS_DENIED,
    CONTAINER_INHERIT,
    INHERIT_ONLY,
    OBJECT_INHERIT,
    Ace,
    Acl,
    map_generic,
)
from ksmbd.smb.constants import (
    DELETE,
    FILE_ALL_ACCESS,
    FILE_APPEND_DATA,
    FILE_DELETE_CHILD,
    FILE_EXECUTE,
    FILE_GENERIC_EXECUTE,
    FILE_GENERIC_READ,
    FILE_GENERIC_WRITE,
    FILE_READ_ATTRIBUTES,
    FILE_READ_DATA,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    READ_CONTROL,
    SYNCHRONIZE,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import CREATOR_GROUP, CREATOR_OWNER, EVERYONE, NFS_MODE, Sid
from ksmbd.vfs.idmap import IdMap

__all__ = ["Entry", "access_fd", "blob", "from_dacl", "read", "synthesise", "write"]

# Tags of linux/posix_acl_xattr.h
USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20
_NO_ID: Final = 0xFFFFFFFF
_VERSION: Final = Struct("<I")
_ENTRY: Final = Struct("<HHI")
ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

# The numbers of the same tags in Samba (smb_acl.idl)
_SAMBA_TAG: Final = {USER: 1, USER_OBJ: 2, GROUP: 3, GROUP_OBJ: 4, OTHER: 5, MASK: 6}


_NDR_HEAD: Final = Struct("<IIQQI")
_NDR_COUNT: Final = Struct("<II")
_NDR_NAMED: Final = Struct("<HH4xQI")
_NDR_PLAIN: Final = Struct("<HHI")


class Entry(NamedTuple):
    """One ACL entry: tag, rwx bits, and for USER and GROUP the uid or gid."""

    tag: int
    permissions: int
    id: int = _NO_ID


def minimal(mode: int) -> list[Entry]:
    """The three entries that are equivalent to a mode."""
    return [Entry(USER_OBJ, mode >> 6 & 7), Entry(GROUP_OBJ, mode >> 3 & 7), Entry(OTHER, mode & 7)]


def read(fd: int, path_only: bool, name: bytes = ACCESS) -> list[Entry] | None:
    """The ACL of an open file from the extended attribute `name`. None where it has no ACL, so that its mode alone
    counts. Raises OSError."""
    data = get_attribute(fd, name, path_only, 1024)
    if data is None or len(data) < 4 or (len(data) - 4) % 8:
        return None
    return [Entry(*fields) for fields in _ENTRY.iter_unpack(data[4:])]


def encode(entries: list[Entry]) -> bytes:
    """Encode an ACL in the kernel's form, in the order that the kernel demands."""
    ordered = sorted(entries, key=lambda entry: (entry.tag, entry.id))
    return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in ordered)


def write(fd: int, path_only: bool, entries: list[Entry], mode: int) -> None:
    """Set the ACL of an open file. Where the file system has no ACLs, or the ACL has only the three minimal entries,
    set the mode instead; `mode` has the bits 07000 to keep. Raises OSError."""
    target: int | str = descriptors.path(fd) if path_only else fd
    if any(entry.tag in (USER, GROUP) for entry in entries):
        try:
            os.setxattr(target, ACCESS, encode(entries))
            return
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
    else:
        try:
            os.removexattr(target, ACCESS)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                raise
    bits = {entry.tag: entry.permissions for entry in entries}
    chmod_fd(fd, mode & 0o7000 | bits[USER_OBJ] << 6 | bits[GROUP_OBJ] << 3 | bits[OTHER], path_only)


def raw(fd: int, path_only: bool, name: bytes = ACCESS) -> bytes | None:
    """The encoded access ACL, for `put_back`, or the one of another `name`; None where there is none. Raises
    OSError."""
    return get_attribute(fd, name, path_only, 1024)


def put_back(fd: int, path_only: bool, acl: bytes | None, mode: int) -> None:
    """Restore the access ACL (from `raw`) and the mode of a file. Raises OSError."""
    target: int | str = descriptors.path(fd) if path_only else fd
    if acl is not None:
        os.setxattr(target, ACCESS, acl)
    elif raw(fd, path_only) is not None:
        os.removexattr(target, ACCESS)
    chmod_fd(fd, mode, path_only)


def blob(fd: int, path_only: bool, stat: Stat) -> bytes:
    """The encoding of a file's permissions that Samba hashes into security.NTACL: NDR of smb_acl_wrapper (access and
    default ACL, owner, group, mode). Raises OSError."""
    access = read(fd, path_only) or minimal(stat.mode)
    if stat.mode & S_IFMT != S_IFDIR:
        data = bytearray(_NDR_HEAD.pack(0x20000, 0, stat.uid, stat.gid, stat.mode))
        _ndr(data, access)
        return bytes(data)
    data = bytearray(_NDR_HEAD.pack(0x20000, 0x20004, stat.uid, stat.gid, stat.mode))
    _ndr(data, access)
    # For a directory without a default ACL, libacl reports an empty one.
    _ndr(data, read(fd, path_only, DEFAULT) or [])
    return bytes(data)


def _ndr(data: bytearray, entries: list[Entry]) -> None:
    data += _VERSION.pack(len(entries))  # NDR puts the size of the array before the structure that ends with it
    data += bytes(-len(data) % 8)
    data += _NDR_COUNT.pack(len(entries), 0)
    for tag, permissions, number in entries:
        data += bytes(-len(data) % 8)
        kind = _SAMBA_TAG[tag]
        if tag == USER or tag == GROUP:
            data += _NDR_NAMED.pack(kind, kind, number, permissions)
        else:
            data += _NDR_PLAIN.pack(kind, kind, permissions)


# ------------------------------------------------------------------------------------------------ Windows' view


class Mapping(NamedTuple):
    """What rwx bits mean to a share."""

    full_control: bool = True
    """`acl map full control`: rwx is full control."""
    filemode: bool = False
    """`dos filemode`: who may write may change permissions and owner."""


PLAIN: Final = Mapping()


def rights(permissions: int, directory: bool, owner: bool, mapping: Mapping = PLAIN) -> int:
    """The access mask that clients see for rwx bits."""
    if permissions == 7 and mapping.full_control:
        return FILE_ALL_ACCESS
    mask = FILE_READ_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE
    if permissions & 4:
        mask |= FILE_GENERIC_READ
    if permissions & 2:
        mask |= FILE_GENERIC_WRITE | (FILE_DELETE_CHILD if directory else 0)
    if permissions & 1:
        mask |= FILE_GENERIC_EXECUTE
    if owner:
        mask |= FILE_WRITE_ATTRIBUTES
    if owner or (mapping.filemode and permissions & 2):
        mask |= WRITE_DAC | WRITE_OWNER | DELETE
    return mask if permissions or owner else 0


def _traversable(entries: list[Entry]) -> list[Entry]:
    """Add x to each entry of a directory that has w, because w is of no use without x and Windows' users need no
    FILE_TRAVERSE; the owner gets rwx, as in Samba."""
    return [
        entry._replace(permissions=7 if entry.tag == USER_OBJ else entry.permissions | entry.permissions >> 1 & 1)
        for entry in entries
    ]


def permissions_of(mask: int) -> int:
    """The rwx bits that come closest to an access mask."""
    mask = map_generic(mask)
    return (
        (4 if mask & FILE_READ_DATA else 0)
        | (2 if mask & (FILE_WRITE_DATA | FILE_APPEND_DATA) else 0)
        | (5 if mask & FILE_EXECUTE else 0)  # to execute a file over the network is to read it
    )


def synthesise(
    fd: int, path_only: bool, stat: Stat, idmap: IdMap, mapping: Mapping = PLAIN
) -> SecurityDescriptor:
    """Make the security descriptor that clients see of a file without a stored one, from its owner, group, mode and
    POSIX ACL. Raises OSError."""
    directory = stat.mode & S_IFMT == S_IFDIR
    entries = read(fd, path_only) or minimal(stat.mode)
    owner, group = idmap.user_sid(stat.uid), idmap.group_sid(stat.gid)
    mask = next((entry.permissions for entry in entries if entry.tag == MASK), 7)
    aces = []
    for entry in sorted(entries, key=lambda entry: entry.tag):
        if entry.tag == MASK:
            continue
        permissions = entry.permissions
        if entry.tag not in (USER_OBJ, OTHER):
            permissions &= mask
        granted = rights(permissions, directory, entry.tag == USER_OBJ, mapping)
        if not granted:
            continue
        if entry.tag == USER:
            sid = idmap.user_sid(entry.id)
        elif entry.tag == GROUP:
            sid = idmap.group_sid(entry.id)
        else:
            sid = {USER_OBJ: owner, GROUP_OBJ: group, OTHER: EVERYONE}[entry.tag]
        aces.append(Ace(ACCESS_ALLOWED, 0, granted, sid))
    default = read(fd, path_only, DEFAULT) if directory else None
    for entry in default or ():
        child: Sid | None = {
            USER_OBJ: CREATOR_OWNER, GROUP_OBJ: CREATOR_GROUP, OTHER: EVERYONE,
        }.get(entry.tag)  # fmt: skip
        if entry.tag in (USER, GROUP):
            child = idmap.user_sid(entry.id) if entry.tag == USER else idmap.group_sid(entry.id)
        if child is not None and (
            granted := rights(entry.permissions, True, entry.tag == USER_OBJ, mapping)
        ):
            aces.append(Ace(ACCESS_ALLOWED, OBJECT_INHERIT | CONTAINER_INHERIT | INHERIT_ONLY, granted, child))
    return SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, owner, group, Acl(tuple(aces)))


def is_mode(dacl: Acl | None) -> bool:
    """Whether a DACL has one S-1-5-88-3-mode entry and no other: a chmod by a POSIX client (cifs.ko with -o posix)."""
    return dacl is not None and len(dacl.aces) == 1 and (sid := dacl.aces[0].sid) is not None and sid.domain == NFS_MODE


def kept_directory(dacl: Acl | None, uid: int, gid: int, idmap: IdMap) -> list[Entry]:
    """`from_dacl` for a directory whose descriptor is stored: the descriptor restricts clients, so the POSIX ACL may
    grant more."""
    entries = from_dacl(dacl, uid, gid, idmap)
    return entries if is_mode(dacl) else _traversable(entries)


def from_dacl(dacl: Acl | None, uid: int, gid: int, idmap: IdMap) -> list[Entry]:
    """The POSIX ACL that comes closest to a DACL. It never grants less than the DACL; the stored descriptor restricts
    clients further.

    An ACE for Everyone counts for every entry. A denial counts for the ACEs after it. S-1-5-88-3-mode sets the mode,
    without set-id bits."""
    if dacl is None:
        return minimal(0o777)
    for ace in dacl.aces:
        if ace.sid is not None and ace.sid.domain == NFS_MODE:
            # cifs.ko (`modefromsid`) sends the mode so; its other entries would grant everybody access.
            return minimal(ace.sid.rid & 0o777)
    allowed: dict[tuple[str, int], int] = {}
    denied: dict[tuple[str, int], int] = {}
    for ace in dacl.aces:
        if ace.sid is None or ace.flags & INHERIT_ONLY or ace.type not in (ACCESS_ALLOWED, ACCESS_DENIED):
            continue
        key = _subject(ace.sid, uid, gid, idmap)
        if key is None:
            continue
        bits = permissions_of(ace.mask)
        if ace.type == ACCESS_DENIED:
            denied[key] = denied.get(key, 0) | bits
        else:
            allowed[key] = allowed.get(key, 0) | bits & ~denied.get(key, 0) & ~denied.get(("o", 0), 0)
    everyone = allowed.get(("o", 0), 0)

    def bits_of(key: tuple[str, int]) -> int:
        return allowed.get(key, 0) | everyone & ~denied.get(key, 0)

    entries = [
        Entry(USER_OBJ, bits_of(("u", uid))),
        Entry(GROUP_OBJ, bits_of(("g", gid))),
        Entry(OTHER, everyone),
    ]
    named = [key for key in {**allowed, **denied} if key not in (("u", uid), ("g", gid), ("o", 0))]
    for kind, number in named:
        entries.append(Entry(USER if kind == "u" else GROUP, bits_of((kind, number)), number))
    if named:
        entries.append(Entry(MASK, _union(entries)))
    return entries


def _union(entries: list[Entry]) -> int:
    bits = 0
    for entry in entries:
        if entry.tag in (USER, GROUP, GROUP_OBJ):
            bits |= entry.permissions
    return bits


def _subject(sid: Sid, uid: int, gid: int, idmap: IdMap) -> tuple[str, int] | None:
    if sid == EVERYONE or sid in _ALL_USERS:
        return "o", 0
    if sid == CREATOR_OWNER or sid == _OWNER_RIGHTS:
        return "u", uid
    if sid == CREATOR_GROUP:
        return "g", gid
    user = idmap.uid(sid)
    if user is not None:
        return "u", user
    group = idmap.gid(sid)
    return None if group is None else ("g", group)


_OWNER_RIGHTS: Final = Sid(3, (4,))
_ALL_USERS: Final = frozenset((Sid(5, (11,)), Sid(5, (32, 545)), Sid(5, (2,))))
