# SPDX-License-Identifier: GPL-2.0-or-later
"""Root's rights, behind one gate: the only module of this room that acts with more rights than the user's.

Everything else reaches the disk as the session's user, because the descriptors of LocalEntry and Resolver are only to
be had as him. What he may ask for by the protocol's rules and could not do himself is done here: a function takes the
caller, or the access that his handle was granted, and what is asked; checks it; does it with the server's rights lent
for that one call (`credentials.privileged` gives them back in every way out); and does nothing else. What is decided by
the configuration alone (`path`, `inherit owner`), or tells nothing that the kernel keeps from the user, needs no
caller.

No function here leaves or makes a set-user-ID or set-group-ID bit on a file: those never come from a client, and never
stay where a client changes owner, group or permissions.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from ksmbd.kernel import credentials, descriptors, filesystems
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.fanotify import Fanotify, open_handle
from ksmbd.kernel.files import chmod_fd, chown_fd, get_attribute, set_times
from ksmbd.kernel.filesystems import Abilities
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, Stat, stat_fd
from ksmbd.smb.constants import (
    ACCESS_SYSTEM_SECURITY,
    DELETE,
    FILE_APPEND_DATA,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    GROUP_SECURITY_INFORMATION,
    OWNER_SECURITY_INFORMATION,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.security_descriptor import Privilege, SecurityDescriptor, Token
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_INVALID_OWNER, NtStatusError
from ksmbd.vfs import dosattrib, posix_acl
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.posix_acl import Entry

CREATOR: Final = WRITE_DAC | WRITE_OWNER | FILE_WRITE_ATTRIBUTES
"""What who makes a file may do to it while it is made, whatever access he asked for (MS-FSA 2.1.5.1.1)."""
_SET_ID: Final = 0o6000
_PERMISSIONS: Final = WRITE_DAC | WRITE_OWNER | ACCESS_SYSTEM_SECURITY
_CHANGES: Final = FILE_WRITE_ATTRIBUTES | FILE_WRITE_DATA | FILE_APPEND_DATA


class Caller:
    """For whom something is asked: his token, and the Unix user that stands for him."""

    __slots__ = ("credentials", "idmap", "root", "token")

    def __init__(self, token: Token, user: Credentials, idmap: IdMap) -> None:
        self.token = token
        self.credentials = user
        self.idmap = idmap
        self.root = user.uid == 0 or (not credentials.POSSIBLE and credentials.SERVER.uid == 0)
        """Nothing is refused to root (`admin users`), as in Samba."""


# ---------------------------------------------------------------------------------------------- owner and permissions


def owner_and_group(caller: Caller, stat: Stat, descriptor: SecurityDescriptor, information: int) -> tuple[int, int]:
    """The (uid, gid) of a file once owner and group of `descriptor`, where `information` names them, are set.

    STATUS_INVALID_OWNER for an owner that is neither the file's own nor the caller, unless he has the restore privilege
    (MS-DTYP 2.5.3.4, MS-FSA 2.1.5.17); STATUS_ACCESS_DENIED for a group that is neither the file's nor one of his."""
    uid, gid = stat.uid, stat.gid
    restores = bool(caller.token.privileges & Privilege.RESTORE)
    idmap, user = caller.idmap, caller.credentials
    owner, group = descriptor.owner, descriptor.group
    if information & OWNER_SECURITY_INFORMATION and owner is not None:
        wanted = idmap.uid(owner)
        if wanted is None:
            # No Unix user: kept in the stored descriptor alone. Who gives a file to a group of his gives it to himself.
            if not restores and not caller.token.holds(owner):
                raise NtStatusError(STATUS_INVALID_OWNER, str(owner))
        elif wanted != uid and wanted != user.uid and not restores:
            raise NtStatusError(STATUS_INVALID_OWNER, str(owner))
        else:
            uid = wanted
    if information & GROUP_SECURITY_INFORMATION and group is not None:
        wanted = idmap.gid(group)
        if wanted is None:
            if not restores and not caller.token.holds(group):
                raise NtStatusError(STATUS_ACCESS_DENIED, f"not a member of {group}")
        elif wanted != gid and wanted != user.gid and wanted not in user.groups and not restores:
            raise NtStatusError(STATUS_ACCESS_DENIED, f"not a member of {group}")
        else:
            gid = wanted
    return uid, gid


