# SPDX-License-Identifier: GPL-2.0-or-later
"""Renames (MS-FSA 2.1.5.15.11) and hard-links (MS-FSA 2.1.5.15.6) an open file, and replaces the target if asked to.

All checks come before the first change. The last change alone replaces the target, in one system call; if it fails, the
changes before it are undone. So a request that is refused, or fails half way, leaves the disk as it was.
"""
from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ksmbd.kernel.files import W_OK, X_OK, access_fd, link_fd, rename
from ksmbd.kernel.stat import S_IFDIR, S_IFMT, Stat, key_fd, stat_fd
from ksmbd.smb.constants import (
    DELETE,
    FILE_ADD_FILE,
    FILE_ADD_SUBDIRECTORY,
    FILE_ATTRIBUTE_READONLY,
)
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_DIRECTORY_NOT_EMPTY,
    STATUS_FILE_IS_A_DIRECTORY,
    STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_INVALID,
    NtStatusError,
)
from ksmbd.vfs import gate, names
from ksmbd.vfs.attributes import read_dos
from ksmbd.vfs.entry import LocalEntry
from ksmbd.vfs.errors import os_errors

logger = logging.getLogger("ksmbd.vfs")

T = TypeVar("T")

_TRIES: Final = 8
_TEMPORARY: Final = b".ksmbd-link-"
"""The prefix of the temporary name of a new link, before it is renamed over the target."""


class _Raced(Exception):
    """Another process has changed the target since the check."""


class _Target:
    """The target of a rename or link: an open directory, the wanted name, and the entry that has this name now."""

    __slots__ = ("directory", "existing", "path", "stat", "wanted")

    def __init__(self, directory: int, wanted: bytes, existing: bytes, stat: Stat | None, path: str) -> None:
        self.directory = directory
        self.wanted = wanted
        self.existing = existing
        """The existing name, as the disk spells it."""
        self.stat = stat
        """The Stat of the existing entry; None: there is none."""
        self.path = path
        """As the client gave it."""


def rename_entry(file: LocalEntry, target: str, replace: bool, posix: bool) -> None:
    """Rename an open file to the path `target`; see File.rename. `posix`: as rename(2), so that an empty directory or
    a read-only file may be replaced. Raises NtStatusError."""
    components = _components(file, target)
    place = file.place
    resolver = place.resolver
    if place.options.veto.match(components[-1]):
        raise NtStatusError(STATUS_ACCESS_DENIED, "veto files")
    directory, source = file.entry()
    try:
        new_directory, spelled = resolver.parent(components[:-1], file.posix)
        try:
            with os_errors:
                wanted = _try(lambda: _move(
                    file, directory, source, _look(file, new_directory, components), replace, posix
                ))  # fmt: skip
                if wanted is None:
                    return
                parents = resolver.path_of(new_directory)
        finally:
            resolver.release(new_directory)
    finally:
        resolver.release(directory)
    old = file.names
    new = (*(parents if parents is not None else map(names.to_disk, spelled)), wanted)
    _follow(file, old, tuple(new))


def _follow(file: LocalEntry, old: tuple[bytes, ...], new: tuple[bytes, ...]) -> None:
    """Update the names of all open files that are the renamed entry or below it. An open file that was replaced has no
    name any more; it is left as it is."""
    root, key, depth = file.root_key, file.entry_key, len(old)
    for other in file.place.common.registry:
        if other.names[:depth] == old and other.root_key == root and (
            len(other.names) > depth or other.entry_key == key
        ):  # fmt: skip
            other.moved(new + other.names[depth:])


def link_entry(file: LocalEntry, target: str, replace: bool) -> None:
    """Make a hard link `target` to an open file; see File.link. Raises NtStatusError."""
    if file.is_directory:
        raise NtStatusError(STATUS_FILE_IS_A_DIRECTORY)
    components = _components(file, target)
    place = file.place
    if place.options.veto.match(components[-1]):
        raise NtStatusError(STATUS_ACCESS_DENIED, "veto files")
    directory, _ = place.resolver.parent(components[:-1], file.posix)
    try:
        with os_errors:
            _try(lambda: _link(file, _look(file, directory, components), replace))
    finally:
        place.resolver.release(directory)


