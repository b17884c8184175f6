# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of how data goes, and `data paths`."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.smb.data_paths import ANY, METHODS, READ, TABLE, WRITE, DataPaths, Rule, Transfer, parse

K = 1024


def test_the_server_s_own() -> None:
    own = DataPaths()
    assert [own.method(READ, "ext4", size) for size in (0, 64 * K - 1, 64 * K, 8 << 20)] == [
        Transfer.COPY, Transfer.COPY, Transfer.SENDFILE, Transfer.SENDFILE,
    ]  # fmt: skip
    assert [own.method(WRITE, "", size) for size in (192 * K - 1, 192 * K)] == [Transfer.COPY, Transfer.EITHER]
    assert own.write_from == 192 * K
    assert all(rule.method in METHODS[rule.direction] for rule in TABLE)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("read=copy", {(READ, "tmpfs", 1 << 20): Transfer.COPY, (WRITE, "tmpfs", 1 << 20): Transfer.EITHER}),
        ("read/ext4=splice", {(READ, "ext4", 1): Transfer.SPLICE, (READ, "tmpfs", 1 << 20): Transfer.SENDFILE}),
        (
            "READ/*/1M=splice, read/tmpfs/2m=copy",
            {
                (READ, "tmpfs", 100 * K): Transfer.SENDFILE, (READ, "tmpfs", 1 << 20): Transfer.SPLICE,
                (READ, "tmpfs", 2 << 20): Transfer.COPY, (READ, "ext4", 2 << 20): Transfer.SPLICE,
                (READ, "", 10): Transfer.COPY,
            },
        ),
        # The file system's own rule goes before that for all, wherever it stands; else the later one
        ("write/xfs/1=copy write/*/1=splice", {(WRITE, "xfs", 9): Transfer.COPY, (WRITE, "zfs", 9): Transfer.SPLICE}),
        ("write=copy,write=splice", {(WRITE, "xfs", 9): Transfer.SPLICE}),
        ("write//64K=splice", {(WRITE, "xfs", 64 * K): Transfer.SPLICE, (WRITE, "xfs", 64 * K - 1): Transfer.COPY}),
    ],
)  # fmt: skip
def test_rules_go_before_it(words: str, wanted: dict[tuple[str, str, int], Transfer]) -> None:
    paths = parse(words)
    assert {key: paths.method(*key) for key in wanted} == wanted


def test_writes_are_offered_from_the_first_rule_on() -> None:
    assert parse("write/ext4/100000=splice").write_from == 100_000
    assert parse("write/ext4/100000=copy").write_from == parse("").write_from == 192 * K


@pytest.mark.parametrize(
    "words",
    ["read", "read=", "=copy", "write=sendfile", "read=either", "both=copy", "read/ext4/1G=copy", "read/ext4/-1=copy",
     "read/ext4/x=copy", "read/ext4/1/2=copy", "read/ext4/\u0661=copy", "read=copy=splice", "sendfile"],
)  # fmt: skip
def test_what_is_no_rule(words: str) -> None:
    with pytest.raises(ValueError, match=r"not|no size"):
        parse(words)


@given(st.lists(st.builds(
    Rule, st.sampled_from([READ, WRITE]), st.sampled_from([ANY, "ext4", "tmpfs"]), st.integers(0, 1 << 20),
    st.sampled_from(list(Transfer)),
)), st.sampled_from(["ext4", "tmpfs", ""]), st.integers(0, 1 << 21))  # fmt: skip
def test_the_nearest_rule_below_a_size_decides(rules: list[Rule], file_system: str, size: int) -> None:
    fits = [
        (rule.start, rule.file_system != ANY, number, rule.method)
        for number, rule in enumerate(rules)
        if rule.direction == READ and rule.file_system in (ANY, file_system) and rule.start <= size
    ]
    own = DataPaths().method(READ, file_system, size)
    assert DataPaths(rules).method(READ, file_system, size) is (max(fits, key=lambda fit: fit[:3])[3] if fits else own)
