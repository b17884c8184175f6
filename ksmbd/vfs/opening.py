# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens an existing file or a stream for CREATE, in steps over one record, Opening (MS-FSA 2.1.5.1.2).

The steps open the descriptor, check that it is the file that was looked up, grant the access, and refuse what the
attributes forbid. Nothing on the disk changes before the last step.
"""
from __future__ import annotations

import errno
import os
from typing import Final

from ksmbd.kernel import descriptors
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, S_IFREG, Stat, stat_fd
from ksmbd.kernel.syscalls import O_PATH
from ksmbd.smb.constants import (
    DELETE,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_CREATE,
    FILE_CREATED,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_NON_DIRECTORY_FILE,
    FILE_OPEN,
    FILE_OPEN_REPARSE_POINT,
    FILE_OPENED,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_SUPERSEDE,
    FILE_WRITE_DATA,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.ports import CreateIntent, CreateResult
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_INVALID_PARAMETER,
    STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_NOT_A_DIRECTORY,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import allocation, ranges, reparse
from ksmbd.vfs.attributes import make_info, read_dos
from ksmbd.vfs.dosattrib import NOTHING, DosAttributes
from ksmbd.vfs.errors import to_status
from ksmbd.vfs.file import LocalFile
from ksmbd.vfs.local import local_open, local_stream
from ksmbd.vfs.open_flags import PATH_ONLY, READS, WRITES, flags_of
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.place import Place
from ksmbd.vfs.snapshot_files import SnapshotFile, SnapshotStream, set_apart
from ksmbd.vfs.stream_store import attribute, find
from ksmbd.vfs.streams import LocalStream
from ksmbd.vfs.write_protected import kept_by

_OVERWRITES: Final = (FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF)


class Leased(Exception):
    """A process has a lease on the file, so its data cannot be opened yet (fcntl(2), F_SETLEASE)."""


class Raced(Exception):
    """The directory entry has changed since it was looked up; the caller looks it up again."""


def _needed(disposition: int) -> int:
    """The access that overwriting or superseding needs, whatever DesiredAccess says (MS-FSA 2.1.5.1.2). Superseding
    replaces the file, so it needs DELETE, too."""
    return FILE_WRITE_DATA | DELETE if disposition == FILE_SUPERSEDE else FILE_WRITE_DATA


class Opening(Opened):
    """One opening: the request, the place on the disk, and the results of the steps so far."""

    __slots__ = (
        "base_only", "check", "destroys", "disk", "dos", "existing", "flags", "intent", "kind", "later", "parent",
        "seen",
    )  # fmt: skip

    seen: Stat
    """The Stat that the lookup found under the name; not set for a new entry."""

    def __init__(self, place: Place, intent: CreateIntent, parent: int | None) -> None:
        super().__init__(place, intent.posix_mode is not None)
        self.intent = intent
        self.base_only = not intent.stream
        self.parent = parent
        """Descriptor of the directory that has the entry; None: the share's root itself is opened."""
        self.disk = b"."
        """The name on the disk, in `parent`."""
        self.kind = 0
        """S_IFMT bits."""
        self.check = 0
        """The access to check: DesiredAccess, and what the disposition needs."""
        self.destroys = False
        """The file or its stream is truncated, or a stream is created."""
        self.flags = 0
        """The open(2) flags for the data."""
        self.later = False
        """The data is opened after the open table has granted the open (ksmbd/vfs/local.py)."""
        self.existing: tuple[str, bytes] | None = None
        """(name, extended attribute) of the stream; None: it does not exist."""
        self.dos: DosAttributes = NOTHING


def open_existing(o: Opening, seen: Stat) -> CreateResult:
    """Open the file that was looked up. Raises NtStatusError; Raced where another file has the name now."""
    o.seen = seen
    _open_descriptor(o)
    try:
        _look(o)
        _grant(o)
        if o.intent.desired_access & MAXIMUM_ALLOWED:
            _open_maximal(o)
        deletable = o.intent.options & FILE_DELETE_ON_CLOSE != 0 and _deletable(o)
        if not o.base_only:
            return open_stream(o)
        return _opened(o, deletable)
    except BaseException as error:
        os.close(o.fd)
        if isinstance(error, OSError):
            raise to_status(error) from error
        raise


