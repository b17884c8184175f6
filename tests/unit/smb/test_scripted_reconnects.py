# SPDX-License-Identifier: GPL-2.0-or-later
"""Durable opens in order over all ports: kept when a connection is lost (MS-SMB2 3.3.7.1), reclaimed (3.3.5.9.7,
3.3.5.9.12), refused without being lost."""
from __future__ import annotations

from dataclasses import replace
from struct import pack
from typing import Any

import pytest
from durable_plays import EMPTY, OTHER_GUID, OTHER_KEY, RH, RWH, VERSIONS, Durable
from playbook import Playbook, call, some, unknown
from stage import ALICE, ANY_CALL, BOB, Scripts, Stage
from stage_messages import Context, FileId, OplockBreak
from test_scripted_create import DURABLE_V1, DURABLE_V2, KEY

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.ports import (
    ENCRYPTED,
    BreakNotice,
    CloseOutcome,
    CreateIntent,
    LeaseGrant,
    LeaseRequest,
    OpenGrant,
    OpenRef,
    PurgedOpen,
    Reconnected,
)

script = Scripts()


# ----------------------------------------------------------------------------------------------------------- reclaimed


@script.each(*VERSIONS)
def it_is_reclaimed(case: tuple[str, int, bool, bool]) -> Playbook:
    """And closed under its new FileId; the one before names nothing any longer."""
    d = Durable(*case[1:])
    play = d.reclaimed(d.lost() >> d.comes_back(d.back), d.back)
    return d.closes(play >> d.back.close(d.file_id) << d.back.answer(s.STATUS_FILE_CLOSED), d.back)


@script.each(*VERSIONS)
def it_is_lost_again(case: tuple[str, int, bool, bool]) -> Playbook:
    """It is as durable as before."""
    d = Durable(*case[1:])
    return d.leaves(d.reclaimed(d.lost() >> d.comes_back(d.back), d.back) >> d.back.drops(), again=True)


@script
def less_is_left_of_its_lease() -> Playbook:
    """What the table says holds, not what it was granted at first."""
    d = Durable(lease=True)
    left = OpenGrant(c.OPLOCK_LEVEL_LEASE, LeaseGrant(KEY, RH, 2, 0, b"", 6), True, durable_timeout=60_000)
    return d.reclaimed(d.lost() >> d.comes_back(d.back), d.back, left)


@script
def where_requests_are_encrypted_the_table_is_told() -> Playbook:
    """An open that was made so is reclaimed so (MS-SMB2 3.3.5.9.7, Session.EncryptData)."""
    d = Durable(seals=True)
    return d.reclaimed(d.lost() >> d.comes_back(d.back), d.back, protection=ENCRYPTED)


@script
def through_a_share_that_is_read_only_the_table_is_told() -> Playbook:
    d = Durable()
    d.play = d.play >> d.stage.becomes_read_only()
    return d.reclaimed(d.lost() >> d.comes_back(d.back), d.back, read_only=True)


@script
def the_session_that_it_had_is_ended_by_the_new_one() -> Playbook:
    """PreviousSessionId (MS-SMB2 3.3.5.5.3): its opens are kept before the log-on is answered."""
    d = Durable()
    play = d.leaves(d.play >> d.back.comes(previous=d.alice))
    return d.reclaimed(play >> d.comes_back(d.back), d.back) >> d.alice.drops()


@script
def after_a_logoff() -> Playbook:
    """A durable open outlives its session (MS-SMB2 3.3.5.6)."""
    d = Durable()
    play = d.leaves(d.play >> d.alice.asks("LOGOFF", c.LOGOFF, lambda: EMPTY)) << d.alice.answer()
    return d.reclaimed(play >> d.back.comes() >> d.comes_back(d.back), d.back)


@script
def not_after_its_tree_connect_was_ended() -> Playbook:
    """TREE_DISCONNECT closes durable opens, too (MS-SMB2 3.3.5.8)."""
    d = Durable()
    return (
        d.play
        >> d.alice.asks("TREE_DISCONNECT", c.TREE_DISCONNECT, lambda: EMPTY)
        << call(d.table.close, d.ref).gives(CloseOutcome(False))
        << call(d.file.close)
        << call(d.stage.volume.close)
        << call(d.stage.daemon.tree_disconnect, unknown(int), 1)
        << d.alice.answer()
    )


# ------------------------------------------------------------------------------------------------------------ not kept


@script
def the_table_does_not_keep_it() -> Playbook:
    d = Durable()
    return d.leaves(d.play >> d.alice.drops(), kept=False)


