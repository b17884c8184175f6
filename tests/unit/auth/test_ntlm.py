# SPDX-License-Identifier: GPL-2.0-or-later
"""NTLM: the specification's examples (MS-NLMP 4.2), every response kind, who is let in, what is malformed."""
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from auth_doubles import Accounts
from hypothesis import given
from hypothesis import strategies as st
from ntlm_client import DEFAULT_FLAGS, Client

from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth import ntlm_messages as messages
from ksmbd.auth.acceptor import SpnegoAuthenticator
from ksmbd.auth.md4 import md4
from ksmbd.auth.settings import AuthSettings
from ksmbd.overriding import override
from ksmbd.smb.ports import Identity, LoginResponse
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_ACCOUNT_DISABLED,
    STATUS_ACCOUNT_EXPIRED,
    STATUS_ACCOUNT_LOCKED_OUT,
    STATUS_INVALID_PARAMETER,
    STATUS_LOGON_FAILURE,
    LogonThrottled,
    NtStatusError,
)
from ksmbd.smb.waiting import Cancelled, Future

FILETIME = 133500000000000000
V1_ALLOWED = AuthSettings(ntlm_auth="ntlmv1-permitted")
NO_ESS = DEFAULT_FLAGS & ~crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY


def acceptor(settings: AuthSettings = AuthSettings(), accounts: Any = None) -> SpnegoAuthenticator:  # noqa: B008
    return SpnegoAuthenticator(settings, accounts or Accounts(), lambda: FILETIME)


def log_on(client: Client, settings: AuthSettings = AuthSettings(), accounts: Any = None) -> Identity:  # noqa: B008
    exchange = acceptor(settings, accounts)
    first = exchange.step(client.negotiate()).result()
    assert first.identity is None
    last = exchange.step(client.authenticate(first.token)).result()
    assert last.identity is not None and last.token == b""
    return last.identity


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(NtStatusError) as raised:
        call()
    return raised.value.status


# -- MS-NLMP 4.2 ----------------------------------------------------------------------------------------------------

