# SPDX-License-Identifier: GPL-2.0-or-later
"""Replaces files atomically: a reader sees the old or the new content, and a crash leaves one of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator


class FileProblem(Exception):
    """A file cannot be used. The message is one line that names the file and what to do."""


@contextlib.contextmanager
def locked_directory(path: str, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock (flock) on the directory of `path`, so that no other writer changes its files. Raises
    OSError, BlockingIOError where another writer has it and `wait` is not set."""
    folder = os.path.dirname(os.path.realpath(path))
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def replace(path: str, content: bytes, *, mode: int) -> None:
    """Replace the content of `path`; it is on the disk on return.

    An existing file keeps its mode, owner and group; a new one gets `mode`, whatever the umask. A symbolic link is
    followed. Raises OSError.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            try:
                old = os.stat(target)
            except FileNotFoundError:
                os.fchmod(descriptor, mode)
            else:
                os.fchmod(descriptor, old.st_mode & 0o7777)
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                    os.fchmod(descriptor, old.st_mode & 0o7777)  # chown may have cleared bits
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)
