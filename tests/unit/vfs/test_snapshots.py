# SPDX-License-Identifier: GPL-2.0-or-later
"""Previous versions: MS-SMB2 3.3.5.9.4, 3.3.5.15.1. The folders of these tests are as good as a file system's
snapshots: what makes them is never asked."""
from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vfs_share import FLAGS, GROUP, USER, Share

from ksmbd import limits
from ksmbd.kernel import credentials
from ksmbd.limit import Limit, Per
from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import ShareConfig
from ksmbd.smb.snapshot_tokens import take_token
from ksmbd.smb.status import NtStatusError
from ksmbd.vfs import gate, snapshots
from ksmbd.vfs.snapshots import rules_of

as_root = pytest.mark.skipif(not credentials.POSSIBLE, reason="needs root: acts as another Unix user")
OLD, NEW = "@GMT-2015.10.31-19.40.30", "@GMT-2016.01.02-03.04.05"
FORMAT = ".snapshots/@GMT-%Y.%m.%d-%H.%M.%S"
MakeShare = Callable[..., Share]


def filetime(token: str) -> int:
    found = take_token(token)
    assert found is not None
    return found[1]


WHEN = filetime(OLD)


def fill(root: Path, tree: dict[str, str | None]) -> None:
    """Files with their data, and folders (None), of the share's user."""
    with credentials.privileged():
        for name, data in tree.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_text(data)
        for folder, _, files in os.walk(root):
            os.chown(folder, USER, GROUP)
            for file in files:
                os.chown(os.path.join(folder, file), USER, GROUP, follow_symlinks=False)


@pytest.fixture
def previous(make_share: MakeShare, tmp_path: Path) -> Share:
    """A share with two snapshots below `.snapshots`, and what is none."""
    fill(tmp_path / "share", {
        "f": "live", "d/x": "live", f".snapshots/{OLD}/f": "old", f".snapshots/{OLD}/d/x": "old x",
        f".snapshots/{OLD}/gone": "gone", f".snapshots/{NEW}/f": "new", ".snapshots/other/f": "",
        f".snapshots/{OLD}x/f": "",
    })  # fmt: skip
    return make_share(snapshot_path=FORMAT, shadow_snapdirseverywhere=True, flags=FLAGS | {"follow_symlinks"})


def status(call: Callable[[], Any]) -> int:
    try:
        call()
    except NtStatusError as error:
        return error.status
    return 0


def old(share: Share, name: str, access: int = c.FILE_GENERIC_READ, disposition: int = c.FILE_OPEN, **more: Any) -> Any:
    return share.open(name, access, disposition, snapshot=WHEN, **more)


# ------------------------------------------------------------------------------------------------------ what is there


def test_they_are_listed_newest_first(previous: Share) -> None:
    assert previous.open("f").previous_versions() == [filetime(NEW), WHEN]
    assert previous.open("d\\x", stream="").previous_versions() == [filetime(NEW), WHEN]
    assert old(previous, "f").previous_versions() == [filetime(NEW), WHEN]


@pytest.mark.parametrize(("sort", "expected"), [("asc", [OLD, NEW]), ("desc", [NEW, OLD])])
def test_sorted_as_told(make_share: MakeShare, previous: Share, sort: str, expected: list[str]) -> None:
    share = make_share(snapshot_path=FORMAT, shadow_snapdirseverywhere=True, shadow_sort=sort)
    assert share.open("f").previous_versions() == [filetime(token) for token in expected]


def test_what_comes_and_goes_is_seen(previous: Share) -> None:
    file = previous.open("f")
    fill(previous.path, {".snapshots/@GMT-2020.01.01-00.00.00/f": "2020"})
    assert file.previous_versions()[0] == filetime("@GMT-2020.01.01-00.00.00")
    assert previous.open("@GMT-2020.01.01-00.00.00\\f", c.FILE_GENERIC_READ).read(0, 9) == b"2020"
    with credentials.privileged():
        for name in (OLD, NEW):
            os.rename(previous.path / ".snapshots" / name, previous.path / ".snapshots" / f"was{name}")
    assert file.previous_versions() == [filetime("@GMT-2020.01.01-00.00.00")]
    assert status(lambda: old(previous, "f")) == s.STATUS_OBJECT_NAME_NOT_FOUND


