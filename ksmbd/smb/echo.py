# SPDX-License-Identifier: GPL-2.0-or-later
"""ECHO (MS-SMB2 2.2.28, 2.2.29, 3.3.5.17)."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.request import Reply, Request

_RESPONSE: Final = Reply(b"\x04\0\0\0")


def handle(request: Request) -> Reply:
    """Answer with the ECHO response, which has no content."""
    return _RESPONSE
