# SPDX-License-Identifier: GPL-2.0-or-later
"""pcap and pcapng, read and written; and the packets in them."""

from __future__ import annotations

import io
import struct

import pytest
from conversation import CLIENT, SERVER, packet
from hypothesis import given
from hypothesis import strategies as st

from mountd.trace.capture_file import FileProblem, Writer, read
from mountd.trace.packets import LINK_ETHERNET, LINK_LINUX_SLL, LINK_LINUX_SLL2, LINK_NULL, LINK_RAW, Endpoint, segment

DATA = packet(CLIENT, SERVER, 7, b"hello")


def packets(data: bytes) -> list[tuple[int, int, int, bytes]]:
    return [(each.link, each.ns, each.size, bytes(each.data)) for each in read(io.BytesIO(data))]


@given(st.lists(st.tuples(st.integers(0, 2**63), st.binary(min_size=1, max_size=70)), max_size=5))
def test_what_is_written_is_read(given_packets: list[tuple[int, bytes]]) -> None:
    stream = io.BytesIO()
    writer = Writer(stream)
    for ns, data in given_packets:
        writer.packet(ns, len(data) + 3, memoryview(data))
    found = packets(stream.getvalue())
    assert [each[2:] for each in found] == [(len(data) + 3, data) for _, data in given_packets]
    assert all(abs(each[1] - ns) < 2048 for each, (ns, _) in zip(found, given_packets, strict=True))


@pytest.mark.parametrize(("order", "magic", "unit"), [
    ("<", 0xA1B2C3D4, 1000), (">", 0xA1B2C3D4, 1000), ("<", 0xA1B23C4D, 1), (">", 0xA1B23C4D, 1),
])  # fmt: skip
def test_pcap_in_either_byte_order_and_resolution(order: str, magic: int, unit: int) -> None:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    body = struct.pack(order + "IIII", 1_700_000_000, 123_456_000 // unit, 3, 9) + b"abc"
    assert packets(head + body + body[:-1]) == [(1, 1_700_000_000_123_456_000, 9, b"abc")]


def test_pcapng_of_big_endian_with_its_own_resolution() -> None:
    def block(kind: int, body: bytes) -> bytes:
        size = struct.pack(">I", 12 + len(body))
        return struct.pack(">I", kind) + size + body + size

    data = block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack(">HHI", 113, 0, 0) + struct.pack(">HHB3x", 9, 1, 3) + bytes(4))
    data += block(5, bytes(12)) + block(6, struct.pack(">IIIII", 0, 0, 1500, 3, 9) + b"abc\0")
    assert packets(data) == [(113, 1_500_000_000, 9, b"abc")]


@pytest.mark.parametrize("data", [
    b"", b"\x7fELF" + bytes(40), struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 1)[:20],
    struct.pack("<IHHiIIIIIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 1, 0, 0, 1 << 30, 9),
    struct.pack("<III", 0x0A0D0D0A, 8, 0x1A2B3C4D),
])  # fmt: skip
def test_what_is_no_capture_is_a_problem(data: bytes) -> None:
    with pytest.raises(FileProblem):
        packets(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_packets_or_a_problem(data: bytes) -> None:
    for magic in (b"\xd4\xc3\xb2\xa1", b"\x0a\x0d\x0d\x0a" + struct.pack("<II", 28, 0x1A2B3C4D)):
        try:
            list(read(io.BytesIO(magic + data)))
        except FileProblem:
            pass


@pytest.mark.parametrize(("link", "head"), [
    (LINK_RAW, b""), (LINK_NULL, bytes(4)), (LINK_ETHERNET, bytes(12) + b"\x08\0"),
    (LINK_ETHERNET, bytes(12) + b"\x81\0\0\5\x08\0"), (LINK_LINUX_SLL, bytes(14) + b"\x08\0"),
    (LINK_LINUX_SLL2, b"\x08\0" + bytes(18)),
])  # fmt: skip
def test_the_segment_is_found_behind_each_link_layer(link: int, head: bytes) -> None:
    found = segment(memoryview(head + DATA + b"padding"), link)
    assert found is not None
    assert (found.source, found.target, found.sequence, bytes(found.data)) == (CLIENT, SERVER, 7, b"hello")


def test_ipv6_with_options_before_tcp() -> None:
    ends = Endpoint("2001:db8::7", 5), Endpoint("2001:db8::1", 445)
    data = packet(*ends, 9, b"six")
    found = segment(memoryview(data))
    assert found is not None and bytes(found.data) == b"six" and str(found.source) == "[2001:db8::7]:5"
    options = data[:4] + struct.pack(">H", len(data) - 40 + 8) + b"\0" + data[7:40] + b"\6\0" + bytes(6) + data[40:]
    found = segment(memoryview(options))
    assert found is not None and bytes(found.data) == b"six"


@given(st.binary(max_size=80), st.sampled_from([LINK_RAW, LINK_NULL, LINK_ETHERNET, LINK_LINUX_SLL, 999]))
def test_any_bytes_are_a_segment_or_none(data: bytes, link: int) -> None:
    segment(memoryview(data), link)


def test_a_packet_that_was_cut_off_has_its_size() -> None:
    found = segment(memoryview(DATA[:-3]), size=len(DATA))
    assert found is not None and (found.size, bytes(found.data)) == (5, b"he")


def test_other_protocols_and_later_fragments_are_none() -> None:
    assert segment(memoryview(DATA[:9] + b"\x11" + DATA[10:])) is None
    assert segment(memoryview(DATA[:6] + b"\0\1" + DATA[8:])) is None

