# SPDX-License-Identifier: GPL-2.0-or-later
"""SPNEGO: tokens byte by byte, the ways through an exchange, mechListMIC, Kerberos, other projects' clients."""
from __future__ import annotations

from typing import Any

import pytest
from auth_doubles import Accounts
from hypothesis import given
from hypothesis import strategies as st
from ntlm_client import DEFAULT_FLAGS, Client
from pyasn1.type import univ

from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth import spnego
from ksmbd.auth.acceptor import SpnegoAuthenticator
from ksmbd.auth.security import CryptoSecurity
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.ports import AuthStep, LoginResponse, SpnegoResponse
from ksmbd.smb.status import (
    STATUS_INVALID_PARAMETER,
    STATUS_LOGON_FAILURE,
    STATUS_TIME_DIFFERENCE_AT_DC,
    LogonRefused,
    NtStatusError,
)

KERBEROS_SETTINGS = AuthSettings(kerberos=True)
NEGOEX = "1.3.6.1.4.1.311.2.2.30"
NTLM_LIST = bytes.fromhex("300c060a2b06010401823702020a")
AP_REQ = bytes.fromhex("600f06092a864886f71201020201006e00")


def acceptor(settings: AuthSettings = AuthSettings(), accounts: Any = None) -> SpnegoAuthenticator:  # noqa: B008
    return CryptoSecurity(settings).authenticator(accounts or Accounts())


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes((tag,)) + (bytes((size,)) if size < 128 else b"\x83" + size.to_bytes(3, "big")) + content


def init(mechanisms: list[str], token: bytes = b"", extra: bytes = b"", framed: bool = True) -> bytes:
    """A NegTokenInit as clients write it."""
    body = tlv(0xA0, spnego.encode_mechanisms(mechanisms)) + (tlv(0xA2, tlv(4, token)) if token else b"") + extra
    bare = tlv(0xA0, tlv(0x30, body))
    return tlv(0x60, bytes.fromhex("06062b0601050502") + bare) if framed else bare


def response(token: bytes = b"", mic: bytes | None = None, state: int | None = None) -> bytes:
    body = tlv(0xA0, tlv(10, bytes((state,)))) if state is not None else b""
    body += tlv(0xA2, tlv(4, token)) if token else b""
    body += tlv(0xA3, tlv(4, mic)) if mic is not None else b""
    return tlv(0xA1, tlv(0x30, body))


def answer(step: AuthStep) -> tuple[int | None, str | None, bytes, bytes | None]:
    """(negState, supportedMech, responseToken, mechListMIC)."""
    fields = spnego._fields(spnego._unwrap(step.token, 0xA1)[0])
    parsed = spnego.parse_response(step.token)
    mechanism = fields.get(1)
    return (
        parsed.state,
        None if mechanism is None else str(spnego._whole(mechanism, univ.ObjectIdentifier())),
        parsed.token,
        parsed.mic,
    )


def refused(step: Any) -> int:
    with pytest.raises(NtStatusError) as raised:
        step.result()
    return raised.value.status


# -- what the server says in NEGOTIATE ------------------------------------------------------------------------------


def test_negotiate_token_is_what_windows_sends_without_kerberos() -> None:
    assert CryptoSecurity(AuthSettings()).negotiate_token().hex() == (
        "604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa32a3028a0261b24"
        + b"not_defined_in_RFC4178@please_ignore".hex()
    )


def test_kerberos_is_offered_only_where_it_is_on() -> None:
    offered = spnego.parse_init(CryptoSecurity(KERBEROS_SETTINGS).negotiate_token()).mechanisms
    assert offered == [spnego.MS_KERBEROS_OID, spnego.KERBEROS_OID, spnego.NTLMSSP_OID]
    only = AuthSettings(kerberos=True, ntlm_auth="disabled")
    assert spnego.parse_init(CryptoSecurity(only).negotiate_token()).mechanisms[-1] == spnego.KERBEROS_OID


# -- ways through an exchange ---------------------------------------------------------------------------------------


def finish(exchange: SpnegoAuthenticator, client: Client, challenge: bytes, mechanisms: bytes, mic: bool) -> AuthStep:
    token = client.authenticate(challenge)
    if not mic:
        return exchange.step(response(token)).result()
    signatures = crypto.MessageSignatures(client.challenge_flags, client.session_key)
    step = exchange.step(response(token, signatures.of_client(mechanisms))).result()
    assert answer(step)[3] == signatures.of_server(mechanisms)
    return step


