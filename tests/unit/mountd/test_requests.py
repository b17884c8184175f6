# SPDX-License-Identifier: GPL-2.0-or-later
"""mountd's answers to whole messages, through the codec both ways."""
from __future__ import annotations

from typing import Any

import pytest
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd import log, refusals
from ksmbd.ipc.answers import groups, login_response, pipe_data
from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus, TreeRequestFlag, TreeStatus, UserFlag
from ksmbd.log_record import Record
from mountd import failedlogons
from mountd.accounts import nt_hash
from mountd.failedlogons import FAILURES_MAX
from mountd.requests import Requests
from mountd.unixusers import UnixUser

TEXT = "[global]\nmax active sessions = 2\n[s]\npath = /s\nread only = no\nmax connections = 3\n"


class Office:
    """The requests' handler, and what it advises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str = TEXT) -> None:
        self.advice: list[str] = []
        self.addresses: list[str] = []
        monkeypatch.setattr(log, "warning", self.advice.append)
        known = accounts("ann", "bob", "smbonly")
        self.services = LocalServices()
        self.later: list[Message] = []
        self.requests = Requests(
            configuration(text), known, self.services, FakeUsers(), on_listening=self.addresses.extend
        )
        self.requests.reply = lambda slot, message: self.later.append(message)

    def ask(self, event: Event, slot: int = 1, extra: dict[str, Any] | None = None, **fields: Any) -> Message:
        reply = self.requests.answer(slot, decode(encode(Message(event, fields=fields, **(extra or {})))))
        if reply is None:
            (reply,) = self.later
            self.later.clear()
        got = decode(encode(reply))
        assert got.handle == fields.get("handle", 0)
        return got

    def tell(self, event: Event, slot: int = 1, **fields: Any) -> None:
        assert self.requests.answer(slot, decode(encode(Message(event, fields=fields)))) is None

    def connect(self, session: int, tree: int, share: str = "s", account: str = "ann", slot: int = 1) -> int:
        reply = self.ask(
            Event.TREE_CONNECT_REQUEST, slot, handle=3, session_id=session, connect_id=tree, account=account,
            account_flags=1, share=share, peer_addr="192.0.2.1",
        )  # fmt: skip
        return int(reply.fields["status"])


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Office:
    return Office(monkeypatch)


def test_login(office: Office) -> None:
    got = login_response(office.ask(Event.LOGIN_REQUEST, handle=9, account="ANN"))
    assert (got.account, got.uid, got.gid, got.nt_hash) == ("ann", 1001, 1001, nt_hash("ann"))
    assert groups(office.ask(Event.LOGIN_REQUEST_EXT, handle=10, account="ANN")) == (1001, 2000)


@pytest.mark.parametrize("account", ["ann", "stranger"])
def test_failures_are_counted_until_a_log_off(office: Office, account: str) -> None:
    def delayed() -> bool:
        return login_response(office.ask(Event.LOGIN_REQUEST, handle=9, account=account.upper())).throttled

    for _ in range(FAILURES_MAX):
        assert not delayed()
        office.tell(Event.LOGOUT_REQUEST, account=account, account_flags=int(UserFlag.BAD_PASSWORD))
    assert delayed()
    office.tell(Event.LOGOUT_REQUEST, account="bob", account_flags=0)
    assert delayed()
    office.tell(Event.LOGOUT_REQUEST, account=account, account_flags=0)
    assert not delayed()


def test_the_latest_names_that_fail_are_remembered(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failedlogons, "NAMES_MAX", 3)
    monkeypatch.setattr(failedlogons, "FAILURES_MAX", 1)
    for account in ("a", "b", "c", "a", "d"):
        office.tell(Event.LOGOUT_REQUEST, account=account, account_flags=int(UserFlag.BAD_PASSWORD))
    status = {
        account: login_response(office.ask(Event.LOGIN_REQUEST, handle=9, account=account))
        for account in ("a", "b", "c", "d")
    }
    delayed = [account for account, each in status.items() if each.throttled]
    assert delayed == ["a", "c", "d"]


def test_thousands_of_groups(office: Office) -> None:
    office.requests.users.users["ann"] = UnixUser("ann", 1, 1, tuple(range(20000)))  # type: ignore[attr-defined]
    assert groups(office.ask(Event.LOGIN_REQUEST_EXT, account="ann")) == tuple(range(16000))
    assert len(office.advice) == 1


def test_advice_is_given_once_until_a_reload(office: Office) -> None:
    for _ in range(3):
        office.ask(Event.LOGIN_REQUEST, account="smbonly")
    assert len(office.advice) == 1 and "smbonly" in office.advice[0]
    office.requests.reload(office.requests.configuration, office.requests.accounts)
    office.ask(Event.LOGIN_REQUEST, account="smbonly")
    assert len(office.advice) == 2


def test_trees_are_counted(office: Office) -> None:
    assert office.connect(1, 1) == TreeStatus.OK
    assert office.connect(1, 1) == TreeStatus.CONN_EXIST
    assert office.connect(1, 2) == TreeStatus.OK
    assert office.connect(2, 1) == TreeStatus.OK
    assert office.connect(2, 2) == TreeStatus.OK
    assert office.connect(3, 1, "ipc$") == TreeStatus.TOO_MANY_SESSIONS
    office.tell(Event.TREE_DISCONNECT_REQUEST, session_id=1, connect_id=1)
    assert office.requests.sessions.connections("s") == 2
    for session, tree in ((1, 2), (2, 1), (2, 2)):
        office.tell(Event.TREE_DISCONNECT_REQUEST, session_id=session, connect_id=tree)
    assert len(office.requests.sessions) == 0
    assert office.requests.sessions.connections("s") == 0


def test_a_session_is_one_user_of_a_share_however_often_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(monkeypatch, "[s]\npath = /s\nmax connections = 2\n")
    assert [office.connect(1, tree) for tree in range(1, 6)] == [TreeStatus.OK] * 5
    assert office.connect(2, 1) == TreeStatus.OK
    assert office.connect(3, 1) == TreeStatus.TOO_MANY_CONNS
    assert office.connect(1, 6) == TreeStatus.OK  # it is one of the two
    for tree in range(1, 6):
        office.tell(Event.TREE_DISCONNECT_REQUEST, session_id=1, connect_id=tree)
    assert office.connect(3, 1) == TreeStatus.TOO_MANY_CONNS
    office.tell(Event.TREE_DISCONNECT_REQUEST, session_id=1, connect_id=6)
    assert office.connect(3, 1) == TreeStatus.OK
    office.requests.sessions.forget(1)
    assert office.requests.sessions.connections("s") == 0


def test_refused_tree_is_not_counted(office: Office) -> None:
    assert office.connect(1, 1, "nowhere") == TreeStatus.NO_SHARE
    assert office.connect(1, 1, account="smbonly") == TreeStatus.INVALID_USER
    assert len(office.requests.sessions) == 0


def test_hello_voids_what_the_predecessor_left(office: Office) -> None:
    office.connect(1, 1)
    office.connect(1, 1, slot=2)
    rpc(office, 77, RpcFlag.OPEN | RpcFlag.SRVSVC)
    assert office.requests.answer(1, decode(encode(Message(Event.HELLO, numbers={Attribute.PID: 4242})))) is None
    assert office.requests.pids == {1: 4242}
    assert office.requests.sessions.connections("s") == 1
    assert rpc(office, 77, RpcFlag.READ | RpcFlag.SRVSVC) == RpcStatus.BROKEN_PIPE


def test_heartbeat_and_listening(office: Office) -> None:
    assert office.ask(Event.HEARTBEAT_REQUEST, handle=5).event is Event.HEARTBEAT_REQUEST
    office.requests.answer(0, decode(encode(Message(Event.LISTENING, addresses=["a:1", "[::]:1"]))))
    assert office.addresses == ["a:1", "[::]:1"]


def test_message_for_somebody_else_is_one_line(office: Office) -> None:
    office.tell(Event.LOGIN_RESPONSE)
    assert len(office.advice) == 1


def test_unknown_share(office: Office) -> None:
    assert office.ask(Event.SHARE_CONFIG_REQUEST, handle=4, share_name="nowhere").fields["flags"] == 0


# ------------------------------------------------------------------------------------------------------------- pipes


def rpc(
    office: Office, handle: int, flags: RpcFlag, payload: bytes = b"", slot: int = 1, size: int | None = None
) -> int:
    extra = {"texts": {Attribute.ACCOUNT: "ann"}, "numbers": {} if size is None else {Attribute.SIZE: size}}
    reply = office.ask(
        Event.RPC_REQUEST, slot, extra, handle=handle, flags=int(flags), payload=payload, payload_sz=len(payload)
    )
    office.last = reply  # type: ignore[attr-defined]
    return int(reply.fields["flags"])


def test_pipe_life(office: Office) -> None:
    service = RpcFlag.WKSSVC
    assert rpc(office, 7, RpcFlag.OPEN | service) == RpcStatus.OK
    assert rpc(office, 7, RpcFlag.OPEN | service) == RpcStatus.BAD_FID
    assert rpc(office, 7, RpcFlag.READ | service, slot=2) == RpcStatus.BROKEN_PIPE, "handles are of one socket"
    assert rpc(office, 7, RpcFlag.READ | service) == RpcStatus.OK
    assert pipe_data(office.last) == (b"", False)  # type: ignore[attr-defined]
    garbage = b"\4" * 16
    assert rpc(office, 7, RpcFlag.WRITE | service, garbage * 2000) == RpcStatus.OK
    assert rpc(office, 7, RpcFlag.READ | service) == RpcStatus.BROKEN_PIPE
    assert rpc(office, 7, RpcFlag.RAP | service) == RpcStatus.BAD_FUNC
    assert rpc(office, 7, RpcFlag.CLOSE | service) == RpcStatus.OK
    assert rpc(office, 7, RpcFlag.CLOSE | service) == RpcStatus.OK, "a pipe that broke is closed too"


def test_service_that_is_not_there(office: Office) -> None:
    assert rpc(office, 7, RpcFlag.OPEN) == RpcStatus.NOT_IMPLEMENTED
    assert rpc(office, 7, RpcFlag.READ) == RpcStatus.BROKEN_PIPE


def test_payload_of_another_length_than_said(office: Office) -> None:
    rpc(office, 7, RpcFlag.OPEN | RpcFlag.SRVSVC)
    reply = office.ask(
        Event.RPC_REQUEST, handle=7, flags=int(RpcFlag.WRITE | RpcFlag.SRVSVC), payload=b"abc", payload_sz=9
    )
    assert reply.fields["flags"] == RpcStatus.BAD_DATA


@pytest.mark.parametrize("size, parts", [(10, 8), (1000, 1)])
def test_long_answer_is_read_in_parts(office: Office, size: int, parts: int) -> None:
    from mountd.rpc import pdu
    from mountd.rpc.srvsvc import INTERFACE

    rpc(office, 7, RpcFlag.OPEN | RpcFlag.SRVSVC)
    body = (4280).to_bytes(2, "little") * 2 + bytes(4) + b"\1\0\0\0" + b"\0\0\1\0" + INTERFACE.syntax.encode()
    bind = pdu.encode(pdu.Ptype.BIND, pdu.WHOLE, 1, body + pdu.NDR32.encode())
    state = rpc(office, 7, RpcFlag.IOCTL | RpcFlag.SRVSVC, bind, size=size)
    whole, count = pipe_data(office.last)[0], 1  # type: ignore[attr-defined]
    while state == RpcStatus.MORE_DATA:
        state = rpc(office, 7, RpcFlag.READ | RpcFlag.SRVSVC, size=size)
        whole += pipe_data(office.last)[0]  # type: ignore[attr-defined]
        count += 1
    assert whole[2] == pdu.Ptype.BIND_ACK
    assert len(whole) == int.from_bytes(whole[8:10], "little")
    assert count == -(-len(whole) // size) and (count > 1) == (parts > 1)


def test_who_is_connected_is_checked_again_and_counted_once(office: Office) -> None:
    def check(account: str = "ann", share: str = "s") -> int:
        reply = office.ask(
            Event.TREE_CONNECT_REQUEST, handle=3, session_id=0, connect_id=0, account=account, account_flags=1,
            share=share, peer_addr="192.0.2.1", flags=int(TreeRequestFlag.SMB2 | TreeRequestFlag.CHECK),
        )  # fmt: skip
        return int(reply.fields["status"])

    assert office.connect(1, 1) == TreeStatus.OK
    assert check() == TreeStatus.OK
    assert (len(office.requests.sessions), office.requests.sessions.connections("s")) == (1, 1)
    office.requests.reload(configuration("[s]\npath = /srv\nmax connections = 1\n"), office.requests.accounts)
    assert check() == TreeStatus.OK, "the limit of the share is for those who come"
    office.requests.reload(configuration("[s]\npath = /srv\ninvalid users = ann\n"), office.requests.accounts)
    assert check() == TreeStatus.INVALID_USER
    office.requests.reload(configuration("[t]\npath = /srv\n"), accounts("bob"))
    assert check() == TreeStatus.NO_SHARE
    assert check(share="t") == TreeStatus.NO_USER
    assert office.requests.sessions.connections("s") == 1, "the engine tells when it ends"


@pytest.mark.parametrize(
    ("share", "status", "rule"),
    [("none", "STATUS_BAD_NETWORK_NAME", None), ("few", "STATUS_ACCESS_DENIED", "valid users")],
)
def test_a_refusal_is_told_with_its_status_and_rule(
    share: str, status: str, rule: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Record] = []
    monkeypatch.setattr(log, "write", told.append)
    refusals._limited.forget()
    office = Office(monkeypatch, "[few]\npath = /srv\nvalid users = other\nforce user = root\n")
    office.connect(1, 1, share)
    refusals._limited.forget()
    assert told[0].event == "tree-connect-refused" and told[0].fields["status"] == status
    assert told[0].fields.get("rule") == rule
