# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick part of the conformance tests, where smbtorture is installed; `make conformance` runs all of them."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from configurations import CONFIGURATIONS
from listed import Expected, read_list
from report import Report, Result
from smbtorture import Lane, lane, missing, outcome_of, run, users

QUICK = (
    "smb2.connect", "smb2.tcon", "smb2.session-id", "smb2.credits", "smb2.compound", "smb2.compound_find", "smb2.read",
    "smb2.rw", "smb2.getinfo", "smb2.dir", "smb2.fileid", "smb2.mkdir", "smb2.winattr", "smb2.openattr",
    "smb2.twrp",
)  # fmt: skip
"""Suites of tests that take no time to speak of and wait for nothing."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    lack = missing([])
    if lack:
        pytest.skip(lack)
    with users() as them, lane(tmp_path_factory.mktemp("conformance") / "server", 1, them) as made:
        yield made


@pytest.mark.parametrize("suite", QUICK)
def test_suite(place: Lane, suite: str) -> None:
    tests = [test for test in read_list() if test.belongs_to([suite]) and test.wants.is_plain]
    assert tests
    report = Report()
    run(tests, place, report)
    assert not report.wrong, "\n".join(report.wrong)


# ----------------------------------------------------------------------------------------------------- the runner's own


def test_the_list_is_well_formed() -> None:
    tests = read_list()
    assert tests
    for test in tests:
        assert test.outcomes == {"pass"} or len(test.reason) > 20, test.test


def test_every_configuration_has_tests() -> None:
    assert {test.configuration for test in read_list()} == set(CONFIGURATIONS)


@pytest.mark.parametrize(
    "line",
    [
        "smb2.a\tplain\tpass\tfs:xfs=good\t", "smb2.a\tplain\tpass\tfs:xfs\t", "smb2.a\tplain\tpass\t",
        "smb2.a\tplain\tgood\t\t", "smb2.a\tplain\tfail\t\t", "smb2.a\tplain\tpass,skip\t\t",
        "smb2.a\tplain\t\t\t", "smb2.a\tplane\tpass\t\t", "smb2.a\tplain\tpass\tshare:one\t",
    ],
)
def test_a_list_that_says_too_little_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.tsv"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"list\.tsv:1"):
        read_list(path)


def test_a_file_system_may_have_an_outcome_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("smb2.a\txfs\tskip\tfs:btrfs,xfs=pass\tneeds extents that are shared\n")
    (test,) = read_list(path)
    assert [test.right_on(kind) for kind in ("ext4", "xfs", "btrfs", "")] == [{"skip"}, {"pass"}, {"pass"}, {"skip"}]


def test_a_test_is_listed_once(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("# comment\nsmb2.a\tplain\tpass\t\t\nsmb2.a\tplain\tpass\t\t\n")
    with pytest.raises(ValueError, match="second time"):
        read_list(path)


def test_shares_of_one_server_and_other_servers() -> None:
    """A share's parameters need no server of their own; parameters of [global] and a file system do."""
    servers = {name: one.server for name, one in CONFIGURATIONS.items()}
    assert servers["admin"] == servers["plain"] == ("", ())
    assert servers["btrfs"] == ("btrfs", ())
    assert servers["signing"] == ("", (("server signing", "mandatory"),))
    assert not CONFIGURATIONS["signing"].is_plain
    assert CONFIGURATIONS["btrfs"].is_plain


def _report() -> Report:
    report = Report()
    known = Expected("smb2.b", "plain", frozenset({"fail"}), (), "wants what the specification refuses")
    for test, outcome in (
        (Expected("smb2.a", "plain", frozenset({"pass"}), (), ""), "pass"), (known, "fail"), (known, "pass"),
        (Expected("smb2.c", "btrfs", frozenset({"pass"}), (), ""), "fail"),
    ):  # fmt: skip
        report.add(Result(test, outcome, "why", test.outcomes, 0.25))
    return report


def test_the_table_counts_what_passed_and_what_was_not_expected(capsys: pytest.CaptureFixture[str]) -> None:
    report = _report()
    assert report.rows() == [("plain", 3, 2, 1, 1), ("btrfs", 1, 0, 0, 1)]
    assert report.table().splitlines() == [
        "configuration      run  passed  known not  unexpected",
        "plain                3       2          1           1",
        "btrfs                1       0          0           1",
        "2 of 4 passed, 2 not as listed",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "UNEXPECTED smb2.b: pass, but fail is listed", "UNEXPECTED smb2.c: fail, but pass is listed: why",
    ]  # fmt: skip


def test_the_outcomes_as_json() -> None:
    found = _report().json()
    assert (found["passed"], found["of"]) == (2, 4)
    assert found["configurations"][1] == {
        "configuration": "btrfs", "run": 1, "passed": 0, "known_not": 0, "unexpected": 1,
    }  # fmt: skip
    assert found["tests"]["smb2.c"] == {
        "configuration": "btrfs", "outcome": "fail", "listed": ["pass"], "said": "why", "reason": "", "seconds": 0.25,
    }  # fmt: skip


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
