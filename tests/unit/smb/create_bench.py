# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE over the ports in memory: the request, what holds where it is refused, and what the open table was asked."""
from __future__ import annotations

from struct import pack, unpack_from
from typing import Any

import create_messages as m
import pytest
from bench import Bench, body_of

from ksmbd.smb import constants as c
from ksmbd.smb import create
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb.model import Open
from ksmbd.smb.ports import (
    DurableReconnect,
    DurableRequest,
    OpenRequest,
    ShareConfig,
)
from ksmbd.smb.request import Reply
from ksmbd.smb.settings import ServerSettings
from ksmbd.smb.status import NtStatusError

KEY = bytes(range(16))
GUID = bytes(range(100, 116))
LEASE_V1 = m.context(ctx.RQLS, KEY + pack("<IIQ", 7, 0, 0))
LEASE_V2 = m.context(ctx.RQLS, KEY + pack("<IIQ16sHH", 7, 0, 0, bytes(16), 3, 0))


def bench(dialect: int = c.DIALECT_311, **changes: Any) -> Bench:
    """With oplocks, leases and durable handles on."""
    made = Bench(dialect, ServerSettings(**{"leases": True, "durable_handles": True, **changes}))
    made.tree.share = ShareConfig("share", "/srv", streams_xattr=True)
    made.volume.add("file", b"content")
    made.volume.add("dir", None)
    return made


def run(made: Bench, body: bytes, flags: int = 0, tree: Any = None) -> Reply:
    request = made.request(c.CREATE, body, tree)
    request.header.flags |= flags
    return made.run(create.handle, request)


def refused(made: Bench, body: bytes, flags: int = 0, tree: Any = None) -> int:
    """The status of a CREATE that fails, which must have left nothing behind."""
    before = (dict(made.session.opens), dict(made.server.opens), dict(made.table.opens))
    with pytest.raises(NtStatusError) as caught:
        run(made, body, flags, tree)
    assert (made.session.opens, made.server.opens, made.table.opens) == before
    held = [open_.file for open_ in (*before[0].values(), *before[1].values())]
    assert all(file.closed for file in made.volume.opened if file not in held)
    return caught.value.status


def the_open(made: Bench, reply: Reply) -> Open:
    persistent, volatile = unpack_from("<QQ", body_of(reply), 64)
    assert made.server.opens[persistent] is made.session.opens[volatile]
    return made.session.opens[volatile]


def answers(reply: Reply) -> dict[bytes, bytes]:
    """The response's contexts by name."""
    body = body_of(reply)
    offset, length = unpack_from("<II", body, 80)
    assert (offset == 152) == bool(length) and len(body) == 88 + length
    found, at = {}, 88
    while length:
        following, name_at, name_size, _, data_at, size = unpack_from("<IHHHHI", body, at)
        name = body[at + name_at : at + name_at + name_size]
        found[name] = body[at + data_at : at + data_at + size]
        if not following:
            break
        assert following % 8 == 0 and data_at % 8 == 0
        at += following
    return found


def asked(made: Bench) -> OpenRequest:
    """The last question to the open table."""
    question: OpenRequest = [call[1] for call in made.table.calls if call[0] == "open"][-1]
    return question


def asked_durable(made: Bench) -> DurableRequest:
    """Of the last question."""
    durable = asked(made).durable
    assert durable is not None
    return durable


def asked_to_reclaim(made: Bench) -> list[DurableReconnect]:
    """What the open table was asked to give back."""
    return [call[1] for call in made.table.calls if call[0] == "reconnect"]
