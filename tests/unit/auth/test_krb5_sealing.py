# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys and messages of Kerberos against the vectors of the RFCs, and against impacket's."""
from __future__ import annotations

import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.krb5.crypto import _AES128CTS, _AES256CTS, _SHA1AES128, _SHA1AES256, Key
from impacket.krb5.gssapi import GSSAPI_AES128, GSSAPI_AES256

from ksmbd.auth import krb5_crypto as crypto
from ksmbd.auth.krb5_sealing import KerberosProtection, MessageKeys


@pytest.mark.parametrize(("data", "size", "folded"), [
    (b"012345", 8, "be072631276b1955"), (b"password", 7, "78a07b6caf85fa"),
    (b"Rough Consensus, and Running Code", 8, "bb6ed30870b7f0e0"),
    (b"kerberos", 16, "6b65726265726f737b9b5b2b93132b93"), (b"Q", 21, "518a54a2"),
])  # fmt: skip
def test_folding(data: bytes, size: int, folded: str) -> None:
    """RFC 3961 A.1."""
    assert crypto.n_fold(data, size).hex().startswith(folded)


@pytest.mark.parametrize(("text", "cipher"), [
    ("I would like the ", "c6353568f2bf8cb4d8a580362da7ff7f97"),
    ("I would like the General Gau's ", "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
    ("I would like the General Gau's C", "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
])  # fmt: skip
def test_ciphertext_stealing(text: str, cipher: str) -> None:
    """RFC 3962 B."""
    key = b"chicken teriyaki"
    assert crypto.encrypt_cts(key, text.encode()).hex() == cipher
    assert crypto.decrypt_cts(key, bytes.fromhex(cipher)) == text.encode()


BASE = {
    19: "3705d96080c17728a0e800eab6e0d23c",
    20: "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52",
}


@pytest.mark.parametrize(("enctype", "constant", "size", "made"), [
    (19, "0000000299", 16, "b31a018a48f54776f403e9a396325dc3"),
    (19, "00000002aa", 16, "9b197dd1e8c5609d6e67c3e37c62c72e"),
    (19, "0000000255", 16, "9fda0e56ab2d85e1569a688696c26a6c"),
    (20, "0000000299", 24, "ef5718be86cc84963d8bbb5031e9f5c4ba41f28faf69e73d"),
    (20, "00000002aa", 32, "56ab22bee63d82d7bc5227f6773f8ea7a5eb1c825160c38312980c442e5c7e49"),
    (20, "0000000255", 24, "69b16514e3cd8e56b82010d5c73012b622c4d00ffc23ed1f"),
])  # fmt: skip
def test_derived_keys(enctype: int, constant: str, size: int, made: str) -> None:
    """RFC 8009 A."""
    key = bytes.fromhex(BASE[enctype])
    assert crypto.derive(crypto.PROFILES[enctype], key, bytes.fromhex(constant), size).hex() == made


@pytest.mark.parametrize(("enctype", "plain", "cipher"), [
    (19, "7bca285e2fd4130fb55b1a5c83bc5b24000102030405",
     "84d7f30754ed987bab0bf3506beb09cfb55402cef7e6877ce99e247e52d16ed4421dfdf8976c"),
    (20, "b80d3251c1f6471494256ffe712d0b9a000102030405",
     "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2"),
])  # fmt: skip
def test_encryption_of_rfc_8009(enctype: int, plain: str, cipher: str) -> None:
    """RFC 8009 A: confounder and plaintext, and ciphertext with its HMAC."""
    keys = crypto.Keys(enctype, bytes.fromhex(BASE[enctype]), 2)
    made = keys.encrypt(bytes.fromhex(plain))
    assert (made + keys.integrity(made)).hex() == cipher
    assert keys.decrypt(made).hex() == plain


def test_other_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="23"):
        KerberosProtection(MessageKeys(23, bytes(16), True, 0, 0), True, True)
    with pytest.raises(ValueError, match="bytes of key"):
        KerberosProtection(MessageKeys(18, bytes(16), True, 0, 0), True, True)


# -------------------------------------------------------------------------------------------- messages, and a client

OF_IMPACKET = {17: (_AES128CTS, _SHA1AES128, GSSAPI_AES128), 18: (_AES256CTS, _SHA1AES256, GSSAPI_AES256)}
HEAD, TRAILER = b"head" * 6, b"trailer!"


class Client:
    """A client with header signing, of impacket's encryption: RFC 4121 4.2, in DCE style."""

    def __init__(self, enctype: int, key: bytes) -> None:
        self.cipher, self.sums, _ = OF_IMPACKET[enctype]
        self.key = Key(enctype, key)

    def signed(self, body: bytes, number: int) -> bytes:
        header = struct.pack(">HB5sQ", 0x0404, 4, b"\xff" * 5, number)
        return header + bytes(self.sums.checksum(self.key, 25, HEAD + body + TRAILER + header))

    def sealed(self, body: bytes, number: int, extra: int, rotated: int = 28) -> tuple[bytes, bytes]:
        token = struct.pack(">HBBHHQ", 0x0504, 6, 0xFF, extra, 0, number)
        confounder, tail = b"c" * 16, b"\xff" * extra + token
        ki = self.cipher.derive(self.key, struct.pack(">IB", 24, 0x55))
        ke = self.cipher.derive(self.key, struct.pack(">IB", 24, 0xAA))
        sum_ = hmac.digest(ki.contents, confounder + HEAD + body + TRAILER + tail, "sha1")[:12]
        made = self.cipher.basic_encrypt(ke, confounder + body + tail)
        first, middle, last = made[:16], made[16 : 16 + len(body)], made[16 + len(body) :]
        sent = struct.pack(">HBBHHQ", 0x0504, 6, 0xFF, extra, rotated, number)
        return middle, sent + last + sum_ + first


def protection(enctype: int, key: bytes, header: bool = True, first: int = 7) -> KerberosProtection:
    return KerberosProtection(MessageKeys(enctype, key, True, 100, first), True, header)


KEYS = [(17, b"k" * 16), (18, b"K" * 32)]


@pytest.mark.parametrize(("enctype", "key"), KEYS)
def test_messages_of_a_client_in_order(enctype: int, key: bytes) -> None:
    ours, client = protection(enctype, key), Client(enctype, key)
    for number, body in enumerate((b"", b"x" * 15, b"y" * 16, b"z" * 1000), 7):
        extra = -len(body) % 16
        if number % 2:
            assert ours.unprotect(HEAD, body, TRAILER, client.signed(body, number), False) == body
        else:
            assert ours.unprotect(HEAD, *message(client.sealed(body, number, extra, 28 + extra)), True) == body
    again = client.signed(b"", 7)
    assert ours.unprotect(HEAD, b"", TRAILER, again, False) is None, "a message that was there before"
    assert ours.unprotect(HEAD, b"", TRAILER, client.signed(b"", 12), False) is None, "one is missing"
    assert ours.unprotect(HEAD, b"", TRAILER, client.signed(b"", 11), False) == b""


def message(sealed: tuple[bytes, bytes]) -> tuple[bytes, bytes, bytes]:
    body, signature = sealed
    return body, TRAILER, signature


@pytest.mark.parametrize(("enctype", "key"), KEYS)
@given(position=st.integers(0, 400), bit=st.integers(0, 7), sealing=st.booleans())
def test_no_bit_may_be_changed(enctype: int, key: bytes, position: int, bit: int, sealing: bool) -> None:
    client = Client(enctype, key)
    body, signature = client.sealed(b"b" * 33, 7, 16) if sealing else (b"b" * 33, client.signed(b"b" * 33, 7))
    whole = bytearray(HEAD + body + TRAILER + signature)
    whole[position % len(whole)] ^= 1 << bit
    parts = [bytes(whole[:24]), bytes(whole[24:57]), bytes(whole[57:65]), bytes(whole[65:])]
    assert protection(enctype, key).unprotect(parts[0], parts[1], parts[2], parts[3], sealing) is None
    assert protection(enctype, key).unprotect(HEAD, body, TRAILER, signature, sealing) == b"b" * 33


@given(signature=st.binary(max_size=90), body=st.binary(max_size=40), sealing=st.booleans())
def test_any_bytes_are_no_message(signature: bytes, body: bytes, sealing: bool) -> None:
    assert protection(18, b"K" * 32).unprotect(HEAD, body, TRAILER, signature, sealing) is None


@given(extra=st.integers(0, 0xFFFF), rotated=st.integers(0, 0xFFFF), size=st.integers(0, 80))
def test_any_counts_are_bounded(extra: int, rotated: int, size: int) -> None:
    token = struct.pack(">HBBHHQ", 0x0504, 6, 0xFF, extra, rotated, 7)
    assert protection(18, b"K" * 32).unprotect(HEAD, b"", TRAILER, token + bytes(size), True) is None


@pytest.mark.parametrize(("enctype", "key"), KEYS)
def test_impacket_reads_what_is_sealed_for_it(enctype: int, key: bytes) -> None:
    ours = protection(enctype, key, header=False)
    theirs = OF_IMPACKET[enctype][2]()
    for _ in range(2):
        body, signature = ours.protect(b"", b"data" * 9, b"", True)
        read = theirs.GSS_Unwrap(Key(enctype, key), body, 1, authData=TRAILER + signature)[0]
        assert read == b"data" * 9
    sealed, signature = theirs.GSS_Wrap(Key(enctype, key), b"data" * 9, 7)
    assert ours.unprotect(b"", sealed, b"", signature, True) == b"data" * 9
