# SPDX-License-Identifier: GPL-2.0-or-later
"""DFS: names with server and share before them, links' texts, referrals, and the FSCTLs that ask for them."""
from __future__ import annotations

import struct
from typing import Any

import pytest
from bench import Bench, body_of
from hypothesis import given
from hypothesis import strategies as st
from playbook import Playbook, call, some
from stage import Scripts, Stage
from stage_messages import FileId

from ksmbd import limits
from ksmbd.smb import constants as c
from ksmbd.smb import dfs, ioctl, tree_connect
from ksmbd.smb import status as s
from ksmbd.smb.dfs import Link, Referral
from ksmbd.smb.negotiate import server_capabilities
from ksmbd.smb.ports import CreateIntent, OpenGrant, OpenRequest, ShareConfig, TreeConnectResult
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.status import NtStatusError

script = Scripts()
ROOT = ShareConfig("root", "/srv", msdfs_root=True)
PROXY = ShareConfig("proxy", "/srv", msdfs_proxy=r"\far\data,near/data/x")


@pytest.mark.parametrize(("name", "local"), [
    (r"server\root\a\b", r"a\b"), (r"\server\root\a", "a"), (r"server\ROOT", ""), (r"server\root" + "\\", ""),
    (r"a\b", r"a\b"), ("", ""), (r"server\other\a", r"server\other\a"), ("root", "root"), (r"root\root", ""),
])  # fmt: skip
def test_names_below_the_share(name: str, local: str) -> None:
    assert dfs.local_name(name, "root") == local


@pytest.mark.parametrize(("text", "targets"), [
    (r"msdfs:server\share", (r"\server\share",)),
    (r"MSDFS:\\server\share\below", (r"\server\share\below",)),
    (r"msdfs:one\a,two/b/c, three\d", (r"\one\a", r"\two\b\c", r"\three\d")),
    (r"msdfs:server", ()), ("msdfs:", ()), (r"server\share", ()), ("/etc/passwd", ()), (r"msdfs:,a\b,", (r"\a\b",)),
])  # fmt: skip
def test_the_text_of_a_link(text: str, targets: tuple[str, ...]) -> None:
    assert dfs.link_targets(text) == targets


def test_targets_are_bounded() -> None:
    assert len(dfs.targets_of(",".join(rf"s{number}\share" for number in range(500)))) == limits.DFS_TARGETS.value


@pytest.mark.parametrize(("path", "count", "part"), [
    (r"\server\root\link\rest", 3, r"\server\root\link"), (r"\server\root", 2, r"\server\root"),
    (r"\\server\\root\link", 2, r"\\server\\root"), (r"server\root\x", 2, r"server\root"), (r"\server", 5, r"\server"),
])  # fmt: skip
def test_what_of_a_path_is_consumed(path: str, count: int, part: str) -> None:
    assert dfs.consumed(path, count) == part


# ------------------------------------------------------------------------------------------------------ referrals


def text_at(data: bytes, offset: int) -> str:
    end = offset
    while data[end : end + 2] != b"\0\0":
        end += 2
    return data[offset:end].decode("utf-16-le", "surrogatepass")


def decoded(data: bytes) -> tuple[int, int, list[tuple[Any, ...]]]:
    """(PathConsumed, ReferralHeaderFlags, (version, ServerType, flags, path, path again, target) of each entry)."""
    consumed, count, flags = struct.unpack_from("<HHI", data)
    found, position = [], 8
    for _ in range(count):
        version, size, kind, entry_flags = struct.unpack_from("<HHHH", data, position)
        if version == 1:
            found.append((version, kind, entry_flags, text_at(data, position + 8)))
        else:
            at = position + (16 if version == 2 else 12)
            texts = [text_at(data, position + offset) for offset in struct.unpack_from("<HHH", data, at)]
            found.append((version, kind, entry_flags, *texts))
        position += size
    return consumed, flags, found


