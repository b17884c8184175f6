# SPDX-License-Identifier: GPL-2.0-or-later
"""Named pipes and tickets of the kernel's server: a scripted kernel asks in KSMBD's structures."""
from __future__ import annotations

import struct
from collections.abc import Callable
from types import SimpleNamespace

import kernel_doubles as kernel
import pytest
from kerberos_doubles import Rules, Scripted, element, token
from kernel_office import TEXT, Office
from mountd_doubles import accounts

from ksmbd.auth import spnego
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus, UserFlag
from mountd.kerberos import process, replay
from mountd.kerberos.mechanism import Acceptor, Context
from mountd.kernelserver.pipes import KernelPipes
from mountd.rpc.frames import Answer, Request

pytestmark = pytest.mark.usefixtures("no_ports")


# ---------------------------------------------------------------------------------------------------------- Kerberos


class Kdc:
    """The process of Kerberos: admits ann with a key of 16 bytes, at once unless it `holds` the answers."""

    serving = True

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.sent: list[bytes] = []
        self.holds = False
        self.held: list[Answer] = []
        self.on_answer: Callable[[Answer], None] = lambda answer: None
        self.on_end: Callable[[], None] = lambda: None

    def refresh(self) -> None:
        """Its keytab stays as it is."""

    def send(self, request: Request, guest: bool) -> bool:
        self.sent.append(request.payload)
        context = Context("ann@KSMBD.TEST", b"K" * 16, b"ap-rep", 5000.5)
        mechanism = Scripted(context)
        found = process.answer(Acceptor(mechanism, replay.open_table(""), Rules(), lambda: 1000), request)
        assert found is not None
        self.asked += mechanism.asked
        self.held.append(found)
        if not self.holds:
            self.on_answer(found)
        return True


def _spnego(handle: int, blob: bytes) -> bytes:
    """With the bytes behind the blob that the kernel sends."""
    return kernel.from_kernel(Event.SPNEGO_AUTHEN_REQUEST, struct.pack("=IH", handle, len(blob)) + blob + bytes(3))


def _init(mechanism: str, token: bytes) -> bytes:
    """A client's NegTokenInit."""
    mechanisms = spnego.encode_mechanisms([mechanism])
    return element(0xA0, element(0x30, element(0xA0, mechanisms), element(0xA2, element(4, token))))


@pytest.mark.parametrize("mechanism", [spnego.KERBEROS_OID, spnego.MS_KERBEROS_OID])
def test_a_ticket(office: Office, mechanism: str) -> None:
    kdc = Kdc()
    office.requests.kerberos.attach(kdc)
    office.requests.accounts = accounts("ann")
    (reply,) = office.ask(_spnego(9, _init(mechanism, token(b"c"))))
    assert kdc.asked == [token(b"c")], "the token of the mechanism"
    assert struct.unpack_from("=II", reply) == (9, 0)
    gid, uid = struct.unpack_from("=II", reply, 8)
    assert (uid, gid, reply[16:64]) == (1001, 1001, kernel.text("ann", 48))
    assert struct.unpack_from("=H", reply, 64)[0] & UserFlag.OK
    key_size, blob_size = struct.unpack_from("=HH", reply, 152)
    assert (key_size, reply[156:172]) == (16, b"K" * 16) and len(reply) == 172 + blob_size
    answer = spnego.parse_response(reply[172:])
    assert (answer.state, answer.token) == (spnego.ACCEPT_COMPLETED, b"ap-rep")
    assert spnego.encode_response(spnego.ACCEPT_COMPLETED, mechanism, b"ap-rep") == reply[172:]


@pytest.mark.parametrize("blob", [b"", b"junk", _init(spnego.NTLMSSP_OID, b"x"), _init(spnego.KERBEROS_OID, b"")])
def test_a_token_without_ticket(office: Office, blob: bytes) -> None:
    kdc = Kdc()
    office.requests.kerberos.attach(kdc)
    (reply,) = office.ask(_spnego(9, blob))
    assert not kdc.asked and len(reply) == 156 and reply[:4] == struct.pack("=I", 9)
    assert not struct.unpack_from("=H", reply, 64)[0] & UserFlag.OK