def set_security(
    caller: Caller, granted: int, fd: int, path_only: bool, descriptor: SecurityDescriptor, information: int,
    entries: Callable[[int, int], list[Entry]] | None, name: bytes | None, encode: Callable[[bytes], bytes],
) -> None:  # fmt: skip
    """Set owner and group (as `owner_and_group` allows), POSIX permissions and stored descriptor of an open file: all
    of them or none.

    `granted` is the access of the handle. `entries` returns the POSIX ACL for a uid and gid; None keeps the
    permissions. `name` is the extended attribute of the descriptor, None where the share stores none; `encode` makes
    its value from `posix_acl.blob`. Raises OSError, STATUS_INVALID_OWNER, STATUS_ACCESS_DENIED."""
    if not granted & _PERMISSIONS:
        raise NtStatusError(STATUS_ACCESS_DENIED, "neither WRITE_DAC nor WRITE_OWNER granted")
    before = stat_fd(fd)
    uid, gid = owner_and_group(caller, before, descriptor, information)
    moves = (uid, gid) != (before.uid, before.gid)
    if moves and not granted & WRITE_OWNER:
        raise NtStatusError(STATUS_ACCESS_DENIED, "WRITE_OWNER not granted")
    if entries is not None and not granted & WRITE_DAC:
        raise NtStatusError(STATUS_ACCESS_DENIED, "WRITE_DAC not granted")
    acl = posix_acl.raw(fd, path_only)
    try:
        if moves:
            with credentials.privileged():
                chown_fd(fd, uid, gid)
                _harmless(fd, path_only, stat_fd(fd))  # the kernel leaves set-group-ID without g+x to a member
        if entries is not None:
            _set_permissions(fd, path_only, gid, entries(uid, gid))
        if name is not None:
            _set_descriptor(fd, path_only, name, encode(posix_acl.blob(fd, path_only, stat_fd(fd))))
    except BaseException:
        _put_back(fd, path_only, before, acl)
        raise


def _set_permissions(fd: int, path_only: bool, gid: int, entries: list[Entry]) -> None:
    # As a member of the file's group: without CAP_FSETID the kernel would take a folder's set-group-ID bit else.
    with credentials.privileged((gid,)):
        mode = _harmless(fd, path_only, stat_fd(fd))
        posix_acl.write(fd, path_only, entries, mode)


def _harmless(fd: int, path_only: bool, stat: Stat) -> int:
    """The mode of a file, after its set-id bits are gone; a folder's only say which group its entries get."""
    if stat.mode & S_IFMT == S_IFDIR or not stat.mode & _SET_ID:
        return stat.mode
    chmod_fd(fd, stat.mode & 0o7777 & ~_SET_ID, path_only)
    return stat.mode & ~_SET_ID


def _set_descriptor(fd: int, path_only: bool, name: bytes, value: bytes) -> None:
    target: int | str = descriptors.path(fd) if path_only else fd
    with credentials.privileged():
        try:
            os.setxattr(target, name, value)
        except OSError as error:
            # Without the right to write security.*, or without attributes at all, the permissions alone stand.
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise


def _put_back(fd: int, path_only: bool, before: Stat, acl: bytes | None) -> None:
    """Owner, group and permissions as they were, but for set-id bits; what cannot be put back stays."""
    with credentials.privileged((before.gid,)):
        try:
            now = stat_fd(fd)
            if (now.uid, now.gid) != (before.uid, before.gid):
                chown_fd(fd, before.uid, before.gid)
            mode = before.mode if before.mode & S_IFMT == S_IFDIR else before.mode & ~_SET_ID
            posix_acl.put_back(fd, path_only, acl, mode & 0o7777)
        except OSError:
            pass


