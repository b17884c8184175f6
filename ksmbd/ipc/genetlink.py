# SPDX-License-Identifier: GPL-2.0-or-later
"""The channel to the kernel's own server, ksmbd.ko, over generic netlink: its family SMBD_GENL.

The messages are those of mountd and our engine (ksmbd/ipc/messages.py), of KSMBD's structures alone. The kernel takes
them with the family's id as their type and as requests (NLM_F_REQUEST), and answers what it does not take with
NLMSG_ERROR. It sends to the port id that STARTING_UP came from.
"""
from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

from ksmbd import log
from ksmbd.address import normal_address
from ksmbd.ipc.channel import Channel, enlarge
from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import Event
from ksmbd.overriding import override
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import WireError

FAMILY: Final = "SMBD_GENL"
NETLINK_GENERIC: Final = 16
NLMSG_ERROR: Final = 2
NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
GENL_ID_CTRL: Final = 0x10
CTRL_CMD_NEWFAMILY: Final = 1
CTRL_CMD_GETFAMILY: Final = 3
CTRL_ATTR_FAMILY_ID: Final = 1
CTRL_ATTR_FAMILY_NAME: Final = 2
START_SECONDS: Final = 10.0
"""Seconds that the kernel may take to answer STARTING_UP."""
_ANSWER_MAX: Final = 64 << 10
_HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""
_CODE: Final = struct.Struct("=i")


class NoFamily(OSError):
    """The kernel has no SMBD_GENL family."""


def family_question(name: str) -> bytes:
    """The message that asks the controller of generic netlink for a family's id (CTRL_CMD_GETFAMILY)."""
    text = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(text), CTRL_ATTR_FAMILY_NAME) + text + bytes(-len(text) % 4)
    body = struct.pack("=BBH", CTRL_CMD_GETFAMILY, 1, 0) + attribute
    return _HEADER.pack(_HEADER.size + len(body), GENL_ID_CTRL, NLM_F_REQUEST, 1, 0) + body


def family_id(answer: bytes) -> int:
    """The family's id in the controller's answer. Raises NoFamily where it has none, OSError for another refusal,
    WireError."""
    code = error_code(answer)
    if code == -errno.ENOENT:
        raise NoFamily(errno.ENOENT, f"the kernel has no netlink family {FAMILY}")
    if code:
        raise OSError(-code, os.strerror(-code))
    reader = Reader(answer)
    reader.skip(_HEADER.size)
    if reader.u8() != CTRL_CMD_NEWFAMILY:
        raise WireError("no CTRL_CMD_NEWFAMILY")
    reader.skip(3)
    while reader.remaining:
        size, kind = reader.u16(), reader.u16()
        if size < 4:
            raise WireError(f"an attribute of {size} bytes")
        value = reader.restrict(reader.position, size - 4)
        if kind == CTRL_ATTR_FAMILY_ID:
            return value.u16()
        reader.skip(min(-(-(size - 4) // 4) * 4, reader.remaining))
    raise WireError("no family id")


def error_code(data: bytes) -> int | None:
    """The code in NLMSG_ERROR: 0 for an acknowledgment, else a negative errno; None for another message. Raises
    WireError."""
    reader = Reader(data)
    reader.skip(4)
    if reader.u16() != NLMSG_ERROR:
        return None
    reader.skip(_HEADER.size - 6)
    code = int(reader.unpack(_CODE)[0])
    if not -4095 <= code <= 0:
        raise WireError(f"error {code}")
    return code


class KernelChannel(Channel):
    """mountd's socket of generic netlink, to the kernel alone."""

    def __init__(self, sock: socket.socket, family: int) -> None:
        """`family`: the id of SMBD_GENL."""
        super().__init__(sock)
        self._family = family
        self._flags = NLM_F_REQUEST
        self._codes: list[int] = []
        self._waiting: list[Message] = []
        """What the kernel has sent before it answered STARTING_UP."""

    @classmethod
    def open(cls) -> KernelChannel:
        """Make the socket and look the family up. Raises NoFamily, OSError."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
        try:
            sock.bind((0, 0))
            enlarge(sock)
            sock.settimeout(START_SECONDS)
            sock.sendto(family_question(FAMILY), (0, 0))
            return cls(sock, family_id(sock.recv(_ANSWER_MAX)))
        except WireError as error:
            sock.close()
            raise OSError(errno.EPROTO, f"generic netlink: {error}") from None
        except BaseException:
            sock.close()
            raise

    def start(self, message: Message, seconds: float = START_SECONDS) -> None:
        """Send STARTING_UP and await the kernel's answer. Raises OSError with what it says, TimeoutError, ValueError
        where the message does not fit."""
        deadline = time.monotonic() + seconds
        self._flags = NLM_F_REQUEST | NLM_F_ACK
        self._codes.clear()
        try:
            self.send(message)
        finally:
            self._flags = NLM_F_REQUEST
        while not self._codes:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fileno()], [], [], left)[0]:
                raise TimeoutError(errno.ETIMEDOUT, f"the kernel did not answer within {seconds:g} s")
            self._waiting += super().receive(1)
        code = self._codes.pop(0)
        if code:
            raise OSError(-code, os.strerror(-code))

    @override
    def receive(self, limit: int = 64) -> Iterator[Message]:
        """Iterate over received messages, at most `limit`, those first that came before the answer to STARTING_UP."""
        while self._waiting:
            yield self._waiting.pop(0)
        yield from super().receive(limit)
        for code in self._codes:
            # A client that has gone meanwhile, or a request that has timed out in the kernel.
            log.peer(f"ipc: the kernel refuses an answer: {os.strerror(-code)}", "kernel refuses")
        self._codes.clear()

    @override
    def _encode(self, message: Message, sequence: int, port: int) -> bytes:
        return encode(message, sequence, port, self._family, self._flags)

    @override
    def _decode(self, data: bytes) -> Message | None:
        code = error_code(data)
        if code is None:
            return normal(decode(data, self._family))
        self._codes.append(code)
        return None


def normal(message: Message) -> Message:
    """A message of the kernel as our engine would send it: a payload of the length that is told, where the kernel's are
    a byte or more longer, and a client's address in its shortest form. Raises WireError where the payload is
    shorter."""
    fields = message.fields
    if message.event is Event.TREE_CONNECT_REQUEST:
        fields["peer_addr"] = _address(message.text("peer_addr")).encode("utf-8", "surrogateescape")
    told = {Event.RPC_REQUEST: "payload_sz", Event.SPNEGO_AUTHEN_REQUEST: "blob_len"}.get(message.event)
    if told is not None:
        if fields[told] > len(fields["payload"]):
            raise WireError(f"{message.event.name}: {told} {fields[told]}, and {len(fields['payload'])} bytes")
        fields["payload"] = fields["payload"][: fields[told]]
    return message


def _address(text: str) -> str:
    """An address without leading zeros; the IPv4 address where an IPv6 one stands for it. The kernel writes the address
    of a client over IPv4 as 0000:0000:0000:0000:0000:ffff:c000:0207."""
    try:
        return normal_address(text)
    except ValueError:
        return text
