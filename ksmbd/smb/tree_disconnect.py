# SPDX-License-Identifier: GPL-2.0-or-later
"""TREE_DISCONNECT (MS-SMB2 2.2.11, 2.2.12, 3.3.5.8)."""
from __future__ import annotations

from ksmbd.smb.request import Reply, Request
from ksmbd.smb.teardown import close_tree, wait_for


async def handle(request: Request) -> Reply:
    """Close the tree connect with its opens; requests that wait on it end."""
    tree = request.tree
    # The opens' end answers what waits on them (notify, locks); what is left, a CREATE that waits, is cancelled.
    await wait_for(close_tree(tree))
    for connection in list(request.session.channels):
        for other in list(connection.pending.values()):
            if other.tree_ is tree and other is not request:
                other.cancel()
    return Reply(b"\x04\0\0\0")