@script
def the_table_does_not_know_it() -> Playbook:
    """Another worker has ended it meanwhile. The file is closed all the same."""
    d = Durable()
    play = (
        d.play
        >> d.alice.drops()
        << call(d.table.keep, d.ref, unknown(Open))
        << call(d.table.disconnect, d.ref).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << call(d.table.close, d.ref).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << call(d.file.close)
    )
    return d.stage.ends(play)


@script.each(("file", False), ("deleted", True))
def its_time_is_over(case: tuple[str, bool]) -> Playbook:
    """The scavenger ends it (MS-SMB2 3.3.2.2); the client that comes then finds none."""
    d = Durable()
    play = d.leaves(d.play >> d.alice.drops())
    play = play >> d.table.purges(PurgedOpen(d.ref, "share", "file", CloseOutcome(case[1]), d.kept))
    if case[1]:
        play = play << call(d.file.unlink) << call(d.table.directory_changed, (1, 100), b"", b"")
    return (
        play
        << call(d.file.close)
        >> d.back.comes()
        >> d.comes_back(d.back)
        << call(d.table.find_kept, d.asked()).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << d.back.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )


# ------------------------------------------------------------------------------------------------- refused, not lost


@script.each(
    ("guid", {"guid": OTHER_GUID}, {"create_guid": OTHER_GUID}, s.STATUS_OBJECT_NAME_NOT_FOUND),
    (
        "lease_key", {"lease": ((ctx.RQLS, (pack("<16sIIQ16sHH", OTHER_KEY, RWH, 0, 0, bytes(16), 3, 0),)),)},
        {"lease": LeaseRequest(OTHER_KEY, RWH, 2, 0, b"", 3)}, s.STATUS_OBJECT_NAME_NOT_FOUND,
    ),
    ("no_lease", {"lease": ()}, {"lease": None}, s.STATUS_OBJECT_NAME_NOT_FOUND),
    ("id", {"file_id": FileId(4711, 0)}, {"persistent_id": 4711}, s.STATUS_OBJECT_NAME_NOT_FOUND),
)  # fmt: skip
def it_is_asked_for_wrongly(case: tuple[str, dict[str, Any], dict[str, object], int]) -> Playbook:
    """The table refuses what does not fit; the right CREATE reclaims it then."""
    _, sent, asked, status = case
    d = Durable(lease=True)
    play = (
        d.lost()
        >> d.comes_back(d.back, **sent)
        << call(d.table.find_kept, d.asked(**asked)).refuses(status)
        << d.back.answer(status)
    )
    return d.reclaimed(play >> d.comes_back(d.back), d.back)


@script.each(*VERSIONS)
def another_user_asks_for_it(case: tuple[str, int, bool, bool]) -> Playbook:
    d = Durable(*case[1:])
    bob = d.stage.line("bob", BOB)
    play = (
        d.lost(bob)
        >> d.comes_back(bob)
        << call(d.table.find_kept, d.asked(owner="bob")).refuses(s.STATUS_ACCESS_DENIED)
        << bob.answer(s.STATUS_ACCESS_DENIED)
    )
    return d.reclaimed(play >> d.back.comes() >> d.comes_back(d.back), d.back)


@script
def another_client_asks_for_it() -> Playbook:
    d = Durable()
    other = d.stage.line("other", guid=b"O" * 16)
    play = (
        d.lost(other)
        >> d.comes_back(other)
        << call(d.table.find_kept, d.asked(client_guid=b"O" * 16)).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << other.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )
    return d.reclaimed(play >> d.back.comes() >> d.comes_back(d.back), d.back)


@script
def its_user_has_fewer_rights_now() -> Playbook:
    """The file works with the rights of that time: it is not given to whom has lost them, and the table does not give
    it away."""
    stage = Stage()
    d = Durable(stage=stage, line=stage.line("alice", replace(ALICE, groups=(27,))).begin())
    play = (
        d.lost()
        >> d.comes_back(d.back)
        << call(d.table.find_kept, d.asked()).gives(None)
        << d.back.answer(s.STATUS_ACCESS_DENIED)
    )
    rightful = stage.line("rightful", replace(ALICE, groups=(27, 100)))
    return d.reclaimed(play >> rightful.comes() >> d.comes_back(rightful), rightful)


@script
def somebody_was_faster() -> Playbook:
    """The table refuses at last; nothing has been changed or closed."""
    d = Durable()
    play = (
        d.lost()
        >> d.comes_back(d.back)
        << call(d.table.find_kept, d.asked()).gives(None)
        << call(d.table.reconnect, d.asked()).refuses(s.STATUS_FILE_NOT_AVAILABLE)
        << d.back.answer(s.STATUS_FILE_NOT_AVAILABLE)
    )
    return d.reclaimed(play >> d.comes_back(d.back), d.back)


