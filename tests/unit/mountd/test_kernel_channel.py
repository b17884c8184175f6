# SPDX-License-Identifier: GPL-2.0-or-later
"""Generic netlink with the kernel's server, byte for byte."""
from __future__ import annotations

import errno
import struct
from collections.abc import Iterator

import kernel_doubles as kernel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd import log
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Event
from ksmbd.ipc.genetlink import NoFamily, error_code, family_id, family_question
from ksmbd.smb.status import WireError


@pytest.fixture
def sock() -> Iterator[kernel.KernelSocket]:
    made = kernel.KernelSocket()
    yield made
    made.close()


def test_the_question_for_the_family() -> None:
    assert family_question("SMBD_GENL") == bytes.fromhex(
        "24000000 1000 0100 01000000 00000000"  # 36 bytes to the controller, a request
        "03 01 0000"  # CTRL_CMD_GETFAMILY
        "0e00 0200 534d42445f47454e4c00 0000"  # CTRL_ATTR_FAMILY_NAME, padded to four bytes
    )


def _family(attributes: bytes, command: int = 1) -> bytes:
    return struct.pack("=IHHIIBBH", 20 + len(attributes), 0x10, 0, 1, 0, command, 2, 0) + attributes


NAME = struct.pack("=HH", 14, 2) + b"SMBD_GENL\0\0\0"
ID = struct.pack("=HHHH", 6, 1, 0x23, 0)


def test_the_id_of_the_family() -> None:
    assert family_id(_family(NAME + ID)) == 0x23
    assert family_id(_family(ID + NAME)) == 0x23


@pytest.mark.parametrize("answer", [
    b"", _family(b""), _family(NAME), _family(NAME + ID, command=2), _family(struct.pack("=HH", 3, 1)),
    _family(struct.pack("=HHB", 5, 1, 1)), _family(ID[:6][:-1]), kernel.error(17),
])  # fmt: skip
def test_an_answer_without_family(answer: bytes) -> None:
    with pytest.raises(WireError):
        family_id(answer)


def test_there_is_no_family() -> None:
    with pytest.raises(NoFamily, match="no netlink family SMBD_GENL"):
        family_id(kernel.error(-errno.ENOENT))
    with pytest.raises(PermissionError):
        family_id(kernel.error(-errno.EPERM))


def test_a_reply_is_a_request_of_the_family_with_one_attribute(sock: kernel.KernelSocket) -> None:
    made = kernel.channel(sock)
    made.send(Message(Event.TREE_CONNECT_RESPONSE, {"handle": 9, "status": 2, "connection_flags": 4}))
    assert sock.sent == [
        struct.pack("=IHHII", 96, kernel.FAMILY_ID, 1, 1, kernel.PORT)
        + bytes((9, 1, 0, 0))
        + struct.pack("=HHIHH", 76, 9, 9, 2, 4)
        + bytes(64)
    ]


def test_what_the_kernel_asks(sock: kernel.KernelSocket) -> None:
    made = kernel.channel(sock)
    sock.incoming.extend((
        kernel.login(5, "ann"), kernel.tree_connect(6, "ann", "s"), kernel.rpc(8, 0x22, b"five!"),
        kernel.from_kernel(Event.SPNEGO_AUTHEN_REQUEST, struct.pack("=IH", 3, 4) + b"blob" + bytes(3)),
    ))  # fmt: skip
    asked, tree, rpc, spnego = made.receive()
    assert (asked.event, asked.handle, asked.text("account")) == (Event.LOGIN_REQUEST, 5, "ann")
    assert tree.text("peer_addr") == "192.0.2.7" and tree.fields["session_id"] == 7
    assert rpc.fields["payload"] == b"five!", "the byte behind the payload is no part of it"
    assert spnego.fields["payload"] == b"blob"


