# SPDX-License-Identifier: GPL-2.0-or-later
"""Records which files have blocks reserved beyond their end, so that another worker can release them if this one dies.

Each worker has a file in the run directory with a line for each such file; it is empty while nothing is reserved. If it
cannot be written (a full run directory) or has grown too long, nothing is recorded: blocks then stay allocated, and no
request fails.
"""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from ksmbd import log
from ksmbd.kernel import credentials
from ksmbd.kernel.credentials import Credentials
from ksmbd.vfs.allocation import Reserved, reclaim

_PREFIX: Final = "reserved."
_LARGEST: Final = 1 << 20
"""Largest size of the record of one worker in bytes."""
BEFORE: Final = (0, 0)
"""(index, epoch) that stands for the workers of an earlier server."""


def _name(rundir: str, index: int, epoch: int) -> Path:
    return Path(rundir, f"{_PREFIX}{index}.{epoch}")


class Journal:
    """The record of one worker; it implements the port Reservations of vfs. Made with the rights of the server."""

    def __init__(self, rundir: str, index: int, epoch: int) -> None:
        self._path = _name(rundir, index, epoch)
        self._fd = -1
        self._held: dict[tuple[int, int], int] = {}
        self._size = 0
        try:
            self._fd = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning(f"{self._path}: {error.strerror}; blocks that are reserved when a worker dies stay allocated")

    def add(self, reserved: Reserved) -> None:
        """Record the blocks that an open has reserved."""
        held = self._held.get(reserved.key, 0)
        self._held[reserved.key] = held + 1
        if held or self._fd < 0 or self._size > _LARGEST:
            return
        line = _encode(reserved)
        try:
            self._size += os.write(self._fd, line)
        except OSError:
            pass  # the run directory is full

    def remove(self, key: tuple[int, int]) -> None:
        """Forget the reservation of an open that has ended."""
        held = self._held.pop(key, 0) - 1
        if held > 0:
            self._held[key] = held
        if not self._held and self._size:
            os.ftruncate(self._fd, 0)
            self._size = 0

    def close(self) -> None:
        """Remove the record, because the worker ends in order."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            _remove(self._path)


def after_death(rundir: str, index: int, epoch: int) -> None:
    """Release what the opens of a dead worker had reserved. Never raises."""
    path = _name(rundir, index, epoch)
    try:
        with credentials.privileged():
            data = path.read_bytes()
    except OSError:
        return
    for line in data.splitlines():
        try:
            reserved = _decode(line)
        except (ValueError, KeyError, TypeError):
            continue  # cut off where the run directory was full
        reclaim(reserved)
    _remove(path)


def gather(rundir: str) -> None:
    """Collect what dead workers of an earlier server left into the record of BEFORE; called before the first worker
    starts. Never raises."""
    try:
        left = sorted(Path(rundir).glob(f"{_PREFIX}*"))
        data = b"".join(path.read_bytes() for path in left)
        for path in left:
            path.unlink()
        if data:
            _name(rundir, *BEFORE).write_bytes(data)
    except OSError as error:
        log.warning(f"{rundir}: {error.strerror}; blocks that were reserved stay allocated")


def remove(rundir: str) -> None:
    """Remove all records, after the server has stopped."""
    for path in Path(rundir).glob(f"{_PREFIX}*"):
        _remove(path)


def _remove(path: Path) -> None:
    try:
        with credentials.privileged():
            path.unlink()
    except OSError:
        pass


def _encode(reserved: Reserved) -> bytes:
    user = reserved.user
    names = [name.hex() for name in reserved.names]
    return json.dumps([reserved.share, names, reserved.key, user.uid, user.gid, user.groups]).encode() + b"\n"


def _decode(line: bytes) -> Reserved:
    share, names, key, uid, gid, groups = json.loads(line)
    user = Credentials(int(uid), int(gid), tuple(map(int, groups)))
    return Reserved(str(share), tuple(map(bytes.fromhex, names)), (int(key[0]), int(key[1])), user)
