# SPDX-License-Identifier: GPL-2.0-or-later
"""The signature check, which dispatch makes for every command and SESSION_SETUP for a binding."""
from __future__ import annotations

from ksmbd.smb.model import Session
from ksmbd.smb.request import Request
from ksmbd.smb.status import STATUS_ACCESS_DENIED, NtStatusError


def verify_signature(request: Request, session: Session) -> None:
    """MS-SMB2 3.3.5.2.4: STATUS_ACCESS_DENIED where the signature is not the key's."""
    signer = request.connection.signer_of(session)
    if signer is None:
        # Guest and anonymous sessions have no key; what they sign is not checked (nor is our reply signed)
        return
    if not signer.verify(request.message):
        raise NtStatusError(STATUS_ACCESS_DENIED, "the signature does not fit")
