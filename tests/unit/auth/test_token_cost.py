# SPDX-License-Identifier: GPL-2.0-or-later
"""What a log-on token costs: any bytes are refused or taken within a bounded number of steps, counted, not timed."""
from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from auth_doubles import Accounts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ntlm_client import Client

from ksmbd import limits
from ksmbd.auth import der, ntlm_messages, spnego
from ksmbd.auth.security import CryptoSecurity
from ksmbd.auth.settings import AuthSettings
from ksmbd.smb.status import STATUS_INVALID_PARAMETER, STATUS_LOGON_FAILURE, NtStatusError, WireError

STEPS_MAX = 40_000
"""Lines of Python that one token may run: twice what the longest list of mechanisms that is allowed takes."""


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def repeated(data: bytes, times: int) -> bytes:
    """`data` so many times, but not longer than a token may be: nested repetitions would take all memory."""
    return (data * min(times, 65535 // max(len(data), 1) + 1))[:65535]


def steps(work: Callable[[], object]) -> int:
    """Lines of Python that `work` runs."""
    count = 0

    def line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def init(mechanisms: bytes, token: bytes = b"") -> bytes:
    """A NegTokenInit around the DER of a MechTypeList."""
    body = tlv(0xA0, mechanisms) + (tlv(0xA2, tlv(4, token)) if token else b"")
    return tlv(0x60, bytes.fromhex("06062b0601050502") + tlv(0xA0, tlv(0x30, body)))


def answer(*tokens: bytes) -> int:
    """The status of the last of some tokens of one exchange; 0 where it was taken."""
    exchange = CryptoSecurity(AuthSettings()).authenticator(Accounts())
    for token in tokens:
        try:
            exchange.step(token).result()
        except NtStatusError as error:
            return error.status
    return 0


NTLM = bytes.fromhex("060a2b06010401823702020a")
DEEP = b"\x30\x80" * 30000
MANY = tlv(0x30, b"\x06\x01\x2a" * 21000)
LONG = tlv(0x30, tlv(6, b"\x2a" + b"\xff" * 60000 + b"\x7f"))
NESTED = tlv(0x30, b"")
for _ in range(400):
    NESTED = tlv(0x30, NESTED)
AV_PAIRS = struct.pack("<8sI", b"NTLMSSP\0", 3) + b"".join(
    struct.pack("<HHI", size, size, offset) for size, offset in ((0, 0), (64000, 72), (0, 0), (8, 64), (0, 0), (0, 0))
) + struct.pack("<I8x", 0xE2088297) + bytes(44) + struct.pack("<HH", 1, 0) * 15990  # fmt: skip


@pytest.mark.parametrize(
    "token", [init(MANY), init(LONG), init(NESTED), init(DEEP), tlv(0x60, LONG[4:]), init(tlv(0x30, NTLM), MANY)],
    ids=["many", "long", "nested", "indefinite", "framing", "octets"],
)  # fmt: skip
def test_tokens_that_cost_are_refused_before_they_are_decoded(token: bytes) -> None:
    statuses: list[int] = []
    assert steps(lambda: statuses.append(answer(token))) < 4_000
    assert statuses == [STATUS_INVALID_PARAMETER]


def test_as_many_mechanisms_as_are_allowed_are_taken_and_one_more_is_not() -> None:
    allowed = limits.LOGON_MECHANISMS.value
    other = bytes.fromhex("06062b0601050507")
    client = Client()
    first = init(tlv(0x30, other * (allowed - 1) + NTLM))
    assert answer(first) == 0
    assert steps(lambda: answer(first)) < STEPS_MAX
    assert answer(init(tlv(0x30, other * allowed + NTLM))) == STATUS_INVALID_PARAMETER
    assert answer(init(tlv(0x30, NTLM), client.negotiate())) == 0


def test_the_elements_inside_are_counted_not_those_behind() -> None:
    inner = tlv(0x30, b"\x06\x01\x2a" * 3)
    assert der.check(inner) == 4 and der.check(inner + b"whatever") == 4 and der.check(b"\x30\x00") == 1
    assert der.check(tlv(4, MANY)) == 1, "what is in an OCTET STRING is not looked at"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x30", b"\x30\x80\x00\x00", b"\x1f\x81\x01\x00", b"\x30\x85\x00\x00\x00\x00\x00", b"\x30\x02\x06\x01",
     b"\x30\x03\x06\x02\x2a", b"\x0a\x09" + bytes(9), b"\x30\x81"],
    ids=bytes.hex,
)  # fmt: skip
def test_what_is_no_der_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        der.check(data)


