# SPDX-License-Identifier: GPL-2.0-or-later
"""Accepts one log-on: SPNEGO around NTLMSSP or Kerberos, or NTLMSSP alone (MS-SMB2 3.3.5.5.3, MS-SPNG 3.1.5, RFC 4178).

    START ──NTLMSSP NEGOTIATE (bare, or as the optimistic token)──> AUTHENTICATE ──> DONE
      ├────NTLMSSP chosen, but the token of the client was for another mechanism──> NEGOTIATE ──> AUTHENTICATE ──> DONE
      ├────Kerberos' AP-REQ as the optimistic token, or bare──> DONE
      └────Kerberos chosen, without its token──> KERBEROS ──AP-REQ──> DONE, or where the list is to be protected
                                                                  └─> MIC ──mechListMIC──> DONE

Any failure leads to DONE, where every further token is refused.
"""
from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from ksmbd.auth import spnego
from ksmbd.auth.ntlm import BARRED, NtlmAcceptor, NtlmResult, protected_list
from ksmbd.auth.ntlm_messages import SIGNATURE
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.ports import AuthStep, Daemon, Identity, SpnegoResponse
from ksmbd.smb.status import STATUS_LOGON_FAILURE, LogonRefused, NtStatusError, WireError
from ksmbd.smb.waiting import Future, Task

_KERBEROS: Final = (spnego.MS_KERBEROS_OID, spnego.KERBEROS_OID)


class State(Enum):
    """Which token is expected next."""

    START = auto()
    NEGOTIATE = auto()
    AUTHENTICATE = auto()
    KERBEROS = auto()
    MIC = auto()
    DONE = auto()


def offered_mechanisms(settings: AuthSettings) -> list[str]:
    """The mechanisms that the server accepts, in the order of preference of Windows."""
    kerberos = list(_KERBEROS) if settings.kerberos else []
    return kerberos + ([spnego.NTLMSSP_OID] if settings.ntlm_allowed else [])


