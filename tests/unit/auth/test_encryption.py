# SPDX-License-Identifier: GPL-2.0-or-later
"""Sealing: the transform header's bytes, round trips in place, everything that must not decrypt."""
from __future__ import annotations

import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.auth import encryption
from ksmbd.auth.encryption import LARGE, AeadSealer, Nonces
from ksmbd.smb.constants import CIPHER_AES128_CCM, CIPHER_AES128_GCM, CIPHER_AES256_CCM, CIPHER_AES256_GCM
from ksmbd.smb.status import ConnectionFatal

CIPHERS = {CIPHER_AES128_CCM: 16, CIPHER_AES128_GCM: 16, CIPHER_AES256_CCM: 32, CIPHER_AES256_GCM: 32}
SESSION_ID = 0x1122334455667788


def pair(cipher: int) -> tuple[AeadSealer, AeadSealer]:
    """(server, client)."""
    one, other = os.urandom(CIPHERS[cipher]), os.urandom(CIPHERS[cipher])
    return AeadSealer(cipher, one, other), AeadSealer(cipher, other, one)


def sealed(sealer: AeadSealer, message: bytes, headroom: int = 52) -> bytearray:
    frame = bytearray(headroom) + message
    sealer.seal(frame, headroom, SESSION_ID)
    return frame[headroom - 52 :]


@pytest.fixture(params=[True, False], ids=["in place", "older library"])
def in_place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(encryption, "_IN_PLACE", request.param)
    return bool(request.param)


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 64, 200, LARGE - 1, LARGE, LARGE + 1, 1 << 20])
def test_round_trip(cipher: int, size: int, in_place: bool) -> None:
    server, client = pair(cipher)
    message = os.urandom(size)
    for sender, receiver in ((server, client), (client, server)):
        frame = sealed(sender, message, 56)
        assert len(frame) == 52 + size
        readonly = bytes(frame)
        opened = receiver.open(memoryview(frame))
        assert opened == message
        assert frame[52:] == message  # in place
        assert receiver.open(memoryview(readonly)) == message


@pytest.mark.parametrize("cipher", CIPHERS)
def test_the_transform_header_byte_by_byte(cipher: int, in_place: bool) -> None:
    key = os.urandom(CIPHERS[cipher])
    message = os.urandom(100)
    frame = bytes(sealed(AeadSealer(cipher, key, key), message))
    gcm = cipher in (CIPHER_AES128_GCM, CIPHER_AES256_GCM)
    nonce = frame[20 : 32 if gcm else 31]
    assert frame[:4] == b"\xfdSMB" and not any(frame[20 + len(nonce) : 36])
    assert frame[36:52] == (100).to_bytes(4, "little") + b"\0\0\1\0" + SESSION_ID.to_bytes(8, "little")
    aead: Any = AESGCM(key) if gcm else AESCCM(key)
    assert aead.decrypt(nonce, frame[52:] + frame[4:20], frame[20:52]) == message


def test_seal_works_where_somebody_holds_a_view_of_the_frame() -> None:
    server, client = pair(CIPHER_AES128_GCM)
    frame = bytearray(52) + b"message"
    view = memoryview(frame)
    server.seal(frame, 52, SESSION_ID)
    assert bytes(client.open(view)) == b"message"


def _bent(frame: bytes, place: int, data: bytes) -> bytes:
    return frame[:place] + data + frame[place + len(data) :]


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("size", [100, LARGE])
@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(
    ("place", "data"),
    [
        pytest.param(0, b"\xfe", id="ProtocolId"),
        pytest.param(4, bytes(16), id="Signature"),
        pytest.param(20, bytes(11), id="Nonce"),
        pytest.param(35, b"\1", id="the rest of the Nonce field"),
        pytest.param(36, b"\x63\0\0\0", id="OriginalMessageSize too small"),
        pytest.param(36, b"\xff\xff\xff\xff", id="OriginalMessageSize too big"),
        pytest.param(36, b"\0\0\0\0", id="OriginalMessageSize 0"),
        pytest.param(40, b"\1", id="Reserved"),
        pytest.param(42, b"\0", id="Flags"),
        pytest.param(44, b"\0", id="SessionId"),
        pytest.param(52, bytes(4), id="the message"),
        pytest.param(-1, bytes(8), id="the end of the message"),
    ],
)
def test_what_was_changed_does_not_decrypt(cipher: int, size: int, readonly: bool, place: int, data: bytes) -> None:
    server, client = pair(cipher)
    frame = bytes(sealed(client, b"x" * size))
    bent = _bent(frame, place if place >= 0 else len(frame) - len(data), data)
    assert bent != frame
    with pytest.raises(ConnectionFatal):
        server.open(memoryview(bent) if readonly else memoryview(bytearray(bent)))


@pytest.mark.parametrize("size", [0, 1, 4, 51, 52])
def test_a_frame_without_message_or_header_ends_the_connection(size: int) -> None:
    server, client = pair(CIPHER_AES128_GCM)
    frame = sealed(client, b"message")
    with pytest.raises(ConnectionFatal):
        server.open(memoryview(frame)[:size])


@given(st.binary(max_size=120))
def test_any_frame_is_connection_fatal(data: bytes) -> None:
    for cipher in CIPHERS:
        server, _ = pair(cipher)
        size = max(len(data) - 52, 0)
        for frame in (data, b"\xfdSMB" + data[4:36] + size.to_bytes(4, "little") + b"\0\0\1\0" + data[44:]):
            with pytest.raises(ConnectionFatal):
                server.open(memoryview(bytearray(frame)))


def test_nonces_differ_wrap_and_differ_between_sealers() -> None:
    nonces = Nonces(12)
    taken = {nonces.next() for _ in range(1000)}
    assert len(taken) == 1000 and {len(nonce) for nonce in taken} == {12}
    nonces._counter = iter((2**64 - 1, 2**64))  # type: ignore[assignment]
    assert nonces.next()[4:] == b"\xff" * 8 and nonces.next()[4:] == bytes(8)
    assert Nonces(11).next() != Nonces(11).next()


@pytest.mark.parametrize("cipher", CIPHERS)
def test_keys_of_the_wrong_size_are_a_mistake_of_ours(cipher: int) -> None:
    with pytest.raises(ValueError, match="keys of"):
        AeadSealer(cipher, bytes(24), bytes(24))
