# SPDX-License-Identifier: GPL-2.0-or-later
"""The acceptor's side of Kerberos 5 (RFC 4121) by python-gssapi. Only the process of Kerberos imports this."""

from __future__ import annotations

import importlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, NamedTuple, Protocol

from ksmbd import limits
from ksmbd.smb.status import WireError
from mountd.kerberos import pac
from mountd.kerberos.answers import LIFETIME_MAX, Accepted, Begun, Messages, Refused
from mountd.kerberos.aprequest import authenticator, unframed, usual
from mountd.kerberos.replay import ReplayTable

DEBIAN: Final = "/usr/lib/python3/dist-packages"
"""Where Debian's python3-gssapi is, which a virtual environment does not see."""
_KERBEROS: Final = "1.2.840.113554.1.2.2"
_SESSION_KEY: Final = "1.2.840.113554.1.2.2.5.5"
"""GSS_C_INQ_SSPI_SESSION_KEY: the acceptor's subkey, or the initiator's."""
_LOGON_INFO: Final = b"urn:mspac:logon-info"
_TAME: Final = str.maketrans({'"': "'", "(": "[", ")": "]"})
_SKEW: Final = -1765328347
"""KRB5KRB_AP_ERR_SKEW."""
_DEFECTIVE_TOKEN: Final = 9 << 16
"""GSS_S_DEFECTIVE_TOKEN: in DCE style libkrb5 takes KRB_AP_REQ without framing alone; some clients have it all the
same."""


class NoMechanism(Exception):
    """python-gssapi cannot be used. The message says what to install."""


def load() -> ModuleType:
    """python-gssapi's module `gssapi.raw`: of this Python, or Debian's where that is made for it. Raises
    NoMechanism."""
    try:
        return importlib.import_module("gssapi.raw")
    except ImportError:
        pass
    sys.path.append(DEBIAN)
    try:
        return importlib.import_module("gssapi.raw")
    except ImportError:
        raise NoMechanism("python-gssapi is missing: install python3-gssapi, or gssapi with pip") from None
    finally:
        sys.path.remove(DEBIAN)


@dataclass(frozen=True)
class Context:
    """What an accepted token has established. `end`: when the ticket ends, in seconds since 1970."""

    principal: str
    key: bytes
    token: bytes
    end: float
    exported: bytes = b""
    """The context itself (RFC 2743 2.2.8), for the mechListMIC."""
    logon_info: bytes = b""
    """The PAC's KERB_VALIDATION_INFO, if its signature is right; b'' without one."""
    messages: Messages = field(default_factory=Messages)
    """What protects the messages that follow."""


class HalfOpen(NamedTuple):
    """A context that waits for the client's next token, and the token that answers the first."""

    context: object
    token: bytes


class Mechanism(Protocol):
    """Accepts tokens."""

    def accept(self, token: bytes) -> Context | Refused:
        """Check a client's first and only token."""

    def step(self, token: bytes, context: object = None) -> Context | HalfOpen | Refused:
        """Check a client's first token, or the next one of a HalfOpen's context."""

    def sign(self, exported: bytes, message: bytes) -> bytes:
        """The acceptor's first GSS_GetMIC in a context."""

    def verify(self, exported: bytes, message: bytes, mic: bytes) -> str:
        """Check the initiator's GSS_GetMIC: '', or why it is wrong."""