class SpnegoAuthenticator:
    """The port Authenticator. `filetime` returns the current time as FILETIME, `monotonic` in seconds."""

    def __init__(
        self,
        settings: AuthSettings,
        daemon: Daemon,
        filetime: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._settings = settings
        self._daemon = daemon
        self._ntlm = NtlmAcceptor(settings, daemon, filetime)
        self._state = State.START
        self._raw = False
        self._mechanism_list = b""
        self._mic_required = False
        self._identity: Identity | None = None
        """Of a ticket that was accepted, until the client's mechListMIC."""
        self._number = 0

    def step(self, token: bytes) -> Future[AuthStep]:
        """Handle a token of the client. The Future fails with NtStatusError: STATUS_INVALID_PARAMETER,
        STATUS_LOGON_FAILURE, ..."""
        result: Future[AuthStep] = Future()

        def done(task: Task[AuthStep]) -> None:
            if task.error is not None:
                self._state = State.DONE
                result.set_error(task.error)
            else:
                result.set_result(task.result())

        task = Task(self._step(bytes(token)), done)
        result.on_cancel = task.cancel
        task.start()
        return result

    async def _step(self, token: bytes) -> AuthStep:
        state, self._state = self._state, State.DONE  # a token that fails leaves it there
        if state is State.DONE:
            raise WireError("a token after the end of the exchange")
        if state is State.START:
            return await self._start(token)
        if self._raw:
            return self._complete(await self._ntlm.authenticate(token), b"")
        response = spnego.parse_response(token)
        if response.state == spnego.REJECT:
            raise NtStatusError(STATUS_LOGON_FAILURE, "the client rejects the mechanism")
        if state is State.NEGOTIATE:
            return self._challenge(spnego.ACCEPT_INCOMPLETE, None, response.token)
        if state is State.KERBEROS:
            return await self._ticket(None, response.token, response.mic)
        if state is State.MIC:
            return await self._protected(response.mic, b"")
        return self._finish(await self._ntlm.authenticate(response.token), response.mic)

    async def _start(self, token: bytes) -> AuthStep:
        if token.startswith(SIGNATURE):
            self._refuse_unless_allowed(spnego.NTLMSSP_OID)
            self._raw = True
            self._state = State.AUTHENTICATE
            return AuthStep(self._ntlm.challenge(token))
        if spnego.is_initial_token(token):
            mechanism, _ = spnego.parse_initial(token)
            if mechanism in _KERBEROS:  # Kerberos without SPNEGO
                self._refuse_unless_allowed(mechanism)
                answer, identity = await self._kerberos(token)
                return AuthStep(answer.token, identity)
        init = spnego.parse_init(token)
        self._mechanism_list = init.mechanism_list
        accepted = offered_mechanisms(self._settings)
        chosen = next((each for each in init.mechanisms if each in accepted), None)
        if chosen is None:
            raise NtStatusError(STATUS_LOGON_FAILURE, "none of the client's mechanisms is offered")
        first = init.mechanisms[0]
        # The optimistic token is for the first mechanism; Kerberos' two names mean the same one
        optimistic = init.token if chosen == first or {chosen, first} <= set(_KERBEROS) else b""
        # RFC 4178 5: the list is protected unless its first mechanism is the one used
        self._mic_required = chosen != first
        state = spnego.REQUEST_MIC if self._mic_required else spnego.ACCEPT_INCOMPLETE
        if chosen == spnego.NTLMSSP_OID:
            if init.token.startswith(SIGNATURE):
                optimistic = init.token
            if optimistic:
                return self._challenge(state, chosen, optimistic)
            self._state = State.NEGOTIATE
            return AuthStep(spnego.encode_response(state, chosen))
        if optimistic and not optimistic.startswith(SIGNATURE):
            return await self._ticket(chosen, optimistic, None)
        self._state = State.KERBEROS
        return AuthStep(spnego.encode_response(state, chosen))

    def _refuse_unless_allowed(self, mechanism: str) -> None:
        if mechanism not in offered_mechanisms(self._settings):
            name = "Kerberos" if mechanism in _KERBEROS else "NTLM"
            raise NtStatusError(STATUS_LOGON_FAILURE, f"{name} is not offered")

    # ----------------------------------------------------------------------------------------------------- mechanisms

    def _challenge(self, state: int, mechanism: str | None, token: bytes) -> AuthStep:
        challenge = self._ntlm.challenge(token)
        self._state = State.AUTHENTICATE
        return AuthStep(spnego.encode_response(state, mechanism, challenge))

    def _finish(self, result: NtlmResult, mic: bytes | None) -> AuthStep:
        """Verify the mechListMIC of the client and answer with that of the server (RFC 4178 5)."""
        ours = None
        if result.signatures is not None:
            required = self._mic_required and not result.identity.is_anonymous
            ours = protected_list(result.signatures, self._mechanism_list, mic, required)
        return self._complete(result, spnego.encode_response(spnego.ACCEPT_COMPLETED, mic=ours))

    def _complete(self, result: NtlmResult, token: bytes) -> AuthStep:
        return AuthStep(token, result.identity)

    async def _ticket(self, mechanism: str | None, token: bytes, mic: bytes | None) -> AuthStep:
        """Take an AP-REQ that came in SPNEGO. Where the list is to be protected, the exchange ends with the client's
        mechListMIC: with this token (`mic`), if the client wants no AP-REP, else with the next one."""
        protected = self._mechanism_list if self._mic_required else b""
        answer, identity = await self._kerberos(token, protected)
        if not protected:
            return AuthStep(spnego.encode_response(spnego.ACCEPT_COMPLETED, mechanism, answer.token), identity)
        self._identity, self._number = identity, answer.number
        if mic is not None:
            return await self._protected(mic, answer.token, answer.mic)
        self._state = State.MIC
        return AuthStep(spnego.encode_response(spnego.ACCEPT_INCOMPLETE, mechanism, answer.token, answer.mic))

    async def _protected(self, mic: bytes | None, token: bytes, ours: bytes | None = None) -> AuthStep:
        """Check the client's mechListMIC after an accepted ticket (RFC 4178 5)."""
        if mic is None:
            raise NtStatusError(STATUS_LOGON_FAILURE, "mechListMIC is missing")
        answer = await self._daemon.spnego_verify(self._number, mic)
        if not answer.account.admitted or answer.account.refusal or self._identity is None:
            raise LogonRefused(STATUS_LOGON_FAILURE, answer.reason or "mechListMIC is wrong")
        return AuthStep(spnego.encode_response(spnego.ACCEPT_COMPLETED, None, token, ours), self._identity)

    async def _kerberos(self, token: bytes, mechanism_list: bytes = b"") -> tuple[SpnegoResponse, Identity]:
        """Let mountd check the AP-REQ. A ticket never makes a guest of anybody."""
        if not token:
            raise WireError("no Kerberos token")
        answer = await self._daemon.spnego_authen(token, mechanism_list)
        account = answer.account
        if account.refusal:
            raise LogonRefused(account.refusal, BARRED.get(account.refusal, answer.reason), answer.principal)
        if not account.admitted or account.is_guest or not answer.session_key:
            raise LogonRefused(answer.status, answer.reason or "the ticket is refused", answer.principal)
        identity = Identity(account.account, self._settings.workgroup, account.uid, account.gid, account.groups)
        identity.session_key = answer.session_key
        identity.sids = answer.sids
        identity.expires = self._monotonic() + answer.lifetime
        return answer, identity
