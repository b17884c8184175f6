# SPDX-License-Identifier: GPL-2.0-or-later
"""srvsvc's sessions, tree connects and files: listed and closed for administrators, through impacket's codecs and the
daemon's answers to what the process of the RPC services asks."""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from impacket.dcerpc.v5 import rpcrt, srvs, wkst
from impacket.dcerpc.v5.dtypes import NULL
from mountd_doubles import FakeServer, LocalServices
from rpc_doubles import administrators_client

from ksmbd import limits
from ksmbd.ipc.activity import FileRow, SessionRow, TreeRow
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus
from mountd.activity import Activity
from mountd.administration import Administration
from mountd.loop import Loop
from mountd.questions import Questions
from mountd.rpc import srvsvc, wkssvc
from mountd.rpc.frames import Answer, Status
from mountd.rpc.host import PipeHost
from mountd.rpc.names import ACT, ACT_MAX, ROWS, Found, Names, Outcome, Question, Rows, decode_found, encode_found
from mountd.rpc.rows import FileInfo, file_number
from mountd.rpc.service import Interface

SHARES = "[docs]\npath = /srv/docs\n[root]\npath = /\n[IPC$]\nadmin users = ann\n"
SESSION = SessionRow(
    id="0x00000005", account="bob", domain="", guest=False, address="192.0.2.9", dialect="3.1.1", cipher="",
    encrypted=False, signing="", signing_required=False, channels=[], tree_connects=2, opens=3, connected=1000.0,
    idle=7.5, client_guid="", worker=1,
)  # fmt: skip
STRANGER = replace(SESSION, id="0x00000006", account="", guest=True, address="2001:db8::1", opens=0)
TREE = TreeRow(
    id="0x1", session="0x00000005", account="bob", address="192.0.2.9", share="docs", read_only=False, admin=False,
    guest=False, encrypted=False, opens=2, connected=1000.0, worker=1,
)  # fmt: skip
TREES = (TREE, replace(TREE, id="0x2", share="IPC$"), replace(TREE, session="0x00000006", account="", address="::1"))
FILE = FileRow(
    id="0x1016b09701c0005", session="0x00000005", account="bob", address="192.0.2.9", share="docs", path="a/b.txt",
    stream="", kind="file", access="0x0012019f", share_mode="RWD", oplock="none", lease="", lease_key="",
    breaking=False, durable="", delete_pending=False, locks=2, worker=1,
)  # fmt: skip
FILES = (
    FILE,
    replace(FILE, id="0x2016b09701c0006", account="ann", path="", kind="directory", access="0x00000006"),
    replace(FILE, id="0x2016b09701c0007", share="root", path="x", stream="s", access="0x00100081"),
    replace(FILE, id="0x2016b09701c0008", share="IPC$", path="srvsvc", kind="pipe"),
)


class Workers:
    """Two workers; what is asked is answered by the first with these rows, or with what it has closed."""

    def __init__(self) -> None:
        self.workers = 2
        self.rows: dict[str, tuple[Any, ...]] = {
            "sessions": (SESSION, STRANGER), "tree_connects": TREES, "files": FILES,
        }  # fmt: skip
        self.closed: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {"sessions": 1}
        self.answered: Callable[[int, Message], None] = lambda slot, message: None

    def reply(self, slot: int, message: Message) -> None:
        question = json.loads(message.texts[Attribute.BODY])
        if question["ask"] == "list":
            for kind in question["kinds"] if slot == 1 else ():
                rows = [asdict(row) for row in reversed(self.rows[kind])]
                self._part(slot, message.handle, {kind: rows})
        elif slot == 1:
            self.closed.append(question["target"])
            self._part(slot, message.handle, self.counts)
        end = {Attribute.HANDLE: message.handle, Attribute.SIZE: 0}
        self.answered(slot, Message(Event.ANSWER, numbers=end))

    def _part(self, slot: int, handle: int, part: object) -> None:
        texts = {Attribute.BODY: json.dumps(part)}
        self.answered(slot, Message(Event.ANSWER, numbers={Attribute.HANDLE: handle}, texts=texts))


