# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for the RPC services: questions of an untrusted process are checked, looked up in threads, and answered."""
from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mountd_doubles import FakeServer, LocalServices
from rpc_doubles import ACCOUNTS, call, look

from ksmbd import limits
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus
from mountd.loop import Loop
from mountd.rpc import pdu
from mountd.rpc.frames import Answer, Kind, Request, Status
from mountd.rpc.host import PipeHost
from mountd.rpc.lsarpc import INTERFACE
from mountd.rpc.names import ACCOUNTS as ALL
from mountd.rpc.names import (
    GID,
    MEMBER,
    UID,
    USER,
    Found,
    Question,
    UnixAccount,
    UnixGroup,
    decode_found,
    decode_questions,
    encode_found,
    encode_questions,
)
from mountd.unixnames import Answers, DirectNames, Then, UnixNames, answers, find

LSARPC = RpcFlag.LSARPC
BIND = pdu.encode(
    pdu.Ptype.BIND, pdu.WHOLE, 1,
    (4280).to_bytes(2, "little") * 2 + bytes(4) + b"\1\0\0\0" + b"\0\0\1\0" + INTERFACE.syntax.encode()
    + pdu.NDR32.encode(),
)  # fmt: skip


QUESTIONS = st.lists(st.builds(Question, st.just(USER), st.text(max_size=200)), min_size=1, max_size=50)


@given(QUESTIONS, st.integers(2, 5000))
def test_questions_pass_the_stream(questions: list[Question], size: int) -> None:
    encoded = encode_questions(questions, size)
    decoded = decode_questions(encoded)
    assert decoded == questions[: len(decoded)]
    assert len(encoded) <= size or len(decoded) == 1


