# SPDX-License-Identifier: GPL-2.0-or-later
"""The start of the engine's process, where it fails before there is one."""
from __future__ import annotations

import errno
import os
import subprocess

import kernel_doubles as kernel
import pytest

from ksmbd.ipc.channel import Channel, make_pair
from mountd import engine
from mountd.engine import Engine


def make() -> tuple[Engine, kernel.FakeLoop]:
    """An engine whose lines are taken, and which is no process yet."""
    loop = kernel.FakeLoop()
    made = Engine(
        kernel.loop(loop), kernel.SETTINGS, "/run", "/lib", lambda slot, message: None,
        lambda message, reason: message, ["/bin/false"], lambda line: None,
    )  # fmt: skip
    return made, loop


def out_of(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_without_descriptors_for_the_sockets_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Channel, object]] = []

    def one_pair() -> object:
        if made:
            raise out_of(errno.EMFILE)
        made.append(make_pair())
        return made[0]

    monkeypatch.setattr(engine, "make_pair", one_pair)
    started, loop = make()
    with pytest.raises(OSError) as raised:
        started.start()
    assert raised.value.errno == errno.EMFILE
    assert made[0][0].fileno() == -1, "the socket that there was already is closed"
    assert not started.running and not loop.readers


def test_where_the_process_cannot_be_made_its_pipe_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []

    def no_process(*arguments: object, stderr: int, **options: object) -> None:
        ends.append(stderr)
        raise out_of(errno.EAGAIN)

    monkeypatch.setattr(subprocess, "Popen", no_process)
    started, loop = make()
    with pytest.raises(OSError) as raised:
        started.start()
    assert raised.value.errno == errno.EAGAIN
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(ends[0])
    assert not started.running and not loop.readers