@pytest.mark.parametrize(("told", "address"), [
    ("192.0.2.7", "192.0.2.7"), ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"), ("", ""), ("odd", "odd"),
    ("0000:0000:0000:0000:0000:ffff:c000:0207", "192.0.2.7"), ("fe80:0000:0000:0000:0000:0000:0000:0001", "fe80::1"),
])  # fmt: skip
def test_addresses_of_clients(sock: kernel.KernelSocket, told: str, address: str) -> None:
    made = kernel.channel(sock)
    sock.incoming.append(kernel.tree_connect(1, "ann", "s", peer=told))
    assert next(made.receive()).text("peer_addr") == address


LOGIN = kernel.login(5, "ann")


@pytest.mark.parametrize("data", [
    b"", LOGIN[:-1], LOGIN[:20], kernel.from_kernel(Event.LOGIN_REQUEST, bytes(115)),
    kernel.from_kernel(Event.LOGIN_REQUEST, bytes(120)), kernel.from_kernel(200, bytes(4)),
    kernel.from_kernel(Event.LOGIN_REQUEST, bytes(116), family=0x24),
    kernel.from_kernel(Event.LOGIN_REQUEST, bytes(116), version=2),
    kernel.from_kernel(Event.RPC_REQUEST, struct.pack("=III", 1, 0x22, 6) + b"five!"),
    kernel.from_kernel(Event.SPNEGO_AUTHEN_REQUEST, struct.pack("=IH", 3, 5) + b"blob"),
    kernel.error(5), kernel.error(-5000), kernel.error(0)[:18],
])  # fmt: skip
def test_a_malformed_message_is_dropped(sock: kernel.KernelSocket, data: bytes) -> None:
    made = kernel.channel(sock)
    sock.incoming.extend((data, LOGIN))
    assert [message.event for message in made.receive()] == [Event.LOGIN_REQUEST]
    assert made.dropped == 1


@given(st.binary(max_size=200))
def test_no_bytes_of_the_kernel_raise(data: bytes) -> None:
    sock = kernel.KernelSocket()
    made = kernel.channel(sock)
    sock.incoming.append(data)
    list(made.receive())
    sock.close()


def test_others_than_the_kernel_are_not_heard(sock: kernel.KernelSocket) -> None:
    made = kernel.channel(sock)
    sock.incoming.append(LOGIN)
    sock.sender = (4712, 0)
    assert not list(made.receive()) and made.dropped == 1


def test_the_start_waits_for_its_acknowledgment(sock: kernel.KernelSocket) -> None:
    made = kernel.channel(sock)
    sock.on_start = [LOGIN, kernel.error(0)]
    message, _ = kernel.SETTINGS.messages()
    made.start(message)
    flags = struct.unpack_from("=H", sock.sent[0], 6)[0]
    assert flags == 0x5, "a request that is acknowledged"
    assert [each.event for each in made.receive()] == [Event.LOGIN_REQUEST], "what came before is not lost"
    made.send(Message(Event.LOGIN_RESPONSE, {"handle": 5}))
    assert struct.unpack_from("=H", sock.sent[1], 6)[0] == 0x1


def test_a_refused_start(sock: kernel.KernelSocket) -> None:
    made = kernel.channel(sock)
    sock.on_start = [kernel.error(-errno.EINVAL)]
    message, _ = kernel.SETTINGS.messages()
    with pytest.raises(OSError, match="Invalid argument") as raised:
        made.start(message)
    assert raised.value.errno == errno.EINVAL


def test_a_start_without_answer(sock: kernel.KernelSocket) -> None:
    made = kernel.channel(sock)
    sock.on_start = []
    message, _ = kernel.SETTINGS.messages()
    with pytest.raises(TimeoutError):
        made.start(message, seconds=0)


def test_a_refused_reply_is_told(sock: kernel.KernelSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(log, "peer", lambda text, kind="", address="": told.append(text))
    made = kernel.channel(sock)
    sock.incoming.append(kernel.error(-errno.EINVAL))
    assert not list(made.receive())
    assert told == ["ipc: the kernel refuses an answer: Invalid argument"]


def test_no_error_is_another_message() -> None:
    assert error_code(LOGIN) is None
    assert error_code(kernel.error(0)) == 0
    assert error_code(kernel.error(-1)) == -1
