# SPDX-License-Identifier: GPL-2.0-or-later
"""The control files, with the loop run by hand."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ksmbd import debug
from ksmbd.conn.loop import Loop
from ksmbd.process.control import FOLDER, STATS_SECONDS, ControlFile, ControlFiles, Feature
from ksmbd.process.shared import Attention, WorkerStats

STATS = WorkerStats(1, 42, 1, 2, 3, 4, 5, 6, 7, 8, 9)


class TurnedClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class ControlFolder:
    def __init__(self, rundir: Path) -> None:
        self.clock = TurnedClock()
        self.loop = Loop(self.clock)
        self.killed = 0
        self.looked = 0
        self.attention = Attention(memoryview(bytearray(512)).cast("Q"))
        self.stats = [STATS]
        self.folder = rundir / FOLDER
        features = [Feature("steer", False, "no BPF"), Feature("sendfile", True, "")]
        self.files = ControlFiles(str(rundir), self.loop, self._look, features, self._kill, self.attention)
        self.looked = 0

    def _look(self) -> list[WorkerStats]:
        self.looked += 1
        return self.stats

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.now += STATS_SECONDS
            self.loop.run_once(wait=False)

    def _kill(self) -> None:
        self.killed += 1

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        self.loop.run_once(wait=False)
        return self.read(name)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlFolder]:
    debug.mask[0] = 0
    control = ControlFolder(tmp_path)
    yield control
    control.loop.close()
    debug.mask[0] = 0


def test_debug_toggles(control: ControlFolder) -> None:
    assert control.read("debug") == "smb auth vfs oplock ipc conn rdma\n"
    assert control.write("debug", "rdma\n") == "smb auth vfs oplock ipc conn [rdma]\n"
    assert control.write("debug", "smb") == "[smb] auth vfs oplock ipc conn [rdma]\n"
    assert debug.mask[0] == debug.SMB | debug.RDMA
    assert control.write("debug", "smb") == "smb auth vfs oplock ipc conn [rdma]\n"
    assert control.write("debug", "all") == "[smb] [auth] [vfs] [oplock] [ipc] [conn] [rdma]\n"
    assert control.write("debug", "all") == "smb auth vfs oplock ipc conn rdma\n"


def test_a_word_that_comes_while_the_listing_is_written(control: ControlFolder) -> None:
    """The forker's write is two calls; a word between them is followed by NULs up to the listing's length."""
    assert control.write("debug", "all" + "\0" * 36) == "[smb] [auth] [vfs] [oplock] [ipc] [conn] [rdma]\n"


@pytest.mark.parametrize("text", ["", "SMB", "smb auth", "nothing", "\0\xff", "x" * 5000])
def test_what_is_no_component_changes_nothing(control: ControlFolder, text: str) -> None:
    control.write("debug", "vfs")
    assert control.write("debug", text) == "smb auth [vfs] oplock ipc conn rdma\n"


def test_the_listing_written_back_changes_nothing(control: ControlFolder) -> None:
    text = control.write("debug", "vfs")
    assert control.write("debug", text) == text


def test_a_file_that_was_replaced_or_removed(control: ControlFolder, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("conn")
    (tmp_path / "new").rename(control.folder / "debug")
    control.loop.run_once(wait=False)
    assert control.read("debug") == "smb auth vfs oplock ipc [conn] rdma\n"
    (control.folder / "debug").unlink()
    assert control.write("debug", "conn") == "smb auth vfs oplock ipc conn rdma\n"


def test_kill_server(control: ControlFolder) -> None:
    assert stat.S_IMODE((control.folder / "kill_server").stat().st_mode) == 0o200
    (control.folder / "kill_server").write_text("soft")
    control.loop.run_once(wait=False)
    assert control.killed == 0
    (control.folder / "kill_server").write_text("hard\n")
    control.loop.run_once(wait=False)
    assert control.killed == 1


def test_stats_are_text_and_json(control: ControlFolder) -> None:
    control.stats = [STATS, STATS]
    text = control.write("stats", "now")
    assert "connections: 4\n" in text and "requests: 10\n" in text
    assert "ksmbd/1: pid 42, started 1, connections 2" in text
    workers = json.loads(control.read("stats.json"))["workers"]
    assert [worker["bytes_sent"] for worker in workers] == [7, 7]


def test_counters_that_stay_are_looked_at_no_more(control: ControlFolder) -> None:
    control.pass_seconds(2)
    assert control.looked == 2 and control.attention.asked
    control.pass_seconds(100)
    assert control.looked == 2, "the timer rests"


def test_a_change_is_told_and_seen(control: ControlFolder) -> None:
    control.pass_seconds(5)
    control.stats = [replace(STATS, requests=77)]
    assert control.attention.take(), "the worker that has changed something tells"
    assert not control.attention.take(), "once"
    control.files.happened()
    control.files.happened()
    control.looked = 0
    control.pass_seconds(1)
    assert "requests: 77\n" in control.read("stats") and control.looked == 1
    control.pass_seconds(100)
    assert control.looked == 3 and control.attention.asked


def test_a_change_while_the_question_is_put_is_seen(control: ControlFolder) -> None:
    """The worker has changed its counter, and looked for the question just before it was there."""
    control.pass_seconds(1)
    control.stats = [replace(STATS, requests=78)]
    control.pass_seconds(1)
    assert "requests: 78\n" in control.read("stats")


def test_features(control: ControlFolder) -> None:
    assert control.read("features") == "steer off no BPF\nsendfile on\n"
    control.files.set_features([Feature("steer", True, "")])
    assert control.read("features") == "steer on\n"


def test_files_go_when_it_ends(control: ControlFolder) -> None:
    control.files.close()
    assert not control.folder.parent.exists()


def test_what_others_have_put_there_stays(control: ControlFolder) -> None:
    (control.folder / "note").touch()
    control.files.close()
    assert os.listdir(control.folder) == ["note"]


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / FOLDER / "debug").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        ControlFolder(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_file_that_cannot_be_written_is_written_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ControlFile(str(tmp_path / "file"), 0o644)
    file.write("old")
    with monkeypatch.context() as full:

        def no_room(*arguments: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(os, "pwrite", no_room)
        file.update("new")
        file.update("new")
    assert (tmp_path / "file").read_text() == "old"
    file.update("new")
    assert (tmp_path / "file").read_text() == "new"
    file.close()
