# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the running daemon reload its files, after a tool has changed them."""

from __future__ import annotations

import signal
from collections.abc import Callable

from mountd.rundir import RunDirectory


def reload_daemon(rundir: RunDirectory, say: Callable[[str], None], verbose: bool) -> bool:
    """Send SIGHUP to the running ksmbd.mountd. Returns whether that worked. Problems are passed to `say`, and with
    `verbose` the outcome."""
    try:
        if rundir.notify(signal.SIGHUP):
            if verbose:
                say("the running ksmbd.mountd reads its files again")
            return True
    except PermissionError:
        say("not allowed to tell the running ksmbd.mountd; as its user: ksmbd.control --reload")
        return False
    if verbose:
        say(f"no ksmbd.mountd runs in {rundir.path}; the change counts from its next start")
    return False