class Site(FakeServer):
    """The daemon, with two workers."""

    def __init__(self) -> None:
        super().__init__(SHARES)
        self.workers = Workers()
        self.loop = Loop()
        questions = Questions(self.loop, self.workers)
        self.workers.answered = questions.answered
        self.administration = Administration(Activity(questions))

    def client(self, account: str, interface: Interface = srvsvc.INTERFACE, restricted: bool = False) -> Any:
        syntax = srvs.MSRPC_UUID_SRVS if interface is srvsvc.INTERFACE else wkst.MSRPC_UUID_WKST
        return administrators_client(self, self.administration, interface, syntax, account, restricted)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("level", [0, 1, 2, 10, 502])
def test_sessions(site: Site, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1060.0)
    answer = srvs.hNetrSessionEnum(site.client("ann"), NULL, NULL, level)
    rows = answer["InfoStruct"]["SessionInfo"][f"Level{level}"]["Buffer"]
    assert [row[f"sesi{level}_cname"] for row in rows] == ["192.0.2.9\0", "2001:db8::1\0"]
    if level:
        assert [row[f"sesi{level}_username"] for row in rows] == ["bob\0", "\0"]
        assert [(row[f"sesi{level}_time"], row[f"sesi{level}_idle_time"]) for row in rows] == [(60, 7), (60, 7)]
    if level in (1, 2, 502):
        assert [row[f"sesi{level}_user_flags"] for row in rows] == [0, 1]
        assert [row[f"sesi{level}_num_opens"] for row in rows] == [3, 0]


@pytest.mark.parametrize(("client", "user", "count"), [
    ("\\\\192.0.2.9\0", NULL, 1), (NULL, "BOB\0", 1), ("\\\\192.0.2.1\0", NULL, 0), ("\\\\2001:DB8::1\0", NULL, 1),
    ("\\\\2001:db8::1\0", "bob\0", 0), ("\0", "\0", 2),
])  # fmt: skip
def test_sessions_of_a_client_and_a_user(site: Site, client: Any, user: Any, count: int) -> None:
    assert srvs.hNetrSessionEnum(site.client("root"), client, user, 10)["TotalEntries"] == count


def test_tree_connects(site: Site) -> None:
    dce = site.client("ann")
    for qualifier, names in (
        ("DOCS\0", ["docs\0", "docs\0"]), ("\\\\192.0.2.9\0", ["docs\0", "IPC$\0"]), ("other\0", []),
    ):  # fmt: skip
        rows = srvs.hNetrConnectionEnum(dce, qualifier, 1)["InfoStruct"]["ConnectInfo"]["Level1"]["Buffer"]
        assert [row["coni1_netname"] for row in rows or ()] == names
    rows = srvs.hNetrConnectionEnum(dce, "docs\0", 0)["InfoStruct"]["ConnectInfo"]["Level0"]["Buffer"]
    assert len({row["coni0_id"] for row in rows}) == 2, "tree connects of two sessions have one TreeId"


def test_files(site: Site) -> None:
    dce = site.client("ann")
    rows = srvs.hNetrFileEnum(dce, NULL, NULL, 3)["InfoStruct"]["FileInfo"]["Level3"]["Buffer"]
    assert [row["fi3_path_name"] for row in rows] == [
        "C:\\srv\\docs\\a\\b.txt\0", "C:\\srv\\docs\0", "C:\\x:s\0", "\\PIPE\\srvsvc\0",
    ]  # fmt: skip
    assert [row["fi3_permissions"] for row in rows] == [3, 6, 1, 3]
    assert rows[0]["fi3_num_locks"] == 2
    assert rows[0]["fi3_username"] == "bob\0"
    two = srvs.hNetrFileEnum(dce, NULL, NULL, 2)["InfoStruct"]["FileInfo"]["Level2"]["Buffer"]
    assert [row["fi2_id"] for row in two] == [row["fi3_id"] for row in rows]
    one = srvs.hNetrFileGetInfo(dce, rows[0]["fi3_id"], 3)["InfoStruct"]["FileInfo3"]
    assert one["fi3_path_name"] == "C:\\srv\\docs\\a\\b.txt\0"


