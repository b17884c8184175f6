# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the list of shares on SIGUSR1: one JSON document, through a FIFO in the run directory (`ksmbd.control -l`)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select

from mountd.config import Configuration
from mountd.rundir import RunDirectory


def encode_shares(configuration: Configuration) -> bytes:
    """The shares, IPC$ included, with their main parameters, as JSON."""
    shares = [
        {
            "name": share.name,
            "path": share.full_path(configuration.settings) if share.path else "",
            "comment": share.comment,
            "browseable": share.browseable,
            "read_only": share.read_only,
            "guest_ok": share.guest_ok,
        }
        for _, share in sorted(configuration.shares.items())
    ]
    return json.dumps({"shares": shares}).encode() + b"\n"


def answer(rundir: RunDirectory, configuration: Configuration) -> None:
    """Write the list into the FIFO that the requesting process has created and opened.

    The daemon's main process calls this after SIGUSR1. It waits at most a second for a reader that does not read.
    Raises OSError.
    """
    try:
        descriptor = os.open(rundir.fifo(os.getpid()), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ELOOP, errno.EACCES):
            return  # the requesting process has given up
        raise
    try:
        rest = memoryview(encode_shares(configuration))
        with contextlib.suppress(OSError):  # a pipe that holds the whole list needs no waiting
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, len(rest))
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        while rest and poller.poll(1000):
            rest = rest[os.write(descriptor, rest):]
    except BrokenPipeError:
        pass  # the reader has gone
    finally:
        os.close(descriptor)