def read_descriptor(fd: int, path_only: bool, name: bytes) -> bytes | None:
    """The attribute that keeps a file's descriptor, which decides what the user may read (`acl_xattr:security_acl_name`
    may put it where the file's own permissions hide it). Raises OSError."""
    try:
        return get_attribute(fd, name, path_only, 1024)
    except PermissionError:
        with credentials.privileged():
            return get_attribute(fd, name, path_only, 1024)


def inherit_owner(fd: int, folder: Stat) -> None:
    """`inherit owner = yes`: what was just made is its folder's owner's. Raises OSError."""
    if folder.uid != stat_fd(fd).uid:
        with credentials.privileged():
            chown_fd(fd, folder.uid, -1)


# ------------------------------------------------------------------------------------------------ attributes and times


def read_dos(fd: int, path_only: bool) -> bytes | None:
    """user.DOSATTRIB of a file that is open: who may open it at all is shown its attributes. Raises OSError."""
    with credentials.privileged():
        return get_attribute(fd, dosattrib.NAME, path_only)


def write_dos(granted: int, fd: int, path_only: bool, value: bytes) -> None:
    """Set user.DOSATTRIB for who was granted FILE_WRITE_ATTRIBUTES, or writes data. Raises OSError."""
    _check_change(granted)
    with credentials.privileged():
        os.setxattr(descriptors.path(fd) if path_only else fd, dosattrib.NAME, value)


def write_times(granted: int, fd: int, access: tuple[int, int], write: tuple[int, int]) -> None:
    """Set times, which the kernel lets the owner set alone, for who was granted FILE_WRITE_ATTRIBUTES, or writes data.
    Raises OSError."""
    _check_change(granted)
    with credentials.privileged():
        set_times(fd, access, write)


def _check_change(granted: int) -> None:
    if not granted & _CHANGES:
        raise NtStatusError(STATUS_ACCESS_DENIED, "FILE_WRITE_ATTRIBUTES not granted")


def read_object_id(fd: int, path_only: bool, name: bytes) -> bytes | None:
    """A file's object id, which an open handle is enough for (MS-FSA 2.1.5.10.1). Raises OSError."""
    with credentials.privileged():
        return get_attribute(fd, name, path_only)


def is_empty(granted: int, fd: int) -> bool:
    """Whether an open folder has no entries, for who may delete it or change what it is, though he may not list it.
    Raises OSError."""
    if not granted & (DELETE | _CHANGES):
        raise NtStatusError(STATUS_ACCESS_DENIED, "neither DELETE nor a right to write granted")
    with credentials.privileged():
        folder = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            with os.scandir(folder) as scan:
                return next(scan, None) is None
        finally:
            os.close(folder)


# ------------------------------------------------------------------------------------------- shares and file systems


def open_share(path: str) -> int:
    """The share's folder (O_PATH), whatever folders are above it: the administrator chose it. Raises OSError."""
    with credentials.privileged():
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def abilities(root: int) -> Abilities:
    """What the file system of the share's folder can do, though the user may not open that. Raises OSError."""
    with credentials.privileged():
        return filesystems.abilities(root)


# ------------------------------------------------------------------------------------------------------------ fanotify


def watch_group() -> Fanotify:
    """A group for watching whole file systems; what of it a user is told, he may list. Raises OSError."""
    with credentials.privileged():
        return Fanotify()


def watch_file_system(group: Fanotify, directory: int, mask: int) -> None:
    """Watch the file system of an open directory. Raises OSError."""
    with credentials.privileged():
        group.add(directory, mask)


def path_of_handle(beside: int, handle: bytes) -> bytes:
    """Where the directory of a file handle is now, for telling which watches it concerns. Raises OSError."""
    with credentials.privileged():
        fd = open_handle(beside, handle)
        try:
            return path_of(fd)
        finally:
            os.close(fd)


def path_of(fd: int) -> bytes:
    """Where an open directory is now. Raises OSError."""
    with credentials.privileged():
        return os.readlink(descriptors.path_bytes(fd))


def exists(path: bytes) -> bool:
    """Whether a name that an event told of is still there, for the order of its events."""
    with credentials.privileged():
        return os.path.lexists(path)
