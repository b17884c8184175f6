# SPDX-License-Identifier: GPL-2.0-or-later
"""File names: MS-FSCC 2.1.5, MS-SMB2 3.3.5.9."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.smb import status as s
from ksmbd.smb.create_names import Name, parse_name, pipe_name
from ksmbd.smb.status import NtStatusError


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("", Name("")),
        ("plain", Name("plain")),
        ("a.txt", Name("a.txt")),
        ("dir\\sub\\file name.txt", Name("dir\\sub\\file name.txt")),
        ("dir\\", Name("dir", must_be_directory=True)),
        ("a\\..\\b", Name("b")),
        ("a\\\\b", Name("a\\b")),
        ("a\\\\\\b\\\\c:s", Name("a\\b\\c", "s")),
        ("a\\b\\\\", Name("a\\b", must_be_directory=True)),
        ("a//b", Name("a\\b")),
        ("a\\/b", Name("a\\b")),
        ("a\\\\..\\\\b", Name("b")),
        ("a\\b\\..\\c:s", Name("a\\c", "s")),
        ("a\\..", Name("")),
        ("...", Name("...")),
        ("a..b\\.hidden", Name("a..b\\.hidden")),
        ("grün\\😀.txt", Name("grün\\😀.txt")),
        ("unpaired\ud800", Name("unpaired\ud800")),
        ("太\u5c5c", Name("太\u5c5c")),
        ("file:stream", Name("file", "stream")),
        ("file:stream:$DATA", Name("file", "stream")),
        ("file:stream:$data", Name("file", "stream")),
        ("file::$DATA", Name("file", must_be_file=True)),
        ("dir\\file:a b?*<>|\x05\n", Name("dir\\file", "a b?*<>|\x05\n")),
        ("dir::$INDEX_ALLOCATION", Name("dir", must_be_directory=True)),
        ("dir:$I30:$INDEX_ALLOCATION", Name("dir", must_be_directory=True)),
        (":on the root", Name("", "on the root")),
        ("x" * 255, Name("x" * 255)),
        ("😀" * 127, Name("😀" * 127)),
    ],
)
def test_accepted(raw: str, name: Name) -> None:
    assert parse_name(raw) == name


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("\\leading", s.STATUS_INVALID_PARAMETER),
        ("\\", s.STATUS_INVALID_PARAMETER),
        ("..", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("a\\..\\..", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("a\\..\\..\\a\\b", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("a\\..:s\\..\\..", s.STATUS_OBJECT_NAME_INVALID),
        ("..\\..\\etc\\passwd", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        (".", s.STATUS_OBJECT_NAME_INVALID),
        ("a\\.\\b", s.STATUS_OBJECT_NAME_INVALID),
        ("\\\\leading", s.STATUS_INVALID_PARAMETER),
        ("\\\\", s.STATUS_INVALID_PARAMETER),
        ("a\\\\:s", s.STATUS_OBJECT_NAME_INVALID),
        ("a\\\\..\\\\..", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("/etc", s.STATUS_INVALID_PARAMETER),
        ("../../etc", s.STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("nul\0", s.STATUS_OBJECT_NAME_INVALID),
        ("x" * 256, s.STATUS_OBJECT_NAME_INVALID),
        ("😀" * 128, s.STATUS_OBJECT_NAME_INVALID),
        ("\\".join(["x" * 200] * 200), s.STATUS_OBJECT_NAME_INVALID),
        ("file:", s.STATUS_OBJECT_NAME_INVALID),
        ("file:s:", s.STATUS_OBJECT_NAME_INVALID),
        ("file:s:$FOO", s.STATUS_OBJECT_NAME_INVALID),
        ("file:s:$DATA:x", s.STATUS_OBJECT_NAME_INVALID),
        ("file:s::$DATA", s.STATUS_OBJECT_NAME_INVALID),
        ("file:a/b", s.STATUS_OBJECT_NAME_INVALID),
        ("dir:s\\file", s.STATUS_OBJECT_NAME_INVALID),
        ("file:s\\", s.STATUS_OBJECT_NAME_INVALID),
        ("file:" + "x" * 256, s.STATUS_OBJECT_NAME_INVALID),
        ("dir:other:$INDEX_ALLOCATION", s.STATUS_OBJECT_NAME_INVALID),
        *((f"a{character}b", s.STATUS_OBJECT_NAME_INVALID) for character in '"*<>?|\x01\x1f\n'),
    ],
)
def test_refused(raw: str, status: int) -> None:
    with pytest.raises(NtStatusError) as caught:
        parse_name(raw)
    assert caught.value.status == status


def test_posix_names_are_what_linux_takes() -> None:
    """`/` alone separates them; what Windows forbids is shown by characters of the private area."""
    shown = "a\uf022b\uf026c\uf021\uf025\uf020\uf023\uf024\uf027"
    assert parse_name('a:b\\c*?"<>|', posix=True) == Name(shown)
    assert parse_name(shown, posix=True) == Name(shown)
    assert parse_name("dir/file", posix=True) == Name("dir\\file")
    assert parse_name("dir./a /...\n/", posix=True) == Name("dir\uf029\\a\uf028\\...\uf00a", must_be_directory=True)
    assert parse_name("a/../b", posix=True) == Name("b")
    assert parse_name("trailing\\", posix=True) == Name("trailing\uf026")
    for raw in ("/a", "..", "a/../..", "nul\0", "a/./b"):
        with pytest.raises(NtStatusError):
            parse_name(raw, posix=True)


@given(st.text(alphabet=st.characters(codec=None), max_size=60), st.booleans())
def test_any_name_is_split_or_refused(raw: str, posix: bool) -> None:
    try:
        name = parse_name(raw, posix)
    except NtStatusError:
        return
    components = name.path.split("\\")
    assert ".." not in components and "/" not in name.path and not name.path.startswith("\\")
    assert name.path == "" or "" not in components


@pytest.mark.parametrize("raw", ["srvsvc", "SRVSVC", "\\srvsvc", "\\PIPE\\srvsvc", "pipe\\SrvSvc", "\\\\pipe\\srvsvc"])
def test_pipe_names(raw: str) -> None:
    assert pipe_name(raw) == "srvsvc"


def test_a_slash_is_a_separator_too() -> None:
    assert parse_name("a/b\\c") == parse_name("a\\b\\c")