SERVER_CHALLENGE = bytes.fromhex("0123456789abcdef")
NT_HASH = bytes.fromhex("a4f49c406510bdcab6824ee7c30fd852")
BLOB = bytes.fromhex(
    "0101000000000000" "0000000000000000" "aaaaaaaaaaaaaaaa" "00000000"
    "02000c0044006f006d00610069006e00" "01000c00530065007200760065007200" "00000000" "00000000"
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "043f8582f241db351ce627e153e7f0e4"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_of_rfc_1320(text: bytes, digest: str) -> None:
    assert md4(text).hex() == digest


def test_ntlm_v1_of_the_specification() -> None:
    assert crypto.ntowf_v1("Password") == NT_HASH
    assert crypto.desl(NT_HASH, SERVER_CHALLENGE).hex() == "67c43011f30298a2ad35ece64f16331c44bdbed927841f94"
    assert crypto.kxkey_v1(0, NT_HASH, b"", SERVER_CHALLENGE).hex() == "d87262b0cde4b1cb7499becccdf10784"
    assert (
        crypto.kxkey_v1(crypto.NEGOTIATE_EXTENDED_SESSIONSECURITY, NT_HASH, b"\xaa" * 8, SERVER_CHALLENGE).hex()
        == "eb93429a8bd952f8b89c55b87f475edc"
    )


def test_ntlm_v2_of_the_specification() -> None:
    key = crypto.ntowf_v2(NT_HASH, "User", "Domain")
    assert key.hex() == "0c868a403bfd7a93a3001ef22ef02e3f"
    proof = crypto.nt_proof(key, SERVER_CHALLENGE, BLOB)
    assert proof.hex() == "68cd0ab851e51c96aabc927bebef6a1c"
    assert crypto.nt_proof(key, SERVER_CHALLENGE, b"\xaa" * 8).hex() == "86c35097ac9cec102554764a57cccc19"
    base = crypto.hmac_md5(key, proof)
    assert base.hex() == "8de40ccadbc14a82f15cb0ad0de95ca3"
    assert crypto.rc4(base).update(b"\x55" * 16).hex() == "c5dad2544fc9799094ce1ce90bc9d03e"


def test_signature_of_the_specification() -> None:
    """MS-NLMP 4.2.4.4: the text is sealed first, then signed with the same stream."""
    flags = DEFAULT_FLAGS | crypto.NEGOTIATE_SEAL
    key, text = b"\x55" * 16, "Plaintext".encode("utf-16-le")
    assert crypto.seal_key(flags, key, False).hex() == "59f600973cc4960a25480a7c196e4c58"
    assert crypto.sign_key(key, False).hex() == "4788dc861b4782f35d43fd98fe1a2d39"
    signatures = crypto.MessageSignatures(flags, key)
    assert signatures._client_stream.update(text).hex() == "54e50165bf1936dc996020c1811b0f06fb5f"
    assert signatures.of_client(text).hex() == "010000007fb38ec5c55d497600000000"


def test_names_are_upper_cased_character_by_character() -> None:
    assert crypto.upper("straße-ünï") == "STRAßE-ÜNÏ"


# -- who is let in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(Client(), id="as Windows does it"),
        pytest.param(Client(mic=False), id="no MIC"),
        pytest.param(Client(user="ALICE"), id="another case"),
        pytest.param(Client(domain=""), id="no domain"),
        pytest.param(Client(flags=DEFAULT_FLAGS & ~crypto.NEGOTIATE_KEY_EXCH), id="no key exchange"),
        pytest.param(Client(flags=NO_ESS), id="no extended session security"),
        pytest.param(Client(flags=DEFAULT_FLAGS | crypto.NEGOTIATE_OEM), id="OEM offered too"),
        pytest.param(Client(authenticate_flags=0), id="flags left out at the end"),
    ],
)
def test_the_right_password_is_let_in(client: Client) -> None:
    if client.authenticate_flags == 0:  # the flags are the challenge's, and so is the key exchange
        client.flags &= ~crypto.NEGOTIATE_KEY_EXCH
    identity = log_on(client)
    assert (identity.account, identity.uid, identity.gid, identity.groups) == ("alice", 1000, 1000, (1000, 27))
    assert identity.domain == "WORKGROUP" and identity.session_key == client.session_key
    assert len(identity.session_key) == 16 and not identity.is_guest and not identity.is_anonymous


@pytest.mark.parametrize("kind", ["v1", "ntlm2", "lmv2"])
def test_older_responses_count_only_where_allowed(kind: str) -> None:
    flags = NO_ESS if kind == "v1" else DEFAULT_FLAGS
    assert status_of(lambda: log_on(Client(kind=kind, flags=flags))) == STATUS_LOGON_FAILURE
    client = Client(kind=kind, flags=flags)
    assert log_on(client, V1_ALLOWED).session_key == client.session_key
    wrong = Client(kind=kind, flags=flags, password="guess")
    assert status_of(lambda: log_on(wrong, V1_ALLOWED)) == STATUS_LOGON_FAILURE


def test_unknown_user_and_wrong_password_look_alike() -> None:
    for client in (Client(password="guess"), Client(user="mallory"), Client(user="mallory", password="")):
        accounts = Accounts()
        assert status_of(lambda c=client, a=accounts: log_on(c, accounts=a)) == STATUS_LOGON_FAILURE  # type: ignore[misc]
        assert accounts.asked == [client.user]
        assert accounts.ended == [(client.user, True)], "mountd counts the failures of both"


@pytest.mark.parametrize("admitted", [True, False], ids=["known", "unknown"])
def test_what_fails_too_often_is_answered_late(admitted: bool) -> None:
    class Tired(Accounts):
        @override
        def answer(self, account: str) -> LoginResponse:
            nt_hash = crypto.ntowf_v1("Pa55wörd")
            return LoginResponse("alice", nt_hash, 1000, 1000, admitted=admitted, throttled=True)

    with pytest.raises(LogonThrottled) as caught:
        log_on(Client(password="guess"), accounts=Tired())
    assert caught.value.status == STATUS_LOGON_FAILURE
    if admitted:
        assert log_on(Client(), accounts=Tired()).account == "alice"