def _open_descriptor(o: Opening) -> None:
    """Open the descriptor: for data where DesiredAccess asks for data, else with O_PATH."""
    intent = o.intent
    kind = o.kind = o.seen.mode & S_IFMT
    disposition, options, desired = intent.disposition, intent.options, intent.desired_access
    if o.base_only and (kind != S_IFREG or disposition == FILE_CREATE or options & FILE_DIRECTORY_FILE):
        _check_kind(kind, disposition, options)
    o.destroys = disposition in _OVERWRITES
    check = o.check = desired | _needed(disposition) if o.destroys else desired
    opened_for = check & ~WRITES if o.place.snapshot else check  # the open may be granted, a write never is
    flags = flags_of(kind, opened_for) if o.base_only and not desired & MAXIMUM_ALLOWED else PATH_ONLY
    o.flags = flags
    later = kind == S_IFREG and o.place.options.kernel_oplocks
    try:
        o.fd = _open_entry(o, PATH_ONLY if later else flags)
    except Leased:
        later = True
        o.fd = _open_entry(o, PATH_ONLY)
    o.later = later
    o.path_only = later or flags & O_PATH != 0


def _look(o: Opening) -> None:
    """Check that the descriptor is the file that was looked up, and look up the stream. Raises Raced, OSError."""
    now = o.now = stat_fd(o.fd)
    seen = o.seen
    if o.parent is not None and (now.ino != seen.ino or now.dev != seen.dev):
        raise Raced
    if not o.base_only:
        intent = o.intent
        o.existing = find(o.fd, o.path_only, intent.stream) if o.kind in (S_IFREG, S_IFDIR) else None
        if o.existing is None:
            # To create a stream needs the right to write, too.
            o.destroys = intent.disposition not in (FILE_OPEN, FILE_OVERWRITE)
            o.check = intent.desired_access | FILE_WRITE_DATA if o.destroys else intent.desired_access


def _grant(o: Opening) -> None:
    """Grant the access that the security descriptor, a reparse point and the attributes allow."""
    intent, place = o.intent, o.place
    desired, options, destroys = intent.desired_access, intent.options, o.destroys
    if place.snapshot and (destroys or options & FILE_DELETE_ON_CLOSE):
        raise NtStatusError(STATUS_MEDIA_WRITE_PROTECTED, "a snapshot")
    fd, path_only = o.fd, o.path_only
    read_only = intent.share_read_only or place.read_only
    granted = place.access.grant(fd, path_only, o.now, o.parent, o.check, read_only, o.path)
    if destroys and not desired & MAXIMUM_ALLOWED:
        granted &= desired | ~(FILE_WRITE_DATA | DELETE)
    dos = o.dos = read_dos(fd, path_only, place.options)
    attributes = dos.attributes or 0
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT and not options & FILE_OPEN_REPARSE_POINT:
        reparse.stop(fd, path_only, o.posix)
    if granted & WRITES or destroys or options & FILE_DELETE_ON_CLOSE:
        granted = _check_attributes(attributes, intent, o.kind, granted, destroys, place.options.delete_readonly)
    o.granted = granted


def _open_maximal(o: Opening) -> None:
    """MAXIMUM_ALLOWED was checked on an O_PATH descriptor: open the data with what was granted."""
    kind = o.kind
    if kind not in (S_IFREG, S_IFDIR):
        flags_of(kind, o.intent.desired_access)
        o.granted &= ~(READS | WRITES)  # a special file has no data to open
    elif o.path_only and o.base_only:
        granted = o.granted & ~WRITES if o.place.snapshot else o.granted
        o.flags = flags_of(kind, granted | (FILE_WRITE_DATA if o.destroys else 0))
        if not o.later and not o.flags & O_PATH:
            try:
                _reopen(o)
            except Leased:
                o.later = True


