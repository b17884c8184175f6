# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of snapshots, by the parameters of Samba's shadow_copy2."""
from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ksmbd.vfs.snapshot_names import Naming, basic_expression

WHEN = 1446320430  # 2015-10-31 19:40:30 UTC
DEFAULT = "@GMT-%Y.%m.%d-%H.%M.%S"


def naming(format_: str = DEFAULT, localtime: bool = False, sscanf: bool = False, prefix: str = "",
           delimiter: str = "_GMT") -> Naming:  # fmt: skip
    return Naming(format_, localtime, sscanf, prefix, delimiter)


@pytest.mark.parametrize(
    ("format_", "name"),
    [
        (DEFAULT, "@GMT-2015.10.31-19.40.30"), ("%F_%T", "2015-10-31_19:40:30"), ("s%Y%m%d%H%M%S", "s20151031194030"),
        ("%d.%b.%y %H:%M:%S", "31.Oct.15 19:40:30"), ("%B %e %Y, %H-%M-%S", "October 31 2015, 19-40-30"),
        ("%Y-%j-%H%M%S", "2015-304-194030"), ("%s", "1446320430"), ("100%%-%s", "100%-1446320430"),
    ],
)  # fmt: skip
def test_formats(format_: str, name: str) -> None:
    found = naming(format_)
    assert found.time_of(name) == WHEN
    assert found.name_of(WHEN) == (name if format_ != "%s" else found.name_of(WHEN))


@pytest.mark.parametrize(
    "name",
    ["", "x", "@GMT-2015.10.31-19.40.30x", "x@GMT-2015.10.31-19.40.30", "@GMT-2015.13.31-19.40.30",
     "@GMT-2015.10.00-19.40.30", "@GMT-2015.10.31-24.40.30", "@GMT-2015.10.31-19.40.30\udcff",
     "@GMT-\u0662015.10.31-1.1.1"],
)  # fmt: skip
def test_names_of_something_else(name: str) -> None:
    assert naming().time_of(name) is None


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_local_time(new_york: None) -> None:
    local = naming("%Y-%m-%d_%H%M%S", localtime=True)
    assert local.time_of("2015-10-31_154030") == WHEN
    assert local.time_of("2015-12-31_144030") == WHEN + 61 * 86400
    assert local.name_of(WHEN) == "2015-10-31_154030"
    assert naming("%Y-%m-%d_%H%M%S").name_of(WHEN) == "2015-10-31_194030"


def test_seconds_as_a_number() -> None:
    found = naming("snap-%lu.d", sscanf=True)
    assert found.time_of("snap-1446320430.d") == WHEN
    assert found.time_of("snap-x.d") is None
    assert found.name_of(WHEN) == "snap-1446320430.d"


def test_a_prefix_is_known_by_the_folder_alone() -> None:
    found = naming("_GMT%Y.%m.%d-%H.%M.%S", prefix=r"^\(daily\|hourly\)[[:digit:]]*$")
    assert found.time_of("daily7_GMT2015.10.31-19.40.30") == WHEN
    assert found.time_of("hourly_GMT2015.10.31-19.40.30") == WHEN
    assert found.time_of("weekly_GMT2015.10.31-19.40.30") is None
    assert found.time_of("daily2015.10.31-19.40.30") is None
    assert found.name_of(WHEN) is None


@pytest.mark.parametrize(
    ("basic", "expected"),
    [
        (r"a\{2\}b*", "a{2}b*"), ("a+b?(c)|{d}", r"a\+b\?\(c\)\|\{d\}"), (r"\(x\)\1", r"(x)\1"), ("*a", r"\*a"),
        ("^*a", r"^\*a"), ("[]a[:space:]]*.", r"[]a\s]*."), (r"a\.b", r"a\.b"), ("[a", "[a]"),
    ],
)  # fmt: skip
def test_basic_expressions(basic: str, expected: str) -> None:
    assert basic_expression(basic) == expected


@pytest.mark.parametrize(
    ("format_", "prefix", "sscanf"),
    [("a/%Y", "", False), ("%Q", "", False), ("nothing", "", False), ("%", "", False), ("%Y", r"\(", False),
     ("%lu-%lu", "", True), ("no number", "", True)],
)  # fmt: skip
def test_what_cannot_be_used_is_said(format_: str, prefix: str, sscanf: bool) -> None:
    with pytest.raises(ValueError):
        naming(format_, prefix=prefix, sscanf=sscanf)
