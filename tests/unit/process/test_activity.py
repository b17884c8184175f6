# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker's answers about who is connected: rows of what there is, in slices, in parts that mountd takes."""
from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from struct import pack

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "smb"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import create_messages as m
from activity_bench import Answer, Bench
from script import Client

from ksmbd.ipc.activity import KINDS
from ksmbd.process import activity
from ksmbd.process.activity import PART, STEP
from ksmbd.smb import constants as c
from ksmbd.smb.scheduler import SLICE_SECONDS


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_kind_has_the_fields_of_its_row(bench: Bench) -> None:
    file = bench.create("a.txt", oplock=c.OPLOCK_LEVEL_BATCH)
    assert bench.client.ask(c.LOCK, pack("<HHI", 48, 1, 0) + file + pack("<QQII", 7, 3, 0x12, 0)).status == 0
    answer = bench.ask(*KINDS)
    assert answer.over()
    for kind, row in KINDS.items():
        assert [list(found) for found in answer.rows(kind)] == [list(row.__dataclass_fields__)], kind
        assert answer.rows(kind)[0]["worker"] == 3


def test_a_session(bench: Bench) -> None:
    bench.create("a.txt")
    bench.clock.advance(12)
    (row,) = bench.rows("sessions")
    session = bench.server.sessions[bench.client.session_id]
    assert session.identity is not None
    assert row["id"] == f"{session.session_id:#010x}"
    assert (row["account"], row["guest"], row["address"]) == (session.identity.account, False, "192.0.2.7")
    assert (row["dialect"], row["cipher"], row["signing"]) == ("3.1.1", "AES-128-GCM", "AES-128-CMAC")
    assert (row["channels"], row["tree_connects"], row["opens"]) == (["192.0.2.7"], 1, 1)
    assert (row["idle"], row["client_guid"]) == (12.0, (b"G" * 16).hex())
    assert 1_600_000_000 < row["connected"] < 2_000_000_000


def test_a_log_on_in_progress_is_no_session_yet(bench: Bench) -> None:
    other = Client(bench.server)
    bench.heard[other.transport] = 0.0
    other.negotiate(c.DIALECT_311)
    other.setup(b"hello")
    assert len(bench.server.sessions) + len(other.connection.sessions) >= 2
    assert len(bench.rows("sessions")) == 1


def test_a_tree_connect(bench: Bench) -> None:
    bench.create("a.txt")
    (row,) = bench.rows("tree_connects")
    assert (row["share"], row["read_only"], row["opens"], row["session"]) == (
        "share", False, 1, f"{bench.client.session_id:#010x}",
    )  # fmt: skip


def test_a_file_with_its_caching(bench: Bench) -> None:
    bench.create("a.txt", oplock=c.OPLOCK_LEVEL_BATCH, access=0x12019F, share=5)
    bench.client.volume.add("folder", None)
    assert bench.client.ask(c.CREATE, m.create("folder", access=0x120089, options=1)).status == 0
    first, second = bench.rows("files")
    assert (first["path"], first["kind"], first["access"], first["share_mode"]) == ("a.txt", "file", "0x0012019f", "RD")
    assert (first["oplock"], first["lease"], first["durable"], first["locks"]) == ("batch", "", "", 0)
    assert (second["path"], second["kind"], second["oplock"]) == ("folder", "directory", "none")


def test_a_lease_is_told_with_its_state(bench: Bench) -> None:
    contexts = m.chain((b"RqLs", b"K" * 16 + pack("<IIQ", 7, 0, 0)))
    bench.create("a.txt", oplock=c.OPLOCK_LEVEL_LEASE, contexts=contexts)
    (row,) = bench.rows("files")
    assert (row["oplock"], row["lease"], row["lease_key"], row["breaking"]) == (
        "lease", "RWH", (b"K" * 16).hex(), False,
    )  # fmt: skip