@pytest.mark.parametrize(("base", "user", "count"), [
    ("c:\\SRV\\docs\\a\0", NULL, 1), (NULL, "ANN\0", 1), (NULL, "\\\\192.0.2.9\0", 4), ("C:\\other\0", NULL, 0),
])  # fmt: skip
def test_files_of_a_path_and_a_user(site: Site, base: Any, user: Any, count: int) -> None:
    assert srvs.hNetrFileEnum(site.client("ann"), base, user, 3)["TotalEntries"] == count


def test_files_in_pages(site: Site) -> None:
    site.workers.rows["files"] = tuple(replace(FILE, id=f"{number:#x}") for number in range(1, 2001))
    dce, resume, found = site.client("ann"), 0, []
    while True:
        request = srvs.NetrFileEnum()
        request["ServerName"] = request["BasePath"] = request["UserName"] = NULL
        request["InfoStruct"]["Level"] = 3
        request["InfoStruct"]["FileInfo"]["tag"] = 3
        request["InfoStruct"]["FileInfo"]["Level3"]["Buffer"] = NULL
        request["PreferedMaximumLength"], request["ResumeHandle"] = 4000, resume
        answer = dce.request(request, checkError=False)
        found += [row["fi3_id"] for row in answer["InfoStruct"]["FileInfo"]["Level3"]["Buffer"]]
        if answer["ErrorCode"] == 0:
            break
        assert answer["ErrorCode"] == 234
        resume = answer["ResumeHandle"]
    assert found == list(range(1, 2001))


def test_no_more_rows_than_the_limit(site: Site) -> None:
    most = limits.RPC_ROWS.value
    site.workers.rows["files"] = (FILE,) * (most + 5)
    found: list[Found] = []
    site.administration.answer(Question(ROWS, "files"), "ann", found.append)
    assert isinstance(found[0], Rows)
    assert len(found[0].rows) == most


@pytest.mark.parametrize("identifier", ["0x1016b09aa5b0011", "0xffffffff", "0xffffffffffffffff", "0x1"])
def test_the_number_of_a_file_is_a_signed_one(identifier: str) -> None:
    assert 0 <= file_number(identifier) < 1 << 31


def test_a_file_is_closed(site: Site) -> None:
    dce = site.client("ann")
    site.workers.counts = {"files": 1}
    srvs.hNetrFileClose(dce, file_number(FILE.id))
    assert [target["file"] for target in site.workers.closed] == [FILE.id]


@pytest.mark.parametrize("number", [1, file_number("0x700000007")])
def test_a_file_that_is_not_open_or_not_the_only_one_is_not_closed(site: Site, number: int) -> None:
    site.workers.rows["files"] = (replace(FILE, id="0x700000007"), replace(FILE, id="0x800000008"))
    with pytest.raises(srvs.DCERPCSessionError) as caught:
        srvs.hNetrFileClose(site.client("ann"), number)
    assert caught.value.get_error_code() == 2314
    assert site.workers.closed == []


@pytest.mark.parametrize(("client", "user", "address", "account"), [
    ("\\\\192.0.2.9\0", NULL, "192.0.2.9", ""), (NULL, "Bob\0", "", "Bob"), ("\\\\::1\0", "bob\0", "::1", "bob"),
])  # fmt: skip
def test_sessions_are_closed(site: Site, client: Any, user: Any, address: str, account: str) -> None:
    srvs.hNetrSessionDel(site.client("ann"), client, user)
    (target,) = site.workers.closed
    assert (target["address"], target["account"]) == (address, account)
    assert not any(target[name] for name in ("session", "file", "share", "path"))


@pytest.mark.parametrize(("client", "counts", "error"), [("\\\\192.0.2.9\0", {}, 2312), (NULL, {"sessions": 1}, 87)])
def test_sessions_that_are_none(site: Site, client: Any, counts: dict[str, int], error: int) -> None:
    site.workers.counts = counts
    with pytest.raises(srvs.DCERPCSessionError) as caught:
        srvs.hNetrSessionDel(site.client("ann"), client, NULL)
    assert caught.value.get_error_code() == error


