# SPDX-License-Identifier: GPL-2.0-or-later
"""Oplock and lease breaks in order over all ports: notifications and the channels that they take (MS-SMB2 3.3.4.6,
3.3.4.7), acknowledgements (3.3.5.22), clients that confirm nothing, opens that nobody reclaims."""
from __future__ import annotations

from collections.abc import Sequence

import pytest
from playbook import Playbook, call, some, unknown
from stage import ANY_CALL, BOB, Line, Scripts, Stage
from stage_messages import FileId, LeaseState, OplockBreak
from test_scripted_create import DURABLE_V2, KEY, LEASE_V2, PARENT

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.oplock_break import SILENCE_SECONDS
from ksmbd.smb.ports import (
    BreakNotice,
    CloseOutcome,
    CreateIntent,
    LeaseGrant,
    OpenGrant,
    OpenRequest,
    PurgedOpen,
    ShareConfig,
)

script = Scripts()

BATCH, LEVEL_II, NONE = c.OPLOCK_LEVEL_BATCH, c.OPLOCK_LEVEL_II, c.OPLOCK_LEVEL_NONE
RWH, RH, R = 7, 3, 1
SILENT = "the client confirms nothing on any channel, and others wait for its answer"
RETRY_SECONDS = 0.5
"""ScriptedTransport.delivery_seconds."""


class Held:
    """A client that has a file open, and what the table breaks of it."""

    def __init__(
        self, lease: bool = False, channels: int = 1, durable: bool = False, seals: bool = False,
        stage: Stage | None = None, line: Line | None = None,
    ) -> None:  # fmt: skip
        stage = self.stage = stage or Stage(share=ShareConfig("share", "/srv", encrypt=seals))
        self.alice = line or stage.line().begin()
        self.alice.seals = seals
        self.lines = [self.alice, *(stage.line(f"channel {n}").bind(self.alice) for n in range(2, channels + 1))]
        self.file, self.file_id = stage.file("file"), FileId.unknown()
        self.ref = self.file_id.ref(self.file)
        self.is_lease, self.is_durable = lease, durable
        self.timers = [stage.clock.timer(f"timer {n}") for n in range(1, 6)]
        granted = LeaseGrant(KEY, RWH, 2, 0, b"", 4) if lease else None
        self.play = stage.opens(
            self.alice, self.file, self.file_id,
            OpenGrant(c.OPLOCK_LEVEL_LEASE if lease else BATCH, granted, durable, durable_timeout=60_000 * durable),
            *(LEASE_V2,) * lease, *(DURABLE_V2,) * durable,
        )  # fmt: skip

    def notice(self, new: int | None = None, ack: bool = True) -> BreakNotice:
        """What the table sends: to level II, or to read and handle caching."""
        opens = (self.file_id.persistent,)
        if not self.is_lease:
            return BreakNotice(self.alice.guid, self.alice.session_id, opens, LEVEL_II if new is None else new)
        return BreakNotice(
            self.alice.guid, self.alice.session_id, opens, 0, KEY, RWH, RH if new is None else new, 5, ack
        )

    def told(self, play: Playbook, line: Line, ack: bool = True) -> Playbook:
        """A channel gets it."""
        if self.is_lease:
            return play << line.lease_break(KEY, RWH, RH, 5, ack)
        return play << line.oplock_break(self.file_id, LEVEL_II)

    def armed(self, play: Playbook, number: int, seconds: float = SILENCE_SECONDS) -> Playbook:
        """A timer runs from now on."""
        return play << call(self.stage.clock.call_later, seconds, ANY_CALL).gives(self.timers[number])

    def broken(self) -> Playbook:
        """The notification is out; the first timer runs."""
        play = self.told(self.play >> self.stage.table.breaks(self.notice()), self.alice)
        seconds = SILENCE_SECONDS if len(self.lines) == 1 else RETRY_SECONDS
        return self.armed(play, 0, seconds) << self.stage.table.told(True)

    def acknowledged(self, play: Playbook, line: Line, timer: int | None = 0) -> Playbook:
        """The client answers as it should; the watch over the notification, where there is one, ends before."""
        table, key = self.stage.table, KEY
        play = play >> (line.acknowledge_lease(key, RH) if self.is_lease else line.acknowledge(self.file_id, LEVEL_II))
        if timer is not None:
            play = play << call(self.timers[timer].cancel)
        if self.is_lease:
            return play << call(table.acknowledge_lease, line.guid, key, RH).gives(RH) << line.answer(
                0, LeaseState(key, RH)
            )
        return play << call(table.acknowledge_oplock, self.ref, LEVEL_II).gives(LEVEL_II) << line.answer(
            0, OplockBreak(LEVEL_II, self.file_id)
        )

    def unheard(self, play: Playbook, *lines: Line) -> Playbook:
        """Each of these channels is asked whether its bytes arrived; they did not."""
        for line in lines:
            play = play << call(line.transport.delivered, unknown(int)).gives(False)
        return play

    def kept(self, play: Playbook) -> Playbook:
        """The connection is gone: the durable open stays in the table."""
        table = self.stage.table
        play = play << call(table.keep, self.ref, unknown(Open)) << call(table.disconnect, self.ref).gives(True)
        return self.stage.ends(play)

    def closed(self, play: Playbook) -> Playbook:
        """The connection is gone, and the open with it."""
        play = play << call(self.stage.table.close, self.ref).gives(CloseOutcome(False)) << call(self.file.close)
        return self.stage.ends(play)


