# SPDX-License-Identifier: GPL-2.0-or-later
"""An open file or directory as an entry of its folder: what it is called, how it is renamed, linked and deleted.

Descriptors: an open holds exactly one. It is O_PATH where no data is accessed (attributes, DELETE, security), so that
neither read permission nor a FIFO's other end is needed; else it is the file opened with the rights that were granted.
Its directory is not kept open: `names` are the names on disk from the share's root, and whoever needs the entry
(unlink, rename) opens the directory anew and checks that the entry still is this file; if it was moved by somebody
else, /proc tells where it is now. Of a file with several names the open stands for the one that it came by (MS-FSA
2.1.1.5, Link): the kernel keeps that apart for its descriptor, too.
"""
from __future__ import annotations

import errno
import logging
import os
from typing import Final

from ksmbd import debug
from ksmbd.kernel import credentials
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, S_IFREG, Stat, key_fd, stat_at, stat_fd
from ksmbd.smb.constants import (
    DELETE,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
)
from ksmbd.smb.ports import FileInfo, FileKey, Volume
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_CANNOT_DELETE,
    STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import gate, names, reparse, veto
from ksmbd.vfs.attributes import (
    attributes_of,
    ea_size,
    make_info,
    read_dos,
)
from ksmbd.vfs.dosattrib import NOTHING
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.place import Place
from ksmbd.vfs.times import to_filetime
from ksmbd.vfs.write_times import WriteTime

logger = logging.getLogger("ksmbd.vfs")

_DELETED: Final = b" (deleted)"
"""What the kernel shows behind a name that was removed."""


