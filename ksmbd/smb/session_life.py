# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-on exchanges under way (MS-SMB2 3.3.1.15, 3.3.5.5)."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ksmbd.smb.model import Session
from ksmbd.smb.ports import Authenticator
from ksmbd.smb.preauth import preauth_update
from ksmbd.smb.reader import Buffer
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.teardown import delete_session

if TYPE_CHECKING:
    from ksmbd.smb.connection import Connection


@dataclass(slots=True, eq=False)
class Exchange:
    """One GSS exchange on one connection, with its PreauthSession hash (MS-SMB2 3.3.1.15)."""

    session: Session
    authenticator: Authenticator
    preauth_hash: bytes
    binding: bool = False
    protected: bool = False
    """Its first round was signed or sealed, and so are the others."""
    busy: bool = False
    """A round waits for mountd: a further SESSION_SETUP of the session meanwhile is refused."""

    def hash_message(self, message: Buffer) -> None:
        """Take one SESSION_SETUP message into the hash (3.1.1)."""
        self.preauth_hash = preauth_update(self.preauth_hash, message)


class ExchangeTable:
    """Connection.PreauthSessionTable: the exchanges of one connection, by SessionId."""

    __slots__ = ("_connection", "_exchanges", "_half_logons")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._half_logons = connection.server.half_logons
        self._exchanges: dict[int, Exchange] = {}

    def get(self, session_id: int) -> Exchange | None:
        """The exchange of a session on this connection."""
        return self._exchanges.get(session_id)

    def add(self, exchange: Exchange) -> None:
        """A first round has come. Another exchange, the oldest half done, may have to go for it."""
        self.remove(exchange.session.session_id)
        self._half_logons.begin(exchange, self._connection, partial(self._drop, exchange))
        self._exchanges[exchange.session.session_id] = exchange

    def remove(self, session_id: int) -> None:
        """The exchange is over, well or not."""
        exchange = self._exchanges.pop(session_id, None)
        if exchange is not None:
            self._half_logons.end(exchange)

    def _drop(self, exchange: Exchange) -> None:
        """The exchange has waited for too long, or for others: a session that was to be made is none; one that is there
        stays as it was."""
        self.remove(exchange.session.session_id)
        if exchange.session.state is SessionState.IN_PROGRESS:
            delete_session(exchange.session)

    def binding_session(self, session_id: int) -> Session | None:
        """The session to which a binding is under way here, whose key its messages are signed and sealed with."""
        exchange = self._exchanges.get(session_id)
        return exchange.session if exchange is not None and exchange.binding else None

    def __len__(self) -> int:
        return len(self._exchanges)

    def clear(self) -> None:
        """The connection is gone."""
        for session_id in list(self._exchanges):
            self.remove(session_id)
