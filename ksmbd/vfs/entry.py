# SPDX-License-Identifier: GPL-2.0-or-later
"""An open file or directory as an entry of its directory: its names, how it is found again, and how it is deleted.

An open has exactly one descriptor. It is O_PATH where no data is accessed (attributes, DELETE, security), so that
neither read permission nor the other end of a FIFO is needed. Otherwise the file is open with the access that was
granted.

The directory is not kept open. `names` holds the names on disk from the share's root. An operation on the entry
(unlink, rename) opens the directory anew and checks that the entry still is this file; if another process has moved
it, /proc has the new place. Where a file has several names, the open stands for the name that it was opened by (MS-FSA
2.1.1.5, Link); the kernel remembers that name for the descriptor, too.
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
from ksmbd.smb.ports import FileInfo, FileKey, Volume, VolumeInfo
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
from ksmbd.vfs.errors import os_errors, to_status
from ksmbd.vfs.opened import Opened
from ksmbd.vfs.short_names import is_short_name
from ksmbd.vfs.times import to_filetime
from ksmbd.vfs.volume_info import volume_info
from ksmbd.vfs.write_protected import kept_by
from ksmbd.vfs.write_times import WriteTime

logger = logging.getLogger("ksmbd.vfs")

_DELETED: Final = b" (deleted)"
"""The suffix that /proc shows for a name that was removed."""


class LocalEntry:
    """The base class of all opens: descriptor, names, deletion. LocalMetadata (metadata.py) is derived from it."""

    __slots__ = (
        "__weakref__", "_archived", "entry_key", "_fd", "_parent_key", "_sticky_access", "_sticky_change",
        "_sticky_write", "created", "granted_access", "is_directory", "is_duplicate", "key", "kind", "names", "path",
        "path_only", "place", "posix", "reserved", "shares_locks", "stream", "duplicates", "allocation_failed",
        "write_time",
    )  # fmt: skip

    def __init__(self, opened: Opened, created: bool) -> None:
        """`created`: this open has created the file, or its stream."""
        place = self.place = opened.place
        stat = opened.now
        self._fd = opened.fd
        self.path_only = opened.path_only
        self.key: FileKey = (stat.dev, stat.ino)
        self.kind = stat.mode & S_IFMT
        self.is_directory = self.kind == S_IFDIR
        self.stream = ""
        self.names = opened.disk_names
        """Names on disk from the share's root; () is the root itself."""
        self.path = opened.path
        self.granted_access = opened.granted
        self.posix = opened.posix
        self.created = created
        self.entry_key = opened.entry_key or self.key
        """(device, inode) of the directory entry: of the symbolic link, where one was followed."""
        self._parent_key: FileKey | None = None
        """(device, inode) of the directory that it was opened in; None: `parent_key` looks it up."""
        self._archived = created
        self._sticky_write: tuple[int, int] | None = None
        """The write time (seconds, nanoseconds) that writes through this open must not change; None: they may."""
        self._sticky_access: tuple[int, int] | None = None
        self._sticky_change = False
        """Whether FileBasicInformation through this open leaves the ChangeTime as it is."""
        self.write_time: WriteTime | None = None
        """The write time that this open shows of its own writes; None: it has not written."""
        self.duplicates = 0
        """How many duplicates of this open exist (ksmbd/vfs/duplicate.py)."""
        self.is_duplicate = False
        """Whether this is a duplicate; blocks that it reserves belong to its open."""
        self.allocation_failed = False
        """An allocation by this duplicate failed and may have left blocks beyond the end of the file."""
        self.shares_locks = False
        """`lock_side` was asked for."""
        self.reserved = False
        """It has reserved blocks beyond the end of the file (ksmbd/vfs/allocation.py)."""
        place.enter(self)

    # --------------------------------------------------------------------------------------------------- basics

    @property
    def stream_name(self) -> str:
        """See the port."""
        return ""

    def folded(self, stream_name: str) -> str:
        """See the port."""
        return names.fold(stream_name)

    @property
    def disk_name(self) -> bytes:
        """See the port."""
        return self.names[-1] if self.names else b""

    @property
    def name(self) -> str:
        """The last component as clients see it."""
        return self.path.rpartition("\\")[2]

    def short_name(self) -> str:
        """See the port."""
        short = self.place.options.short
        if short is not None:
            return short.of(self.disk_name)
        return self.name if is_short_name(self.disk_name) else ""

    @property
    def fd(self) -> int:
        """The open descriptor, -1 once it is closed. Reading this property makes the calling thread act as the
        session's user, so that no code reaches the file with other rights."""
        credentials.assume(self.place.user)
        return self._fd

    @property
    def root_key(self) -> FileKey:
        """(device, inode) of the root of its share."""
        return self.place.root_key

    @property
    def closed(self) -> bool:
        """Whether the descriptor is closed."""
        return self._fd < 0

    def copy_state(self, other: LocalEntry) -> None:
        """Copy the state that writes change from a duplicate or to one (ksmbd/vfs/duplicate.py)."""
        self._archived = other._archived
        self._sticky_access, self._sticky_write = other._sticky_access, other._sticky_write
        self._sticky_change = other._sticky_change
        self.write_time = other.write_time

    def replace_fd(self, fd: int) -> None:
        """Replace the descriptor by `fd`, another one of the same file, and close the old one."""
        before, self._fd = self._fd, fd
        os.close(before)

    def volume(self) -> Volume:
        """The Volume that it was opened in."""
        return self.place.volume

    def fileno(self) -> int:
        """See the port; -1 where no data can be read or written."""
        return -1 if self.path_only or self.is_directory else self.fd

    def _begin(self) -> int:
        # The protocol refuses operations on a closed open; this only keeps them off a reused descriptor number.
        credentials.assume(self.place.user)
        if self._fd < 0:
            raise NtStatusError(STATUS_INVALID_PARAMETER, "closed")
        return self._fd

    @property
    def is_snapshot(self) -> bool:
        """See the port."""
        return self.place.snapshot != 0

    def volume_info(self) -> VolumeInfo:
        """See the port."""
        fd = self._begin()
        with os_errors:
            return volume_info(self.place, fd, stat_fd(fd))

    def previous_versions(self) -> list[int]:
        """See the port."""
        previous = self.place.previous
        return [] if previous is None else previous.times(self.path)

    def stat(self) -> Stat:
        """The current statx of the file. Raises NtStatusError."""
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
            info = make_info(stat, dos, self.name, options, place.root_dev, fd)
            if self.kind == S_IFREG or self.kind == S_IFDIR:
                info.ea_size = ea_size(fd, path_only, options, dos.creation_time is not None)
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
        """Close the descriptor. Idempotent."""
        if self.write_time is not None:
            self._end_writes()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self.place.leave(self)
            os.close(fd)

    def _end_writes(self) -> None:
        """An open that has written is about to be closed. LocalMetadata does what there is to do."""

    # ---------------------------------------------------------------------------------------------------- entries

    def entry(self) -> tuple[int, bytes]:
        """Find the entry of this file: (directory descriptor, name on disk). The caller passes the directory to
        `resolver.release`.

        Raises STATUS_OBJECT_NAME_NOT_FOUND where the file is no longer in the share."""
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
            # Another process has moved the file or a directory above it.
            found = resolver.path_of(self.fd)
            if not found or self._gone(found):
                break
            self.moved(tuple(found))
        raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "moved or removed")

    def _gone(self, found: list[bytes] | None) -> bool:
        """Whether `found`, the names that /proc shows, means that the name was removed. The file may have others."""
        if not found or not found[-1].endswith(_DELETED):
            return False
        if found[-1] == self.disk_name + _DELETED:
            return True
        resolver = self.place.resolver  # it was moved before it was removed, or its name really ends like that
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
        """Whether the name that it was opened by was moved, though `name` in `directory` is a name of the same file."""
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
            return False  # the name was removed and created again
        finally:
            resolver.release(now)

    def verify_entry(self, directory: int, name: bytes) -> None:
        """Raise STATUS_OBJECT_NAME_NOT_FOUND unless the entry still is this file. Call it right before changing the
        entry, because a local process may put another file there at any time. Raises OSError."""
        try:
            stat = stat_at(directory, name)
        except FileNotFoundError:
            stat = None
        if stat is None or (stat.dev, stat.ino) != self.entry_key:
            raise NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "another file has the name now")

    def moved(self, disk_names: tuple[bytes, ...]) -> None:
        """Set the names on disk after a rename."""
        self._parent_key = None
        self.names = disk_names
        self.path = "\\".join(map(names.to_client, disk_names))

    def become_link(self, fd: int, stat: Stat) -> None:
        """Make this open stand for the symbolic link that has replaced its file: `fd` and `stat` are the link's. `key`,
        by which the open table knows this open, does not change."""
        self.replace_fd(fd)
        self.path_only = True
        self.kind = stat.mode & S_IFMT
        self.is_directory = False
        self.entry_key = (stat.dev, stat.ino)

    def opened_in(self, directory: FileKey) -> None:
        """Set the (device, inode) of the directory that this open was made in."""
        self._parent_key = directory

    @property
    def parent_key(self) -> FileKey | None:
        """See the port; also None where the file was gone when its directory was looked up."""
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
        """See the port. A file that was removed already is no error."""
        self.unlink_file()

    def unlink_file(self) -> None:
        """See the port."""
        self._begin()
        if debug.mask[0] & debug.VFS:
            self.place.told(f"unlink {self.path!r}, file {self.key}")
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
                if place.options.short is not None:
                    place.cache.tunnel.remember(key_fd(directory), name, place.options.short)
        finally:
            place.resolver.release(directory)

    def undo_create(self) -> None:
        """See the port."""
        if self.created:
            try:
                self.unlink()
            except NtStatusError:
                pass  # another process has removed or moved it meanwhile

    def check_delete(self) -> None:
        """See the port (MS-FSA 2.1.5.15.3)."""
        fd = self._begin()
        if not self.names:
            raise NtStatusError(STATUS_ACCESS_DENIED, "the share's root")
        with os_errors:
            options = self.place.options
            stat = stat_fd(fd)
            attributes = attributes_of(stat, read_dos(fd, self.path_only, options), self.name, options)
            if attributes & FILE_ATTRIBUTE_READONLY and not self.posix and not options.delete_readonly:
                raise NtStatusError(STATUS_CANNOT_DELETE, "read-only")
            if self.is_directory and self.entry_key == self.key and not self.is_empty():
                veto.check(self.place, fd)
            directory, name = self.entry()
            try:
                if self.entry_key != self.key:
                    stat = stat_at(directory, name)  # the link is deleted, so its owner counts, not the target's
                granted = bool(self.granted_access & DELETE)
                if not self.place.access.may_unlink(directory, stat, granted):
                    raise kept_by(directory)
            finally:
                self.place.resolver.release(directory)

    def is_empty(self) -> bool:
        """Whether a directory has no entries. Raises OSError."""
        return gate.is_empty(self.granted_access, self.fd)
