# SPDX-License-Identifier: GPL-2.0-or-later
"""A reload and those who are connected: shares that are gone or read-only now, users who may no longer connect."""
from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "smb"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import create_messages as m
from activity_bench import Answer, Bench
from script import Client

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import GuestIds, LoginResponse, ShareConfig, TreeConnectResult
from ksmbd.smb.waiting import Future


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    session = made.server.sessions[made.client.session_id]
    assert session.identity is not None
    made.daemon.accounts[session.identity.account] = LoginResponse("a", bytes(16), 0, 0, admitted=True)
    made.daemon.calls.clear()
    return made


def reload(bench: Bench) -> dict[str, int]:
    """A reload, applied to the end; how many of each were closed."""
    bench.questions.reloaded()
    bench.turns()
    answer = Answer()
    bench.questions.answer(json.dumps({"ask": "reloaded"}), answer)
    assert answer.over()
    counts: dict[str, Any] = {}
    for part in answer.parts:
        counts.update(part)
    return counts


def write(client: Client, file: bytes) -> int:
    return client.ask(c.WRITE, pack("<HHIQ16sIIHHI", 49, 112, 1, 0, file, 0, 0, 0, 0, 0) + b"x").status


def read(client: Client, file: bytes) -> int:
    return client.ask(c.READ, pack("<HBBIQ16sIIIHH", 49, 0, 0, 4, 0, file, 0, 0, 0, 0, 0) + b"\0").status


def flush(client: Client, file: bytes) -> int:
    return client.ask(c.FLUSH, pack("<HHI16s", 24, 0, 0, file)).status


def rename(client: Client, file: bytes) -> int:
    name = "other".encode("utf-16-le")
    data = pack("<B7xQI", 0, 0, len(name)) + name
    return client.ask(c.SET_INFO, pack("<HBBIHHI16s", 33, 1, 10, len(data), 96, 0, 0, file) + data).status


def test_what_did_not_change_goes_on(bench: Bench) -> None:
    file = bench.create("a")
    tree = bench.server.sessions[bench.client.session_id].tree_connects[bench.client.tree_id]
    volume = tree.volume
    assert reload(bench) == {}
    assert tree.volume is volume
    assert write(bench.client, file) == 0


def test_a_share_that_is_gone(bench: Bench) -> None:
    file = bench.create("a")
    other = bench.another()
    bench.create("b", other)
    del bench.daemon.shares["SHARE"]
    assert reload(bench) == {"tree_connects": 2, "files": 2}
    assert read(bench.client, file) == s.STATUS_NETWORK_NAME_DELETED
    assert bench.client.ask(c.CREATE, m.create("a")).status == s.STATUS_NETWORK_NAME_DELETED
    assert bench.client.tree().status == s.STATUS_BAD_NETWORK_NAME
    assert len(bench.server.sessions) == 2, "the sessions stay"


def test_durable_opens_of_a_share_that_is_gone(bench: Bench) -> None:
    other = bench.another()
    contexts = m.chain((b"DHnQ", bytes(16)))
    bench.create("d", oplock=c.OPLOCK_LEVEL_BATCH, contexts=contexts)
    bench.client.connection.disconnected("gone")
    bench.turns()
    assert len(bench.server.opens) == 1
    assert other.session_id in bench.server.sessions
    del bench.daemon.shares["SHARE"]
    assert reload(bench) == {"tree_connects": 1, "files": 1}
    assert not bench.server.opens and bench.store.empty


def test_a_share_with_another_folder_is_another_share(bench: Bench) -> None:
    file = bench.create("a")
    bench.daemon.shares["SHARE"] = ShareConfig("share", "/elsewhere")
    assert reload(bench) == {"tree_connects": 1, "files": 1}
    assert read(bench.client, file) == s.STATUS_NETWORK_NAME_DELETED
    assert bench.client.tree().status == 0


def test_read_only_counts_for_opens_that_exist(bench: Bench) -> None:
    file = bench.create("a", access=0x12019F | c.DELETE)
    assert write(bench.client, file) == 0
    bench.daemon.tree_result = TreeConnectResult(writable=False)
    assert reload(bench) == {}
    assert write(bench.client, file) == s.STATUS_MEDIA_WRITE_PROTECTED
    assert rename(bench.client, file) == s.STATUS_ACCESS_DENIED
    assert (read(bench.client, file), flush(bench.client, file)) == (0, 0)
    tree = bench.server.sessions[bench.client.session_id].tree_connects[bench.client.tree_id]
    assert tree.read_only and not tree.maximal_access & c.FILE_WRITE_DATA
    assert [row["read_only"] for row in bench.rows("tree_connects")] == [True]
    assert bench.client.ask(c.CREATE, m.create("new", disposition=c.FILE_CREATE)).status in (
        s.STATUS_ACCESS_DENIED, s.STATUS_MEDIA_WRITE_PROTECTED,
    )  # fmt: skip
    bench.daemon.tree_result = TreeConnectResult(writable=True)
    assert reload(bench) == {}
    assert (write(bench.client, file), tree.read_only) == (0, False)


def test_an_open_that_could_not_write_is_not_given_that(bench: Bench) -> None:
    file = bench.create("a", access=0x120089)
    for writable in (False, True):
        bench.daemon.tree_result = TreeConnectResult(writable=writable)
        reload(bench)
        assert write(bench.client, file) == s.STATUS_ACCESS_DENIED


