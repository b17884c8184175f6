# SPDX-License-Identifier: GPL-2.0-or-later
"""A server on fakes with one session, to call one command module on, and the fakes behind its ports."""
from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fake_clock import FakeClock
from fake_files import FakeFile, FakeFiles, FakeVolume
from fake_opens import FakeTable
from fakes import FakeDaemon, FakeSecurity, FakeTransport

from ksmbd.smb import constants as c
from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.connection_state import ConnectionState
from ksmbd.smb.header import HEADER_SIZE, SYNC_HEADER, Header
from ksmbd.smb.model import Open, Server, Session, TreeConnect
from ksmbd.smb.ports import (
    OpenRef,
    ShareConfig,
)
from ksmbd.smb.request import Body, Chain, Reply, Request
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.waiting import Task


def file_of(open_: Open) -> FakeFile:
    """The fake behind an open's File."""
    assert isinstance(open_.file, FakeFile)
    return open_.file


def volume_of(server: Server) -> FakeVolume:
    """The fake behind a server's Files."""
    assert isinstance(server.files, FakeFiles)
    return server.files.tree


def clock_of(server: Server) -> FakeClock:
    """The fake behind a server's Clock."""
    assert isinstance(server.clock, FakeClock)
    return server.clock


def table_of(server: Server) -> FakeTable:
    """The fake behind a server's OpenTable."""
    assert isinstance(server.table, FakeTable)
    return server.table


def security_of(server: Server) -> FakeSecurity:
    """The fake behind a server's Security."""
    assert isinstance(server.security, FakeSecurity)
    return server.security


class Bench:
    """A server with one session, a disk share and IPC$, to call a command module's `handle` on.

    `connection` has negotiated, and nothing has come on it."""

    def __init__(self, dialect: int = c.DIALECT_311, settings: ServerSettings | None = None) -> None:
        self.clock, self.volume, self.table, self.daemon = FakeClock(), FakeVolume(), FakeTable(), FakeDaemon()
        self.security = FakeSecurity()
        settings = settings or ServerSettings(max_transact=4 << 20)
        self.server = Server(
            settings, self.security, FakeFiles(self.volume), self.table, self.daemon, self.clock
        )
        self.transport = FakeTransport("192.0.2.9", "192.0.2.7")
        """Its frames: what was sent outside of replies."""
        self.connection = connection = ServerConnection(self.server, self.transport)
        connection.state = ConnectionState.NEGOTIATED
        connection.client_guid = b"G" * 16
        connection.client_capabilities = 0x7F
        connection.client_security_mode = 1
        connection.client_dialects = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
        connection.dialect = dialect
        connection.server_capabilities = 0x44
        connection.server_security_mode = 1
        connection.supports_multi_credit = dialect != c.DIALECT_202
        connection.posix = dialect == c.DIALECT_311
        self.session = Session(1, self.server, dialect, b"G" * 16, SessionState.VALID, self.security.identity)
        share = ShareConfig("share", "/srv", oplocks=False, streams_xattr=True)
        pipes = ShareConfig("IPC$", "", is_pipe=True, oplocks=False)
        self.tree = TreeConnect(1, self.session, share, self.volume, c.FILE_ALL_ACCESS)
        self.ipc = TreeConnect(2, self.session, pipes, None, c.FILE_ALL_ACCESS)
        self.session.tree_connects = {1: self.tree, 2: self.ipc}
        self._message_id = 0

    def open(self, path: str = "", access: int = c.FILE_ALL_ACCESS, stream: str = "", options: int = 0) -> Open:
        """An Open of what is at `path`, in all tables."""
        node = self.volume.find(path)
        assert node is not None, path
        file = FakeFile(self.volume, node, access, stream)
        return self._register(self.tree, file, access, options, OpenRef(file.key, stream, self.server.new_id()))

    def open_pipe(self, name: str = "srvsvc", access: int = c.FILE_ALL_ACCESS) -> Open:
        """An Open on IPC$."""
        open_ = self._register(self.ipc, None, access, 0, None)
        open_.pipe_handle, open_.pipe_name = 77, name
        self.session.pipes += 1
        return open_

    def _register(
        self, tree: TreeConnect, file: FakeFile | None, access: int, options: int, ref: OpenRef | None
    ) -> Open:
        number = ref.open_id if ref else self.server.new_id()
        open_ = Open(number, number, self.session, tree, self.connection, file, access, options, ref=ref)
        self.session.opens[number] = self.server.opens[number] = open_
        return open_

    def request(self, command: int, body: bytes, tree: TreeConnect | None = None, charge: int = 1) -> Request:
        """A Request with `body` after a header of `command`."""
        self._message_id += 1
        tree = tree or self.tree
        raw = SYNC_HEADER.pack(
            b"\xfeSMB", HEADER_SIZE, charge, 0, command, 1, 0, 0, self._message_id, 0, tree.tree_id, 1, bytes(16)
        )
        message = memoryview(raw + body)
        request = Request(self.connection, Header(message), message, Chain(1))
        request.session_, request.tree_ = self.session, tree
        return request

    def run(self, handle: Callable[[Request], Any], request: Request) -> Reply:
        """`handle`'s Reply; a coroutine must end without waiting."""
        result = handle(request)
        if isinstance(result, Reply):
            return result
        task = started(result)
        assert task.done, "the command waits"
        return task.result()


def is_done(task: Task[Reply]) -> bool:
    """Whether it has ended by now: for a test that asks before and after (mypy takes an attribute's value to stay)."""
    return task.done


def started(result: Reply | Coroutine[Any, Any, Reply]) -> Task[Reply]:
    """The Task of a command that may wait, up to its first wait."""
    assert not isinstance(result, Reply), "the command has not waited"
    return Task(result).start()


def body_of(reply: Reply) -> bytes:
    """The reply's body as bytes."""
    return bytes(reply.body.data if isinstance(reply.body, Body) else reply.body)
