# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-ons inside RPC associations and protected PDUs: impacket's client, a client of SPNEGO, and any bytes."""
from __future__ import annotations

import base64
import contextlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from impacket import ntlm
from impacket.dcerpc.v5 import rpcrt, srvs
from impacket.dcerpc.v5.dtypes import NULL
from mountd_doubles import FakeServer, LocalServices
from rpc_doubles import Transport

from ksmbd import limits, log, refusals
from ksmbd.auth import ntlm_crypto as crypto
from ksmbd.auth import spnego
from ksmbd.auth.ntlm_sealing import MessageProtection
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus
from ksmbd.log_record import Record
from ksmbd.overriding import override
from mountd import rpclogon
from mountd.failedlogons import DELAY, FAILURES_MAX
from mountd.rpc import pdu, srvsvc
from mountd.rpc.frames import Answer, Status
from mountd.rpc.host import PipeHost
from mountd.rpc.names import LOGON, Admitted, Question, decode_found, encode_found
from mountd.rpc.pdu import Fault, Ptype
from mountd.rpc.pipe import Pipe, PipeBroken
from mountd.rpc.security import NTLMSSP, SPNEGO
from mountd.rpc.security import Level as AuthLevel
from mountd.rpc.service import Caller
from mountd.rpc.telling import facts, level_of
from mountd.rpclogon import Checked

PASSWORDS = {"ann": "ann", "bob": "bob"}
"""mountd_doubles.accounts: the password is the name."""
TRAILER = struct.Struct("<BBBBI")


class View(FakeServer):
    """The daemon."""

    def __init__(self, text: str = "") -> None:
        text = "[global]\n" + text + "[docs]\npath = /srv\n[IPC$]\nadmin users = ann\n"
        super().__init__(text, ("ann", "bob", "ghost"))


class Association:
    """A pipe of `opener`, whose questions the daemon answers."""

    def __init__(self, opener: str = "bob", restricted: bool = False, text: str = "") -> None:
        self.view = View(text)
        level = level_of(self.view, opener, restricted)
        self.pipe = Pipe((srvsvc.INTERFACE,), Caller(self._facts, level, opener))
        self.asked: list[Question] = []

    def _facts(self) -> Any:
        return facts(self.view, level_of(self.view, "ann", False))

    @property
    def caller(self) -> Caller:
        return self.pipe._caller

    def write(self, data: bytes) -> None:
        self.pipe.write(data)
        while self.pipe.questions:
            (question,) = self.pipe.questions
            self.asked.append(question)
            account, key, _ = rpclogon.check(self.view, question.value)
            level = level_of(self.view, account, False)
            found = Admitted(account, key.hex(), level, ()) if account else None
            self.pipe.resume(decode_found(encode_found({question: found})))

    def exchange(self, data: bytes) -> bytes:
        self.write(data)
        found = self.pipe.read(1 << 20)
        assert found is not None
        return found[0]


