# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings the stored access control lists below a folder up to date with what the folder passes on
(ksmbd/smb/propagation.py), on the disk and as root.

Each entry is opened below the open folder that lists it, by one name, never through a symbolic link, `..` or a mount
point, and is changed through that descriptor. So a rename while this runs can move a file and lead nowhere else. A file
that has several names stays: another one may be outside the tree. What cannot be read or changed is told, and the rest
goes on.
"""
from __future__ import annotations

import errno
import os
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from typing import Final, NamedTuple

from ksmbd.kernel import descriptors, openat
from ksmbd.kernel.credentials import SERVER
from ksmbd.kernel.stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat, stat_fd
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.former_sids import FormerUser
from ksmbd.smb.ports import Identity, ShareConfig, Timer
from ksmbd.smb.propagation import is_protected, propagated
from ksmbd.smb.security_descriptor import SecurityDescriptor
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import gate
from ksmbd.vfs.access import Access
from ksmbd.vfs.idmap import IdMap
from ksmbd.vfs.options import ShareOptions, VfsSettings

CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
PROTECTED: Final = "protected"
SKIPPED: Final = "skipped"
FAILED: Final = "failed"

_BENEATH: Final = (
    openat.RESOLVE_BENEATH | openat.RESOLVE_NO_SYMLINKS | openat.RESOLVE_NO_MAGICLINKS | openat.RESOLVE_NO_XDEV
)
_ENTRY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TOP: Final = openat.RESOLVE_BENEATH | openat.RESOLVE_NO_SYMLINKS | openat.RESOLVE_NO_MAGICLINKS


class Outcome(NamedTuple):
    """What became of one entry."""

    path: bytes
    """Below the folder that was given."""
    what: str
    """CHANGED, UNCHANGED, PROTECTED (it stays, and passes on what it has), SKIPPED or FAILED."""
    is_directory: bool
    why: str = ""


class NoList(Exception):
    """The folder has no stored access control list, so it passes nothing on."""


class NotKept(Exception):
    """The system does not let this process store a descriptor; at most one file has other Unix permissions by it."""


class _Clock:
    """The time of day, which a stored descriptor has in it."""

    def monotonic(self) -> float:
        return time.monotonic()

    def filetime(self) -> int:
        return time.time_ns() // 100 + FILETIME_UNIX_EPOCH

    def call_later(self, seconds: float, call: object) -> Timer:
        raise NotImplementedError("nothing here waits")


class Propagation:
    """One run in a share. `domain`: the a, b, c of the server's domain; `attribute`: `acl_xattr:security_acl_name`;
    `full_control`: `acl map full control`, for files without a stored descriptor; `former`: the SIDs of users on a
    former server."""

    def __init__(
        self, domain: tuple[int, int, int], attribute: str, full_control: bool = True, dry_run: bool = False,
        *, former: Iterable[FormerUser] = (),
    ) -> None:
        share = ShareConfig(
            "", "", acl_xattr=True, acl_xattr_security_acl_name=attribute, acl_map_full_control=full_control
        )
        idmap = IdMap(domain, former)
        token = idmap.token(Identity("root", "", 0, 0, is_admin=True), 0, 0, ())
        self._access = Access(ShareOptions.of(share, VfsSettings(domain)), idmap, token, SERVER, _Clock())
        self._attribute = attribute.encode()
        self._dry_run = dry_run

    def run(self, share: bytes, below: bytes) -> Generator[Outcome, None, None]:
        """Pass on what the folder `below` has, a path in the folder `share`, and yield what became of each entry in
        it; the folder itself stays. Whoever stops after an outcome leaves each file whole.

        Raises OSError for the folder: ELOOP where the path has a symbolic link; NoList; NotKept."""
        with ExitStack() as open_folders:
            top = _open_top(share, below)
            open_folders.callback(os.close, top)
            descriptor = self._access.stored(top, False, stat_fd(top))
            if descriptor is None:
                raise NoList
            levels = [_Level(top, b"", descriptor)]
            open_folders.callback(_close_all, levels)
            while levels:
                level = levels[-1]
                try:
                    name = level.next()
                except OSError as error:
                    yield Outcome(level.path, FAILED, True, _reason(error))
                    name = None
                if name is None:
                    levels.pop().close()
                    continue
                outcome, deeper = self._entry(level, name)
                yield outcome
                if deeper is not None:
                    levels.append(deeper)

    def _entry(self, level: _Level, name: bytes) -> tuple[Outcome, _Level | None]:
        """Change one entry. Returns what became of it, and for a folder the level below it."""
        path = os.path.join(level.path, name)
        try:
            fd = _open(level.fd, name)
        except OSError as error:
            return _not_opened(path, error), None
        try:
            stat = stat_fd(fd)
            kind = stat.mode & S_IFMT
            if kind not in (S_IFREG, S_IFDIR):
                why = "a symbolic link" if kind == S_IFLNK else "a special file"
                return Outcome(path, SKIPPED, False, why), None
            if kind == S_IFREG and stat.nlink > 1:
                return Outcome(path, SKIPPED, False, f"the file has {stat.nlink} names"), None
            what, descriptor = self._change(level.descriptor, fd, stat)
            is_directory = kind == S_IFDIR
            below = None
            if is_directory:
                below = _Level(os.open(descriptors.path(fd), _FOLDER), path, descriptor)
            return Outcome(path, what, is_directory), below
        except (OSError, NtStatusError) as error:
            return Outcome(path, FAILED, False, _reason(error)), None
        finally:
            os.close(fd)

    def _change(self, parent: SecurityDescriptor, fd: int, stat: Stat) -> tuple[str, SecurityDescriptor]:
        """What became of an open entry, and its descriptor then. Raises OSError, NtStatusError, NotKept."""
        access = self._access
        stored = access.stored(fd, True, stat)
        current = stored or access.descriptor(fd, True, stat)
        new = propagated(parent, current, stat.mode & S_IFMT == S_IFDIR)
        lists = (new.dacl, new.sacl) == (current.dacl, current.sacl)
        if lists and (stored is None or new.control == current.control):
            return PROTECTED if is_protected(current) else UNCHANGED, current
        if not self._dry_run:
            before = gate.read_descriptor(fd, True, self._attribute)
            access.replace_lists(fd, True, new, new.dacl != current.dacl)
            if gate.read_descriptor(fd, True, self._attribute) == before:
                raise NotKept
        return CHANGED, new


class _Level:
    """A folder whose entries are being looked at."""

    def __init__(self, fd: int, path: bytes, descriptor: SecurityDescriptor) -> None:
        """Takes the descriptor `fd` over, but for the top's (path empty)."""
        self.fd = fd
        self.path = path
        self.descriptor = descriptor
        try:
            self._scan = os.scandir(fd)
        except OSError:
            if path:
                os.close(fd)
            raise

    def next(self) -> bytes | None:
        """The next name, None at the end. Raises OSError."""
        entry = next(self._scan, None)
        return None if entry is None else os.fsencode(entry.name)

    def close(self) -> None:
        """Idempotent."""
        self._scan.close()
        if self.path and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _close_all(levels: list[_Level]) -> None:
    for level in levels:
        level.close()