KINDS: Sequence[tuple[str, bool]] = (("oplock", False), ("lease", True))


# ----------------------------------------------------------------------------------------------- told and acknowledged


@script.each(*KINDS)
def a_break_is_acknowledged(kind: tuple[str, bool]) -> Playbook:
    """The watch over the notification ends before the table hears of it."""
    h = Held(kind[1])
    return h.acknowledged(h.broken(), h.alice)


@script
def somebody_waits_for_the_acknowledgement() -> Playbook:
    """The CREATE of another client goes on within the acknowledgement, which is answered after it."""
    h = Held()
    stage, table = h.stage, h.stage.table
    bob, other, other_id = stage.line("bob", BOB, b"B" * 16).begin(), stage.file("other"), FileId.unknown("bob")
    granted, create = stage.later(OpenGrant), bob.create("file")
    notice = table.breaks(h.notice())
    return (
        h.play
        >> create
        << call(stage.volume.create, unknown(CreateIntent)).gives(other.opened())
        << call(table.open, some(OpenRequest, ref=other_id.ref(other))).does(notice).pends(granted)
        << h.alice.oplock_break(h.file_id, LEVEL_II)
        << call(stage.clock.call_later, SILENCE_SECONDS, ANY_CALL).gives(h.timers[0])
        << table.told(True)
        << bob.pending(unknown(int, "AsyncId"))
        >> h.alice.acknowledge(h.file_id, LEVEL_II)
        << call(h.timers[0].cancel)
        << call(table.acknowledge_oplock, h.ref, LEVEL_II).does(granted.comes(OpenGrant(LEVEL_II))).gives(LEVEL_II)
        << call(other.info).gives(other.facts())
        << bob.created(other_id, level=LEVEL_II, to=create)
        << h.alice.answer(0, OplockBreak(LEVEL_II, h.file_id))
    )


@script.each(("to_none", NONE), ("to_level_ii", LEVEL_II))
def an_oplock_is_acknowledged_to_what_holds_then(case: tuple[str, int]) -> Playbook:
    """The answer has the level that the table says (MS-SMB2 3.3.5.22.1)."""
    h = Held()
    return (
        h.broken()
        >> h.alice.acknowledge(h.file_id, case[1])
        << call(h.timers[0].cancel)
        << call(h.stage.table.acknowledge_oplock, h.ref, case[1]).gives(NONE)
        << h.alice.answer(0, OplockBreak(NONE, h.file_id))
    )


@script.each(("exclusive", c.OPLOCK_LEVEL_EXCLUSIVE), ("batch", BATCH))
def an_acknowledgement_of_a_level_that_is_none(case: tuple[str, int]) -> Playbook:
    """The oplock is lost, so that nobody waits for it (MS-SMB2 3.3.5.22.1)."""
    h = Held()
    return (
        h.broken()
        >> h.alice.acknowledge(h.file_id, case[1])
        << call(h.timers[0].cancel)
        << call(h.stage.table.acknowledge_oplock, h.ref, NONE).gives(NONE)
        << h.alice.answer(s.STATUS_INVALID_OPLOCK_PROTOCOL)
    )


