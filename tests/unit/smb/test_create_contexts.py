# SPDX-License-Identifier: GPL-2.0-or-later
"""Create contexts: MS-SMB2 2.2.13.2 and 2.2.14.2."""
from __future__ import annotations

from struct import pack

import pytest
from create_messages import chain, context
from hypothesis import given
from hypothesis import strategies as st

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.full_ea import check_ea_name
from ksmbd.smb.ports import LeaseGrant, LeaseRequest
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import NtStatusError

KEY = bytes(range(16))
GUID = bytes(range(100, 116))


def parse(data: bytes) -> ctx.CreateContexts:
    return ctx.parse_contexts(Reader(data))


def test_golden_chain_of_a_client() -> None:
    """DHnQ, MxAc, QFid and RqLs as a client of dialect 2.1 sends them, laid out byte by byte."""
    data = bytes.fromhex(
        "28000000" "1000" "0400" "0000" "1800" "10000000" "44486e51" "00000000" + "00" * 16
        + "18000000" "1000" "0400" "0000" "0000" "00000000" "4d784163" "00000000"
        + "18000000" "1000" "0400" "0000" "0000" "00000000" "51466964" "00000000"
        + "00000000" "1000" "0400" "0000" "1800" "20000000" "52714c73" "00000000"
        + KEY.hex() + "07000000" "00000000" "0000000000000000"
    )  # fmt: skip
    contexts = parse(data)
    assert contexts.durable_v1 and contexts.query_on_disk_id and contexts.maximal_access_time == 0
    assert contexts.lease == LeaseRequest(KEY, 7, 1, 0)
    assert contexts.count == 4


def test_every_context() -> None:
    contexts = parse(
        chain(
            (ctx.EXTA, pack("<IBBH", 0, 0, 3, 5) + b"abc\0value"),
            (ctx.SECD, b"descriptor"),
            (ctx.ALSI, pack("<Q", 1 << 20)),
            (ctx.MXAC, pack("<Q", 77)),
            (ctx.TWRP, pack("<Q", 10000)),
            (ctx.RQLS, pack("<16sIIQ16sHH", KEY, 5, 4, 0, GUID, 9, 0)),
            (ctx.DH2Q, pack("<II8s16s", 60000, 2, bytes(8), GUID)),
            (ctx.APP_INSTANCE_ID, pack("<HH16s", 20, 0, GUID)),
            (ctx.APP_INSTANCE_VERSION, pack("<HHIQQ", 24, 0, 0, 3, 4)),
            (ctx.POSIX, pack("<I", 0o100644)),
            (b"AAPL", bytes(24)),
            (b"unknown name", b"x"),
        )
    )
    assert contexts.extended_attributes == [("abc", 0, b"value")]
    assert contexts.security_descriptor == b"descriptor"
    assert (contexts.allocation_size, contexts.maximal_access_time, contexts.timewarp) == (1 << 20, 77, 10000)
    assert contexts.lease == LeaseRequest(KEY, 5, 2, 4, GUID, 9)
    assert contexts.durable_v2 == ctx.DurableV2(60000, True, GUID)
    assert (contexts.app_instance_id, contexts.app_instance_version) == (GUID, (3, 4))
    assert contexts.posix_mode == 0o644
    assert contexts.count == 12


def test_reconnects() -> None:
    v1 = parse(context(ctx.DHNC, pack("<QQ", 5, 6)))
    assert v1.reconnect_v1 == ctx.Reconnect(1, 5, 6)
    v2 = parse(context(ctx.DH2C, pack("<QQ16sI", 5, 6, GUID, 2)))
    assert v2.reconnect_v2 == ctx.Reconnect(2, 5, 6, GUID, True)


GOOD = context(ctx.ALSI, pack("<Q", 1))


def patched(offset: int, data: bytes, whole: bytes = GOOD) -> bytes:
    return whole[:offset] + data + whole[offset + len(data) :]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[:15],
        GOOD[:-1],
        patched(0, pack("<I", 4)),  # Next misaligned
        patched(0, pack("<I", 8)),  # Next inside the header
        patched(0, pack("<I", 1 << 31)),  # Next outside
        patched(0, pack("<I", 32)),  # Next to the end: no context there
        patched(4, pack("<H", 24)),  # NameOffset
        patched(4, pack("<H", 0)),
        patched(6, pack("<H", 0)),  # NameLength
        patched(6, pack("<H", 3)),
        patched(6, pack("<H", 0xFFFF)),
        patched(10, pack("<H", 28)),  # DataOffset misaligned
        patched(10, pack("<H", 16)),  # DataOffset on the name
        patched(10, pack("<H", 0xFFF8)),
        patched(10, pack("<H", 0)),  # data without an offset
        patched(12, pack("<I", 9)),  # DataLength outside
        patched(12, pack("<I", 0xFFFFFFFF)),
        chain((ctx.ALSI, pack("<Q", 1)), (ctx.ALSI, pack("<Q", 1))),  # twice
        context(ctx.ALSI, bytes(7)),
        context(ctx.ALSI),
        context(ctx.TWRP, bytes(9)),
        context(ctx.MXAC, bytes(4)),
        context(ctx.QFID, bytes(8)),
        context(ctx.RQLS, bytes(31)),
        context(ctx.RQLS, bytes(48)),
        context(ctx.DHNQ, bytes(15)),
        context(ctx.DHNC, bytes(17)),
        context(ctx.DH2Q, bytes(31)),
        context(ctx.DH2C, bytes(32)),
        context(ctx.APP_INSTANCE_ID, pack("<HH16s", 19, 0, GUID)),
        context(ctx.APP_INSTANCE_ID, bytes(19)),
        context(ctx.APP_INSTANCE_VERSION, pack("<HHIQQ", 25, 0, 0, 3, 4)),
        context(ctx.POSIX, bytes(3)),
        context(b"abc", b"12345678"),
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(NtStatusError) as caught:
        parse(data)
    assert caught.value.status == s.STATUS_INVALID_PARAMETER


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (pack("<IBBH", 0, 0, 9, 0) + b"abc\0", s.STATUS_EA_LIST_INCONSISTENT),
        (pack("<IBBH", 0, 0, 3, 0) + b"abcd", s.STATUS_EA_LIST_INCONSISTENT),
        (pack("<IBBH", 0, 0, 3, 9) + b"abc\0v", s.STATUS_EA_LIST_INCONSISTENT),
        (pack("<IBBH", 4, 0, 3, 0) + b"abc\0", s.STATUS_EA_LIST_INCONSISTENT),
        (pack("<IBBH", 12, 0, 3, 0) + b"abc\0", s.STATUS_EA_LIST_INCONSISTENT),
    ],
)
def test_malformed_extended_attributes(data: bytes, status: int) -> None:
    with pytest.raises(NtStatusError) as caught:
        parse(context(ctx.EXTA, data))
    assert caught.value.status == status


