# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons with Kerberos inside RPC associations: the client's tokens and messages by bytes, a scripted mechanism."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket.krb5.crypto import Key
from impacket.krb5.gssapi import GSSAPI_AES256
from kerberos_doubles import Rules, Scripted, token
from mountd_doubles import FakeServer, LocalServices

from ksmbd import log, refusals
from ksmbd.auth import spnego
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus
from ksmbd.log_record import Record
from mountd import rpcticket
from mountd.kerberos import replay
from mountd.kerberos.answers import Accepted, Kind, Messages, Refused, Status
from mountd.kerberos.mechanism import Acceptor, Context, HalfOpen
from mountd.kerberos.process import answer
from mountd.rpc import pdu, srvsvc
from mountd.rpc.facts import Facts
from mountd.rpc.frames import Answer, Request
from mountd.rpc.frames import Status as RpcProcessStatus
from mountd.rpc.host import PipeHost
from mountd.rpc.names import TICKET, Admitted, Question, Ticket, decode_found, encode_found
from mountd.rpc.pdu import Fault, Ptype
from mountd.rpc.pipe import Pipe
from mountd.rpc.security import KERBEROS, SPNEGO
from mountd.rpc.security import Level as AuthLevel
from mountd.rpc.service import Caller
from mountd.rpc.telling import facts, level_of

KEY = b"K" * 32
MESSAGES = Messages(18, KEY, True, 50, 0)
TRAILER = struct.Struct("<BBBBI")
AP_REQ = token(b"c" * 40)
GSS = GSSAPI_AES256()
NTLM, KRB5, MS_KRB5 = spnego.NTLMSSP_OID, spnego.KERBEROS_OID, spnego.MS_KERBEROS_OID


def context(principal: str = "bob@KSMBD.TEST", token: bytes = b"") -> Context:
    return Context(principal, b"k" * 32, token, 5000.5, b"context", messages=MESSAGES)


class View(FakeServer):
    """The daemon."""

    def __init__(self) -> None:
        text = "[global]\nkerberos support = yes\n[docs]\npath = /srv\n[IPC$]\nadmin users = ann\n"
        super().__init__(text, ("ann", "bob", "ghost"))


class Office:
    """ksmbd.kerberos, with a scripted mechanism."""

    serving = True

    def __init__(self, mechanism: Scripted) -> None:
        self._acceptor = Acceptor(mechanism, replay.open_table(""), Rules(), lambda: 1000)
        self._numbers = iter(range(1, 1000))

    def ask(self, kind: Kind, payload: bytes, number: int, then: Callable[[Answer | None], None]) -> None:
        then(answer(self._acceptor, Request(kind, 0, number or next(self._numbers), payload)))


THREE_LEGS = Scripted(context(), HalfOpen("half", b"AP-REP"))


class Association:
    """A pipe of ann, an administrator, whose questions the daemon answers."""

    def __init__(self, mechanism: Scripted | None = None, kerberos: bool = True) -> None:
        self.view = View()
        self._kerberos = kerberos
        self.office = Office(mechanism or Scripted(context(), HalfOpen("half", b"AP-REP")))
        self.pipe = Pipe((srvsvc.INTERFACE,), Caller(self._facts, level_of(self.view, "ann", False), "ann"))
        self._begun: set[int] = set()

    def _facts(self) -> Facts:
        return facts(self.view, level_of(self.view, "ann", False), self._kerberos)

    @property
    def account(self) -> str:
        return self.pipe._caller.account

    def exchange(self, data: bytes) -> bytes:
        self.pipe.write(data)
        while self.pipe.questions:
            (question,) = self.pipe.questions
            assert question.kind == TICKET
            steps: list[rpcticket.Step] = []
            rpcticket.step(self.office, question.value, self._begun, "::1", steps.append)
            self.pipe.resume(decode_found(encode_found({question: self._found(steps[0])})))
        found = self.pipe.read(1 << 20)
        return found[0] if found is not None else b""

    def _found(self, step: rpcticket.Step) -> Ticket | None:
        if step.ticket is None or step.accepted is None:
            self._begun |= {step.ticket.number} if step.ticket is not None else set()
            return step.ticket
        account = rpcticket.account(self.view, step.accepted, "::1")
        who = Admitted(account, "", level_of(self.view, account, False), ())
        return step.ticket._replace(admitted=who) if account else None