def test_a_durable_open_whose_client_is_gone(bench: Bench) -> None:
    bench.create("d.txt", oplock=c.OPLOCK_LEVEL_BATCH, contexts=m.chain((b"DHnQ", bytes(16))))
    bench.client.connection.disconnected("gone")
    bench.turns()
    (row,) = bench.rows("files")
    assert (row["session"], row["durable"], row["share"], row["path"]) == ("", "durable", "share", "d.txt")
    assert row["account"] != ""


def test_locks_are_told_with_their_open(bench: Bench) -> None:
    file = bench.create("a.txt")
    bench.create("b.txt")
    elements = pack("<QQII", 7, 3, 0x12, 0) + pack("<QQII", 100, 0, 0x11, 0)
    assert bench.client.ask(c.LOCK, pack("<HHI", 48, 2, 0) + file + elements).status == 0
    rows = bench.rows("locks")
    assert [(row["path"], row["offset"], row["length"], row["exclusive"]) for row in rows] == [
        ("a.txt", 7, 3, True), ("a.txt", 100, 0, False),
    ]  # fmt: skip
    assert rows[0]["file"] == bench.rows("files")[0]["id"]


@pytest.mark.parametrize(("tick", "step"), [(0.0, STEP), (SLICE_SECONDS / 10, 11)])
def test_a_thousand_opens_are_told_in_slices_and_parts(bench: Bench, tick: float, step: int) -> None:
    """Others are served after so many rows, and when a time slice is over."""
    for number in range(1000):
        bench.create(f"file{number}")
    bench.clock.tick = tick
    answer = bench.ask("files")
    assert not answer.over(), "the first slice does not make it all"
    assert bench.turns() >= 1000 // step
    assert answer.over()
    assert {row["path"] for row in answer.rows("files")} == {f"file{number}" for number in range(1000)}
    assert max(answer.sizes) < PART + 2000
    assert len(answer.parts) > 10


def test_nothing_is_made_while_mountd_does_not_read(bench: Bench) -> None:
    for number in range(200):
        bench.create(f"file{number}")
    answer = Answer()
    answer.congested = True
    bench.questions.answer(json.dumps({"ask": "list", "kinds": ["files"]}), answer)
    for _ in range(5):
        bench.clock.advance(1)
        bench.turns()
    assert len(answer.parts) == 1
    answer.congested = False
    bench.clock.advance(1)
    bench.turns()
    assert answer.over() and len(answer.rows("files")) == 200


def test_what_is_closed_meanwhile_is_left_out(bench: Bench) -> None:
    ids = [bench.create(f"file{number}") for number in range(50)]
    bench.clock.tick = SLICE_SECONDS / 4
    answer = bench.ask("files")
    assert not answer.over()
    for file in ids:
        persistent, volatile = int.from_bytes(file[:8], "little"), int.from_bytes(file[8:], "little")
        bench.client.feed(bench.client.element(c.CLOSE, m.close(persistent, volatile)))
    bench.turns()
    assert answer.over() and len(answer.rows("files")) < 50


@pytest.mark.parametrize("question", ["", "nonsense", "[]", "{}", '{"ask": "list"}', '{"ask": "other", "kinds": []}'])
def test_a_question_that_is_not_understood_is_ended(bench: Bench, question: str) -> None:
    answer = Answer()
    bench.questions.answer(question, answer)
    assert answer.over() and answer.parts == []


def test_paths_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "PATH_MAX", 4)
    bench.create("a-long-name")
    (row,) = bench.rows("files")
    assert row["path"] == "a-lo"


def test_an_anonymous_session_has_no_keys(bench: Bench) -> None:
    session = bench.server.sessions[bench.client.session_id]
    assert session.identity is not None
    session.identity = replace(session.identity, account="", is_anonymous=True)
    session.signer = session.sealer = None
    (row,) = bench.rows("sessions")
    assert (row["account"], row["signing"], row["cipher"]) == ("", "", "")
