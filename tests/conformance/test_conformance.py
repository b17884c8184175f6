# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick part of the conformance tests, where smbtorture is installed; `make conformance` runs all of them."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from smbtorture import Bench, bench, missing, outcome_of, read_list, run

QUICK = (
    "smb2.connect", "smb2.tcon", "smb2.session-id", "smb2.credits", "smb2.compound", "smb2.compound_find", "smb2.read",
    "smb2.rw", "smb2.getinfo", "smb2.dir", "smb2.fileid", "smb2.mkdir", "smb2.winattr", "smb2.openattr",
    "smb2.twrp",
)  # fmt: skip
"""Suites of tests that take no time to speak of and wait for nothing."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    lack = missing([])
    if lack:
        pytest.skip(lack)
    with bench(tmp_path_factory.mktemp("conformance") / "server", 1) as made:
        yield made


@pytest.mark.parametrize("suite", QUICK)
def test_suite(place: Bench, suite: str) -> None:
    tests = [test for test in read_list() if test.belongs_to([suite])]
    assert tests
    wrong = run(tests, place)
    assert not wrong, "\n".join(wrong)


# ----------------------------------------------------------------------------------------------------- the runner's own


def test_the_list_is_well_formed() -> None:
    tests = read_list()
    assert tests
    for test in tests:
        assert test.outcomes == {"pass"} or len(test.reason) > 20, test.test


@pytest.mark.parametrize(
    "line",
    [
        "smb2.a\tpass\tfs:xfs=good\t", "smb2.a\tpass\tfs:xfs\t", "smb2.a\tpass\t", "smb2.a\tgood\t\t",
        "smb2.a\tfail\t\t", "smb2.a\tpass,skip\t\t", "smb2.a\t\t\t",
    ],
)
def test_a_list_that_says_too_little_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.tsv"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"list\.tsv:1"):
        read_list(path)


def test_a_file_system_may_have_an_outcome_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("smb2.a\tskip\tshare:x fs:btrfs,xfs=pass\tneeds extents that are shared\n")
    (test,) = read_list(path)
    assert [test.right_on(kind) for kind in ("ext4", "xfs", "btrfs", "")] == [{"skip"}, {"pass"}, {"pass"}, {"skip"}]


def test_a_test_is_listed_once(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("# comment\nsmb2.a\tpass\t\t\nsmb2.a\tpass\t\t\n")
    with pytest.raises(ValueError, match="second time"):
        read_list(path)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("success: a\n", "pass"),
        ("skip: a [\nno\n]\n", "skip"),
        ("success: a\nfailure: b [\nx\n]\n", "fail"),
        ("error: a [\nx\n]\n", "fail"),
        ("test: a\n", "fail"),
        ("", "fail"),
    ],
)
def test_outcomes(text: str, outcome: str) -> None:
    assert outcome_of(text) == outcome
