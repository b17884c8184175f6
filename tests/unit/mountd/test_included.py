# SPDX-License-Identifier: GPL-2.0-or-later
"""smb.conf: files that include others, and sections that copy others."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mountd import ignored
from mountd.config import Configuration, load


def read(folder: Path, **files: str) -> Configuration:
    """The configuration in `main`; NAME in a text is the folder."""
    for name, text in files.items():
        path = folder / ("smb.conf" if name == "main" else name)
        path.write_text(text.replace("NAME", str(folder)))
    return load(folder / "smb.conf")


def messages(configuration: Configuration, folder: Path) -> list[str]:
    return [str(one).replace(f"{folder}/", "") for one in configuration.diagnostics]


class TestInclude:
    def test_a_file_is_read_where_it_is_included(self, tmp_path: Path) -> None:
        main = "[a]\npath = /a\ncomment = one\ninclude = NAME/more\ncomment = two\n[c]\npath = /c\n"
        found = read(tmp_path, main=main, more="guest ok = yes\n[b]\npath = /b\n")
        assert set(found.shares) == {"a", "b", "c", "ipc$"}
        assert found.shares["a"].guest_ok and found.shares["a"].comment == "one"
        assert found.shares["b"].comment == "two"  # the section that the file has begun goes on
        assert found.diagnostics == []

    def test_a_path_without_a_slash_is_beside_the_file(self, tmp_path: Path) -> None:
        assert read(tmp_path, main="[global]\ninclude = more\n", more="workers = 3\n").settings.workers == 3

    def test_what_is_wrong_in_it_names_its_file_and_line(self, tmp_path: Path) -> None:
        found = read(tmp_path, main="[global]\ninclude = more\n", more="# here\nworkers = x\nmagic = 1\n[a\n")
        first, second, third = messages(found, tmp_path)
        assert first.startswith("smb.conf: warning") and first.endswith("were ignored: magic (more:3)")
        assert second.startswith("more:2: error: `workers = x`") and third.startswith("more:4: error: not a section")
        assert [one.replace(f"{tmp_path}/", "") for one in ignored.lines(found.ignored)] == [
            "without effect, though access or data may differ by it: magic (more:3)"
        ]

    def test_variables_that_are_known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KSMBD_TEST_PART", "env")
        files = {"MYBOX": "workgroup = L\n", "host": "server string = h\n", "env": "workers = 7\n"}
        (tmp_path / socket.gethostname()).write_text(files.pop("host"))
        main = "[global]\nnetbios name = MYBOX\ninclude = NAME/%L\ninclude = NAME/%h\n"
        main += "include = NAME/%$(KSMBD_TEST_PART)\n"
        settings = read(tmp_path, main=main, **files).settings
        assert (settings.workgroup, settings.server_string, settings.workers) == ("L", "h", 7)

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("NAME/smb.conf.%m", "warning: `include = NAME/smb.conf.%m`: %m is not known before a client connects"),
            ("NAME/none", "warning: `include = NAME/none`: there is no such file"),
            ("registry", "warning: `include = registry`: Samba's registry is not read"),
            ("NAME", "error: `include = NAME`: is no file"),
            ("NAME/smb.conf", "error: `include = NAME/smb.conf`: the file includes itself"),
        ],
    )
    def test_what_cannot_be_included(self, tmp_path: Path, value: str, told: str) -> None:
        found = read(tmp_path, main=f"[a]\npath = /a\ninclude = {value}\n")
        assert messages(found, tmp_path)[0].startswith(f"smb.conf:3: {told}".replace("NAME", str(tmp_path)).replace(
            f"{tmp_path}/", ""
        ))
        assert "a" in found.shares

    def test_files_that_include_each_other_end(self, tmp_path: Path) -> None:
        found = read(tmp_path, main="[global]\ninclude = one\n", one="include = two\n", two="include = one\n")
        assert messages(found, tmp_path) == ["two:1: error: `include = one`: the file includes itself"]

    def test_their_number_is_bounded(self, tmp_path: Path) -> None:
        files = {"f1": "include = f2\n" * 40, "f2": "include = f3\n" * 40, "f3": ""}
        found = read(tmp_path, main="[global]\ninclude = f1\n", **files)
        assert any("more than 1000 files" in one for one in messages(found, tmp_path))

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        found = read(tmp_path, main="[global]\ninclude = pipe\n")
        assert messages(found, tmp_path) == ["smb.conf:2: error: `include = pipe`: is no file"]

    def test_ksmbd_conf_has_none(self, tmp_path: Path) -> None:
        (tmp_path / "ksmbd.conf").write_text("[global]\ninclude = other\n")
        (tmp_path / "other").write_text("workers = 9\n")
        found = load(tmp_path / "ksmbd.conf")
        assert found.settings.workers == 0
        assert "unknown parameter `include` is ignored" in str(found.diagnostics[0])


class TestCopy:
    def test_what_the_section_says_itself_has_precedence(self, tmp_path: Path) -> None:
        main = "[a]\npath = /a\nread only = no\ncomment = a\n[b]\ncomment = mine\ncopy = A\npath = /b\n"
        share = read(tmp_path, main=main).shares["b"]
        assert (share.path, share.comment, share.read_only, share.name) == ("/b", "mine", False, "b")

    def test_a_later_copy_replaces_an_earlier_one(self, tmp_path: Path) -> None:
        main = "[a]\npath = /a\n[b]\npath = /b\nguest ok = yes\n[c]\ncopy = a\ncopy = b\n"
        share = read(tmp_path, main=main).shares["c"]
        assert (share.path, share.guest_ok) == ("/b", True)

    def test_writable_of_the_copy_is_replaced_by_read_only(self, tmp_path: Path) -> None:
        main = "[a]\npath = /a\nwritable = yes\n[b]\ncopy = a\nread only = yes\n"
        assert read(tmp_path, main=main).shares["b"].read_only

    @pytest.mark.parametrize("text", ["[b]\npath = /b\ncopy = none\n", "[b]\npath = /b\ncopy = b\n",
                                      "[b]\npath = /b\n[global]\ncopy = b\n"])
    def test_what_cannot_be_copied(self, tmp_path: Path, text: str) -> None:
        found = read(tmp_path, main=text)
        assert len(found.errors) == 1 and "`copy = " in str(found.errors[0])


@pytest.mark.parametrize(("lines", "read_only"), [
    ("writable = no\nread only = no", False), ("read only = no\nwriteable = no", True),
    ("write ok = on\nread only = yes\nwritable = enabled", False),
])  # fmt: skip
def test_of_read_only_and_its_opposites_the_last_counts(tmp_path: Path, lines: str, read_only: bool) -> None:
    assert read(tmp_path, main=f"[a]\npath = /a\n{lines}\n").shares["a"].read_only is read_only
