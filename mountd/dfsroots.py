# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the links of DFS roots (`msdfs root`) for the RPC service netdfs: symbolic links to `msdfs:server\\share` in a
share's folder, read with the rights of the user who asks, in a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from ksmbd import limits, log
from ksmbd.ipc.constants import TreeStatus, UserFlag
from ksmbd.smb import dfs
from ksmbd.smb.constants import FILE_READ_DATA
from mountd import sharesecurity
from mountd.login import UserView
from mountd.lookup_threads import LookupThreads
from mountd.loop import Loop, Timer
from mountd.rpc.names import DfsLink, Links
from mountd.sharesecurity import ShareSecurity, obeyed
from mountd.sharing import TreeRequest, decide_tree_connect, forced_ids

THREADS: Final = 1
_FOLDER: Final = os.O_DIRECTORY | os.O_CLOEXEC


class ServerView(UserView, sharesecurity.ServerView, Protocol):
    """The parts of the daemon that decide who may use a share."""

    @property
    def share_security(self) -> ShareSecurity: ...


class Who(NamedTuple):
    """As whom it is looked."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class Query(NamedTuple):
    """What is looked for: all links in the folder of a root, or the one that `parts` lead to."""

    folder: str
    parts: tuple[str, ...]
    who: Who


def query(server: ServerView, path: str, account: str, address: str) -> Query | None:
    """The query for a path like `share\\folder\\link`. None: the user may not use the share, or it is no root."""
    name, *parts = path.split("\\")
    share = server.configuration.share(name)
    if share is None or not share.msdfs_root or not server.configuration.settings.host_msdfs:
        return None
    request = TreeRequest(account, UserFlag(0), share.name, address)
    answer = decide_tree_connect(request, server.configuration, server.accounts, server.users, -1)
    answer = obeyed(answer, request, server, server.share_security)
    if answer.status is not TreeStatus.OK or answer.withheld & FILE_READ_DATA:
        return None
    forced = forced_ids(share, server.users)
    unix = server.users.user(share.force_user or account)
    if unix is None or forced.problem:
        return None
    gid = unix.gid if forced.gid is None else forced.gid
    return Query(share.full_path(server.configuration.settings), tuple(parts), Who(unix.uid, gid, unix.groups))


def find(asked: Query) -> Links:
    """The links of a query: none where the folder is not there or the user may not read it."""
    # Not at the top: it tries at once to act as another user, after which the kernel tells the main thread no longer of
    # the end of its parent (PR_SET_PDEATHSIG of prctl(2)), by which `make serve` ends the daemon.
    from ksmbd.kernel import credentials

    try:
        credentials.assume(credentials.Credentials(*asked.who))
        return _leads(asked.folder, asked.parts) if asked.parts else _in_folder(asked.folder)
    except (OSError, UnicodeError):
        return Links(())
    finally:
        credentials.become_nobody()


@contextmanager
def _opened(name: str, flags: int, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, flags | _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _targets(name: str, folder: int) -> tuple[str, ...]:
    try:
        return dfs.link_targets(os.readlink(name, dir_fd=folder))
    except OSError:
        return ()


def _entries(folder: int) -> Iterator[os.DirEntry[str]]:
    """The entries of an open folder, as many as are looked at."""
    with os.scandir(folder) as found:
        for _, entry in zip(range(limits.DFS_ENTRIES.value), found, strict=False):
            yield entry


def _in_folder(path: str) -> Links:
    found: list[DfsLink] = []
    with _opened(path, os.O_RDONLY) as folder:
        for entry in _entries(folder):
            if entry.is_symlink() and (targets := _targets(entry.name, folder)):
                found.append(DfsLink(entry.name, targets))
                if len(found) == limits.DFS_LINKS.value:
                    break
    return Links(tuple(sorted(found)))


def _leads(path: str, parts: tuple[str, ...]) -> Links:
    """The link that a path below a root leads to. No other symbolic link is followed, and none below a link of DFS."""
    name, *more = parts
    with _opened(path, os.O_PATH) as top:
        folder = os.dup(top)
        try:
            while more:
                following = os.open(_spelled(name, folder), os.O_PATH | os.O_NOFOLLOW | _FOLDER, dir_fd=folder)
                os.close(folder)
                folder, (name, *more) = following, more
            name = _spelled(name, folder)
            targets = _targets(name, folder)
        finally:
            os.close(folder)
    return Links((DfsLink(name, targets),) if targets else ())


def _spelled(name: str, folder: int) -> str:
    """The name of an entry as it is on the disk: case does not count. Raises OSError."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise FileNotFoundError(name)
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return name
    except FileNotFoundError:
        pass
    with _opened(".", os.O_RDONLY, folder) as listed:
        for entry in _entries(listed):
            if entry.name.casefold() == name.casefold():
                return entry.name
    raise FileNotFoundError(name)


class DirectRoots:
    """Looks at once, in the caller's thread, and restores its rights."""

    def find(self, asked: Query, then: Callable[[Links], None]) -> bool:
        """Call `then` with the links, now or later. False: too many wait."""
        from ksmbd.kernel import credentials

        try:
            found = find(asked)
        finally:
            credentials.as_server()
        then(found)
        return True


class _Job(NamedTuple):
    number: int
    asked: Query


class DfsRoots:
    """Looks in a thread. What has no answer after LOOKUP_SECONDS counts as none."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[Callable[[Links], None], Timer]] = {}
        self._next = 0
        self._threads: LookupThreads[_Job, Links] = LookupThreads(
            loop, lambda job: find(job.asked), self._done, THREADS
        )

    def __len__(self) -> int:
        """The number of callers that wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Stop the thread."""
        self._threads.close()

    def find(self, asked: Query, then: Callable[[Links], None]) -> bool:
        """See DirectRoots.find."""
        if len(self._waiting) >= limits.LOOKUPS.value:
            return False
        self._next += 1
        job = _Job(self._next, asked)
        timer = self._loop.call_later(limits.LOOKUP_SECONDS.value, lambda: self._done(job, None, "no answer in time"))
        self._waiting[job.number] = then, timer
        self._threads.start(job)
        return True

    def _done(self, job: _Job, found: Links | None, why: str) -> None:
        entry = self._waiting.pop(job.number, None)
        if entry is None:
            return
        if why:
            log.peer(f"the links of {job.asked.folder} cannot be read: {why}")
        then, timer = entry
        timer.cancel()
        then(found if found is not None else Links(()))
