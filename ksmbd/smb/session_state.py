# SPDX-License-Identifier: GPL-2.0-or-later
"""Session.State (MS-SMB2 3.3.1.8) as a transition table.

    IN_PROGRESS --AUTHENTICATED--> VALID --EXPIRE--> EXPIRED --REAUTHENTICATED--> VALID
    any state  --DELETE--> DELETED, which is final

A pair that is not in the table is a programming error: `next_state` raises KeyError.
"""
from __future__ import annotations

from enum import Enum
from typing import Final


class SessionState(Enum):
    """InProgress, Valid and Expired of the specification, and DELETED for references that remain after the end."""

    IN_PROGRESS = "InProgress"
    VALID = "Valid"
    EXPIRED = "Expired"
    DELETED = "Deleted"


class SessionInput(Enum):
    """The events that change the state."""

    AUTHENTICATED = "the exchange succeeded"
    EXPIRE = "the credentials' lifetime ended"
    REAUTHENTICATED = "a later exchange on the session succeeded"
    DELETE = "LOGOFF, a failed exchange, PreviousSessionId, or the last connection ended"


_S, _I = SessionState, SessionInput

TRANSITIONS: Final[dict[tuple[SessionState, SessionInput], SessionState]] = {
    (_S.IN_PROGRESS, _I.AUTHENTICATED): _S.VALID,
    (_S.IN_PROGRESS, _I.DELETE): _S.DELETED,
    (_S.VALID, _I.EXPIRE): _S.EXPIRED,
    (_S.VALID, _I.REAUTHENTICATED): _S.VALID,
    (_S.VALID, _I.DELETE): _S.DELETED,
    (_S.EXPIRED, _I.EXPIRE): _S.EXPIRED,
    (_S.EXPIRED, _I.REAUTHENTICATED): _S.VALID,
    (_S.EXPIRED, _I.DELETE): _S.DELETED,
    (_S.DELETED, _I.DELETE): _S.DELETED,
}


def next_state(state: SessionState, event: SessionInput) -> SessionState:
    """The state after `event`; KeyError where the table has none."""
    return TRANSITIONS[state, event]
