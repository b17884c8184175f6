# SPDX-License-Identifier: GPL-2.0-or-later
"""Resolves a client's path to (directory descriptor, name on disk), without ever leaving the share's root.

The fast path is one openat2(2) of the parent directory below the root, by the exact names. Where that fails (a name in
another case, an absolute link, a path longer than PATH_MAX, a kernel without openat2), the path is walked component by
component, with O_NOFOLLOW descriptors on a stack. `..` in a link's target pops the stack and cannot go above the root.
An absolute target is resolved again from the root if it lies in the share, and refused otherwise.

The last component is never followed by the walk; `follow` does that.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from ksmbd.kernel import credentials, descriptors, openat
from ksmbd.kernel.credentials import Credentials
from ksmbd.kernel.openat import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)
from ksmbd.kernel.stat import S_IFDIR, S_IFLNK, S_IFMT, Stat, find_at, key_fd, stat_at, stat_fd
from ksmbd.kernel.syscalls import O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_OBJECT_PATH_NOT_FOUND, NtStatusError
from ksmbd.vfs.directory_cache import DirectoryCache
from ksmbd.vfs.errors import to_status
from ksmbd.vfs.names import Folder, to_client, to_disk
from ksmbd.vfs.options import ShareOptions

_DIRECTORY: Final = O_PATH | O_DIRECTORY
_ENTRY: Final = O_PATH | O_NOFOLLOW
_PATH_MAX: Final = 4095
"""Bytes of a path, without the NUL at its end."""
_LINKS: Final = 40
"""Links followed in one path, as in the kernel."""


def _escape() -> OSError:
    """The error for a symbolic link that leads out of the share."""
    return OSError(errno.EXDEV, "link out of the share")


class Resolver:
    """Resolves paths below one root directory, as one user."""

    __slots__ = ("_cache", "_crossmnt", "_exact", "_follow", "_quick", "_resolve", "_root", "_root_path", "_short",
                 "_step_flags", "_user", "_veto", "_wide", "longest", "root_stat", "whole_paths")  # fmt: skip

    def __init__(
        self,
        root: int,
        user: Credentials,
        cache: DirectoryCache,
        options: ShareOptions,
        quick: bool = not openat.MISSING,
    ) -> None:
        follow_symlinks, wide_links = options.follow_symlinks, options.wide_links
        crossmnt, veto = options.crossmnt, options.veto
        self._root = root
        self._user = user
        self.root_stat = stat_fd(self.root)
        self._cache = cache
        self._follow = follow_symlinks
        self._wide = wide_links
        self._crossmnt = crossmnt
        self._veto = veto
        self._quick = quick
        self._exact = options.exact
        self._short = options.short
        self._resolve = RESOLVE_NO_MAGICLINKS | (0 if crossmnt else RESOLVE_NO_XDEV)
        self._step_flags = self._resolve | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        if not wide_links:
            self._resolve |= RESOLVE_BENEATH | (0 if follow_symlinks else RESOLVE_NO_SYMLINKS)
        self.whole_paths = quick and crossmnt and not veto
        """Whether what `open_whole` opens is what `folder` and `look_up` find."""
        self._root_path = os.readlink(descriptors.path(self.root)).encode("utf-8", "surrogateescape").rstrip(b"/")
        self.longest = _PATH_MAX - 1 - len(self._root_path)
        """Bytes of the longest path below the root for which /proc can show a name (`path_of`)."""

    # ------------------------------------------------------------------------------------------------ public

    @property
    def root(self) -> int:
        """O_PATH descriptor of the share's root, -1 once it is closed. Reading this property makes the calling thread
        act as the session's user."""
        credentials.assume(self._user)
        return self._root

    def close(self) -> None:
        """Close the share's root. Idempotent."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def check_length(self, disk: Sequence[bytes]) -> None:
        """Raise STATUS_OBJECT_PATH_NOT_FOUND where the path of these names is longer than PATH_MAX: a file there could
        be neither renamed nor deleted."""
        if sum(map(len, disk)) + len(disk) - 1 > self.longest:
            raise NtStatusError(STATUS_OBJECT_PATH_NOT_FOUND, "a path longer than PATH_MAX")

    def parent(self, components: Sequence[str], posix: bool = False) -> tuple[int, list[str]]:
        """Open the directory that `components` name. Returns (descriptor, components as the disk spells them); the
        caller passes the descriptor to `release`.

        Raises STATUS_OBJECT_PATH_NOT_FOUND where a component is missing or no directory, STATUS_ACCESS_DENIED."""
        if not components:
            return self.root, []
        disk = b"/".join([to_disk(component, posix) for component in components])
        directory, spelled = self.folder(Folder(tuple(components), (), disk), posix)
        return directory, list(spelled)

    def folder(self, folder: Folder, posix: bool) -> tuple[int, tuple[str, ...]]:
        """As `parent`, for a directory that is not the root. Where the disk spells the components as the client does,
        `folder.components` itself is returned."""
        components = folder.components
        if len(folder.joined) > self.longest:
            raise NtStatusError(STATUS_OBJECT_PATH_NOT_FOUND, "a path longer than PATH_MAX")
        if self._veto and any(map(self._veto.match, components)):
            raise NtStatusError(STATUS_OBJECT_PATH_NOT_FOUND, "veto files")
        if self._quick:
            try:
                return openat2(self.root, folder.joined, _DIRECTORY, 0, self._resolve), components
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EXDEV, errno.ENAMETOOLONG, errno.ELOOP):
                    raise _path_error(error) from error
        stack: list[int] = []
        try:
            spelled = self._walk(stack, components, posix)
            if not stack:  # a link led back to the root
                return self.root, tuple(spelled)
            return stack.pop(), tuple(spelled)
        except OSError as error:
            raise _path_error(error) from error
        finally:
            for fd in stack:
                os.close(fd)

    def open_whole(self, root: int, path: bytes, flags: int) -> int:
        """Open an entry by its path below `root`, which the caller has just read from this resolver, by the exact names
        on disk, following no link in its last component. Only with `whole_paths`. Raises OSError."""
        return openat2(root, path, flags, 0, self._resolve)

    def release(self, directory: int) -> None:
        """Close a descriptor that `parent`, `folder`, `follow` or `open_parent` returned, unless it is the root."""
        if directory != self.root:
            os.close(directory)

    def find(self, directory: int, name: str, posix: bool = False) -> tuple[bytes, Stat | None]:
        """Look up an entry: (name on disk, Stat). The Stat is None where it does not exist. Without `posix`, a name in
        another case is found, too. Raises NtStatusError."""
        return self.look_up(directory, name, to_disk(name, posix), posix)

    def look_up(self, directory: int, name: str, disk: bytes, posix: bool) -> tuple[bytes, Stat | None]:
        """As `find`; `disk` is `name` encoded for the disk."""
        if self._veto.match(name):
            return disk, None
        try:
            stat = find_at(directory, disk)
        except OSError as error:
            raise to_status(error) from error
        if stat is not None:
            return disk, stat if self._crossmnt else self._checked(stat)
        if posix:
            literal, stat = _literal(directory, name, disk)
            return literal, stat if stat is None or self._crossmnt else self._checked(stat)
        for again in (True, False):
            try:
                other = self._by_other_name(directory, name)
                if other is None:
                    return self._before(directory, name) or disk, None
                return other, self._checked(stat_at(directory, other))
            except FileNotFoundError:
                if not again:  # nor was this told to the cache
                    self._cache.forget(directory)
            except PermissionError:
                return disk, None  # a directory that the user may search but not list
            except OSError as error:
                raise to_status(error) from error
        return disk, None

    def follow(self, directory: int, name: bytes) -> tuple[int, bytes, Stat | None] | None:
        """Follow a symbolic link, the entry `name`: (directory for `release`, name, Stat). The Stat is None where the
        target does not exist.

        Returns None where this share does not follow links, or not this one (it leads outside or to another mount, or
        through too many links)."""
        if not self._follow:
            return None
        if self._wide:
            return self._follow_anywhere(directory, name)
        try:
            stack = self._stack_of(directory)
        except OSError:
            return None
        try:
            budget = [_LINKS]
            while True:
                target = os.readlink(name, dir_fd=stack[-1] if stack else self.root)
                last = self._descend_target(stack, target, budget)
                top = stack[-1] if stack else self.root
                try:
                    stat = self._checked(stat_at(top, last))
                except FileNotFoundError:
                    stat = None
                except NtStatusError:
                    return None
                if stat is None or stat.mode & S_IFMT != S_IFLNK:
                    return (stack.pop() if stack else self.root), last, stat
                name = last
        except OSError:
            return None
        finally:
            for fd in stack:
                os.close(fd)

    def path_of(self, fd: int) -> list[bytes] | None:
        """The current names on disk from the root to an open file; None where it is deleted or outside the share."""
        try:
            path = os.readlink(descriptors.path(fd)).encode("utf-8", "surrogateescape")
        except OSError:
            return None
        prefix = self._root_path + b"/"
        if not path.startswith(prefix):
            return [] if path == (self._root_path or b"/") else None
        return path[len(prefix) :].split(b"/")

    def open_parent(self, names: Sequence[bytes]) -> int:
        """Open the directory with these exact names on disk. The path may be longer than PATH_MAX, because a directory
        above an open file may have been renamed to a longer name. Raises OSError."""
        if not names:
            return self.root
        if self._quick:
            try:
                return openat2(self.root, b"/".join(names), _DIRECTORY, 0, self._resolve)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
        stack: list[int] = []
        try:
            self._descend(stack, list(names), [_LINKS])
            return stack.pop() if stack else self.root
        finally:
            for fd in stack:
                os.close(fd)

    # ------------------------------------------------------------------------------------------------ the walk

    def _before(self, directory: int, name: str) -> bytes | None:
        """The name that an entry had which had this short name, and was removed or renamed just now."""
        short = self._short
        if short is None or not short.may_be(name):
            return None
        found = self._cache.tunnel.recall(key_fd(directory), name)
        return None if found is not None and self._veto.match(to_client(found)) else found

    def _spelled_out(self, directory: int, name: str) -> bytes | None:
        """The entry whose name on disk has the private-use characters of `name` themselves. Raises OSError."""
        literal = _spelled(name, to_disk(name))
        return literal if literal is not None and find_at(directory, literal) is not None else None

    def _by_other_name(self, directory: int, name: str) -> bytes | None:
        """The entry that has the name in another case, or as its short name. Raises OSError; Unfinished."""
        found = self._spelled_out(directory, name) if self._exact else self._cache.find(directory, name)
        short = self._short
        if found is None and short is not None and short.may_be(name):
            found = self._cache.find_short(directory, name, short)
            if found is not None and self._veto.match(to_client(found)):
                return None
        return found

    def _checked(self, stat: Stat) -> Stat:
        if not self._crossmnt and (stat.mnt_id != self.root_stat.mnt_id or stat.dev != self.root_stat.dev):
            raise NtStatusError(STATUS_ACCESS_DENIED, "another file system, and crossmnt is off")
        return stat

    def _step(self, directory: int, name: bytes) -> int:
        """Open one entry with O_PATH, without following a link. Raises OSError."""
        if self._quick:
            return openat2(directory, name, _ENTRY, 0, self._step_flags)
        fd = os.open(name, _ENTRY | O_CLOEXEC, dir_fd=directory)
        if not self._crossmnt:
            stat = stat_fd(fd)
            if stat.mnt_id != self.root_stat.mnt_id or stat.dev != self.root_stat.dev:
                os.close(fd)
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return fd

    def _walk(self, stack: list[int], components: Sequence[str], posix: bool) -> list[str]:
        """Push the directories of `components` on the stack. Returns the components as the disk spells them."""
        spelled = []
        budget = [_LINKS]
        for component in components:
            top = stack[-1] if stack else self.root
            disk = to_disk(component, posix)
            try:
                fd = self._step(top, disk)
                spelled.append(component)
            except FileNotFoundError:
                other = _spelled(component, disk) if posix else self._by_other_name(top, component)
                if other is None:
                    raise
                fd = self._step(top, disk := other)
                spelled.append(to_client(other))
            self._enter(stack, disk, fd, budget)
        return spelled

    def _enter(self, stack: list[int], name: bytes, fd: int, budget: list[int]) -> None:
        """Push `fd`, the entry `name` of the top directory; if it is a symbolic link, push its target instead."""
        kind = stat_fd(fd).mode & S_IFMT
        if kind == S_IFDIR:
            stack.append(fd)
            return
        try:
            # From the descriptor: the entry may be something else by now.
            target = os.readlink(b"", dir_fd=fd) if kind == S_IFLNK else b""
        finally:
            os.close(fd)
        if kind != S_IFLNK:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not self._follow:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if self._wide:
            top = stack[-1] if stack else self.root
            stack.append(openat2(top, name, _DIRECTORY, 0, RESOLVE_NO_MAGICLINKS))
            return
        last = self._descend_target(stack, target, budget)
        self._descend(stack, [last], budget)

    def _descend(self, stack: list[int], names: list[bytes], budget: list[int]) -> None:
        """Push the directories with these exact names on disk, following links."""
        for name in names:
            if name in (b"", b"."):
                continue
            if name == b"..":
                if not stack:
                    raise _escape()
                os.close(stack.pop())
                continue
            top = stack[-1] if stack else self.root
            self._enter(stack, name, self._step(top, name), budget)

    def _descend_target(self, stack: list[int], target: bytes, budget: list[int]) -> bytes:
        """Push the directories of a link's target except the last component, and return that ('.' where the target
        ends in `..` or is the root)."""
        budget[0] -= 1
        if budget[0] < 0:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            target = os.path.normpath(target) if b"//" in target or b"/./" in target else target
            if target != self._root_path and not target.startswith(self._root_path + b"/"):
                raise _escape()
            target = target[len(self._root_path) + 1 :]
            while stack:
                os.close(stack.pop())
        names = target.split(b"/")
        while names and names[-1] in (b"", b"."):
            names.pop()
        if not names or names[-1] == b"..":
            self._descend(stack, names, budget)
            return b"."
        self._descend(stack, names[:-1], budget)
        return names[-1]

    def _stack_of(self, directory: int) -> list[int]:
        """Descriptors from below the root to `directory`, so that `..` can be resolved from there."""
        if directory == self.root:
            return []
        names = self.path_of(directory)
        if names is None:
            raise _escape()
        stack: list[int] = []
        try:
            self._descend(stack, names, [0])
        except OSError:
            for fd in stack:
                os.close(fd)
            raise
        return stack

    def _follow_anywhere(self, directory: int, name: bytes) -> tuple[int, bytes, Stat | None] | None:
        """As `follow`, with `wide links`: the target may be anywhere, but not behind a magic link of /proc."""
        try:
            if not self._is_ordinary_link(directory, name):
                return None
            top = openat2(directory, b".", _DIRECTORY, 0, RESOLVE_NO_MAGICLINKS)
        except OSError:
            return None
        try:
            for _ in range(_LINKS):
                target = os.readlink(name, dir_fd=top)
                head, slash, last = target.rstrip(b"/").rpartition(b"/")
                if last in (b"", b".", b".."):
                    head, last = target, b"."
                above = openat2(top, head or (b"/" if slash else b"."), _DIRECTORY, 0, RESOLVE_NO_MAGICLINKS)
                os.close(top)
                top, name = above, last
                stat = find_at(top, name)
                if stat is None or stat.mode & S_IFMT != S_IFLNK:
                    found, top = top, -1
                    return found, name, stat
                if not self._is_ordinary_link(top, name):
                    return None
            return None
        except OSError:
            return None
        finally:
            if top >= 0:
                os.close(top)

    def _is_ordinary_link(self, directory: int, name: bytes) -> bool:
        """Whether a symbolic link is no magic link of /proc and leads through none. Raises OSError."""
        try:
            os.close(openat2(directory, name, O_PATH, 0, RESOLVE_NO_MAGICLINKS))
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return False
        return True


def _spelled(name: str, disk: bytes) -> bytes | None:
    """`name` encoded without mapping its private-use characters; None where that equals `disk`."""
    literal = name.encode("utf-8", "surrogatepass")
    return literal if literal != disk else None


def _literal(directory: int, name: str, disk: bytes) -> tuple[bytes, Stat | None]:
    """Look up a name that has private-use characters literally on disk, as other servers write them. Called where the
    mapped name `disk` does not exist. Returns (`disk`, None) where there is no such entry either."""
    literal = _spelled(name, disk)
    if literal is not None:
        try:
            stat = find_at(directory, literal)
        except OSError as error:
            raise to_status(error) from error
        if stat is not None:
            return literal, stat
    return disk, None


def _path_error(error: OSError) -> NtStatusError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return NtStatusError(STATUS_ACCESS_DENIED, error.strerror or "")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.ESTALE):
        return NtStatusError(STATUS_OBJECT_PATH_NOT_FOUND, error.strerror or "")
    return to_status(error)
