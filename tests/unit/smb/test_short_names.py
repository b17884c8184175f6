# SPDX-License-Identifier: GPL-2.0-or-later
"""Short names are those that Samba 4.17 tells (FileAlternateNameInformation)."""
from __future__ import annotations

import pytest

from ksmbd.smb.short_names import is_short_name, short_name


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("a_very_long_name.bin", "AHIN7E~K.BIN"),
        ("with space", "WUKSK9~J"),
        ("a.b.c", "A1KYDY~M.C"),
        (".hidden", "_K2YOL~D"),
        ("123456789", "11E83H~I"),
        ("x.html", "XKCW69~8"),
        ("a+b", "A0QZKZ~5"),
        ("one name.t t", "OCOBQB~2"),
        ("ä", "_JRXQ1~S"),
        ("ünï cödé.txt", "_0OHS6~O.TXT"),
        ("foo.exe", "foo.exe"),
        ("12345678.123", "12345678.123"),
        ("", ""),
        (".", ""),
        ("..", ""),
    ],
)
def test_names(name: str, short: str) -> None:
    assert short_name(name) == short


@pytest.mark.parametrize(
    "name", ["ä", "with space", "a.b.c", ".hidden", "trailing.", "123456789", "x.html", "a+b", "con", "NUL.txt", "𝒳"]
)
def test_what_is_no_short_name_gets_one(name: str) -> None:
    assert not is_short_name(name)
    made = short_name(name)
    assert is_short_name(made) and made[6] == "~" and short_name(made) == made


def test_case_makes_no_difference() -> None:
    assert short_name("A Long Name.TXT") == short_name("a long name.txt")
    assert short_name("a long name.txt") != short_name("a long name2.txt")
    assert short_name("one name.txt")[-4:] == ".TXT"
    assert "." not in short_name("one name.text") and "." not in short_name("one name.t t")
