# SPDX-License-Identifier: GPL-2.0-or-later
"""Chooses and prepares the store of the open table: a dict with one worker, LMDB in the run directory with several, and
the state directory for persistent opens.

Before it forks, the forker prepares an empty store and adds the persistent opens that an earlier server left. Each
worker opens the store for itself, because an LMDB environment must not be used across a fork.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ksmbd import log
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel.leases import break_time
from ksmbd.oplock.handed_on import Kept
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.state import StateDirectory
from ksmbd.oplock.store import Store, StoreError
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.store_lmdb import LmdbStore, environments_for
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.process.handing_on import take
from ksmbd.process.stored_opens import mend
from ksmbd.smb.constants import FILETIME_UNIX_EPOCH

FOLDER: Final = "opens"
"""The name of the folder: in the run directory the store, in the state directory the persistent opens."""
FIRST_WORKER: Final = (1, 1)
"""(index, epoch) of the worker that owns the recovered persistent opens until their clients return."""


def oplock_settings(settings: EngineSettings) -> OplockSettings:
    """The settings of oplock, from [global]; `oplocks` is a parameter of shares."""
    return OplockSettings(
        leases=settings.smb2_leases,
        directory_leases=settings.smb2_leases,
        durable=settings.durable_handles,
        # The rest of the time that the kernel waits is for the messages to the client and back.
        lease_break_time=max(1.0, break_time() - 2.0),
    )


def open_state(settings: EngineSettings, statedir: str) -> StateDirectory | None:
    """The directory of persistent opens, None where no share has any. Raises StoreError."""
    if not settings.continuous_availability:
        return None
    return StateDirectory(Path(statedir) / FOLDER)


class StoreGone(Exception):
    """The shared store has been removed from the run directory or cannot be opened; the text says why."""


def open_store(settings: EngineSettings, rundir: str) -> Store:
    """Open the store of a worker. Raises StoreGone: a worker with a store of its own would grant what others have
    granted already."""
    if settings.workers < 2:
        return DictStore()
    try:
        return LmdbStore(Path(rundir) / FOLDER)
    except StoreError as error:
        raise StoreGone(f"the table of open files in {rundir} cannot be shared: {error.detail}") from error


def prepare(settings: EngineSettings, rundir: str, statedir: str) -> list[Kept]:
    """Empty the store of several workers, add the persistent opens and those that the last server handed on, and close
    it again, before the first worker starts. A single worker does this itself, since its store is in its memory:
    returns what was handed on to it. Raises StoreError.

    A process of its own does it: the memory that LMDB leaves behind would be the forker's, and LMDB fills it with zeros
    again in each worker, 2 MiB."""
    if settings.continuous_availability:
        mend(Path(statedir) / FOLDER)
    kept = take(statedir)
    if settings.workers < 2:
        return kept
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            _prepare(settings, rundir, statedir, kept)
            status = 0
        except StoreError as error:
            os.write(writer, error.detail.encode("utf-8", "replace"))
        except BaseException as error:  # noqa: BLE001 - this process must not return into the forker's code
            log.exception("the table of open files", error)
            os.write(writer, f"unexpected {type(error).__name__}".encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as stream:
        said = stream.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if status:
        raise StoreError(said or f"its preparation ended with status {os.waitstatus_to_exitcode(status)}")
    return []


def _prepare(settings: EngineSettings, rundir: str, statedir: str, kept: list[Kept]) -> None:
    store = LmdbStore(Path(rundir) / FOLDER, fresh=True, environments=environments_for(settings.workers))
    state = open_state(settings, statedir)
    try:
        if state is not None or kept:
            table = LocalOpenTable(store, _NoTimers(), oplock_settings(settings), *FIRST_WORKER, state)
            table.adopt_persistent()
            table.adopt(kept)
    finally:
        if state is not None:
            state.close()
        store.close()


def remove(rundir: str) -> None:
    """Remove the store, after the server has stopped."""
    shutil.rmtree(Path(rundir) / FOLDER, ignore_errors=True)


class _NoTimers:
    """A clock without timers for the forker; the first worker sets the timers of all deadlines."""

    def monotonic(self) -> float:
        return time.monotonic()

    def filetime(self) -> int:
        return time.time_ns() // 100 + FILETIME_UNIX_EPOCH

    def call_later(self, seconds: float, call: Callable[[], None]) -> _NoTimers:
        return self

    def cancel(self) -> None:
        """There is no timer."""
