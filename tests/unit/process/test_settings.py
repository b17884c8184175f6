# SPDX-License-Identifier: GPL-2.0-or-later
"""[global] as the protocol wants it."""
from __future__ import annotations

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.process.worker import server_settings
from ksmbd.smb.data_paths import READ, Transfer


def test_data_paths() -> None:
    settings = server_settings(EngineSettings(data_paths="read/ext4=copy"), 1)
    assert settings.data_paths.method(READ, "ext4", 1 << 20) is Transfer.COPY


def test_data_paths_that_make_no_sense(capfd: pytest.CaptureFixture[str]) -> None:
    settings = server_settings(EngineSettings(data_paths="read/ext4=teleport"), 1)
    assert settings.data_paths.method(READ, "ext4", 1 << 20) is Transfer.SENDFILE
    assert "data paths: read/ext4=teleport" in capfd.readouterr().err