@script
def a_lease_level_for_an_oplock() -> Playbook:
    """The table does not hear of it, and the break goes on."""
    h = Held()
    play = h.broken() >> h.alice.acknowledge(h.file_id, c.OPLOCK_LEVEL_LEASE)
    return h.acknowledged(play << h.alice.answer(s.STATUS_INVALID_PARAMETER), h.alice)


@script
def an_acknowledgement_of_an_open_that_is_none() -> Playbook:
    stage = Stage()
    alice = stage.line().begin()
    return stage.play >> alice.acknowledge(FileId(1, 2), NONE) << alice.answer(s.STATUS_FILE_CLOSED)


@script
def an_oplock_acknowledgement_without_a_break() -> Playbook:
    h = Held()
    return (
        h.play
        >> h.alice.acknowledge(h.file_id, NONE)
        << call(h.stage.table.acknowledge_oplock, h.ref, NONE).refuses(s.STATUS_INVALID_OPLOCK_PROTOCOL)
        << h.alice.answer(s.STATUS_INVALID_OPLOCK_PROTOCOL)
    )


@script
def a_lease_acknowledgement_that_is_refused() -> Playbook:
    """It asks for more than the notification left (MS-SMB2 3.3.5.22.2)."""
    h = Held(lease=True)
    return (
        h.broken()
        >> h.alice.acknowledge_lease(KEY, RWH)
        << call(h.timers[0].cancel)
        << call(h.stage.table.acknowledge_lease, h.alice.guid, KEY, RWH).refuses(s.STATUS_REQUEST_OUT_OF_SEQUENCE)
        << h.alice.answer(s.STATUS_REQUEST_OUT_OF_SEQUENCE)
    )


@script
def a_lease_break_that_wants_no_answer() -> Playbook:
    """Nothing is watched: nobody waits."""
    h = Held(lease=True)
    play = h.told(h.play >> h.stage.table.breaks(h.notice(ack=False)), h.alice, ack=False)
    return play << h.stage.table.told(True)


@script.each(*KINDS)
def where_requests_are_encrypted_so_is_the_break(kind: tuple[str, bool]) -> Playbook:
    """MS-SMB2 3.3.4.6, 3.3.4.7: as the open's tree connect wants it."""
    h = Held(kind[1], seals=True)
    return h.acknowledged(h.broken(), h.alice)


@script.each(*KINDS)
def a_newer_break_takes_the_place_of_the_last(kind: tuple[str, bool]) -> Playbook:
    """The watch over the last notification ends with it."""
    h = Held(kind[1])
    table = h.stage.table
    play = h.broken() >> table.breaks(h.notice(0)) << call(h.timers[0].cancel)
    if h.is_lease:
        play = play << h.alice.lease_break(KEY, RWH, 0, 5)
    else:
        play = play << h.alice.oplock_break(h.file_id, NONE)
    return h.acknowledged(h.armed(play, 1) << table.told(True), h.alice, 1)


# ----------------------------------------------------------------------------------------------------- nobody is there


@script.each(*KINDS)
def a_client_that_confirms_nothing(kind: tuple[str, bool]) -> Playbook:
    """It is cut off, as others wait for it: its opens end before its transport does."""
    h = Held(kind[1])
    play = h.unheard(h.broken() >> h.timers[0].fires(), h.alice)
    return h.closed(play) << call(h.alice.transport.close, SILENT)


@script.each(*KINDS)
def a_client_that_confirms_nothing_and_may_come_back(kind: tuple[str, bool]) -> Playbook:
    h = Held(kind[1], durable=True)
    play = h.unheard(h.broken() >> h.timers[0].fires(), h.alice)
    return h.kept(play) << call(h.alice.transport.close, SILENT)


@script.each(*KINDS)
def a_client_that_is_slow(kind: tuple[str, bool]) -> Playbook:
    """What was sent before is still on its way: it gets as long again."""
    h = Held(kind[1])
    play = h.broken() >> h.alice.transport.confirms(100) >> h.timers[0].fires()
    play = h.armed(h.unheard(play, h.alice), 1)
    return h.acknowledged(play, h.alice, 1)


@script.each(*KINDS)
def a_client_that_has_it_and_thinks(kind: tuple[str, bool]) -> Playbook:
    """How long it may think is the table's affair."""
    h = Held(kind[1])
    play = h.broken() >> h.timers[0].fires() << call(h.alice.transport.delivered, unknown(int)).gives(True)
    return h.acknowledged(play, h.alice, None)