@script.each(("v1", 1, (ctx.MXAC, ())), ("v2", 2, (ctx.QFID, ())))
def other_contexts_beside_it(case: tuple[str, int, Context]) -> Playbook:
    """No port hears of it (MS-SMB2 3.3.5.9.7, 3.3.5.9.12)."""
    d = Durable(case[1])
    play = d.lost() >> d.comes_back(d.back, case[2]) << d.back.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    return d.reclaimed(play >> d.comes_back(d.back), d.back)


@script.each(("v1", 1, DURABLE_V2), ("v2", 2, DURABLE_V1), ("v2_asked", 2, DURABLE_V2))
def contexts_that_exclude_it(case: tuple[str, int, Context]) -> Playbook:
    d = Durable(case[1])
    play = d.lost() >> d.comes_back(d.back, case[2]) << d.back.answer(s.STATUS_INVALID_PARAMETER)
    return d.reclaimed(play >> d.comes_back(d.back), d.back)


@script
def a_second_one_asks_for_what_is_reclaimed() -> Playbook:
    d = Durable()
    second = d.stage.line("second")
    return (
        d.reclaimed(d.lost() >> d.comes_back(d.back), d.back)
        >> second.comes()
        >> d.comes_back(second)
        << call(d.table.find_kept, d.asked()).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << second.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )


# -------------------------------------------------------------------------------------------- of another worker


class Elsewhere(Durable):
    """It was made by another worker, or by an earlier server: its file has to be opened again."""

    def __init__(self, key: tuple[int, int] = (1, 101), local: bool = False, persistent: bool = False) -> None:
        super().__init__(persistent=persistent)
        stage = self.stage
        stage.play.steps.clear()
        self.file_id, self.file = FileId(5 << 48 | 9, 9), stage.file("file", key=key)
        self.ref = OpenRef((1, 101), "", self.file_id.persistent)
        self.again = self.file_id.again()
        self.kept = None  # type: ignore[assignment]
        self.local = stage.local() if local else None
        self.intent = some(CreateIntent, name="file", disposition=c.FILE_OPEN, desired_access=c.FILE_ALL_ACCESS)
        self.looked_up = (
            stage.play
            >> self.back.comes()
            >> self.comes_back(self.back)
            << call(self.table.find_kept, self.asked()).gives(self.request())
        )

    def opened(self) -> Playbook:
        """Its file is open again."""
        return self.looked_up << call(self.stage.volume.create, self.intent).gives(self.file.opened(self.local))


@script.each(("durable", False), ("persistent", True))
def its_file_is_opened_again(case: tuple[str, bool]) -> Playbook:
    """Before the table gives it away: what cannot be opened goes on waiting."""
    e = Elsewhere(persistent=case[1])
    play = (
        e.opened()
        << call(e.table.reconnect, e.asked()).gives(Reconnected(e.request(), e.grant))
        << call(e.file.info).gives(e.file.facts())
        << e.back.created(e.again, level=c.OPLOCK_LEVEL_BATCH)
    )
    return e.closes(play, e.back)


@script
def its_file_cannot_be_opened() -> Playbook:
    e = Elsewhere()
    return (
        e.looked_up
        << call(e.stage.volume.create, e.intent).refuses(s.STATUS_ACCESS_DENIED)
        << e.back.answer(s.STATUS_ACCESS_DENIED)
    )


@script
def another_file_has_its_name_now() -> Playbook:
    """Nobody can have the kept open again, so it ends: it is in nobody's way."""
    e = Elsewhere(key=(1, 999))
    ended = call(e.table.close, e.ref).gives(CloseOutcome(False))
    return e.opened() << call(e.file.close) << ended << e.back.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)


@script.each(("name", s.STATUS_OBJECT_NAME_NOT_FOUND), ("folder", s.STATUS_OBJECT_PATH_NOT_FOUND))
def its_file_is_gone(case: tuple[str, int]) -> Playbook:
    e = Elsewhere()
    return (
        e.looked_up
        << call(e.stage.volume.create, e.intent).refuses(case[1])
        << call(e.table.close, e.ref).gives(CloseOutcome(False))
        << e.back.answer(case[1])
    )