def test_no_more_are_told_than_the_limit(
    make_share: MakeShare, previous: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, str | None] = {f".snapshots/{year}/f": "" for year in range(2000, 2040)}
    fill(previous.path, names)
    share = make_share(snapshot_path=".snapshots/%Y", shadow_snapdirseverywhere=True)
    assert len(share.open("f").previous_versions()) == 40
    monkeypatch.setitem(vars(limits), "SNAPSHOTS", Limit("", Per.SHARE, 10, "", ""))
    assert len(share.open("f").previous_versions()) == 10


def test_a_share_without_snapshots_takes_tokens_as_names(share: Share) -> None:
    share.mkdir(OLD)
    assert share.on_disk() == [OLD]
    assert share.open("").previous_versions() == []
    assert status(lambda: old(share, OLD)) == s.STATUS_OBJECT_NAME_NOT_FOUND


# ------------------------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize("name", [f"{OLD}\\d\\x", f"d\\{OLD}\\x", f"d\\x\\{OLD}", f"D\\X\\{OLD}"])
def test_a_token_may_be_anywhere(previous: Share, name: str) -> None:
    file = previous.open(name, c.FILE_GENERIC_READ, c.FILE_OPEN)
    assert file.read(0, 99) == b"old x"
    assert file.is_snapshot and file.path == "d\\x"
    assert not previous.open("d\\x").is_snapshot


def test_the_create_context(previous: Share) -> None:
    assert old(previous, "f").read(0, 9) == b"old"
    assert old(previous, "gone").read(0, 9) == b"gone"
    assert sorted(e.name for e in old(previous, "").list_directory() if e is not None)[2:] == ["d", "f", "gone"]
    assert previous.open("f", c.FILE_GENERIC_READ).read(0, 9) == b"live"
    assert status(lambda: old(previous, "missing")) == s.STATUS_OBJECT_NAME_NOT_FOUND
    assert status(lambda: old(previous, "missing\\x")) == s.STATUS_OBJECT_PATH_NOT_FOUND
    never = lambda: previous.open("f", c.FILE_GENERIC_READ, c.FILE_OPEN, snapshot=WHEN - 10_000_000)  # noqa: E731
    assert status(never) == s.STATUS_OBJECT_NAME_NOT_FOUND


def test_beside_the_context_a_token_is_a_name(previous: Share) -> None:
    both = lambda: old(previous, f"{NEW}\\f")  # noqa: E731
    assert status(both) == s.STATUS_OBJECT_PATH_NOT_FOUND


def test_the_folder_of_snapshots_is_a_folder(previous: Share) -> None:
    """What is really called so is found where a snapshot has no such name, and written to."""
    live = previous.open(f".snapshots\\{OLD}\\f", c.FILE_ALL_ACCESS, c.FILE_OPEN)
    assert not live.is_snapshot
    assert live.write(0, b"changed") == 7
    assert previous.open(f".snapshots\\{OLD}\\none", c.FILE_ALL_ACCESS, c.FILE_OPEN_IF) is not None
    assert status(lambda: previous.open(f"{OLD}\\none\\x", disposition=c.FILE_OPEN)) == s.STATUS_OBJECT_PATH_NOT_FOUND


def test_ids_are_its_own(previous: Share) -> None:
    """A snapshot of hard links has the live files' inodes."""
    with credentials.privileged():
        os.unlink(previous.path / ".snapshots" / OLD / "f")
        os.link(previous.path / "f", previous.path / ".snapshots" / OLD / "f")
    live, snapshot = previous.open("f"), old(previous, "f")
    assert live.key != snapshot.key
    listed = {e.name: e.info.file_id for e in old(previous, "").list_directory() if e is not None}
    assert listed["f"] == snapshot.info().file_id


# ------------------------------------------------------------------------------------------------------ nothing changes


