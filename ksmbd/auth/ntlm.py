# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepts an NTLMSSP log-on (MS-NLMP 3.2.5): NEGOTIATE, CHALLENGE, AUTHENTICATE.

A client cannot tell an unknown user from a wrong password: both take the same computations and end in
STATUS_LOGON_FAILURE. The NT hash of the account comes from mountd, which also decides who is a guest.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5
from hmac import compare_digest
from typing import Final

from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth import ntlm_messages as messages
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.ports import Daemon, Identity, LoginResponse
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_ACCOUNT_DISABLED,
    STATUS_ACCOUNT_EXPIRED,
    STATUS_ACCOUNT_LOCKED_OUT,
    STATUS_INVALID_PARAMETER,
    STATUS_LOGON_FAILURE,
    LogonRefused,
    LogonThrottled,
    NtStatusError,
    WireError,
)

MAX_ACCOUNT: Final = 47
"""Longest account name in the messages of mountd, in bytes of UTF-8."""
NO_RESPONSE: Final = LoginResponse("", b"", 0, 0)
_NEGOTIABLE_FLAGS: Final = (
    crypto.NEGOTIATE_SIGN
    | crypto.NEGOTIATE_SEAL
    | crypto.NEGOTIATE_ALWAYS_SIGN
    | crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY
    | crypto.NEGOTIATE_VERSION
    | crypto.NEGOTIATE_128
    | crypto.NEGOTIATE_KEY_EXCH
    | crypto.NEGOTIATE_56
)


@dataclass(slots=True)
class NtlmResult:
    """The result of a successful log-on."""

    identity: Identity
    signatures: crypto.MessageSignatures | None
    """For mechListMIC; None where client and server share no key (a user mapped to guest)."""


def protected_list(
    signatures: crypto.MessageSignatures, mechanisms: bytes, mic: bytes | None, required: bool
) -> bytes | None:
    """Verify the mechListMIC of the client over the list `mechanisms`, and return that of the server, None where the
    client sent none (RFC 4178 5). Raises STATUS_LOGON_FAILURE where it is wrong, or `required` and missing."""
    if mic is not None:
        if not compare_digest(signatures.of_client(mechanisms), mic):
            raise NtStatusError(STATUS_LOGON_FAILURE, "mechListMIC is wrong")
        return signatures.of_server(mechanisms)
    if required:
        raise NtStatusError(STATUS_LOGON_FAILURE, "mechListMIC is missing")
    return None


BARRED: Final = {
    STATUS_ACCOUNT_DISABLED: "the account is disabled",
    STATUS_ACCOUNT_LOCKED_OUT: "the account is locked out",
    STATUS_ACCOUNT_EXPIRED: "the account has expired",
}


