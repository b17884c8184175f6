# SPDX-License-Identifier: GPL-2.0-or-later
"""Eight clients of several makes append records to common files under leases and locks while workers are killed and
started again: of what the server acknowledged nothing is lost and nothing torn."""
from __future__ import annotations

import os
import re
import shlex
import signal
import threading

import pytest
from record_clients import (
    Appender,
    GuestAppender,
    ImpacketAppender,
    RawAppender,
    SmbclientAppender,
    SmbprotocolAppender,
    records,
    wait_until,
)
from server import KsmbdServer, StartKsmbd

FILES = ("a", "b")
OPTIONS = {"smb2 leases": "yes", "durable handles": "yes"}
MAKES: tuple[type[Appender], ...] = (
    RawAppender, RawAppender, SmbprotocolAppender, SmbprotocolAppender, ImpacketAppender, ImpacketAppender,
    SmbclientAppender, SmbclientAppender,
)  # fmt: skip
GUEST = shlex.split(os.environ.get("KSMBD_VM", ""))
GUEST_SEES = os.environ.get("KSMBD_VM_HOST", "10.0.2.2")


def held(server: KsmbdServer) -> list[int]:
    """The workers that have connections, as process ids."""
    found = re.findall(r"(?m)^ksmbd/\d+: pid (\d+),.*? connections (\d+)", server.wait_stats(r"(?m)^ksmbd/1: pid"))
    return [int(pid) for pid, count in found if int(count)]


def kill_workers(server: KsmbdServer, appenders: list[Appender], turns: int, between: int) -> None:
    """One after the other, with so many records acknowledged in between and afterwards."""
    for turn in range(turns + 1):
        goal = sum(len(one.acknowledged) for one in appenders) + between
        wait_until(lambda goal=goal: sum(len(one.acknowledged) for one in appenders) >= goal or broken(appenders), 120)
        if turn < turns and not broken(appenders):
            wait_until(lambda: held(server))
            victims = held(server)
            seen = server.stderr.count("was ended by signal 9")
            os.kill(victims[turn % len(victims)], signal.SIGKILL)
            server.wait_for(r"(?:was ended by signal 9[\s\S]*){" + str(seen + 1) + "}")


def broken(appenders: list[Appender]) -> bool:
    return any(one.error is not None for one in appenders)


def judge(server: KsmbdServer, appenders: list[Appender]) -> None:
    """All is there once, and whole."""
    assert [(one.name, repr(one.error)) for one in appenders if one.error is not None] == []
    names = {name for one in appenders for name, _ in one.acknowledged}
    assert set(FILES) <= names
    found = {name: records((server.share_path / name).read_bytes(), unfinished=True) for name in names}
    for one in appenders:
        assert one.acknowledged, one.name
        for name, number in one.acknowledged:
            assert found[name].count((one.number, number)) == 1, (one.name, name, number)
    assert sum(one.reconnects for one in appenders) > 0


@pytest.mark.timeout(280)
def test_no_acknowledged_record_is_lost_or_torn(start_ksmbd: StartKsmbd) -> None:
    server = start_ksmbd(workers=4, options={**OPTIONS, "max ip connections": "64"})
    stop = threading.Event()
    appenders = [make(server, number, FILES, stop) for number, make in enumerate(MAKES)]
    for one in appenders:
        one.start()
    try:
        kill_workers(server, appenders, 4, 60)
        # Every one of them has something to be judged by.
        wait_until(lambda: all(one.acknowledged for one in appenders) or broken(appenders))
    finally:
        stop.set()
        for one in appenders:
            one.join(120)
    judge(server, appenders)


@pytest.mark.skipif(not GUEST, reason="no virtual machine: KSMBD_VM names the command that runs one in it")
@pytest.mark.timeout(600)
def test_no_acknowledged_record_of_the_kernel_s_client_is_lost_or_torn(start_ksmbd: StartKsmbd) -> None:
    """Twice cifs.ko among eight. Its opens are persistent: one that lost its lock with its connection would write where
    somebody else has written since."""
    share = {"share": {"continuous availability": "yes"}}
    server = start_ksmbd(workers=4, options={**OPTIONS, "max ip connections": "64"}, shares=share)
    stop = threading.Event()
    guests = [GuestAppender(server, number, FILES, stop, GUEST, GUEST_SEES) for number in range(2)]
    appenders: list[Appender] = [
        *guests, *(make(server, number, FILES, stop) for number, make in enumerate(MAKES) if number >= 2)
    ]
    for one in appenders[:2]:
        one.start()
    try:
        wait_until(lambda: all(guest.mounted.is_set() for guest in guests) or broken(appenders), 120)
        for one in appenders[2:]:
            one.start()
        kill_workers(server, appenders, 4, 60)
        wait_until(lambda: all(len(one.acknowledged) > 2 for one in appenders) or broken(appenders), 120)
    finally:
        stop.set()
        (server.share_path / "stop").touch()
        for one in appenders:
            if one.ident is not None:
                one.join(200)
    judge(server, appenders)