@pytest.mark.parametrize(
    ("name", "disposition", "expected"),
    [
        ("f", c.FILE_OPEN_IF, 0), ("f", c.FILE_CREATE, s.STATUS_OBJECT_NAME_COLLISION),
        ("f", c.FILE_SUPERSEDE, s.STATUS_MEDIA_WRITE_PROTECTED),
        ("f", c.FILE_OVERWRITE, s.STATUS_MEDIA_WRITE_PROTECTED),
        ("f", c.FILE_OVERWRITE_IF, s.STATUS_MEDIA_WRITE_PROTECTED),
        ("n", c.FILE_OPEN_IF, s.STATUS_MEDIA_WRITE_PROTECTED), ("n", c.FILE_CREATE, s.STATUS_MEDIA_WRITE_PROTECTED),
        ("n", c.FILE_SUPERSEDE, s.STATUS_MEDIA_WRITE_PROTECTED),
        ("n", c.FILE_OVERWRITE, s.STATUS_OBJECT_NAME_NOT_FOUND),
    ],
)  # fmt: skip
def test_dispositions(previous: Share, name: str, disposition: int, expected: int) -> None:
    assert status(lambda: old(previous, name, c.FILE_ALL_ACCESS, disposition)) == expected
    assert status(lambda: previous.open(f"{OLD}\\{name}", c.FILE_ALL_ACCESS, disposition)) == expected
    stream = {0: s.STATUS_MEDIA_WRITE_PROTECTED}.get(expected, expected)
    if name == "f" and disposition != c.FILE_CREATE:
        stream = s.STATUS_OBJECT_NAME_NOT_FOUND if disposition == c.FILE_OVERWRITE else stream
        assert status(lambda: old(previous, name, c.FILE_ALL_ACCESS, disposition, stream="s")) == stream


@pytest.mark.parametrize("name", ["new", "d\\new"])
def test_no_folder_is_made(previous: Share, name: str) -> None:
    make = lambda: old(previous, name, c.FILE_ALL_ACCESS, c.FILE_CREATE, options=c.FILE_DIRECTORY_FILE)  # noqa: E731
    assert status(make) == s.STATUS_MEDIA_WRITE_PROTECTED


def test_delete_on_close_is_refused_at_once(previous: Share) -> None:
    for name, kind in (("f", 0), ("d", c.FILE_DIRECTORY_FILE)):
        asked = lambda: old(previous, name, c.FILE_ALL_ACCESS, options=c.FILE_DELETE_ON_CLOSE | kind)  # noqa: B023, E731
        assert status(asked) == s.STATUS_MEDIA_WRITE_PROTECTED


CHANGES: dict[str, Callable[[Any], Any]] = {
    "write": lambda file: file.write(0, b"x"),
    "write_from_pipe": lambda file: file.write_from_pipe(0, 0, 1),
    "overwrite": lambda file: file.overwrite(0, False, ()),
    "link": lambda file: file.link("other", False),
    "unlink": lambda file: file.unlink(),
    "unlink_file": lambda file: file.unlink_file(),
    "check_delete": lambda file: file.check_delete(),
    "set_basic": lambda file: file.set_basic(0, 0, WHEN, 0, 0x22),
    "set_end_of_file": lambda file: file.set_end_of_file(1),
    "set_allocation": lambda file: file.set_allocation(1),
    "set_security_descriptor": lambda file: file.set_security_descriptor(4, file.security_descriptor(4)),
    "set_extended_attributes": lambda file: file.set_extended_attributes([("a", 0, b"1")]),
    "set_reparse_point": lambda file: file.set_reparse_point(0x80000023, b""),
    "delete_reparse_point": lambda file: file.delete_reparse_point(0x80000023),
    "set_sparse": lambda file: file.set_sparse(True),
    "zero_data": lambda file: file.zero_data(0, 1),
    "copy_range": lambda file: file.copy_range(file, 0, 0, 1),
}
NO_CHANGE = {
    "fileno", "info", "read", "read_into", "end_of_file", "prefetch", "finish_writes", "flush", "duplicate", "rejoin",
    "undo_create", "close", "security_descriptor", "maximal_access", "extended_attributes", "streams",
    "list_directory", "lookup_entry", "normalized_name", "short_name", "reparse_point", "allocated_ranges",
    "compression", "volume", "watch", "previous_versions", "file_system", "path", "volume_info", "is_snapshot",
    "parent_key", "disk_name", "stream_name", "folded", "handle", "lock_side", "quota", "quotas", "quota_position",
}  # fmt: skip
ELSEWHERE = {"set_quotas", "rename", "become_unnamed", "object_id", "clone_range", "set_compression"}