class NtlmExchange:
    """What an exchange has in common, whoever knows the accounts. `filetime` returns the current time for the
    CHALLENGE_MESSAGE."""

    def __init__(self, settings: AuthSettings, filetime: Callable[[], int]) -> None:
        self._settings = settings
        self._filetime = filetime
        self._negotiate = b""
        self._challenge = b""
        self._server_challenge = b""
        self._flags = 0

    def challenge(self, token: bytes) -> bytes:
        """The CHALLENGE_MESSAGE that answers a NEGOTIATE_MESSAGE (MS-NLMP 3.2.5.1.1). Raises WireError."""
        offered = messages.negotiate_flags(token)
        if not offered & (crypto.NEGOTIATE_UNICODE | crypto.NEGOTIATE_OEM):
            raise WireError("neither Unicode nor OEM is offered")
        settings = self._settings
        flags = (
            offered & _NEGOTIABLE_FLAGS
            | (offered & crypto.NEGOTIATE_UNICODE or crypto.NEGOTIATE_OEM)
            | crypto.REQUEST_TARGET
            | crypto.NEGOTIATE_NTLM
            | crypto.NEGOTIATE_TARGET_INFO
            | crypto.TARGET_TYPE_SERVER
        )
        dns_name = settings.dns_name or settings.netbios_name.lower()
        pairs = [
            (messages.AV_NB_DOMAIN_NAME, settings.workgroup.upper().encode("utf-16-le")),
            (messages.AV_NB_COMPUTER_NAME, settings.netbios_name.encode("utf-16-le")),
            (messages.AV_DNS_DOMAIN_NAME, settings.dns_domain.encode("utf-16-le")),
            (messages.AV_DNS_COMPUTER_NAME, dns_name.encode("utf-16-le")),
            (messages.AV_TIMESTAMP, self._filetime().to_bytes(8, "little")),
        ]
        self._flags = flags
        self._negotiate = token
        self._server_challenge = os.urandom(8)
        self._challenge = messages.challenge_message(
            flags, settings.netbios_name, self._server_challenge, messages.encode_av_pairs(pairs)
        )
        return self._challenge

    def _exported_key(self, message: messages.Authenticate, key_exchange_key: bytes) -> bytes:
        """ExportedSessionKey (3.4.5.1): the random key of the client with NEGOTIATE_KEY_EXCH, else the
        KeyExchangeKey."""
        flags = message.flags & self._flags
        if not flags & crypto.NEGOTIATE_KEY_EXCH:
            return key_exchange_key
        if len(message.encrypted_session_key) != 16:
            if not flags & (crypto.NEGOTIATE_SIGN | crypto.NEGOTIATE_SEAL):
                return key_exchange_key  # nothing to protect, nothing exchanged
            raise WireError("EncryptedRandomSessionKey is not of 16 bytes")
        return crypto.rc4(key_exchange_key).update(message.encrypted_session_key)

    def _check_mic(self, message: messages.Authenticate, token: bytes, session_key: bytes) -> None:
        """Verify the MIC over all three messages, which MsvAvFlags announces (3.2.5.1.2). Raises
        STATUS_LOGON_FAILURE."""
        if message.payload_offset < messages.MIC_END or len(token) < messages.MIC_END:
            raise WireError("no room for the MIC that is announced")
        bare = token[: messages.MIC_OFFSET] + bytes(16) + token[messages.MIC_END :]
        mic = crypto.hmac_md5(session_key, self._negotiate + self._challenge + bare)
        if not compare_digest(mic, token[messages.MIC_OFFSET : messages.MIC_END]):
            raise LogonRefused(
                STATUS_LOGON_FAILURE, "the MIC of the AUTHENTICATE_MESSAGE is wrong", message.user, message.domain,
                message.workstation,
            )  # fmt: skip


