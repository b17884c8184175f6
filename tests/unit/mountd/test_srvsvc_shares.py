# SPDX-License-Identifier: GPL-2.0-or-later
"""srvsvc's shares as administrators change them: in ksmbd.conf and in the stored descriptors, through impacket's codecs
and the daemon's answers to what the process of the RPC services asks."""
from __future__ import annotations

import contextlib
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from impacket.dcerpc.v5 import rpcrt, srvs
from impacket.dcerpc.v5.dtypes import NULL
from mountd_doubles import FakeServer
from rpc_doubles import administrators_client

from ksmbd.smb.acl import ACCESS_ALLOWED, Ace, Acl
from ksmbd.smb.constants import FILE_GENERIC_READ
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE
from ksmbd.smb.status import WireError
from mountd import config, shareacts
from mountd.activity import Activity
from mountd.administration import Administration
from mountd.loop import Loop
from mountd.questions import Questions
from mountd.rpc import srvsvc
from mountd.rpc.facts import Level, decode
from mountd.rpc.names import Unanswered
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.service import Caller
from mountd.shareacts import ShareActs
from mountd.sharesecurity import EVERYBODY

READERS = SecurityDescriptor(
    SE_DACL_PRESENT | SE_SELF_RELATIVE, dacl=Acl((Ace(ACCESS_ALLOWED, 0, FILE_GENERIC_READ, EVERYONE),))
).encode()
TEXT = """# ours
[docs]
    path = {folder}   ; the folder
    comment = words
[IPC$]
    admin users = ann
"""


class NoWorkers:
    """No engine."""

    workers = 0

    def reply(self, slot: int, message: Any) -> None: ...