def test_an_account_that_mountd_refuses_stays_out_with_the_right_password() -> None:
    class Refusing(Accounts):
        @override
        def answer(self, account: str) -> LoginResponse:
            return LoginResponse("alice", crypto.ntowf_v1("Pa55wörd"), 1000, 1000)

    assert status_of(lambda: log_on(Client(), accounts=Refusing())) == STATUS_LOGON_FAILURE


@pytest.mark.parametrize(
    "status", [STATUS_ACCOUNT_DISABLED, STATUS_ACCOUNT_LOCKED_OUT, STATUS_ACCOUNT_EXPIRED], ids=hex
)
def test_who_knows_the_password_learns_that_the_account_is_barred(status: int) -> None:
    class Barred(Accounts):
        @override
        def answer(self, account: str) -> LoginResponse:
            digest = crypto.ntowf_v1("Pa55wörd")
            return LoginResponse("alice", digest, 1000, 1000, admitted=True, refusal=status)

    assert status_of(lambda: log_on(Client(), accounts=Barred())) == status
    assert status_of(lambda: log_on(Client(password="guess"), accounts=Barred())) == STATUS_LOGON_FAILURE


@pytest.mark.parametrize("hash_", [b"", b"short", bytes(18)], ids=len)
def test_an_account_without_a_usable_hash_stays_out(hash_: bytes) -> None:
    class Broken(Accounts):
        @override
        def answer(self, account: str) -> LoginResponse:
            return LoginResponse("alice", hash_, 1000, 1000, admitted=True)

    assert status_of(lambda: log_on(Client(), accounts=Broken())) == STATUS_LOGON_FAILURE


@pytest.mark.parametrize(
    "user", ["a" * 48, "ü" * 24, "al\0ice", "al\ud800ice"], ids=["long", "wide", "NUL", "surrogate"]
)
def test_names_that_no_account_can_have_are_not_asked_for(user: str) -> None:
    accounts = Accounts()
    assert status_of(lambda: log_on(Client(user=user), accounts=accounts)) == STATUS_LOGON_FAILURE
    assert accounts.asked == []


def test_a_wrong_mic_is_refused() -> None:
    assert status_of(lambda: log_on(Client(damage_mic=True))) == STATUS_LOGON_FAILURE


def test_a_changed_negotiate_message_is_found_out_by_the_mic() -> None:
    client, exchange = Client(), acceptor()
    token = bytearray(client.negotiate())
    token[-1] ^= 1  # the version field, which nothing else looks at
    challenge = exchange.step(bytes(token)).result().token
    assert status_of(exchange.step(client.authenticate(challenge)).result) == STATUS_LOGON_FAILURE


def test_ntlm_can_be_switched_off() -> None:
    assert status_of(lambda: log_on(Client(), AuthSettings(ntlm_auth="disabled"))) == STATUS_LOGON_FAILURE


def test_anonymous() -> None:
    accounts = Accounts()
    identity = log_on(Client(kind="anonymous"), accounts=accounts)
    assert identity.is_anonymous and not identity.is_guest and identity.session_key == b"" and identity.uid == 65534
    assert accounts.asked == [""]
    refused = Client(kind="anonymous")
    assert status_of(lambda: log_on(refused, accounts=Accounts(anonymous=False))) == STATUS_ACCESS_DENIED


@pytest.mark.parametrize(
    ("mapping", "user", "password", "outcome"),
    [
        ("never", "mallory", "x", "refused"),
        ("never", "alice", "x", "refused"),
        ("never", "nobody", "", "refused"),
        ("bad user", "mallory", "x", "guest"),
        ("bad user", "alice", "x", "refused"),
        ("bad user", "nobody", "", "guest"),
        ("bad user", "alice", "Pa55wörd", "alice"),
        ("bad password", "mallory", "x", "guest"),
        ("bad password", "alice", "x", "guest"),
        ("bad password", "alice", "Pa55wörd", "alice"),
    ],
)
def test_map_to_guest(mapping: str, user: str, password: str, outcome: str) -> None:
    settings = AuthSettings(map_to_guest=mapping)
    client, accounts = Client(user=user, password=password), Accounts(guest_account=mapping != "never")
    if outcome == "refused":
        assert status_of(lambda: log_on(client, settings, accounts)) == STATUS_LOGON_FAILURE
        return
    identity = log_on(client, settings, accounts)
    assert identity.is_guest == (outcome == "guest")
    assert identity.account == ("nobody" if outcome == "guest" else "alice")
    assert bool(identity.session_key) == (outcome == "alice")