def _try(change: Callable[[], T]) -> T:
    """Run `change`, and again where another process has changed the target meanwhile: with ReplaceIfExists a new file
    there is no collision. Raises STATUS_OBJECT_NAME_COLLISION after _TRIES tries."""
    for _ in range(_TRIES):
        try:
            return change()
        except _Raced:
            continue
    raise NtStatusError(STATUS_OBJECT_NAME_COLLISION, "keeps changing")


def _components(file: LocalEntry, target: str) -> Sequence[str]:
    components = names.split(target.lstrip("\\"), file.posix)
    if not components:
        raise NtStatusError(STATUS_OBJECT_NAME_INVALID, "no name")
    file.place.resolver.check_length([names.to_disk(component) for component in components])
    return components


def _look(file: LocalEntry, directory: int, components: Sequence[str]) -> _Target:
    name = components[-1]
    existing, stat = file.place.resolver.find(directory, name, file.posix)
    # For a POSIX open the name that was found is the wanted one, and so it is for a short name, of now or before.
    other = file.posix or names.fold(names.to_client(existing)) != names.fold(name)
    wanted = existing if other else names.to_disk(name, file.posix)
    new_names = file.place.options.new_names
    if new_names is not None and not file.posix:
        wanted = new_names.of(wanted) if stat is None else wanted if new_names.keeps else existing
    return _Target(directory, wanted, existing, stat, "\\".join(components))


# ------------------------------------------------------------------------------------------------------- the checks


def _check_room(file: LocalEntry, target: _Target, right: int, replace: bool, posix: bool) -> None:
    """Check that the user may add the entry to the directory (`right` of its stored ACL) and may replace the target.

    Raises STATUS_ACCESS_DENIED, STATUS_OBJECT_NAME_COLLISION, OSError."""
    access = file.place.access
    if target.stat is not None and not replace:
        raise NtStatusError(STATUS_OBJECT_NAME_COLLISION)
    access.check_parent(target.directory, right, target.path)
    if not access.root and not access_fd(target.directory, W_OK | X_OK):
        raise NtStatusError(STATUS_ACCESS_DENIED, "nothing may be added to the directory")
    if target.stat is not None:
        _check_replaceable(file, target, target.stat, posix)


def _check_replaceable(file: LocalEntry, target: _Target, stat: Stat, posix: bool) -> None:
    """Check that the target may be replaced (MS-FSA 2.1.5.15.11, 2.1.5.15.6): it is no directory, nor replaced by one,
    and not read-only, and it grants DELETE or its directory grants FILE_DELETE_CHILD.

    A directory that has entries gives STATUS_DIRECTORY_NOT_EMPTY: after STATUS_ACCESS_DENIED the Linux client would try
    to delete the target first."""
    is_directory = stat.mode & S_IFMT == S_IFDIR
    place = file.place
    try:
        fd = os.open(target.existing, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target.directory)
    except FileNotFoundError as error:
        raise _Raced from error
    try:
        dos = read_dos(fd, True, place.options)
        by_itself = bool(place.access.maximal(fd, True, stat, None) & DELETE)
        deletable = place.access.may_unlink(target.directory, stat, by_itself)
        if is_directory and not posix and deletable and file.is_directory and not gate.is_empty(DELETE, fd):
            raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY)
    finally:
        os.close(fd)
    if (is_directory or file.is_directory) and not posix:
        raise NtStatusError(STATUS_ACCESS_DENIED, "a directory is not replaced, and replaces nothing")
    if not deletable:
        raise NtStatusError(STATUS_ACCESS_DENIED, "what has the name may not be deleted")
    if (dos.attributes or 0) & FILE_ATTRIBUTE_READONLY and not posix:
        raise NtStatusError(STATUS_ACCESS_DENIED, "read-only")


# ------------------------------------------------------------------------------------------------------ the changes


