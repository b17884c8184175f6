# SPDX-License-Identifier: GPL-2.0-or-later
"""The inside of a process that mountd/serviceprocess.py starts (ksmbd.rpc, ksmbd.kerberos): how it begins, what it
loads while it can, and how it answers and ends."""

from __future__ import annotations

import codecs
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import setproctitle

from ksmbd import log
from mountd.rpc.frames import Answer, Request, Requests

CPU_SECONDS: Final = 3600
"""The limit of CPU time of the process, in seconds."""
CPU_TIRED: Final = 1800
"""CPU seconds after which the process ends as soon as nothing is open, and a fresh one takes over."""
_RECEIVE: Final = 64 << 10


def begin(title: str) -> int:
    """Take the name, and leave ^C to mountd. Returns mountd's process id, which must still be the parent's later."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle.setproctitle(title)
    log.set_process(title)
    return parent


def stream(descriptor: int) -> socket.socket:
    """The process's end of the stream to mountd."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptor)


def load(names: Iterable[str]) -> None:
    """Load what Python and libc would read from files later, when no file can be opened. `names`: the codecs that are
    used, each of which Python loads at its first use."""
    for name in names:
        codecs.lookup(name)
    traceback.format_exception(Exception("what a defect's traceback needs"))
    time.localtime()  # the time zone


def serve(
    sock: socket.socket, take: Callable[[Request], Answer | None], is_idle: Callable[[], bool] = lambda: True
) -> None:
    """Answer until the other end is closed, or the process has worked long enough and `is_idle`. OSError: the stream
    broke."""
    requests = Requests()
    while data := sock.recv(_RECEIVE):
        for request in requests.take(data):
            answer = take(request)
            if answer is not None:
                sock.sendall(answer.encode())
        if is_idle() and time.process_time() > CPU_TIRED:
            return


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run the process, and end it with the exit status of `main`."""
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # the interpreter's end would open and close what it may not
