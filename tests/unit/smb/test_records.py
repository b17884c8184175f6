# SPDX-License-Identifier: GPL-2.0-or-later
"""Constructors that are written out set every field of their record, in its order and with its defaults; what is built
without its class's constructor is what that would have built."""
from __future__ import annotations

import inspect
import random
from dataclasses import MISSING, Field, fields
from typing import Any

import pytest
from bench import Bench

from ksmbd.oplock.conversion import entry_of
from ksmbd.oplock.record import OpenEntry
from ksmbd.oplock.requests import LeaseContext
from ksmbd.smb import constants as c
from ksmbd.smb.create_names import Name, parse_name
from ksmbd.smb.info_query import Answer, Query, QueryClass
from ksmbd.smb.model import Open
from ksmbd.smb.ports import (
    CloseOutcome,
    CreateIntent,
    DirectoryEntry,
    DurableRequest,
    FileInfo,
    FileSpan,
    OpenGrant,
    OpenRef,
    OpenRequest,
)
from ksmbd.smb.request import Reply

RECORDS: tuple[Any, ...] = (
    CloseOutcome, CreateIntent, DirectoryEntry, FileInfo, FileSpan, OpenGrant, OpenRequest, Reply,
)  # fmt: skip


@pytest.mark.parametrize("record", RECORDS)
def test_a_constructor(record: Any) -> None:
    known: tuple[Field[Any], ...] = fields(record)
    values = [object() if one.default is MISSING else one.default for one in known]
    parameters = list(inspect.signature(record).parameters.values())
    assert [parameter.name for parameter in parameters] == [one.name for one in known]
    defaults = [MISSING if parameter.default is parameter.empty else parameter.default for parameter in parameters]
    assert defaults == [one.default for one in known]
    assert len(values) == len(parameters)


def _drawn(record: Any, draw: random.Random) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    for name, parameter in inspect.signature(record).parameters.items():
        kind = type(parameter.default)
        if kind is int:
            drawn[name] = draw.randrange(1 << 16)
        elif kind is bytes:
            drawn[name] = draw.randbytes(4)
        elif kind is bool:
            drawn[name] = not parameter.default
    return drawn


@pytest.mark.parametrize("record", [CreateIntent, FileInfo, OpenGrant])
def test_what_is_given_is_kept(record: Any) -> None:
    draw = random.Random(1)
    needed = {
        "name": "n", "stream": "s", "desired_access": 1, "disposition": 2, "options": 3, "attributes": 4,
        "creation_time": 5, "last_access_time": 6, "last_write_time": 7, "change_time": 8, "allocation_size": 9,
        "end_of_file": 10, "number_of_links": 11, "file_id": 12, "oplock_level": 13,
    }  # fmt: skip
    given = {**{name: needed[name] for name in inspect.signature(record).parameters if name in needed},
             **_drawn(record, draw)}  # fmt: skip
    last = [name for name, value in given.items() if type(value) is int][-1]
    made = record(**given)
    assert {name: getattr(made, name) for name in given} == given
    assert made == record(**given) and made != record(**{**given, last: given[last] + 1})


def test_a_copied_open() -> None:
    open_ = Open(1, 2, None, None, None, None, 3, 4, 5, OpenRef((6, 7), "", 1))
    for one in fields(Open):
        value = getattr(open_, one.name)
        if isinstance(value, bool):
            setattr(open_, one.name, not value)
        elif isinstance(value, int):
            setattr(open_, one.name, value + 20)
    open_.create_guid = b"guid"
    open_.lock_sequences[1] = 2
    copied = open_.copy()
    assert copied is not open_
    assert all(getattr(copied, one.name) == getattr(open_, one.name) for one in fields(Open))
    copied.closed = not copied.closed
    assert copied.closed is not open_.closed


def test_an_entry_of_the_open_table() -> None:
    lease = LeaseContext(b"k" * 16, 1, 2, 0, b"", 3)
    durable = DurableRequest(2, b"guid", 60000, True, b"app", (1, 2))
    request = OpenRequest(
        OpenRef((1, 2), "stream", 3), b"client", 4, "owner", "share", "path", True, False, 5, 6, 1, 0x1000, 9, None,
        durable, (7, 8), b"state", None, b"name", True, 0x311, 2,
    )  # fmt: skip
    assert entry_of(request, lease, (10, 11)) == OpenEntry(
        open_id=3, stream="stream", worker=10, epoch=11, client_guid=b"client", session_id=4, owner="owner",
        share="share", path="path", is_directory=True, access=5, share_access=6, options=0x1000, parent=(7, 8),
        delete_on_close=True, lease_key=b"k" * 16, durable=0, persistent=False, create_guid=b"guid",
        app_instance_id=b"app", app_instance_version=(1, 2), timeout=0, connected=True, deadline=0.0,
        reconnectable_state=b"state", kernel=0, name=b"name", posix=True, unlinks=False, dialect=0x311, protection=2,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a", "a\\b", "plain file.txt"])
def test_a_name(name: str) -> None:
    found = parse_name(name)
    assert found == Name(name) and type(found) is Name and len(found) == len(Name(""))


def test_an_answer() -> None:
    bench = Bench()
    query = Query(bench.request(c.QUERY_INFO, b""), bench.open(), 4, 0, 0, b"")
    found = QueryClass(4, 1, lambda query: b"data").answer(query)
    assert found == Answer(b"data") and type(found) is Answer and len(found) == len(Answer(b""))