def test_log_ons_that_wait_are_bounded(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mountd.kerberos.host.limits.DAEMON_QUESTIONS", SimpleNamespace(value=2))
    kdc = Kdc()
    kdc.holds = True
    office.requests.kerberos.attach(kdc)
    asked = [_spnego(handle, _init(spnego.KERBEROS_OID, token(b"%d" % handle))) for handle in (1, 2, 3)]
    (refused,) = office.ask(*asked)
    assert refused[:4] == struct.pack("=I", 3) and not struct.unpack_from("=H", refused, 64)[0] & UserFlag.OK
    for answer in kdc.held:
        kdc.on_answer(answer)
    assert len(office.socket.sent) - 1 == len(kdc.held) + 1 and len(office.requests.kerberos) == 0


def test_the_daemon_does_not_read_the_token(office: Office) -> None:
    kdc = Kdc()
    office.requests.kerberos.attach(kdc)
    office.ask(_spnego(9, b"junk"))
    assert kdc.sent == [b"junk"]


def test_without_kerberos(office: Office) -> None:
    (reply,) = office.ask(_spnego(9, _init(spnego.KERBEROS_OID, b"ap-req")))
    assert len(reply) == 156 and not struct.unpack_from("=H", reply, 64)[0] & UserFlag.OK


# ------------------------------------------------------------------------------------------------------------- pipes

BIND = bytes.fromhex(
    "05000b0310000000480000000100000000101000"  # bind, fragments of 4096 bytes
    "00000000 01000000 0000 0100"
    "c84f324b7016d30112785a47bf6ee188 03000000"  # srvsvc 3.0
    "045d888aeb1cc9119fe808002b104860 02000000"  # NDR
)
WRITE, READ, IOCTL = (RpcFlag.SRVSVC | way for way in (RpcFlag.WRITE, RpcFlag.READ, RpcFlag.IOCTL))
OPEN, CLOSE = RpcFlag.SRVSVC | RpcFlag.OPEN, RpcFlag.SRVSVC | RpcFlag.CLOSE


def _shares(referent: int = 1) -> bytes:
    """NetrShareEnum of level 1 (MS-SRVS 3.1.4.8)."""
    stub = struct.pack("<IIIIIIII", 0, 1, 1, referent, 0, 0, 0xFFFFFFFF, 0)
    return struct.pack("<BBBBIHHIIHH", 5, 0, 0, 3, 0x10, 24 + len(stub), 0, 2, len(stub), 0, 15) + stub


def test_a_list_of_shares_by_pipe(office: Office) -> None:
    assert office.ask(kernel.rpc(8, OPEN)) == [struct.pack("=III", 8, 0, 0)]
    (bound,) = office.ask(kernel.rpc(8, IOCTL, BIND))
    assert struct.unpack_from("=II", bound, 4) == (0, len(bound) - 12) and bound[12 + 2] == 12, "bind_ack"
    transmit, receive = struct.unpack_from("<HH", bound, 12 + 16)
    assert (transmit, receive) == (1432, 1432)
    (listed,) = office.ask(kernel.rpc(8, IOCTL, _shares()))
    assert "staff".encode("utf-16-le") in listed
    assert office.ask(kernel.rpc(8, CLOSE)) == [struct.pack("=III", 8, 0, 0)]
    assert not len(office.requests.pipes)


def test_long_replies_come_in_fragments_that_the_kernel_passes_whole() -> None:
    many = TEXT + "".join(f"    [share number {number}]\n    path = /srv/{number}\n" for number in range(60))
    office = Office(text=many)
    office.engine.start()
    office.ask(kernel.rpc(8, OPEN), kernel.rpc(8, WRITE, BIND), kernel.rpc(8, READ))
    (first,) = office.ask(kernel.rpc(8, IOCTL, _shares()))
    parts = [first]
    while not parts[-1][12 + 3] & 2:
        parts += office.ask(kernel.rpc(8, READ))
    assert len(parts) > 4
    for part in parts:
        status, size = struct.unpack_from("=II", part, 4)
        assert status == 0 and size == len(part) - 12 == struct.unpack_from("<H", part, 12 + 8)[0] <= 1024


def test_a_pipe_is_a_guests_by_its_first_write(office: Office) -> None:
    for handle, restricted in ((8, RpcFlag(0)), (9, RpcFlag.RESTRICTED_CONTEXT)):
        office.ask(kernel.rpc(handle, OPEN), kernel.rpc(handle, WRITE | restricted, BIND))
    levels = [pipe.level for pipe in office.requests.pipes._numbered.values()]
    assert [int(level) for level in levels] == [1, 0]


@pytest.mark.parametrize("flags", [RpcFlag.RAP | RpcFlag.OPEN, RpcFlag.OPEN])
def test_a_pipe_without_a_service(office: Office, flags: RpcFlag) -> None:
    (reply,) = office.ask(kernel.rpc(8, flags))
    assert struct.unpack_from("=I", reply, 4)[0] != 0
    (reply,) = office.ask(kernel.rpc(8, RpcFlag.WRITE, b"x"))
    assert struct.unpack_from("=I", reply, 4)[0] != 0


def test_an_open_pipe_is_not_opened_again(office: Office) -> None:
    office.ask(kernel.rpc(8, OPEN), kernel.rpc(8, WRITE, BIND))
    assert office.ask(kernel.rpc(8, OPEN)) == [struct.pack("=III", 8, 6, 0)]
    assert len(office.requests.pipes) == 1


class Slow:
    """mountd, which looks up Unix users before it opens a pipe, and answers everything else at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, RpcFlag]] = []

    def answer(self, slot: int, message: Message) -> Message | None:
        flags = RpcFlag(message.fields["flags"])
        self.asked.append((message.handle, flags))
        return None if flags & OPEN == OPEN else reply(message.handle, b"answer")


def reply(handle: int, payload: bytes = b"", status: int = 0) -> Message:
    fields = {"handle": handle, "flags": status, "payload_sz": len(payload), "payload": payload}
    return Message(Event.RPC_RESPONSE, fields)


def request(handle: int, flags: RpcFlag, payload: bytes = b"") -> Message:
    fields = {"handle": handle, "flags": int(flags), "payload_sz": len(payload), "payload": payload}
    return Message(Event.RPC_REQUEST, fields)


def test_the_first_request_waits_until_the_pipe_is_open() -> None:
    slow = Slow()
    pipes = KernelPipes(slow.answer)
    assert pipes.take(request(8, OPEN)) == reply(8)
    assert pipes.take(request(8, WRITE | RpcFlag.SRVSVC, BIND)) is None
    assert [handle for handle, _ in slow.asked] == [8], "the opening alone"
    assert pipes.take(request(8, RpcFlag.READ)) == reply(8, status=RpcStatus.NOMEM)
    assert pipes.passed(reply(7, b"another's")) == reply(7, b"another's")
    assert pipes.passed(reply(8)) == reply(8, b"answer"), "the first request's, and nothing of the opening"
    assert slow.asked[1][1] & WRITE == WRITE
    assert pipes.passed(reply(8, b"later")) == reply(8, b"later")


@pytest.mark.parametrize("refused", [
    reply(8, status=RpcStatus.PIPE_BUSY), Message(Event.FAILED, numbers={Attribute.HANDLE: 8}),
])  # fmt: skip
def test_a_pipe_that_is_not_opened_answers_its_first_request_so(refused: Message) -> None:
    slow = Slow()
    pipes = KernelPipes(slow.answer)
    pipes.take(request(8, OPEN))
    assert pipes.take(request(8, WRITE | RpcFlag.SRVSVC, BIND)) is None
    found = pipes.passed(refused)
    assert found is not None
    assert found.event is Event.RPC_RESPONSE
    assert found.fields["flags"] in (RpcStatus.PIPE_BUSY, RpcStatus.NOMEM)
    assert len(slow.asked) == 1


def test_a_pipe_that_is_closed_while_it_opens_is_closed_once_it_is_open() -> None:
    slow = Slow()
    pipes = KernelPipes(slow.answer)
    pipes.take(request(8, OPEN))
    pipes.take(request(8, WRITE | RpcFlag.SRVSVC, BIND))
    assert pipes.take(request(8, CLOSE)) == reply(8)
    assert pipes.take(request(8, OPEN)) == reply(8, status=RpcStatus.BAD_FID)
    assert pipes.passed(reply(8)) is None
    assert slow.asked[1:] == [(8, RpcFlag.CLOSE)]
    assert pipes.take(request(8, OPEN)) == reply(8)
