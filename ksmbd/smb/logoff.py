# SPDX-License-Identifier: GPL-2.0-or-later
"""LOGOFF (MS-SMB2 2.2.7, 2.2.8, 3.3.5.6)."""
from __future__ import annotations

from ksmbd.smb.request import Reply, Request
from ksmbd.smb.teardown import delete_session, wait_for


async def handle(request: Request) -> Reply:
    """End the session on all its channels: close its opens and cancel its pending requests.

    The reply is still signed or encrypted with the keys of the session, which the Session object keeps."""
    session = request.session
    channels = list(session.channels)
    signer = request.connection.signer_of(session)
    # 3.3.5.6: durable opens outlive the session, as they outlive its connection.
    await wait_for(delete_session(session, keep=True))
    # Closing the opens has completed what waits on them (notify, locks). What is left are CREATEs that wait.
    for connection in channels:
        for other in list(connection.pending.values()):
            if other.session_ is session and other is not request:
                other.cancel()
    session.signer = signer  # a later channel's key differs from the session's own
    return Reply(b"\x04\0\0\0")