def _open_top(share: bytes, below: bytes) -> int:
    """Open the folder that the administrator names. The way to the share may have symbolic links, which are his; what
    is in the share is its users'. Raises OSError."""
    root = os.open(share, _FOLDER)
    try:
        if not openat.MISSING:
            return openat.openat2(root, below, _FOLDER, 0, _TOP)
        top = os.dup(root)
        for name in filter(None, below.split(b"/")):
            above = top
            try:
                top = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
            finally:
                os.close(above)
        return top
    finally:
        os.close(root)


def _open(folder: int, name: bytes) -> int:
    """Open an entry of an open folder with O_PATH. Raises OSError."""
    if not openat.MISSING:
        return openat.openat2(folder, name, _ENTRY, 0, _BENEATH)
    fd = os.open(name, _ENTRY, dir_fd=folder)  # before Linux 5.6: one name is no path, and no link is followed
    try:
        above, here = stat_fd(folder), stat_fd(fd)
        if (above.dev, above.mnt_id) != (here.dev, here.mnt_id):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _not_opened(path: bytes, error: OSError) -> Outcome:
    if error.errno == errno.EXDEV:
        return Outcome(path, SKIPPED, True, "another file system")
    if error.errno == errno.ENOENT:
        return Outcome(path, SKIPPED, False, "removed or renamed meanwhile")
    return Outcome(path, FAILED, False, _reason(error))


def _reason(error: OSError | NtStatusError) -> str:
    return str(error) if isinstance(error, NtStatusError) else error.strerror or str(error)