@pytest.mark.parametrize("data", [
    b"", b"{}", b"[]", b"[1]", b'[["user"]]', b'[["user", 1]]', b'[["shell", "x"]]', b'[["uid", "-1"]]',
    b'[["uid", "x"]]', b'[["gid", "4294967296"]]', b'[["member", "x"]]',
    b'[["user", "' + b"x" * 257 + b'"]]', b"\xff", b"[" * 5000,
    b"[" + b'["user", "x"],' * 1000 + b'["user", "x"]]',
])  # fmt: skip
def test_what_is_no_question(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_questions(data)


def test_answers_pass_the_stream() -> None:
    found = answers([Question(USER, "ann"), Question(GID, "2000"), Question(UID, "7"), Question(ALL)], ACCOUNTS, look)
    assert decode_found(encode_found(found)) == found
    assert found[Question(USER, "ann")] == UnixAccount("ann", 1001, 1001, "Ann Ämter", "/home/ann")
    assert found[Question(GID, "2000")] == UnixGroup("staff", 2000)
    assert found[Question(UID, "7")] is None
    assert [user.name for user in found[Question(ALL)] or ()] == ["ann", "bob"]  # type: ignore[union-attr]


def test_one_account_costs_few_look_ups() -> None:
    """However many accounts there are."""
    asked: list[Question] = []

    def noted(question: Question) -> Found:
        asked.append(question)
        return look(question)

    many = [f"user{number}" for number in range(1000)]
    found = answers([Question(MEMBER, "1001")], [*many, "Ann"], noted)
    assert found == {Question(MEMBER, "1001"): UnixAccount("ann", 1001, 1001, "Ann Ämter", "/home/ann")}
    assert asked == [Question(UID, "1001"), Question(USER, "Ann"), Question(USER, "ann")]
    assert decode_found(encode_found(found)) == found
    assert answers([Question(MEMBER, "1003"), Question(MEMBER, "7")], ACCOUNTS, look) == {
        Question(MEMBER, "1003"): None, Question(MEMBER, "7"): None,
    }  # fmt: skip


def test_a_uid_of_two_names() -> None:
    two = {"one": UnixAccount("one", 5, 5), "other": UnixAccount("other", 5, 5)}

    def twice(question: Question) -> Found:
        return two["one"] if question.kind == UID else two.get(question.value)

    assert answers([Question(MEMBER, "5")], ["other"], twice) == {Question(MEMBER, "5"): two["other"]}


def test_the_system_s_databases() -> None:
    root = find(Question(USER, "root"))
    assert isinstance(root, UnixAccount)
    assert root.uid == 0
    assert find(Question(UID, "0")) == root
    for kind in ("user", "group"):
        assert find(Question(kind, "no such\0name")) is None


class Slow:
    """A resolver that is answered by the test."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[Question], Then]] = []
        self.room = True

    def resolve(self, questions: Sequence[Question], accounts: Sequence[str], then: Then) -> bool:
        if self.room:
            self.waiting.append((questions, then))
        return self.room

    def answer(self) -> None:
        questions, then = self.waiting.pop()
        then(answers(questions, ACCOUNTS, look))


class Site(FakeServer):
    """A host of pipes over services in this process."""

    def __init__(self) -> None:
        super().__init__("[docs]\npath = /srv\n", ACCOUNTS, (11, 22, 33))
        self.backend = LocalServices()
        self.names = Slow()
        self.host = PipeHost(self, self.backend, names=self.names)
        self.later: list[Message] = []
        self.host.reply = lambda slot, message: self.later.append(message)

    def ask(self, flags: RpcFlag, payload: bytes = b"", account: str = "ann") -> Message | None:
        fields = {"handle": 1, "flags": int(flags | LSARPC), "payload": payload, "payload_sz": len(payload)}
        message = Message(Event.RPC_REQUEST, fields, {Attribute.SIZE: 32768}, {Attribute.ACCOUNT: account})
        return self.host.handle(1, message)

    def begin(self, account: str = "ann") -> None:
        """Bind, open the policy, and ask for the name of a SID."""
        assert self.ask(RpcFlag.OPEN, account=account) is not None
        self.ask(RpcFlag.IOCTL, BIND)
        self.ask(RpcFlag.IOCTL, call(6, bytes(4) + (24).to_bytes(4, "little") + bytes(24)))
        handle = self.later[-1].fields["payload"][24:44]
        self.later.clear()
        sid = (5).to_bytes(4, "little") + bytes.fromhex("0105000000000005") + b"".join(
            value.to_bytes(4, "little") for value in (21, 11, 22, 33, 3002)
        )
        stub = handle + b"\1\0\0\0" + b"\1\0\0\0" + b"\1\0\0\0" + b"\1\0\0\0" + sid + bytes(8) + b"\1\0\0\0" + bytes(4)
        self.ask(RpcFlag.IOCTL, call(15, stub))


def test_a_call_waits_for_its_names_and_then_goes_on() -> None:
    site = Site()
    site.begin()
    assert not site.later
    (questions, _), = site.names.waiting
    assert questions == [Question(UID, "1001")]
    site.names.answer()
    (answer,) = site.later
    assert answer.fields["flags"] == RpcStatus.OK
    assert "ann".encode("utf-16-le") in answer.fields["payload"]


def test_a_pipe_that_is_closed_meanwhile_gets_nothing() -> None:
    site = Site()
    site.begin()
    site.ask(RpcFlag.CLOSE)
    site.names.answer()
    assert not site.later
    assert len(site.host) == 0


def test_where_too_many_wait_the_pipe_breaks() -> None:
    site = Site()
    site.names.room = False
    site.begin()
    assert [message.fields["flags"] for message in site.later] == [RpcStatus.BROKEN_PIPE]


@pytest.mark.parametrize(
    "account, payload", [("", b'[["user", "ann"]]'), ("ann", b'[["shell", "ann"]]'), ("ann", b"[")]
)
def test_a_process_that_asks_what_it_may_not(account: str, payload: bytes) -> None:
    site = Site()
    site.backend.held = []
    site.ask(RpcFlag.OPEN, account=account)
    site.ask(RpcFlag.IOCTL, BIND)
    number = site.backend.held.pop().pipe
    site.backend.on_answer(Answer(Status.QUESTION, number, payload))
    assert not site.names.waiting
    assert [message.fields["flags"] for message in site.later] == [RpcStatus.BROKEN_PIPE]
    assert site.backend.sent[-1] == Request(Kind.CLOSE, 0, number, b"")


def run(loop: Loop, names: UnixNames) -> list[Answers]:
    found: list[Answers] = []

    def take(result: Answers) -> None:
        found.append(result)
        loop.stop()

    assert names.resolve([Question(USER, "ann")], ACCOUNTS, take)
    loop.run()
    names.close(5.0)
    loop.close()
    return found


def test_threads_look_names_up() -> None:
    loop = Loop()
    seen: set[int] = set()

    def noted(question: Question) -> UnixAccount | None:
        seen.add(threading.get_ident())
        found = look(question)
        assert found is None or isinstance(found, UnixAccount)
        return found

    names = UnixNames(loop, noted)
    (found,) = run(loop, names)
    assert found == {Question(USER, "ann"): UnixAccount("ann", 1001, 1001, "Ann Ämter", "/home/ann")}
    assert threading.get_ident() not in seen


def test_a_directory_that_fails_or_hangs_knows_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(question: Question) -> None:
        raise OSError(5, "the directory is away")

    loop = Loop()
    assert run(loop, UnixNames(loop, broken)) == [{Question(USER, "ann"): None}]
    ended = threading.Event()
    loop = Loop()
    monkeypatch.setattr(limits, "LOOKUP_SECONDS", replace(limits.LOOKUP_SECONDS, value=0))

    def hanging(question: Question) -> None:
        ended.wait(5.0)

    names = UnixNames(loop, hanging)
    found: list[Answers] = []

    def take(result: Answers) -> None:
        found.append(result)
        loop.stop()

    names.resolve([Question(USER, "ann")], ACCOUNTS, take)
    loop.run()
    ended.set()
    assert found == [{Question(USER, "ann"): None}]
    names.close(5.0)
    loop.close()


def test_direct_names() -> None:
    found: list[Answers] = []
    assert DirectNames(look).resolve([Question(USER, "BOB")], ACCOUNTS, found.append)
    assert found == [{Question(USER, "BOB"): UnixAccount("bob", 1002, 1002)}]
