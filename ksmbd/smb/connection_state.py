# SPDX-License-Identifier: GPL-2.0-or-later
"""The states of a connection as one transition table (MS-SMB2 3.3.5.2, 3.3.5.3, 3.3.5.4).

    NEW --SMB1_WILDCARD--> MULTI_PROTOCOL --NEGOTIATE--> NEGOTIATED
    NEW --NEGOTIATE / SMB1_202--> NEGOTIATED --OTHER--> NEGOTIATED
    any --END--> CLOSED

A pair that is missing in the table is a violation by the peer, such as a second NEGOTIATE or a command before the first
one. It ends the connection.
"""
from __future__ import annotations

from enum import Enum
from typing import Final

from ksmbd.smb.status import ConnectionFatal


class ConnectionState(Enum):
    """Whether a dialect is negotiated."""

    NEW = "no message yet"
    MULTI_PROTOCOL = "SMB1 NEGOTIATE answered with the wildcard revision"
    NEGOTIATED = "dialect agreed"
    CLOSED = "ended"


class ConnectionInput(Enum):
    """The events that change the state."""

    SMB1_WILDCARD = "SMB1 NEGOTIATE that offers SMB 2.???"
    SMB1_202 = "SMB1 NEGOTIATE that offers SMB 2.002 alone"
    NEGOTIATE = "SMB2 NEGOTIATE"
    OTHER = "any other SMB2 request"
    END = "either side ended it"


_S, _I = ConnectionState, ConnectionInput

TRANSITIONS: Final[dict[tuple[ConnectionState, ConnectionInput], ConnectionState]] = {
    (_S.NEW, _I.SMB1_WILDCARD): _S.MULTI_PROTOCOL,
    (_S.NEW, _I.SMB1_202): _S.NEGOTIATED,
    (_S.NEW, _I.NEGOTIATE): _S.NEGOTIATED,
    (_S.NEW, _I.END): _S.CLOSED,
    (_S.MULTI_PROTOCOL, _I.NEGOTIATE): _S.NEGOTIATED,
    (_S.MULTI_PROTOCOL, _I.END): _S.CLOSED,
    (_S.NEGOTIATED, _I.OTHER): _S.NEGOTIATED,
    (_S.NEGOTIATED, _I.END): _S.CLOSED,
    (_S.CLOSED, _I.END): _S.CLOSED,
}


def next_state(state: ConnectionState, event: ConnectionInput) -> ConnectionState:
    """The state after `event`; raises ConnectionFatal where the protocol does not allow it."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ConnectionFatal(f"{event.value}, while: {state.value}") from None
