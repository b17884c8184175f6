# SPDX-License-Identifier: GPL-2.0-or-later
"""The only module of ksmbd/vfs that acts with more rights than the user's: with the server's, usually root's.

All other modules reach the disk as the session's user, because the descriptors of LocalEntry and Resolver switch the
thread to that user. Some operations are allowed by the protocol, and not by the kernel. Each function here does one of
them. It takes the caller, or the access that the handle was granted, and the request; it checks the request; then it
makes one change with the server's rights. `credentials.privileged` drops the rights afterwards, after errors too.
Functions that only follow the configuration (`path`, `inherit owner`), or reveal nothing that the kernel hides from
the user, take no caller.

No function here sets or keeps a set-user-ID or set-group-ID bit on a file: a client can never set one, and one that
exists is removed when a client changes owner, group or permissions.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from ksmbd.kernel import credentials, descriptors, filesystems, quota
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.fanotify import Fanotify, open_handle
from ksmbd.kernel.files import chmod_fd, chown_fd, set_times
from ksmbd.kernel.filesystems import Abilities
from ksmbd.kernel.quota import Quota
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, Stat, stat_fd
from ksmbd.kernel.xattr import get_attribute
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
"""The access of the creator of a file while it is being created, whatever access the open asks for (MS-FSA
2.1.5.1.1)."""
_SET_ID: Final = 0o6000
_PERMISSIONS: Final = WRITE_DAC | WRITE_OWNER | ACCESS_SYSTEM_SECURITY
_CHANGES: Final = FILE_WRITE_ATTRIBUTES | FILE_WRITE_DATA | FILE_APPEND_DATA


class Caller:
    """The user on whose behalf a function acts: security token and Unix user."""

    __slots__ = ("credentials", "idmap", "root", "token")

    def __init__(self, token: Token, user: Credentials, idmap: IdMap) -> None:
        self.token = token
        self.credentials = user
        self.idmap = idmap
        self.root = user.uid == 0 or (not credentials.POSSIBLE and credentials.SERVER.uid == 0)
        """The caller acts as root (`admin users`): nothing is refused, as in Samba."""


# ---------------------------------------------------------------------------------------------- owner and permissions


class StoredDescriptor(NamedTuple):
    """Where and how a share stores a file's security descriptor."""

    name: bytes
    """The extended attribute."""
    encode: Callable[[bytes], bytes]
    """Makes the attribute's value from `posix_acl.blob`."""


def owner_and_group(caller: Caller, stat: Stat, descriptor: SecurityDescriptor, information: int) -> tuple[int, int]:
    """The (uid, gid) that a file gets when the owner and group of `descriptor` are set, as far as `information` names
    them. `stat` is the file's Stat before.

    Raises STATUS_INVALID_OWNER for an owner that is neither the file's current one nor the caller, unless the caller
    has the restore privilege (MS-DTYP 2.5.3.4, MS-FSA 2.1.5.17); STATUS_ACCESS_DENIED for a group that is neither the
    file's current one nor one of the caller's."""
    uid, gid = stat.uid, stat.gid
    restores = bool(caller.token.privileges & Privilege.RESTORE)
    idmap, user = caller.idmap, caller.credentials
    owner, group = descriptor.owner, descriptor.group
    if information & OWNER_SECURITY_INFORMATION and owner is not None:
        wanted = idmap.uid(owner)
        if wanted is None:
            # The SID is no Unix user, so the stored descriptor alone keeps it. A group of the caller may be the owner.
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
    entries: Callable[[int, int], list[Entry]] | None, stored: StoredDescriptor | None,
) -> None:  # fmt: skip
    """Set owner and group (as `owner_and_group` allows), POSIX permissions and stored descriptor of an open file: all
    of them or none.

    `granted` is the access of the handle. `entries` returns the POSIX ACL for a uid and gid; None keeps the
    permissions. `stored`: None where the share stores no descriptors. Raises OSError, STATUS_INVALID_OWNER,
    STATUS_ACCESS_DENIED."""
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
        if stored is not None:
            _set_descriptor(fd, path_only, stored.name, stored.encode(posix_acl.blob(fd, path_only, stat_fd(fd))))
    except BaseException:
        _put_back(fd, path_only, before, acl)
        raise