@script
def the_table_gives_it_to_somebody_else() -> Playbook:
    """The file that was opened for it is closed."""
    e = Elsewhere()
    return (
        e.opened()
        << call(e.table.reconnect, e.asked()).refuses(s.STATUS_FILE_NOT_AVAILABLE)
        << call(e.file.close)
        << e.back.answer(s.STATUS_FILE_NOT_AVAILABLE)
    )


@script
def it_takes_its_place_beside_local_processes() -> Playbook:
    e = Elsewhere(local=True)
    assert e.local is not None
    return (
        e.opened()
        << call(e.table.reconnect, e.asked()).gives(Reconnected(e.request(), e.grant))
        << call(e.table.readmit, e.ref, e.local)
        << call(e.file.info).gives(e.file.facts())
        << e.back.created(e.again, level=c.OPLOCK_LEVEL_BATCH)
    )


@script.each(("kept", True), ("not_kept", False))
def a_local_process_is_in_its_place(case: tuple[str, bool]) -> Playbook:
    """It goes on waiting for its client, where the table keeps it."""
    e = Elsewhere(local=True)
    assert e.local is not None
    play = (
        e.opened()
        << call(e.table.reconnect, e.asked()).gives(Reconnected(e.request(), e.grant))
        << call(e.table.readmit, e.ref, e.local).refuses(s.STATUS_FILE_NOT_AVAILABLE)
        << call(e.file.close)
        << call(e.table.disconnect, e.ref).gives(case[1])
    )
    if not case[1]:
        play = play << call(e.table.close, e.ref).gives(CloseOutcome(False))
    return play << e.back.answer(s.STATUS_FILE_NOT_AVAILABLE)


@script
def what_was_kept_here_is_gone() -> Playbook:
    """The table has it kept in this process, but has lost the Open: it is kept again."""
    e = Elsewhere()
    stage = e.stage
    stage.play.steps.clear()
    return (
        stage.play
        >> e.back.comes()
        >> e.comes_back(e.back)
        << call(e.table.find_kept, e.asked()).gives(None)
        << call(e.table.reconnect, e.asked()).gives(Reconnected(e.request(), e.grant))
        << call(e.table.disconnect, e.ref).gives(True)
        << e.back.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )


# ------------------------------------------------------------------------------------------------------------ channels


@script
def one_of_two_channels_is_lost() -> Playbook:
    """Nothing is kept or closed; that comes with the last one."""
    d = Durable()
    second = d.stage.line("second").bind(d.alice)
    play = d.leaves(d.play >> d.alice.drops() >> second.drops()) >> d.back.comes()
    return d.reclaimed(play >> d.comes_back(d.back), d.back)


@script
def a_bound_channel_reclaims_it() -> Playbook:
    """It is the session's; a break goes to the connection that reclaimed it (MS-SMB2 3.3.4.6)."""
    d = Durable()
    second, timer = d.stage.line("second"), d.stage.clock.timer("timer")
    play = d.reclaimed(d.lost() >> second.binds(d.back) >> d.comes_back(second), second)
    return (
        play
        >> d.table.breaks(BreakNotice(d.alice.guid, 1, (d.file_id.persistent,), c.OPLOCK_LEVEL_NONE))
        << second.oplock_break(d.again, c.OPLOCK_LEVEL_NONE)
        << call(d.stage.clock.call_later, 0.5, ANY_CALL).gives(timer)
        << d.table.told(True)
        >> second.acknowledge(d.again, c.OPLOCK_LEVEL_NONE)
        << call(timer.cancel)
        << call(d.table.acknowledge_oplock, d.ref, c.OPLOCK_LEVEL_NONE).gives(c.OPLOCK_LEVEL_NONE)
        << second.answer(0, OplockBreak(c.OPLOCK_LEVEL_NONE, d.again))
    )


@script
def the_channel_that_reclaimed_it_is_lost() -> Playbook:
    """The session's other one has it then, and tells of breaks."""
    d = Durable()
    second, timer = d.stage.line("second"), d.stage.clock.timer("timer")
    play = d.reclaimed(d.lost() >> second.binds(d.back) >> d.comes_back(second), second)
    play = (
        play
        >> second.drops()
        >> d.table.breaks(BreakNotice(d.alice.guid, 1, (d.file_id.persistent,), c.OPLOCK_LEVEL_NONE))
        << d.back.oplock_break(d.again, c.OPLOCK_LEVEL_NONE)
        << call(d.stage.clock.call_later, 5.0, ANY_CALL).gives(timer)
        << d.table.told(True)
    )
    return d.closes(play, d.back) >> timer.fires()


# ------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()


@pytest.mark.parametrize("name", script.names)
def test_each_step_counts(name: str) -> None:
    assert script.check_each_step(name)
