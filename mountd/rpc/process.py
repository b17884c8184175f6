# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.rpc: the process of the RPC services, which reads what anonymous clients send and has no rights.

    python -P -m mountd.rpc.process [FRAGMENT] SOCKET UID GID

mountd starts it, a fresh interpreter that has never seen the user database, gives it one end of a socket pair and the
ids of a user that owns nothing; FRAGMENT is the most bytes of a fragment of a reply, else what the client takes. It
imports what it needs, gives up its rights (ksmbd/kernel/confinement.py), says what it could not give up, and answers
until the socket ends. Exit status 0: the daemon has ended, or the process has worked long enough and is to be followed
by a fresh one.
"""

from __future__ import annotations

import codecs
import os
import signal
import socket
import sys
import time
import traceback
from typing import Final

import setproctitle

from ksmbd import limits, log
from ksmbd.auth.ntlm_crypto import NEGOTIATE_KEY_EXCH
from ksmbd.auth.ntlm_sealing import MessageProtection
from ksmbd.auth.spnego import ACCEPT_COMPLETED, encode_response, parse_response
from ksmbd.kernel.confinement import Bounds, confine
from mountd.rpc.frames import ANSWER_MAX, Answer, Requests, Status
from mountd.rpc.services import Services

TITLE: Final = "ksmbd.rpc"
CPU_SECONDS: Final = 3600
"""The limit of CPU time of the process, in seconds."""
CPU_TIRED: Final = 1800
"""CPU seconds after which the process ends as soon as no pipe is open."""
_RECEIVE: Final = 64 << 10
_CODECS: Final = ("ascii", "latin-1", "utf-8", "utf-16-le")
"""Those that wire structures and lines of the log use: Python loads one at its first use."""


def load_all() -> None:
    """Load what Python and libc would read from files later, when no file can be opened."""
    for name in _CODECS:
        codecs.lookup(name)
    traceback.format_exception(Exception("what a defect's traceback needs"))
    time.localtime()  # the time zone
    MessageProtection(NEGOTIATE_KEY_EXCH, bytes(16)).sent.signature(b"")  # the library's ciphers and digests
    parse_response(encode_response(ACCEPT_COMPLETED))


def serve(sock: socket.socket, services: Services) -> None:
    """Answer until the other end is closed, or the process has worked long enough. OSError: the stream broke."""
    requests = Requests()
    while data := sock.recv(_RECEIVE):
        for request in requests.take(data):
            answer = services.take(request)
            if answer is not None:
                sock.sendall(answer.encode())
        if not services and time.process_time() > CPU_TIRED:
            return


def main(argv: list[str]) -> int:
    """Run the process. Returns its exit status."""
    *fragment_max, descriptor, uid, gid = map(int, argv)
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle.setproctitle(TITLE)
    log.set_process(TITLE)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:
            stream.write("500")  # before all others: it is started again
    except OSError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptor)
    load_all()
    try:
        missing = confine(Bounds(uid, gid, limits.RPC_MEMORY.value, CPU_SECONDS), parent)
    except ProcessLookupError:
        return 0
    try:
        sock.sendall(Answer(Status.READY, 0, "\n".join(missing).encode()[:ANSWER_MAX]).encode())
        serve(sock, Services(fragment_max=sum(fragment_max)))
    except (BrokenPipeError, ConnectionResetError):
        pass  # mountd has ended
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # the interpreter's end would open and close what it may not
