# SPDX-License-Identifier: GPL-2.0-or-later
"""One opening of a file that is there, or of a stream, from what was seen on the disk to the open (MS-FSA 2.1.5.1.2).

CREATE fills a record of it, and the steps here go over that record: the descriptor is opened, what it is of is looked
at, the rights are granted, and what the attributes forbid is refused. Nothing is changed before the last step."""
from __future__ import annotations

import errno
import os
from typing import Final

from ksmbd.kernel import descriptors
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, S_IFREG, Stat, stat_fd
from ksmbd.kernel.syscalls import O_PATH
from ksmbd.smb.constants import (
    DELETE,
    FILE_APPEND_DATA,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_CREATE,
    FILE_CREATED,
    FILE_DELETE_ON_CLOSE,
    FILE_DIRECTORY_FILE,
    FILE_EXECUTE,
    FILE_LIST_DIRECTORY,
    FILE_NON_DIRECTORY_FILE,
    FILE_OPEN,
    FILE_OPEN_REPARSE_POINT,
    FILE_OPENED,
    FILE_OVERWRITE,
    FILE_OVERWRITE_IF,
    FILE_READ_DATA,
    FILE_SUPERSEDE,
    FILE_WRITE_DATA,
    MAXIMUM_ALLOWED,
)
from ksmbd.smb.ports import CreateIntent, CreateResult, FileKey
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_DISK_FULL,
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_INVALID_PARAMETER,
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
from ksmbd.vfs.place import Place
from ksmbd.vfs.stream_store import MAXIMUM_SIZE, attribute, find
from ksmbd.vfs.streams import LocalStream

_OVERWRITES: Final = (FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF)
_READS: Final = FILE_READ_DATA | FILE_EXECUTE
WRITES: Final = FILE_WRITE_DATA | FILE_APPEND_DATA
BASE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
PATH_ONLY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Leased(Exception):
    """Somebody has a lease on the file: its data cannot be opened yet (fcntl(2), F_SETLEASE)."""


class Raced(Exception):
    """The entry changed between two calls; look again."""


def _needed(disposition: int) -> int:
    """The rights without which nothing is emptied, whatever DesiredAccess says (MS-FSA 2.1.5.1.2). To supersede is to
    put another file in its place."""
    return FILE_WRITE_DATA | DELETE if disposition == FILE_SUPERSEDE else FILE_WRITE_DATA


class Opening:
    """What is asked for, where it is on the disk, and what the steps have found out so far."""

    __slots__ = (
        "base_only", "check", "destroys", "disk", "disk_names", "dos", "entry_key", "existing", "fd", "flags",
        "granted", "intent", "kind", "later", "now", "parent", "path", "path_only", "place", "posix", "seen",
    )  # fmt: skip

    def __init__(self, place: Place, intent: CreateIntent, parent: int | None, seen: Stat) -> None:
        self.place = place
        self.intent = intent
        self.posix = intent.posix_mode is not None
        self.base_only = not intent.stream
        self.parent = parent
        """The open directory that has the entry; None: it is the share's root."""
        self.disk = b"."
        """The name on the disk."""
        self.disk_names: tuple[bytes, ...] = ()
        """Names on the disk from the root."""
        self.path = ""
        """As clients see it."""
        self.seen = seen
        """What the look at the disk found under the name."""
        self.entry_key: FileKey | None = None
        """Of the symbolic link that was followed; None: there was none."""
        self.kind = 0
        """S_IFMT bits."""
        self.check = 0
        """The access that is checked: DesiredAccess, and what the disposition needs."""
        self.destroys = False
        """The file or its stream is emptied, or a stream is made."""
        self.flags = 0
        """How the kernel opens the data."""
        self.later = False
        """The data is opened once the open table has agreed (ksmbd/vfs/local.py)."""
        self.fd = -1
        self.path_only = True
        self.now = seen
        """The Stat of what was opened."""
        self.existing: tuple[str, bytes] | None = None
        """The stream's name and attribute; None: there is no such stream."""
        self.granted = 0
        self.dos: DosAttributes = NOTHING


def open_existing(o: Opening) -> CreateResult:
    """Open what was seen. Raises NtStatusError; Raced where something else has the name by now."""
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
    """Its descriptor: for the data where that is asked for, else for the entry alone (O_PATH)."""
    intent = o.intent
    kind = o.kind = o.seen.mode & S_IFMT
    disposition, options, desired = intent.disposition, intent.options, intent.desired_access
    if o.base_only and (kind != S_IFREG or disposition == FILE_CREATE or options & FILE_DIRECTORY_FILE):
        _check_kind(kind, disposition, options)
    o.destroys = disposition in _OVERWRITES
    check = o.check = desired | _needed(disposition) if o.destroys else desired
    flags = flags_of(kind, check) if o.base_only and not desired & MAXIMUM_ALLOWED else PATH_ONLY
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
    """Whether it is what was seen; and its stream."""
    now = o.now = stat_fd(o.fd)
    seen = o.seen
    if o.parent is not None and (now.ino != seen.ino or now.dev != seen.dev):
        raise Raced
    if not o.base_only:
        intent = o.intent
        o.existing = find(o.fd, o.path_only, intent.stream) if o.kind in (S_IFREG, S_IFDIR) else None
        if o.existing is None:
            # Making one takes the right to write, too.
            o.destroys = intent.disposition not in (FILE_OPEN, FILE_OVERWRITE)
            o.check = intent.desired_access | FILE_WRITE_DATA if o.destroys else intent.desired_access


