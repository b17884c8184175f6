# SPDX-License-Identifier: GPL-2.0-or-later
"""Kerberos in mountd without a KDC: scripted mechanisms and processes, replays, principals and users, krb5.conf."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kerberos_doubles import OID, Rules, Scripted, element, token
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd import limits
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, TreeStatus, UserFlag
from ksmbd.ipc.options import MAPPED
from ksmbd.smb.status import (
    STATUS_ACCOUNT_DISABLED,
    STATUS_INSUFF_SERVER_RESOURCES,
    STATUS_LOGON_FAILURE,
    STATUS_TIME_DIFFERENCE_AT_DC,
    WireError,
)
from mountd.accounts import DISABLED, Account, Accounts
from mountd.kerberos import krb5conf, replay
from mountd.kerberos.admission import decide_principal
from mountd.kerberos.answers import Accepted, BadPayload, Begun, Messages, Ready, Refused, Status
from mountd.kerberos.aprequest import authenticator, unframed, usual
from mountd.kerberos.mechanism import Acceptor, Context, GssMechanism, HalfOpen, NoMechanism, load
from mountd.kerberos.process import wanted
from mountd.requests import Requests
from mountd.rpc.frames import Answer, Request
from mountd.sharing import TreeRequest, decide_tree_connect
from mountd.unixusers import UnixUser
from mountd.usernamemap import parse

# -------------------------------------------------------------------------------------------------- the token itself


def test_the_authenticator_is_found_whatever_stands_beside_it() -> None:
    assert authenticator(token(b"c" * 300)) == authenticator(token(b"c" * 300, 7)) == b"c" * 300


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 300), st.binary(max_size=8))
def test_any_bytes_have_an_authenticator_or_are_refused(data: bytes, position: int, more: bytes) -> None:
    good = token(b"c" * 40)
    changed, longer = good[:position] + data + good[position + len(data) :], good[:position] + more + good[position:]
    for tried in (data, changed, longer):
        try:
            assert len(authenticator(tried)) < len(tried)
        except WireError:
            pass
        assert len(usual(tried)) == len(tried)


def test_the_mistaken_identifier_is_taken_for_the_right_one() -> None:
    right, mistaken = token(b"c" * 300), token(b"c" * 300).replace(OID, bytes.fromhex("06092a864882f712010202"), 1)
    assert usual(mistaken) == usual(right) == right and authenticator(mistaken) == b"c" * 300
    hidden = token(bytes.fromhex("06092a864882f712010202"))
    assert usual(hidden) == hidden, "elsewhere it is what it is"


@pytest.mark.parametrize("data", [
    b"", b"\x60", token(b"c")[:-1], token(b"c") + b"\0", element(0x60, OID, b"\2\0", b"x"), element(0x60, OID),
    b"\x60\x80" + token(b"c")[3:] + b"\0\0",
    b"\x60\x83\0" + token(b"c" * 300)[2:4] + token(b"c" * 300)[4:],
    token(b"c").replace(element(0xA2, element(4, b"c")), element(0xA2, element(0x24, b"c"))),
    token(b"c").replace(element(0xA4, b"")[:1], b"\xa5", 1),
])  # fmt: skip
def test_what_is_no_strict_der_has_no_authenticator(data: bytes) -> None:
    """One log-on has one form: it cannot be repeated in another one."""
    with pytest.raises(WireError):
        authenticator(data)


# -------------------------------------------------------------------------------------------------------- the replays


def test_a_token_is_taken_once() -> None:
    table = replay.open_table("")
    assert table.refuses(b"a", "alice", 1000) == ""
    assert "replay" in table.refuses(b"a", "alice", 1000 + replay.SECONDS)
    assert table.refuses(b"b", "alice", 1001) == ""
    assert table.refuses(b"a", "alice", 1001 + replay.SECONDS) == "", "no ticket is as old as that"
    assert len(table) == 2


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "replays")
    assert replay.open_table(path).refuses(b"a", "alice", 1000) == ""
    assert "replay" in replay.open_table(path).refuses(b"a", "alice", 1001)
    assert replay.open_table(path).refuses(b"a", "alice", 3000) == ""
    Path(path).write_bytes(b"short")
    assert replay.open_table(path).refuses(b"a", "alice", 3001) == "", "another size: it is begun anew"


def test_the_file_is_the_servers_alone(tmp_path: Path) -> None:
    replay.open_table(str(tmp_path / "replays"))
    assert (tmp_path / "replays").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        replay.open_table(str(tmp_path / "link"))


def test_one_user_cannot_fill_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    most = limits.KERBEROS_REPLAYS_PER_USER.value
    table = replay.open_table("")
    for number in range(most):
        assert table.refuses(b"%d" % number, "mallory", 1000) == ""
    assert "too many" in table.refuses(b"more", "mallory", 1000)
    assert table.refuses(b"more", "alice", 1000) == ""
    assert table.refuses(b"again", "mallory", 1001 + replay.SECONDS) == "" and len(table) == 1


def test_a_full_table_refuses_rather_than_forgets() -> None:
    table = replay.open_table("")
    for number in range(limits.KERBEROS_REPLAYS.value):
        assert table.refuses(b"%d" % number, str(number), 1000) == ""
    assert "too many" in table.refuses(b"more", "alice", 1000)
    assert "replay" in table.refuses(b"0", "alice", 1000)


def test_a_clock_that_was_turned_back_does_not_hold_slots_for_years() -> None:
    table = replay.open_table("")
    assert table.refuses(b"a", "alice", 10_000_000) == ""
    assert table.refuses(b"b", "alice", 1000) == "" and len(table) == 1


# ----------------------------------------------------------------------------------------------------- the acceptor


CONTEXT = Context("alice@KSMBD.TEST", b"k" * 32, b"AP-REP", 5000.5, b"context")


def acceptor(mechanism: Scripted, now: float = 1000) -> Acceptor:
    return Acceptor(mechanism, replay.open_table(""), Rules(), lambda: now)


def test_a_ticket_makes_a_session_until_it_ends() -> None:
    accepted = acceptor(Scripted(CONTEXT)).accept(token(b"c"))
    assert accepted == Accepted("alice@KSMBD.TEST", "alice", b"k" * 32, b"AP-REP", 4000)


def test_the_mechanism_sees_no_token_that_is_none() -> None:
    mechanism = Scripted(CONTEXT)
    assert isinstance(acceptor(mechanism).accept(b"rubbish"), Refused) and mechanism.asked == []


def test_refusals_pass_with_their_reason() -> None:
    refused = Refused("Clock skew too great", skew=True)
    assert acceptor(Scripted(refused)).accept(token(b"c")) == refused
    late = acceptor(Scripted(CONTEXT), now=5000.5).accept(token(b"c"))
    assert isinstance(late, Refused) and "expired" in late.why and late.principal == "alice@KSMBD.TEST"


def test_the_same_token_again_is_a_replay() -> None:
    both = acceptor(Scripted(CONTEXT))
    assert isinstance(both.accept(token(b"c")), Accepted)
    again = both.accept(token(b"c", 7))
    assert isinstance(again, Refused) and "replay" in again.why
    assert isinstance(both.accept(token(b"d")), Accepted)


def test_the_list_of_mechanisms_is_signed_and_verified_once() -> None:
    both = acceptor(Scripted(CONTEXT))
    accepted = both.accept(token(b"c"), b"list", 5)
    assert isinstance(accepted, Accepted) and accepted.mic == b"server:contextlist"
    assert both.verify(5, b"client:contextlist") is None
    again = both.verify(5, b"client:contextlist")
    assert again is not None and "no log-on" in again.why
    both.accept(token(b"d"), b"list", 6)
    wrong = both.verify(6, b"client:contextother")
    assert wrong is not None and "bad signature" in wrong.why and both.verify(6, b"client:contextlist") is not None


def test_contexts_that_wait_are_bounded() -> None:
    both = acceptor(Scripted(CONTEXT))
    for number in range(limits.LOGONS_IN_PROGRESS.value + 1):
        both.accept(token(b"%d" % number), b"list", number)
    assert both.verify(0, b"client:contextlist") is not None and both.verify(1, b"client:contextlist") is None


def test_a_log_on_of_dce_rpc_has_two_tokens_and_messages() -> None:
    made = replace(CONTEXT, messages=Messages(18, b"K" * 32, True, 5, 6))
    mechanism = Scripted(made, HalfOpen("half", b"AP-REP"))
    both = acceptor(mechanism)
    bare = unframed(token(b"c"))
    assert both.begin(bare, 5) == Begun(b"AP-REP")
    accepted = both.go_on(b"client's", 5)
    assert isinstance(accepted, Accepted)
    assert (accepted.messages, accepted.principal) == (made.messages, "alice@KSMBD.TEST")
    assert mechanism.asked == [bare, b"client's"]
    assert both.go_on(b"client's", 5) == Refused("a token of no log-on")
    both.begin(token(b"c"), 6)
    again = both.go_on(b"client's", 6)
    assert isinstance(again, Refused) and "replay" in again.why, "with framing or without it is the same"


def test_a_log_on_of_dce_rpc_that_ends_with_its_first_token() -> None:
    assert isinstance(acceptor(Scripted(CONTEXT)).begin(token(b"c"), 1), Accepted)
    assert isinstance(acceptor(Scripted(Refused("why"))).begin(token(b"c"), 1), Refused)
    mechanism = Scripted(CONTEXT)
    assert isinstance(acceptor(mechanism).begin(b"rubbish", 1), Refused) and mechanism.asked == []


def test_over_smb_a_token_has_its_framing() -> None:
    assert isinstance(acceptor(Scripted(CONTEXT)).accept(unframed(token(b"c"))), Refused)
    assert unframed(b"") == unframed(b"x") == unframed(unframed(token(b"c"))) == b""


def test_log_ons_of_dce_rpc_that_wait_are_bounded() -> None:
    both = acceptor(Scripted(CONTEXT, HalfOpen("half", b"")))
    for number in range(1, limits.LOGONS_IN_PROGRESS.value + 2):
        both.begin(token(b"%d" % number), number)
    assert isinstance(both.go_on(b"x", 1), Refused) and isinstance(both.go_on(b"x", 2), Accepted)


# ------------------------------------------------------------------------------------------------ answers on their way


@pytest.mark.parametrize("record", [
    Ready("", ["a user of its own"], "FILE:/k", ["cifs/x@Y"]), Refused("why", "alice@X", True),
    Accepted("alice@X", "alice", b"k" * 16, b"", 0, "alice", ["S-1-5-21-1-2-3-500"], b"mic"),
    Accepted("alice@X", "alice", b"k" * 16, b"", 0, messages=Messages(18, b"k" * 32, True, 1 << 63, 7)), Begun(b"rep"),
])  # fmt: skip
def test_answers_arrive_as_they_were(record: Ready | Refused | Begun | Accepted) -> None:
    assert type(record).decode(record.encode()) == record


@pytest.mark.parametrize("changes", [
    {"lifetime": -1}, {"lifetime": "1"}, {"lifetime": 1 << 40}, {"key": ""}, {"key": "00" * 65}, {"key": "xx"},
    {"token": 7}, {"principal": None}, {"principal": "x" * 1025}, {"sids": "S-1"}, {"sids": [1]},
    {"sids": ["S"] * 1027}, {"messages": None}, {"messages": {}},
    {"messages": {"enctype": 18, "key": "00" * 65, "sent": 0, "received": 0}},
    {"messages": {"enctype": 18, "key": "00", "sent": 1 << 64, "received": 0}},
    {"messages": {"enctype": "18", "key": "00", "sent": 0, "received": 0}},
])  # fmt: skip
def test_what_a_process_gone_wrong_says_is_not_believed(changes: dict[str, object]) -> None:
    good = json.loads(Accepted("alice@X", "alice", b"k" * 16, b"", 0).encode())
    with pytest.raises(BadPayload):
        Accepted.decode(json.dumps({**good, **changes}).encode())
    for data in (b"", b"[]", b"\xff", b"[" * 30000):
        with pytest.raises(BadPayload):
            Refused.decode(data)


# ----------------------------------------------------------------------------------------------- whose keys, which user


@pytest.mark.parametrize(("principal", "service", "expected"), [
    ("cifs/fs.x@X", "", True), ("host/fs.x@X", "", True), ("FS$@X", "", True), ("HTTP/fs.x@X", "", False),
    ("nfs/fs.x@X", "", False), ("alice@X", "", False), ("cifs/fs.x@X", "cifs/fs.x", True),
    ("cifs/fs.x@X", "CIFS/fs.x@X", True), ("cifs/fs.x@X", "cifs/other.x", False), ("cifs/fs.x@X", "cifs/fs.x@Y", False),
    ("smb/fs.x@X", "smb/fs.x", True),
])  # fmt: skip
def test_whose_keys_are_used(principal: str, service: str, expected: bool) -> None:
    assert wanted(principal, service) is expected


ON = "[global]\nkerberos support = yes\n[share]\npath = /\n"


def local(name: str) -> Accepted:
    return Accepted("somebody@KSMBD.TEST", name, b"k" * 16, b"", 600)


def test_users_are_those_of_the_database_and_unix_accounts_from_min_domain_uid_on() -> None:
    given, known, users = configuration(ON), accounts("ann", "root"), FakeUsers()
    for name, status in (("ann", UserFlag.OK), ("bob", UserFlag.OK), ("root", UserFlag.OK)):
        login = decide_principal(local(name), known, given, users)
        assert login.status & status and login.unix is not None and login.unix.name == name
    for name, known_users in (("", known), ("nobody here", known), ("root", accounts("ann"))):
        login = decide_principal(local(name), known_users, given, users)
        assert login.status == UserFlag.BAD_USER and login.note


def test_a_barred_user_is_barred_with_a_ticket_as_well() -> None:
    daemon = Daemon()
    daemon.requests.accounts = Accounts([Account("ann", b"h" * 16, flags=DISABLED)])
    daemon.ask()
    daemon.answer(local("ann"))
    assert why(daemon.replies[0][1])[0] == STATUS_ACCOUNT_DISABLED


def test_username_map_counts_once_for_the_name_that_the_rules_make() -> None:
    given = replace(configuration(ON), username_map=parse("ann = bob\nbob = ann\n"))
    login = decide_principal(local("bob"), accounts("ann"), given, FakeUsers())
    assert login.account == "ann" and login.status & UserFlag.OK


def account_of(message: Message | None) -> tuple[UserFlag, int]:
    assert message is not None and "hash" not in message.fields
    return UserFlag(message.fields["status"]), message.fields.get("uid", 0)


def test_a_reload_leaves_the_session_of_a_user_of_the_realm_alone() -> None:
    """And nobody gets there without a ticket, or his groups as a guest."""
    daemon = Daemon()
    fields = {"handle": 3, "account": b"bob\0"}
    session = Message(Event.LOGIN_REQUEST, fields=fields, options={MAPPED: "yes"})
    assert account_of(daemon.requests.answer(1, session)) == (UserFlag.OK | UserFlag.EXTENSION, 1002)
    status, uid = account_of(daemon.requests.answer(1, Message(Event.LOGIN_REQUEST, fields=fields)))
    assert status & UserFlag.BAD_USER and uid == 0
    daemon.requests.configuration = configuration("[share]\npath = /\n")
    assert account_of(daemon.requests.answer(1, session))[0] & UserFlag.BAD_USER
    daemon.requests.configuration = configuration("[global]\nkerberos support = yes\nmap to guest = bad user\n")
    more = daemon.requests.answer(1, Message(Event.LOGIN_REQUEST_EXT, fields=fields))
    assert more is not None and more.fields["payload"] == (65534).to_bytes(4, "little")


def test_nobody_becomes_a_guest() -> None:
    given = configuration("[global]\nkerberos support = yes\nmap to guest = bad user\n[s]\npath = /\nguest ok = yes\n")
    assert decide_principal(local("who"), accounts("ann"), given, FakeUsers()).status == UserFlag.BAD_USER


def test_a_user_of_the_realm_alone_may_connect_only_where_there_is_kerberos() -> None:
    request = TreeRequest("bob", UserFlag(0), "share", "127.0.0.1")
    for text, status in ((ON, TreeStatus.OK), ("[share]\npath = /\n", TreeStatus.NO_USER)):
        answer = decide_tree_connect(request, configuration(text), accounts("ann"), FakeUsers(), 0)
        assert answer.status is status
    system = FakeUsers({"bob": UnixUser("bob", 999, 999, (999,))})
    assert decide_tree_connect(request, configuration(ON), accounts("ann"), system, 0).status is TreeStatus.NO_USER


# ---------------------------------------------------------------------------------------------------- the daemon's side


class Process:
    """ksmbd.kerberos, scripted."""

    on_answer: Callable[[Answer], None]
    on_end: Callable[[], None]

    def __init__(self) -> None:
        self.serving = True
        self.room = True
        self.sent: list[Request] = []
        self.refreshed = 0

    def refresh(self) -> None:
        self.refreshed += 1

    def send(self, request: Request, guest: bool) -> bool:
        if self.room:
            self.sent.append(request)
        return self.room


class Daemon:
    """Requests with that process."""

    def __init__(self) -> None:
        self.requests = Requests(configuration(ON), accounts("ann"), LocalServices(), FakeUsers())
        self.process = Process()
        self.requests.kerberos.attach(self.process)
        self.replies: list[tuple[int, Message]] = []
        self.requests.reply = lambda slot, message: self.replies.append((slot, message))

    def ask(self, handle: int = 9, data: bytes = b"AP-REQ", slot: int = 1) -> Message | None:
        fields = {"handle": handle, "blob_len": len(data), "payload": data}
        return self.requests.answer(slot, Message(Event.SPNEGO_AUTHEN_REQUEST, fields=fields))

    def answer(self, record: Accepted | Refused, which: int = -1) -> None:
        status = Status.REFUSED if isinstance(record, Refused) else Status.ACCEPTED
        self.process.on_answer(Answer(status, self.process.sent[which].pipe, record.encode()))


def why(message: Message | None) -> tuple[int, str]:
    assert message is not None and message.event is Event.SPNEGO_AUTHEN_RESPONSE
    assert message.fields["status"] == UserFlag.BAD_USER
    return message.numbers[Attribute.NT_STATUS], message.texts[Attribute.REASON]


def test_a_ticket_is_answered_with_the_user_the_key_and_the_time() -> None:
    daemon = Daemon()
    assert daemon.ask() is None and daemon.process.sent[0].payload == b"AP-REQ"
    daemon.answer(Accepted("ann@X", "ann", b"k" * 32, b"AP-REP", 600))
    ((slot, reply),) = daemon.replies
    assert (slot, reply.fields["handle"], reply.fields["uid"], reply.fields["account"]) == (1, 9, 1001, "ann")
    assert (reply.fields["session_key_len"], reply.fields["spnego_blob_len"]) == (32, 6)
    assert reply.fields["payload"] == b"k" * 32 + b"AP-REP" and reply.numbers[Attribute.LIFETIME] == 600
    assert reply.fields["status"] & UserFlag.OK and reply.texts[Attribute.ACCOUNT] == "ann@X"
    assert "hash" not in reply.fields


def test_the_proof_of_the_list_goes_the_same_way() -> None:
    daemon = Daemon()
    fields = {"handle": 9, "blob_len": 6, "payload": b"AP-REQ"}
    texts = {Attribute.BODY: b"list".hex()}
    assert daemon.requests.answer(1, Message(Event.SPNEGO_AUTHEN_REQUEST, fields=fields, texts=texts)) is None
    assert (daemon.process.sent[0].argument, daemon.process.sent[0].payload) == (4, b"listAP-REQ")
    daemon.answer(Accepted("ann@X", "ann", b"k" * 32, b"AP-REP", 600, mic=b"ours"))
    reply = daemon.replies[0][1]
    assert reply.texts[Attribute.BODY] == b"ours".hex()
    number = reply.numbers[Attribute.HANDLE]
    fields = {"handle": 10, "blob_len": 3, "payload": b"mic"}
    numbers = {Attribute.HANDLE: number}
    assert daemon.requests.answer(1, Message(Event.SPNEGO_AUTHEN_REQUEST, fields=fields, numbers=numbers)) is None
    assert (daemon.process.sent[1].pipe, daemon.process.sent[1].payload) == (number, b"mic")
    assert daemon.process.refreshed == 1, "a fresh process would not know the log-on"
    daemon.process.on_answer(Answer(Status.VERIFIED, number, b""))
    assert daemon.replies[1][1].fields == {"handle": 10, "status": UserFlag.OK}


def test_refusals_tell_the_principal_and_the_reason() -> None:
    daemon = Daemon()
    for record, status in (
        (Refused("Clock skew too great", skew=True), STATUS_TIME_DIFFERENCE_AT_DC),
        (Refused("bad"), STATUS_LOGON_FAILURE),
        (Accepted("who@X", "", b"k" * 16, b"", 9), STATUS_LOGON_FAILURE),
    ):  # fmt: skip
        assert daemon.ask() is None
        daemon.answer(record)
        assert why(daemon.replies[-1][1])[0] == status
    assert daemon.replies[-1][1].texts[Attribute.ACCOUNT] == "who@X"


def test_without_the_process_there_is_an_answer_at_once() -> None:
    daemon = Daemon()
    daemon.process.serving = False
    assert why(daemon.ask())[0] == STATUS_INSUFF_SERVER_RESOURCES
    daemon.process.serving, daemon.process.room = True, False
    assert why(daemon.ask())[0] == STATUS_INSUFF_SERVER_RESOURCES
    assert why(Requests(configuration(ON), accounts(), LocalServices(), FakeUsers()).answer(
        1, Message(Event.SPNEGO_AUTHEN_REQUEST, fields={"handle": 1, "blob_len": 1, "payload": b"x"})
    ))[0] == STATUS_INSUFF_SERVER_RESOURCES  # fmt: skip


def test_its_end_refuses_what_waits() -> None:
    daemon = Daemon()
    daemon.ask(7)
    daemon.ask(8)
    daemon.process.on_end()
    assert [(slot, why(message)[0], message.handle) for slot, message in daemon.replies] == [
        (1, STATUS_INSUFF_SERVER_RESOURCES, 7), (1, STATUS_INSUFF_SERVER_RESOURCES, 8),
    ]  # fmt: skip
    assert len(daemon.requests.kerberos) == 0


def test_nonsense_of_the_process_ends_it_and_answers_the_client() -> None:
    daemon = Daemon()
    daemon.ask()
    with pytest.raises(ValueError):
        daemon.process.on_answer(Answer(Status.ACCEPTED, daemon.process.sent[0].pipe, b"{}"))
    assert why(daemon.replies[0][1])[0] == STATUS_INSUFF_SERVER_RESOURCES


def test_an_answer_for_a_dead_worker_is_dropped() -> None:
    daemon = Daemon()
    daemon.ask(slot=2)
    daemon.requests.forget(2)
    daemon.answer(Refused("bad"))
    assert daemon.replies == [] and len(daemon.requests.kerberos) == 0


def test_lengths_that_contradict_each_other_are_refused() -> None:
    daemon = Daemon()
    fields = {"handle": 1, "blob_len": 5, "payload": b"abc"}
    reply = daemon.requests.answer(1, Message(Event.SPNEGO_AUTHEN_REQUEST, fields=fields))
    assert why(reply)[0] == STATUS_LOGON_FAILURE


def test_the_groups_of_a_user_of_the_realm_alone_are_told() -> None:
    daemon = Daemon()
    fields = {"handle": 3, "account": b"bob\0"}
    reply = daemon.requests.answer(1, Message(Event.LOGIN_REQUEST_EXT, fields=fields, options={MAPPED: "yes"}))
    assert reply is not None and reply.fields["ngroups"] == 1


# ---------------------------------------------------------------------------------------------------------- krb5.conf


def test_krb5_conf_is_one_file_with_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "one").write_text("[realms]\n")
    (tmp_path / "d" / "two.conf").write_text("[capaths]\n")
    (tmp_path / "d" / "three.bak").write_text("[bad]\n")
    (tmp_path / "d" / ".hidden.conf").write_text("[bad]\n")
    (tmp_path / "more").write_text(f"[appdefaults]\ninclude {tmp_path}/main\n")
    (tmp_path / "main").write_text(
        f"[libdefaults]\n clockskew = 5\nincludedir {tmp_path}/d\ninclude {tmp_path}/more\ninclude {tmp_path}/none\n"
    )
    text = krb5conf.flat(f"{tmp_path}/main:{tmp_path}/missing")
    assert "[bad]" not in text and "include" not in text and len(text) < 1000
    assert text.startswith("[libdefaults]\n clockskew = 5\n[realms]\n[capaths]\n[appdefaults]\n")


# ------------------------------------------------------------------------------------------------------ python-gssapi


def test_without_python_gssapi_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.path)
    monkeypatch.setitem(sys.modules, "gssapi.raw", None)
    with pytest.raises(NoMechanism, match="python3-gssapi"):
        load()
    assert sys.path == before


class GssFailure(Exception):
    """python-gssapi's exception."""

    def __init__(self, major: int, minor: int) -> None:
        super().__init__()
        self.maj_code, self.min_code = major, minor

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        """Texts of a code."""
        return [f"{'major' if is_major else 'minor'} {code}"]