def test_each_kind_has_its_bound() -> None:
    assert der.check(tlv(6, b"\x2a" * der.IDENTIFIER_MAX)) == 1
    assert der.check(tlv(0x30, b"\x05\x00" * (der.ELEMENTS_MAX - 1))) == der.ELEMENTS_MAX
    chain = b"\x05\x00"
    for _ in range(der.DEPTH_MAX):
        chain = tlv(0x30, chain)
    assert der.check(chain) == der.DEPTH_MAX + 1
    too_much = [tlv(6, b"\x2a" * (der.IDENTIFIER_MAX + 1)), tlv(0x30, b"\x05\x00" * der.ELEMENTS_MAX), tlv(0x30, chain)]
    for data in too_much:
        with pytest.raises(WireError):
            der.check(data)


TLVS = st.recursive(
    st.builds(tlv, st.sampled_from([2, 4, 5, 6, 10, 0x1F, 0x80]), st.binary(max_size=80)),
    lambda inner: st.builds(
        lambda tag, parts, times: tlv(tag, repeated(b"".join(parts), times)),
        st.sampled_from([0x30, 0x60, 0xA0, 0xA1, 0xA2, 0xA3, 0x24]), st.lists(inner, max_size=4), st.integers(1, 300),
    ),
    max_leaves=12,
).map(lambda data: data[:65535])  # fmt: skip
ANY = st.binary(max_size=300) | TLVS | TLVS.map(init) | TLVS.map(lambda data: tlv(0xA1, tlv(0x30, data)))


@settings(max_examples=150, deadline=None)
@given(ANY, ANY)
@example(init(MANY), b"")
@example(init(tlv(0x30, NTLM)), tlv(0xA1, tlv(0x30, tlv(0xA0, MANY))))
@example(init(tlv(0x30, NTLM)), tlv(0xA1, tlv(0x30, tlv(0xA0, tlv(10, bytes(60000))))))
@example(Client().negotiate(), AV_PAIRS)
@example(init(tlv(0x30, NTLM), Client().negotiate()), tlv(0xA1, tlv(0x30, tlv(0xA2, tlv(4, AV_PAIRS)))))
def test_any_bytes_cost_a_bounded_number_of_steps(first: bytes, second: bytes) -> None:
    statuses: list[int] = []
    assert steps(lambda: statuses.append(answer(first, second))) < 2 * STEPS_MAX
    assert statuses[0] in (0, STATUS_INVALID_PARAMETER, STATUS_LOGON_FAILURE)


def test_many_av_pairs_are_malformed() -> None:
    assert answer(Client().negotiate(), AV_PAIRS) == STATUS_INVALID_PARAMETER
    pair = struct.pack("<HH", ntlm_messages.AV_NB_DOMAIN_NAME, 0)
    assert ntlm_messages.av_flags(bytes(28) + pair * ntlm_messages.AV_PAIRS_MAX) == 0
    with pytest.raises(WireError):
        ntlm_messages.av_flags(bytes(28) + pair * (ntlm_messages.AV_PAIRS_MAX + 1))


def test_what_a_log_on_under_way_keeps_is_short() -> None:
    negotiate = Client().negotiate()
    longest = negotiate.ljust(limits.NTLM_NEGOTIATE.value, b"\0")
    assert answer(longest) == 0
    assert answer(longest + b"\0") == STATUS_INVALID_PARAMETER
    assert answer(init(tlv(0x30, NTLM), longest + b"\0")) == STATUS_INVALID_PARAMETER


def test_the_bounds_leave_room_for_what_windows_sends() -> None:
    mechanisms = [spnego.MS_KERBEROS_OID, spnego.KERBEROS_OID, "1.2.840.113554.1.2.2.3", "1.3.6.1.4.1.311.2.2.30"]
    token = init(spnego.encode_mechanisms([*mechanisms, spnego.NTLMSSP_OID]), bytes(60000))
    assert spnego.parse_init(token).mechanisms[-1] == spnego.NTLMSSP_OID
