# SPDX-License-Identifier: GPL-2.0-or-later
"""NEGOTIATE (MS-SMB2 3.3.5.3, 3.3.5.4) through a whole Connection, with ports in memory."""
from __future__ import annotations

from struct import pack

import pytest
from script import ECHO_BODY, Client, context, preauth_context

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.settings import ServerSettings


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((0x0202,), 0x0202),
        ((0x0202, 0x0210), 0x0210),
        ((0x0210, 0x0300), 0x0300),
        ((0x0300, 0x0302), 0x0302),
        ((0x0202, 0x0210, 0x0300, 0x0302, 0x0311), 0x0311),
        ((0x0222, 0x0224, 0x0210), 0x0210),
    ],
)
def test_the_highest_common_dialect(offered: tuple[int, ...], chosen: int) -> None:
    client = Client()
    response = client.negotiate(*offered)
    assert response.status == 0
    assert int.from_bytes(response.body[4:6], "little") == chosen
    assert client.connection.dialect == chosen


def test_server_min_and_max_protocol_are_bounds() -> None:
    client = Client(settings=ServerSettings(min_dialect=c.DIALECT_300, max_dialect=c.DIALECT_302))
    assert client.negotiate(0x0202, 0x0210).status == s.STATUS_NOT_SUPPORTED
    client = Client(settings=ServerSettings(min_dialect=c.DIALECT_300, max_dialect=c.DIALECT_302))
    client.negotiate(0x0210, 0x0300, 0x0302, 0x0311)
    assert client.connection.dialect == 0x0302


def test_the_response_is_laid_out_as_specified() -> None:
    """MS-SMB2 2.2.4: fixed part, token at its offset, contexts on a multiple of 8 with their count."""
    response = Client().negotiate(0x0311)
    body = response.body
    assert int.from_bytes(body[:2], "little") == 65
    token_offset, token_length = int.from_bytes(body[56:58], "little"), int.from_bytes(body[58:60], "little")
    assert response.message[token_offset : token_offset + token_length] == b"NegTokenInit2"
    offset, count = int.from_bytes(body[60:64], "little"), int.from_bytes(body[6:8], "little")
    assert offset % 8 == 0 and count == 3
    kinds = []
    for _ in range(count):
        kind, length = (int.from_bytes(response.message[offset + i : offset + i + 2], "little") for i in (0, 2))
        kinds.append(kind)
        offset = (offset + 8 + length + 7) & ~7
    assert kinds == [c.PREAUTH_INTEGRITY_CAPABILITIES, c.ENCRYPTION_CAPABILITIES, c.SIGNING_CAPABILITIES]


@pytest.mark.parametrize(
    ("contexts", "status"),
    [
        ([context(2, pack("<HH", 1, 2))], s.STATUS_INVALID_PARAMETER),  # no preauth context
        ([preauth_context(), preauth_context()], s.STATUS_INVALID_PARAMETER),
        ([preauth_context(7)], s.STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP),
        ([context(1, pack("<HH", 0, 0))], s.STATUS_INVALID_PARAMETER),  # no algorithm
        ([context(1, pack("<HH", 9, 0))], s.STATUS_INVALID_PARAMETER),  # a count beyond the data
        ([preauth_context(), context(2, pack("<H", 0))], s.STATUS_INVALID_PARAMETER),
        ([preauth_context(), context(2, pack("<HH", 1, 2)), context(2, pack("<HH", 1, 2))], s.STATUS_INVALID_PARAMETER),
        ([preauth_context(), context(8, pack("<HH", 3, 2))], s.STATUS_INVALID_PARAMETER),
        ([preauth_context(), context(0x77, b"what is this"), context(3, b"\1")], 0),  # unknown ones are ignored
        ([preauth_context(), context(2, pack("<HH", 1, 99))], 0),
    ],
)
def test_negotiate_contexts(contexts: list[bytes], status: int) -> None:
    client = Client()
    assert client.negotiate(0x0311, contexts=contexts).status == status
    if status == 0:
        assert client.connection.cipher == 0


@pytest.mark.parametrize("offset", [0, 1, 70, 0xFFFFFFF0, 5000])
def test_a_context_offset_out_of_bounds(offset: int) -> None:
    body = pack("<HHHHI16sIHH", 36, 1, 1, 0, 0, bytes(16), offset, 1, 0) + pack("<H", 0x0311)
    assert Client().ask(c.NEGOTIATE, body).status == s.STATUS_INVALID_PARAMETER


def test_no_dialects_and_a_count_beyond_the_message() -> None:
    for count in (0, 5, 0xFFFF):
        body = pack("<HHHHI16sQ", 36, count, 1, 0, 0, bytes(16), 0) + pack("<H", 0x0300)
        assert Client().ask(c.NEGOTIATE, body).status == s.STATUS_INVALID_PARAMETER


def test_a_second_negotiate_ends_the_connection() -> None:
    """MS-SMB2 3.3.5.4."""
    client = Client()
    client.negotiate(0x0300)
    assert client.feed(client.element(c.NEGOTIATE, pack("<HHHHI16sQ", 36, 1, 1, 0, 0, bytes(16), 0) + b"\0\3")) == []
    assert client.transport.closed


def test_a_command_before_negotiate_ends_the_connection() -> None:
    client = Client()
    assert client.feed(client.element(c.ECHO, ECHO_BODY)) == []
    assert client.transport.closed


def smb1(*dialects: bytes) -> bytes:
    """An SMB1 NEGOTIATE (MS-CIFS 2.2.4.52.1)."""
    names = b"".join(b"\x02" + dialect + b"\0" for dialect in dialects)
    return b"\xffSMB\x72" + bytes(27) + b"\0" + pack("<H", len(names)) + names


def test_smb1_wildcard_then_smb2_negotiate() -> None:
    client = Client()
    (first,) = client.feed(smb1(b"NT LM 0.12", b"SMB 2.002", b"SMB 2.???"))
    assert int.from_bytes(first.body[4:6], "little") == c.DIALECT_WILDCARD
    client.message_id = 1
    assert client.negotiate(0x0210, 0x0300).status == 0
    assert client.connection.dialect == 0x0300


def test_smb1_with_smb_2_002_alone() -> None:
    client = Client()
    (first,) = client.feed(smb1(b"NT LM 0.12", b"SMB 2.002"))
    assert int.from_bytes(first.body[4:6], "little") == c.DIALECT_202
    client.message_id = 1
    assert client.log_on().status == 0


@pytest.mark.parametrize(
    "frame", [smb1(b"NT LM 0.12"), b"\xffSMB", smb1(b"SMB 2.???")[:34], b"\xffSMB\x73" + bytes(60)]
)
def test_smb1_is_not_served(frame: bytes) -> None:
    client = Client()
    assert client.feed(frame) == []
    assert client.transport.closed
