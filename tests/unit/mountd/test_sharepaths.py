# SPDX-License-Identifier: GPL-2.0-or-later
"""Shares whose folder is not there are named, with the reason; and what has no effect is, at the start."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mountd_doubles import configuration

from ksmbd import log
from mountd import sharepaths
from mountd.rundir import RunDirectory
from mountd.server import Options, read_configuration


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    text = "".join(f"[{name}]\npath = {tmp_path}/{name}\n" for name in ("file", "loop", "lost"))
    found = sharepaths.problems(configuration(f"{text}[fine]\npath = {tmp_path}\n[pathless]\n"))
    assert found == [
        f"[file]: {tmp_path}/file: Not a directory: nobody can connect until the folder is there",
        f"[loop]: {tmp_path}/loop: Too many levels of symbolic links: the server cannot read the folder",
        f"[lost]: {tmp_path}/lost: No such file or directory: nobody can connect until the folder is there",
    ]


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = sharepaths.problems(configuration(f"[data]\npath = {tmp_path}\n"))
    assert found == [f"[data]: {tmp_path}: Permission denied: the server cannot read the folder"]


def test_the_root_directory_counts(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert not sharepaths.problems(configuration(f"[global]\nroot directory = {tmp_path}\n[data]\npath = /data\n"))


def test_the_start_names_what_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, **more: lines.append(text))
    file = tmp_path / "smb.conf"
    file.write_text(f"[global]\nmax xmit = 100\n[data]\npath = {tmp_path}\nroot preexec = /bin/true\n")
    read_configuration(Options(str(file), "", RunDirectory(str(tmp_path)), ""))
    assert lines == [
        f"{file}: without effect, though access or data may differ by it: root preexec (line 5)",
        f"{file}: without effect and harmless: max xmit (line 2)",
    ]


def test_the_size_of_smb_direct_has_no_effect_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, **more: lines.append(text))
    file = tmp_path / "ksmbd.conf"
    file.write_text(f"[global]\nsmbd max io size = 1M\n[data]\npath = {tmp_path}\n")
    read_configuration(Options(str(file), "", RunDirectory(str(tmp_path)), ""))
    assert lines == [f"{file}: without effect and harmless: smbd max io size (line 2)"]
    lines.clear()
    read_configuration(Options(str(file), "", RunDirectory(str(tmp_path)), "", kernel=True))
    assert not [line for line in lines if "smbd max io size" in line]
