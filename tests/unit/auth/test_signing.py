# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures: RFC 4493's and NIST's vectors, GMAC's nonce, what a verification leaves behind."""
from __future__ import annotations

import hashlib
import hmac
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.auth import signing
from ksmbd.auth.signing import AesCmacSigner, make_signer
from ksmbd.smb.constants import CANCEL, READ, SIGNING_AES_CMAC, SIGNING_AES_GMAC, SIGNING_HMAC_SHA256

ALGORITHMS = [SIGNING_HMAC_SHA256, SIGNING_AES_CMAC, SIGNING_AES_GMAC]
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC_4493 = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


def message(size: int = 200, command: int = READ, message_id: int = 7) -> bytearray:
    header = bytearray(64)
    header[0:6] = b"\xfeSMB\x40\0"
    header[12:14] = command.to_bytes(2, "little")
    header[24:32] = message_id.to_bytes(8, "little")
    return header + os.urandom(size - 64)


def client_signature(algorithm: int, data: bytearray, role: int = 0) -> bytes:
    """The client's signature, by the plainest means."""
    bare = bytes(data[:48]) + bytes(16) + bytes(data[64:])
    if algorithm == SIGNING_HMAC_SHA256:
        return hmac.new(KEY, bare, hashlib.sha256).digest()[:16]
    if algorithm == SIGNING_AES_CMAC:
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.cmac import CMAC

        mac = CMAC(AES(KEY))
        mac.update(bare)
        return mac.finalize()
    cancel = 2 if bare[12:14] == CANCEL.to_bytes(2, "little") else 0
    return AESGCM(KEY).encrypt(bare[24:32] + bytes((role | cancel, 0, 0, 0)), b"", bare)


@pytest.mark.parametrize(
    ("size", "mac"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_cmac_of_rfc_4493(size: int, mac: str) -> None:
    signer = AesCmacSigner(KEY)
    assert signer._mac(memoryview(RFC_4493[:size]), True).hex() == mac
    if size:
        assert signer._mac_in_chunks(memoryview(RFC_4493[:size])).hex() == mac


@given(st.integers(1, 200), st.integers(1, 5))
def test_cmac_in_chunks_is_cmac(size: int, chunk: int) -> None:
    signer, data = AesCmacSigner(KEY), memoryview(os.urandom(size))
    large, signing.LARGE = signing.LARGE, chunk * 16  # type: ignore[misc]
    try:
        in_chunks = signer._mac_in_chunks(data)
    finally:
        signing.LARGE = large  # type: ignore[misc]
    mac = signer._keyed.copy()
    mac.update(bytes(data))
    assert in_chunks == mac.finalize()


@pytest.mark.parametrize("size", [signing.LARGE - 1, signing.LARGE, signing.LARGE + 1, 3 * signing.LARGE + 17])
def test_large_messages_have_the_same_signature(size: int) -> None:
    data = message(size)
    data[48:64] = client_signature(SIGNING_AES_CMAC, data)
    assert make_signer(SIGNING_AES_CMAC, KEY).verify(memoryview(data))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [64, 65, 72, 200, 70000])
@pytest.mark.parametrize("readonly", [False, True])
def test_verify_takes_the_clients_signature_and_leaves_the_message(algorithm: int, size: int, readonly: bool) -> None:
    signer = make_signer(algorithm, KEY)
    data = message(size)
    data[48:64] = client_signature(algorithm, data)
    before = bytes(data)
    view = memoryview(before) if readonly else memoryview(data)
    assert signer.verify(view) and signer.verify(view)
    assert bytes(data) == before
    for place in (0, 8, 24, 48, 63, size - 1):
        damaged = bytearray(before)
        damaged[place] ^= 1
        assert not signer.verify(memoryview(bytes(damaged)) if readonly else memoryview(damaged))
        assert damaged[48:64] == bytes(damaged)[48:64]
    assert not make_signer(algorithm, bytes(16)).verify(view)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sign_overwrites_what_was_in_the_field(algorithm: int) -> None:
    data = message()
    data[48:64] = os.urandom(16)
    expected = client_signature(algorithm, data, role=1)
    make_signer(algorithm, KEY).sign(memoryview(data))
    assert data[48:64] == expected


def test_gmac_knows_role_cancel_and_message_id() -> None:
    signer = make_signer(SIGNING_AES_GMAC, KEY)
    signatures = set()
    for command in (READ, CANCEL):
        for message_id in (7, 8):
            data = message(64, command, message_id)
            data[48:64] = client_signature(SIGNING_AES_GMAC, data)
            assert signer.verify(memoryview(data))
            signatures.add(bytes(data[48:64]))
            signer.sign(memoryview(data))
            signatures.add(bytes(data[48:64]))
            assert not signer.verify(memoryview(data)), "a reply sent back to the server must not verify"
    assert len(signatures) == 8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [0, 16, 63])
def test_what_is_shorter_than_a_header_does_not_verify(algorithm: int, size: int) -> None:
    assert not make_signer(algorithm, KEY).verify(memoryview(bytearray(size)))


def test_an_unknown_algorithm_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        make_signer(3, KEY)
