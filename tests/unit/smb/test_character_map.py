# SPDX-License-Identifier: GPL-2.0-or-later
"""`catia:mappings`: clients see other characters than the disk has."""
from __future__ import annotations

import create_messages as m
import pytest
import wire
from bench import Bench, body_of
from fake_files import FakeWatch

from ksmbd.smb import change_notify, query_directory, query_info
from ksmbd.smb import constants as c
from ksmbd.smb.catia import pairs_of
from ksmbd.smb.character_map import character_map
from ksmbd.smb.model import Open
from ksmbd.smb.waiting import Task

MAPPINGS = "0x22:0xa8, 0x3a:0xf7 0x61:0x7a"


def test_both_ways() -> None:
    characters = character_map(MAPPINGS)
    assert characters.to_server("x÷¨z\\y") == "x\uf022\uf020a\\y"
    assert characters.to_client("x\uf022\uf020a\\y") == "x÷¨z\\y"
    assert characters.to_client("é÷") == "é÷"


@pytest.mark.parametrize("item", ["0x22", "0x22:", ":0x22", "x:y", "0x22:0x0", "0x22:0x10000", "0xd800:0x22"])
def test_what_is_malformed_is_left_out(item: str) -> None:
    assert pairs_of(f"{item},0x3a:0xf7") == ((0x3A, 0xF7),)


def test_the_first_of_two_counts() -> None:
    characters = character_map("0x22:0xa8,0x22:0xa9,0x2a:0xa8")
    assert characters.to_client("\uf020") == "¨" and characters.to_server("¨") == "\uf020"


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.tree.share.catia_mappings = MAPPINGS
    made.volume.add("d", None)
    made.volume.add("d\\x\uf022y")
    return made


def listed(bench: Bench, open_: Open, pattern: str) -> bytes:
    body = wire.query_directory(open_, 12, pattern, 0x10, 65536)
    return wire.output(bench.run(query_directory.handle, bench.request(c.QUERY_DIRECTORY, body, open_.tree)))


@pytest.mark.parametrize("pattern", ["x÷*", "X÷Y"])
def test_listings(bench: Bench, pattern: str) -> None:
    assert listed(bench, bench.open("d"), pattern)[12:] == "x÷y".encode("utf-16-le")


def test_a_posix_open_sees_what_the_disk_has(bench: Bench) -> None:
    open_ = bench.open("d")
    open_.is_posix = True
    assert listed(bench, open_, "x\uf022*")[12:] == "x\uf022y".encode("utf-16-le")


@pytest.mark.parametrize(("info_class", "shown"), [(18, "\\d\\x÷y"), (48, "d\\x÷y")])
def test_names_of_an_open(bench: Bench, info_class: int, shown: str) -> None:
    open_ = bench.open("d\\x\uf022y")
    body = wire.query_info(open_, 1, info_class, 65536)
    data = wire.output(bench.run(query_info.handle, bench.request(c.QUERY_INFO, body, open_.tree)))
    assert data.endswith(shown.encode("utf-16-le"))


def test_changes(bench: Bench) -> None:
    open_ = bench.open("d", c.FILE_LIST_DIRECTORY)
    request = bench.request(c.CHANGE_NOTIFY, m.notify(open_.persistent_id, open_.volatile_id, completion=1))
    task = Task(change_notify.handle(request)).start()
    assert isinstance(open_.watch, FakeWatch)
    open_.watch.change(1, "new\uf020")
    assert body_of(task.result()).endswith("new¨".encode("utf-16-le"))
