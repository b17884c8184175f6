# SPDX-License-Identifier: GPL-2.0-or-later
"""Kerberos for the kernel's server: it passes the client's SPNEGO token on as it is, and expects SPNEGO in return,
where our engine exchanges the tokens of the mechanism (mountd/kerberos/host.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ksmbd import limits
from ksmbd.auth import spnego
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import UserFlag
from ksmbd.smb.status import WireError

MECHANISMS: Final = (spnego.KERBEROS_OID, spnego.MS_KERBEROS_OID)


class Tickets:
    """The log-ons with Kerberos, by handle."""

    def __init__(self) -> None:
        self._mechanisms: dict[int, str] = {}

    def question(self, message: Message) -> Message | None:
        """SPNEGO_AUTHEN_REQUEST with the token of Kerberos in place of the client's NegTokenInit (RFC 4178 4.2.1); None
        where there is none."""
        try:
            init = spnego.parse_init(message.fields["payload"])
        except WireError:
            return None
        # The token is the first mechanism's.
        if init.mechanisms[0] not in MECHANISMS or not init.token:
            return None
        if len(self._mechanisms) >= limits.DAEMON_QUESTIONS.value:
            return None
        self._mechanisms[message.handle] = init.mechanisms[0]
        fields = message.fields | {"blob_len": len(init.token), "payload": init.token}
        return replace(message, fields=fields)

    def answer(self, reply: Message) -> Message:
        """SPNEGO_AUTHEN_RESPONSE with a NegTokenResp around the token of Kerberos."""
        mechanism = self._mechanisms.pop(reply.handle, None)
        fields = reply.fields
        if mechanism is None or not fields.get("status", 0) & UserFlag.OK:
            status = fields.get("status", int(UserFlag.BAD_USER))
            return Message(reply.event, {"handle": reply.handle, "status": status})
        size = fields["session_key_len"]
        key, token = fields["payload"][:size], fields["payload"][size:]
        blob = spnego.encode_response(spnego.ACCEPT_COMPLETED, mechanism, token)
        return Message(reply.event, fields | {"spnego_blob_len": len(blob), "payload": key + blob})
