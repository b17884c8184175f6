# SPDX-License-Identifier: GPL-2.0-or-later
"""Short names are those that Samba 4.17 lists (FileIdBothDirectoryInformation)."""
from __future__ import annotations

import pytest

from ksmbd.vfs.short_names import ShortNames, is_short_name, make


@pytest.mark.parametrize(
    ("name", "prefix", "short"),
    [
        ("a_very_long_name.bin", 1, "AHIN7E~K.BIN"),
        ("with space", 1, "WUKSK9~J"),
        ("a.b.c", 1, "A1KYDY~M.C"),
        (".hidden", 1, "_K2YOL~D"),
        (".hidden", 6, "_HIDDE~D"),
        (" lead", 3, "_LEADM~5"),
        ("123456789", 1, "11E83H~I"),
        ("x.html", 1, "XKCW69~8"),
        ("one name.t t", 1, "OCOBQB~2"),
        ("longer-than-8.a-b", 1, "LL8SXX~H.A-B"),
        ("longer name.a(b", 1, "LUI31R~U"),
        ("ä", 1, "_JRXQ1~S"),
        ("ünï cödé.txt", 1, "_0OHS6~O.TXT"),
        ("日本語", 6, "______~B"),
        ("µ long.txt", 1, "_WUFQZ~8.TXT"),
        ("ɐ long", 1, "_PDBN9~0"),  # a capital that Windows NT did not have
        ("ǅ long", 1, "_Q1HD4~X"),
        ("ab\ud800x", 1, "APA6C7~Z"),
        ("a:b", 1, "A4WTMA~A"),
        ("aux", 1, "AHY9U3~9"),
        ("y" * 251 + ".t!t", 1, "YCT4DL~1"),
    ],
)
def test_names(name: str, prefix: int, short: str) -> None:
    disk = name.encode("utf-8", "surrogatepass")
    assert make(disk, prefix) == short
    names = ShortNames(True, prefix)
    assert (names.of(disk), names.listed(disk), names.made(disk)) == (short, short, short)
    assert names.may_be(short) and names.may_be(short.lower())


@pytest.mark.parametrize("name", ["foo.exe", "12345678.123", "a", ".abc", "com5", "x!y", "CLOCK$.txt", "~"])
def test_a_short_name_is_its_own(name: str) -> None:
    names = ShortNames(True)
    assert (names.of(name.encode()), names.listed(name.encode())) == (name, "")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_has_none(name: str) -> None:
    assert ShortNames(True).of(name.encode()) == ""


@pytest.mark.parametrize(
    "name", ["ä", "with space", "a.b.c", ".hidden", "trailing.", "123456789", "x.html", "a+b", "con", "NUL.txt", "𝒳"]
)
def test_what_is_no_short_name_gets_one(name: str) -> None:
    assert not is_short_name(name.encode())
    made = make(name.encode())
    assert is_short_name(made.encode()) and made[6] == "~" and ShortNames(True).of(made.encode()) == made


def test_case_makes_no_difference() -> None:
    assert make(b"A Long Name.TXT") == make(b"a long name.txt")
    assert make(b"a long name.txt") != make(b"a long name2.txt")
    assert make("ÄRGER im Büro".encode()) == make("ärger IM BÜRO".encode())
    assert make(b"one name.txt")[-4:] == ".TXT"
    assert "." not in make(b"one name.text") and "." not in make(b"one name.t t")


def test_illegal_lists_what_windows_cannot_have() -> None:
    names = ShortNames(False)
    assert names.listed(b"a long name.txt") == "" and names.of(b"a long name.txt") == "AA2NT9~L.TXT"
    for name in (b"a:b", b"dot.", b"space ", b"tab\t", b"aux.long"):
        assert names.listed(name) == names.of(name) != ""


@pytest.mark.parametrize("name", ["A1KYDY~", "A1KYDY-M", "A1KYDY~M.", "A1KYDY~M.LONG", "A1KY Y~M", "A1KYDY~MM", "a~b"])
def test_what_no_made_name_looks_like(name: str) -> None:
    assert not ShortNames(True).may_be(name)