def test_a_guest_that_mountd_maps_needs_no_password() -> None:
    identity = log_on(Client(user="mallory"), accounts=Accounts(mapped=True))
    assert identity.is_guest and identity.account == "nobody" and identity.session_key == b""


def test_the_exchange_waits_for_mountd_and_can_be_cancelled() -> None:
    for cancel in (False, True):
        accounts, client = Accounts(), Client()
        exchange = acceptor(accounts=accounts)
        token = client.authenticate(exchange.step(client.negotiate()).result().token)
        accounts.pending = Future()
        step = exchange.step(token)
        assert not step.done
        if cancel:
            step.cancel()
            assert accounts.pending.done
            with pytest.raises(Cancelled):
                step.result()
        else:
            accounts.pending.set_result(accounts.answer("alice"))
            identity = step.result().identity
            assert identity is not None and identity.account == "alice"
        assert status_of(exchange.step(token).result) == STATUS_INVALID_PARAMETER


# -- the challenge --------------------------------------------------------------------------------------------------


def test_challenge_message() -> None:
    settings = AuthSettings("FILES", "Home", "files.home.example", "home.example")
    client = Client()
    client.parse(acceptor(settings).step(client.negotiate()).result().token)
    assert client.target == "FILES"
    assert client.challenge_flags & DEFAULT_FLAGS == DEFAULT_FLAGS  # what was asked for comes back, SIGN above all
    assert client.challenge_flags & crypto.NEGOTIATE_TARGET_INFO and client.challenge_flags & crypto.TARGET_TYPE_SERVER
    assert client.target_info == messages.encode_av_pairs(
        [
            (2, "HOME".encode("utf-16-le")),
            (1, "FILES".encode("utf-16-le")),
            (4, "home.example".encode("utf-16-le")),
            (3, "files.home.example".encode("utf-16-le")),
            (7, FILETIME.to_bytes(8, "little")),
        ]
    )


def test_challenges_differ_and_unasked_flags_stay_off() -> None:
    one, other = Client(flags=crypto.NEGOTIATE_UNICODE), Client(flags=crypto.NEGOTIATE_OEM)
    one.parse(acceptor().step(one.negotiate()).result().token)
    other_challenge = acceptor().step(other.negotiate()).result().token
    assert one.server_challenge != other_challenge[24:32]
    assert not one.challenge_flags & (crypto.NEGOTIATE_SIGN | crypto.NEGOTIATE_KEY_EXCH | crypto.NEGOTIATE_OEM)
    assert b"KSMBD SERVER" in other_challenge


# -- malformed ------------------------------------------------------------------------------------------------------

NEGOTIATE = Client().negotiate()


def test_neither_unicode_nor_oem() -> None:
    assert status_of(acceptor().step(Client(flags=0x200).negotiate()).result) == STATUS_INVALID_PARAMETER


@pytest.mark.parametrize(
    "token",
    [
        b"", b"N", b"NTLMSSP\0", NEGOTIATE[:11], NEGOTIATE[:12], NEGOTIATE[:15], b"NTLMSSX\0" + NEGOTIATE[8:],
        NEGOTIATE[:8] + b"\2\0\0\0" + NEGOTIATE[12:], NEGOTIATE[:8] + b"\3\0\0\0" + NEGOTIATE[12:],
        NEGOTIATE[:8] + b"\xff\xff\xff\xff" + NEGOTIATE[12:],
    ],
)  # fmt: skip
def test_a_first_token_that_is_none(token: bytes) -> None:
    assert status_of(acceptor().step(token).result) == STATUS_INVALID_PARAMETER


def _field(index: int, size: int, offset: int) -> Callable[[bytes], bytes]:
    place = 12 + 8 * index
    return lambda token: token[:place] + struct.pack("<HHI", size, size, offset) + token[place + 8 :]


