# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps durable opens over an orderly restart of the server: each worker writes those that it has kept to a file of the
state directory as it ends, and the next server reads and removes the files before it listens."""
from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import Final

from ksmbd import log
from ksmbd.kernel import credentials
from ksmbd.kernel.handles import is_gone
from ksmbd.oplock.handed_on import Kept, decode, encode, gather
from ksmbd.oplock.record import WorkerTag
from ksmbd.oplock.state_records import Unreadable
from ksmbd.oplock.store import Store, StoreError
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH
from ksmbd.smb.model import Server
from ksmbd.smb.status import NtStatusError

NAME: Final = "handed-on."
"""The name of a worker's file; its index follows."""
SECONDS: Final = 5.0
"""How long the look after the files may take; a file system of theirs may hang."""


def _now() -> int:
    return time.time_ns() // 100 + FILETIME_UNIX_EPOCH


def leave(statedir: str, store: Store, me: WorkerTag, server: Server) -> None:
    """Write the durable opens that this worker has kept, as it ends. Never raises."""

    def handle_of(open_id: int) -> bytes:
        open_ = server.opens.get(open_id)
        if open_ is None or open_.file is None or open_.closed:
            return b""
        try:
            return open_.file.handle()
        except (NtStatusError, OSError):
            return b""

    try:
        kept = list(gather(store, me, handle_of))
        if kept:
            with credentials.privileged():
                _write(Path(statedir) / f"{NAME}{me[0]}", encode(kept, _now()))
    except (OSError, StoreError) as error:
        log.warning(f"durable opens are not kept over the restart: {error}")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
    os.replace(new, path)


def take(statedir: str) -> list[Kept]:
    """What the workers of the last server have left, and remove it, so that it counts once. Opens whose time is over or
    whose files exist no longer are left out. Never raises."""
    found: list[Kept] = []
    with contextlib.suppress(OSError):
        for path in sorted(Path(statedir).glob(NAME + "*")):
            data = path.read_bytes()
            path.unlink()
            try:
                found += decode(data, _now())
            except Unreadable as error:
                log.warning(f"durable opens: {path} cannot be read ({error}); they end")
    return _there(found) if found else []


def _there(kept: list[Kept]) -> list[Kept]:
    """Those whose files still exist; none where that takes too long."""
    there: list[Kept] = []

    def look() -> None:
        found = [
            (file, adopt) for file, adopt in kept
            if not any(entry.handle and is_gone(file, entry.handle) for entry in adopt.opens)
        ]  # fmt: skip
        there.extend(found)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if thread.is_alive():
        log.warning("durable opens: their file system does not answer; they end")
        return []
    return there
