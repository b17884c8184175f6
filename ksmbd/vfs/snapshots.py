# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a share (MS-SMB2 3.3.5.9.4, 3.3.5.15.1). The administrator or a tool makes them as folders whose names
contain their times; the parameters of Samba's shadow_copy2 say where they are.

The server opens the folder of snapshots with its own rights. It lists that folder, and opens everything below it, with
the rights of the session's user. It follows no symbolic link from there to the share's folder in a snapshot, and none
that leads out of that folder, because the resolver of the snapshot has its root there.

The list of a folder is used while the folder's times stay the same, and each open looks for the snapshot's own folder
again, so that a snapshot that is gone is not found.
"""
from __future__ import annotations

import errno
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, NamedTuple

from ksmbd import limits
from ksmbd.kernel import descriptors
from ksmbd.kernel.files import R_OK, access_fd
from ksmbd.kernel.filesystems import subvolume_time
from ksmbd.kernel.stat import Stat, stat_fd
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.ports import Clock, CreateIntent, CreateResult, ShareConfig
from ksmbd.smb.snapshot_tokens import take_token
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_PATH_NOT_FOUND,
    NtStatusError,
)
from ksmbd.vfs import gate, names
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.names import Patterns
from ksmbd.vfs.place import Place
from ksmbd.vfs.resolve import Resolver
from ksmbd.vfs.snapshot_names import Naming
from ksmbd.vfs.volume import LocalVolume

logger = logging.getLogger("ksmbd.vfs")

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SECOND: Final = 10_000_000
_GOOD_FOR: Final = 5.0
"""Seconds after which a list is read again although the folder's times are the same: some file systems do not change
them."""
_ABSENT: Final = (STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_NOT_FOUND)


class Subvolumes:
    """Snapshots of btrfs whose names contain no time, as snapper makes them. Their time is the creation time of the
    subvolume."""

    __slots__ = ("inner", "pattern")

    def __init__(self, pattern: str, inner: tuple[str, ...]) -> None:
        """`pattern` (with `*`) matches the names in the folder of snapshots. `inner` is the path from such an entry to
        the subvolume."""
        self.pattern = Patterns((pattern,))
        self.inner = inner

    def time_in(self, folder: int, name: str) -> int | None:
        """The time of a snapshot in an open folder, in seconds since 1970; None where the user may read no snapshot
        with this name."""
        if not self.pattern.match(name):
            return None
        try:
            inside = _descend(folder, (name, *self.inner))
        except OSError:
            return None
        try:
            fd = os.open(descriptors.path(inside), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return subvolume_time(fd)
            finally:
                os.close(fd)
        except OSError:
            return None
        finally:
            os.close(inside)


@dataclass(frozen=True, slots=True)
class Rules:
    """Where a share's snapshots are."""

    naming: Naming | Subvolumes
    folder: str
    """Their folder, absolute or, with `everywhere`, relative to any folder."""
    below: tuple[str, ...]
    """The path of the share's folder in a snapshot."""
    everywhere: bool
    above: tuple[str, ...]
    """With `everywhere`: the folders above the share's that may have snapshots of it, the nearest first."""
    order: str
    """`asc`, `desc`, or anything else for the order of the folder."""