@pytest.mark.parametrize(("level", "version"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 4)])
@pytest.mark.parametrize("is_root", [True, False])
def test_a_referral(level: int, version: int, is_root: bool) -> None:
    path = r"\server\root\link"
    data = dfs.encode(level, Referral(path, (r"\one\a", r"\zwei\ä"), is_root))
    consumed, flags, entries = decoded(data)
    assert (consumed, flags) == (2 * len(path), 3 if is_root else 2)
    assert [entry[:2] for entry in entries] == [(version, int(is_root))] * 2
    assert [entry[-1] for entry in entries] == [r"\one\a", r"\zwei\ä"]
    if version > 1:
        assert all(entry[3:5] == (path, path) for entry in entries)
    assert [entry[2] for entry in entries] == ([4, 0] if version == 4 else [0, 0])


@given(st.text(st.characters(exclude_characters="\0"), max_size=40),
       st.lists(st.text(st.characters(exclude_characters="\0"), max_size=40), min_size=1, max_size=5),
       st.integers(2, 4))  # fmt: skip
def test_referrals_survive(path: str, targets: list[str], level: int) -> None:
    data = dfs.encode(level, Referral(path, tuple(targets), False))
    _, _, entries = decoded(data)
    assert [entry[3:] for entry in entries] == [(path, path, target) for target in targets]


@given(st.binary(max_size=60), st.booleans())
def test_any_request_is_read_or_refused(data: bytes, extended: bool) -> None:
    try:
        level, name = dfs.read_request(data, extended)
    except NtStatusError as error:
        assert error.status == s.STATUS_INVALID_PARAMETER
    else:
        assert level >= 1
        assert "\0" not in name


def asked(path: str, level: int = 4, extended: bool = False) -> bytes:
    name = path.encode("utf-16-le") + b"\0\0"
    if not extended:
        return level.to_bytes(2, "little") + name
    return struct.pack("<HHIH", level, 0, 2 + len(name), len(name)) + name


class Server:
    """A server with a DFS root and a proxy, whose disk has `links`: name -> link."""

    def __init__(self, host: bool = True) -> None:
        self.bench = Bench(settings=ServerSettings(max_transact=4 << 20, dfs=host))
        self.bench.daemon.shares = {"ROOT": ROOT, "PROXY": PROXY, "PLAIN": ShareConfig("plain", "/srv")}
        self.links: dict[str, Link] = {}
        self.opened: list[tuple[ShareConfig, bool]] = []
        volume: Any = self.bench.volume
        volume.dfs_link = self.links.get
        files: Any = self.bench.server.files
        files.volume = self._volume

    def _volume(self, share: ShareConfig, identity: object, read_only: bool) -> Any:
        self.opened.append((share, read_only))
        return self.bench.volume

    def ask(self, path: str, code: int = c.FSCTL_DFS_GET_REFERRALS, room: int = 4096, level: int = 4) -> bytes:
        data = asked(path, level, code == c.FSCTL_DFS_GET_REFERRALS_EX)
        ones = 0xFFFFFFFFFFFFFFFF
        body = struct.pack("<HHIQQIIIIIIII", 57, 0, code, ones, ones, 120, len(data), 0, 0, 0, room, 1, 0) + data
        reply = self.bench.run(ioctl.handle, self.bench.request(c.IOCTL, body, self.bench.ipc))
        answer = body_of(reply)
        return answer[48 : 48 + int.from_bytes(answer[36:40], "little")]


def status_of(server: Server, path: str, **more: Any) -> int:
    with pytest.raises(NtStatusError) as caught:
        server.ask(path, **more)
    return caught.value.status


@pytest.mark.parametrize("code", [c.FSCTL_DFS_GET_REFERRALS, c.FSCTL_DFS_GET_REFERRALS_EX])
def test_referrals_of_a_root_a_proxy_and_a_link(code: int) -> None:
    server = Server()
    consumed, flags, entries = decoded(server.ask(r"\server\Root", code))
    assert (consumed, flags, entries) == (24, 3, [(4, 1, 4, r"\server\Root", r"\server\Root", r"\server\Root")])
    _, flags, entries = decoded(server.ask(r"\server\proxy\below", code))
    assert (flags, [entry[-1] for entry in entries]) == (2, [r"\far\data", r"\near\data\x"])
    assert entries[0][3] == r"\server\proxy"
    server.links[r"sub\link\rest"] = Link(2, (r"\one\a", r"\two\b"))
    consumed, flags, entries = decoded(server.ask(r"\server\root\sub\link\rest", code))
    assert (consumed, flags) == (2 * len(r"\server\root\sub\link"), 2)
    assert [entry[1:] for entry in entries] == [
        (0, 4, r"\server\root\sub\link", r"\server\root\sub\link", r"\one\a"),
        (0, 0, r"\server\root\sub\link", r"\server\root\sub\link", r"\two\b"),
    ]
    assert server.opened == [(ROOT, True)]
    assert server.bench.volume.closed


