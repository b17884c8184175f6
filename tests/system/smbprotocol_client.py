# SPDX-License-Identifier: GPL-2.0-or-later
"""smbprotocol with what tests repeat: a connection with its session and tree connects, opens in one call."""

from __future__ import annotations

import uuid
from types import TracebackType
from typing import Any

from server import KsmbdServer
from smbprotocol.connection import Connection, Dialects
from smbprotocol.header import NtStatus
from smbprotocol.open import CreateDisposition, ImpersonationLevel, Open
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

DIALECTS = {
    "2.0.2": Dialects.SMB_2_0_2,
    "2.1": Dialects.SMB_2_1_0,
    "3.0": Dialects.SMB_3_0_0,
    "3.0.2": Dialects.SMB_3_0_2,
    "3.1.1": Dialects.SMB_3_1_1,
}

READ, WRITE, DELETE, ATTRIBUTES, ALL = 0x120089, 0x120116, 0x10000, 0x80, 0x1F01FF
SHARE_ALL = 7
DIRECTORY, NOT_DIRECTORY, DELETE_ON_CLOSE = 0x1, 0x40, 0x1000


class Client:
    """A logged-on client with one tree connect; a context manager that ends it in any case."""

    def __init__(
        self,
        server: KsmbdServer,
        dialect: str = "3.1.1",
        *,
        share: str | None = None,
        user: str | None = None,
        password: str | None = None,
        sign: bool = True,
        encrypt: bool = False,
        ciphers: list[int] | None = None,
        signings: list[int] | None = None,
        guid: uuid.UUID | None = None,
        tree: bool = True,
    ) -> None:
        self.server = server
        self.connection = Connection(guid or uuid.uuid4(), "127.0.0.1", server.port, require_signing=sign)
        self.connection.connect(
            DIALECTS[dialect], timeout=20, preferred_encryption_algos=ciphers, preferred_signing_algos=signings
        )
        try:
            self.session = Session(
                self.connection, user if user is not None else server.user,
                password if password is not None else server.password, require_encryption=encrypt,
                auth_protocol="ntlm",
            )  # fmt: skip
            self.session.connect()
            # Any: None without a tree, which those who ask for none do not look at
            self.tree: Any = self.connect_tree(share) if tree else None
        except BaseException:
            self.connection.disconnect(False)
            raise

    def connect_tree(self, share: str | None = None) -> TreeConnect:
        """One more tree connect; under 3.0 and 3.0.2 with secure negotiate (MS-SMB2 3.2.5.5)."""
        name = share if share is not None else next(iter(self.server.shares))
        tree = TreeConnect(self.session, rf"\\127.0.0.1\{name}")
        tree.connect()
        return tree

    def open(
        self,
        name: str,
        access: int = READ | WRITE,
        disposition: int = CreateDisposition.FILE_OPEN_IF,
        options: int = NOT_DIRECTORY,
        share: int = SHARE_ALL,
        oplock: int = 0,
        contexts: list[Any] | None = None,
    ) -> Open:
        """An open file."""
        file = self.new_open(name)
        file.create(
            ImpersonationLevel.Impersonation, access, ATTRIBUTES, share, disposition, options, contexts, oplock
        )
        return file

    def new_open(self, name: str) -> Open:
        """A file that is still to be opened."""
        return Open(self.tree, name)

    def open_message(
        self,
        name: str,
        file: Open | None = None,
        access: int = READ | WRITE,
        disposition: int = CreateDisposition.FILE_OPEN_IF,
        options: int = NOT_DIRECTORY,
    ) -> Any:
        """The CREATE request alone."""
        return (file or self.new_open(name)).create(
            ImpersonationLevel.Impersonation, access, ATTRIBUTES, SHARE_ALL, disposition, options, send=False
        )[0]

    def send(self, message: Any) -> Any:
        """Send one request in the session and tree connect; what `wait` takes."""
        return self.connection.send(message, self.session.session_id, self.tree.tree_connect_id)

    def wait(self, request: Any) -> Any:
        """Its final response; raises SMBResponseException."""
        return self.connection.receive(request, timeout=20)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self.connection.transport.connected:
                self.session.disconnect(True, timeout=20)
        finally:
            self.connection.disconnect(False)


__all__ = ["ALL", "DELETE", "DELETE_ON_CLOSE", "DIALECTS", "DIRECTORY", "NOT_DIRECTORY", "READ", "SHARE_ALL", "WRITE",
           "Client", "CreateDisposition", "NtStatus"]  # fmt: skip