@pytest.mark.parametrize("mic", [False, True])
@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize(
    "without", [0, crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY, crypto.NEGOTIATE_KEY_EXCH, crypto.NEGOTIATE_SIGN]
)
def test_ntlm_first_and_only(mic: bool, framed: bool, without: int) -> None:
    exchange, client = acceptor(), Client(flags=DEFAULT_FLAGS & ~without)
    step = exchange.step(init([spnego.NTLMSSP_OID], client.negotiate(), framed=framed)).result()
    state, mechanism, challenge, _ = answer(step)
    assert (state, mechanism, step.identity) == (spnego.ACCEPT_INCOMPLETE, spnego.NTLMSSP_OID, None)
    step = finish(exchange, client, challenge, NTLM_LIST, mic)
    assert answer(step)[:3] == (spnego.ACCEPT_COMPLETED, None, b"")
    assert step.identity is not None and step.identity.session_key == client.session_key


MIXED = [spnego.MS_KERBEROS_OID, spnego.KERBEROS_OID, NEGOEX, spnego.NTLMSSP_OID]


def reselected() -> tuple[SpnegoAuthenticator, Client, bytes]:
    exchange, client = acceptor(), Client()
    step = exchange.step(init(MIXED, AP_REQ)).result()
    assert step.identity is None
    assert answer(step) == (spnego.REQUEST_MIC, spnego.NTLMSSP_OID, b"", None)
    step = exchange.step(response(client.negotiate())).result()
    state, mechanism, challenge, _ = answer(step)
    assert (state, mechanism) == (spnego.ACCEPT_INCOMPLETE, None)
    return exchange, client, challenge


def test_kerberos_first_is_reselected_and_the_list_is_protected() -> None:
    exchange, client, challenge = reselected()
    step = finish(exchange, client, challenge, spnego.encode_mechanisms(MIXED), mic=True)
    assert step.identity is not None and step.identity.account == "alice"


def test_a_reselected_mechanism_without_mic_is_refused() -> None:
    exchange, client, challenge = reselected()
    assert refused(exchange.step(response(client.authenticate(challenge)))) == STATUS_LOGON_FAILURE


def test_a_list_changed_on_the_way_is_found_out() -> None:
    exchange, client, challenge = reselected()
    token = client.authenticate(challenge)
    mic = crypto.MessageSignatures(client.challenge_flags, client.session_key).of_client(NTLM_LIST)
    assert refused(exchange.step(response(token, mic))) == STATUS_LOGON_FAILURE


@pytest.mark.parametrize("mic", [b"", b"short", bytes(16)], ids=len)
def test_a_wrong_mech_list_mic_is_refused(mic: bytes) -> None:
    exchange, client = acceptor(), Client()
    challenge = answer(exchange.step(init([spnego.NTLMSSP_OID], client.negotiate())).result())[2]
    assert refused(exchange.step(response(client.authenticate(challenge), mic))) == STATUS_LOGON_FAILURE


def test_a_list_without_token_gets_its_mechanism_first() -> None:
    exchange, client = acceptor(), Client()
    step = exchange.step(init([spnego.NTLMSSP_OID])).result()
    assert answer(step) == (spnego.ACCEPT_INCOMPLETE, spnego.NTLMSSP_OID, b"", None)
    challenge = answer(exchange.step(response(client.negotiate())).result())[2]
    assert finish(exchange, client, challenge, NTLM_LIST, mic=True).identity is not None


def test_guests_and_anonymous_end_without_a_mic_to_miss() -> None:
    exchange, client = acceptor(AuthSettings(map_to_guest="bad user")), Client(user="mallory")
    challenge = answer(exchange.step(init([spnego.NTLMSSP_OID], client.negotiate())).result())[2]
    step = exchange.step(response(client.authenticate(challenge), bytes(16))).result()
    assert answer(step) == (spnego.ACCEPT_COMPLETED, None, b"", None)
    assert step.identity is not None and step.identity.is_guest
    exchange, client, challenge = reselected()
    client.kind = "anonymous"
    step = exchange.step(response(client.authenticate(challenge))).result()
    assert step.identity is not None and step.identity.is_anonymous


def test_who_rejects_or_offers_nothing_known_is_refused() -> None:
    assert refused(acceptor().step(init([NEGOEX], b"x"))) == STATUS_LOGON_FAILURE
    assert refused(acceptor().step(init([spnego.KERBEROS_OID], AP_REQ))) == STATUS_LOGON_FAILURE
    only_kerberos = AuthSettings(kerberos=True, ntlm_auth="disabled")
    assert refused(acceptor(only_kerberos).step(init([spnego.NTLMSSP_OID], b"x"))) == STATUS_LOGON_FAILURE
    exchange, client = acceptor(), Client()
    exchange.step(init([spnego.NTLMSSP_OID], client.negotiate())).result()
    assert refused(exchange.step(response(state=spnego.REJECT))) == STATUS_LOGON_FAILURE


