# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists the connections, sessions and open files of a worker for the administrator."""

from __future__ import annotations

from ksmbd.smb.model import Connection, Server


def rows(server: Server, what: str) -> list[dict[str, str]]:
    """The rows for `what`: `connections`, `sessions` or `files`; no rows for anything else."""
    match what:
        case "connections":
            return [_connection(connection) for connection in list(server.connections)]
        case "sessions":
            return _sessions(server)
        case "files":
            return _files(server)
    return []


def _connection(connection: Connection) -> dict[str, str]:
    return {
        "peer": connection.transport.peer,
        "local": connection.transport.local,
        "dialect": f"{connection.dialect:#06x}",
        "client guid": connection.client_guid.hex(),
        "sessions": str(len(connection.sessions)),
    }


def _sessions(server: Server) -> list[dict[str, str]]:
    return [
        {
            "session": f"{session.session_id:#x}",
            "user": session.identity.account if session.identity is not None else "",
            "peers": " ".join(sorted(channel.transport.peer for channel in session.channels)),
            "shares": " ".join(sorted(tree.share.name for tree in session.tree_connects.values())),
            "opens": str(len(session.opens)),
            "signed": "yes" if session.signing_required else "no",
            "encrypted": "yes" if session.encrypt_data else "no",
        }
        for session in list(server.sessions.values())
    ]


def _files(server: Server) -> list[dict[str, str]]:
    return [
        {
            "session": f"{open_.session.session_id:#x}" if open_.session is not None else "",
            "share": open_.tree.share.name if open_.tree is not None else "",
            "path": open_.file.path if open_.file is not None else open_.pipe_name,
            "access": f"{open_.granted_access:#010x}",
        }
        for open_ in list(server.opens.values())
    ]