MALFORMED = {
    "empty": lambda token: b"",
    "cut in the header": lambda token: token[:40],
    "cut in the payload": lambda token: token[:-1],
    "NEGOTIATE again": lambda token: NEGOTIATE,
    "no signature": lambda token: b"X" + token[1:],
    "LM response outside": _field(0, 24, 0xFFFFFFFF),
    "NT response outside": _field(1, 0xFFFF, 88),
    "domain beyond the end": _field(2, 2, 0x7FFFFFFF),
    "user of an odd length": _field(3, 3, 88),
    "domain of an odd length": _field(2, 1, 88),
    "NT response of 23 bytes": _field(1, 23, 88),
    "NT response of 43 bytes": _field(1, 43, 88),
    "LM response of 2 bytes": lambda token: _field(1, 0, 0)(_field(0, 2, 88)(token)),
    "session key of 15 bytes": _field(5, 15, 88),
    "no session key": _field(5, 0, 0),
    "a field in the header": _field(4, 2, 8),
    "a field over the flags": _field(4, 2, 59),
    "a field over the MIC": _field(4, 2, 80),
}


def test_a_client_blob_with_lying_pairs_is_malformed_whoever_sends_it() -> None:
    exchange, client = acceptor(), Client()
    challenge = exchange.step(client.negotiate()).result().token
    size = struct.unpack_from("<H", challenge, 40)[0]
    place = struct.unpack_from("<I", challenge, 44)[0]
    info = b"\x11\xa2\x08\x81" + challenge[place + 4 : place + size]
    token = client.authenticate(challenge[:place] + info + challenge[place + size :])
    assert status_of(exchange.step(token).result) == STATUS_INVALID_PARAMETER


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_authenticate_message(name: str) -> None:
    exchange, client = acceptor(V1_ALLOWED), Client()
    token = client.authenticate(exchange.step(client.negotiate()).result().token)
    assert status_of(exchange.step(MALFORMED[name](token)).result) == STATUS_INVALID_PARAMETER
    assert status_of(exchange.step(token).result) == STATUS_INVALID_PARAMETER  # no second chance


@given(st.binary(max_size=200))
def test_any_first_token_gives_an_answer_or_ntstatus(token: bytes) -> None:
    for data in (token, b"NTLMSSP\0" + token, b"NTLMSSP\0\1\0\0\0" + token):
        try:
            acceptor().step(data).result()
        except NtStatusError:
            pass


@given(st.data())
def test_any_second_token_gives_an_answer_or_ntstatus(data: st.DataObject) -> None:
    exchange, client = acceptor(V1_ALLOWED), Client()
    token = bytearray(client.authenticate(exchange.step(client.negotiate()).result().token))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(token) - 1))
        damage = data.draw(st.binary(min_size=1, max_size=4))
        token[place : place + len(damage)] = damage
    del token[data.draw(st.integers(0, len(token))) :]
    try:
        exchange.step(bytes(token)).result()
    except NtStatusError:
        pass


@given(st.binary(max_size=100))
def test_av_pairs_of_any_bytes(blob: bytes) -> None:
    for data in (blob, bytes(28) + struct.pack("<HHI", 6, 4, 2) + blob):
        try:
            assert messages.av_flags(data) >= 0
        except NtStatusError as error:
            assert error.status == STATUS_INVALID_PARAMETER


def test_av_pairs_end_where_they_end() -> None:
    flags = struct.pack("<HHI", 6, 4, 2)
    for tail in (bytes(4), b"", b"\1\0", struct.pack("<HH2s", 1, 2, b"xx") + bytes(8), bytes(4) + b"\1\0\xff\xff"):
        assert messages.av_flags(bytes(28) + flags + tail) == 2
    assert messages.av_flags(bytes(28) + bytes(4) + flags) == 0
    for lie in (struct.pack("<HH", 6, 5) + bytes(4), struct.pack("<HH", 1, 0xFFFF), struct.pack("<HHH", 6, 2, 2)):
        assert status_of(lambda lie=lie: messages.av_flags(bytes(28) + lie)) == STATUS_INVALID_PARAMETER  # type: ignore[misc]