def test_names_of_extended_attributes_wait_for_who_sets_them() -> None:
    """A CREATE that opens what is there takes none of them."""
    for name, flags in (("a:c", 0), ("", 0), ("abc", 1)):
        data = pack("<IBBH", 0, flags, len(name), 0) + name.encode() + b"\0"
        assert parse(context(ctx.EXTA, data)).extended_attributes == [(name, flags, b"")]
        with pytest.raises(NtStatusError) as caught:
            check_ea_name(name, flags)
        assert caught.value.status == s.STATUS_INVALID_EA_NAME


DURABLE = {
    "DHnQ": (ctx.DHNQ, bytes(16)),
    "DHnC": (ctx.DHNC, bytes(16)),
    "DH2Q": (ctx.DH2Q, bytes(32)),
    "DH2C": (ctx.DH2C, bytes(36)),
}


def test_more_contexts_than_there_are_kinds_of() -> None:
    most = limits.CREATE_CONTEXTS.value
    many = [(number.to_bytes(4, "big"), b"") for number in range(most + 1)]
    assert parse(chain(*many[:most])).count == most
    with pytest.raises(NtStatusError) as caught:
        parse(chain(*many))
    assert caught.value.status == s.STATUS_INVALID_PARAMETER


def test_a_list_of_attributes_longer_than_a_file_may_have() -> None:
    one = pack("<IBBH", 16, 0, 3, 4) + b"abc\0" + b"data"
    fits = one * (limits.EA_LIST.value // 16 - 1) + bytes(4) + one[4:]
    assert len(parse(context(ctx.EXTA, fits)).extended_attributes) == limits.EA_LIST.value // 16
    with pytest.raises(NtStatusError) as caught:
        parse(context(ctx.EXTA, one + fits))
    assert caught.value.status == s.STATUS_EA_TOO_LARGE


@pytest.mark.parametrize("first", DURABLE)
@pytest.mark.parametrize("second", DURABLE)
def test_durable_contexts_exclude_each_other(first: str, second: str) -> None:
    """MS-SMB2 3.3.5.9.6, .7, .10, .12: only DHnQ beside DHnC is let through (and ignored)."""
    if first == second:
        return
    contexts = parse(chain(DURABLE[first], DURABLE[second]))
    if {first, second} == {"DHnQ", "DHnC"}:
        ctx.check_exclusions(contexts, c.DIALECT_300)
        return
    with pytest.raises(NtStatusError):
        ctx.check_exclusions(contexts, c.DIALECT_300)
    ctx.check_exclusions(contexts, c.DIALECT_210)
    assert contexts.durable_v2 is None and contexts.reconnect_v2 is None


def test_responses() -> None:
    assert ctx.encode_lease(LeaseGrant(KEY, 3, 1)) == KEY + pack("<IIQ", 3, 0, 0)
    assert ctx.encode_lease(LeaseGrant(KEY, 3, 2, 4, GUID, 6)) == KEY + pack("<IIQ", 3, 4, 0) + GUID + pack("<HH", 6, 0)
    assert ctx.encode_maximal_access(0, 0x1F01FF) == bytes.fromhex("00000000ff011f00")
    assert ctx.encode_on_disk_id(1, 2) == pack("<QQ", 1, 2) + bytes(16)
    assert ctx.encode_durable_v2(60000, True) == pack("<II", 60000, 2)


def test_response_chain_is_linked_and_padded() -> None:
    data = ctx.encode_chain([(ctx.MXAC, b"12345678"), (ctx.POSIX, b"abcde"), (ctx.DHNQ, b"")])
    assert data == (
        pack("<IHHHHI", 32, 16, 4, 0, 24, 8) + b"MxAc" + bytes(4) + b"12345678"
        + pack("<IHHHHI", 40, 16, 16, 0, 32, 5) + ctx.POSIX + b"abcde" + bytes(3)
        + pack("<IHHHHI", 0, 16, 4, 0, 0, 0) + b"DHnQ" + bytes(4)
    )  # fmt: skip


names = st.sampled_from([ctx.EXTA, ctx.ALSI, ctx.MXAC, ctx.RQLS, ctx.DH2Q, ctx.POSIX, b"FooO"])


@given(st.lists(st.tuples(names, st.binary(max_size=60)), min_size=1, max_size=6), st.data())
def test_any_bytes_are_parsed_or_refused(contexts: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    raw = bytearray(ctx.encode_chain(contexts))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse(bytes(raw))
    except NtStatusError:
        pass


@given(st.binary(max_size=200))
def test_any_bytes_at_all(raw: bytes) -> None:
    try:
        parse(raw)
    except NtStatusError:
        pass