# -- Kerberos -------------------------------------------------------------------------------------------------------


def kerberos_accounts(admitted: bool = True, is_guest: bool = False) -> Accounts:
    accounts = Accounts()
    account = LoginResponse("bob", b"", 1001, 1001, admitted=admitted, is_guest=is_guest)
    accounts.kerberos = SpnegoResponse(account, b"K" * 32, b"AP-REP", lifetime=600)
    return accounts


@pytest.mark.parametrize("mechanisms", [MIXED, [spnego.KERBEROS_OID], [spnego.KERBEROS_OID, spnego.MS_KERBEROS_OID]])
def test_kerberos_is_checked_by_mountd(mechanisms: list[str]) -> None:
    accounts = kerberos_accounts()
    step = acceptor(KERBEROS_SETTINGS, accounts).step(init(mechanisms, AP_REQ)).result()
    assert accounts.kerberos_tokens == [AP_REQ]
    assert answer(step) == (spnego.ACCEPT_COMPLETED, mechanisms[0], b"AP-REP", None)
    assert step.identity is not None
    assert (step.identity.account, step.identity.uid, step.identity.session_key) == ("bob", 1001, b"K" * 32)


def test_kerberos_without_spnego() -> None:
    step = acceptor(KERBEROS_SETTINGS, kerberos_accounts()).step(AP_REQ).result()
    assert step.token == b"AP-REP" and step.identity is not None and step.identity.account == "bob"
    accounts = kerberos_accounts()
    assert refused(acceptor(accounts=accounts).step(AP_REQ)) == STATUS_LOGON_FAILURE
    assert accounts.kerberos_tokens == []


def test_kerberos_refused_guest_and_tokenless() -> None:
    assert refused(acceptor(KERBEROS_SETTINGS, Accounts()).step(init(MIXED, AP_REQ))) == STATUS_LOGON_FAILURE
    unknown = acceptor(KERBEROS_SETTINGS, kerberos_accounts(admitted=False))
    assert refused(unknown.step(init(MIXED, AP_REQ))) == STATUS_LOGON_FAILURE
    guest = acceptor(KERBEROS_SETTINGS, kerberos_accounts(is_guest=True))
    assert refused(guest.step(init(MIXED, AP_REQ))) == STATUS_LOGON_FAILURE, "a ticket makes no guest"


NO_NTLM = AuthSettings(kerberos=True, ntlm_auth="disabled")
OTHERS_FIRST = [NEGOEX, spnego.MS_KERBEROS_OID, spnego.KERBEROS_OID]


def test_the_session_ends_with_the_ticket() -> None:
    exchange = SpnegoAuthenticator(KERBEROS_SETTINGS, kerberos_accounts(), lambda: 0, lambda: 1000.0)
    identity = exchange.step(init(MIXED, AP_REQ)).result().identity
    assert identity is not None and identity.expires == 1600.0


def test_a_list_without_token_gets_kerberos_first() -> None:
    accounts = kerberos_accounts()
    exchange = acceptor(KERBEROS_SETTINGS, accounts)
    step = exchange.step(init(MIXED)).result()
    assert answer(step) == (spnego.ACCEPT_INCOMPLETE, spnego.MS_KERBEROS_OID, b"", None) and step.identity is None
    step = exchange.step(response(AP_REQ)).result()
    assert answer(step) == (spnego.ACCEPT_COMPLETED, None, b"AP-REP", None)
    assert step.identity is not None and accounts.protected == b""
    assert refused(exchange.step(response(AP_REQ))) == STATUS_INVALID_PARAMETER, "it is over"


def reselected_kerberos(mechanisms: list[str], token: bytes = b"NEGOEXTS") -> tuple[SpnegoAuthenticator, Accounts]:
    accounts = kerberos_accounts()
    exchange = acceptor(NO_NTLM, accounts)
    step = exchange.step(init(mechanisms, token)).result()
    chosen = next(each for each in mechanisms if "113554" in each or "48018" in each)
    assert answer(step) == (spnego.REQUEST_MIC, chosen, b"", None) and accounts.kerberos_tokens == []
    return exchange, accounts


