# SPDX-License-Identifier: GPL-2.0-or-later
"""Which READs are answered from the page cache, without passing through Python: one policy, one threshold."""
from __future__ import annotations

from typing import Final

from ksmbd.smb.ports import File
from ksmbd.smb.request import Request

THRESHOLD: Final = 64 * 1024
"""Bytes from which header + sendfile costs less than a copy into the reply."""


def may_span(request: Request, file: File, length: int) -> bool:
    """Whether the reply may be a header with a FileSpan behind it: it is alone in its frame, neither signed nor sealed,
    long enough, of a file that has a descriptor."""
    return (
        length >= THRESHOLD
        and request.chain.count == 1
        and not request.sealed
        and not request.signed
        and not request.session.signing_required
        and file.fileno() >= 0
    )
