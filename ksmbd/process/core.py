# SPDX-License-Identifier: GPL-2.0-or-later
"""The core of a worker's connections."""
from __future__ import annotations

from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.session_state import SessionState


class WorkerConnection(ServerConnection):
    """A ServerConnection that also tells the transport how many sessions and opens it has."""

    @property
    def session_count(self) -> int:
        """The established sessions on this connection, without those in progress."""
        return sum(1 for session in self.sessions.values() if session.state is not SessionState.IN_PROGRESS)

    @property
    def open_count(self) -> int:
        """The opens of these sessions."""
        return sum(len(session.opens) for session in self.sessions.values())
