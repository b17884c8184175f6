# SPDX-License-Identifier: GPL-2.0-or-later
"""Editing ksmbd.conf changes what is asked for and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountd.config import parse
from mountd.configwriter import add_section, delete_section, has_section, update_section

FILE = """\
# our server
[global]
    workers = 2   ; as many as there are

# the first
[Alpha]
    path = /a     # here
    ; a remark
    read only = yes

# the second
[beta]
\tpath = /b
[ALPHA]
    comment = more
"""


def test_add_to_nothing_and_to_a_file() -> None:
    assert add_section("", "s", {"path": "/s", "comment": ""}) == "[s]\n\tpath = /s\n"
    assert add_section("[a]\npath = /a", "s", {"path": "/s"}) == "[a]\npath = /a\n\n[s]\n\tpath = /s\n"


def test_update_replaces_the_value_and_keeps_the_rest_of_the_line() -> None:
    assert update_section(FILE, "alpha", {"path": "/new"}) == FILE.replace(
        "path = /a     # here", "path = /new     # here"
    )


def test_update_finds_a_key_in_a_later_section_of_the_name() -> None:
    assert update_section(FILE, "alpha", {"comment": "less"}) == FILE.replace("comment = more", "comment = less")


def test_a_new_key_goes_behind_the_last_one_with_its_indentation() -> None:
    changed = update_section(FILE, "alpha", {"guest ok": "yes"})
    assert changed == FILE.replace("    read only = yes\n", "    read only = yes\n    guest ok = yes\n")


def test_an_empty_value_takes_the_key_out() -> None:
    assert update_section(FILE, "alpha", {"read only": ""}) == FILE.replace("    read only = yes\n", "")


@pytest.mark.parametrize("key", ["writable", "writeable", "write ok"])
def test_an_opposite_of_read_only_replaces_it(key: str) -> None:
    changed = update_section(FILE, "alpha", {key: "yes"})
    assert "read only" not in changed
    assert parse(changed, "c").shares["alpha"].writeable


def test_of_duplicates_one_is_left() -> None:
    changed = update_section("[a]\npath = /1\npath = /2\n[a]\npath = /3\n", "a", {"path": "/new"})
    assert changed.count("path") == 1
    assert parse(changed, "c").shares["a"].path == "/new"


def test_delete_takes_all_sections_of_the_name_and_leaves_the_next_ones_comment() -> None:
    assert (
        delete_section(FILE, "Alpha")
        == """\
# our server
[global]
    workers = 2   ; as many as there are

# the first
# the second
[beta]
\tpath = /b
"""
    )


def test_unknown_sections() -> None:
    assert has_section(FILE, "BETA")
    assert not has_section(FILE, "gamma")
    with pytest.raises(KeyError):
        update_section(FILE, "gamma", {})
    with pytest.raises(KeyError):
        delete_section(FILE, "gamma")


values = st.dictionaries(
    st.sampled_from(["path", "comment", "valid users", "veto files", "force user"]),
    st.text("abc/@ ,", min_size=1, max_size=8).map(lambda text: "/" + text.strip()),
    min_size=1,
)


@given(values, values, st.sampled_from([FILE, "", "[zeta]\n", "[zeta]\npath=/z # c\n\n\n[x]\n"]))
def test_what_is_set_is_read_and_other_shares_stay(first: dict[str, str], second: dict[str, str], text: str) -> None:
    added = update_section(text, "zeta", first) if has_section(text, "zeta") else add_section(text, "zeta", first)
    changed = update_section(added, "zeta", second)
    want = parse(add_section("", "zeta", {**first, **second}), "c").shares["zeta"]
    got = parse(changed, "c").shares["zeta"]
    for key in first.keys() | second.keys():
        attribute = key.replace(" ", "_")
        assert getattr(got, attribute) == getattr(want, attribute)
    before, after = parse(text, "c"), parse(delete_section(changed, "zeta"), "c")
    before.shares.pop("zeta", None)
    assert (after.settings, after.shares) == (before.settings, before.shares)
