# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes which features of the kernel the file system code can use: name, whether on, the reason why not, and the
cost."""
from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from ksmbd.kernel import credentials, files, openat
from ksmbd.kernel.generations import generation
from ksmbd.kernel.stat import STATX_BTIME, stat_fd


class Feature(NamedTuple):
    """One line of `ksmbd.control --features`."""

    name: str
    on: bool
    why: str
    """Why it is off, and what that costs; '' where it is on."""


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _openat2(fd: int) -> str:
    return f"{openat.MISSING}: paths are walked component by component" if openat.MISSING else ""


def _impersonation(fd: int) -> str:
    return "" if credentials.POSSIBLE else "not root: all files are accessed as the server's user"


def _btime(fd: int) -> str:
    if stat_fd(fd).mask & STATX_BTIME:
        return ""
    return "no birth times here: creation times come from user.DOSATTRIB alone"


def _generation(fd: int) -> str:
    found = stat_fd(fd)
    if found.mask & STATX_BTIME or generation(fd, b"", found.dev):
        return ""
    return "neither birth times nor generations here: a file may get the FileId of one that was deleted"


def _cachestat(fd: int) -> str:
    if files.cached_pages(fd, 0, 4096) is None:
        return "needs Linux 6.5: what is cached is learnt by trying"
    return ""


def _nowait(fd: int) -> str:
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return ""
    except OSError as error:
        return f"{_reason(error)}: every read of a file may wait for its disk"
    return ""


def _getxattrat(fd: int) -> str:
    return "" if files.GETXATTRAT else "needs Linux 6.13: listings read attributes by way of /proc"


def _xattr(fd: int) -> str:
    try:
        os.setxattr(fd, "user.ksmbd-probe", b"1")
    except OSError as error:
        return f"{_reason(error)}: no DOS attributes, streams and EAs in this directory"
    return ""


def _clone(fd: int) -> str:
    try:
        # A range of the file onto itself is refused by what has reflinks too, but with another error.
        files.clone_range(fd, fd, 0, 1, 0)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY):
            return "no reflinks on this file system: DUPLICATE_EXTENTS is refused"
    return ""


_PROBES: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("openat2", _openat2),
    ("impersonation", _impersonation),
    ("statx-btime", _btime),
    ("file-ids", _generation),
    ("cachestat", _cachestat),
    ("rwf-nowait", _nowait),
    ("getxattrat", _getxattrat),
    ("user-xattr", _xattr),
    ("reflink", _clone),
)


def probe(directory: str) -> list[Feature]:
    """Probe the features with a temporary file in `directory`. Raises OSError where it cannot be made."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"probe")
        file.flush()
        result = []
        for name, call in _PROBES:
            why = call(file.fileno())
            result.append(Feature(name, not why, why))
        return result