def rules_of(share: ShareConfig) -> Rules | None:
    """The rules of a share; None where it offers no snapshots. Raises ValueError for parameters that contradict each
    other."""
    naming: Naming | Subvolumes
    folder, _, format_ = share.snapshot_path.rpartition("/")
    if not format_:
        return None
    if "*" in share.snapshot_path and "%" not in share.snapshot_path:
        above, _, inner = share.snapshot_path.partition("*")
        folder, _, start = above.rpartition("/")
        end, *way = inner.split("/")
        naming = Subvolumes(f"{start}*{end}", tuple(part for part in way if part))
    else:
        naming = Naming(
            format_, share.shadow_localtime, share.shadow_sscanf, share.shadow_snapprefix, share.shadow_delimiter
        )
    if ".." in share.snapshot_path.split("/"):
        raise ValueError(f"`..` in the snapshots' folder {folder}")
    path = os.path.normpath(share.path)
    mount = share.shadow_mountpoint
    if not mount.startswith("/") or _below(path, mount) is None:
        mount = gate.mount_point(path)
    everywhere = share.shadow_snapdirseverywhere and not folder.startswith("/")
    if everywhere:
        end = "/" if share.shadow_crossmountpoints else os.path.normpath(mount)
        return Rules(naming, folder, (), True, tuple(_parents(path, end)), share.shadow_sort)
    base = share.shadow_basedir
    if _below(base, mount) is None or _below(path, base) is None:
        base = mount
    below = share.shadow_snapsharepath if not share.shadow_basedir else ""
    if not below or below.startswith("/"):
        below = _below(path, base) or ""
    parts = tuple(part for part in below.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ValueError(f"`..` in the share's path in a snapshot {below}")
    folder = folder if folder.startswith("/") else os.path.join(mount, folder)
    return Rules(naming, folder, parts, False, (), share.shadow_sort)


def _below(path: str, folder: str) -> str | None:
    """The path of `path` relative to `folder`; None where it is not below it."""
    if not path.startswith("/") or not folder.startswith("/"):
        return None
    path, folder = os.path.normpath(path), os.path.normpath(folder).rstrip("/")
    if path == folder:
        return ""
    return path[len(folder) + 1 :] if path.startswith(folder + "/") else None


def _parents(path: str, end: str) -> Iterator[str]:
    while path not in (end, "/"):
        path = os.path.dirname(path)
        yield path


class _Folder(NamedTuple):
    """An open folder of snapshots."""

    fd: int
    prefix: str
    """The first components of the path: the folder of which these are snapshots."""
    rest: str
    """The other components of the path."""
    below: tuple[str, ...]
    """The path in a snapshot at which `rest` begins."""


class SnapshotLists:
    """The lists of snapshots that were read from folders; one object in a process."""

    __slots__ = ("_clock", "_known")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[int, int, object], tuple[Stat, float, dict[int, str]]] = OrderedDict()

    def names(self, folder: int, naming: Naming | Subvolumes) -> dict[int, str]:
        """The names of the snapshots in an open folder by their time (seconds since 1970), in the order of the folder,
        read with the rights of the calling thread's user. Raises OSError where that user may not list it."""
        stat = stat_fd(folder)
        now = self._clock.monotonic()
        key = (stat.dev, stat.ino, naming)
        known = self._known.get(key)
        if known is not None and now - known[1] < _GOOD_FOR and _times(known[0]) == _times(stat):
            if not access_fd(folder, R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self._known.move_to_end(key)
            return known[2]
        found = self._read(folder, naming)
        self._known[key] = stat, now, found
        self._known.move_to_end(key)
        while len(self._known) > limits.SNAPSHOT_FOLDERS.value:
            self._known.popitem(last=False)
        return found

    def _read(self, folder: int, naming: Naming | Subvolumes) -> dict[int, str]:
        fd = os.open(descriptors.path(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found: dict[int, str] = {}
        try:
            with os.scandir(fd) as scan:
                most = limits.SNAPSHOT_NAMES if isinstance(naming, Naming) else limits.SNAPSHOT_SUBVOLUMES
                for entry in islice(scan, most.value):
                    if isinstance(naming, Naming):
                        seconds = naming.time_of(entry.name)
                    else:
                        seconds = naming.time_in(folder, entry.name)
                    if seconds is not None and seconds * _SECOND + FILETIME_UNIX_EPOCH > 0:
                        found.setdefault(seconds, entry.name)
        finally:
            os.close(fd)
        return found


def _times(stat: Stat) -> tuple[int, int, int, int]:
    return stat.mtime, stat.mtime_ns, stat.ctime, stat.ctime_ns


class Snapshots:
    """The snapshots of one share for one user: implements Previous (ksmbd/vfs/place.py)."""

    __slots__ = ("_lists", "_live", "_rules", "_volumes")

    def __init__(self, live: Place, rules: Rules, lists: SnapshotLists) -> None:
        self._live = live
        self._rules = rules
        self._lists = lists
        self._volumes: OrderedDict[tuple[int, ...], LocalVolume] = OrderedDict()
        """By the identity of the share's folder in the snapshot, and the snapshot's time."""

    def times(self, path: str) -> list[int]:
        """See Previous."""
        rules = self._rules
        self._live.become()
        for folder in self._folders(path, False):
            try:
                found = list(self._lists.names(folder.fd, rules.naming))
            except PermissionError as error:
                raise NtStatusError(STATUS_ACCESS_DENIED, "the snapshots' folder") from error
            except OSError:
                continue
            finally:
                os.close(folder.fd)
            if rules.order in ("asc", "desc"):
                found.sort(reverse=rules.order == "desc")
            return [seconds * _SECOND + FILETIME_UNIX_EPOCH for seconds in found[: limits.SNAPSHOTS.value]]
        return []

    def create(self, intent: CreateIntent) -> CreateResult | None:
        """See Previous."""
        path, when = intent.name, intent.snapshot
        if not when:
            found = take_token(path)
            if found is None:
                return None
            path, when = found
        try:
            return self._create(replace(intent, snapshot=0), path, when // _SECOND - FILETIME_UNIX_EPOCH // _SECOND)
        except NtStatusError as error:
            if intent.snapshot or error.status not in _ABSENT:
                raise
            try:
                # A live file may have this name, for example where clients see the folder of snapshots.
                return self._live_volume().create_here(intent)
            except NtStatusError as other:
                raise (error if other.status in _ABSENT else other) from other

    def _live_volume(self) -> LocalVolume:
        volume = self._live.volume
        assert isinstance(volume, LocalVolume)
        return volume

    def _create(self, intent: CreateIntent, path: str, seconds: int) -> CreateResult:
        problem = NtStatusError(STATUS_OBJECT_NAME_NOT_FOUND, "no such snapshot")
        for folder in self._folders(path, intent.posix_mode is not None):
            try:
                volume = self._volume(folder, seconds)
            except OSError as error:
                logger.debug("no snapshot of %d in %s: %s", seconds, self._rules.folder, error.strerror)
                continue
            finally:
                os.close(folder.fd)
            intent.name = folder.rest
            try:
                result = volume.create_here(intent)
            except NtStatusError as error:
                if error.status not in _ABSENT:
                    raise
                problem = error
                continue
            file = result.file
            if folder.prefix and isinstance(file, LocalEntry):
                file.path = f"{folder.prefix}\\{file.path}" if file.path else folder.prefix
            return result
        raise problem

    def _folders(self, path: str, posix: bool) -> Iterator[_Folder]:
        """The folders of snapshots that may have `path`, the nearest first. The caller closes each descriptor."""
        rules = self._rules
        if not rules.everywhere:
            yield from _opened(rules.folder, path, rules.below)
            return
        resolver = self._live.resolver
        components = names.split(path, posix)
        for depth in range(len(components), -1, -1):
            try:
                directory, spelled = resolver.parent(components[:depth], posix)
            except NtStatusError:
                continue
            try:
                fd = _descend(directory, rules.folder.split("/"))
            except OSError:
                continue
            finally:
                resolver.release(directory)
            yield _Folder(fd, "\\".join(spelled), "\\".join(components[depth:]), ())
        for above in rules.above:
            below = _below(os.path.normpath(self._live.share.path), above) or ""
            yield from _opened(os.path.join(above, rules.folder), path, tuple(below.split("/")))

    def _volume(self, folder: _Folder, seconds: int) -> LocalVolume:
        """The share's folder in the snapshot of this time. Raises OSError."""
        live = self._live
        live.become()
        name = self._name(folder.fd, seconds)
        naming = self._rules.naming
        inner = naming.inner if isinstance(naming, Subvolumes) else ()
        root = _descend(folder.fd, (name, *inner, *folder.below))
        try:
            stat = stat_fd(root)
            key = (stat.dev, stat.ino, stat.subvolume, stat.btime, stat.btime_ns, seconds)
            known = self._volumes.get(key)
            if known is not None:
                self._volumes.move_to_end(key)
                os.close(root)
                return known
            volume = self._made(root, seconds)
        except BaseException:
            os.close(root)
            raise
        self._volumes[key] = volume
        while len(self._volumes) > limits.SNAPSHOT_ROOTS.value:
            self._volumes.popitem(last=False)[1].close()
        return volume

    def _name(self, folder: int, seconds: int) -> str:
        try:
            return self._lists.names(folder, self._rules.naming)[seconds]
        except PermissionError:
            naming = self._rules.naming
            # A user who may search the folder but not list it can open a snapshot whose name follows from its time.
            name = naming.name_of(seconds) if isinstance(naming, Naming) else None
            if name is None:
                raise
            return name
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    def _made(self, root: int, seconds: int) -> LocalVolume:
        live = self._live
        # Nothing is written, so there is nothing to coordinate with local processes.
        options = replace(live.options, wide_links=False, kernel_oplocks=False, posix_locking=False, share_locks=False)
        resolver = Resolver(root, live.user, live.cache, options)
        place = Place(live.common, live.share, options, resolver, live.access, live.user, live.read_only)
        place.snapshot = seconds * _SECOND + FILETIME_UNIX_EPOCH
        place.previous = self
        place.root_dev = live.root_dev  # so that its files have other ids than the live ones
        return LocalVolume(place)

    def close(self) -> None:
        """See Previous."""
        while self._volumes:
            self._volumes.popitem()[1].close()


def _opened(path: str, rest: str, below: tuple[str, ...]) -> Iterator[_Folder]:
    try:
        fd = gate.open_share(path)
    except OSError as error:
        logger.debug("no snapshots in %s: %s", path, error.strerror)
        return
    yield _Folder(fd, "", rest, below)


def _descend(folder: int, path: Iterable[str]) -> int:
    """Open the folder at `path` below an open one without following symbolic links. Raises OSError."""
    fd = os.dup(folder)
    for name in path:
        above = fd
        try:
            fd = os.open(name, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
    return fd
