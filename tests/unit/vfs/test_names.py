# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.smb.status import (
    STATUS_OBJECT_NAME_INVALID,
    STATUS_OBJECT_PATH_SYNTAX_BAD,
    NtStatusError,
)
from ksmbd.vfs.names import Patterns, check, fold, from_scandir, split, to_client, to_disk

disk_names = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.text(min_size=1, max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet='ab ."*:<>?\\|\x01\x1f', min_size=1, max_size=12).map(str.encode),
).filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b".."))


def holds_literal_private(name: bytes) -> bool:
    """U+F001..U+F029 themselves on disk: shown as they are, the one exception of the mapping."""
    return any(b"\xef\x80" + bytes((low,)) in name for low in range(0x81, 0xAA))


@given(disk_names)
def test_every_name_on_disk_is_reachable(name: bytes) -> None:
    client = to_client(name)
    assert not any(character in client for character in '"*:<>?|\\/\0')
    client.encode("utf-16-le", "surrogatepass")
    if not holds_literal_private(name):
        assert to_disk(client) == name


@given(disk_names)
def test_names_cross_the_wire(name: bytes) -> None:
    client = to_client(name)
    if not holds_literal_private(name):
        assert to_disk(client.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")) == name


@given(st.text(min_size=1, max_size=40))
def test_a_name_that_passes_the_check_comes_back(name: str) -> None:
    wire = name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    try:
        check(wire)
    except NtStatusError as error:
        assert error.status in (STATUS_OBJECT_NAME_INVALID, STATUS_OBJECT_PATH_SYNTAX_BAD)
        return
    disk = to_disk(wire)
    assert b"/" not in disk and b"\0" not in disk and disk not in (b".", b"..") and 0 < len(disk) <= 255
    if wire[-1] not in " .":  # shown as U+F028 and U+F029, found under both
        assert to_client(disk) == wire


@pytest.mark.parametrize(
    ("disk", "client"),
    [
        (b"a:b", "a\uf022b"),
        (b'"*:<>?\\|', "\uf020\uf021\uf022\uf023\uf024\uf025\uf026\uf027"),
        (b"tab\there", "tab\uf009here"),
        (b"space ", "space\uf028"),
        (b"dot.", "dot\uf029"),
        (b"a. b", "a. b"),
        (b"\xff\xfe", "\uf0ff\uf0fe"),
        (b"caf\xe9", "caf\uf0e9"),
        (b"\xed\xa0\x80", "\ud800"),
        (b"\xef\x82\x80", "\uf0ef\uf082\uf080"),
        ("😀é".encode(), "😀é"),
    ],
)
def test_mapping(disk: bytes, client: str) -> None:
    assert to_client(disk) == client
    assert to_disk(client) == disk
    assert from_scandir(disk.decode("utf-8", "surrogateescape")) == (disk, client)


@pytest.mark.parametrize("name", ["\uf0af", "\uf0c0\uf080", "\uf080x", "x\uf0c3\uf0a9"])
def test_escapes_never_hide_another_name(name: str) -> None:
    """An escape is either the byte it names, and comes back as that, or it is refused."""
    try:
        check(name)
    except NtStatusError:
        return
    assert to_client(to_disk(name)) == name
    assert b"/" not in to_disk(name)


def test_a_trailing_dot_never_becomes_the_parent() -> None:
    for name in ("\uf029", ".\uf029", "\uf029\uf029"):
        assert to_disk(name) not in (b".", b"..")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("..", STATUS_OBJECT_PATH_SYNTAX_BAD),
        ("a\\..\\b", STATUS_OBJECT_PATH_SYNTAX_BAD),
        (".", STATUS_OBJECT_NAME_INVALID),
        ("a\\\\b", STATUS_OBJECT_NAME_INVALID),
        ("a/b", STATUS_OBJECT_NAME_INVALID),
        ("a*", STATUS_OBJECT_NAME_INVALID),
        ("a\x00b", STATUS_OBJECT_NAME_INVALID),
        ("a\x1fb", STATUS_OBJECT_NAME_INVALID),
        ("a:b", STATUS_OBJECT_NAME_INVALID),
        ("x" * 256, STATUS_OBJECT_NAME_INVALID),
        ("é" * 128, STATUS_OBJECT_NAME_INVALID),
    ],
)
def test_refused(path: str, status: int) -> None:
    with pytest.raises(NtStatusError) as caught:
        split(path)
    assert caught.value.status == status


def test_split() -> None:
    assert split("") == []
    assert split("a\\b\\") == ["a", "b"]
    assert split("é" * 127) == ["é" * 127]
    assert split('a"b', posix=True) == ['a"b']


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Straße", "STRAßE", True),
        ("straße", "STRASSE", False),
        ("ÀÉ", "àé", True),
        ("\u0131", "I", False),
        ("\u03c3", "\u03a3", True),
        ("\u00b5", "\u039c", False),
        ("ǆ", "Ǆ", True),
    ],
)
def test_fold(one: str, other: str, same: bool) -> None:
    assert (fold(one) == fold(other)) is same


@given(st.text(max_size=30))
def test_fold_is_stable(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert len(fold(name)) == len(name)


def test_patterns() -> None:
    patterns = Patterns(("*.TMP", "sec?et", "a+b"))
    assert patterns.match("x.tmp") and patterns.match("SECRET") and patterns.match("A+B")
    assert not patterns.match("x.tmp2") and not patterns.match("seccret") and not patterns.match("aab")
    assert not Patterns(()) and not Patterns(()).match("")
