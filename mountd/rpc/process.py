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

from typing import Final

from ksmbd import limits
from ksmbd.auth.krb5_sealing import KerberosProtection, MessageKeys
from ksmbd.auth.ntlm_crypto import NEGOTIATE_KEY_EXCH
from ksmbd.auth.ntlm_sealing import MessageProtection
from ksmbd.auth.spnego import ACCEPT_COMPLETED, encode_response, parse_response
from ksmbd.kernel.confinement import Bounds, confine
from mountd import servicechild
from mountd.rpc.frames import ANSWER_MAX, Answer, Status
from mountd.rpc.services import Services
from mountd.servicechild import CPU_SECONDS

TITLE: Final = "ksmbd.rpc"
_CODECS: Final = ("ascii", "latin-1", "utf-8", "utf-16-le")
"""Those that wire structures and lines of the log use."""


def load_all() -> None:
    """Load what Python and libc would read from files later, when no file can be opened."""
    servicechild.load(_CODECS)
    MessageProtection(NEGOTIATE_KEY_EXCH, bytes(16)).sent.signature(b"")  # the library's ciphers and digests
    KerberosProtection(MessageKeys(18, bytes(32), True, 0, 0), True, True).protect(b"", b"", b"", True)
    parse_response(encode_response(ACCEPT_COMPLETED))


def main(argv: list[str]) -> int:
    """Run the process. Returns its exit status."""
    *fragment_max, descriptor, uid, gid = map(int, argv)
    parent = servicechild.begin(TITLE)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as stream:
            stream.write("500")  # before all others: it is started again
    except OSError:
        pass
    sock = servicechild.stream(descriptor)
    load_all()
    try:
        missing = confine(Bounds(uid, gid, limits.RPC_MEMORY.value, CPU_SECONDS), parent)
    except ProcessLookupError:
        return 0
    try:
        sock.sendall(Answer(Status.READY, 0, "\n".join(missing).encode()[:ANSWER_MAX]).encode())
        services = Services(fragment_max=sum(fragment_max))
        servicechild.serve(sock, services.take, lambda: not services)
    except (BrokenPipeError, ConnectionResetError):
        pass  # mountd has ended
    return 0


if __name__ == "__main__":
    servicechild.run(main)
