# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from ksmbd import debug, log


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    debug.mask[0] = 0
    yield
    debug.mask[0] = 0


def test_lines_and_levels(capfd: pytest.CaptureFixture[str]) -> None:
    log.info("one")
    log.warning("two")
    log.error("three")
    assert capfd.readouterr().err == "ksmbd: one\nksmbd: warning: two\nksmbd: error: three\n"


def test_a_name_from_a_client_cannot_break_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    log.info("user a\nksmbd: error: forged\x1b[31m \ud800")
    assert capfd.readouterr().err == "ksmbd: user a\\x0aksmbd: error: forged\\x1b[31m \\xd800\n"


def test_debug_prints_obey_their_component(capfd: pytest.CaptureFixture[str]) -> None:
    log.debug(debug.VFS, "off")
    debug.toggle("vfs")
    log.debug(debug.VFS, "on")
    log.debug(debug.SMB, "off")
    error = capfd.readouterr().err
    assert error.startswith("ksmbd: vfs: ") and error.endswith("]: on\n") and error.count("\n") == 1


def test_loggers_of_the_rooms_come_here(capfd: pytest.CaptureFixture[str]) -> None:
    log.take_over_logging()
    log.take_over_logging()
    room = logging.getLogger("ksmbd.oplock")
    room.warning("odd: %d", 5)
    room.debug("off")
    debug.toggle("oplock")
    room.debug("on")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "ksmbd: warning: odd: 5"
    assert lines[1].endswith("]: on") and len(lines) == 2


def test_clients_lines_are_limited() -> None:
    limit = log.RateLimit(burst=3, interval=5)
    assert [limit.admit(100 + step / 10) for step in range(6)] == [0, 0, 0, None, None, None]
    assert limit.admit(104.9) is None
    assert limit.admit(105) == 4
    assert limit.admit(105.1) == 0
    assert limit.admit(200) == 0


def test_toggle_and_listing() -> None:
    assert debug.listing() == "smb auth vfs oplock ipc conn rdma"
    assert debug.toggle("conn") and debug.mask[0] == debug.CONN
    assert debug.is_listing(debug.listing()) and not debug.is_listing("conn")
    assert debug.toggle("all") and debug.mask[0] == debug.ALL, "not all were on"
    assert debug.toggle("all") and debug.mask[0] == 0
    assert not debug.toggle("nothing")


def test_the_mask_can_be_memory_that_others_share() -> None:
    own = debug.mask
    memory = bytearray(64)
    try:
        debug.attach(memoryview(memory))
        debug.toggle("auth")
        assert memory[0] == debug.AUTH
        memory[0] = debug.SMB
        assert debug.listing().startswith("[smb] auth")
    finally:
        debug.mask = own
