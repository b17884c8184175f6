# SPDX-License-Identifier: GPL-2.0-or-later
"""Access checks: by the stored NT ACL where the share keeps one, else by the Unix permissions as the kernel sees them.

The kernel has the last word either way, because files are opened with the user's own rights. A change of owner, group
or permissions that needs more than those goes through ksmbd/vfs/gate.py, which checks it again.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from ksmbd import limits
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.files import R_OK, W_OK, X_OK, access_fd
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, Stat, stat_fd
from ksmbd.smb.acl import Ace, Acl
from ksmbd.smb.audit import check_creators_sacl
from ksmbd.smb.constants import (
    ACCESS_SYSTEM_SECURITY,
    DACL_SECURITY_INFORMATION,
    DELETE,
    FILE_ALL_ACCESS,
    FILE_APPEND_DATA,
    FILE_DELETE_CHILD,
    FILE_EXECUTE,
    FILE_GENERIC_READ,
    FILE_GENERIC_WRITE,
    FILE_LIST_DIRECTORY,
    FILE_READ_ATTRIBUTES,
    FILE_READ_DATA,
    FILE_WRITE_ATTRIBUTES,
    FILE_WRITE_DATA,
    FILE_WRITE_EA,
    GROUP_SECURITY_INFORMATION,
    MAXIMUM_ALLOWED,
    OWNER_SECURITY_INFORMATION,
    READ_CONTROL,
    SACL_SECURITY_INFORMATION,
    SYNCHRONIZE,
    WRITE_DAC,
    WRITE_OWNER,
)
from ksmbd.smb.ports import Clock
from ksmbd.smb.security_descriptor import (
    SE_DACL_PRESENT,
    SE_SELF_RELATIVE,
    Privilege,
    SecurityDescriptor,
    Token,
    inherit,
    maximal_access,
    parse_security_descriptor,
)
from ksmbd.smb.sid import EVERYONE, UNIX_USERS, Sid
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_ACL,
    STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_PRIVILEGE_NOT_HELD,
    NtStatusError,
)
from ksmbd.vfs import gate, ntacl, posix_acl
from ksmbd.vfs.audit import Audit
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.options import ShareOptions
from ksmbd.vfs.write_protected import is_protected

WRITE_RIGHTS: Final = (
    FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_EA | FILE_WRITE_ATTRIBUTES | FILE_DELETE_CHILD | DELETE | WRITE_DAC
    | WRITE_OWNER
)  # fmt: skip
"""Access rights that a read-only share never grants."""
_NOT_RIGHTS: Final = MAXIMUM_ALLOWED | ACCESS_SYSTEM_SECURITY
_STICKY: Final = 0o1000
_CACHED: Final = 1024
_CACHED_BYTES = 512 << 10
"""Bytes of encoded descriptors in the cache; decoded, they take some twenty times the memory."""
_S_ISGID: Final = 0o2000
_NOTHING: Final = SecurityDescriptor(SE_DACL_PRESENT | SE_SELF_RELATIVE, EVERYONE, EVERYONE)
"""The descriptor of all files with `nt acl support = no`: a NULL DACL."""


class Access:
    """The access checks of one user on one share. It caches decoded descriptors with the user's maximal access."""

    __slots__ = (
        "_audit", "_cache", "_cached_bytes", "_clock", "_rights", "caller", "credentials", "idmap", "options", "root",
        "token",
    )  # fmt: skip

    def __init__(
        self, options: ShareOptions, idmap: IdMap, token: Token, user: Credentials, clock: Clock,
        audit: Audit | None = None,
    ) -> None:
        self.options = options
        self.idmap = idmap
        self.token = token
        self.credentials = user
        self.caller = gate.Caller(token, user, idmap)
        self.root = self.caller.root
        self._clock = clock
        self._audit = audit
        self._rights: OrderedDict[tuple[bytes, int, int], tuple[SecurityDescriptor, int]] = OrderedDict()
        self._cache = _CACHED
        self._cached_bytes = 0

    # ---------------------------------------------------------------------------------------------- descriptors

    def stored(self, fd: int, path_only: bool, stat: Stat) -> SecurityDescriptor | None:
        """The descriptor stored with an open file. None where there is none, or where a local process has changed the
        file's permissions since. Raises OSError."""
        found = self._stored(fd, path_only, stat)
        return found[0] if found is not None else None

    def _stored(self, fd: int, path_only: bool, stat: Stat) -> tuple[SecurityDescriptor, int] | None:
        if not self.options.acl_xattr:
            return None
        data = gate.read_descriptor(fd, path_only, self.options.acl_name)
        if data is None:
            return None
        acl = ntacl.decode(data)
        if acl is None or not ntacl.matches(acl, posix_acl.blob(fd, path_only, stat)):
            return None
        key = (acl.descriptor, stat.uid, stat.gid)
        known = self._rights.get(key)
        if known is not None:
            with suppress(KeyError):  # a helper thread may have dropped it just now
                self._rights.move_to_end(key)
            return known
        try:
            descriptor = self._from_disk(parse_security_descriptor(acl.descriptor), stat)
        except NtStatusError:
            return None
        known = self._rights[key] = (descriptor, maximal_access(descriptor, self.token))
        self._cached_bytes += len(acl.descriptor)
        while len(self._rights) > 1 and (len(self._rights) > self._cache or self._cached_bytes > _CACHED_BYTES):
            dropped, _ = self._rights.popitem(last=False)
            self._cached_bytes -= len(dropped[0])
        return known

    def _from_disk(self, descriptor: SecurityDescriptor, stat: Stat) -> SecurityDescriptor:
        """A stored descriptor with the SIDs that this server shows to clients.

        A SID of another server's domain maps to no user here. Where such a SID is the owner or the group, it is
        replaced by the file's own uid or gid, in the ACL's entries too."""
        known = {}
        if descriptor.owner is not None and self.idmap.uid(descriptor.owner) is None and _foreign(descriptor.owner):
            known[descriptor.owner] = self.idmap.user_sid(stat.uid)
        group = descriptor.group
        if group is not None and group not in known and self.idmap.gid(group) is None and _foreign(group):
            known[group] = self.idmap.group_sid(stat.gid)

        def change(sid: Sid) -> Sid:
            uid = sid.rid if sid.domain == UNIX_USERS else None
            return known.get(sid, sid) if uid is None else self.idmap.user_sid(uid)

        return _with_sids(descriptor, change)

    def _to_disk(self, descriptor: SecurityDescriptor) -> SecurityDescriptor:
        """A descriptor for storing: users as S-1-22-1-uid, which any other server understands that takes over the
        directory."""

        def change(sid: Sid) -> Sid:
            uid = self.idmap.uid(sid) if sid.domain == self.idmap.domain else None
            return sid if uid is None else UNIX_USERS.child(uid)

        return _with_sids(descriptor, change)

    def descriptor(self, fd: int, path_only: bool, stat: Stat) -> SecurityDescriptor:
        """The descriptor of an open file that clients see: the stored one, else one made from the Unix permissions;
        with `nt acl support = no` one that says nothing. Raises OSError."""
        if not self.options.nt_acls:
            return _NOTHING
        return self.stored(fd, path_only, stat) or self._synthesised(fd, path_only, stat)

    def _synthesised(self, fd: int, path_only: bool, stat: Stat) -> SecurityDescriptor:
        mapping = posix_acl.Mapping(self.options.acl_full_control, self.options.dos_filemode)
        return posix_acl.synthesise(fd, path_only, stat, self.idmap, mapping)

    # ---------------------------------------------------------------------------------------------------- rights

    def maximal(self, fd: int, path_only: bool, stat: Stat, parent: int | None) -> int:
        """The maximal access mask that the user has on an open file (MS-FSA 2.1.5.1.2.1). `parent` is a descriptor of
        its directory, None for the share's root. Raises OSError."""
        if self.root:
            return FILE_ALL_ACCESS
        return self._maximal(fd, stat, parent, self._stored(fd, path_only, stat))

    def _maximal(self, fd: int, stat: Stat, parent: int | None, found: tuple[SecurityDescriptor, int] | None) -> int:
        granted = found[1] if found is not None else self._unix_rights(fd, stat)
        if not granted & DELETE and self.may_unlink(parent, stat):
            granted |= DELETE
        if not granted & FILE_READ_ATTRIBUTES and parent is not None and self._may_list(parent):
            granted |= FILE_READ_ATTRIBUTES  # MS-FSA 2.1.5.1.2: FILE_LIST_DIRECTORY on the parent is enough
        return granted

    def file_grants(self, fd: int, stat: Stat, desired: int) -> bool:
        """Whether the permissions of an open file alone grant `desired`, so that neither its directory nor an audit
        counts; so it is for most opens. False where only `grant` can tell. Raises OSError."""
        if self.options.acl_xattr or desired & _NOT_RIGHTS:
            return False
        return self.root or not desired & ~(self._unix_rights(fd, stat) | SYNCHRONIZE)

    def grant(
        self, fd: int, path_only: bool, stat: Stat, parent: int | None, desired: int, read_only: bool, path: str
    ) -> int:
        """The GrantedAccess of an open for DesiredAccess `desired` (MS-FSA 2.1.5.1.2.1), audited as its SACL says;
        `path` is for that.

        Raises STATUS_ACCESS_DENIED, STATUS_PRIVILEGE_NOT_HELD, STATUS_MEDIA_WRITE_PROTECTED, OSError."""
        if not read_only and self.file_grants(fd, stat, desired):
            return desired
        found = self._stored(fd, path_only, stat)
        maximum = (FILE_ALL_ACCESS if self.root else self._maximal(fd, stat, parent, found)) | SYNCHRONIZE
        if desired & WRITE_RIGHTS & ~maximum and not read_only and is_protected(fd):
            raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED, "read-only file system")
        if found is None or found[0].sacl is None or self._audit is None:
            return self._granted(desired, maximum, read_only)
        try:
            granted = self._granted(desired, maximum, read_only)
        except NtStatusError:
            self._audit.note(found[0], path, desired, False)
            raise
        self._audit.note(found[0], path, granted, True)
        return granted

    def audit_made(self, descriptor: SecurityDescriptor | None, path: str, granted: int) -> None:
        """A file was made, with this descriptor, and opened."""
        if descriptor is not None and descriptor.sacl is not None and self._audit is not None:
            self._audit.note(descriptor, path, granted, True)

    def _granted(self, desired: int, maximum: int, read_only: bool) -> int:
        extra = 0
        if desired & ACCESS_SYSTEM_SECURITY:
            if not self.token.privileges & Privilege.SECURITY:
                raise NtStatusError(STATUS_PRIVILEGE_NOT_HELD, "ACCESS_SYSTEM_SECURITY")
            extra = ACCESS_SYSTEM_SECURITY
        wanted = desired & ~(MAXIMUM_ALLOWED | ACCESS_SYSTEM_SECURITY)
        if read_only and wanted & WRITE_RIGHTS:
            raise NtStatusError(STATUS_ACCESS_DENIED, "read-only share")
        if read_only:
            maximum &= ~WRITE_RIGHTS
        if wanted & ~maximum:
            raise NtStatusError(STATUS_ACCESS_DENIED, f"0x{wanted & ~maximum:08x} not granted")
        return (maximum if desired & MAXIMUM_ALLOWED else wanted) | extra

    def _unix_rights(self, fd: int, stat: Stat) -> int:
        owner = stat.uid == self.credentials.uid
        if owner:
            bits = stat.mode >> 6 & 7
        else:
            # Only the kernel knows about groups, ACLs and NFS.
            bits = 7 if access_fd(fd, 7) else sum(bit for bit in (R_OK, W_OK, X_OK) if access_fd(fd, bit))
        if bits == 7 and self.options.acl_full_control:
            # Full control, as Samba shows it (`acl map full control`). What Unix allows the owner alone is refused
            # later, by `store` and by LocalFile.check_delete.
            return FILE_ALL_ACCESS
        granted = READ_CONTROL | SYNCHRONIZE | FILE_READ_ATTRIBUTES
        if bits & 4:
            granted |= FILE_GENERIC_READ | FILE_EXECUTE
        if bits & 2:
            granted |= FILE_GENERIC_WRITE | FILE_DELETE_CHILD
        if bits & 1 and stat.mode & S_IFMT == S_IFDIR:
            granted |= FILE_EXECUTE  # to execute a file over the network is to read it
        if owner or (bits & 2 and self.options.dos_filemode):
            granted |= WRITE_DAC | WRITE_OWNER | DELETE | FILE_WRITE_ATTRIBUTES
        return granted

    def _may_list(self, directory: int) -> bool:
        if not access_fd(directory, R_OK):
            return False
        found = self._stored(directory, True, stat_fd(directory))
        return found is None or bool(found[1] & FILE_LIST_DIRECTORY)

    def may_unlink(self, parent: int | None, stat: Stat, granted: bool = False) -> bool:
        """Whether the user may remove a file from its directory `parent` (None: the share's root, never). Raises
        OSError.

        `granted`: the file itself grants DELETE, so that FILE_DELETE_CHILD on the directory is not needed (MS-FSA
        2.1.5.1.2.1). The Unix permissions of the directory are checked in any case."""
        if self.root:
            return parent is None or not is_protected(parent)
        if parent is None:
            return False
        directory = stat_fd(parent)
        if not access_fd(parent, W_OK | X_OK):
            return False
        uid = self.credentials.uid
        if directory.mode & _STICKY and uid not in (stat.uid, directory.uid):
            return False
        found = None if granted else self._stored(parent, True, directory)
        return found is None or bool(found[1] & FILE_DELETE_CHILD)

    def check_parent(self, parent: int, right: int, path: str) -> None:
        """Raise STATUS_ACCESS_DENIED where the directory's stored ACL does not grant `right`: FILE_ADD_FILE,
        FILE_ADD_SUBDIRECTORY or FILE_DELETE_CHILD. `path` is the new entry's, for the audit. Raises OSError."""
        if not self.options.acl_xattr:
            return
        found = self._stored(parent, True, stat_fd(parent))
        if found is None:
            return
        refused = not self.root and right & ~found[1] != 0
        if found[0].sacl is not None and self._audit is not None:
            self._audit.note(found[0], path.rpartition("\\")[0], right, not refused)
        if refused:
            raise NtStatusError(STATUS_ACCESS_DENIED, "the directory's ACL")

    # ---------------------------------------------------------------------------------------------------- changes

    def check_creator(self, given: bytes | None, folder: Stat) -> None:
        """Check, before a file is created, whether the user may give it the owner and group of the descriptor `given`
        (MS-FSA 2.1.5.1.1). `folder` is the Stat of the directory.

        Raises STATUS_INVALID_OWNER, STATUS_ACCESS_DENIED, STATUS_INVALID_SECURITY_DESCR."""
        if not given:
            return
        creator = parse_given(given)
        check_creators_sacl(creator, self.token)
        user = self.credentials
        uid = folder.uid if self.options.inherit_owner else user.uid
        gid = folder.gid if folder.mode & _S_ISGID else user.gid
        gate.owner_and_group(self.caller, folder._replace(uid=uid, gid=gid), creator, _given(creator))

    def new_file(self, fd: int, path_only: bool, parent: int, given: bytes | None) -> SecurityDescriptor | None:
        """Give a file that was just created its descriptor, from the one that the client sent (`given`) and what the
        directory `parent` inherits to it (MS-FSA 2.1.5.1.1), and return it; None: none is kept. Raises NtStatusError,
        OSError."""
        creator = parse_security_descriptor(given) if given else None
        if not self.options.acl_xattr:
            if creator is not None:
                self._apply(gate.CREATOR, fd, path_only, creator, _given(creator))
            return None
        stat = stat_fd(fd)
        directory = self.stored(parent, True, stat_fd(parent))
        kept_owner = self.options.inherit_owner_unix_only and stat.uid != self.credentials.uid
        if creator is None and not kept_owner and (
            directory is None or (directory.dacl is None and directory.sacl is None)
        ):  # fmt: skip
            return None
        is_directory = stat.mode & S_IFMT == S_IFDIR
        owner = self.token.user if kept_owner else self.idmap.user_sid(stat.uid)
        default = self._synthesised(fd, path_only, stat).dacl
        descriptor = inherit(
            directory, owner, self.idmap.group_sid(stat.gid), is_directory, creator, default,
            self.options.acl_canonicalize,
        )  # fmt: skip
        # The stored descriptor alone names the user, where the file is to be another's (`inherit owner = unix only`).
        information = _given(descriptor) & ~(OWNER_SECURITY_INFORMATION if kept_owner else 0)
        self._apply(gate.CREATOR, fd, path_only, descriptor, information)
        return descriptor

    def store(
        self, fd: int, path_only: bool, granted: int, information: int, new: SecurityDescriptor
    ) -> None:
        """Set the parts of a file's security descriptor that `information` names (MS-FSA 2.1.5.17). `granted` is the
        GrantedAccess of the open.

        Raises STATUS_ACCESS_DENIED, STATUS_INVALID_OWNER, OSError."""
        needed = 0
        if information & (OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION):
            needed |= WRITE_OWNER
        if information & DACL_SECURITY_INFORMATION:
            needed |= WRITE_DAC
        if information & SACL_SECURITY_INFORMATION:
            needed |= ACCESS_SYSTEM_SECURITY
        if needed & ~granted:
            raise NtStatusError(STATUS_ACCESS_DENIED, f"0x{needed & ~granted:08x} not granted")
        if not self.options.nt_acls:
            return  # what is shown cannot be changed, and a client that sets it is told of no failure, as by Samba
        stat = stat_fd(fd)
        current = self.stored(fd, path_only, stat)
        if current is None:
            if not self._changes_permissions(fd, stat):
                raise NtStatusError(STATUS_ACCESS_DENIED, "only the owner may change Unix permissions")
            current = self._synthesised(fd, path_only, stat)
        # An unchanged owner or group is not checked: a stored one may be no Unix user, or not one of the caller's.
        changed = information
        if new.owner == current.owner:
            changed &= ~OWNER_SECURITY_INFORMATION
        if new.group == current.group:
            changed &= ~GROUP_SECURITY_INFORMATION
        if information & DACL_SECURITY_INFORMATION and not new.control & SE_DACL_PRESENT:
            # A descriptor without a DACL sets the NULL DACL, as on Windows.
            new = replace(new, dacl=None, control=new.control | SE_DACL_PRESENT)
        merged = current.with_parts(new, information, self.options.acl_canonicalize)
        self._apply(granted, fd, path_only, merged, changed)

    def replace_lists(self, fd: int, path_only: bool, descriptor: SecurityDescriptor, dacl_changes: bool) -> None:
        """Give a file the lists of `descriptor`, whose owner and group are the file's own, and where `dacl_changes` the
        permissions that come closest. Raises NtStatusError, OSError."""
        self._apply(gate.CREATOR, fd, path_only, descriptor, DACL_SECURITY_INFORMATION if dacl_changes else 0)

    def _changes_permissions(self, fd: int, stat: Stat) -> bool:
        """Whether the user may change the Unix permissions: root, the owner, and with `dos filemode` who may write."""
        return (
            self.root or stat.uid == self.credentials.uid or (self.options.dos_filemode and access_fd(fd, W_OK))
        )

    def _apply(
        self, granted: int, fd: int, path_only: bool, descriptor: SecurityDescriptor, information: int
    ) -> None:
        """Set the owner, the group and the POSIX permissions that come closest to the descriptor, and store it where
        the share stores descriptors."""
        entries: Callable[[int, int], list[posix_acl.Entry]] | None = None
        # A chmod sets the mode alone; stored as an ACL, its one entry would grant nobody access.
        stored = None
        if self.options.acl_xattr and not posix_acl.is_mode(descriptor.dacl):
            stored = gate.StoredDescriptor(self.options.acl_name, partial(self._encode, descriptor))
        if information & DACL_SECURITY_INFORMATION:
            directory = stored is not None and stat_fd(fd).mode & S_IFMT == S_IFDIR
            entries = partial(
                posix_acl.kept_directory if directory else posix_acl.from_dacl, descriptor.dacl, idmap=self.idmap
            )
        gate.set_security(self.caller, granted, fd, path_only, descriptor, information, entries, stored)

    def _encode(self, descriptor: SecurityDescriptor, blob: bytes) -> bytes:
        return ntacl.encode(self._to_disk(descriptor).encode(), blob, self._clock.filetime())


