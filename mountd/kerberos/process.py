# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.kerberos: the process that has the keytab, and checks what clients send with it.

    python -P -m mountd.kerberos.process ROOT KEYTAB SERVICE REPLAYS SOCKET UID GID

mountd starts it, a fresh interpreter that has never seen the user database. As root it reads krb5.conf and the keytab,
keeps the keys in memory, and gives up its rights as ksmbd.rpc does (ksmbd/kernel/confinement.py): its root directory is
ROOT, which has nothing but a copy of krb5.conf; it has no network, and opens files for reading alone. Then it answers
until the socket ends.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from ksmbd import limits, log
from ksmbd.auth import spnego
from ksmbd.kernel.confinement import Bounds, confine
from ksmbd.kernel.seccomp import READING_CALLS, SERVICE_CALLS
from ksmbd.smb.status import WireError
from mountd import servicechild
from mountd.kerberos import krb5conf
from mountd.kerberos.answers import Accepted, Begun, Kind, Ready, Refused, Status
from mountd.kerberos.libkrb5 import Krb5, Krb5Error
from mountd.kerberos.mechanism import Acceptor, GssMechanism, NoMechanism, load
from mountd.kerberos.replay import SECONDS, open_table
from mountd.rpc.frames import Answer, Request
from mountd.servicechild import CPU_SECONDS

TITLE: Final = "ksmbd.kerberos"
KEYS: Final = "MEMORY:ksmbd"
_FILES: Final = 64
_TOLD: Final = 32
_COPY: Final = "krb5.conf"
_SERVICES: Final = ("cifs", "host")
"""The services whose keys are used where `kerberos service name` is empty; a ticket for another one of this host (nfs,
HTTP) is none for a file server."""
_CODECS: Final = ("ascii", "latin-1", "utf-8", "idna")
_STATUSES: Final = {Accepted: Status.ACCEPTED, Begun: Status.BEGUN, Refused: Status.REFUSED}
_SKEW: Final = re.compile(r"^\s*clockskew\s*=\s*(\d{1,7})\s*$", re.MULTILINE)


class Options(NamedTuple):
    """The arguments. `keytab` '' is the system's, `service` '' any of _SERVICES, `replays` '' a table in memory."""

    root: str
    keytab: str
    service: str
    replays: str


def wanted(principal: str, service: str) -> bool:
    """Whether the keys of a principal are used: `service` (with or without realm), or cifs/*, host/* and a domain
    member's own account."""
    name = principal.rpartition("@")[0]
    if service:
        return service.casefold() in (principal.casefold(), name.casefold())
    first, slash, _ = name.partition("/")
    return first.casefold() in _SERVICES if slash else name.endswith("$")


class LocalNames:
    """The rules of krb5.conf. libkrb5 looks at the file whenever it is asked, so it is opened by the name that it has
    in the process's own root directory: at the first question."""

    def __init__(self, realm: str) -> None:
        """`realm`: the default one."""
        self.realm = realm
        self._krb5: Krb5 | None = None

    def local_name(self, principal: str) -> str:
        """See Krb5.local_name; '' where the rules cannot be read."""
        try:
            if self._krb5 is None:
                self._krb5 = Krb5()
                self._krb5.set_default_realm(self.realm)
            return self._krb5.local_name(principal)
        except Krb5Error as error:
            log.peer(f"{principal} cannot be looked up: {error}")
            return ""


