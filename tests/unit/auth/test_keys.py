# SPDX-License-Identifier: GPL-2.0-or-later
"""Key derivation against the library's SP800-108 and MS-SMB2's labels, and the preauthentication hash."""
from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from ksmbd.auth.keys import derive_keys, kdf
from ksmbd.smb.constants import (
    CIPHER_AES128_CCM,
    CIPHER_AES128_GCM,
    CIPHER_AES256_CCM,
    CIPHER_AES256_GCM,
    DIALECT_202,
    DIALECT_210,
    DIALECT_300,
    DIALECT_302,
    DIALECT_311,
)
from ksmbd.smb.preauth import INITIAL_HASH, preauth_update

KEY = bytes.fromhex("270e1ba896585eeb7af3472d3b4c75a7")
LONG_KEY = bytes(range(32))
PREAUTH = hashlib.sha512(b"the messages so far").digest()


def reference(key: bytes, label: bytes, context: bytes, size: int = 16) -> bytes:
    """The library's implementation of SP800-108, which takes the parts of the fixed data apart."""
    return KBKDFHMAC(
        algorithm=SHA256(), mode=Mode.CounterMode, length=size, rlen=4, llen=4,
        location=CounterLocation.BeforeFixed, label=label, context=context, fixed=None,
    ).derive(key)  # fmt: skip


@pytest.mark.parametrize("size", [16, 32])
def test_kdf_is_sp800_108(size: int) -> None:
    assert kdf(KEY, b"label\0", b"context\0", size) == reference(KEY, b"label\0", b"context\0", size)


@pytest.mark.parametrize("dialect", [DIALECT_202, DIALECT_210])
def test_smb2_signs_with_the_session_key(dialect: int) -> None:
    keys = derive_keys(dialect, LONG_KEY, PREAUTH, 0)
    assert keys.signing == keys.application == LONG_KEY[:16]
    assert derive_keys(dialect, b"short", PREAUTH, 0).signing == b"short".ljust(16, b"\0")


@pytest.mark.parametrize("dialect", [DIALECT_300, DIALECT_302])
def test_smb30_labels(dialect: int) -> None:
    keys = derive_keys(dialect, KEY, PREAUTH, CIPHER_AES128_CCM)
    assert keys.signing == reference(KEY, b"SMB2AESCMAC\0", b"SmbSign\0")
    assert keys.application == reference(KEY, b"SMB2APP\0", b"SmbRpc\0")
    assert keys.encryption == reference(KEY, b"SMB2AESCCM\0", b"ServerOut\0")
    assert keys.decryption == reference(KEY, b"SMB2AESCCM\0", b"ServerIn \0")


@pytest.mark.parametrize("cipher", [0, CIPHER_AES128_CCM, CIPHER_AES128_GCM, CIPHER_AES256_CCM, CIPHER_AES256_GCM])
def test_smb311_labels_and_sizes(cipher: int) -> None:
    keys = derive_keys(DIALECT_311, LONG_KEY, PREAUTH, cipher)
    long = cipher in (CIPHER_AES256_CCM, CIPHER_AES256_GCM)
    source, size = (LONG_KEY, 32) if long else (LONG_KEY[:16], 16)
    assert keys.signing == reference(LONG_KEY[:16], b"SMBSigningKey\0", PREAUTH)
    assert keys.application == reference(LONG_KEY[:16], b"SMBAppKey\0", PREAUTH)
    assert keys.encryption == reference(source, b"SMBS2CCipherKey\0", PREAUTH, size)
    assert keys.decryption == reference(source, b"SMBC2SCipherKey\0", PREAUTH, size)


def test_other_clients_derive_the_same_keys() -> None:
    impacket = pytest.importorskip("impacket.crypto")
    session = pytest.importorskip("smbprotocol.session")
    keys = derive_keys(DIALECT_311, KEY, PREAUTH, CIPHER_AES128_GCM)
    assert impacket.KDF_CounterMode(KEY, b"SMBSigningKey\0", PREAUTH, 128) == keys.signing
    assert impacket.KDF_CounterMode(KEY, b"SMBC2SCipherKey\0", PREAUTH, 128) == keys.decryption
    assert session.Session._smb3kdf(None, KEY, b"SMBS2CCipherKey\0", PREAUTH) == keys.encryption


def test_preauth_hash_is_a_chain() -> None:
    first = preauth_update(INITIAL_HASH, b"NEGOTIATE request")
    assert first == hashlib.sha512(bytes(64) + b"NEGOTIATE request").digest()
    assert preauth_update(first, memoryview(b"reply")) == hashlib.sha512(first + b"reply").digest()
