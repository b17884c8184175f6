# SPDX-License-Identifier: GPL-2.0-or-later
"""netdfs, and the search for links in a root's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mountd_doubles import FakeUsers, accounts, configuration
from rpc_doubles import View

from ksmbd import limits
from ksmbd.kernel.credentials import SERVER
from ksmbd.smb.status import WireError
from mountd.dfsroots import DirectRoots, Query, Who, query
from mountd.rpc import netdfs
from mountd.rpc.facts import Facts, Level, ShareFacts
from mountd.rpc.names import DFS, DfsLink, Links, Names, Question, Unanswered, decode_found, encode_found
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller, Win32

LINKS = {
    "Root": Links((DfsLink("a", (r"\srv\data",)), DfsLink("b", (r"\srv\data\below", r"\other\x")))),
    "Root\\sub\\deep": Links((DfsLink("deep", (r"\srv\data",)),)),
    "second": Links(()),
}


def share(name: str, is_dfs_root: bool = True) -> ShareFacts:
    return ShareFacts(name, "words", False, True, True, 10, is_dfs_root=is_dfs_root)


FACTS = Facts("HOST", dfs=True, shares={key: share(name, key != "plain") for key, name in (
    ("plain", "plain"), ("root", "Root"), ("second", "second"), ("hidden", "hidden"),
)})  # fmt: skip


def called(
    operation: Callable[[Caller, NdrReader, NdrWriter], None], stub: bytes, level: Level = Level.SHARES
) -> NdrReader:
    """The result of an operation, whose questions are answered from LINKS."""
    names = Names()
    caller = Caller(lambda: FACTS, level, "bob", frozenset({"hidden"}), names=names)
    for _ in range(10):
        writer = NdrWriter()
        try:
            operation(caller, NdrReader(stub), writer)
            return NdrReader(bytes(writer.data))
        except Unanswered as unanswered:
            found = {each: LINKS.get(each.value, Links(())) for each in unanswered.questions}
            names.add(decode_found(encode_found(found)))
    raise AssertionError


def wanted(level: int, path: str | None = None, resume: int | None = None, preferred: int = 0xFFFFFFFF) -> bytes:
    """The parameters of an enumeration."""
    writer = NdrWriter()
    if path is not None:
        writer.string(path)
    for value in (level, preferred, 1, level, level, 2, 0, 0):
        writer.u32(value)
    writer.unique_u32(resume)
    return bytes(writer.data)


def names(reader: NdrReader) -> tuple[list[str], int | None, int]:
    """(paths of level 1, ResumeHandle, status) of an enumeration."""
    found: list[str] = []
    if reader.pointer():
        reader.u32()
        reader.u32()
        if reader.pointer():
            count = reader.u32()
            if reader.pointer():
                assert reader.u32() == count
                assert [reader.pointer() for _ in range(count)] == [True] * count
                found = [reader.string() for _ in range(count)]
    return found, reader.unique_u32(), reader.u32()


ALL = [r"\\HOST\Root", r"\\HOST\Root\a", r"\\HOST\Root\b", r"\\HOST\second"]


def test_all_roots_and_their_links() -> None:
    assert names(called(netdfs.enumerate_all, wanted(1))) == (ALL, None, 0)


def test_pages() -> None:
    found: list[str] = []
    resume: int | None = 0
    for _ in ALL:
        page, resume, status = names(called(netdfs.enumerate_all, wanted(1, resume=resume, preferred=1)))
        assert (len(page), status) == (1, 0)
        found += page
    assert found == ALL
    assert names(called(netdfs.enumerate_all, wanted(1, resume=resume))) == ([], 4, Win32.NO_MORE_ITEMS)
    assert names(called(netdfs.enumerate_all, wanted(1, preferred=1))) == (ALL[:1], None, Win32.MORE_DATA)


@pytest.mark.parametrize("path", [r"\\HOST\root", r"anything/ROOT/sub", r"\h\Root\a"])
def test_one_root(path: str) -> None:
    assert names(called(netdfs.enumerate_one, wanted(1, path))) == (ALL[:3], None, 0)


@pytest.mark.parametrize("path", ["", r"\\HOST", r"\\HOST\plain", r"\\HOST\hidden"])
def test_what_is_no_root(path: str) -> None:
    assert names(called(netdfs.enumerate_one, wanted(1, path))) == ([], None, Win32.NOT_FOUND)


@pytest.mark.parametrize("level", [0, 6, 100, 200])
def test_levels_that_are_none(level: int) -> None:
    assert names(called(netdfs.enumerate_all, wanted(level)))[2] == Win32.INVALID_PARAMETER
    assert info(r"\\HOST\Root", level if level != 100 else 101)[1] == Win32.INVALID_PARAMETER


def info(path: str, level: int, of: Level = Level.SHARES) -> tuple[NdrReader, int]:
    """(behind the level and its pointer, the status that stands at the end) of NetrDfsGetInfo."""
    stub = NdrWriter()
    stub.string(path)
    for value in (0, 0, level):
        stub.u32(value)
    reader = called(netdfs.get_info, bytes(stub.data), of)
    whole = reader._reader.buffer
    assert reader.u32() == level
    return reader, int.from_bytes(bytes(whole[-4:]), "little")


def test_information_about_a_link() -> None:
    reader, status = info(r"\\1.2.3.4\ROOT\sub\deep", 4)
    assert status == 0 and reader.pointer() and reader.pointer() and reader.pointer()
    assert (reader.u32(), reader.u32()) == (netdfs.STATE_OK, 600)
    assert reader.raw(16) != bytes(16)
    assert reader.u32() == 1 and reader.pointer()
    assert reader.string() == r"\\HOST\Root\sub\deep" and reader.string() == ""
    assert reader.u32() == 1 and reader.u32() == netdfs.STORAGE_ONLINE
    assert reader.pointer() and reader.pointer() and (reader.string(), reader.string()) == ("srv", "data")


@pytest.mark.parametrize(("path", "status"), [
    (r"\\HOST\Root\none", Win32.NERR_DFS_NO_SUCH_VOLUME), (r"\\HOST\none", Win32.NERR_DFS_NO_SUCH_SERVER),
    (r"\\HOST\plain", Win32.NERR_DFS_NO_SUCH_SERVER), (r"\\HOST\hidden", Win32.NERR_DFS_NO_SUCH_SERVER),
    ("", Win32.NERR_DFS_NO_SUCH_SERVER), ("\\\\HOST\\Root\\" + "x" * 30000, Win32.NERR_DFS_NO_SUCH_VOLUME),
])  # fmt: skip
def test_what_there_is_no_information_about(
    path: str, status: Win32, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mountd.rpc.ndr.STRING_MAX", 1 << 16)
    assert info(path, 3)[1] == status


def test_guests_learn_nothing() -> None:
    assert names(called(netdfs.enumerate_all, wanted(1), Level.NAMES)) == ([], None, Win32.ACCESS_DENIED)
    assert info(r"\\HOST\Root", 1, Level.NAMES)[1] == Win32.ACCESS_DENIED


def test_version_and_changes() -> None:
    assert called(netdfs.get_version, b"").u32() == netdfs.VERSION
    without = Caller(lambda: Facts(), Level.SHARES)
    writer = NdrWriter()
    netdfs.get_version(without, NdrReader(b""), writer)
    assert bytes(writer.data) == bytes(4)
    for operation in netdfs.CHANGES.values():
        assert called(operation, b"whatever").u32() == Win32.ACCESS_DENIED


@settings(max_examples=200, deadline=None)
@given(st.sampled_from((0, 4, 5, 21)), st.one_of(
    st.binary(max_size=80), st.builds(lambda at, data: wanted(1, r"\\HOST\Root")[:at] + data, st.integers(0, 90),
                                      st.binary(max_size=20)),
))  # fmt: skip
def test_any_stub(opnum: int, stub: bytes) -> None:
    try:
        called(netdfs.INTERFACE.operations[opnum], stub)
    except WireError:
        pass


# ------------------------------------------------------------------------------------------------------- the folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in (tmp_path, tmp_path / "Sub"):
        place.mkdir(exist_ok=True)
        os.symlink("msdfs:srv\\data,other\\x", place / "link")
        os.symlink("/etc", place / "plain")
        (place / "file").write_text("msdfs:srv\\data")
    return tmp_path


def find(folder: Path, *parts: str) -> list[tuple[str, tuple[str, ...]]]:
    found: list[Links] = []
    assert DirectRoots().find(Query(str(folder), parts, Who(*SERVER)), found.append)
    return [tuple(link) for (links,) in found for link in links]  # type: ignore[misc]


LINK = ("link", (r"\srv\data", r"\other\x"))


def test_the_links_of_a_folder(folder: Path) -> None:
    assert find(folder) == [LINK]
    assert find(folder / "none") == find(folder / "file") == []


@pytest.mark.parametrize(("parts", "found"), [
    (("link",), [LINK]), (("LINK",), [LINK]), (("sub", "Link"), [LINK]), (("link", "x"), []), (("plain",), []),
    (("plain", "passwd"), []), (("file",), []), (("file", "x"), []), (("none",), []), (("..", "link"), []),
    ((".", "link"), []), (("Sub/link",), []), (("a\0b",), []), (("\ud800",), []), (("x" * 300,), []),
])  # fmt: skip
def test_one_link(folder: Path, parts: tuple[str, ...], found: list[object]) -> None:
    assert find(folder, *parts) == found


def test_the_search_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        os.symlink("msdfs:srv\\data", folder / f"l{number}")
    monkeypatch.setattr(limits, "DFS_LINKS", SimpleNamespace(value=3))
    assert len(find(folder)) == 3
    monkeypatch.setattr(limits, "DFS_ENTRIES", SimpleNamespace(value=0))
    assert find(folder) == []


class Roots(View):
    """The daemon, with two roots."""

    def __init__(self, more: str = "", host: str = "yes") -> None:
        super().__init__()
        text = f"[global]\nhost msdfs = {host}\n[docs]\npath = /srv\n[root]\npath = /dfs\nmsdfs root = yes\n{more}\n"
        self.configuration = configuration(text)
        self.accounts = accounts("ann", "bob")
        self.users = FakeUsers()


def test_who_may_see_links() -> None:
    asked = query(Roots(), "root\\a\\b", "bob", "::1")
    assert asked is not None and (asked.folder, asked.parts) == ("/dfs", ("a", "b"))
    bob = Roots().users.user("bob")
    assert bob is not None and (asked.who.uid, asked.who.gid, asked.who.groups) == (bob.uid, bob.gid, bob.groups)
    for view, path, account in (
        (Roots(), "docs", "bob"), (Roots(), "none", "bob"), (Roots(), "", "bob"), (Roots(host="no"), "root", "bob"),
        (Roots("valid users = ann"), "root", "bob"), (Roots("hosts allow = 192.0.2.1"), "root", "bob"),
        (Roots(), "root", "stranger"),
    ):  # fmt: skip
        assert query(view, path, account, "192.0.2.7") is None
    forced = query(Roots("force user = ann"), "root", "bob", "::1")
    ann = Roots().users.user("ann")
    assert forced is not None and ann is not None and forced.who.uid == ann.uid


def test_a_question_is_a_path() -> None:
    found = {Question(DFS, "root"): LINKS["Root"], Question(DFS, "x"): None}
    assert decode_found(encode_found(found)) == found