class Raw:
    """python-gssapi's module `gssapi.raw`, as far as it is used, with one outcome for all tokens."""

    GSSError = GssFailure

    def __init__(self, failure: GssFailure | None = None, **result: object) -> None:
        self.failure, self.result = failure, SimpleNamespace(
            **{"more_steps": False, "initiator_name": "n", "context": "c", "token": b"AP-REP", **result}
        )  # fmt: skip
        self.OID = SimpleNamespace(from_int_seq=lambda text: text)
        self.attribute: object = GssFailure(1, 2)
        self.store: object = None

    def acquire_cred_from(self, store: object, mechs: object, usage: str) -> SimpleNamespace:
        self.store = store
        return SimpleNamespace(creds="credentials")

    def accept_sec_context(self, data: bytes, acceptor_creds: str) -> SimpleNamespace:
        assert acceptor_creds == "credentials"
        if self.failure is not None:
            raise self.failure
        return self.result

    def display_name(self, name: str, name_type: bool) -> SimpleNamespace:
        return SimpleNamespace(name=b"alice@KSMBD.TEST")

    def inquire_sec_context_by_oid(self, context: str, oid: str) -> list[bytes]:
        assert oid == "1.2.840.113554.1.2.2.5.5"
        return [b"k" * 32, b"type"]

    def export_sec_context(self, context: str) -> bytes:
        return b"exported"

    def import_sec_context(self, exported: bytes) -> str:
        return "copy"

    def krb5_export_lucid_sec_context(self, context: str, version: int) -> SimpleNamespace:
        assert (context, version) == ("copy", 1), "the context itself is still needed"
        return SimpleNamespace(endtime=5000, cfx_kd=None)

    def get_name_attribute(self, name: str, attribute: bytes) -> object:
        assert attribute == b"urn:mspac:logon-info"
        if isinstance(self.attribute, Exception):
            raise self.attribute
        return self.attribute


