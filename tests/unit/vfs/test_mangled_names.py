# SPDX-License-Identifier: GPL-2.0-or-later
"""`mangled names`: files are found and listed by their short names."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from vfs_share import Share

from ksmbd.limits import NAMES_REMEMBERED
from ksmbd.smb.constants import FILE_CREATE, FILE_OPEN
from ksmbd.smb.patterns import compile_pattern
from ksmbd.smb.ports import DirectoryEntry
from ksmbd.smb.status import STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_NOT_FOUND, NtStatusError
from ksmbd.vfs.files import LocalFiles
from ksmbd.vfs.short_names import ShortNames, make
from ksmbd.vfs.tunnel import SECONDS, Tunnel

MakeShare = Callable[..., Share]
LONG = "A long name.txt"
SHORT = make(LONG.encode())


def status(share: Share, name: str, disposition: int = FILE_OPEN) -> int:
    with pytest.raises(NtStatusError) as refused:
        share.open(name, disposition=disposition)
    return refused.value.status


def listed(share: Share, pattern: str = "*") -> dict[str, str]:
    folder = share.open("")
    matches = compile_pattern(pattern)
    found: list[DirectoryEntry] = [entry for entry in folder.list_directory(matches) if entry is not None]
    return {entry.name: entry.short_name for entry in found if entry.name not in (".", "..")}


def test_a_file_is_opened_by_its_short_name(make_share: MakeShare) -> None:
    share = make_share(mangled_names="yes")
    share.mkdir("Long folder name")
    share.open(f"Long folder name\\{LONG}")
    folder = make(b"Long folder name")
    for name in (f"{folder}\\{SHORT}", f"{folder.lower()}\\{SHORT.lower()}", f"long FOLDER name\\{SHORT}"):
        file = share.open(name, disposition=FILE_OPEN)
        assert file.path == file.normalized_name() == f"Long folder name\\{LONG}"
        assert file.short_name() == SHORT
    assert status(share, f"{folder}\\{SHORT}", FILE_CREATE) == STATUS_OBJECT_NAME_COLLISION
    assert status(share, f"{folder}\\{make(b'Another')}") == STATUS_OBJECT_NAME_NOT_FOUND
    share.open(f"{folder}\\{SHORT}", disposition=FILE_OPEN).unlink()
    assert status(share, f"{folder}\\{SHORT}") == STATUS_OBJECT_NAME_NOT_FOUND


def test_a_name_goes_before_a_short_one(make_share: MakeShare) -> None:
    share = make_share(mangled_names="yes")
    share.open(LONG)
    (share.path / SHORT.lower()).write_bytes(b"")
    assert share.open(SHORT, disposition=FILE_OPEN).path == SHORT.lower()


def test_a_rename_over_a_short_name_keeps_the_long_one(make_share: MakeShare) -> None:
    share = make_share(mangled_names="yes")
    share.open(LONG)
    file = share.open("new")
    with pytest.raises(NtStatusError) as refused:
        file.rename(SHORT, False)
    assert refused.value.status == STATUS_OBJECT_NAME_COLLISION
    file.rename(SHORT.lower(), True)
    assert share.on_disk() == [LONG]


@pytest.mark.parametrize(("value", "shown"), [("yes", SHORT), ("illegal", ""), ("no", "")])
def test_listings(make_share: MakeShare, value: str, shown: str) -> None:
    share = make_share(mangled_names=value, hide_unreadable=False)
    for name in (LONG, "short.txt", "a:b"):
        (share.path / name).write_bytes(b"")
    assert listed(share) == {LONG: shown, "short.txt": "", "a\uf022b": "" if value == "no" else make(b"a:b")}
    by_pattern = {} if value == "no" else {LONG: shown}
    assert listed(share, f"{SHORT[:7]}*.t?t") == by_pattern
    entry = share.open("").lookup_entry(SHORT)
    assert (None if entry is None else entry.name) == (None if value == "no" else LONG)
    assert share.open(LONG).short_name() == ("" if value == "no" else SHORT)
    assert share.open("short.txt").short_name() == "short.txt"
    assert share.open("").short_name() == ""


def test_a_file_saved_by_its_short_name_gets_the_long_one_back(files: LocalFiles, make_share: MakeShare) -> None:
    """MS-FSA 2.1.5.1.1, TunnelCacheEntry: for 15 seconds."""
    share = make_share(mangled_names="yes")
    share.open(LONG).unlink()
    assert status(share, SHORT) == STATUS_OBJECT_NAME_NOT_FOUND
    assert share.open(SHORT.lower(), disposition=FILE_CREATE).path == LONG
    share.open(LONG).rename("backup", False)
    share.open("new").rename(SHORT, False)
    assert share.on_disk() == [LONG, "backup"]
    share.open(LONG).unlink()
    now = files.clock.monotonic()
    files.cache.tunnel._monotonic = lambda: now + SECONDS + 1
    assert share.open(SHORT, disposition=FILE_CREATE).path == SHORT
    share.open(SHORT).unlink()
    assert len(files.cache.tunnel) == 1  # a name that is short is none of them


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    tunnel = Tunnel(lambda: now[0])
    short_names = ShortNames(True)
    for number in range(NAMES_REMEMBERED.value + 9):
        tunnel.remember((1, 2), b"long name %d" % number, short_names)
    assert len(tunnel) == NAMES_REMEMBERED.value
    assert tunnel.recall((1, 2), make(b"long name 8")) is None
    assert tunnel.recall((1, 2), make(b"long name 9").lower()) == b"long name 9"
    assert tunnel.recall((1, 3), make(b"long name 9")) is None
    now[0] = SECONDS + 0.1
    tunnel.remember((1, 2), b"another long name", short_names)
    assert len(tunnel) == 1


def test_no_way_around_veto_files(make_share: MakeShare) -> None:
    share = make_share(mangled_names="yes", veto_files=("secret*",))
    (share.path / "secret folder").mkdir()
    (share.path / "secret folder" / "file").write_bytes(b"")
    (share.path / "secret file").write_bytes(b"")
    for name in (make(b"secret file"), make(b"secret folder"), make(b"secret folder") + "\\file"):
        with pytest.raises(NtStatusError):
            share.open(name, disposition=FILE_OPEN)
    assert listed(share) == {}
    assert share.open("").lookup_entry(make(b"secret file")) is None


def test_nothing_is_found_where_it_is_off(make_share: MakeShare) -> None:
    share = make_share()
    share.open(LONG)
    assert status(share, SHORT) == STATUS_OBJECT_NAME_NOT_FOUND
