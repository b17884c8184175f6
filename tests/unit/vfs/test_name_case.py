# SPDX-License-Identifier: GPL-2.0-or-later
"""`case sensitive`, `preserve case`, `short preserve case`, `default case`."""
from __future__ import annotations

from collections.abc import Callable

import pytest
from vfs_share import Share

from ksmbd.smb.constants import FILE_CREATE, FILE_OPEN
from ksmbd.smb.status import STATUS_OBJECT_NAME_COLLISION, STATUS_OBJECT_NAME_NOT_FOUND, NtStatusError
from ksmbd.vfs.names import Patterns
from ksmbd.vfs.new_names import NewNames
from ksmbd.vfs.short_names import make

MakeShare = Callable[..., Share]


def refused(share: Share, name: str, disposition: int = FILE_OPEN) -> int:
    with pytest.raises(NtStatusError) as error:
        share.open(name, disposition=disposition)
    return error.value.status


def test_case_sensitive(make_share: MakeShare) -> None:
    share = make_share(case_sensitive="yes", mangled_names="yes", veto_files=("Secret",))
    for name in ("name", "NAME", "secret", "A long name"):
        share.open(name, disposition=FILE_CREATE)
    share.mkdir("Folder")
    assert refused(share, "Name") == STATUS_OBJECT_NAME_NOT_FOUND
    with pytest.raises(NtStatusError):
        share.open("FOLDER\\x")
    with pytest.raises(NtStatusError):
        share.open("Secret")
    assert share.open("").lookup_entry("Name") is None
    assert share.open(make(b"A long name").lower(), disposition=FILE_OPEN).path == "A long name"
    share.open("name").rename("Name", False)
    assert share.on_disk() == ["A long name", "Folder", "NAME", "Name", "secret"]
    (share.path / "lit\uf022eral").write_bytes(b"")
    assert share.open("lit\uf022eral", disposition=FILE_OPEN).disk_name == "lit\uf022eral".encode()


@pytest.mark.parametrize("value", ["no", "auto"])
def test_case_insensitive(make_share: MakeShare, value: str) -> None:
    share = make_share(case_sensitive=value)
    share.open("name")
    assert share.open("NAME", disposition=FILE_OPEN).path == "name"


@pytest.mark.parametrize(
    ("long", "short", "upper", "name", "on_disk"),
    [
        (True, True, False, "Long Name.Txt", "Long Name.Txt"),
        (False, True, False, "Long Name ÄÖ.Txt", "long name äö.txt"),
        (False, True, True, "Long Name äöß.Txt", "LONG NAME ÄÖß.TXT"),
        (False, True, False, "Short.Txt", "short.txt"),
        (True, False, True, "Short.Txt", "SHORT.TXT"),
        (True, False, True, "Not so short.Txt", "Not so short.Txt"),
        (False, False, False, "İ\ud800X", "İ\ud800x"),
    ],
)
def test_new_names(long: bool, short: bool, upper: bool, name: str, on_disk: str) -> None:
    found = NewNames(long, short, upper).of(name.encode("utf-8", "surrogatepass"))
    assert found == on_disk.encode("utf-8", "surrogatepass")


def test_a_name_that_is_no_utf8_stays() -> None:
    assert NewNames(False, False, False).of(b"A\xff") == b"A\xff"


def test_what_is_made_and_renamed_gets_the_default_case(make_share: MakeShare) -> None:
    share = make_share(preserve_case=False, default_case="upper")
    file = share.open("New name")
    assert file.path == "NEW NAME"
    share.mkdir("Folder")
    share.open("folder\\In It")
    file.rename("Folder\\Other name", False)
    assert file.path == "FOLDER\\OTHER NAME"
    assert sorted(path.name for path in (share.path / "FOLDER").iterdir()) == ["IN IT", "OTHER NAME"]


def test_a_file_that_is_there_keeps_its_case(make_share: MakeShare) -> None:
    share = make_share(preserve_case=False)
    (share.path / "There").write_bytes(b"")
    assert share.open("THERE").path == "There"
    share.open("there").rename("tHERE", False)
    assert share.on_disk() == ["There"]


def test_a_rename_to_another_case_is_no_new_name(make_share: MakeShare) -> None:
    share = make_share(short_preserve_case=False)
    share.open("Short").rename("SHORT", False)
    assert share.on_disk() == ["SHORT"]


def test_a_new_name_meets_one_in_the_default_case(make_share: MakeShare) -> None:
    share = make_share(preserve_case=False, case_sensitive="yes")
    (share.path / "name").write_bytes(b"")
    assert refused(share, "NAME", FILE_CREATE) == STATUS_OBJECT_NAME_COLLISION


def test_patterns() -> None:
    exact, folded = Patterns(("A*b",), True), Patterns(("A*b",))
    assert exact.match("Axb") and not exact.match("axb") and folded.match("aXB")
