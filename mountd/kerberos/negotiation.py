# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes a Kerberos token out of SPNEGO and puts the answer in again (RFC 4178 4.2), for an engine that passes on a
log-on's token as the client sent it, as KSMBD's does. This project's own does that itself (ksmbd/auth/acceptor.py).
"""

from __future__ import annotations

from typing import Final

from ksmbd.auth import spnego
from ksmbd.smb.status import WireError

_KERBEROS: Final = (spnego.KERBEROS_OID, spnego.MS_KERBEROS_OID)


def unwrap(token: bytes) -> tuple[str, bytes]:
    """(mechanism, its token): '' and the token itself where it is not SPNEGO's. Raises WireError where the client's
    first mechanism, which the token is for, is not Kerberos."""
    if not spnego.is_initial_token(token) or spnego.parse_initial(token)[0] != spnego.SPNEGO_OID:
        return "", token
    init = spnego.parse_init(token)
    if init.mechanisms[0] not in _KERBEROS:
        raise WireError(f"mechanism {init.mechanisms[0]} comes before Kerberos")
    return init.mechanisms[0], init.token


def wrap(mechanism: str, token: bytes) -> bytes:
    """The answer to what `unwrap` was given."""
    return spnego.encode_response(spnego.ACCEPT_COMPLETED, mechanism, token) if mechanism else token
