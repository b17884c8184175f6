# SPDX-License-Identifier: GPL-2.0-or-later
"""A process that gives up its rights for good, before it reads what strangers send.

In the order in which one step still has the right for the next: no network and no file system, no capabilities, another
user without groups, limits, nobody who looks into it, and a list of system calls at the end (ksmbd/kernel/seccomp.py).
Each step is tried; what could not be done is told, and the others hold all the same.
"""
from __future__ import annotations

import ctypes
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ksmbd.kernel import capabilities, prctl, seccomp
from ksmbd.kernel.syscalls import check, function

_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWNET: Final = 0x40000000

_unshare: Final = function("unshare", ctypes.c_int)


@dataclass(frozen=True)
class Bounds:
    """What a confined process may use. `memory`: bytes beyond what is mapped now; `cpu`: seconds in all; `files`: how
    many it may have open; `root`: its root directory, '' for an empty one."""

    uid: int
    gid: int
    memory: int
    cpu: int
    calls: frozenset[str] = seccomp.SERVICE_CALLS
    files: int = 0
    root: str = ""


def end_with(parent: int) -> None:
    """The kernel kills this process when its parent `parent` ends. It forgets that when the user changes: call behind
    `confine`'s or again. ProcessLookupError: it has ended already."""
    prctl.signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(parent)


def confine(bounds: Bounds, parent: int) -> list[str]:
    """Give up what `bounds` does not name; what could not be given up, a line each with what that means.

    Everything must be imported and opened before: afterwards no file can be opened but those of `root`. Before threads
    start.
    ProcessLookupError: the parent has ended."""
    missing: list[str] = []

    def attempt(what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            missing.append(f"{what} ({error.strerror or error})")

    mapped = _mapped()
    if os.geteuid() == 0:
        attempt("a network of its own", _leave_network)
        attempt("an empty root directory", lambda: _leave_files(bounds.root))
        attempt("an empty bounding set of capabilities", lambda: capabilities.limit_bounding_set(0))
        attempt(f"the user {bounds.uid}", lambda: _become(bounds.uid, bounds.gid))
    else:
        missing.append("a user of its own (not started as root)")
    attempt("no capabilities", lambda: capabilities.keep(0))
    attempt("limits", lambda: _limit(bounds, mapped))
    end_with(parent)
    attempt("a memory that nobody looks into", prctl.forbid_inspection)
    attempt("no new privileges", prctl.forbid_new_privileges)
    attempt("a list of system calls", lambda: seccomp.keep_only(bounds.calls))
    return missing


def _mapped() -> int:
    """Bytes of this process's address space; 0 where /proc is not there."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _leave_network() -> None:
    check(_unshare(_CLONE_NEWNET | _CLONE_NEWIPC))


def _leave_files(root: str) -> None:
    """The root directory becomes `root`, or one that is removed already: it is empty, and nothing can be made in it."""
    if root:
        os.chdir(root)
        os.chroot(".")
        return
    path = tempfile.mkdtemp(prefix="ksmbd-")
    try:
        os.chmod(path, 0o500)
        os.chdir(path)
    finally:
        os.rmdir(path)
    os.chroot(".")


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _limit(bounds: Bounds, mapped: int) -> None:
    limits: Iterable[tuple[int, int]] = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, bounds.files),  # what is open stays open
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_CPU, bounds.cpu),
        *(((resource.RLIMIT_AS, mapped + bounds.memory),) if mapped else ()),
    )
    for kind, value in limits:
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