def _set_permissions(fd: int, path_only: bool, gid: int, entries: list[Entry]) -> None:
    # As a member of the file's group: otherwise, without CAP_FSETID, chmod would clear a directory's set-group-ID bit.
    with credentials.privileged((gid,)):
        mode = _harmless(fd, path_only, stat_fd(fd))
        posix_acl.write(fd, path_only, entries, mode)


def _harmless(fd: int, path_only: bool, stat: Stat) -> int:
    """Clear the set-id bits of a file, and return its mode. Those of a directory are harmless and stay."""
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
            # Without the right to write security.*, or without xattr support, only the POSIX permissions are set.
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise


def _put_back(fd: int, path_only: bool, before: Stat, acl: bytes | None) -> None:
    """Restore owner, group and permissions, without set-id bits, as far as possible. Never raises OSError."""
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
    """The extended attribute `name` that holds a file's security descriptor; None where there is none. The server
    reads it even where the user may not (`acl_xattr:security_acl_name`), because it decides the user's access. Raises
    OSError."""
    try:
        return get_attribute(fd, name, path_only, 1024)
    except PermissionError:
        with credentials.privileged():
            return get_attribute(fd, name, path_only, 1024)


def inherit_owner(fd: int, folder: Stat) -> None:
    """Give a new file the owner of its directory, whose Stat is `folder` (`inherit owner = yes`). Raises OSError."""
    if folder.uid != stat_fd(fd).uid:
        with credentials.privileged():
            chown_fd(fd, folder.uid, -1)


# ------------------------------------------------------------------------------------------------ attributes and times


def read_dos(fd: int, path_only: bool) -> bytes | None:
    """Read user.DOSATTRIB of an open file: an open needs no other right to see the attributes. Raises OSError."""
    with credentials.privileged():
        return get_attribute(fd, dosattrib.NAME, path_only)


def listed_dos(directory: int, name: bytes) -> bytes | None:
    """Read user.DOSATTRIB of an entry of an open directory: who may list a directory sees the attributes of what is in
    it (MS-FSA 2.1.5.1.2.1). None where there is none. Raises OSError."""
    with credentials.privileged():
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            return get_attribute(fd, dosattrib.NAME, True)
        finally:
            os.close(fd)


def write_dos(granted: int, fd: int, path_only: bool, value: bytes) -> None:
    """Set user.DOSATTRIB through an open with the access `granted`. Raises OSError; STATUS_ACCESS_DENIED without
    FILE_WRITE_ATTRIBUTES, FILE_WRITE_DATA or FILE_APPEND_DATA."""
    _check_change(granted)
    with credentials.privileged():
        os.setxattr(descriptors.path(fd) if path_only else fd, dosattrib.NAME, value)


def write_mode(granted: int, fd: int, path_only: bool, mode: int) -> None:
    """Keep attributes in the permission bits of a file that is somebody else's and that the user may write (`dos
    filemode`), without set-id bits. Raises as `write_dos`."""
    _check_change(granted)
    with credentials.privileged((stat_fd(fd).gid,)):
        chmod_fd(fd, mode & (0o7777 if mode & S_IFMT == S_IFDIR else 0o1777), path_only)


def write_times(granted: int, fd: int, access: tuple[int, int], write: tuple[int, int]) -> None:
    """Set access and write time, each (seconds, nanoseconds), which the kernel allows the owner only. Raises as
    `write_dos`."""
    _check_change(granted)
    with credentials.privileged():
        set_times(fd, access, write)


def _check_change(granted: int) -> None:
    if not granted & _CHANGES:
        raise NtStatusError(STATUS_ACCESS_DENIED, "FILE_WRITE_ATTRIBUTES not granted")


def read_object_id(fd: int, path_only: bool, name: bytes) -> bytes | None:
    """Read the object id of an open file from the extended attribute `name`: any access suffices (MS-FSA 2.1.5.10.1).
    None where there is none. Raises OSError."""
    with credentials.privileged():
        return get_attribute(fd, name, path_only)


