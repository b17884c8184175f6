# SPDX-License-Identifier: GPL-2.0-or-later
"""Verifies the signature of a request: dispatch calls it for every command, SESSION_SETUP for a binding."""
from __future__ import annotations

from ksmbd.smb.model import Session
from ksmbd.smb.request import Request
from ksmbd.smb.status import STATUS_ACCESS_DENIED, SignatureWrong


def verify_signature(request: Request, session: Session) -> None:
    """Verify the signature of `request` (MS-SMB2 3.3.5.2.4). Raises STATUS_ACCESS_DENIED where it is wrong."""
    signer = request.connection.signer_of(session)
    if signer is None:
        # Guest and anonymous sessions have no key: nothing is verified, and replies are not signed
        return
    if not signer.verify(request.message):
        raise SignatureWrong(STATUS_ACCESS_DENIED, "the signature does not fit")