@pytest.mark.parametrize("path", [
    "", "\\", r"\domain", r"\server\plain", r"\server\plain\x", r"\server\none", r"\server\root\file",
])  # fmt: skip
def test_what_has_no_referrals(path: str) -> None:
    assert status_of(Server(), path) == s.STATUS_NOT_FOUND


def test_refusals() -> None:
    assert status_of(Server(host=False), r"\server\root") == s.STATUS_FS_DRIVER_REQUIRED
    assert status_of(Server(), r"\server\root", room=20) == s.STATUS_BUFFER_OVERFLOW
    assert status_of(Server(), r"\server\root", level=0) == s.STATUS_INVALID_PARAMETER
    assert status_of(Server(), r"\server\root\a:b:c:d") == s.STATUS_OBJECT_NAME_INVALID
    server = Server()
    server.links["link"] = Link(1, (r"\one\a",))
    server.bench.daemon.tree_result = TreeConnectResult(s.STATUS_ACCESS_DENIED)
    assert status_of(server, r"\server\root\link") == s.STATUS_ACCESS_DENIED
    assert server.opened == []
    server.bench.daemon.tree_result = TreeConnectResult(writable=True)
    server.links["link"] = Link(1, ("\\one\\" + "a" * 33000,))
    assert status_of(server, r"\server\root\link", room=1 << 20) == s.STATUS_NOT_FOUND


# ------------------------------------------------------------------------------------------------- what clients see


@pytest.mark.parametrize("dialect", [c.DIALECT_202, c.DIALECT_311])
def test_the_capability(dialect: int) -> None:
    for host in (True, False):
        found = server_capabilities(dialect, 0x7F, ServerSettings(dfs=host), 0)
        assert bool(found & c.GLOBAL_CAP_DFS) == host


@pytest.mark.parametrize(("share", "flags", "capabilities"), [(ROOT, 3, 8), (ShareConfig("root", "/srv"), 0, 0)])
def test_a_tree_connect_to_a_root(share: ShareConfig, flags: int, capabilities: int) -> None:
    made = Bench(c.DIALECT_300)
    made.server.sessions[made.session.session_id] = made.session
    made.daemon.shares["ROOT"] = share
    path = r"\\server\root".encode("utf-16-le")
    body = b"\x09\0\0\0\x48\0" + len(path).to_bytes(2, "little") + path
    answer = body_of(made.run(tree_connect.handle, made.request(c.TREE_CONNECT, body)))
    assert struct.unpack_from("<II", answer, 4) == (flags, capabilities)


@script.each(("flagged", c.FLAGS_DFS_OPERATIONS, r"server\share\sub\old", r"sub\old"),
             ("local", c.FLAGS_DFS_OPERATIONS, r"sub\old", r"sub\old"),
             ("not_flagged", 0, r"server\share\old", r"server\share\old"))
def a_name_with_server_and_share(case: tuple[str, int, str, str]) -> Playbook:
    stage = Stage(share=ShareConfig("share", "/srv", msdfs_root=True))
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create(case[2], flags=case[1])
        << call(stage.volume.create, some(CreateIntent, name=case[3])).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << alice.created(file_id)
    )


@script
def what_is_no_root_takes_names_as_they_are() -> Playbook:
    stage = Stage()
    alice = stage.line().begin()
    return (
        stage.play
        >> alice.create(r"server\share\old", flags=c.FLAGS_DFS_OPERATIONS)
        << call(stage.volume.create, some(CreateIntent, name=r"server\share\old")).refuses(s.STATUS_PATH_NOT_COVERED)
        << alice.answer(s.STATUS_PATH_NOT_COVERED)
    )


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()
