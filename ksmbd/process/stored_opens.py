# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the persistent opens of an earlier server fit to be served, before the first worker starts.

A child process reads them, because a damaged file can end whoever reads it. What no process can read is put aside, and
the server starts with the rest.
"""
from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Final

import lmdb

from ksmbd import log
from ksmbd.kernel.handles import is_gone
from ksmbd.oplock.state_rebuild import UNREADABLE, rebuild

SECONDS: Final = 30.0
"""How long the child may take. After that its work is left undone: the file system of a file may hang."""
PAUSE: Final = 0.02
MEMORY: Final = 512 << 20
"""Bytes that the child may use; LMDB's map does not count."""
ASIDE: Final = ".damaged"
"""What the folder's name gets as its end when it is put aside."""
_UNREADABLE: Final = 3
_FAILED: Final = 4


def mend(directory: Path) -> None:
    """Make the stored opens in `directory` anew, where there are any, with a line in the log for what was wrong with
    them."""
    if not (directory / "data.mdb").exists():
        return
    pid = os.fork()
    if pid == 0:
        os._exit(_child(directory))
    status = _wait(pid)
    if status in (0, _FAILED):
        return
    if status is None:
        log.warning(f"persistent opens: {directory} could not be looked through in {SECONDS:g} s")
        return
    aside = directory.with_name(directory.name + ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(directory, aside)
    log.error(f"persistent opens: {directory} cannot be read and is now {aside}; the opens in it end")


def _child(directory: Path) -> int:
    """What the child process does. Returns its exit status."""
    try:
        signal.set_wakeup_fd(-1)
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        done = rebuild(directory, is_gone)
    except lmdb.Error:
        return _UNREADABLE
    except OSError as error:
        log.warning(f"persistent opens: {directory} cannot be made anew: {error.strerror}")
        return _FAILED
    except BaseException as error:  # noqa: BLE001 - whatever damaged bytes have led to, the server starts
        log.warning(f"persistent opens: {type(error).__name__} in {directory}")
        return _UNREADABLE
    if done.unreadable:
        log.error(
            f"persistent opens: {done.unreadable} of {done.unreadable + done.kept} records cannot be read "
            f"({done.why}); they are in {directory / UNREADABLE}, their opens end"
        )
    if done.gone:
        log.info(f"persistent opens: {done.gone} files have been deleted; their opens end")
    return 0


def _wait(pid: int) -> int | None:
    """Wait for the child. Returns its exit status, negative for a signal; None: it took too long and was ended."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(PAUSE)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    # Not waited for: a process in a file system that hangs does not end before it.
    return None