def test_the_table_of_changes_is_complete() -> None:
    source = Path(__file__).resolve().parents[3] / "ksmbd" / "smb" / "ports" / "files.py"
    (port,) = (
        node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef) and node.name == "File"
    )
    methods = {node.name for node in port.body if isinstance(node, ast.FunctionDef)}
    assert methods == set(CHANGES) | NO_CHANGE | ELSEWHERE


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stream", ["", "s"])
def test_nothing_is_changed(previous: Share, change: str, stream: str) -> None:
    with credentials.privileged():
        os.setxattr(previous.path / ".snapshots" / OLD / "f", "user.DosStream.s:$DATA", b"stream\0")
    file = old(previous, "f", c.FILE_ALL_ACCESS, stream=stream)
    before = os.stat(previous.path / ".snapshots" / OLD / "f")
    for each in (file, file.duplicate()):
        if each is not None:
            assert status(lambda: CHANGES[change](each)) == s.STATUS_MEDIA_WRITE_PROTECTED  # noqa: B023
            assert each.key == file.key
            if each is not file:
                file.rejoin(each)
    assert file.read(0, 99) == (b"stream" if stream else b"old")
    file.close()
    after = os.stat(previous.path / ".snapshots" / OLD / "f")
    assert (before.st_mtime_ns, before.st_ctime_ns, before.st_mode) == (
        after.st_mtime_ns, after.st_ctime_ns, after.st_mode
    )  # fmt: skip


@pytest.mark.parametrize("stream", ["", "s"])
def test_what_else_is_refused(previous: Share, stream: str) -> None:
    with credentials.privileged():
        os.setxattr(previous.path / ".snapshots" / OLD / "f", "user.DosStream.s:$DATA", b"stream\0")
    file = old(previous, "f", c.FILE_ALL_ACCESS, stream=stream)
    assert status(lambda: file.rename("other", True)) == s.STATUS_NOT_SAME_DEVICE
    assert file.object_id(True) is None
    assert status(lambda: file.set_compression(2)) != 0
    assert status(lambda: file.clone_range(file, 0, 0, 1)) != 0


def test_its_descriptor_cannot_write(previous: Share) -> None:
    for access in (c.FILE_ALL_ACCESS, c.MAXIMUM_ALLOWED, c.FILE_GENERIC_READ | c.FILE_WRITE_DATA):
        file = old(previous, "f", access)
        assert file.granted_access & c.FILE_WRITE_DATA
        with pytest.raises(OSError):
            os.pwrite(file.fileno(), b"x", 0)
    assert old(previous, "f", c.FILE_APPEND_DATA).end_of_file() == 3


# -------------------------------------------------------------------------------------------------------- whose rights


@as_root
def test_the_folder_is_listed_with_the_users_rights(previous: Share) -> None:
    folder = previous.path / ".snapshots"
    with credentials.privileged():
        os.chown(folder, 0, 0)
        os.chmod(folder, 0o711)
    assert status(lambda: previous.open("f").previous_versions()) == s.STATUS_ACCESS_DENIED
    assert old(previous, "f").read(0, 9) == b"old"  # he may search it, and its names are known
    with credentials.privileged():
        os.chmod(folder, 0o700)
    assert status(lambda: old(previous, "f")) == s.STATUS_OBJECT_NAME_NOT_FOUND