@script.each(("oplock", False, 1), ("lease", True, 1), ("channels", False, 2))
def a_client_that_closes_what_is_broken(case: tuple[str, bool, int]) -> Playbook:
    """Nobody waits for it any more: it is not cut off, whatever it has confirmed."""
    h = Held(case[1], case[2])
    return (
        h.broken()
        >> h.alice.close(h.file_id)
        << call(h.stage.table.close, h.ref).gives(CloseOutcome(False))
        << call(h.file.close)
        << h.alice.answer()
        >> h.timers[0].fires()
    )


@script
def an_open_that_waits_for_its_client() -> Playbook:
    """No channel is left to tell; the table then ends the open (MS-SMB2 3.3.4.6), and its file goes."""
    h = Held(durable=True)
    table = h.stage.table
    return (
        h.kept(h.play >> h.alice.drops())
        >> table.breaks(h.notice())
        << table.told(False)
        >> table.purges(PurgedOpen(h.ref, "share", "file", CloseOutcome(False), None))
        << call(h.file.close)
    )


@script
def a_lease_that_waits_for_its_client() -> Playbook:
    """The same; the file was to be deleted when it is closed (MS-FSA 2.1.5.5)."""
    h = Held(lease=True, durable=True)
    table = h.stage.table
    return (
        h.kept(h.play >> h.alice.drops())
        >> table.breaks(h.notice())
        << table.told(False)
        >> table.purges(PurgedOpen(h.ref, "share", "file", CloseOutcome(True), None))
        << call(h.file.unlink)
        << call(table.directory_changed, PARENT, b"", b"")
        << call(h.file.close)
    )


@script
def an_open_that_nobody_knows() -> Playbook:
    stage = Stage()
    alice = stage.line().begin()
    notice = BreakNotice(alice.guid, alice.session_id, (12345,), NONE)
    return stage.play >> stage.table.breaks(notice) << stage.table.told(False)


@script.each(*KINDS)
def a_client_that_goes_on_the_way(kind: tuple[str, bool]) -> Playbook:
    h = Held(kind[1])
    return h.closed(h.broken() >> h.alice.drops()) >> h.timers[0].fires()


@script.each(*KINDS)
def a_client_that_goes_on_the_way_and_may_come_back(kind: tuple[str, bool]) -> Playbook:
    """Nothing is watched any longer: the table knows that it is away."""
    h = Held(kind[1], durable=True)
    table = h.stage.table
    return (
        h.kept(h.broken() >> h.alice.drops())
        >> h.timers[0].fires()
        >> table.purges(PurgedOpen(h.ref, "share", "file", CloseOutcome(False), None))
        << call(h.file.close)
    )


# ------------------------------------------------------------------------------------------------------- many channels


@script.each(*KINDS)
def each_channel_is_tried_once(kind: tuple[str, bool]) -> Playbook:
    """MS-SMB2 3.3.4.6, 3.3.4.7: the next, where the last did not confirm it in time; the answer may come on any."""
    h = Held(kind[1], channels=3)
    first, second, third = h.lines
    play = h.unheard(h.broken() >> h.timers[0].fires(), first)
    play = h.armed(h.told(play, second), 1, RETRY_SECONDS)
    play = h.unheard(play >> h.timers[1].fires(), first, second)
    play = h.armed(h.told(play, third), 2, RETRY_SECONDS)
    return h.acknowledged(play, third, 2)


@script.each(*KINDS)
def a_channel_that_has_it_needs_no_successor(kind: tuple[str, bool]) -> Playbook:
    h = Held(kind[1], channels=2)
    play = h.broken() >> h.timers[0].fires() << call(h.alice.transport.delivered, unknown(int)).gives(True)
    return h.acknowledged(play, h.alice, None)


@script
def the_first_channel_had_it_after_all() -> Playbook:
    """When the second is looked at, the first is asked too."""
    h = Held(channels=2)
    first, second = h.lines
    play = h.unheard(h.broken() >> h.timers[0].fires(), first)
    play = h.armed(h.told(play, second), 1, RETRY_SECONDS) >> h.timers[1].fires()
    play = play << call(first.transport.delivered, unknown(int)).gives(True)
    return h.acknowledged(play, first, None)