@pytest.mark.parametrize("mechanisms", [OTHERS_FIRST, [spnego.NTLMSSP_OID, spnego.KERBEROS_OID]])
def test_kerberos_behind_another_mechanism_is_protected_by_both_sides(mechanisms: list[str]) -> None:
    exchange, accounts = reselected_kerberos(mechanisms, b"NTLMSSP\0")
    step = exchange.step(response(AP_REQ)).result()
    assert answer(step) == (spnego.ACCEPT_INCOMPLETE, None, b"AP-REP", b"ours") and step.identity is None
    assert accounts.protected == spnego.encode_mechanisms(mechanisms)
    step = exchange.step(response(mic=b"client's")).result()
    assert answer(step) == (spnego.ACCEPT_COMPLETED, None, b"", None)
    assert step.identity is not None and step.identity.account == "bob"


def test_a_client_that_wants_no_ap_rep_proves_the_list_at_once() -> None:
    exchange, _ = reselected_kerberos(OTHERS_FIRST)
    step = exchange.step(response(AP_REQ, b"client's")).result()
    assert answer(step) == (spnego.ACCEPT_COMPLETED, None, b"AP-REP", b"ours") and step.identity is not None


@pytest.mark.parametrize("mic", [None, b"", b"forged"])
def test_a_ticket_without_the_proof_of_the_list_is_refused(mic: bytes | None) -> None:
    exchange, _ = reselected_kerberos(OTHERS_FIRST)
    exchange.step(response(AP_REQ)).result()
    assert refused(exchange.step(response(mic=mic, state=0))) == STATUS_LOGON_FAILURE
    assert refused(exchange.step(response(mic=b"client's"))) == STATUS_INVALID_PARAMETER, "it is over"
    exchange, _ = reselected_kerberos(OTHERS_FIRST)
    if mic is not None:
        assert refused(exchange.step(response(AP_REQ, mic))) == STATUS_LOGON_FAILURE


def test_an_ntlm_token_in_the_place_of_kerberos_is_not_taken_for_a_ticket() -> None:
    accounts = kerberos_accounts()
    step = acceptor(KERBEROS_SETTINGS, accounts).step(init(MIXED, Client().negotiate())).result()
    assert answer(step) == (spnego.ACCEPT_INCOMPLETE, spnego.MS_KERBEROS_OID, b"", None)
    assert accounts.kerberos_tokens == []


def test_another_round_without_a_ticket_is_malformed_and_a_rejection_ends_it() -> None:
    for message, status in ((response(), STATUS_INVALID_PARAMETER), (response(AP_REQ, state=2), STATUS_LOGON_FAILURE)):
        exchange = acceptor(KERBEROS_SETTINGS, kerberos_accounts())
        exchange.step(init(MIXED)).result()
        assert refused(exchange.step(message)) == status


def test_what_mountd_says_of_a_refusal_is_the_status_and_the_line() -> None:
    accounts = Accounts()
    account = LoginResponse("", b"", 0, 0)
    skew = SpnegoResponse(account, reason="Clock skew too great", principal="a@X", status=STATUS_TIME_DIFFERENCE_AT_DC)
    accounts.kerberos = skew
    with pytest.raises(LogonRefused) as raised:
        acceptor(KERBEROS_SETTINGS, accounts).step(init(MIXED, AP_REQ)).result()
    error = raised.value
    assert (error.status, error.reason, error.account) == (STATUS_TIME_DIFFERENCE_AT_DC, "Clock skew too great", "a@X")


# -- malformed ------------------------------------------------------------------------------------------------------

GOOD = init([spnego.NTLMSSP_OID], Client().negotiate())


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(b"\x60", id="a tag alone"),
        pytest.param(b"\x60\x80", id="indefinite length"),
        pytest.param(b"\x60\x85\1\1\1\1\1", id="length of five bytes"),
        pytest.param(b"\x60\x84\xff\xff\xff\xff", id="4 GiB announced"),
        pytest.param(b"\x60\x7f\x06\x06", id="more announced than there is"),
        pytest.param(GOOD[:-1], id="cut"),
        pytest.param(tlv(0x60, b""), id="nothing in the frame"),
        pytest.param(tlv(0x60, bytes.fromhex("06062b0601050503") + b"\xa0\0"), id="another mechanism's frame"),
        pytest.param(tlv(0x60, bytes.fromhex("0600")), id="an empty OID"),
        pytest.param(tlv(0x60, bytes.fromhex("06062b0601050502")), id="no NegTokenInit"),
        pytest.param(tlv(0xA0, b""), id="an empty NegTokenInit"),
        pytest.param(tlv(0xA0, tlv(0x30, b"")), id="no mechTypes"),
        pytest.param(tlv(0xA0, tlv(0x30, tlv(0xA0, b"\x30\0"))), id="an empty list"),
        pytest.param(tlv(0xA0, tlv(0x30, tlv(0xA0, b"\x04\1x"))), id="a string for a list"),
        pytest.param(tlv(0xA0, tlv(0x30, tlv(0xA0, tlv(0x30, b"\x04\1x")))), id="a list of strings"),
        pytest.param(tlv(0xA0, tlv(0x30, tlv(0xA0, NTLM_LIST + b"\0"))), id="a list with a tail"),
        pytest.param(init([spnego.NTLMSSP_OID] * 65), id="65 mechanisms"),
        pytest.param(init([spnego.NTLMSSP_OID], b"junk"), id="a token that is no NTLMSSP"),
        pytest.param(init([spnego.NTLMSSP_OID], bytes(0x10000 - 40)), id="a token of 64 KiB"),
        pytest.param(b"\x30\x80" * 3000, id="nested"),
        pytest.param(tlv(0xA0, tlv(0x30, b"\x24\x80" * 3000)), id="deeply nested strings"),
        pytest.param(response(Client().negotiate()), id="a NegTokenResp first"),
        pytest.param(b"\xff\xfe", id="no tag of ours"),
    ],
)
def test_a_malformed_first_token(token: bytes) -> None:
    exchange = acceptor()
    assert refused(exchange.step(token)) == STATUS_INVALID_PARAMETER
    assert refused(exchange.step(GOOD)) == STATUS_INVALID_PARAMETER