def prepare(options: Options) -> tuple[Acceptor, Ready]:
    """Read keys and configuration, with the rights that the process still has. Raises NoMechanism, OSError,
    Krb5Error."""
    raw = load()
    text = krb5conf.flat(os.environ.get("KRB5_CONFIG") or krb5conf.DEFAULT)
    krb5 = Krb5()
    keytab = krb5.keytab_name(options.keytab)
    found = krb5.copy_keytab(options.keytab, KEYS, lambda principal: wanted(principal, options.service))
    if not found:
        which = options.service or "cifs or host"
        raise NoMechanism(f"{keytab} has no AES key of the service {which}")
    names = LocalNames(krb5.default_realm() or next(iter(found)).rpartition("@")[2])
    krb5.local_name("nobody@NOWHERE.INVALID")  # loads the modules of the rules while they can be read
    os.environ["KRB5RCACHENAME"] = "none:"  # ours is in its place: mountd/kerberos/replay.py
    if os.geteuid() == 0:
        copy = Path(options.root, _COPY)
        copy.parent.mkdir(mode=0o755, exist_ok=True)
        copy.write_text(text, encoding="utf-8", errors="surrogateescape")
        copy.chmod(0o444)
        os.environ["KRB5_CONFIG"] = f"/{_COPY}"
    seconds = max([SECONDS, *(2 * int(skew) for skew in _SKEW.findall(text))])
    mechanism = GssMechanism(raw, KEYS)
    mechanism.accept(b"\x60")  # whatever a failure needs is loaded now
    spnego.parse_response(spnego.encode_response(spnego.ACCEPT_COMPLETED, spnego.KERBEROS_OID, b"token"))
    acceptor = Acceptor(mechanism, open_table(options.replays, seconds), names)
    return acceptor, Ready(keytab=keytab, principals=sorted(found)[:_TOLD])


def accept_wrapped(acceptor: Acceptor, payload: bytes) -> Accepted | Refused:
    """The result for a client's NegTokenInit (RFC 4178 4.2.1) whose first mechanism is Kerberos, as the token is for
    that one; its token is a NegTokenResp."""
    try:
        init = spnego.parse_init(payload)
    except WireError as error:
        return Refused(f"no NegTokenInit: {error}")
    mechanism = init.mechanisms[0]
    if mechanism not in (spnego.KERBEROS_OID, spnego.MS_KERBEROS_OID) or not init.token:
        return Refused("no Kerberos token in the client's NegTokenInit")
    result = acceptor.accept(init.token)
    if isinstance(result, Refused):
        return result
    return replace(result, token=spnego.encode_response(spnego.ACCEPT_COMPLETED, mechanism, result.token))


def answer(acceptor: Acceptor, request: Request) -> Answer | None:
    """The answer to a request."""
    if request.kind == Kind.VERIFY:
        wrong = acceptor.verify(request.pipe, request.payload)
        if wrong is not None:
            return Answer(Status.REFUSED, request.pipe, wrong.encode())
        return Answer(Status.VERIFIED, request.pipe, b"")
    result: Accepted | Begun | Refused
    if request.kind == Kind.ACCEPT:
        mechanisms, token = request.payload[: request.argument], request.payload[request.argument :]
        result = acceptor.accept(token, mechanisms, request.pipe)
    elif request.kind == Kind.UNWRAP:
        result = accept_wrapped(acceptor, request.payload)
    elif request.kind == Kind.BEGIN:
        result = acceptor.begin(request.payload, request.pipe)
    elif request.kind == Kind.CONTINUE:
        result = acceptor.go_on(request.payload, request.pipe)
    else:
        return None
    return Answer(_STATUSES[type(result)], request.pipe, result.encode())


def main(argv: list[str]) -> int:
    """Run the process. Returns its exit status."""
    options = Options(*argv[:4])
    descriptor, uid, gid = map(int, argv[4:])
    parent = servicechild.begin(TITLE)
    sock = servicechild.stream(descriptor)
    servicechild.load(_CODECS)
    try:
        try:
            acceptor, ready = prepare(options)
        except (NoMechanism, OSError, Krb5Error) as error:
            sock.sendall(Answer(Status.READY, 0, Ready(why=str(error)).encode()).encode())
            return 0
        memory = limits.KERBEROS_MEMORY.value
        calls = SERVICE_CALLS | READING_CALLS
        bounds = Bounds(uid, gid, memory, CPU_SECONDS, calls=calls, files=_FILES, root=options.root)
        try:
            missing = confine(bounds, parent)
        except ProcessLookupError:
            return 0
        ready = Ready("", missing, ready.keytab, ready.principals)
        sock.sendall(Answer(Status.READY, 0, ready.encode()).encode())
        servicechild.serve(sock, lambda request: answer(acceptor, request))
    except (BrokenPipeError, ConnectionResetError):
        pass  # mountd has ended
    return 0


if __name__ == "__main__":
    servicechild.run(main)