def parse_given(descriptor: bytes) -> SecurityDescriptor:
    """Parse a descriptor that a client sent. Raises STATUS_INVALID_ACL for more than ACCESS_CONTROL_ENTRIES entries,
    and what `parse_security_descriptor` raises."""
    parsed = parse_security_descriptor(descriptor)
    for acl in (parsed.dacl, parsed.sacl):
        if acl is not None and len(acl.aces) > limits.ACCESS_CONTROL_ENTRIES.value:
            raise NtStatusError(STATUS_INVALID_ACL, f"{len(acl.aces)} entries")
    return parsed


def _foreign(sid: Sid) -> bool:
    """Whether a SID belongs to a domain, so that it is none of the well-known ones."""
    return sid.authority == 5 and sid.sub_authorities[:1] == (21,)


def _with_sids(descriptor: SecurityDescriptor, change: Callable[[Sid], Sid]) -> SecurityDescriptor:
    def acl(old: Acl | None) -> Acl | None:
        if old is None:
            return None
        return replace(old, aces=tuple(entry(ace) for ace in old.aces))

    def entry(ace: Ace) -> Ace:
        if ace.sid is None or (new := change(ace.sid)) == ace.sid:
            return ace
        return ace._replace(sid=new)

    return replace(
        descriptor,
        owner=change(descriptor.owner) if descriptor.owner else None,
        group=change(descriptor.group) if descriptor.group else None,
        dacl=acl(descriptor.dacl),
        sacl=acl(descriptor.sacl),
    )


def _given(descriptor: SecurityDescriptor) -> int:
    return (
        (OWNER_SECURITY_INFORMATION if descriptor.owner is not None else 0)
        | (GROUP_SECURITY_INFORMATION if descriptor.group is not None else 0)
        | DACL_SECURITY_INFORMATION
    )


__all__ = ["FILE_LIST_DIRECTORY", "FILE_READ_DATA", "WRITE_RIGHTS", "Access"]