class GssMechanism:
    """MIT Kerberos with the keys of one keytab."""

    def __init__(self, raw: ModuleType, keytab: str) -> None:
        """`raw`: what `load` returns. Raises NoMechanism where the keytab has no key."""
        self._raw: Any = raw
        self._kerberos = raw.OID.from_int_seq(_KERBEROS)
        self._session_key = raw.OID.from_int_seq(_SESSION_KEY)
        try:
            store = {b"keytab": keytab.encode()}
            self._credentials = raw.acquire_cred_from(store, mechs=[self._kerberos], usage="accept").creds
        except raw.GSSError as error:
            raise NoMechanism(self._reason(error)) from None

    def accept(self, token: bytes) -> Context | Refused:
        """Check a client's token: signature, times and service, by libkrb5."""
        found = self.step(token)
        return Refused("the client wants a third token (GSS_C_DCE_STYLE)") if isinstance(found, HalfOpen) else found

    def step(self, token: bytes, context: object = None) -> Context | HalfOpen | Refused:
        """See Mechanism."""
        try:
            more = {} if context is None else {"context": context}
            result = self._raw.accept_sec_context(token, acceptor_creds=self._credentials, **more)
            if result.more_steps:
                return HalfOpen(result.context, result.token or b"")
            principal = self._raw.display_name(result.initiator_name, name_type=False).name.decode("utf-8", "replace")
            key = self._raw.inquire_sec_context_by_oid(result.context, self._session_key)[0]
            exported = self._raw.export_sec_context(result.context)
            copy = self._raw.import_sec_context(exported)
            lucid = self._raw.krb5_export_lucid_sec_context(copy, 1)
            logon_info = self._logon_info(result.initiator_name)
            token = result.token or b""
            return Context(principal, key, token, lucid.endtime, exported, logon_info, messages=_messages(lucid))
        except self._raw.GSSError as error:
            if error.maj_code == _DEFECTIVE_TOKEN and context is None and (bare := unframed(token)):
                return self.step(bare)
            return Refused(self._reason(error), skew=_signed(error.min_code) == _SKEW)

    def _logon_info(self, name: Any) -> bytes:  # noqa: ANN401  a class of python-gssapi's
        """The PAC's KERB_VALIDATION_INFO. libkrb5 verifies the PAC's signature with the service's key (MS-PAC 2.8.1);
        where that is wrong, the attribute is there, and not authenticated."""
        try:
            found = self._raw.get_name_attribute(name, _LOGON_INFO)
        except self._raw.GSSError:
            return b""
        if not found.authenticated or len(found.values) != 1:
            return b""
        data: bytes = found.values[0]
        return data

    def sign(self, exported: bytes, message: bytes) -> bytes:
        """See Mechanism."""
        signature: bytes = self._raw.get_mic(self._raw.import_sec_context(exported), message)
        return signature

    def verify(self, exported: bytes, message: bytes, mic: bytes) -> str:
        """See Mechanism."""
        try:
            self._raw.verify_mic(self._raw.import_sec_context(exported), message, mic)
        except self._raw.GSSError as error:
            return self._reason(error)
        return ""

    def _reason(self, error: Any) -> str:  # noqa: ANN401  a class of python-gssapi's
        """The mechanism's own words, or those of the GSS-API where it has none. They may have a name in them that the
        client chose: nothing of it can be taken for the facts that a line of the log has in parentheses."""
        texts = error.get_all_statuses(error.min_code, False) if error.min_code else []
        text = "; ".join(texts or error.get_all_statuses(error.maj_code, True))
        return text.translate(_TAME)


def _messages(lucid: Any) -> Messages:  # noqa: ANN401  a class of python-gssapi's
    """The keys of RFC 4121's tokens; none of older ones."""
    keys = lucid.cfx_kd
    if keys is None:
        return Messages()
    by_acceptor = bool(keys.acceptor_subkey)
    enctype = keys.acceptor_subkey_type if by_acceptor else keys.ctx_key_type
    key = keys.acceptor_subkey if by_acceptor else keys.ctx_key
    return Messages(enctype, key, by_acceptor, lucid.send_seq, lucid.recv_seq)


def _signed(code: int) -> int:
    return code - (1 << 32) if code >= 1 << 31 else code


class Rules(Protocol):
    """krb5.conf's rules about names."""

    @property
    def realm(self) -> str:
        """The default realm."""

    def local_name(self, principal: str) -> str:
        """The user that the rules make of a principal, or ''."""


NO_PAC: Final = pac.ValidationInfo("", "", ())


