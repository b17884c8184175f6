# SPDX-License-Identifier: GPL-2.0-or-later
"""Which READs are answered from the page cache, without passing through Python."""
from __future__ import annotations

from ksmbd.smb.data_paths import READ, Transfer
from ksmbd.smb.ports import File
from ksmbd.smb.request import Request


def read_method(request: Request, file: File, length: int) -> Transfer:
    """How a READ's data goes. Other than by a copy only where the reply may be a header with a FileSpan behind it: it
    is alone in its frame, neither signed nor sealed, of a file that has a descriptor."""
    if (
        request.chain.count != 1
        or request.sealed
        or request.signed
        or request.session.signing_required
        or file.fileno() < 0
    ):
        return Transfer.COPY
    return request.server.settings.data_paths.method(READ, file.file_system, length)
