# SPDX-License-Identifier: GPL-2.0-or-later
"""A log-on inside an RPC association (MS-RPCE 3.3.1.5.2): NTLMSSP, alone or in SPNEGO (RFC 4178).

This process reads the messages and makes the session key, but knows no account: mountd checks the response to the
challenge (mountd/rpclogon.py), and tells the key that follows from it. NTLMv2 alone is taken, whatever `ntlm auth`
says: the older ones protect no message.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth import ntlm_messages as messages
from ksmbd.auth import spnego
from ksmbd.auth.ntlm import NtlmExchange, protected_list
from ksmbd.auth.ntlm_sealing import MessageProtection
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_LOGON_FAILURE, NtStatusError, WireError
from mountd.rpc.names import LOGON, NAME_MAX, Admitted, Found, Question

RESPONSE_MAX: Final = 8 << 10
"""Bytes of a response to the challenge: NTLMv2's has names and a few numbers."""


class Expected(Enum):
    """Which token comes next."""

    START = auto()
    NEGOTIATE = auto()
    AUTHENTICATE = auto()
    ANSWER = auto()
    """None: mountd's answer."""
    NOTHING = auto()


class _Exchange(NtlmExchange):
    """NTLM, with the question to mountd between its two halves."""

    def __init__(self, settings: AuthSettings, filetime: Callable[[], int]) -> None:
        super().__init__(settings, filetime)
        self._token = b""
        self._message: messages.Authenticate | None = None

    def question(self, token: bytes) -> Question:
        """What mountd is asked about an AUTHENTICATE_MESSAGE. Raises NtStatusError."""
        message = messages.parse_authenticate(token, self._flags)
        if not messages.MIN_V2_RESPONSE <= len(message.nt_response) <= RESPONSE_MAX:
            raise NtStatusError(STATUS_LOGON_FAILURE, "anonymous, or no NTLMv2")
        if max(len(message.user), len(message.domain)) > NAME_MAX:
            raise NtStatusError(STATUS_LOGON_FAILURE, "a long name")
        self._token, self._message = token, message
        values = {
            "user": message.user, "domain": message.domain,
            "challenge": base64.b64encode(self._server_challenge).decode("ascii"),
            "response": base64.b64encode(message.nt_response).decode("ascii"),
        }  # fmt: skip
        return Question(LOGON, json.dumps(values, separators=(",", ":")))

    def session(self, key_exchange_key: bytes) -> tuple[int, bytes]:
        """(the negotiated flags, ExportedSessionKey). Raises NtStatusError."""
        message = self._message
        assert message is not None
        key = self._exported_key(message, key_exchange_key)
        if messages.av_flags(message.nt_response[16:]) & messages.AV_FLAG_MIC:
            self._check_mic(message, self._token, key)
        return message.flags & self._flags, key


class Logon:
    """One log-on: `step` for each token of the client. Where it returns a question, `complete` with the answer follows
    before the next token. After an error nothing more is taken."""

    def __init__(self, settings: AuthSettings, is_spnego: bool, filetime: Callable[[], int]) -> None:
        self._ntlm = _Exchange(settings, filetime)
        self._spnego = is_spnego
        self._expected = Expected.START
        self._mechanisms = b""
        self._mic: bytes | None = None
        self._mic_required = False
        self.admitted: Admitted | None = None
        """Who it is, once the log-on is complete."""
        self.seconds = 0
        """0: it has no end."""
        self.flags = 0
        """What both sides negotiated (MS-NLMP 2.2.2.5)."""
        self.session_key = b""
        """Empty until the log-on is complete."""
        self._signed = 0
        """Messages that each side has signed in the log-on: the mechListMIC."""

    def step(self, token: bytes) -> bytes | Question:
        """The token that answers the client's, or what mountd must be asked before there is one. Raises
        NtStatusError."""
        expected, self._expected = self._expected, Expected.NOTHING  # a token that fails leaves it there
        if expected is Expected.START:
            return self._start(token)
        if expected is Expected.NEGOTIATE:
            return self._challenge(spnego.ACCEPT_INCOMPLETE, None, spnego.parse_response(token).token)
        if expected is not Expected.AUTHENTICATE:
            raise WireError("a token out of turn")
        if self._spnego:
            response = spnego.parse_response(token)
            if response.state == spnego.REJECT:
                raise NtStatusError(STATUS_LOGON_FAILURE, "the client rejects the mechanism")
            token, self._mic = response.token, response.mic
        question = self._ntlm.question(token)
        self._expected = Expected.ANSWER
        return question

    def _start(self, token: bytes) -> bytes:
        if not self._spnego:
            self._expected = Expected.AUTHENTICATE
            return self._ntlm.challenge(token)
        init = spnego.parse_init(token)
        if spnego.NTLMSSP_OID not in init.mechanisms:
            raise NtStatusError(STATUS_LOGON_FAILURE, f"NTLMSSP is not among {init.mechanisms}")
        self._mechanisms = init.mechanism_list
        # RFC 4178 5: the list is protected unless its first mechanism is the one used
        self._mic_required = init.mechanisms[0] != spnego.NTLMSSP_OID
        state = spnego.REQUEST_MIC if self._mic_required else spnego.ACCEPT_INCOMPLETE
        if init.token.startswith(messages.SIGNATURE):
            return self._challenge(state, spnego.NTLMSSP_OID, init.token)
        self._expected = Expected.NEGOTIATE
        return spnego.encode_response(state, spnego.NTLMSSP_OID)

    def _challenge(self, state: int, mechanism: str | None, token: bytes) -> bytes:
        challenge = self._ntlm.challenge(token)
        self._expected = Expected.AUTHENTICATE
        return spnego.encode_response(state, mechanism, challenge)

    def complete(self, found: Found) -> bytes:
        """The last token for the client, once mountd has found the response right; b'' for none. Raises NtStatusError:
        STATUS_ACCESS_DENIED where mountd did not."""
        if self._expected is not Expected.ANSWER or not isinstance(found, Admitted):
            raise NtStatusError(STATUS_ACCESS_DENIED, "the log-on is refused")
        self._expected = Expected.NOTHING
        flags, key = self._ntlm.session(bytes.fromhex(found.key))
        answer = self._finish(crypto.MessageSignatures(flags, key)) if self._spnego else b""
        self.flags, self.session_key, self.admitted = flags, key, found
        return answer

    def protection(self, signing: bool, sealing: bool) -> MessageProtection:
        """What protects the messages after the log-on. Raises NtStatusError where the client has not negotiated what
        they need."""
        needed = crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY | crypto.NEGOTIATE_SIGN if signing or sealing else 0
        if sealing:
            needed |= crypto.NEGOTIATE_SEAL
        if needed & ~self.flags:
            raise NtStatusError(STATUS_LOGON_FAILURE, f"flags {self.flags:#x} without {needed:#x}")
        return MessageProtection(self.flags, self.session_key, self._signed)

    def _finish(self, signatures: crypto.MessageSignatures) -> bytes:
        """Verify the mechListMIC of the client and answer with that of the server (RFC 4178 5)."""
        ours = protected_list(signatures, self._mechanisms, self._mic, self._mic_required)
        if ours is not None:
            self._signed = 1
        return spnego.encode_response(spnego.ACCEPT_COMPLETED, mic=ours)