@script.each(*KINDS)
def no_channel_confirms_anything(kind: tuple[str, bool]) -> Playbook:
    """All of them are ended, the session with the last; its durable open waits for the client."""
    h = Held(kind[1], channels=2, durable=True)
    first, second = h.lines
    play = h.unheard(h.broken() >> h.timers[0].fires(), first)
    play = h.armed(h.told(play, second), 1, RETRY_SECONDS)
    play = h.armed(h.unheard(play >> h.timers[1].fires(), first, second), 2, SILENCE_SECONDS - 2 * RETRY_SECONDS)
    play = h.unheard(play >> h.timers[2].fires(), first, second) << call(first.transport.close, SILENT)
    return h.kept(play) << call(second.transport.close, SILENT)


@script.each(*KINDS)
def a_channel_that_ends_has_a_successor(kind: tuple[str, bool]) -> Playbook:
    """Its bytes are not asked for; the open stays, with the session's other channel."""
    h = Held(kind[1], channels=2)
    first, second = h.lines
    play = h.broken() >> first.drops() >> h.timers[0].fires()
    return h.acknowledged(h.armed(h.told(play, second), 1), second, 1)


@script.each(*KINDS)
def the_opens_own_channel_is_gone_before(kind: tuple[str, bool]) -> Playbook:
    h = Held(kind[1], channels=2)
    first, second = h.lines
    play = h.told(h.play >> first.drops() >> h.stage.table.breaks(h.notice()), second)
    return h.acknowledged(h.armed(play, 0) << h.stage.table.told(True), second)


@script.each(("oplock", False, 1), ("lease", True, 0))
def the_channel_of_a_break(case: tuple[str, bool, int]) -> Playbook:
    """An oplock's is the open's own connection (MS-SMB2 3.3.4.6), a lease's the client's oldest one (3.3.4.7)."""
    _, lease, channel = case
    stage = Stage()
    first = stage.line("first").begin()
    second = stage.line("second").bind(first)
    h = Held(lease, stage=stage, line=second)
    line = (first, second)[channel]
    play = h.told(h.play >> stage.table.breaks(h.notice()), line)
    return h.acknowledged(h.armed(play, 0, RETRY_SECONDS) << stage.table.told(True), line)


@script
def a_lease_of_two_sessions() -> Playbook:
    """The lease is the client's: where the session of one open is gone, the other's hears of it."""
    h = Held(lease=True)
    stage, table = h.stage, h.stage.table
    other, second, second_id = stage.line("other").begin(), stage.file("second", key=(1, 101)), FileId.unknown("second")
    granted = OpenGrant(c.OPLOCK_LEVEL_LEASE, LeaseGrant(KEY, RWH, 2, 0, b"", 4))
    play = h.closed(stage.opens(other, second, second_id, granted, LEASE_V2) >> h.alice.drops())
    notice = BreakNotice(other.guid, h.alice.session_id, (h.file_id.persistent, second_id.persistent), 0, KEY, RWH, RH)
    play = play >> table.breaks(notice) << other.lease_break(KEY, RWH, RH)
    play = h.armed(play, 0) << table.told(True)
    return h.acknowledged(play, other)


@script
def a_lease_whose_first_connection_ends_on_the_way() -> Playbook:
    """The break is told again, on the connection of the other session."""
    h = Held(lease=True)
    stage, table = h.stage, h.stage.table
    other, second, second_id = stage.line("other").begin(), stage.file("second", key=(1, 101)), FileId.unknown("second")
    granted = OpenGrant(c.OPLOCK_LEVEL_LEASE, LeaseGrant(KEY, RWH, 2, 0, b"", 4))
    play = stage.opens(other, second, second_id, granted, LEASE_V2)
    notice = BreakNotice(other.guid, h.alice.session_id, (h.file_id.persistent, second_id.persistent), 0, KEY, RWH, RH)
    play = play >> table.breaks(notice) << h.alice.lease_break(KEY, RWH, RH)
    play = h.armed(play, 0) << table.told(True)
    play = h.closed(play >> h.alice.drops()) >> h.timers[0].fires() << other.lease_break(KEY, RWH, RH)
    return h.acknowledged(h.armed(play, 1), other, 1)


# ------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()


@pytest.mark.parametrize("name", script.names)
def test_each_step_counts(name: str) -> None:
    assert script.check_each_step(name)