class NtlmAcceptor(NtlmExchange):
    """One exchange: `challenge`, then `authenticate`. `daemon` knows the accounts."""

    def __init__(self, settings: AuthSettings, daemon: Daemon, filetime: Callable[[], int]) -> None:
        super().__init__(settings, filetime)
        self._daemon = daemon

    async def authenticate(self, token: bytes) -> NtlmResult:
        """Check an AUTHENTICATE_MESSAGE (MS-NLMP 3.2.5.1.2).

        Raises NtStatusError: STATUS_INVALID_PARAMETER where the message is malformed, STATUS_LOGON_FAILURE for an
        unknown user or a response that is wrong or not allowed (LogonThrottled where that happened too often),
        STATUS_ACCOUNT_DISABLED, STATUS_ACCOUNT_LOCKED_OUT and STATUS_ACCOUNT_EXPIRED for a right one,
        STATUS_ACCESS_DENIED for an unwelcome anonymous.
        """
        message = messages.parse_authenticate(token, self._flags)
        if message.is_anonymous:
            return await self._anonymous(message)
        _check_lengths(message)
        is_v2 = len(message.nt_response) >= messages.MIN_V2_RESPONSE
        # Read before the response is checked: a malformed one is malformed whoever sends it
        announced = messages.av_flags(message.nt_response[16:]) if is_v2 else 0
        account = message.user
        response = await self._daemon.login(account) if _can_exist(account) else NO_RESPONSE
        known = response.admitted
        if known and response.is_guest:  # mountd's `map to guest`: nothing to check
            return NtlmResult(self._guest(message, response), None)
        # An unknown user is checked against a key that nobody knows, so that it takes as long as a wrong password
        usable = known and len(response.nt_hash) == 16
        session_base = self._verify(message, response.nt_hash if usable else os.urandom(16))
        if session_base is None or not usable:
            return await self._failed(message, response, known)
        exported = self._exported_key(message, session_base)
        if announced & messages.AV_FLAG_MIC:
            self._check_mic(message, token, exported)
        if response.refusal:
            why = BARRED.get(response.refusal, "the account may not log on")
            raise LogonRefused(response.refusal, why, message.user, message.domain, message.workstation)
        identity = self._identity(message, response)
        identity.session_key = exported
        return NtlmResult(identity, crypto.MessageSignatures(message.flags & self._flags, exported))

    # ------------------------------------------------------------------------------------------------------ responses

    def _verify(self, message: messages.Authenticate, nt_hash: bytes) -> bytes | None:
        """Verify the response: the KeyExchangeKey if it is right, else None. All comparisons take constant time."""
        response = message.nt_response
        challenge = self._server_challenge
        if len(response) >= messages.MIN_V2_RESPONSE:  # NTLMv2
            key = crypto.ntowf_v2(nt_hash, message.user, message.domain)
            proof = crypto.nt_proof(key, challenge, response[16:])
            return crypto.hmac_md5(key, proof) if compare_digest(proof, response[:16]) else None
        if not self._settings.ntlmv1_allowed:
            return None
        lm_response = message.lm_response
        if not response:  # LMv2: the proof, and the client's challenge
            if len(lm_response) != 24:
                return None
            key = crypto.ntowf_v2(nt_hash, message.user, message.domain)
            proof = crypto.nt_proof(key, challenge, lm_response[16:])
            return crypto.hmac_md5(key, proof) if compare_digest(proof, lm_response[:16]) else None
        extended = message.flags & self._flags & crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY
        if extended:  # NTLM2 session response (3.3.1): the client's challenge is in the LM response
            challenge = md5(challenge + lm_response[:8]).digest()[:8]
        if not compare_digest(crypto.desl(nt_hash, challenge), response):
            return None
        return crypto.kxkey_v1(extended, nt_hash, lm_response, self._server_challenge)

    # --------------------------------------------------------------------------------------------- anonymous and guest

    async def _anonymous(self, message: messages.Authenticate) -> NtlmResult:
        response = await self._daemon.login("")
        if not response.admitted:
            raise LogonRefused(
                STATUS_ACCESS_DENIED, "anonymous sessions are not allowed", workstation=message.workstation
            )
        identity = self._identity(message, response)
        identity.is_anonymous = True
        # Both sides know the key, of zeros (3.4.5.1): it can sign the mechanisms' list, and nothing else
        key = self._exported_key(message, bytes(16))
        return NtlmResult(identity, crypto.MessageSignatures(message.flags & self._flags, key))

    def _guest(self, message: messages.Authenticate, response: LoginResponse) -> Identity:
        identity = self._identity(message, response)
        identity.is_guest = True
        return identity

    async def _failed(self, message: messages.Authenticate, response: LoginResponse, known: bool) -> NtlmResult:
        """Handle a failed log-on: return a guest if `map to guest` allows it, else report the failure to mountd and
        raise."""
        mapping = self._settings.map_to_guest
        if mapping == "bad password" or (mapping == "bad user" and not known):
            guest = await self._daemon.login(self._settings.guest_account)
            if guest.admitted:
                return NtlmResult(self._guest(message, guest), None)
        if response is not NO_RESPONSE:
            self._daemon.logout(message.user, failed=True)
        problem = LogonThrottled if response.throttled else LogonRefused
        reason = self._why(message, response, known)
        raise problem(STATUS_LOGON_FAILURE, reason, message.user, message.domain, message.workstation)

    def _why(self, message: messages.Authenticate, response: LoginResponse, known: bool) -> str:
        """Why a log-on failed, for the administrator; the client is not told."""
        if not known:
            return "no Unix account of that name" if response.no_unix_account else "unknown user"
        if len(message.nt_response) < messages.MIN_V2_RESPONSE and not self._settings.ntlmv1_allowed:
            return "NTLMv1, which `ntlm auth` does not allow"
        return "wrong password"

    def _identity(self, message: messages.Authenticate, response: LoginResponse) -> Identity:
        return Identity(
            response.account or message.user,
            message.domain or self._settings.workgroup,
            response.uid,
            response.gid,
            response.groups,
            workstation=message.workstation,
        )


def _check_lengths(message: messages.Authenticate) -> None:
    """Check the lengths of the responses: NTLMv2 or 24 bytes; without one an LM response of 24 bytes or none (MS-NLMP
    2.2.2.3 ff.). Raises STATUS_INVALID_PARAMETER."""
    size = len(message.nt_response)
    if size >= messages.MIN_V2_RESPONSE:
        return
    lm_size = len(message.lm_response)
    if size not in (0, 24) or lm_size not in (0, 1, 24):
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"responses of {size} and {lm_size} bytes")


def _can_exist(account: str) -> bool:
    """Whether the messages of mountd can carry the name: no NUL, no unpaired surrogate, at most 47 bytes."""
    if not account or "\0" in account:
        return False
    try:
        return len(account.encode()) <= MAX_ACCOUNT
    except UnicodeEncodeError:
        return False
