# SPDX-License-Identifier: GPL-2.0-or-later
"""What the argument of ksmbd.control --close names."""

from __future__ import annotations

import pytest

from ksmbd.ipc.activity import Target
from mountd.console.closing import parse, told


@pytest.mark.parametrize(
    ("what", "target"),
    [
        ("0x0110ca9d", Target(session="0x0110ca9d")),
        ("0x110CA9D", Target(session="0x0110ca9d")),
        ("0x1016b09701c0005", Target(file="0x1016b09701c0005")),
        ("192.0.2.1", Target(address="192.0.2.1")),
        ("2001:db8::1", Target(address="2001:db8::1")),
        ("fe80::1%eth0", Target(address="fe80::1%eth0")),
        ("data", Target(share="data")),
        ("12", Target(share="12")),
        ("data/a/b.txt", Target(share="data", path="a/b.txt")),
        ("data\\a\\b.txt", Target(share="data", path="a/b.txt")),
        ("data/folder/", Target(share="data", path="folder")),
        ("data/", Target(share="data", path="")),
        ("share:0x12", Target(share="0x12")),
        ("session:0x12", Target(session="0x00000012")),
        ("file:0x12", Target(file="0x12")),
        ("file:data/0x12", Target(share="data", path="0x12")),
        ("address:::1", Target(address="::1")),
        ("user:ann", Target(account="ann")),
    ],
)
def test_what_it_names(what: str, target: Target) -> None:
    assert parse(what) == target
    assert parse(what).problem == ""


@pytest.mark.parametrize("what", ["", "share:", "session:ann", "address:x", "user:"])
def test_what_is_no_name(what: str) -> None:
    with pytest.raises(ValueError, match=r"is no|nothing is named"):
        parse(what)


@pytest.mark.parametrize(
    ("closed", "text"),
    [
        ({}, ""),
        ({"files": 1}, "1 file"),
        ({"files": 2, "sessions": 1, "tree_connects": 3}, "1 session, 3 tree connects, 2 files"),
    ],
)
def test_what_was_closed_as_text(closed: dict[str, int], text: str) -> None:
    assert told(closed) == text


@pytest.mark.parametrize(
    "target",
    [Target(), Target(path="a"), Target(session="0x1", share="a"), Target(file="0x1", address="::1")],
)
def test_a_target_that_names_nothing_or_too_much(target: Target) -> None:
    assert target.problem
