# SPDX-License-Identifier: GPL-2.0-or-later
"""Replays of CREATEs in order over all ports (MS-SMB2 3.3.5.9.10): of durable opens, and of what waits."""
from __future__ import annotations

from struct import pack

import pytest
from durable_plays import OTHER_KEY, RWH, Durable
from playbook import Playbook, call, some, unknown
from stage import Scripts, Stage
from stage_messages import FileId
from test_scripted_create import DURABLE_V2, GUID

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.ports import (
    CreateIntent,
    OpenGrant,
    OpenRequest,
    Reconnected,
)

script = Scripts()

REPLAY = {"flags": c.FLAGS_REPLAY_OPERATION}


@script.each(("batch", False), ("lease", True))
def a_create_is_replayed(case: tuple[str, bool]) -> Playbook:
    """It is answered again; nothing is opened or asked (MS-SMB2 3.3.5.9.10)."""
    d = Durable(lease=case[1])
    return (
        d.play
        >> d.alice.create("file", oplock=d.grant.oplock_level, contexts=(*d.lease_context, *d.asks), **REPLAY)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
        << call(d.file.info).gives(d.file.facts())
        << d.alice.created(d.file_id, level=d.grant.oplock_level, lease=d.lease, durable=(60_000, 0))
    )


@script
def a_replay_on_another_channel() -> Playbook:
    d = Durable()
    second = d.stage.line("second").bind(d.alice)
    return (
        d.play
        >> d.alice.drops()
        >> second.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=d.asks, **REPLAY)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
        << call(d.file.info).gives(d.file.facts())
        << second.created(d.file_id, level=c.OPLOCK_LEVEL_BATCH, durable=(60_000, 0))
    )


@script
def the_flag_is_missing() -> Playbook:
    d = Durable()
    return (
        d.play
        >> d.alice.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=d.asks)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
        << d.alice.answer(s.STATUS_DUPLICATE_OBJECTID)
    )


@script
def a_replay_of_another_session() -> Playbook:
    d = Durable()
    return (
        d.play
        >> d.back.comes()
        >> d.back.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=d.asks, **REPLAY)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
        << d.back.answer(s.STATUS_DUPLICATE_OBJECTID)
    )


@script
def a_replay_with_another_lease_key() -> Playbook:
    d = Durable(lease=True)
    other = (ctx.RQLS, (pack("<16sIIQ16sHH", OTHER_KEY, RWH, 0, 0, bytes(16), 3, 0),))
    return (
        d.play
        >> d.alice.create("file", oplock=c.OPLOCK_LEVEL_LEASE, contexts=(other, *d.asks), **REPLAY)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
        << d.alice.answer(s.STATUS_ACCESS_DENIED)
    )


@script
def a_replay_while_the_first_one_waits() -> Playbook:
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("file"), FileId.unknown()
    granted = stage.later(OpenGrant)
    first = alice.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(DURABLE_V2,))
    async_id = unknown(int, "AsyncId")
    return (
        stage.play
        >> first
        << call(stage.table.find_replay, alice.guid, GUID).gives(None)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).pends(granted)
        << alice.pending(async_id, to=first)
        >> alice.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(DURABLE_V2,), **REPLAY)
        << call(stage.table.find_replay, alice.guid, GUID).gives(file_id.ref(file))
        << alice.answer(s.STATUS_FILE_NOT_AVAILABLE)
        >> granted.comes(OpenGrant(0))
        << call(file.info).gives(file.facts())
        << alice.created(file_id, to=first)
    )


@script
def a_create_waits_while_its_channel_is_lost() -> Playbook:
    """It goes on for the session's other channel, where its replay is answered (MS-SMB2 3.3.5.9.10)."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("file"), FileId.unknown()
    second = stage.line("second").bind(alice)
    granted = stage.later(OpenGrant)
    return (
        stage.play
        >> alice.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(DURABLE_V2,))
        << call(stage.table.find_replay, alice.guid, GUID).gives(None)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).pends(granted)
        << alice.pending(unknown(int, "AsyncId"))
        >> alice.drops()
        >> granted.comes(OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, durable_timeout=60_000))
        << call(file.info).gives(file.facts())
        >> second.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(DURABLE_V2,), **REPLAY)
        << call(stage.table.find_replay, alice.guid, GUID).gives(file_id.ref(file))
        << call(file.info).gives(file.facts())
        << second.created(file_id, level=c.OPLOCK_LEVEL_BATCH, durable=(60_000, 0))
    )


@script
def a_create_without_a_guid_waits_while_its_channel_is_lost() -> Playbook:
    """Nobody can replay it: it ends, though the session goes on."""
    stage = Stage()
    alice, file = stage.line().begin(), stage.file("file")
    stage.line("second").bind(alice)
    granted = stage.later(OpenGrant)
    return (
        stage.play
        >> alice.create("file", oplock=c.OPLOCK_LEVEL_BATCH)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, unknown(OpenRequest)).pends(granted)
        << alice.pending(unknown(int, "AsyncId"))
        >> alice.drops()
        << granted.cancelled()
        << call(file.close)
    )


@script
def a_persistent_open_is_reclaimed_by_a_replay() -> Playbook:
    """The connection was lost, perhaps with the first answer (MS-SMB2 3.3.5.9.10)."""
    d = Durable(persistent=True)
    play = (
        d.lost()
        >> d.back.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=d.asks, **REPLAY)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
        << call(d.table.find_kept, d.asked()).gives(None)
        << call(d.table.reconnect, d.asked()).gives(Reconnected(d.request(), d.grant, d.kept))
        << call(d.file.info).gives(d.file.facts())
        << d.back.created(d.again, level=c.OPLOCK_LEVEL_BATCH, durable=(60_000, 2))
    )
    return d.closes(play, d.back)


@script
def a_persistent_open_whose_file_id_is_not_known() -> Playbook:
    """It is found by its CreateGuid (MS-SMB2 3.3.5.9.12)."""
    d = Durable(persistent=True)
    play = (
        d.lost()
        >> d.comes_back(d.back, file_id=FileId(4711, 0))
        << call(d.table.find_kept, d.asked(persistent_id=4711)).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << call(d.table.find_replay, d.alice.guid, GUID).gives(d.ref)
    )
    return d.reclaimed(play, d.back)


# ------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()


@pytest.mark.parametrize("name", script.names)
def test_each_step_counts(name: str) -> None:
    assert script.check_each_step(name)