class Site(FakeServer):
    """The daemon with a configuration file; a reload reads it."""

    def __init__(self, folder: Path, name: str = "ksmbd.conf") -> None:
        self.folder = folder
        self.path = folder / name
        self.path.write_text(TEXT.format(folder=folder))
        super().__init__()
        self.loads = True
        self.reloads = 0
        self.configuration = config.load(self.path)
        acts = ShareActs(self, self.reload, lambda then: then(Counter(), []))
        self.administration = Administration(Activity(Questions(Loop(), NoWorkers())), acts)

    def reload(self) -> bool:
        self.reloads += 1
        self.configuration = config.load(self.path)
        assert not self.configuration.errors
        return self.loads

    def client(self, account: str = "ann") -> Any:
        return administrators_client(self, self.administration, srvsvc.INTERFACE, srvs.MSRPC_UUID_SRVS, account)

    def info(self, name: str, level: int = 502) -> Any:
        return srvs.hNetrShareGetInfo(self.client(), f"{name}\0", level)["InfoStruct"][f"ShareInfo{level}"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def full(level: int = 2, **values: Any) -> Any:
    """A SHARE_INFO structure."""
    kind: Any = {2: srvs.SHARE_INFO_2, 502: srvs.SHARE_INFO_502, 503: srvs.SHARE_INFO_503}[level]
    found = kind()
    security = values.pop("security", NULL)
    for name, value in {
        "netname": NULL, "type": 0, "remark": NULL, "permissions": 0, "max_uses": 0xFFFFFFFF, "current_uses": 0,
        "path": NULL, "passwd": NULL, **values,
    }.items():  # fmt: skip
        found[f"shi{level}_{name}"] = value
    if level == 503:
        found["shi503_servername"] = NULL
    if level != 2:
        found[f"shi{level}_reserved"] = len(security) if security != NULL else 0
        found[f"shi{level}_security_descriptor"] = list(security) if security != NULL else NULL
    return found


def windows(folder: Path) -> str:
    return "C:" + str(folder).replace("/", "\\") + "\0"


def code(attempt: Callable[[], object]) -> int:
    """The error code of a call; 0 where it succeeds."""
    try:
        attempt()
    except rpcrt.DCERPCException as error:
        return int(error.get_error_code())
    return 0


@pytest.mark.parametrize("level", [2, 502, 503])
def test_a_share_is_added(site: Site, level: int) -> None:
    values: dict[str, Any] = {"security": READERS} if level != 2 else {}
    added = full(level, netname="New One\0", remark="Ünïcode\0", path=windows(site.folder), max_uses=7, **values)
    srvs.hNetrShareAdd(site.client(), level, added)
    share = site.configuration.share("new one")
    assert share is not None
    assert (share.name, share.comment, share.path) == ("New One", "Ünïcode", str(site.folder))
    assert (share.max_connections, share.read_only) == (7, False)
    text = site.path.read_text()
    assert text.startswith(TEXT.format(folder=site.folder)), "the rest of the file is as it was"
    assert site.reloads == 1
    assert site.share_security.encoded("new one") == (EVERYBODY if level == 2 else READERS)
    info = site.info("new one")
    assert (info["shi502_netname"], info["shi502_path"]) == ("New One\0", windows(site.folder))
    assert b"".join(info["shi502_security_descriptor"]) == site.share_security.encoded("new one")


def test_a_name_used_before_keeps_no_descriptor(site: Site) -> None:
    site.share_security.set("new", READERS)
    srvs.hNetrShareAdd(site.client(), 2, full(netname="new\0", path=windows(site.folder)))
    assert site.share_security.descriptor("new") is None


@pytest.mark.parametrize(("values", "error"), [
    ({"netname": "docs\0"}, 2118),
    ({"netname": "ipc$\0"}, 2118),
    ({"netname": "global\0"}, 123),
    ({"netname": "a/b\0"}, 123),
    ({"netname": "x" * 64 + "\0"}, 123),
    ({"netname": NULL}, 123),
    ({"type": 1}, 87),
    ({"type": 3}, 87),
    ({"path": NULL}, 87),
    ({"path": "C:\\no such folder\0"}, 2116),
    ({"path": "D:\\\0"}, 2116),
    ({"path": "C:\\..\\tmp\0"}, 2116),
    ({"path": "C:\\tmp;x\0"}, 2116),
    ({"path": "tmp\0"}, 2116),
    ({"path": "C:\\etc\\passwd\0"}, 2116),
    ({"remark": "a;b\0"}, 87),
    ({"remark": "a\nb\0"}, 87),
    ({"security": b"no descriptor"}, 1338),
    ({"security": READERS + bytes(20 << 10)}, 31),
])  # fmt: skip
def test_a_share_that_cannot_be_added(site: Site, values: dict[str, Any], error: int) -> None:
    before = site.path.read_text()
    level = 502 if "security" in values else 2
    given = full(level, **{"netname": "new\0", "path": "C:\\tmp\0", **values})
    assert code(lambda: srvs.hNetrShareAdd(site.client(), level, given)) == error
    assert site.path.read_text() == before
    assert site.reloads == 0
    assert site.share_security.descriptor("new") is None


def test_a_comment_and_a_number_are_set(site: Site) -> None:
    dce = site.client()
    change = full(netname="docs\0", remark="other\0", max_uses=3, path="C:\\ignored\0")
    srvs.hNetrShareSetInfo(dce, "DOCS\0", 2, change)
    share = site.configuration.share("docs")
    assert share is not None
    assert (share.comment, share.max_connections, share.path) == ("other", 3, str(site.folder))
    assert "; the folder" in site.path.read_text()
    remark = srvs.SHARE_INFO_1004()
    remark["shi1004_remark"] = "third\0"
    srvs.hNetrShareSetInfo(dce, "docs\0", 1004, remark)
    uses = srvs.SHARE_INFO_1006()
    uses["shi1006_max_uses"] = 0xFFFFFFFF
    srvs.hNetrShareSetInfo(dce, "docs\0", 1006, uses)
    one = srvs.SHARE_INFO_1()
    one["shi1_netname"], one["shi1_type"], one["shi1_remark"] = "docs\0", 0, "\0"
    assert site.info("docs", 1004)["shi1004_remark"] == "third\0"
    assert site.info("docs", 1006)["shi1006_max_uses"] == 0xFFFFFFFF
    srvs.hNetrShareSetInfo(dce, "docs\0", 1, one)
    share = site.configuration.share("docs")
    assert share is not None
    assert share.comment == ""


def set_security(dce: Any, name: str, security: bytes) -> bytes:
    """NetrShareSetInfo at level 1501, which impacket writes in another way than MS-SRVS 2.2.4.31."""
    encoded = (name + "\0").encode("utf-16-le")
    count = len(encoded) // 2
    stub = bytes(4) + struct.pack("<III", count, 0, count) + encoded + bytes(-len(encoded) % 4)
    stub += struct.pack("<IIIIII", 1501, 1501, 1, len(security), 1, len(security)) + security
    stub += bytes(-len(security) % 4) + bytes(4)
    dce.call(17, stub)
    answer: bytes = dce.recv()
    return answer


def test_a_descriptor_is_set(site: Site) -> None:
    change = full(502, netname="docs\0", remark="words\0", max_uses=128, security=READERS)
    before = site.path.read_text()
    srvs.hNetrShareSetInfo(site.client(), "docs\0", 502, change)
    assert site.share_security.encoded("docs") == READERS
    assert site.path.read_text() == before, "nothing else has changed"
    assert set_security(site.client(), "docs", EVERYBODY)[-4:] == bytes(4)
    assert site.share_security.encoded("docs") == EVERYBODY
    assert site.reloads == 2
    assert set_security(site.client(), "docs", b"none")[-4:] == struct.pack("<I", 1338)
    assert set_security(site.client(), "ipc$", READERS)[-4:] == struct.pack("<I", 5)


def test_caching_is_the_client_s_matter(site: Site) -> None:
    flags = srvs.SHARE_INFO_1005()
    flags["shi1005_flags"] = 0x30
    srvs.hNetrShareSetInfo(site.client(), "docs\0", 1005, flags)
    assert site.reloads == 0


def test_a_share_is_deleted_with_its_descriptor(site: Site) -> None:
    site.share_security.set("docs", READERS)
    srvs.hNetrShareDel(site.client(), "DOCS\0")
    assert site.configuration.share("docs") is None
    assert "# ours" in site.path.read_text()
    assert site.share_security.descriptor("docs") is None
    assert site.reloads == 1
    assert code(lambda: srvs.hNetrShareDel(site.client(), "docs\0")) == 2310
    assert code(lambda: srvs.hNetrShareDel(site.client(), "IPC$\0")) == 5


def test_whether_a_folder_is_shared(site: Site) -> None:
    assert srvs.hNetrShareCheck(site.client(), windows(site.folder))["Type"] == 0
    assert code(lambda: srvs.hNetrShareCheck(site.client(), "C:\\etc\0")) == 2311
    assert code(lambda: srvs.hNetrShareCheck(site.client("bob"), windows(site.folder))) == 5


ATTEMPTS: tuple[Callable[[Any], object], ...] = (
    lambda dce: srvs.hNetrShareAdd(dce, 2, full(netname="new\0", path="C:\\tmp\0")),
    lambda dce: srvs.hNetrShareSetInfo(dce, "docs\0", 2, full(netname="docs\0", remark="x\0")),
    lambda dce: srvs.hNetrShareDel(dce, "docs\0"),
)


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_administrators_alone(site: Site, attempt: Callable[[Any], object]) -> None:
    before = site.path.read_text()
    assert code(lambda: attempt(site.client("bob"))) == 5
    assert site.path.read_text() == before


def test_others_do_not_see_descriptors(site: Site) -> None:
    site.share_security.set("docs", READERS)
    answer = srvs.hNetrShareGetInfo(site.client("bob"), "docs\0", 502)["InfoStruct"]["ShareInfo502"]
    assert answer["shi502_reserved"] == 0
    assert b"".join(answer["shi502_security_descriptor"]) == b""
    assert code(lambda: srvs.hNetrShareGetInfo(site.client("bob"), "docs\0", 1501)) == 5


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_file_that_cannot_be_written(
    site: Site, attempt: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, name: str, action: str, options: object, wait: bool = True) -> str:
        assert not wait
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(shareacts, "change", refuse)
    assert code(lambda: attempt(site.client())) == 19
    assert site.reloads == 0


def test_another_program_writes_the_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise BlockingIOError

    monkeypatch.setattr(shareacts, "change", refuse)
    assert code(lambda: srvs.hNetrShareDel(site.client(), "docs\0")) == 170


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_samba_s_file_is_not_written(tmp_path: Path, attempt: Callable[[Any], object]) -> None:
    site = Site(tmp_path, "smb.conf")
    before = site.path.read_text()
    assert code(lambda: attempt(site.client())) == 19
    assert site.path.read_text() == before


@pytest.mark.parametrize("attempt", ATTEMPTS[1:])
def test_a_share_of_another_file_is_not_changed(site: Site, attempt: Callable[[Any], object]) -> None:
    site.path.write_text("[IPC$]\nadmin users = ann\n")
    assert code(lambda: attempt(site.client())) == 50
    assert site.configuration.share("docs") is not None


def test_a_reload_that_fails_is_told(site: Site) -> None:
    site.loads = False
    assert code(lambda: srvs.hNetrShareDel(site.client(), "docs\0")) == 31


VIEW_FACTS = '{"netbios_name": "S", "shares": {}, "sub_authorities": [1, 2, 3]}'
INFO = struct.Struct("<IIIII")


@given(
    st.sampled_from(sorted(srvsvc.INTERFACE.operations)),
    st.one_of(
        st.binary(max_size=120),
        st.builds(
            lambda level, pointers, rest: bytes(4) + INFO.pack(level, level, *pointers) + rest,
            st.sampled_from((0, 1, 2, 3, 10, 501, 502, 503, 1004, 1005, 1006, 1501)),
            st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 0xFFFFFFFF)), st.binary(max_size=120),
        ),
    ),
)  # fmt: skip
def test_any_stub_is_read_or_refused(opnum: int, stub: bytes) -> None:
    """For an administrator, whose calls go furthest; what they need of the daemon is asked, nothing else is raised."""
    caller = Caller(lambda: decode(VIEW_FACTS.encode()), Level.SESSIONS, "ann")
    with contextlib.suppress(WireError, Unanswered):
        srvsvc.INTERFACE.operations[opnum](caller, NdrReader(stub), NdrWriter())
