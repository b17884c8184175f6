# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator closes: sessions, tree connects and opens, also those of clients that are disconnected."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from struct import pack

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "smb"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import create_messages as m
from activity_bench import Answer, Bench
from script import ECHO_BODY, Client, split

from ksmbd.process.closing import same_address
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import ShareConfig
from ksmbd.smb.scheduler import SLICE_SECONDS


@pytest.fixture
def bench() -> Bench:
    return Bench()


def read_status(client: Client, file: bytes) -> int:
    return client.ask(c.READ, pack("<HBBIQ16sIIIHH", 49, 0, 0, 4, 0, file, 0, 0, 0, 0, 0) + b"\0").status


def session_of(client: Client) -> str:
    return f"{client.session_id:#010x}"


def durable(bench: Bench, name: str, client: Client | None = None) -> bytes:
    contexts = m.chain((b"DHnQ", bytes(16)))
    return bench.create(name, client, oplock=c.OPLOCK_LEVEL_BATCH, contexts=contexts)


def test_a_session_with_all_that_it_has(bench: Bench) -> None:
    bench.create("a")
    durable(bench, "d")
    other = bench.another()
    kept = bench.create("b", other)
    assert bench.close(session=session_of(bench.client)) == {"sessions": 1, "tree_connects": 1, "files": 2}
    assert bench.client.ask(c.CREATE, m.create("a")).status == s.STATUS_USER_SESSION_DELETED
    assert bench.client.ask(c.ECHO, ECHO_BODY, session_id=0).status == 0, "the connection stays"
    assert read_status(other, kept) == 0
    assert [row["path"] for row in bench.rows("files")] == ["b"]


def test_nothing_that_is_named_is_nothing_closed(bench: Bench) -> None:
    bench.create("a")
    for target in (
        {"session": "0x00000001"}, {"file": "0x1"}, {"share": "none"}, {"address": "192.0.2.99"}, {"account": "none"},
        {"share": "share", "path": "b"}, {"share": "none", "path": "a"},
    ):  # fmt: skip
        assert bench.close(**target) == {}
    assert len(bench.rows("files")) == 1


def test_a_file_by_its_id(bench: Bench) -> None:
    first, second = bench.create("a"), bench.create("b")
    row = next(row for row in bench.rows("files") if row["path"] == "a")
    assert bench.close(file=row["id"]) == {"files": 1}
    assert read_status(bench.client, first) == s.STATUS_FILE_CLOSED
    assert read_status(bench.client, second) == 0


def test_all_opens_of_a_path_without_regard_to_case(bench: Bench) -> None:
    other = bench.another()
    bench.create("a.txt")
    bench.create("a.txt", other)
    bench.create("b.txt")
    assert bench.close(share="SHARE", path="A.TXT") == {"files": 2}
    assert [row["path"] for row in bench.rows("files")] == ["b.txt"]


def test_a_share_with_its_tree_connects(bench: Bench) -> None:
    bench.daemon.shares["OTHER"] = ShareConfig("other", "/srv")
    file = bench.create("a")
    share_tree = bench.client.tree_id
    assert bench.client.tree("other").status == 0
    bench.create("b")
    assert bench.close(share="Share") == {"tree_connects": 1, "files": 1}
    bench.client.tree_id, other_tree = share_tree, bench.client.tree_id
    assert read_status(bench.client, file) == s.STATUS_NETWORK_NAME_DELETED
    bench.client.tree_id = other_tree
    assert bench.client.ask(c.CREATE, m.create("b")).status == 0
    assert ("tree_disconnect", bench.client.session_id, share_tree) in bench.daemon.calls
    assert bench.client.tree("share").status == 0, "the client may connect again"


def test_the_sessions_of_an_address(bench: Bench) -> None:
    bench.another("192.0.2.9")
    bench.another("192.0.2.9")
    assert bench.close(address="192.0.2.9")["sessions"] == 2
    assert [row["address"] for row in bench.rows("sessions")] == ["192.0.2.7"]


def test_an_account_at_an_address(bench: Bench) -> None:
    bench.another("192.0.2.9", "ann")
    bench.another("192.0.2.9", "bob")
    bench.another("192.0.2.8", "ann")
    assert bench.close(address="192.0.2.9", account="ANN")["sessions"] == 1
    assert bench.close(account="ann")["sessions"] == 1
    assert "bob" in [row["account"] for row in bench.rows("sessions")]


@pytest.mark.parametrize("how", ["file", "share", "path", "address", "account"])
def test_a_durable_open_whose_client_is_disconnected(bench: Bench, how: str) -> None:
    durable(bench, "d.txt")
    bench.client.connection.disconnected("gone")
    bench.turns()
    (row,) = bench.rows("files")
    assert row["session"] == ""
    target = {
        "file": {"file": row["id"]}, "share": {"share": "share"}, "path": {"share": "share", "path": "d.txt"},
        "address": {"address": "192.0.2.7"}, "account": {"account": row["account"]},
    }[how]  # fmt: skip
    assert bench.close(**target) == {"files": 1}
    assert bench.rows("files") == []
    assert bench.store.empty, "nothing of it is left in the open table"
    assert bench.close(**target) == {}


def test_what_waits_on_a_session_ends(bench: Bench) -> None:
    bench.client.volume.add("folder", None)
    reply = bench.client.ask(c.CREATE, m.create("folder", options=1))
    notify = pack("<HHI16sII", 32, 0, 1000, reply.body[64:80], 0x7FF, 0)
    bench.client.feed(bench.client.element(c.CHANGE_NOTIFY, notify))
    bench.close(session=session_of(bench.client))
    assert split(bench.client.transport.frames[-1])[0].status == s.STATUS_NOTIFY_CLEANUP
    assert not bench.client.connection.pending


def test_a_session_with_many_opens_is_closed_in_slices(bench: Bench) -> None:
    for number in range(300):
        bench.create(f"file{number}")
    bench.clock.tick = SLICE_SECONDS / 20
    answer = Answer()
    target = {"session": session_of(bench.client)}
    bench.questions.answer(json.dumps({"ask": "close", "target": target}), answer)
    assert not answer.over()
    assert bench.turns() > 10
    assert answer.over() and answer.parts == [{"sessions": 1, "tree_connects": 1, "files": 300}]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:DB8:0:0::1", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("192.0.2.1", "192.0.2.10", False),
        ("", "", True),
        ("x", "y", False),
    ],
)
def test_addresses_are_compared_as_such(one: str, other: str, same: bool) -> None:
    assert same_address(one, other) is same


@pytest.mark.parametrize("how", ["file", "share", "path", "account"])
def test_a_persistent_open_of_an_earlier_server(bench: Bench, how: str) -> None:
    """The open table has it, and the worker has no Open of it."""
    durable(bench, "d.txt")
    bench.client.connection.disconnected("gone")
    bench.turns()
    (before,) = bench.rows("files")
    bench.server.opens.clear()
    (row,) = bench.rows("files")
    assert (row["id"], row["share"], row["path"], row["account"], row["access"], row["share_mode"], row["oplock"]) == (
        before["id"], "share", "d.txt", before["account"].lower(), before["access"], before["share_mode"], "batch",
    )  # fmt: skip
    assert (row["session"], row["durable"]) == ("", "durable")
    assert bench.close(share="other") == {}
    assert bench.close(account="nobody else") == {}
    target = {
        "file": {"file": row["id"]}, "share": {"share": "Share"}, "path": {"share": "share", "path": "D.TXT"},
        "account": {"account": row["account"]},
    }[how]  # fmt: skip
    assert bench.close(**target) == {"files": 1}
    assert bench.store.empty and bench.rows("files") == []