def _move(file: LocalEntry, directory: int, source: bytes, target: _Target, replace: bool, posix: bool) -> bytes | None:
    """Rename on the disk. Returns the new name on disk; None where the name does not change. Raises OSError,
    NtStatusError, _Raced."""
    new_directory, wanted, existing = target.directory, target.wanted, target.existing
    same_file = target.stat is not None and (target.stat.dev, target.stat.ino) == file.entry_key
    if same_file and existing == source and key_fd(directory) == key_fd(new_directory):
        if existing == wanted:
            return None
        same_file, target.stat = False, None  # another spelling of its own name
    _check_room(file, target, FILE_ADD_SUBDIRECTORY if file.is_directory else FILE_ADD_FILE, replace, posix)
    cache = file.place.cache
    from_token = cache.prepare(directory)
    to_token = cache.prepare(new_directory)
    file.verify_entry(directory, source)
    if same_file and posix:
        return None  # rename(2) of one name of a file to another one does nothing
    if target.stat is None:
        try:
            rename(directory, source, new_directory, wanted, False)
        except FileExistsError as error:
            if replace:
                raise _Raced from error
            raise
    else:
        respelled = existing != wanted
        if respelled:
            rename(new_directory, existing, new_directory, wanted, False)
        try:
            if same_file:
                os.unlink(source, dir_fd=directory)  # the other name stays, with the new spelling
            else:
                _replace(directory, source, new_directory, wanted, target.stat)
        except BaseException:
            if respelled:
                _put_back(new_directory, wanted, existing)
            raise
        if respelled:
            cache.removed(to_token, new_directory, existing)
    cache.removed(from_token, directory, source)
    cache.added(to_token, new_directory, wanted)
    short = file.place.options.short
    if short is not None:
        cache.tunnel.remember(key_fd(directory), source, short)
    return wanted


def _replace(directory: int, source: bytes, new_directory: int, wanted: bytes, stat: Stat) -> None:
    try:
        rename(directory, source, new_directory, wanted, True)
    except FileExistsError as error:
        # Some file systems return EEXIST for a directory that has entries.
        if stat.mode & S_IFMT != S_IFDIR:
            raise
        raise NtStatusError(STATUS_DIRECTORY_NOT_EMPTY) from error


def _link(file: LocalEntry, target: _Target, replace: bool) -> None:
    """Link on the disk. Raises OSError, NtStatusError, _Raced."""
    _check_room(file, target, FILE_ADD_FILE, replace, False)
    directory = target.directory
    if target.stat is not None and (target.stat.dev, target.stat.ino) == file.key:
        return
    cache = file.place.cache
    token = cache.prepare(directory)
    if target.stat is not None:
        if not file.place.access.may_unlink(directory, stat_fd(file.fd), True):
            # In a sticky directory the user could not rename another user's file from the temporary name.
            raise NtStatusError(STATUS_ACCESS_DENIED, "the directory moves no file of somebody else")
        _link_over(file.fd, target)
        cache.removed(token, directory, target.existing)
    else:
        try:
            link_fd(file.fd, directory, target.wanted)
        except FileExistsError as error:
            if replace:
                raise _Raced from error
            raise
    cache.added(token, directory, target.wanted)


def _link_over(fd: int, target: _Target) -> None:
    """Make a link under a temporary name, then rename it over the target."""
    directory = target.directory
    temporary = _TEMPORARY + secrets.token_hex(8).encode()
    link_fd(fd, directory, temporary)
    respelled = False
    try:
        if target.existing != target.wanted:
            rename(directory, target.existing, directory, target.wanted, False)
            respelled = True
        rename(directory, temporary, directory, target.wanted, True)
    except BaseException:
        if respelled:
            _put_back(directory, target.wanted, target.existing)
        _remove(directory, temporary)
        raise


def _put_back(directory: int, name: bytes, old: bytes) -> None:
    try:
        rename(directory, name, directory, old, False)
    except OSError as error:
        logger.warning("%r keeps the name %r: %s", old, name, error.strerror)


def _remove(directory: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError as error:
        logger.warning("the link %r stays: %s", name, error.strerror)