def is_empty(granted: int, fd: int) -> bool:
    """Whether an open directory has no entries. An open that may delete or change the directory may ask this without
    the right to list it. Raises OSError; STATUS_ACCESS_DENIED without DELETE and without a right to write."""
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
    """Open the directory of a share with O_PATH, whatever the permissions of the directories above it: the
    administrator chose the path. Raises OSError."""
    with credentials.privileged():
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def mount_point(path: str) -> str:
    """The uppermost folder above `path` (itself included) on the same device. Raises OSError."""
    with credentials.privileged():
        device = os.stat(path).st_dev
        while path != "/" and os.stat(above := os.path.dirname(path)).st_dev == device:
            path = above
    return path


def abilities(fd: int) -> Abilities:
    """What the file system of an open file supports; the user may have no right to read the file. Raises OSError."""
    with credentials.privileged():
        return filesystems.abilities(fd)


def read_quota(fd: int, kind: int, id_: int) -> Quota:
    """The quota of the user, or of his group, on the file system of an open file: for the room that he is told of. The
    kernel lets the process's own user ask alone. Raises OSError."""
    with credentials.privileged():
        return quota.get(fd, kind, id_)


def quota_of(caller: Caller, fd: int, uid: int) -> Quota:
    """The quota of a user on the file system of an open file, for himself or for root. Raises OSError,
    STATUS_ACCESS_DENIED."""
    if not caller.root and uid != caller.credentials.uid:
        raise NtStatusError(STATUS_ACCESS_DENIED, "another user's quota")
    with credentials.privileged():
        return quota.get(fd, quota.USER, uid)


def next_quota(caller: Caller, fd: int, uid: int) -> Quota | None:
    """The quota of the user with the lowest uid from `uid` on, for root. Raises OSError, STATUS_ACCESS_DENIED."""
    _check_root(caller)
    with credentials.privileged():
        return quota.following(fd, quota.USER, uid)


def set_quota(caller: Caller, fd: int, uid: int, soft: int, hard: int) -> None:
    """Set a user's limits, in bytes, 0 for none, for root. Raises OSError, STATUS_ACCESS_DENIED."""
    _check_root(caller)
    with credentials.privileged():
        quota.set_limits(fd, quota.USER, uid, soft, hard)


def _check_root(caller: Caller) -> None:
    if not caller.root:
        raise NtStatusError(STATUS_ACCESS_DENIED, "quotas are root's")


def audit_file(path: str, fd: int) -> int:
    """The file that records of audited accesses are added to, which the administrator chose: `fd` where it still has
    this name, else it is closed and the one opened or made (0600) that has it now. Raises OSError."""
    with credentials.privileged():
        if fd >= 0:
            try:
                there, ours = os.stat(path), os.fstat(fd)
                if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                    return fd
            except FileNotFoundError:
                pass
        new = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o600)
    if fd >= 0:
        os.close(fd)
    return new


# ------------------------------------------------------------------------------------------------------------ fanotify


def watch_group() -> Fanotify:
    """Make a fanotify group for watching whole file systems. The caller filters the events by what the user may list.
    Raises OSError."""
    with credentials.privileged():
        return Fanotify()


def watch_file_system(group: Fanotify, directory: int, mask: int) -> None:
    """Watch the whole file system of an open directory for the events in `mask` (FAN_*). Raises OSError."""
    with credentials.privileged():
        group.add(directory, mask)


def path_of_handle(beside: int, handle: bytes) -> bytes:
    """The current path of the directory with a file handle, to find the watches that an event concerns. `beside` is a
    descriptor on the same file system. Raises OSError."""
    with credentials.privileged():
        fd = open_handle(beside, handle)
        try:
            return path_of(fd)
        finally:
            os.close(fd)


def path_of(fd: int) -> bytes:
    """The current path of an open directory. Raises OSError."""
    with credentials.privileged():
        return os.readlink(descriptors.path_bytes(fd))


def exists(path: bytes) -> bool:
    """Whether a path that an event named still exists, to put merged events in order."""
    with credentials.privileged():
        return os.path.lexists(path)
