# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of its limits (ksmbd.limits) a worker uses, for lists of the administrator."""
from __future__ import annotations

from collections.abc import Iterator

from ksmbd import limits
from ksmbd.conn.connections import Connections
from ksmbd.kernel import descriptors
from ksmbd.limit import Limit
from ksmbd.smb.model import Server

Budget = tuple[str, int, int, str]
"""(name, used, most, unit)."""


def _of(limit: Limit, used: int, most: int = 0) -> Budget:
    return limit.name, used, most or limit.value, limit.unit


def budgets(server: Server, connections: Connections, most_connections: int, most_descriptors: int) -> Iterator[Budget]:
    """The limits of which a worker counts what is used. `most_connections` are those of all workers together."""
    settings = server.settings
    yield _of(limits.CONNECTIONS, len(connections), most_connections)
    yield _of(limits.SESSIONS, server.admission.users.used, settings.max_sessions)
    yield _of(limits.LOGONS_IN_PROGRESS, len(server.logons_in_progress))
    yield _of(limits.TREE_CONNECTS, server.tree_admission.users.used)
    yield _of(limits.OPENS, len(server.opens), settings.max_open_files)
    waiting = max((connection.pending_budget.requests for connection in server.connections), default=0)
    yield _of(limits.WAITING_REQUESTS, waiting)
    kept = max((connection.pending_budget.bytes for connection in server.connections), default=0)
    yield _of(limits.WAITING_BYTES, kept)
    unread, most_unread = connections.unread
    yield _of(limits.REPLIES_UNREAD_ALL, unread, most_unread)
    if most_descriptors:
        yield "descriptors", descriptors.count(), most_descriptors, "descriptors of a worker"
