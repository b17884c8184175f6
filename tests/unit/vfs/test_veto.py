# SPDX-License-Identifier: GPL-2.0-or-later
"""`delete veto files`: a folder goes with what is hidden in it, or stays whole."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from vfs_share import GROUP, USER, Share

from ksmbd import limits
from ksmbd.smb.constants import DELETE, FILE_DIRECTORY_FILE, FILE_OPEN
from ksmbd.smb.status import STATUS_ACCESS_DENIED, STATUS_DIRECTORY_NOT_EMPTY, NtStatusError

VETO = ("._*", ".DS_Store", "Thumbs.db")


@pytest.fixture
def vetoing(make_share: Callable[..., Share]) -> Share:
    share = make_share(veto_files=VETO, delete_veto_files=True)
    share.mkdir("sub").close()
    return share


def _fill(share: Share, *names: str) -> None:
    """Files, folders with a final slash, and links to `/` with a final @, below sub; all the user's."""
    for name in names:
        path = share.path / "sub" / name.rstrip("/@")
        if name.endswith("/"):
            path.mkdir()
        elif name.endswith("@"):
            path.symlink_to("/")
        else:
            path.touch()
        if not os.geteuid():
            os.chown(path, USER, GROUP, follow_symlinks=False)


def _delete(share: Share) -> int:
    """As a client does it; the status."""
    folder = share.open("sub", access=DELETE, disposition=FILE_OPEN, options=FILE_DIRECTORY_FILE)
    try:
        folder.check_delete()
        folder.unlink()
    except NtStatusError as error:
        return error.status
    return 0


def _tree(share: Share) -> list[str]:
    return sorted(os.path.join(path, name) for path, folders, files in os.walk(share.path) for name in folders + files)


@pytest.mark.parametrize(
    "names",
    [
        ("Thumbs.db",),
        ("thumbs.DB", ".DS_Store", "._x", "._y"),
        ("._folder/", "._folder/Thumbs.db", "._folder/icons", "._folder/deeper/", "._folder/deeper/f"),
        ("._link@", "._folder/", "._folder/link@"),
    ],
)
def test_a_folder_with_nothing_that_clients_see_goes(vetoing: Share, names: tuple[str, ...]) -> None:
    _fill(vetoing, *names)
    assert _delete(vetoing) == 0
    assert _tree(vetoing) == []
    assert os.path.isdir("/")


@pytest.mark.parametrize("names", [("kept",), ("kept/",), ("kept/", "kept/Thumbs.db"), ("kept@",)])
def test_a_folder_with_an_entry_that_clients_see_loses_nothing(vetoing: Share, names: tuple[str, ...]) -> None:
    _fill(vetoing, "Thumbs.db", "._folder/", "._folder/f", *names)
    before = _tree(vetoing)
    assert _delete(vetoing) == STATUS_DIRECTORY_NOT_EMPTY
    assert _tree(vetoing) == before


def test_without_the_parameter_nothing_goes(make_share: Callable[..., Share]) -> None:
    share = make_share(veto_files=VETO)
    share.mkdir("sub").close()
    _fill(share, "Thumbs.db")
    before = _tree(share)
    assert _delete(share) == STATUS_DIRECTORY_NOT_EMPTY
    assert _tree(share) == before


def test_what_the_user_may_not_remove_keeps_all(vetoing: Share) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    _fill(vetoing, "Thumbs.db", "._closed/", "._closed/f", "._open/", "._open/f")
    os.chmod(vetoing.path / "sub" / "._closed", 0o555)
    before = _tree(vetoing)
    assert _delete(vetoing) == STATUS_ACCESS_DENIED
    assert _tree(vetoing) == before


def test_more_than_one_request_may_remove_stays(vetoing: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(limits.VETOED_ENTRIES, value=3)
    monkeypatch.setattr(limits, "VETOED_ENTRIES", few)
    _fill(vetoing, "._1", "._2/", "._2/f", "._2/g")
    before = _tree(vetoing)
    assert _delete(vetoing) == STATUS_DIRECTORY_NOT_EMPTY
    assert _tree(vetoing) == before
    os.unlink(vetoing.path / "sub" / "._1")
    assert _delete(vetoing) == 0


def test_what_becomes_visible_before_the_last_close_stays(vetoing: Share) -> None:
    _fill(vetoing, "Thumbs.db")
    folder = vetoing.open("sub", access=DELETE, disposition=FILE_OPEN, options=FILE_DIRECTORY_FILE)
    folder.check_delete()
    _fill(vetoing, "kept")
    before = _tree(vetoing)
    with pytest.raises(NtStatusError) as caught:
        folder.unlink()
    assert caught.value.status == STATUS_DIRECTORY_NOT_EMPTY
    assert _tree(vetoing) == before
