# SPDX-License-Identifier: GPL-2.0-or-later
"""A log-on with Kerberos inside an RPC association (MS-RPCE 3.3.1.5.2, MS-KILE 3.4): alone or in SPNEGO (RFC 4178).

This process has no key of the keytab: mountd lets ksmbd.kerberos check the client's tokens, and tells the server's,
whom the ticket is of, and the keys of the messages that follow. In DCE style, which RPC clients use, the client's
second token answers the server's (RFC 4757 7.1).
"""

from __future__ import annotations

import base64
import json
from enum import Enum, auto
from typing import Final

from ksmbd.auth import spnego
from ksmbd.auth.krb5_sealing import KerberosProtection, MessageKeys
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_LOGON_FAILURE, NtStatusError, WireError
from mountd.rpc.names import TICKET, TICKET_MAX, Admitted, Found, Question, Ticket

MECHANISMS: Final = (spnego.MS_KERBEROS_OID, spnego.KERBEROS_OID)


class Expected(Enum):
    """Which token comes next."""

    START = auto()
    FIRST = auto()
    """KRB_AP_REQ, after SPNEGO has chosen Kerberos without it."""
    LAST = auto()
    """The client's KRB_AP_REP."""
    ANSWER = auto()
    """None: mountd's answer."""
    NOTHING = auto()


class TicketLogon:
    """One log-on: `step` for each token of the client, `complete` with mountd's answer to its question. After an error
    nothing more is taken."""

    def __init__(self, is_spnego: bool, header_signing: bool) -> None:
        """`header_signing`: see KerberosProtection."""
        self._spnego = is_spnego
        self._header_signing = header_signing
        self._expected = Expected.START
        self._mechanism: str | None = None
        self._mechanisms = b""
        self._mic: bytes | None = None
        self._mic_required = False
        self._number = 0
        """That of the context where the client's KRB_AP_REP is to come."""
        self.admitted: Admitted | None = None
        """Who it is, once the log-on is complete."""
        self.seconds = 0
        """How long the ticket is good then."""
        self._protection: KerberosProtection | None = None

    def step(self, token: bytes) -> bytes | Question:
        """The token that answers the client's, or what mountd must be asked before there is one. Raises
        NtStatusError."""
        expected, self._expected = self._expected, Expected.NOTHING  # a token that fails leaves it there
        if expected is Expected.START:
            return self._start(token)
        if expected not in (Expected.FIRST, Expected.LAST):
            raise WireError("a token out of turn")
        if self._spnego:
            response = spnego.parse_response(token)
            if response.state == spnego.REJECT:
                raise NtStatusError(STATUS_LOGON_FAILURE, "the client rejects the mechanism")
            token, self._mic = response.token, response.mic
        return self._question(token)

    def _start(self, token: bytes) -> bytes | Question:
        if not self._spnego:
            return self._question(token)
        init = spnego.parse_init(token)
        self._mechanisms = init.mechanism_list
        self._mechanism = next((each for each in init.mechanisms if each in MECHANISMS), None)
        if self._mechanism is None:
            raise NtStatusError(STATUS_LOGON_FAILURE, f"Kerberos is not among {init.mechanisms}")
        # RFC 4178 5: the list is protected unless its first mechanism is the one used
        self._mic_required = init.mechanisms[0] != self._mechanism
        if init.token and init.mechanisms[0] in MECHANISMS:  # two names of one mechanism
            return self._question(init.token)
        self._expected = Expected.FIRST
        return self._wrapped(spnego.REQUEST_MIC if self._mic_required else spnego.ACCEPT_INCOMPLETE, b"")

    def _question(self, token: bytes) -> Question:
        if not 0 < len(token) <= TICKET_MAX:
            raise NtStatusError(STATUS_LOGON_FAILURE, f"a token of {len(token)} bytes")
        self._expected = Expected.ANSWER
        text = base64.b64encode(token).decode("ascii")
        return Question(TICKET, json.dumps({"token": text, "of": self._number}, separators=(",", ":")))

    def _wrapped(self, state: int, token: bytes, mic: bytes | None = None) -> bytes:
        """A token of the server's: in SPNEGO, the first with the name of the mechanism."""
        if not self._spnego:
            return token
        mechanism, self._mechanism = self._mechanism, None
        return spnego.encode_response(state, mechanism, token, mic)

    def complete(self, found: Found) -> bytes:
        """Go on with mountd's answer: the token for the client, b'' for none. With `admitted` it is the last. Raises
        NtStatusError: STATUS_ACCESS_DENIED where mountd refuses."""
        if self._expected is not Expected.ANSWER or not isinstance(found, Ticket):
            raise NtStatusError(STATUS_ACCESS_DENIED, "the log-on is refused")
        self._expected = Expected.NOTHING
        token = bytes.fromhex(found.token)
        if found.admitted is None:
            self._number, self._expected = found.number, Expected.LAST
            return self._wrapped(spnego.ACCEPT_INCOMPLETE, token)
        enctype, key, by_acceptor, sent, received = found.keys
        ours = self._prove(MessageKeys(enctype, bytes.fromhex(key), by_acceptor, sent, received))
        self.admitted, self.seconds = found.admitted, found.seconds
        return self._wrapped(spnego.ACCEPT_COMPLETED, token, ours)

    def _prove(self, keys: MessageKeys) -> bytes | None:
        """Verify the client's mechListMIC, and make the server's (RFC 4178 5)."""
        try:
            protection = KerberosProtection(keys, self._number != 0, self._header_signing)
        except ValueError as error:
            raise NtStatusError(STATUS_LOGON_FAILURE, str(error)) from None
        self._protection = protection
        if self._mic is not None:
            if not protection.verifies(self._mechanisms, self._mic):
                raise NtStatusError(STATUS_LOGON_FAILURE, "mechListMIC is wrong")
            return protection.sign(self._mechanisms)
        if self._mic_required:
            raise NtStatusError(STATUS_LOGON_FAILURE, "mechListMIC is missing")
        return None

    def protection(self, signing: bool, sealing: bool) -> KerberosProtection:
        """What protects the messages after the log-on."""
        assert self._protection is not None
        return self._protection