class Acceptor:
    """What the process does with a token."""

    def __init__(
        self,
        mechanism: Mechanism,
        replays: ReplayTable,
        rules: Rules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: seconds since 1970."""
        self._mechanism = mechanism
        self._replays = replays
        self._rules = rules
        self._clock = clock
        self._kept: OrderedDict[int, tuple[bytes, bytes]] = OrderedDict()
        """Number -> (context, MechTypeList) of log-ons whose mechListMIC is to come."""
        self._half_open: OrderedDict[int, tuple[object, bytes]] = OrderedDict()
        """Number -> (context, authenticator) of log-ons whose next token is to come."""

    def accept(self, token: bytes, mechanisms: bytes = b"", number: int = 0) -> Accepted | Refused:
        """Handle a client's token. `mechanisms`: the MechTypeList that is to be protected; `number` is for `verify`."""
        try:
            proof = authenticator(token)
        except WireError as error:
            return Refused(f"no Kerberos token: {error}")
        context = self._mechanism.accept(usual(token))
        return context if isinstance(context, Refused) else self._judge(context, proof, mechanisms, number)

    def begin(self, token: bytes, number: int) -> Accepted | Begun | Refused:
        """Handle the first token of a client of DCE/RPC. After a Begun `go_on` follows."""
        try:
            proof = authenticator(token, bare=True)
        except WireError as error:
            return Refused(f"no Kerberos token: {error}")
        return self._take(self._mechanism.step(usual(token)), proof, number)

    def go_on(self, token: bytes, number: int) -> Accepted | Begun | Refused:
        """Handle the next token of the log-on `number`."""
        context, proof = self._half_open.pop(number, (None, b""))
        if context is None:
            return Refused("a token of no log-on")
        return self._take(self._mechanism.step(token, context), proof, number)

    def _take(self, found: Context | HalfOpen | Refused, proof: bytes, number: int) -> Accepted | Begun | Refused:
        if isinstance(found, Refused):
            return found
        if isinstance(found, Context):
            return self._judge(found, proof)
        self._half_open[number] = found.context, proof
        if len(self._half_open) > limits.LOGONS_IN_PROGRESS.value:
            self._half_open.popitem(last=False)
        return Begun(found.token)

    def _judge(
        self, context: Context, proof: bytes, mechanisms: bytes = b"", number: int = 0
    ) -> Accepted | Refused:
        """What comes of a token that is right: its age, whether it was there before, its PAC, and the user's name."""
        now = self._clock()
        lifetime = int(context.end - now)
        if lifetime <= 0:
            return Refused("the ticket has expired", context.principal)
        why = self._replays.refuses(proof, context.principal, now)
        if why:
            return Refused(why, context.principal)
        try:
            info = pac.parse(context.logon_info) if context.logon_info else NO_PAC
        except WireError as error:
            return Refused(f"the ticket's PAC is malformed: {error}", context.principal)
        local = self._local_name(context.principal, info.account)
        mic = b""
        if mechanisms:
            mic = self._mechanism.sign(context.exported, mechanisms)
            self._kept[number] = context.exported, mechanisms
            if len(self._kept) > limits.LOGONS_IN_PROGRESS.value:
                self._kept.popitem(last=False)
        lifetime = min(lifetime, LIFETIME_MAX)
        return Accepted(
            principal=context.principal, local=local, key=context.key, token=context.token, lifetime=lifetime,
            account=info.account, sids=[str(sid) for sid in info.sids], mic=mic, messages=context.messages,
        )  # fmt: skip

    def _local_name(self, principal: str, account: str) -> str:
        """The user that the rules make of a principal. Where they take the name of a principal of the default realm as
        it is, which may be one of several that a domain's user has, the PAC tells the account's own name."""
        local = self._rules.local_name(principal)
        name, _, realm = principal.rpartition("@")
        if account and local and local == name.replace("\\", "") and realm == self._rules.realm:
            return account
        return local

    def verify(self, number: int, mic: bytes) -> Refused | None:
        """Check the client's mechListMIC of the log-on `number`, once."""
        exported, mechanisms = self._kept.pop(number, (b"", b""))
        if not exported:
            return Refused("mechListMIC of no log-on")
        why = self._mechanism.verify(exported, mechanisms, mic)
        return Refused(f"mechListMIC is wrong: {why}") if why else None