def test_a_create_that_waited_while_the_share_became_read_only(bench: Bench) -> None:
    bench.table.on_break = lambda notice: True
    other = bench.another()
    bench.create("a", other, oplock=c.OPLOCK_LEVEL_BATCH)
    interim = bench.client.ask(c.CREATE, m.create("a", access=0x12019F))
    assert interim.status == s.STATUS_PENDING
    bench.daemon.tree_result = TreeConnectResult(writable=False)
    reload(bench)
    held = next(iter(bench.server.opens.values()))
    other.ask(c.CLOSE, m.close(held.persistent_id, held.volatile_id))
    bench.turns()
    (open_,) = bench.server.opens.values()
    assert open_.session is bench.server.sessions[bench.client.session_id]
    assert not open_.granted_access & c.FILE_WRITE_DATA


def test_a_user_who_may_no_longer_connect_to_the_share(bench: Bench) -> None:
    file = bench.create("a")
    bench.daemon.tree_result = TreeConnectResult(s.STATUS_ACCESS_DENIED)
    assert reload(bench) == {"tree_connects": 1, "files": 1}
    assert read(bench.client, file) == s.STATUS_NETWORK_NAME_DELETED
    assert bench.client.tree().status == s.STATUS_ACCESS_DENIED


def test_a_user_who_may_no_longer_log_on(bench: Bench) -> None:
    bench.create("a")
    bench.daemon.accounts.clear()
    assert reload(bench) == {"sessions": 1, "tree_connects": 1, "files": 1}
    assert bench.client.ask(c.CREATE, m.create("a")).status == s.STATUS_USER_SESSION_DELETED


@pytest.mark.parametrize(
    "changes",
    [{"force_uid": 7}, {"force_gid": 7}, {"guest": GuestIds(7, 7)}],
    ids=lambda changes: ",".join(changes),
)
def test_who_would_work_as_another_user_connects_again(bench: Bench, changes: dict[str, Any]) -> None:
    bench.create("a")
    bench.daemon.shares["SHARE"] = replace(bench.daemon.shares["SHARE"], **changes)
    assert reload(bench) == {"tree_connects": 1, "files": 1}


def test_who_is_no_administrator_any_longer_connects_again(bench: Bench) -> None:
    bench.daemon.tree_result = TreeConnectResult(writable=True, is_admin=True)
    bench.client.tree()
    bench.daemon.tree_result = TreeConnectResult(writable=True)
    assert reload(bench) == {"tree_connects": 1}


def test_who_must_encrypt_from_now_on_connects_again(bench: Bench) -> None:
    bench.create("a")
    bench.daemon.shares["SHARE"] = replace(bench.daemon.shares["SHARE"], encrypt=True)
    assert reload(bench) == {"tree_connects": 1, "files": 1}


def test_other_parameters_count_for_the_next_open(bench: Bench) -> None:
    file = bench.create("a")
    tree = bench.server.sessions[bench.client.session_id].tree_connects[bench.client.tree_id]
    bench.daemon.shares["SHARE"] = replace(bench.daemon.shares["SHARE"], veto_files=("x",), oplocks=False)
    assert reload(bench) == {}
    assert tree.share.veto_files == ("x",)
    assert (read(bench.client, file), write(bench.client, file)) == (0, 0)


def test_each_user_is_asked_about_once(bench: Bench) -> None:
    for _ in range(3):
        bench.another("192.0.2.7")
    bench.daemon.calls.clear()
    reload(bench)
    asked = [call[0] for call in bench.daemon.calls]
    assert asked.count("check_tree_connect") == 1
    assert asked.count("login") == 1


def test_what_mountd_does_not_answer_stays(bench: Bench) -> None:
    file = bench.create("a")
    bench.daemon.fail = {"login": s.STATUS_IO_TIMEOUT}
    assert reload(bench) == {}
    bench.daemon.fail = {"check_tree_connect": s.STATUS_IO_TIMEOUT}
    assert reload(bench) == {}
    bench.daemon.fail = {"share_config": s.STATUS_IO_TIMEOUT}
    assert reload(bench) == {}
    assert read(bench.client, file) == 0


def test_a_second_reload_waits_for_the_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Future[LoginResponse]] = []

    def login(account: str, mapped: bool = False) -> Future[LoginResponse]:
        held.append(Future())
        return held[-1]

    monkeypatch.setattr(bench.daemon, "login", login)
    bench.questions.reloaded()
    bench.questions.reloaded()
    answer = Answer()
    bench.questions.answer(json.dumps({"ask": "reloaded"}), answer)
    assert (len(held), answer.over()) == (1, False)
    held[0].set_result(LoginResponse("a", bytes(16), 0, 0, admitted=True))
    assert (len(held), answer.over()) == (2, False)
    held[1].set_result(LoginResponse("a", bytes(16), 0, 0, admitted=True))
    assert answer.over()


def test_the_list_of_pipes_has_no_files_to_write(bench: Bench) -> None:
    assert bench.client.tree("IPC$").status == 0
    assert reload(bench) == {}


def test_a_durable_open_that_slept_while_the_share_was_read_only(bench: Bench) -> None:
    file = bench.create("d", access=0x12019F, oplock=c.OPLOCK_LEVEL_BATCH, contexts=m.chain((b"DHnQ", bytes(16))))
    bench.daemon.tree_result = TreeConnectResult(writable=False)
    reload(bench)
    bench.client.connection.disconnected("gone")
    bench.turns()
    reconnect = m.create("d", access=0x12019F, oplock=c.OPLOCK_LEVEL_BATCH, contexts=m.chain((b"DHnC", file)))
    back = bench.another()
    back.guid = bench.client.guid
    assert back.ask(c.CREATE, reconnect).status != 0, "not while the share is read-only"
    bench.daemon.tree_result = TreeConnectResult(writable=True)
    reload(bench)
    reply = back.ask(c.CREATE, reconnect)
    assert reply.status == 0
    assert write(back, reply.body[64:80]) == 0
