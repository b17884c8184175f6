# SPDX-License-Identifier: GPL-2.0-or-later
"""An inotify instance, in a folder of the test."""
from __future__ import annotations

import os
from pathlib import Path

from ksmbd.kernel import inotify


def test_events_that_the_loop_still_has_for_a_closed_instance_are_none(tmp_path: Path) -> None:
    instance = inotify.Inotify()
    folder = os.open(tmp_path, os.O_PATH)
    number = instance.add(folder, inotify.IN_CREATE)
    (tmp_path / "f").touch()
    assert [(event.watch, event.name) for event in instance.read()] == [(number, b"f")]
    (tmp_path / "g").touch()
    instance.close()
    assert instance.read() == []
    instance.remove(number)
    instance.close()
    os.close(folder)