ATTEMPTS: tuple[Callable[[Any], object], ...] = (
    lambda dce: srvs.hNetrSessionEnum(dce, NULL, NULL, 10),
    lambda dce: srvs.hNetrSessionDel(dce, "\\\\192.0.2.9\0", NULL),
    lambda dce: srvs.hNetrFileEnum(dce, NULL, NULL, 3),
    lambda dce: srvs.hNetrFileGetInfo(dce, file_number(FILE.id), 3),
    lambda dce: srvs.hNetrFileClose(dce, file_number(FILE.id)),
    lambda dce: srvs.hNetrConnectionEnum(dce, "docs\0", 1),
)


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize(("account", "restricted"), [("bob", False), ("ann", True), ("", True)])
def test_administrators_alone(site: Site, account: str, restricted: bool, attempt: Callable[[Any], object]) -> None:
    with pytest.raises(rpcrt.DCERPCException) as caught:
        attempt(site.client(account, restricted=restricted))
    assert caught.value.get_error_code() == 5
    assert site.workers.closed == []


@pytest.mark.parametrize(("attempt", "error"), [
    (lambda dce: srvs.hNetrFileGetInfo(dce, 1, 3), 2314),
    (lambda dce: srvs.hNetrFileGetInfo(dce, 1, 4), 124),
])  # fmt: skip
def test_refusals(site: Site, attempt: Callable[[Any], object], error: int) -> None:
    with pytest.raises(rpcrt.DCERPCException) as caught:
        attempt(site.client("ann"))
    assert caught.value.get_error_code() == error


def test_who_is_logged_on(site: Site) -> None:
    dce = site.client("ann", wkssvc.INTERFACE)
    rows = wkst.hNetrWkstaUserEnum(dce, 1)["UserInfo"]["WkstaUserInfo"]["Level1"]["Buffer"]
    assert [row["wkui1_username"] for row in rows] == ["bob\0"]


def test_without_an_engine_there_is_nothing(site: Site) -> None:
    site.workers.workers = 0
    dce = site.client("ann")
    assert srvs.hNetrFileEnum(dce, NULL, NULL, 3)["TotalEntries"] == 0
    with pytest.raises(srvs.DCERPCSessionError) as caught:
        srvs.hNetrSessionDel(dce, "\\\\192.0.2.9\0", NULL)
    assert caught.value.get_error_code() == 31


@pytest.mark.parametrize("value", [
    "", "[]", "{}", '{"do":"shell"}', '{"do":"close file"}', '{"do":"close file","number":"1"}',
    '{"do":"close sessions","address":1,"account":""}', '{"do":"close sessions","address":"","account":""}',
])  # fmt: skip
def test_an_act_that_is_none(site: Site, value: str) -> None:
    with pytest.raises(ValueError):
        site.administration.answer(Question(ACT, value), "ann", lambda found: None)
    assert site.workers.closed == []


def test_an_act_that_is_too_long_is_not_asked() -> None:
    assert Names().act({"do": "x" * ACT_MAX}) is None


def test_answers_pass_the_stream() -> None:
    found: dict[Question, Found] = {
        Question(ROWS, "files"): Rows((FileInfo("0x1", "bob", "", "docs", "a", "", "file", "0x1", 0),)),
        Question(ACT, "{}"): Outcome(5), Question(ROWS, "sessions"): None,
    }  # fmt: skip
    assert decode_found(encode_found(found)) == found


@pytest.mark.parametrize(("account", "asked"), [("ann", True), ("bob", False), ("", False)])
def test_the_daemon_answers_pipes_of_administrators_alone(site: Site, account: str, asked: bool) -> None:
    backend = LocalServices()
    backend.held = []
    host = PipeHost(site, backend)
    host.administrator = site.administration
    later: list[Message] = []
    host.reply = lambda slot, message: later.append(message)
    for flags in (RpcFlag.OPEN, RpcFlag.IOCTL):
        fields = {"handle": 1, "flags": int(flags | RpcFlag.SRVSVC), "payload": b"", "payload_sz": 0}
        host.handle(1, Message(Event.RPC_REQUEST, fields, {}, {Attribute.ACCOUNT: account}))
    number = backend.held.pop().pipe
    act = '{"do":"close sessions","address":"192.0.2.9","account":""}'
    backend.on_answer(Answer(Status.QUESTION, number, json.dumps([[ACT, act]]).encode()))
    assert bool(site.workers.closed) == asked
    broken = [message for message in later if message.fields["flags"] == RpcStatus.BROKEN_PIPE]
    assert bool(broken) == (not asked)