def bind(
    token: bytes, kind: int = SPNEGO, level: int = AuthLevel.PRIVACY, ptype: Ptype = Ptype.BIND, context_id: int = 7
) -> bytes:
    body = (4280).to_bytes(2, "little") * 2 + bytes(4) + b"\1\0\0\0" + b"\0\0\1\0" + srvsvc.INTERFACE.syntax.encode()
    message = pdu.encode(ptype, pdu.WHOLE, 1, body + pdu.NDR32.encode())
    longer = bytearray(message + TRAILER.pack(kind, level, 0, 0, context_id) + token)
    pdu.set_lengths(longer, len(longer), len(token))
    return bytes(longer)


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes((tag,)) + (bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


def init(mechanisms: tuple[str, ...], token: bytes = b"") -> bytes:
    fields = tlv(0xA0, spnego.encode_mechanisms(mechanisms)) + (tlv(0xA2, tlv(4, token)) if token else b"")
    return tlv(0x60, bytes.fromhex("06062b0601050502") + tlv(0xA0, tlv(0x30, fields)))


def response(token: bytes, mic: bytes | None = None) -> bytes:
    return spnego.encode_response(spnego.ACCEPT_INCOMPLETE, None, token, mic)


def token_of(message: bytes) -> bytes:
    size = int.from_bytes(message[10:12], "little")
    return message[-size:] if size else b""


def fault(message: bytes) -> int:
    assert message[2] == Ptype.FAULT
    return int.from_bytes(message[24:28], "little")


def called(association: Association, level: int, number: int, change: int = 0) -> bytes:
    """The stub of the answer to NetrRemoteTOD, protected as impacket does it; `change`: a byte that is altered."""
    body = bytes(6) + (28).to_bytes(2, "little")
    stub = bytes(4)
    trailer = TRAILER.pack(SPNEGO, level, 0, 0, 7)
    if level == AuthLevel.PRIVACY:
        stub, signature = GSS.GSS_Wrap(Key(18, KEY), stub, number)
    else:
        signature = bytes(GSS.GSS_GetMIC(Key(18, KEY), stub, number))
    whole = bytearray(pdu.encode(Ptype.REQUEST, pdu.WHOLE, 9, body + stub) + trailer + signature)
    pdu.set_lengths(whole, len(whole), len(signature))
    if change:
        whole[change] ^= 1
    answer = association.exchange(bytes(whole))
    if answer[2] != Ptype.RESPONSE:
        return answer
    size = int.from_bytes(answer[10:12], "little")
    data, auth = answer[24 : -size - 8], answer[-size - 8 :]
    assert (len(answer) - size - 8) % 4 == 0
    if level == AuthLevel.PRIVACY:
        data = GSS.GSS_Unwrap(Key(18, KEY), data, 1, authData=auth)[0]
    return data[: len(data) - auth[2]]


LEVELS = [AuthLevel.PKT, AuthLevel.INTEGRITY, AuthLevel.PRIVACY]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("offered", [(KRB5, NTLM), (MS_KRB5, KRB5, NTLM)])
def test_three_tokens_in_spnego_and_protected_calls(offered: tuple[str, ...], level: int) -> None:
    association = Association()
    first = association.exchange(bind(init(offered, AP_REQ), level=level))
    assert first[2] == Ptype.BIND_ACK
    read = spnego.parse_response(token_of(first))
    assert (read.state, read.token) == (spnego.ACCEPT_INCOMPLETE, b"AP-REP")
    assert association.account == "ann", "not yet"
    last = association.exchange(bind(response(b"client's"), level=level, ptype=Ptype.ALTER_CONTEXT))
    assert last[2] == Ptype.ALTER_CONTEXT_RESP
    assert spnego.parse_response(token_of(last)).state == spnego.ACCEPT_COMPLETED
    assert association.account == "bob"
    for number in range(3):
        assert called(association, level, number)[-4:] == bytes(4)
    assert fault(called(association, level, 2)) == Fault.SEC_PKG_ERROR, "the number was there before"


@pytest.mark.parametrize("level", LEVELS)
def test_kerberos_alone(level: int) -> None:
    association = Association()
    assert token_of(association.exchange(bind(AP_REQ, KERBEROS, level))) == b"AP-REP"
    assert token_of(association.exchange(bind(b"client's", KERBEROS, level, Ptype.ALTER_CONTEXT))) == b""
    assert association.account == "bob"


def test_the_last_token_in_rpc_auth_3() -> None:
    association = Association()
    association.exchange(bind(AP_REQ, KERBEROS, AuthLevel.CONNECT))
    message = bytearray(pdu.encode(Ptype.AUTH3, pdu.WHOLE, 1, bytes(4)) + TRAILER.pack(KERBEROS, 2, 0, 0, 7) + b"last")
    pdu.set_lengths(message, len(message), 4)
    assert association.exchange(bytes(message)) == b""
    assert association.account == "bob"
    request = pdu.encode(Ptype.REQUEST, pdu.WHOLE, 9, bytes(6) + (28).to_bytes(2, "little") + bytes(4))
    assert association.exchange(request)[2] == Ptype.RESPONSE


def test_a_client_without_dce_style_needs_one_token() -> None:
    association = Association(Scripted(context(token=b"AP-REP")))
    answer = association.exchange(bind(init((KRB5,), AP_REQ)))
    read = spnego.parse_response(token_of(answer))
    assert (read.state, read.token) == (spnego.ACCEPT_COMPLETED, b"AP-REP")
    assert association.account == "bob"


def test_kerberos_that_is_not_the_first_mechanism_is_proved() -> None:
    unknown = "1.3.6.1.4.1.311.2.2.30"
    offered = spnego.encode_mechanisms((unknown, KRB5))
    good = mic(offered)
    for proof, right in ((good, True), (good[:-1] + bytes((good[-1] ^ 1,)), False), (None, False)):
        association = Association()
        answer = association.exchange(bind(init((unknown, KRB5), b"NEGOEXTS")))
        assert spnego.parse_response(token_of(answer)).state == spnego.REQUEST_MIC
        answer = association.exchange(bind(response(AP_REQ), ptype=Ptype.ALTER_CONTEXT))
        assert spnego.parse_response(token_of(answer)).token == b"AP-REP"
        answer = association.exchange(bind(response(b"last", proof), ptype=Ptype.ALTER_CONTEXT))
        assert (association.account == "bob") == right
        if right:
            assert spnego.parse_response(token_of(answer)).mic is not None
            assert called(association, AuthLevel.PRIVACY, 1)[-4:] == bytes(4), "the proof was number 0"
        else:
            assert fault(answer) == Fault.ACCESS_DENIED


def mic(data: bytes) -> bytes:
    """The initiator's MIC token of number 0."""
    header = struct.pack(">HB5sQ", 0x0404, 4, b"\xff" * 5, 0)
    return header + bytes(GSS.checkSumProfile.checksum(Key(18, KEY), 25, data + header))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("position", [24, 26, -1, -13])
def test_what_was_changed_on_the_way(level: int, position: int) -> None:
    association = Association(Scripted(context()))
    association.exchange(bind(init((KRB5,), AP_REQ), level=level))
    assert fault(called(association, level, 0, position)) == Fault.SEC_PKG_ERROR


def test_ntlm_is_chosen_where_there_is_no_kerberos() -> None:
    association = Association(kerberos=False)
    answer = association.exchange(bind(init((KRB5, NTLM), AP_REQ)))
    assert spnego.parse_response(token_of(answer)).state == spnego.REQUEST_MIC
    for kind, offered in ((KERBEROS, AP_REQ), (SPNEGO, init((KRB5,), AP_REQ))):
        assert Association(kerberos=False).exchange(bind(offered, kind))[2] == Ptype.BIND_NAK


@pytest.mark.parametrize(("mechanism", "reason", "account"), [
    (Scripted(Refused("wrong key", "eve@X")), "wrong key", "eve@X"),
    (Scripted(context("ghost@KSMBD.TEST")), "Unix account", "ghost@KSMBD.TEST"),
    (Scripted(context("bob@ELSEWHERE")), "auth_to_local", "bob@ELSEWHERE"),
])  # fmt: skip
def test_refusals_are_told(
    mechanism: Scripted, reason: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Record] = []
    monkeypatch.setattr(log, "write", told.append)
    refusals._limited.forget()
    association = Association(mechanism)
    assert association.exchange(bind(init((KRB5,), AP_REQ)))[2] == Ptype.BIND_NAK
    refusals._limited.forget()
    assert association.account == "ann"
    record = next(record for record in told if record.event == "log-on-refused")
    assert reason in str(record.fields["reason"])
    assert (record.fields["address"], record.fields["account"], record.fields["by"]) == ("::1", account, "RPC")


def test_an_expired_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    association = Association(Scripted(context()))
    association.exchange(bind(init((KRB5,), AP_REQ)))
    assert called(association, AuthLevel.PRIVACY, 0)[-4:] == bytes(4)
    end = association.pipe._security._contexts[7]._end
    monkeypatch.setattr("mountd.rpc.security.time.monotonic", lambda: end)
    assert fault(called(association, AuthLevel.PRIVACY, 1)) == Fault.ACCESS_DENIED


def test_keys_that_are_not_aes_s() -> None:
    weak = Context("bob@KSMBD.TEST", b"k" * 16, b"", 5000.5, messages=Messages(23, b"k" * 16, True, 0, 0))
    association = Association(Scripted(weak))
    assert association.exchange(bind(init((KRB5,), AP_REQ)))[2] == Ptype.BIND_NAK


# ------------------------------------------------------------------------------------------------------- the daemon


class Held:
    """An office that answers when the test says so."""

    serving = True

    def __init__(self) -> None:
        self.asked: list[tuple[Kind, bytes, int, Callable[[Answer | None], None]]] = []

    def ask(self, kind: Kind, payload: bytes, number: int, then: Callable[[Answer | None], None]) -> None:
        self.asked.append((kind, payload, number, then))


class Daemon:
    """A pipe of bob's in the daemon, and the process of RPC by its frames."""

    def __init__(self) -> None:
        self.backend = LocalServices()
        self.backend.held = []
        self.host = PipeHost(View(), self.backend)
        self.office = Held()
        self.host.tickets = self.office
        self.replies: list[Message] = []
        self.host.reply = lambda slot, message: self.replies.append(message)
        self.tell(RpcFlag.OPEN)
        self.tell(RpcFlag.IOCTL)
        self.number = self.backend.held.pop().pipe

    def tell(self, flag: RpcFlag) -> None:
        fields = {"handle": 1, "flags": int(flag | RpcFlag.SRVSVC), "payload": b"", "payload_sz": 0}
        message = Message(Event.RPC_REQUEST, fields, {}, {Attribute.ACCOUNT: "bob"}, addresses=["::1"])
        self.host.handle(1, message)

    def ask(self, token: str = "QQ==", of: int = 0) -> None:
        question = json.dumps([[TICKET, json.dumps({"token": token, "of": of})]]).encode()
        self.backend.on_answer(Answer(RpcProcessStatus.QUESTION, self.number, question))

    def found(self) -> object:
        ((found,),) = (decode_found(self.backend.sent[-1].payload).values(),)
        return found


def test_the_daemon_lets_tokens_be_checked_and_admits_the_user() -> None:
    daemon = Daemon()
    daemon.ask()
    kind, payload, number, then = daemon.office.asked.pop()
    assert (kind, payload, number) == (Kind.BEGIN, b"A", 0)
    then(Answer(Status.BEGUN, 33, b'{"token": "aa"}'))
    assert daemon.found() == Ticket("aa", 33)
    daemon.ask("Qg==", 33)
    kind, payload, number, then = daemon.office.asked.pop()
    assert (kind, payload, number) == (Kind.CONTINUE, b"B", 33)
    accepted = Accepted("ann@KSMBD.TEST", "ann", b"k", b"", 4000, messages=MESSAGES)
    then(Answer(Status.ACCEPTED, 33, accepted.encode()))
    assert daemon.found() == Ticket("", 0, Admitted("ann", "", 2, ()), (18, KEY.hex(), True, 50, 0), 4000)
    assert daemon.host._levels[2] == 1


@pytest.mark.parametrize("question", [
    {"token": "Qg==", "of": 34}, {"token": "", "of": 0}, {"token": "?", "of": 0},
    {"token": "A" * ((16 << 10) * 4 // 3 + 4), "of": 0},
])  # fmt: skip
def test_questions_that_the_process_of_rpc_may_not_ask(question: dict[str, str | int]) -> None:
    daemon = Daemon()
    daemon.ask(str(question["token"]), int(question["of"]))
    assert daemon.office.asked == []
    assert [reply.fields["flags"] for reply in daemon.replies] == [RpcStatus.BROKEN_PIPE]


def test_an_answer_that_is_malformed_refuses_and_ends_the_process() -> None:
    for status, payload in ((Status.BEGUN, b"{}"), (Status.ACCEPTED, b"{}"), (Status.VERIFIED, b"")):
        daemon = Daemon()
        daemon.ask()
        with pytest.raises(ValueError):
            daemon.office.asked.pop()[3](Answer(status, 33, payload))
        assert daemon.found() is None


def test_a_pipe_that_is_closed_meanwhile_gets_no_answer() -> None:
    daemon = Daemon()
    daemon.ask()
    daemon.tell(RpcFlag.CLOSE)
    before = len(daemon.backend.sent)
    accepted = Accepted("ann@KSMBD.TEST", "ann", b"k", b"", 4000, messages=MESSAGES)
    daemon.office.asked.pop()[3](Answer(Status.ACCEPTED, 33, accepted.encode()))
    assert daemon.backend.sent[before:] == []
    assert daemon.host._levels == [0, 0, 0]


# ------------------------------------------------------------------------------------------------ whatever comes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(
    st.sampled_from((SPNEGO, KERBEROS)), st.integers(1, 7), st.sampled_from((Ptype.BIND, Ptype.ALTER_CONTEXT)),
    st.one_of(st.binary(max_size=60), st.sampled_from((AP_REQ, init((KRB5, NTLM), AP_REQ), response(b"x", b"m")))),
), max_size=5))  # fmt: skip
def test_any_tokens_are_answered_or_refused(steps: list[tuple[int, int, Ptype, bytes]]) -> None:
    association = Association()
    for kind, level, ptype, offered in steps:
        if association.pipe._broken:
            break
        association.exchange(bind(offered or b"\0", kind, level, ptype))
    assert association.pipe.questions == ()


def test_the_question_is_bounded() -> None:
    association = Association()
    association.pipe.write(bind(b"\x6e" + bytes((16 << 10) - 1), KERBEROS))
    (question,) = association.pipe.questions
    assert isinstance(question, Question) and len(json.dumps(question.value)) < 24 << 10
    longer = Association()
    longer.pipe.write(bind(b"\x6e" + bytes(16 << 10), KERBEROS))
    assert longer.pipe.questions == ()
    found = longer.pipe.read(1 << 16)
    assert found is not None and found[0][2] == Ptype.BIND_NAK
