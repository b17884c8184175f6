# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol's connection as a worker's transports have it."""
from __future__ import annotations

from ksmbd.smb.connection import ServerConnection
from ksmbd.smb.session_state import SessionState


class WorkerConnection(ServerConnection):
    """The protocol's connection with what a transport asks of it."""

    @property
    def session_count(self) -> int:
        """Sessions established here; one that is being set up counts as none."""
        return sum(1 for session in self.sessions.values() if session.state is not SessionState.IN_PROGRESS)

    @property
    def open_count(self) -> int:
        """Opens of the sessions here."""
        return sum(len(session.opens) for session in self.sessions.values())
