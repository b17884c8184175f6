# SPDX-License-Identifier: GPL-2.0-or-later
"""Chooses how the data of a READ is transferred: READs may be answered from the page cache without passing through
Python."""
from __future__ import annotations

from ksmbd.smb.data_paths import READ, Transfer
from ksmbd.smb.ports import File
from ksmbd.smb.request import Request


def read_method(request: Request, file: File, length: int) -> Transfer:
    """The method for the data of a READ. Methods other than COPY send the header and a FileSpan; they need a single
    request, neither signed nor encrypted, and a file with a descriptor."""
    if (
        request.chain.count != 1
        or request.sealed
        or request.signed
        or request.session.signing_required
        or file.fileno() < 0
    ):
        return Transfer.COPY
    return request.server.settings.data_paths.method(READ, file.file_system, length)
