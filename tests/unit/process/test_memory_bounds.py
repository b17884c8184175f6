# SPDX-License-Identifier: GPL-2.0-or-later
"""A small control group makes messages shorter and holds fewer replies; a machine of the usual size changes nothing."""
from __future__ import annotations

import logging

import pytest

from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import memory
from ksmbd.limits import REPLIES_UNREAD_ALL
from ksmbd.process.memory_bounds import replies_budget, tell
from ksmbd.process.worker import server_settings

MIB = 1 << 20


@pytest.mark.parametrize(("size", "message", "replies"), [
    (16 << 30, 8 * MIB, REPLIES_UNREAD_ALL.value // 2),
    (2 << 30, 8 * MIB, 64 * MIB),
    (256 * MIB, MIB, 8 * MIB),
    (128 * MIB, MIB // 2, 4 * MIB),
    (MIB, 64 << 10, 2 * MIB),
])  # fmt: skip
def test_the_memory_bounds_messages_and_replies(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], size: int, message: int, replies: int
) -> None:
    monkeypatch.setattr(memory, "limit", lambda: size)
    settings = EngineSettings(workers=2, smb2_max_read=8 * MIB, smb2_max_write=8 * MIB, smb2_max_trans=8 * MIB)
    made = server_settings(settings, 1)
    assert (made.max_read, made.max_write, made.max_transact) == (message, message, message)
    assert replies_budget(settings) == replies
    logging.getLogger("ksmbd")
    tell(settings)
    assert ("little memory" in capfd.readouterr().err) == (message < 8 * MIB)


def test_less_than_the_memory_allows_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "limit", lambda: 16 << 30)
    assert server_settings(EngineSettings(smb2_max_read=MIB), 1).max_read == MIB