def mechanism(raw: Raw) -> GssMechanism:
    return GssMechanism(cast(ModuleType, raw), "MEMORY:x")


def test_what_python_gssapi_says_of_a_good_token() -> None:
    raw = Raw()
    assert mechanism(raw).accept(b"t") == Context("alice@KSMBD.TEST", b"k" * 32, b"AP-REP", 5000, b"exported")
    assert raw.store == {b"keytab": b"MEMORY:x"}


@pytest.mark.parametrize(("signed", "values", "expected"), [
    (True, [b"info"], b"info"), (False, [b"info"], b""), (True, [], b""), (True, [b"a", b"b"], b""),
])  # fmt: skip
def test_only_a_verified_pac_counts(signed: bool, values: list[bytes], expected: bytes) -> None:
    raw = Raw()
    raw.attribute = SimpleNamespace(authenticated=signed, complete=True, values=values)
    found = mechanism(raw).accept(b"t")
    assert isinstance(found, Context) and found.logon_info == expected


def test_a_name_that_the_client_chose_forges_no_line_of_the_log() -> None:
    """A ticket's service may have any name, and libkrb5 tells it."""
    failure = GssFailure(1, 5)
    name = 'x") from 192.0.2.1: wrong password (account="ann'
    raw = Raw(failure)
    failure.get_all_statuses = lambda code, is_major: [f"server {name} not found"]  # type: ignore[method-assign]
    refused = mechanism(raw).accept(b"t")
    assert isinstance(refused, Refused) and not set('"()') & set(refused.why)
    daemon = Daemon()
    daemon.ask()
    daemon.answer(Refused("a\nb\x1b[1m" + "x" * 999, "c\0d"))
    assert why(daemon.replies[0][1])[1].startswith("a?b?[1mxx") and len(why(daemon.replies[0][1])[1]) == 256
    assert daemon.replies[0][1].texts[Attribute.ACCOUNT] == "c?d"


def test_what_python_gssapi_says_of_bad_tokens() -> None:
    skew = (-1765328347) & 0xFFFFFFFF
    assert mechanism(Raw(GssFailure(1, skew))).accept(b"t") == Refused(f"minor {skew}", skew=True)
    assert mechanism(Raw(GssFailure(7, 0))).accept(b"t") == Refused("major 7")
    third = mechanism(Raw(more_steps=True)).accept(b"t")
    assert isinstance(third, Refused) and "third token" in third.why