class Wire(Transport):
    """impacket's transport over an association; `change` alters what the client sends, by PDU type."""

    def __init__(self, association: Association, change: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__(association.pipe)
        self._association = association
        self._change = change

    def doesSupportNTLMv2(self) -> bool:
        return True

    @override
    def send(self, data: bytes, forceWriteAndx: int = 0, forceRecv: int = 0) -> None:
        self._association.write(self._change(bytes(data)))


def client(
    association: Association, level: int, user: str = "bob", password: str | None = None,
    change: Callable[[bytes], bytes] = bytes,
) -> Any:  # fmt: skip
    dce = rpcrt.DCERPC_v5(Wire(association, change))
    dce.set_credentials(user, PASSWORDS.get(user, "") if password is None else password, "WOOD")
    dce.set_auth_type(rpcrt.RPC_C_AUTHN_WINNT)
    dce.set_auth_level(level)
    dce.connect()
    dce.bind(srvs.MSRPC_UUID_SRVS)
    return dce


LEVELS = [
    rpcrt.RPC_C_AUTHN_LEVEL_CONNECT, rpcrt.RPC_C_AUTHN_LEVEL_PKT_INTEGRITY, rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
]  # fmt: skip


@pytest.mark.parametrize("level", LEVELS)
def test_calls_are_protected(level: int) -> None:
    association = Association()
    sent: list[bytes] = []

    def note(data: bytes) -> bytes:
        sent.append(data)
        return data

    dce = client(association, level, change=note)
    for _ in range(3):
        rows = srvs.hNetrShareEnum(dce, 1)["InfoStruct"]["ShareInfo"]["Level1"]["Buffer"]
        assert [row["shi1_netname"] for row in rows] == ["docs\0", "IPC$\0"]
        share = srvs.hNetrShareGetInfo(dce, "docs\0", 1)
        assert share["InfoStruct"]["ShareInfo1"]["shi1_netname"] == "docs\0"
    in_clear = any("docs".encode("utf-16-le") in data for data in sent)
    assert in_clear == (level != rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
    assert association.caller.account == "bob"


@pytest.mark.parametrize("level", LEVELS[1:])
def test_long_calls_are_protected_in_each_fragment(level: int) -> None:
    association = Association(text="".join(f"[share{i:03}]\npath = /s\ncomment = words words\n" for i in range(200)))
    dce = client(association, level)
    dce.set_max_fragment_size(64)
    for _ in range(2):
        assert srvs.hNetrShareEnum(dce, 1)["TotalEntries"] == 202


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_second_security_context(level: int) -> None:
    """impacket logs on anew for each further interface."""
    association = Association()
    other = client(association, level).alter_ctx(srvs.MSRPC_UUID_SRVS)
    assert srvs.hNetrShareEnum(other, 1)["TotalEntries"] == 2


@pytest.mark.parametrize("level", LEVELS)
def test_calls_run_as_who_has_logged_on(level: int) -> None:
    association = Association("bob")
    dce = client(association, level, "ann")
    assert association.caller.is_admin
    with pytest.raises(rpcrt.DCERPCException) as caught:
        srvs.hNetrSessionDel(dce, NULL, NULL)
    assert caught.value.get_error_code() == 87, "not ERROR_ACCESS_DENIED"
    lowered = Association("ann")
    dce = client(lowered, level, "bob")
    assert not lowered.caller.is_admin
    with pytest.raises(rpcrt.DCERPCException) as caught:
        srvs.hNetrSessionDel(dce, NULL, NULL)
    assert caught.value.get_error_code() == 5


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("user", "password"), [
    ("bob", "wrong"), ("nobody", "x"), ("stranger", ""), ("ghost", "ghost"),
])  # fmt: skip
def test_a_wrong_password(level: int, user: str, password: str) -> None:
    association = Association("ann")
    dce = client(association, level, user, password)
    with pytest.raises(rpcrt.DCERPCException, match="access_denied"):
        srvs.hNetrShareEnum(dce, 1)
    with pytest.raises(PipeBroken):
        association.pipe.write(b"")
    assert association.caller.account == "ann"


def test_another_account_in_a_second_context_is_refused() -> None:
    association = Association("bob")
    dce = client(association, rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY, "bob")
    dce.set_credentials("ann", "ann", "WOOD")
    with pytest.raises(rpcrt.DCERPCException):
        srvs.hNetrShareEnum(dce.alter_ctx(srvs.MSRPC_UUID_SRVS), 1)
    assert association.caller.account == "bob"


def of_type(kind: Ptype, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: change(data) if data[2] == kind else data


def flipped(position: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        found = bytearray(data)
        found[position] ^= 1
        return bytes(found)

    return of_type(Ptype.REQUEST, change)


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("position", [16, 22, 24, 40, -1, -4, -16])
def test_what_was_changed_on_the_way(level: int, position: int) -> None:
    association = Association()
    dce = client(association, level, change=flipped(position))
    with pytest.raises(rpcrt.DCERPCException, match="00000721"):
        srvs.hNetrShareEnum(dce, 1)
    with pytest.raises(PipeBroken):
        association.pipe.write(b"")


@pytest.mark.parametrize("level", LEVELS[1:])
def test_what_was_sent_before(level: int) -> None:
    association = Association()
    requests: list[bytes] = []

    def note(data: bytes) -> bytes:
        requests.append(data)
        return data

    dce = client(association, level, change=of_type(Ptype.REQUEST, note))
    srvs.hNetrShareEnum(dce, 1)
    assert fault(association.exchange(requests[0])) == Fault.SEC_PKG_ERROR


def fault(message: bytes) -> int:
    assert message[2] == Ptype.FAULT
    return int.from_bytes(message[24:28], "little")


def request(stub: bytes = bytes(4), call_id: int = 9) -> bytes:
    return pdu.encode(Ptype.REQUEST, pdu.WHOLE, call_id, bytes(6) + (28).to_bytes(2, "little") + stub)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_request_without_protection(level: int) -> None:
    association = Association()
    client(association, level)
    assert fault(association.exchange(request())) == Fault.ACCESS_DENIED


def test_the_level_connect_protects_nothing() -> None:
    association = Association()
    client(association, rpcrt.RPC_C_AUTHN_LEVEL_CONNECT)
    assert association.exchange(request())[2] == Ptype.RESPONSE


# ------------------------------------------------------------------------------------------------ by bytes


def bind(token: bytes, kind: int = NTLMSSP, level: int = AuthLevel.PRIVACY, ptype: Ptype = Ptype.BIND) -> bytes:
    body = (4280).to_bytes(2, "little") * 2 + bytes(4) + b"\1\0\0\0" + b"\0\0\1\0" + srvsvc.INTERFACE.syntax.encode()
    return with_token(pdu.encode(ptype, pdu.WHOLE | pdu.Pfc.SUPPORT_HEADER_SIGN, 1, body + pdu.NDR32.encode()),
                      token, kind, level)  # fmt: skip


def with_token(message: bytes, token: bytes, kind: int = NTLMSSP, level: int = AuthLevel.PRIVACY) -> bytes:
    longer = bytearray(message + TRAILER.pack(kind, level, 0, 0, 7) + token)
    pdu.set_lengths(longer, len(longer), len(token))
    return bytes(longer)


def auth3(token: bytes) -> bytes:
    return with_token(pdu.encode(Ptype.AUTH3, pdu.WHOLE, 1, bytes(4)), token)


def token_of(message: bytes) -> bytes:
    size = int.from_bytes(message[10:12], "little")
    return message[-size:] if size else b""


NEGOTIATE = ntlm.getNTLMSSPType1("", "", signingRequired=True, use_ntlmv2=True)


def test_the_acknowledgement_of_a_log_on() -> None:
    association = Association()
    answer = association.exchange(bind(NEGOTIATE.getData()))
    assert answer[2] == Ptype.BIND_ACK
    assert answer[3] & pdu.Pfc.SUPPORT_HEADER_SIGN
    assert int.from_bytes(answer[8:10], "little") == len(answer)
    kind, level, padding, _, context = TRAILER.unpack(answer[-len(token_of(answer)) - 8 :][:8])
    assert (kind, level, context) == (NTLMSSP, AuthLevel.PRIVACY, 7)
    assert (len(answer) - len(token_of(answer)) - 8) % 4 == 0
    assert padding < 4
    assert token_of(answer).startswith(b"NTLMSSP\0\2")


@pytest.mark.parametrize(("kind", "level"), [
    (16, 6), (68, 6), (9, 1), (9, 0), (10, 7), (10, 1), (0, 0),
])  # fmt: skip
def test_types_and_levels_that_are_none(kind: int, level: int) -> None:
    association = Association()
    answer = association.exchange(bind(NEGOTIATE.getData(), kind, level))
    assert answer[2] == Ptype.BIND_NAK
    assert int.from_bytes(answer[16:18], "little") == pdu.NAK_AUTHENTICATION_TYPE


def test_ntlm_may_be_forbidden() -> None:
    association = Association(text="ntlm auth = disabled\n")
    assert association.exchange(bind(NEGOTIATE.getData()))[2] == Ptype.BIND_NAK


def test_guests_do_not_log_on() -> None:
    association = Association("", restricted=True)
    assert association.exchange(bind(NEGOTIATE.getData()))[2] == Ptype.BIND_NAK
    assert association.asked == []


@pytest.mark.parametrize("token", [b"", b"x", b"NTLMSSP\0", b"NTLMSSP\0\3\0\0\0" + bytes(80), b"\x60\x03abc"])
@pytest.mark.parametrize("kind", [NTLMSSP, SPNEGO])
def test_a_first_token_that_is_none(token: bytes, kind: int) -> None:
    association = Association()
    association.write(bind(token or b"\0", kind))
    found = association.pipe.read(1 << 16)
    assert found is not None
    assert found[0][2] == Ptype.BIND_NAK


def test_requests_before_the_end_of_the_log_on() -> None:
    association = Association()
    association.exchange(bind(NEGOTIATE.getData()))
    assert fault(association.exchange(request())) == Fault.ACCESS_DENIED


def test_too_many_contexts() -> None:
    association = Association()
    association.exchange(bind(NEGOTIATE.getData()))
    for number in range(limits.RPC_SECURITY_CONTEXTS.value):
        message = bytearray(bind(NEGOTIATE.getData(), ptype=Ptype.ALTER_CONTEXT))
        message[-len(NEGOTIATE.getData()) - 4] = 100 + number
        answer = association.exchange(bytes(message))
    assert fault(answer) == Fault.ACCESS_DENIED


# -------------------------------------------------------------------------------------------------------- SPNEGO


class SpnegoClient:
    """A client that logs on by SPNEGO, with a mechListMIC where it wants one."""

    def __init__(self, association: Association, mechanisms: tuple[str, ...], optimistic: bool) -> None:
        self._association = association
        self.mechanisms = spnego.encode_mechanisms(mechanisms)
        self.optimistic = optimistic
        self.protection: MessageProtection | None = None

    def log_on(self, level: int, password: str = "bob", mic: bool | None = True) -> bytes:
        """The answer to the last token. `mic`: right, wrong (False) or none."""
        first = b"\xa0" + length(self.mechanisms) + self.mechanisms
        negotiate = NEGOTIATE.getData()
        if self.optimistic:
            octets = b"\x04" + length(negotiate) + negotiate
            first += b"\xa2" + length(octets) + octets
        sequence = b"\x30" + length(first) + first
        init = b"\xa0" + length(sequence) + sequence
        oid = bytes.fromhex("06062b0601050502")
        answer = self._association.exchange(bind(b"\x60" + length(oid + init) + oid + init, SPNEGO, level))
        assert answer[2] == Ptype.BIND_ACK
        if not self.optimistic:
            answer = self._send(negotiate, None, level)
        challenge = spnego.parse_response(token_of(answer)).token
        authenticate, key = ntlm.getNTLMSSPType3(NEGOTIATE, challenge, "bob", password, "WOOD", use_ntlmv2=True)
        flags = authenticate["flags"]
        signatures = crypto.MessageSignatures(flags, key)
        sent = signatures.of_client(self.mechanisms) if mic is not None else None
        self.protection = MessageProtection(flags, key, 0 if mic is None else 1)
        if mic is False:
            assert sent is not None
            sent = sent[:-1] + b"\xff"
        answer = self._send(authenticate.getData(), sent, level)
        if answer[2] == Ptype.ALTER_CONTEXT_RESP:
            theirs = spnego.parse_response(token_of(answer))
            assert theirs.state == spnego.ACCEPT_COMPLETED
            assert theirs.mic == (signatures.of_server(self.mechanisms) if mic else None)
        return answer

    def _send(self, token: bytes, mic: bytes | None, level: int) -> bytes:
        wrapped = spnego.encode_response(spnego.ACCEPT_INCOMPLETE, None, token, mic)
        return self._association.exchange(bind(wrapped, SPNEGO, level, Ptype.ALTER_CONTEXT))


def length(content: bytes) -> bytes:
    size = len(content)
    return bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2, "big")


NTLM = spnego.NTLMSSP_OID
KERBEROS = spnego.KERBEROS_OID


@pytest.mark.parametrize(("mechanisms", "optimistic", "mic"), [
    ((NTLM,), True, True), ((NTLM,), True, None), ((NTLM,), False, True), ((KERBEROS, NTLM), False, True),
    ((KERBEROS, NTLM), True, True),
])  # fmt: skip
@pytest.mark.parametrize("level", [AuthLevel.INTEGRITY, AuthLevel.PRIVACY])
def test_spnego(mechanisms: tuple[str, ...], optimistic: bool, mic: bool | None, level: int) -> None:
    association = Association()
    made = SpnegoClient(association, mechanisms, optimistic)
    assert made.log_on(level, mic=mic)[2] == Ptype.ALTER_CONTEXT_RESP
    assert made.protection is not None
    sent = made.protection.received  # the client's side of the same streams
    plain = request(bytes(8))
    body = bytearray(plain + TRAILER.pack(SPNEGO, level, 0, 0, 7))
    pdu.set_lengths(body, len(body) + 16, 16)
    wire = bytes(body)
    if level == AuthLevel.PRIVACY:
        wire = wire[:24] + sent.crypt(wire[24:-8]) + wire[-8:]
    answer = association.exchange(wire + sent.signature(bytes(body)))
    assert answer[2] == Ptype.RESPONSE
    received = made.protection.sent
    whole = answer[:-16]
    if level == AuthLevel.PRIVACY:
        whole = whole[:24] + received.crypt(whole[24:-8]) + whole[-8:]
    assert received.verifies(whole, answer[-16:])


@pytest.mark.parametrize(("mechanisms", "password", "mic"), [
    ((NTLM,), "bob", False), ((KERBEROS, NTLM), "bob", None), ((NTLM,), "wrong", True),
])  # fmt: skip
def test_spnego_that_fails(mechanisms: tuple[str, ...], password: str, mic: bool | None) -> None:
    association = Association()
    answer = SpnegoClient(association, mechanisms, optimistic=True).log_on(AuthLevel.PRIVACY, password, mic)
    assert fault(answer) == Fault.ACCESS_DENIED
    with pytest.raises(PipeBroken):
        association.pipe.write(b"")


# ------------------------------------------------------------------------------------------------------- the daemon


def question(**values: object) -> str:
    given: dict[str, object] = {
        "user": "bob", "domain": "WOOD", "challenge": base64.b64encode(bytes(8)).decode(),
        "response": base64.b64encode(bytes(64)).decode(), **values,
    }  # fmt: skip
    return json.dumps(given)


@pytest.mark.parametrize("text", [
    "", "[]", "{}", question(user=1), question(domain=None), question(challenge="AA=="), question(response="AA=="),
    question(response="?"), question(challenge=5),
])  # fmt: skip
def test_what_is_no_log_on(text: str) -> None:
    with pytest.raises(ValueError):
        rpclogon.check(View(), text)


@pytest.mark.parametrize("user", ["bob", "", "stranger", "ghost", "\ud800", "root"])
def test_a_response_that_is_wrong(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Record] = []
    monkeypatch.setattr(log, "write", told.append)
    refusals._limited.forget()
    view = View("map to guest = bad user\n")
    assert rpclogon.check(view, question(user=user), "192.0.2.7") == Checked("", b"")
    refusals._limited.forget()
    (record,) = told
    assert record.event == "log-on-refused" and record.fields["address"] == "192.0.2.7"
    known = view.accounts.find(user) is not None
    assert record.fields["reason"] == ("wrong password" if known else "unknown user")
    assert record.fields.get("account", "") == user and record.fields["by"] == "RPC"


def test_a_response_that_is_right() -> None:
    blob = bytes(range(48))
    key = crypto.ntowf_v2(crypto.ntowf_v1("bob"), "BOB", "WOOD")
    proof = crypto.nt_proof(key, b"12345678", blob)
    text = question(
        user="BOB", challenge=base64.b64encode(b"12345678").decode(), response=base64.b64encode(proof + blob).decode()
    )
    assert rpclogon.check(View(), text) == Checked("bob", crypto.hmac_md5(key, proof))


def right(user: str) -> str:
    """A log-on with the right password, which is the account's name."""
    blob = bytes(range(48))
    proof = crypto.nt_proof(crypto.ntowf_v2(crypto.ntowf_v1(user), user, "WOOD"), bytes(8), blob)
    return question(user=user, response=base64.b64encode(proof + blob).decode())


def test_guessing_a_password_takes_long() -> None:
    view = View()
    for _ in range(FAILURES_MAX):
        assert rpclogon.check(view, question()).delay == 0
    assert rpclogon.check(view, question(user="BOB")).delay == DELAY
    assert rpclogon.check(view, question(user="ann")).delay == 0
    assert rpclogon.check(view, right("bob"))[0::2] == ("bob", 0)
    assert rpclogon.check(view, question()).delay == 0


def test_a_late_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes when the daemon's clock says so; a pipe that is closed meanwhile gets none."""
    monkeypatch.setattr(rpclogon, "check", lambda server, text, address: Checked("", b"", DELAY))
    backend = LocalServices()
    backend.held = []
    host = PipeHost(View(), backend)
    due: list[tuple[float, Callable[[], None]]] = []
    host.later = lambda seconds, call: due.append((seconds, call))

    def tell(handle: int, flag: RpcFlag) -> None:
        fields = {"handle": handle, "flags": int(flag | RpcFlag.SRVSVC), "payload": b"", "payload_sz": 0}
        host.handle(1, Message(Event.RPC_REQUEST, fields, {}, {Attribute.ACCOUNT: "bob"}, addresses=["::1"]))

    for handle in (1, 2):
        tell(handle, RpcFlag.OPEN)
        tell(handle, RpcFlag.IOCTL)
        asked = Answer(Status.QUESTION, backend.held.pop().pipe, json.dumps([[LOGON, "{}"]]).encode())
        backend.on_answer(asked)
    assert [seconds for seconds, _ in due] == [DELAY, DELAY]
    tell(2, RpcFlag.CLOSE)
    before = len(backend.sent)
    for _, call in due:
        call()
    (told,) = backend.sent[before:]
    assert list(decode_found(told.payload).values()) == [None]


@pytest.mark.parametrize(("opener", "account", "level"), [("bob", "ann", 2), ("ann", "bob", 1), ("", "ann", None)])
def test_the_daemon_counts_a_pipe_for_who_has_logged_on(
    opener: str, account: str, level: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def check(server: object, text: str, address: str) -> Checked:
        asked.append(address)
        return Checked(account, bytes(16))

    monkeypatch.setattr(rpclogon, "check", check)
    backend = LocalServices()
    backend.held = []
    host = PipeHost(View(), backend)
    later: list[Message] = []
    host.reply = lambda slot, message: later.append(message)
    for flags in (RpcFlag.OPEN, RpcFlag.IOCTL):
        fields = {"handle": 1, "flags": int(flags | RpcFlag.SRVSVC), "payload": b"", "payload_sz": 0}
        host.handle(1, Message(Event.RPC_REQUEST, fields, {}, {Attribute.ACCOUNT: opener}, addresses=["::1"]))
    number = backend.held.pop().pipe
    backend.on_answer(Answer(Status.QUESTION, number, json.dumps([[LOGON, "{}"]]).encode()))
    assert asked == ([] if level is None else ["::1"]), "the client's address comes from the engine"
    if level is None:
        assert [message.fields["flags"] for message in later] == [RpcStatus.BROKEN_PIPE]
        return
    ((found,),) = (decode_found(backend.sent[-1].payload).values(),)
    assert found == Admitted(account, "00" * 16, level, ())
    assert host._levels[level] == 1
    host.forget(1)
    assert host._levels == [0, 0, 0]


# ---------------------------------------------------------------------------------------------------- whatever comes


PARTS = st.one_of(
    st.binary(max_size=80),
    st.builds(bind, st.binary(max_size=60), st.sampled_from((SPNEGO, NTLMSSP)), st.integers(0, 7)),
    st.builds(bind, st.just(NEGOTIATE.getData()), st.just(NTLMSSP), st.integers(2, 6)),
    st.builds(auth3, st.binary(max_size=200)),
    st.builds(with_token, st.just(request()), st.binary(max_size=40)),
    st.builds(request, st.binary(max_size=40)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=6))
def test_any_bytes_are_answered_or_refused(parts: list[bytes]) -> None:
    association = Association()
    with contextlib.suppress(PipeBroken):
        for part in parts:
            association.write(part)
    assert association.pipe.questions == ()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_any_change_of_a_log_on(position: int, data: bytes) -> None:
    association = Association()

    def change(message: bytes) -> bytes:
        at = 16 + position % max(1, len(message) - 16)
        return (message[:at] + data + message[at + len(data) :])[: len(message)]

    with contextlib.suppress(rpcrt.DCERPCException, PipeBroken, AssertionError):
        dce = client(association, rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY, change=of_type(Ptype.AUTH3, change))
        srvs.hNetrShareEnum(dce, 1)
    assert association.caller.account == "bob"
