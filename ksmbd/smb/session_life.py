# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-on exchanges under way, and how a session ends (MS-SMB2 3.3.4.12, 3.3.5.5, 3.3.5.6)."""
from __future__ import annotations

from dataclasses import dataclass

from ksmbd.smb import open_life
from ksmbd.smb.model import Session, TreeConnect
from ksmbd.smb.ports import Authenticator
from ksmbd.smb.preauth import preauth_update
from ksmbd.smb.reader import Buffer
from ksmbd.smb.session_state import SessionInput, SessionState, next_state


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

    __slots__ = ("_exchanges",)

    def __init__(self) -> None:
        self._exchanges: dict[int, Exchange] = {}

    def get(self, session_id: int) -> Exchange | None:
        """The exchange of a session on this connection."""
        return self._exchanges.get(session_id)

    def add(self, exchange: Exchange) -> None:
        """A first round has come."""
        self._exchanges[exchange.session.session_id] = exchange

    def remove(self, session_id: int) -> None:
        """The exchange is over, well or not."""
        self._exchanges.pop(session_id, None)

    def binding_session(self, session_id: int) -> Session | None:
        """The session to which a binding is under way here, whose key its messages are signed and sealed with."""
        exchange = self._exchanges.get(session_id)
        return exchange.session if exchange is not None and exchange.binding else None

    def __len__(self) -> int:
        return len(self._exchanges)

    def clear(self) -> None:
        """The connection is gone."""
        self._exchanges.clear()


def close_tree(tree: TreeConnect) -> None:
    """TREE_DISCONNECT, or the end of its session: close the opens, tell mountd (MS-SMB2 3.3.5.8)."""
    if tree.closed:
        return
    tree.closed = True
    session = tree.session
    for open_ in tree.opens:
        open_life.close_open(open_)
    session.tree_connects.pop(tree.tree_id, None)
    if tree.volume is not None:
        tree.volume.close()
    session.server.daemon.tree_disconnect(session.session_id, tree.tree_id)


def delete_session(session: Session) -> None:
    """LOGOFF, a failed log-on, a previous session, the last channel's end: nothing of the session is left."""
    if session.state is SessionState.DELETED:
        return
    was_valid = session.state is not SessionState.IN_PROGRESS
    session.state = next_state(session.state, SessionInput.DELETE)
    server = session.server
    for tree in list(session.tree_connects.values()):
        close_tree(tree)
    for open_ in list(session.opens.values()):
        open_life.close_open(open_)
    for connection in list(session.channels):
        connection.sessions.pop(session.session_id, None)
        connection.exchanges.remove(session.session_id)
    session.channels.clear()
    server.sessions.pop(session.session_id, None)
    if was_valid and session.identity is not None:
        server.daemon.logout(session.identity.account, 0)