class LocalEntry:
    """The part of an open that names and moves the file; ksmbd/vfs/metadata.py goes on from it."""

    __slots__ = (
        "__weakref__", "_archived", "entry_key", "_fd", "_parent_key", "_sticky_access", "_sticky_write", "created",
        "granted_access", "is_directory", "is_duplicate", "key", "kind", "names", "path", "path_only", "place", "posix",
        "reserved", "stream", "duplicates", "allocation_failed", "write_time",
    )  # fmt: skip

    def __init__(
        self,
        place: Place,
        fd: int,
        path_only: bool,
        stat: Stat,
        disk_names: tuple[bytes, ...],
        path: str,
        granted: int,
        entry_key: FileKey,
        posix: bool,
        created: bool,
    ) -> None:
        self.place = place
        self._fd = fd
        self.path_only = path_only
        self.key: FileKey = (stat.dev, stat.ino)
        self.kind = stat.mode & S_IFMT
        self.is_directory = self.kind == S_IFDIR
        self.stream = ""
        self.names = disk_names
        """Names on disk from the root; () is the root itself."""
        self.path = path
        self.granted_access = granted
        self.posix = posix
        self.created = created
        self.entry_key = entry_key
        """(device, inode) of the entry itself: of the link, where a link was followed."""
        self._parent_key: FileKey | None = None
        """(device, inode) of the directory it was opened in; None: to be looked up."""
        self._archived = created
        self._sticky_write: tuple[int, int] | None = None
        """The write time that implicit updates of this open must not change."""
        self._sticky_access: tuple[int, int] | None = None
        self.write_time: WriteTime | None = None
        """What it shows of its own writes; None: it has not written."""
        self.duplicates = 0
        self.is_duplicate = False
        """See ksmbd/vfs/duplicate.py; a duplicate's reservations are its open's."""
        self.allocation_failed = False
        """Of a duplicate: it took blocks for what then failed."""
        self.reserved = False
        """It took blocks beyond the end of the file (ksmbd/vfs/allocation.py)."""
        place.enter(self)

    # --------------------------------------------------------------------------------------------------- basics

    @property
    def stream_name(self) -> str:
        """See the port."""
        return ""

    @property
    def disk_name(self) -> bytes:
        """See the port."""
        return self.names[-1] if self.names else b""

    @property
    def name(self) -> str:
        """The last component as clients see it."""
        return self.path.rpartition("\\")[2]

    @property
    def fd(self) -> int:
        """The open descriptor, -1 once it is closed. Who asks for it acts as the session's user from then on, in any
        thread: so nothing reaches the file as somebody else."""
        credentials.assume(self.place.user)
        return self._fd

    @property
    def root_key(self) -> FileKey:
        """(device, inode) of the root of its share."""
        return self.place.root_key

    @property
    def closed(self) -> bool:
        """Whether the descriptor is gone."""
        return self._fd < 0

    def copy_state(self, other: LocalEntry) -> None:
        """What another one of the same open has come to know or to hold (ksmbd/vfs/duplicate.py)."""
        self._archived = other._archived
        self._sticky_access, self._sticky_write = other._sticky_access, other._sticky_write
        self.write_time = other.write_time

    def replace_fd(self, fd: int) -> None:
        """The same file, opened otherwise; the descriptor before is closed."""
        before, self._fd = self._fd, fd
        os.close(before)

    def volume(self) -> Volume:
        """The share's tree that it was opened in."""
        return self.place.volume

    def fileno(self) -> int:
        """See the port; -1 where no data can be read or written."""
        return -1 if self.path_only or self.is_directory else self.fd

    def _begin(self) -> int:
        # What every operation on the closed file answers is decided by the protocol; here it must not hit another's fd.
        credentials.assume(self.place.user)
        if self._fd < 0:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "closed")
        return self._fd

    def stat(self) -> Stat:
        """Its statx now."""
        with os_errors:
            return stat_fd(self.fd)

    def info(self) -> FileInfo:
        """See the port."""
        fd = self._begin()
        place = self.place
        options, path_only = place.options, self.path_only
        try:
            stat = stat_fd(fd)
            dos = read_dos(fd, path_only, options)
            info = make_info(stat, dos, self.name, options, place.root_dev)
            if self.kind == S_IFREG or self.kind == S_IFDIR:
                info.ea_size = ea_size(fd, path_only, options, dos is not NOTHING)
                if info.attributes & FILE_ATTRIBUTE_REPARSE_POINT:
                    reparse.describe(info, fd, path_only)
        except OSError as error:
            raise to_status(error) from error
        if self.write_time is not None:
            held = self.write_time.shown(stat, place.common.clock.monotonic())
            if held is not None:
                info.last_write_time = to_filetime(*held)
        return info

    def close(self) -> None:
        """Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self.place.leave(self)
            os.close(fd)

    # ---------------------------------------------------------------------------------------------------- entries

    def entry(self) -> tuple[int, bytes]:
        """(directory, name on disk) where this file is now; the directory goes to `resolver.release`.

        STATUS_OBJECT_NAME_NOT_FOUND where it is no longer in the share."""
        resolver = self.place.resolver
        for attempt in range(3):
            if self.names:
                try:
                    directory = resolver.open_parent(self.names[:-1])
                except OSError:
                    pass
                else:
                    try:
                        stat = stat_at(directory, self.names[-1])
                        if (stat.dev, stat.ino) == self.entry_key and (
                            stat.nlink == 1 or not self._left(directory, self.names[-1])
                        ):
                            return directory, self.names[-1]
                    except OSError:
                        pass
                    resolver.release(directory)
            if self.entry_key != self.key and attempt:
                break
            # Somebody moved it, or a directory above it.
            found = resolver.path_of(self.fd)
            if not found or self._gone(found):
                break
            self.moved(tuple(found))
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "moved or removed")

    def _gone(self, found: list[bytes] | None) -> bool:
        """Whether `found`, which /proc says, means that the name was removed; other names of the file may be left."""
        if not found or not found[-1].endswith(_DELETED):
            return False
        if found[-1] == self.disk_name + _DELETED:
            return True
        resolver = self.place.resolver  # moved before it was removed, or really called so
        try:
            parent = resolver.open_parent(found[:-1])
        except OSError:
            return True
        try:
            stat = stat_at(parent, found[-1])
            return (stat.dev, stat.ino) != self.entry_key
        except OSError:
            return True
        finally:
            resolver.release(parent)

    def _left(self, directory: int, name: bytes) -> bool:
        """Whether the name that it was opened by is elsewhere now, although this one, too, is a name of the file."""
        if self.is_directory or self.entry_key != self.key:
            return False
        resolver = self.place.resolver
        found = resolver.path_of(self.fd)
        if not found or tuple(found) == self.names:
            return False
        try:
            now = resolver.open_parent(found[:-1])
        except OSError:
            return False
        try:
            stat = stat_at(now, found[-1])
            return (stat.dev, stat.ino) == self.key and (found[-1] != name or key_fd(now) != key_fd(directory))
        except OSError:
            return False  # the name was removed, and made again
        finally:
            resolver.release(now)

    def verify_entry(self, directory: int, name: bytes) -> None:
        """Raise STATUS_OBJECT_NAME_NOT_FOUND unless the entry is this file still: asked last before it is changed,
        since a local process may put another file there at any time."""
        try:
            stat = stat_at(directory, name)
        except FileNotFoundError:
            stat = None
        if stat is None or (stat.dev, stat.ino) != self.entry_key:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "another file has the name now")

    def moved(self, disk_names: tuple[bytes, ...]) -> None:
        """It is somewhere else now."""
        self._parent_key = None
        self.names = disk_names
        self.path = "\\".join(map(names.to_client, disk_names))

    def become_link(self, fd: int, stat: Stat) -> None:
        """The entry was replaced by a symbolic link. `key`, by which the open table knows this open, stays."""
        self.replace_fd(fd)
        self.path_only = True
        self.kind = stat.mode & S_IFMT
        self.is_directory = False
        self.entry_key = (stat.dev, stat.ino)

    def opened_in(self, directory: FileKey) -> None:
        """The directory that this open was made in."""
        self._parent_key = directory

    @property
    def parent_key(self) -> FileKey | None:
        """See the port; None too for what was gone when it was looked up."""
        if self._parent_key is not None or not self.names:
            return self._parent_key
        self._begin()
        try:
            directory, _ = self.entry()
        except NtStatusError:
            return None
        try:
            stat = stat_fd(directory)
            return stat.dev, stat.ino
        finally:
            self.place.resolver.release(directory)

    def unlink(self) -> None:
        """See the port; a file that is gone already is no error."""
        self.unlink_file()

    def unlink_file(self) -> None:
        """See the port."""
        self._begin()
        if debug.mask[0] & debug.VFS:
            logger.debug("unlink %r, file %s", self.path, self.key)
        if not self.names:
            raise NtStatusError(STATUS_ACCESS_DENIED, "the share's root")
        place = self.place
        try:
            directory, name = self.entry()
        except NtStatusError:
            if self.stat().nlink == 0 or self._gone(place.resolver.path_of(self.fd)):
                return
            raise
        try:
            with os_errors:
                token = place.cache.prepare(directory)
                self.verify_entry(directory, name)
                try:
                    if self.is_directory and self.entry_key == self.key:
                        os.rmdir(name, dir_fd=directory)
                    else:
                        os.unlink(name, dir_fd=directory)
                except OSError as error:
                    # rmdir of a directory that has entries: EEXIST on some file systems.
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                    veto.empty(place, self.fd)
                    os.rmdir(name, dir_fd=directory)
                place.cache.removed(token, directory, name)
        finally:
            place.resolver.release(directory)

    def undo_create(self) -> None:
        """See the port."""
        if self.created:
            try:
                self.unlink()
            except NtStatusError:
                pass  # it was removed or moved meanwhile: not ours any longer

    def check_delete(self) -> None:
        """See the port (MS-FSA 2.1.5.15.3)."""
        fd = self._begin()
        if not self.names:
            raise NtStatusError(STATUS_ACCESS_DENIED, "the share's root")
        with os_errors:
            options = self.place.options
            stat = stat_fd(fd)
            attributes = attributes_of(stat, read_dos(fd, self.path_only, options), self.name, options)
            if attributes & FILE_ATTRIBUTE_READONLY and not self.posix:
                raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
            if self.is_directory and self.entry_key == self.key and not self.is_empty():
                veto.check(self.place, fd)
            if not self.place.access.root:
                directory, name = self.entry()
                try:
                    if self.entry_key != self.key:
                        stat = stat_at(directory, name)  # the link goes, whoever's what it leads to is
                    granted = bool(self.granted_access & DELETE)
                    if not self.place.access.may_unlink(directory, stat, granted):
                        raise NtStatusError(STATUS_ACCESS_DENIED, "the directory does not let it go")
                finally:
                    self.place.resolver.release(directory)

    def is_empty(self) -> bool:
        """Whether a directory has no entries. Raises OSError."""
        return gate.is_empty(self.granted_access, self.fd)