@pytest.mark.parametrize(
    "token",
    [
        b"", GOOD, b"\xa1\0", tlv(0xA1, b"\x30\2\xa0\0"), response(), response(b"NTLMSSP"), response(mic=bytes(16)),
        tlv(0xA1, tlv(0x30, tlv(0xA0, b"\x04\1x"))), tlv(0xA1, b"\x24\x80" * 3000), bytes(70000),
    ],
)  # fmt: skip
def test_a_malformed_second_token(token: bytes) -> None:
    exchange = acceptor()
    exchange.step(GOOD).result()
    assert refused(exchange.step(token)) == STATUS_INVALID_PARAMETER


@given(st.binary(max_size=100), st.integers(0, len(GOOD) - 1), st.binary(max_size=5))
def test_any_bytes_give_an_answer_or_ntstatus(token: bytes, place: int, damage: bytes) -> None:
    damaged = GOOD[:place] + damage + GOOD[place + len(damage) :]
    for data in (token, b"\x60" + token, damaged, GOOD[:place] + damage + GOOD[place:], GOOD[:place]):
        exchange = acceptor(KERBEROS_SETTINGS)
        try:
            exchange.step(data).result()
            exchange.step(tlv(0xA1, token)).result()
        except NtStatusError:
            pass


# -- other projects' clients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
@pytest.mark.parametrize("user", ["alice", "WORKGROUP\\alice"])
def test_pyspnego_logs_on(protocol: str, user: str) -> None:
    client_module = pytest.importorskip("spnego")
    client = client_module.client(user, "Pa55wörd", hostname="files", service="cifs", protocol=protocol,
                                  options=client_module.NegotiateOptions.use_ntlm
                                  if protocol == "ntlm" else client_module.NegotiateOptions.use_negotiate)  # fmt: skip
    exchange = acceptor()
    first = exchange.step(client.step()).result()
    last = exchange.step(client.step(first.token)).result()
    if last.token:
        assert client.step(last.token) is None
    assert client.complete
    assert last.identity is not None and last.identity.session_key == client.session_key
    if protocol == "negotiate":
        assert answer(last)[3] is not None  # it sent a mechListMIC and took ours


def test_pyspnego_is_refused_with_a_wrong_password() -> None:
    client_module = pytest.importorskip("spnego")
    client = client_module.client("alice", "guess", protocol="negotiate",
                                  options=client_module.NegotiateOptions.use_negotiate)  # fmt: skip
    exchange = acceptor()
    first = exchange.step(client.step()).result()
    assert refused(exchange.step(client.step(first.token))) == STATUS_LOGON_FAILURE


@pytest.mark.parametrize("version2", [True, False])
def test_impacket_logs_on(version2: bool) -> None:
    ntlm = pytest.importorskip("impacket.ntlm")
    exchange = acceptor(AuthSettings(ntlm_auth="ntlmv1-permitted"))
    negotiate = ntlm.getNTLMSSPType1("CLIENT", "", True, use_ntlmv2=version2)
    first = exchange.step(init([spnego.NTLMSSP_OID], negotiate.getData())).result()
    authenticate, session_key = ntlm.getNTLMSSPType3(
        negotiate, answer(first)[2], "alice", "Pa55wörd", "", use_ntlmv2=version2
    )
    last = exchange.step(response(authenticate.getData())).result()
    assert last.identity is not None and last.identity.session_key == session_key