def _grant(o: Opening) -> None:
    """The access that the security descriptor, the reparse point and the attributes leave."""
    intent, place = o.intent, o.place
    desired, options, destroys = intent.desired_access, intent.options, o.destroys
    fd, path_only = o.fd, o.path_only
    read_only = intent.share_read_only or place.read_only
    granted = place.access.grant(fd, path_only, o.now, o.parent, o.check, read_only)
    if destroys and not desired & MAXIMUM_ALLOWED:
        granted &= desired | ~(FILE_WRITE_DATA | DELETE)
    dos = o.dos = read_dos(fd, path_only, place.options)
    attributes = dos.attributes or 0
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT and not options & FILE_OPEN_REPARSE_POINT:
        reparse.stop(fd, path_only, o.posix)
    if granted & WRITES or destroys or options & FILE_DELETE_ON_CLOSE:
        granted = _check_attributes(attributes, intent, o.kind, granted, destroys)
    o.granted = granted


def _open_maximal(o: Opening) -> None:
    """MAXIMUM_ALLOWED was checked on an O_PATH descriptor: open the data with what was granted."""
    kind = o.kind
    if kind not in (S_IFREG, S_IFDIR):
        flags_of(kind, o.intent.desired_access)
        o.granted &= ~(_READS | WRITES)  # all that is allowed of what has no data
    elif o.path_only and o.base_only:
        o.flags = flags_of(kind, o.granted | (FILE_WRITE_DATA if o.destroys else 0))
        if not o.later and not o.flags & O_PATH:
            try:
                _reopen(o)
            except Leased:
                o.later = True


def _reopen(o: Opening) -> None:
    """The data, by the descriptor that was opened for the entry alone."""
    try:
        real = os.open(descriptors.path(o.fd), o.flags & ~os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise Leased from error
        raise to_status(error) from error
    os.close(o.fd)
    o.fd, o.path_only = real, False


def _deletable(o: Opening) -> bool:
    """What check_delete asks beside the attributes, while the directory is at hand: True where that is answered."""
    if o.kind != S_IFREG or not o.base_only or o.parent is None or o.entry_key is not None:
        return False
    if not o.place.access.may_unlink(o.parent, o.now, o.granted & DELETE != 0):
        raise NtStatusError(STATUS_ACCESS_DENIED, "the directory does not let it go")
    return True


def _opened(o: Opening, deletable: bool) -> CreateResult:
    """The open itself. It owns the descriptor from now on."""
    place, now, granted, path = o.place, o.now, o.granted, o.path
    file = LocalFile(
        place, o.fd, o.path_only, now, o.disk_names, path, granted, o.entry_key or (now.dev, now.ino), o.posix, False
    )
    info = None
    if o.kind == S_IFREG and not o.destroys:
        info = make_info(now, o.dos, path.rpartition("\\")[2], place.options, place.root_dev)
        if info.attributes & FILE_ATTRIBUTE_REPARSE_POINT:
            info = None  # its tag is not known
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


def flags_of(kind: int, access: int) -> int:
    """How the kernel opens it for this access."""
    if kind == S_IFREG:
        if access & WRITES:
            return (os.O_RDWR if access & _READS else os.O_WRONLY) | BASE
        return os.O_RDONLY | BASE if access & _READS else PATH_ONLY
    if kind == S_IFDIR:
        return os.O_RDONLY | os.O_DIRECTORY | BASE if access & FILE_LIST_DIRECTORY else PATH_ONLY
    if access & (_READS | WRITES):
        raise NtStatusError(STATUS_ACCESS_DENIED, "a special file")
    return PATH_ONLY


def _open_entry(o: Opening, flags: int) -> int:
    parent = o.parent
    try:
        if parent is None:
            return os.open(b".", flags & ~os.O_NOFOLLOW, dir_fd=o.place.resolver.root)
        return os.open(o.disk, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO) and parent is not None:
            raise Raced from error
        if error.errno == errno.EROFS:
            raise NtStatusError(STATUS_ACCESS_DENIED, "read-only file system") from error
        if error.errno == errno.EAGAIN:
            raise Leased from error
        raise to_status(error) from error


def _check_attributes(stored: int, intent: CreateIntent, kind: int, granted: int, destroys: bool) -> int:
    """MS-FSA 2.1.5.1.2.1: what stored attributes forbid. Skipped where nothing asked for depends on them.

    `destroys`: the file or its stream is emptied, or a stream is made."""
    deletes = intent.options & FILE_DELETE_ON_CLOSE
    if kind != S_IFREG or not (granted & WRITES or destroys or deletes):
        if deletes and kind == S_IFDIR and intent.stream == "":
            if stored & FILE_ATTRIBUTE_READONLY:
                raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
        return granted
    if stored & FILE_ATTRIBUTE_READONLY and intent.posix_mode is None:
        if deletes:
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
    """STATUS_DISK_FULL for an AllocationSize that cannot be, STATUS_INVALID_PARAMETER beyond 2^63 (MS-SMB2
    2.2.13.2.2). Raises OSError."""
    ranges.check_span(intent.allocation_size, 0)
    if not intent.stream:
        allocation.check(beside, intent.allocation_size)
    elif intent.allocation_size > MAXIMUM_SIZE:
        raise NtStatusError(STATUS_DISK_FULL, "longer than an extended attribute can be")


def open_stream(o: Opening) -> CreateResult:
    """The stream of a base file that is open already.

    A CREATE that fails later takes back the stream it made; the base file stays, as on NTFS."""
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
    stream = LocalStream(
        place, o.fd, o.path_only, o.now, o.disk_names, o.path, o.granted, o.entry_key or (o.now.dev, o.now.ino),
        o.posix, existing is None, name, attribute_name,
    )  # fmt: skip
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