@as_root
def test_what_another_one_listed_is_not_told(make_share: MakeShare, previous: Share) -> None:
    admin = make_share(snapshot_path=FORMAT, shadow_snapdirseverywhere=True, admin=True)
    with credentials.privileged():
        os.chown(previous.path / ".snapshots", 0, 0)
        os.chmod(previous.path / ".snapshots", 0o711)
    assert len(admin.open("f").previous_versions()) == 2
    assert status(lambda: previous.open("f").previous_versions()) == s.STATUS_ACCESS_DENIED


@as_root
def test_files_are_opened_with_the_users_rights(previous: Share) -> None:
    with credentials.privileged():
        os.chown(previous.path / ".snapshots" / OLD / "f", 0, 0)
        os.chmod(previous.path / ".snapshots" / OLD / "f", 0o600)
    assert status(lambda: old(previous, "f")) == s.STATUS_ACCESS_DENIED


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../f", "../gone", "d/../../../../f"])
def test_no_link_leads_out(previous: Share, target: str) -> None:
    with credentials.privileged():
        os.symlink(target, previous.path / ".snapshots" / OLD / "link")
        os.symlink("gone", previous.path / ".snapshots" / OLD / "inside")
    assert status(lambda: old(previous, "link")) == s.STATUS_ACCESS_DENIED
    assert status(lambda: old(previous, "link\\x")) in (s.STATUS_OBJECT_PATH_NOT_FOUND, s.STATUS_ACCESS_DENIED)
    assert old(previous, "inside").read(0, 9) == b"gone"


def test_a_link_is_no_snapshot(previous: Share) -> None:
    """Whoever may write to the folder could show all that the server sees."""
    with credentials.privileged():
        os.symlink("/etc", previous.path / ".snapshots" / "@GMT-2000.01.01-00.00.00")
    when = filetime("@GMT-2000.01.01-00.00.00")
    opened = lambda: previous.open("passwd", c.FILE_GENERIC_READ, c.FILE_OPEN, snapshot=when)  # noqa: E731
    assert status(opened) == s.STATUS_OBJECT_NAME_NOT_FOUND


# ----------------------------------------------------------------------------------------------- where the folders are


def test_a_folder_of_its_own(make_share: MakeShare, tmp_path: Path) -> None:
    """An absolute folder; in a snapshot the share's folder is where it is below `shadow:basedir`."""
    fill(tmp_path, {f"snaps/{OLD}/share/f": "old", "share/f": "live"})
    share = make_share(snapshot_path=f"{tmp_path}/snaps/{FORMAT.split('/')[1]}", shadow_basedir=str(tmp_path))
    assert old(share, "f").read(0, 9) == b"old"
    assert share.open("f").previous_versions() == [WHEN]
    other = make_share(snapshot_path=f"{tmp_path}/snaps/{FORMAT.split('/')[1]}", shadow_snapsharepath="share")
    assert old(other, "f").read(0, 9) == b"old"


def test_below_the_mount_point(make_share: MakeShare, tmp_path: Path) -> None:
    fill(tmp_path, {f".snapshots/{OLD}/share/f": "old", "share/f": "live"})
    share = make_share(snapshot_path=FORMAT, shadow_mountpoint=str(tmp_path))
    assert old(share, "f").read(0, 9) == b"old"


def test_the_nearest_folder_counts(make_share: MakeShare, tmp_path: Path) -> None:
    root = tmp_path / "share"
    fill(tmp_path, {
        "share/a/b/f": "live", "share/a/g": "live", f"share/a/b/.snapshots/{OLD}/f": "b", "share/h": "live",
        f"share/a/.snapshots/{OLD}/b/f": "a", f"share/a/.snapshots/{NEW}/b/f": "a new",
        f"share/a/.snapshots/{OLD}/g": "a", f".snapshots/{OLD}/share/h": "above",
    })  # fmt: skip
    share = make_share(
        snapshot_path=FORMAT, shadow_snapdirseverywhere=True, shadow_mountpoint=str(tmp_path),
    )  # fmt: skip
    assert old(share, "a\\b\\f").read(0, 9) == b"b"
    assert old(share, "a\\b\\f").path == "a\\b\\f"
    assert old(share, "a\\b").path == "a\\b"
    newer = share.open("a\\b\\f", c.FILE_GENERIC_READ, c.FILE_OPEN, snapshot=filetime(NEW))
    assert newer.read(0, 9) == b"a new"
    assert old(share, "a\\g").read(0, 9) == b"a"
    assert old(share, "h").read(0, 9) == b"above"
    assert share.open("a\\b\\f").previous_versions() == [WHEN]
    assert share.open("a\\g").previous_versions() == [filetime(NEW), WHEN]
    assert share.open("h").previous_versions() == [WHEN]
    here = make_share(snapshot_path=FORMAT, shadow_snapdirseverywhere=True, shadow_mountpoint=str(root))
    assert status(lambda: old(here, "h")) == s.STATUS_OBJECT_NAME_NOT_FOUND


