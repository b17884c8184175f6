# SPDX-License-Identifier: GPL-2.0-or-later
"""The rights that file operations of a thread have: fsuid, fsgid and supplementary groups.

A thread of a worker has the rights of a user while it acts for him (`assume`), those of the server for one operation
(`privileged`), and those of nobody between requests (`become_nobody`).

The system calls are made directly, because setgroups of libc changes all threads of the process. They are left out when
nothing changes. Leaving fsuid 0 drops the file-system capabilities (capabilities(7)), going back restores them. Without
the right to change them all operations run as the user of the server, and one warning says so: that is for a server
that is not root. One that is root and cannot change them would serve every user as root: `why_root_cannot` keeps it
from starting.
"""
from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from ksmbd.kernel.syscalls import last_error, number, system_call

log = logging.getLogger("ksmbd.vfs")


class Credentials(NamedTuple):
    """The user that file operations run as."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


_fs_call: Final = system_call(ctypes.c_long)
_groups_call: Final = system_call(ctypes.c_size_t, ctypes.c_void_p)
_SETFSUID: Final = number("setfsuid")
_SETFSGID: Final = number("setfsgid")
_SETGROUPS: Final = number("setgroups")

SERVER: Final = Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))
"""The credentials of the server itself."""
NOBODY: Final = Credentials(65534, 65534, ())
"""The credentials of a thread that acts for nobody: the overflow uid and gid of the kernel, and no groups."""


class _Current(threading.local):
    def __init__(self) -> None:
        # A new thread starts with the credentials of the thread that made it, which are not known here.
        self.credentials: Credentials | None = SERVER if threading.current_thread() is threading.main_thread() else None


_current: Final = _Current()
_arrays: dict[tuple[int, ...], ctypes.Array[ctypes.c_uint32]] = {}
_taken: set[tuple[int, int]] = set()
"""(uid, gid) pairs that the kernel is known to accept."""
_warned = False


def _takes_nobody(call: int) -> bool:
    """Whether setfsuid or setfsgid gives this thread another id; it is taken back."""
    before = int(_fs_call(call, -1))
    _fs_call(call, NOBODY.uid)
    changed = int(_fs_call(call, -1)) == NOBODY.uid
    _fs_call(call, before)
    return changed


def _can_impersonate() -> bool:
    if os.geteuid() != 0 or _SETFSUID is None or _SETFSGID is None or _SETGROUPS is None:
        return False
    return _takes_nobody(_SETFSUID)


POSSIBLE: Final = _can_impersonate()
"""Whether this process can act as other users."""


def why_root_cannot() -> str:
    """What keeps this process, which is root, from acting as other users; '' where nothing does, or where it is not
    root. Each call is tried on this thread and taken back."""
    if os.geteuid() != 0:
        return ""
    if _SETFSUID is None or _SETFSGID is None or _SETGROUPS is None:
        return "the system calls' numbers are not known for this machine"
    for name, call in (("setfsuid", _SETFSUID), ("setfsgid", _SETFSGID)):
        if not _takes_nobody(call):
            return f"{name} is refused"
    held = os.getgroups()
    if _groups_call(_SETGROUPS, len(held), (ctypes.c_uint32 * len(held))(*held)) < 0:
        return f"setgroups: {last_error('setgroups').strerror}"
    return "" if POSSIBLE else "it could not when it was loaded"


def assume(credentials: Credentials) -> None:
    """Give the file operations of this thread these rights from now on. Raises OSError where the kernel refuses."""
    current = _current.credentials
    if current is credentials or current == credentials:
        return
    if not POSSIBLE:
        _warn(credentials)
        return
    if current is None or current.groups != credentials.groups:
        groups = _arrays.get(credentials.groups)
        if groups is None:
            if len(_arrays) > 4096:
                _arrays.clear()
            groups = (ctypes.c_uint32 * len(credentials.groups))(*credentials.groups)
            _arrays[credentials.groups] = groups
        _current.credentials = None  # unknown until all three are set
        if _groups_call(_SETGROUPS, len(groups), groups) < 0:
            raise last_error("setgroups")
    _current.credentials = None
    _fs_call(_SETFSGID, credentials.gid)
    _fs_call(_SETFSUID, credentials.uid)
    # setfsuid and setfsgid report no error: they return what held before, so ask again, once a user: the kernel refuses
    # ids that this user namespace does not map, and those stay the same.
    who = (credentials.uid, credentials.gid)
    if who not in _taken:
        if (
            int(_fs_call(_SETFSUID, -1)) & 0xFFFFFFFF != credentials.uid
            or int(_fs_call(_SETFSGID, -1)) & 0xFFFFFFFF != credentials.gid
        ):
            raise PermissionError(1, "setfsuid")
        if len(_taken) > 4096:
            _taken.clear()
        _taken.add(who)
    _current.credentials = credentials


def as_server() -> None:
    """Give this thread the rights of the server itself."""
    assume(SERVER)


def become_nobody() -> None:
    """Give up all rights of this thread until the next `assume`. Without impersonation nothing changes."""
    if POSSIBLE and _current.credentials is not NOBODY:
        assume(NOBODY)


def become_nobody_if_root() -> None:
    """Give up the rights of this thread if it acts as root, or may do so. The rights of a user may stay until the
    thread sleeps; those of root may not."""
    now = _current.credentials
    if POSSIBLE and (now is None or now.uid == 0):
        assume(NOBODY)


def current() -> Credentials | None:
    """The credentials of this thread; None where they are unknown (a new thread)."""
    return _current.credentials


@contextmanager
def privileged(groups: tuple[int, ...] = SERVER.groups) -> Iterator[None]:
    """Run a block with the rights of the server, then restore the earlier ones, also after an exception; where these
    are unknown, the thread becomes nobody. `groups`: other supplementary groups than those of the server. Without
    impersonation nothing changes."""
    before = _current.credentials
    assume(SERVER if groups is SERVER.groups else Credentials(SERVER.uid, SERVER.gid, groups))
    try:
        yield
    finally:
        if before is not None:
            assume(before)
        else:
            become_nobody()


def _warn(credentials: Credentials) -> None:
    global _warned
    if not _warned and (credentials.uid, credentials.gid) != (SERVER.uid, SERVER.gid):
        _warned = True
        log.warning(
            "cannot act as other users (not root, or no CAP_SETUID and CAP_SETGID): all file operations run as uid %d",
            SERVER.uid,
        )
