# SPDX-License-Identifier: GPL-2.0-or-later
"""IOCTL over the ports in memory."""
from __future__ import annotations

from typing import Any

import wire
from bench import Bench
from fake_files import FakeFile

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ioctl import handle
from ksmbd.smb.model import Open
from ksmbd.smb.request import Reply


def control(bench: Bench, open_: Open | None, code: int, data: bytes = b"", limit: int = 65536) -> Reply:
    tree = open_.tree if open_ is not None else bench.tree
    return bench.run(handle, bench.request(c.IOCTL, wire.ioctl(open_, code, data, limit), tree))


def out(bench: Bench, open_: Open | None, code: int, data: bytes = b"", limit: int = 65536) -> bytes:
    reply = control(bench, open_, code, data, limit)
    assert reply.status == s.STATUS_SUCCESS
    return wire.output(reply, 48)


def calls(open_: Open) -> list[tuple[Any, ...]]:
    assert isinstance(open_.file, FakeFile)
    return open_.file.calls