def _reopen(o: Opening) -> None:
    """Open the data by way of the O_PATH descriptor. Raises Leased, NtStatusError."""
    try:
        real = os.open(descriptors.path(o.fd), o.flags & ~os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise Leased from error
        raise to_status(error) from error
    os.close(o.fd)
    o.fd, o.path_only = real, False


def _deletable(o: Opening) -> bool:
    """Make the checks of File.check_delete that need the directory, while it is open. Returns True where they are
    done, so that CreateResult.deletable can say so. Raises STATUS_ACCESS_DENIED, STATUS_MEDIA_WRITE_PROTECTED,
    OSError."""
    if o.kind != S_IFREG or not o.base_only or o.parent is None or o.entry_key is not None:
        return False
    if not o.place.access.may_unlink(o.parent, o.now, o.granted & DELETE != 0):
        raise kept_by(o.parent)
    return True


def _opened(o: Opening, deletable: bool) -> CreateResult:
    """Make the LocalFile, which owns the descriptor from now on."""
    place, now, granted, path = o.place, o.now, o.granted, o.path
    if place.snapshot:
        file: LocalFile = SnapshotFile(o, False)
        set_apart(file)
    else:
        file = LocalFile(o, False)
    info = None
    if o.kind == S_IFREG and not o.destroys:
        info = make_info(now, o.dos, path.rpartition("\\")[2], place.options, place.root_dev, file.fd)
        if info.attributes & FILE_ATTRIBUTE_REPARSE_POINT:
            info = None  # the reparse tag is not known
    local = local_open(file, o.flags, o.later) if o.later or place.options.posix_locking else None
    return CreateResult(file, FILE_OPENED, granted, info, local, deletable)


def _check_kind(kind: int, disposition: int, options: int) -> None:
    if disposition == FILE_CREATE:
        raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
    if kind == S_IFDIR:
        if options & FILE_NON_DIRECTORY_FILE:
            raise NtStatusError(STATUS_FILE_IS_A_DIRECTORY)
        if disposition in _OVERWRITES:
            raise NtStatusError(
                STATUS_INVALID_PARAMETER if options & FILE_DIRECTORY_FILE else STATUS_OBJECT_NAME_COLLISION
            )
    elif options & FILE_DIRECTORY_FILE:
        raise NtStatusError(STATUS_NOT_A_DIRECTORY)


def _open_entry(o: Opening, flags: int) -> int:
    parent = o.parent
    try:
        if parent is None:
            return os.open(b".", flags & ~os.O_NOFOLLOW, dir_fd=o.place.resolver.root)
        return os.open(o.disk, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO) and parent is not None:
            raise Raced from error
        if error.errno == errno.EAGAIN:
            raise Leased from error
        raise to_status(error) from error


def _check_attributes(
    stored: int, intent: CreateIntent, kind: int, granted: int, destroys: bool, deletes_read_only: bool
) -> int:
    """Refuse what the stored attributes forbid, and return the access that they leave (MS-FSA 2.1.5.1.2.1).

    `destroys`: the file or its stream is truncated, or a stream is created. `deletes_read_only`: `delete readonly`.
    Raises STATUS_CANNOT_DELETE, STATUS_ACCESS_DENIED."""
    deletes = intent.options & FILE_DELETE_ON_CLOSE
    if kind != S_IFREG or not (granted & WRITES or destroys or deletes):
        if deletes and kind == S_IFDIR and intent.stream == "":
            if stored & FILE_ATTRIBUTE_READONLY and not deletes_read_only:
                raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
        return granted
    if stored & FILE_ATTRIBUTE_READONLY and intent.posix_mode is None:
        if deletes and not deletes_read_only:
            raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
        if destroys or intent.desired_access & WRITES:
            raise NtStatusError(STATUS_ACCESS_DENIED, "read-only")
        granted &= ~WRITES
    if destroys and not intent.stream:
        for bit in (FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_SYSTEM):
            if stored & bit and not intent.attributes & bit:
                raise NtStatusError(STATUS_ACCESS_DENIED, "hidden or system file")
    return granted


def check_allocation(intent: CreateIntent, beside: int) -> None:
    """Raise STATUS_DISK_FULL for an AllocationSize that does not fit, STATUS_INVALID_PARAMETER for one beyond 2^63
    (MS-SMB2 2.2.13.2.2). `beside` is a descriptor on the same file system. Nothing is reserved for a stream, so any
    size fits. Raises OSError."""
    ranges.check_span(intent.allocation_size, 0)
    if not intent.stream:
        allocation.check(beside, intent.allocation_size)


def open_stream(o: Opening) -> CreateResult:
    """Open or create the stream of a base file whose descriptor is `o.fd`. Raises NtStatusError.

    When CREATE fails later, a stream that it created is removed; a new base file stays, as on NTFS."""
    intent, place, existing = o.intent, o.place, o.existing
    if intent.options & FILE_DIRECTORY_FILE:
        raise NtStatusError(STATUS_NOT_A_DIRECTORY, "a stream")
    if o.now.mode & S_IFMT not in (S_IFREG, S_IFDIR):
        raise NtStatusError(STATUS_ACCESS_DENIED, "a special file has no streams")
    disposition = intent.disposition
    if existing is not None and disposition == FILE_CREATE:
        raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
    if existing is None and disposition in (FILE_OPEN, FILE_OVERWRITE):
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no such stream")
    if existing is None and (intent.share_read_only or place.read_only):
        raise NtStatusError(STATUS_ACCESS_DENIED, "read-only share")
    name, attribute_name = existing or (intent.stream, attribute(intent.stream))
    if place.snapshot:
        stream: LocalStream = SnapshotStream(o, False, name, attribute_name)
        set_apart(stream)
    else:
        stream = LocalStream(o, existing is None, name, attribute_name)
    if existing is None:
        try:
            if intent.allocation_size:
                check_allocation(intent, o.fd)
            stream.make()
        except BaseException:
            place.leave(stream)
            raise
    action = FILE_CREATED if existing is None else FILE_OPENED
    local = local_stream(stream, o.granted & WRITES != 0) if place.options.kernel_oplocks else None
    return CreateResult(stream, action, o.granted, None, local)
