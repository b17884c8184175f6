# SPDX-License-Identifier: GPL-2.0-or-later
"""Tokens that are written and read here survive their round trip."""
from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from ksmbd.auth import ntlm_messages, spnego
from ksmbd.auth.ntlm_crypto import NEGOTIATE_UNICODE
from ksmbd.smb.status import WireError

MECHANISMS = st.lists(
    st.sampled_from([spnego.SPNEGO_OID, "1.3.6.1.4.1.311.2.2.10", "1.2.840.48018.1.2.2", "1.2.840.113554.1.2.2"]),
    min_size=1, max_size=6,
)  # fmt: skip
TEXT = st.text(max_size=12)


@given(
    st.integers(0, 3), st.none() | st.just("1.3.6.1.4.1.311.2.2.10"), st.none() | st.binary(min_size=1, max_size=300),
    st.none() | st.binary(max_size=40),
)  # fmt: skip
def test_responses(state: int, mechanism: str | None, token: bytes | None, mic: bytes | None) -> None:
    """NegTokenResp (RFC 4178 4.2.2), short and long lengths of DER."""
    found = spnego.parse_response(spnego.encode_response(state, mechanism, token, mic))
    assert (found.state, found.token, found.mic) == (state, token or b"", mic)


@given(MECHANISMS)
def test_hints(mechanisms: list[str]) -> None:
    """NegTokenInit2 (MS-SPNG 2.2.1), in the GSS-API's framing, is a NegTokenInit to who reads one."""
    found = spnego.parse_init(spnego.encode_hints(mechanisms))
    assert found.mechanisms == mechanisms and found.token == b""
    assert found.mechanism_list == spnego.encode_mechanisms(mechanisms)


@given(st.lists(st.tuples(st.integers(1, 5), st.binary(max_size=20)), max_size=5), st.integers(0, 0xFFFFFFFF))
def test_av_pairs(pairs: list[tuple[int, bytes]], flags: int) -> None:
    """AV_PAIR (MS-NLMP 2.2.2.1): MsvAvFlags is found behind any others."""
    blob = bytes(28) + ntlm_messages.encode_av_pairs([*pairs, (ntlm_messages.AV_FLAGS, struct.pack("<I", flags))])
    assert ntlm_messages.av_flags(blob) == flags


@given(
    st.binary(max_size=30), st.binary(max_size=60), TEXT, TEXT, TEXT, st.binary(max_size=16), st.permutations(range(6)),
)  # fmt: skip
def test_authenticate_messages(
    lm: bytes, nt: bytes, domain: str, user: str, workstation: str, key: bytes, order: list[int]
) -> None:
    """AUTHENTICATE_MESSAGE (MS-NLMP 2.2.1.3): the payloads in any order behind the header."""
    flags = NEGOTIATE_UNICODE
    values = [lm, nt, *(text.encode("utf-16-le") for text in (domain, user, workstation)), key]
    offsets, payload = [0] * 6, b""
    for index in order:
        offsets[index] = 72 + len(payload)
        payload += values[index]
    token = b"NTLMSSP\0" + struct.pack("<I", 3)
    token += b"".join(struct.pack("<HHI", len(v), len(v), offset) for v, offset in zip(values, offsets, strict=True))
    token += struct.pack("<I8x", flags) + payload
    found = ntlm_messages.parse_authenticate(token, flags)
    assert (found.lm_response, found.nt_response, found.encrypted_session_key) == (lm, nt, key)
    assert (found.domain, found.user, found.workstation, found.flags) == (domain, user, workstation, flags)


@given(st.binary(max_size=200))
def test_any_token_is_read_or_refused(data: bytes) -> None:
    for token in (data, b"\xa1" + data, b"\x60" + data, b"NTLMSSP\0\3\0\0\0" + data, b"NTLMSSP\0\1\0\0\0" + data):
        for decoder in (
            spnego.parse_init, spnego.parse_response, ntlm_messages.negotiate_flags, ntlm_messages.av_flags,
            lambda t: ntlm_messages.parse_authenticate(t, 1),
        ):  # fmt: skip
            try:
                decoder(token)
            except (WireError, UnicodeDecodeError) as error:
                assert isinstance(error, WireError), token
