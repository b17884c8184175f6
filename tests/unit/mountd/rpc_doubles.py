# SPDX-License-Identifier: GPL-2.0-or-later
"""The RPC services behind impacket's codecs, with names from a table."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from impacket.dcerpc.v5 import rpcrt
from mountd_doubles import FakeServer

from ksmbd.overriding import override
from mountd.administration import Administration
from mountd.rpc import pdu
from mountd.rpc.facts import Facts, decode
from mountd.rpc.names import (
    GID,
    GROUP,
    UID,
    USER,
    Found,
    Question,
    UnixAccount,
    UnixGroup,
    decode_found,
    encode_found,
)
from mountd.rpc.pipe import Pipe
from mountd.rpc.service import Caller, Interface
from mountd.rpc.telling import facts, level_of
from mountd.unixnames import answers

USERS = (
    UnixAccount("root", 0, 0, "root", "/root"),
    UnixAccount("ann", 1001, 1001, "Ann Ämter", "/home/ann"),
    UnixAccount("bob", 1002, 1002),
    UnixAccount("carl", 1003, 1003),
)
GROUPS = (UnixGroup("staff", 2000), UnixGroup("users", 100))
ACCOUNTS = ("Ann", "bob", "ghost")
DOMAIN = (5, (21, 11, 22, 33))


def look(question: Question) -> Found:
    """passwd and group of the tests."""
    kind, value = question
    if kind in (USER, UID):
        return next((user for user in USERS if value == (user.name if kind == USER else str(user.uid))), None)
    assert kind in (GROUP, GID)
    return next((group for group in GROUPS if value == (group.name if kind == GROUP else str(group.gid))), None)


class View(FakeServer):
    """The daemon, for services."""

    def __init__(self) -> None:
        text = "[global]\nnetbios name = Bär\nworkgroup = Wald\n[docs]\npath = /srv\n"
        super().__init__(text, ACCOUNTS, (11, 22, 33))


class Transport:
    """What impacket sends goes into the pipe; what it receives is read from it, in small reads."""

    def __init__(self, p: Pipe, chunk: int = 1000) -> None:
        self.pipe, self.chunk, self.fragments = p, chunk, 0

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def get_credentials(self) -> tuple[str, ...]:
        return ("",) * 6

    def get_remote_host(self) -> str:
        return "server"

    def send(self, data: bytes, forceWriteAndx: int = 0, forceRecv: int = 0) -> None:
        self.pipe.write(data)

    def recv(self, forceRecv: int = 0, count: int = 0) -> bytes:
        whole, more = b"", True
        while more:
            found = self.pipe.read(self.chunk)
            assert found is not None, "nothing to read"
            part, more = found
            whole += part
        self.fragments += 1
        return whole


class NamingTransport(Transport):
    """A transport over a pipe whose questions are answered from the table, `batch` at a time."""

    def __init__(self, pipe: Pipe, batch: int) -> None:
        super().__init__(pipe)
        self._batch = batch
        self.rounds = 0

    @override
    def send(self, data: bytes, forceWriteAndx: int = 0, forceRecv: int = 0) -> None:
        super().send(data)
        while self.pipe.questions:
            self.rounds += 1
            assert self.rounds < 100
            self.pipe.resume(answers(self.pipe.questions[: self._batch], ACCOUNTS, look))


class AdministeredTransport(Transport):
    """A transport over a pipe whose questions the daemon answers, through the stream."""

    def __init__(self, pipe: Pipe, administration: Administration) -> None:
        super().__init__(pipe)
        self._administration = administration

    @override
    def send(self, data: bytes, forceWriteAndx: int = 0, forceRecv: int = 0) -> None:
        super().send(data)
        while self.pipe.questions:
            (question,) = self.pipe.questions
            found: list[Found] = []
            self._administration.answer(question, "ann", found.append)
            self.pipe.resume(decode_found(encode_found({question: found.pop()})))


def call(opnum: int, stub: bytes) -> bytes:
    """A request in one fragment, of presentation context 0."""
    return pdu.encode(pdu.Ptype.REQUEST, pdu.WHOLE, 9, bytes(6) + opnum.to_bytes(2, "little") + stub)


def told(account: str, restricted: bool) -> Facts:
    """What a caller may see, through the stream."""
    server = View()
    return decode(facts(server, level_of(server, account, restricted)).encode())


def client(
    interfaces: Sequence[Interface], syntax: bytes, account: str = "bob", restricted: bool = False, batch: int = 1000
) -> Any:
    """impacket's client, bound to one interface of a pipe."""
    caller = Caller(lambda: told(account, restricted), level_of(View(), account, restricted), account)
    dce = rpcrt.DCERPC_v5(NamingTransport(Pipe(interfaces, caller), batch))
    dce.connect()
    dce.bind(syntax)
    return dce


def administrators_client(
    server: FakeServer, administration: Administration, interface: Interface, syntax: bytes, account: str,
    restricted: bool = False,
) -> Any:  # fmt: skip
    """impacket's client of an interface whose calls ask the daemon."""
    level = level_of(server, account, restricted)
    pipe = Pipe((interface,), Caller(lambda: decode(facts(server, level).encode()), level, account))
    dce = rpcrt.DCERPC_v5(AdministeredTransport(pipe, administration))
    dce.connect()
    dce.bind(syntax)
    return dce
