# SPDX-License-Identifier: GPL-2.0-or-later
"""TREE_DISCONNECT (MS-SMB2 2.2.11, 2.2.12, 3.3.5.8)."""
from __future__ import annotations

from ksmbd.smb.request import Reply, Request
from ksmbd.smb.teardown import close_tree, wait_for


async def handle(request: Request) -> Reply:
    """End the tree connect: close its opens and cancel requests that wait on it."""
    tree = request.tree
    # Closing the opens has completed what waits on them (notify, locks). What is left are CREATEs that wait.
    await wait_for(close_tree(tree))
    for connection in list(request.session.channels):
        for other in list(connection.pending.values()):
            if other.tree_ is tree and other is not request:
                other.cancel()
    return Reply(b"\x04\0\0\0")