def test_subvolumes_tell_their_times(
    make_share: MakeShare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders for subvolumes, whose times are their inodes'."""
    fill(tmp_path / "share", {
        "f": "live", ".snapshots/1/snapshot/f": "1", ".snapshots/2/snapshot/f": "2", ".snapshots/2/info": "",
        ".snapshots/x/f": "", ".snapshots/y": "",
    })  # fmt: skip
    times = {os.stat(tmp_path / f"share/.snapshots/{n}/snapshot").st_ino: 1446320430 + n for n in (1, 2)}
    monkeypatch.setattr(snapshots, "subvolume_time", lambda fd: times.get(os.fstat(fd).st_ino))
    share = make_share(snapshot_path=".snapshots/*/snapshot", shadow_snapdirseverywhere=True)
    assert share.open("f").previous_versions() == [WHEN + 20_000_000, WHEN + 10_000_000]
    first = share.open("f", c.FILE_GENERIC_READ, c.FILE_OPEN, snapshot=WHEN + 10_000_000)
    assert first.read(0, 9) == b"1" and first.path == "f"
    monkeypatch.setitem(vars(limits), "SNAPSHOT_SUBVOLUMES", Limit("", Per.SHARE, 0, "", ""))
    fill(tmp_path / "share", {".snapshots/3/snapshot/f": ""})
    assert share.open("f").previous_versions() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"snapshot_path": "../x/%Y"}, {"snapshot_path": "x/%Q"}, {"snapshot_path": "x/*/.."},
        {"snapshot_path": "x/%Y", "shadow_snapsharepath": ".."},
    ],
)
def test_parameters_that_cannot_be(make_share: MakeShare, wrong: dict[str, str]) -> None:
    """The share is served without snapshots."""
    with pytest.raises(ValueError):
        rules_of(ShareConfig("share", "/", **wrong))  # type: ignore[arg-type]
    assert make_share(**wrong).open("").previous_versions() == []


def test_the_mount_point_is_found() -> None:
    assert gate.mount_point("/proc/self/fdinfo") == "/proc"
    assert gate.mount_point("/") == "/"


# -------------------------------------------------------------------------------------------------------- descriptors


def test_descriptors_are_given_back(make_share: MakeShare, tmp_path: Path) -> None:
    many = {f".snapshots/{year}/f": str(year) for year in range(2000, 2040)}
    fill(tmp_path / "share", {"f": "live", **many})
    share = make_share(snapshot_path=".snapshots/%Y", shadow_snapdirseverywhere=True)
    first = filetime("@GMT-2000.01.01-00.00.00")
    before = len(os.listdir("/proc/self/fd"))
    kept = share.open("f", c.FILE_GENERIC_READ, c.FILE_OPEN, snapshot=first)
    for year in range(2001, 2040):
        when = filetime(f"@GMT-{year}.01.01-00.00.00")
        for _ in range(2):
            file = share.open("f", c.FILE_GENERIC_READ, c.FILE_OPEN, snapshot=when)
            assert file.read(0, 9) == str(year).encode()
            file.close()
    assert len(os.listdir("/proc/self/fd")) == before + limits.SNAPSHOT_ROOTS.value + 2
    share.volume.close()
    assert kept.read(0, 9) == b"2000" and kept.maximal_access()
    kept.close()
    credentials.as_server()
    assert len(os.listdir("/proc/self/fd")) == before - 1
