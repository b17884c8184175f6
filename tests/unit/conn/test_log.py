# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from ksmbd import debug, limits, log
from ksmbd.line_limit import OTHERS, LineLimit


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No component is on, and no line is held back that another test wrote."""
    log._about_clients.forget()
    log._defects.forget()
    memory = debug._memory
    debug.attach(memoryview(bytearray(debug.SIZE)))
    yield
    debug.attach(memory)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that the test turns, and limits that have seen nothing."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log._about_clients.forget()
    log._defects.forget()
    return now


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


def test_lines_are_limited_by_key_and_in_all() -> None:
    limit = LineLimit(each=3, total=5, seconds=5)
    assert [limit.admit("a", 100 + step / 10) for step in range(6)] == [0, 0, 0, None, None, None]
    assert limit.admit("b", 101) == 0, "another's line is not hidden"
    assert [limit.admit("b", 102), limit.admit("c", 103)] == [0, None]
    assert limit.admit("a", 104.9) is None and limit.overdue(104.9) == []
    assert limit.admit("a", 105) == 4 and limit.admit("a", 105.1) == 0
    assert limit.due == 105 and limit.overdue(107) == []
    assert limit.due == 108 and limit.overdue(108) == [("c", 1)]
    assert limit.overdue(1000) == []


def test_any_number_of_keys_takes_no_more_room() -> None:
    limit = LineLimit(each=3, total=50, seconds=5, keys=60)
    admitted = [limit.admit(str(number), 100 + number / 1000) for number in range(20_000)]
    assert sum(each is not None for each in admitted) == 50 * 4 and len(limit) == 60
    counts = dict(limit.overdue(200))
    assert sum(counts.values()) == 20_000 - 50 * 4 and counts[OTHERS] == 20_000 - 50 * 4 - 60
    assert limit.overdue(1000) == []


def test_a_client_does_not_hide_anothers_lines(capfd: pytest.CaptureFixture[str], clock: list[float]) -> None:
    for number in range(1000):
        log.peer(f"192.0.2.7: bad frame {number}", "framing", "192.0.2.7")
    log.peer("192.0.2.8: bad frame", "framing", "192.0.2.8")
    log.peer("192.0.2.7: refused", "refused", "192.0.2.7")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == limits.LOG_LINES_OF_A_KIND.value + 2
    assert lines[-2:] == ["ksmbd: 192.0.2.8: bad frame", "ksmbd: 192.0.2.7: refused"]
    clock[0] += 5
    log.peer("192.0.2.9: bad frame", "framing", "192.0.2.9")
    assert capfd.readouterr().err.splitlines() == [
        f"ksmbd: {1000 - limits.LOG_LINES_OF_A_KIND.value} more lines were left out: framing 192.0.2.7",
        "ksmbd: 192.0.2.9: bad frame",
    ]


def test_a_defect_that_is_met_again_and_again_fills_no_log(
    capfd: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    def meet(what: str) -> None:
        try:
            raise IndexError(what) if what == "one" else KeyError(what)
        except LookupError as error:
            log.exception("a request failed", error)

    for _ in range(2000):
        meet("one")
    meet("two")
    text = capfd.readouterr().err
    assert text.count("IndexError: one") == limits.TRACEBACKS_OF_A_PLACE.value and text.count("KeyError: 'two'") == 1
    assert len(text) < 64 << 10
    clock[0] += 60
    meet("one")
    text = capfd.readouterr().err
    assert text.count("Traceback") == 1
    assert f"{2000 - limits.TRACEBACKS_OF_A_PLACE.value} more tracebacks were left out: IndexError" in text


def test_warnings_of_a_kind_are_limited_and_others_are_not(
    capfd: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    for _ in range(500):
        log.warning("the same", "kind")
        log.error("the same", "another kind")
    assert len(capfd.readouterr().err.splitlines()) < 2 * limits.LOG_LINES_OF_A_KIND.value + 10
    for number in range(500):
        log.warning(f"line {number} of the configuration")
    assert len(capfd.readouterr().err.splitlines()) == 500


def test_toggle_and_listing() -> None:
    assert debug.listing() == "smb auth vfs oplock ipc conn rdma"
    assert debug.toggle("conn") and debug.mask[0] == debug.CONN
    assert debug.is_listing(debug.listing()) and not debug.is_listing("conn")
    assert debug.toggle("all") and debug.mask[0] == debug.ALL, "not all were on"
    assert debug.toggle("all") and debug.mask[0] == 0
    assert not debug.toggle("nothing")


def test_the_mask_can_be_memory_that_others_share() -> None:
    own = debug._memory
    memory = bytearray(debug.SIZE + 64)
    try:
        debug.attach(memoryview(memory))
        debug.toggle("auth")
        assert memory[0] == debug.AUTH
        memory[0] = debug.SMB
        assert debug.listing().startswith("[smb] auth")
    finally:
        debug.attach(own)


def test_a_component_for_some_clients_alone(capfd: pytest.CaptureFixture[str]) -> None:
    assert debug.toggle("smb@192.0.2.7") and debug.toggle("vfs@192.0.2.7") and debug.toggle("smb@2001:DB8:0:0::1")
    assert debug.listing() == "smb auth vfs oplock ipc conn rdma", "none is on for all"
    assert debug.clients() == ["smb@192.0.2.7", "vfs@192.0.2.7", "smb@2001:db8::1"]
    assert debug.mask[0] == debug.SMB | debug.VFS and debug.plain() == 0
    for address in ("192.0.2.7", "192.0.2.8", "2001:db8::1", ""):
        log.debug(debug.SMB, f"from {address}", address)
    log.debug(debug.VFS, "of the other", "2001:db8::1")
    lines = capfd.readouterr().err.splitlines()
    assert [line.rpartition("]: ")[2] for line in lines] == ["from 192.0.2.7", "from 2001:db8::1"]


def test_all_clients_and_one_do_not_touch_each_other() -> None:
    assert debug.toggle("smb@192.0.2.7")
    assert debug.toggle("smb") and debug.listing().startswith("[smb] auth")
    assert debug.wanted(debug.SMB, "") and debug.wanted(debug.SMB, "192.0.2.8")
    assert debug.toggle("smb") and debug.listing().startswith("smb auth")
    assert debug.wanted(debug.SMB, "192.0.2.7") and not debug.wanted(debug.SMB, "192.0.2.8")
    assert debug.toggle("all") and debug.plain() == debug.ALL and debug.toggle("all") and debug.plain() == 0
    assert debug.clients() == ["smb@192.0.2.7"]
    assert debug.toggle("smb@192.0.2.7") and debug.clients() == [] and debug.mask[0] == 0


def test_all_components_of_one_client() -> None:
    assert debug.toggle("conn@::ffff:192.0.2.7") and debug.toggle("all@192.0.2.7")
    assert len(debug.clients()) == len(debug.COMPONENTS) and debug.mask[0] == debug.ALL
    assert debug.toggle("all@192.0.2.7") and debug.mask[0] == 0


@pytest.mark.parametrize(
    "word", ["smb@", "smb@host", "x@192.0.2.7", "@192.0.2.7", "smb@192.0.2.7@192.0.2.8", "smb@" + "1" * 80]
)
def test_what_names_no_client(word: str) -> None:
    assert not debug.toggle(word) and debug.clients() == [] and debug.mask[0] == 0


def test_clients_are_bounded() -> None:
    for number in range(debug.CLIENTS_MAX):
        assert debug.toggle(f"smb@192.0.2.{number}")
    assert not debug.toggle("smb@192.0.2.100")
    assert debug.toggle("vfs@192.0.2.3") and len(debug.clients()) == debug.CLIENTS_MAX + 1
