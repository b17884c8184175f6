# SPDX-License-Identifier: GPL-2.0-or-later
"""Resilient opens (MS-SMB2 3.3.5.15.9) and the failover of application instances (3.3.5.9.13) in order over all
ports."""
from __future__ import annotations

from dataclasses import replace
from struct import pack

import pytest
from playbook import Playbook, call, some, unknown
from stage import ANY_CALL, BOB, Asked, Line, Scripts, Stage
from stage_messages import Context, FileId, OplockBreak
from test_scripted_create import DURABLE_V1, DURABLE_V2, GUID

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.model import Open
from ksmbd.smb.ports import (
    BreakNotice,
    CloseOutcome,
    CreateIntent,
    DurableReconnect,
    DurableRequest,
    OpenGrant,
    OpenRequest,
    PurgedOpen,
    Reconnected,
)
from ksmbd.smb.settings import ServerSettings

script = Scripts()

TIMEOUT = 60_000
FORCED_CLOSED = 0xC00000B6
APPLICATION = b"application     "
INSTANCE = (ctx.APP_INSTANCE_ID, (pack("<HH16s", 20, 0, APPLICATION),))
VERSION = (ctx.APP_INSTANCE_VERSION, (pack("<HHIQQ", 24, 0, 0, 3, 4),))


def resiliency(line: Line, file_id: FileId, data: bytes) -> Asked:
    """FSCTL_LMR_REQUEST_RESILIENCY (MS-SMB2 2.2.31.3)."""

    def body(known: FileId) -> bytes:
        head = pack("<HHIQQ", 57, 0, c.FSCTL_LMR_REQUEST_RESILIENCY, *known)
        return head + pack("<IIIIIIII", 120, len(data), 0, 0, 0, 0, 1, 0) + data

    return line.asks("FSCTL_LMR_REQUEST_RESILIENCY", c.IOCTL, body, file_id)


class Resilient:
    """An open of a client, which it wants to be resilient; and another connection of the client."""

    def __init__(
        self, grant: OpenGrant | None = None, *contexts: Context, dialect: int = c.DIALECT_311,
        settings: ServerSettings | None = None,
    ) -> None:  # fmt: skip
        stage = self.stage = Stage(dialect, settings=settings)
        self.table = stage.table
        self.alice, self.back = stage.line().begin(), stage.line("back")
        self.file, self.file_id = stage.file("file"), FileId.unknown()
        self.ref, self.again = self.file_id.ref(self.file), self.file_id.again()
        self.kept = unknown(Open, "kept")
        self.play = stage.opens(self.alice, self.file, self.file_id, grant or OpenGrant(0), *contexts)

    def asks(self, timeout: int = TIMEOUT, granted: int = TIMEOUT) -> Playbook:
        """The client is granted resiliency for so many milliseconds."""
        return (
            self.play
            >> resiliency(self.alice, self.file_id, pack("<II", timeout, 0))
            << call(self.table.make_resilient, self.ref, granted)
            << self.alice.answer()
        )

    def lost(self, play: Playbook) -> Playbook:
        """The connection is lost; the open is kept."""
        play = (
            play
            >> self.alice.drops()
            << call(self.table.keep, self.ref, self.kept)
            << call(self.table.disconnect, self.ref).gives(True)
        )
        return self.stage.ends(play)

    def gone(self, play: Playbook) -> Playbook:
        """The connection is lost, and so is the open."""
        play = (
            play
            >> self.alice.drops()
            << call(self.table.close, self.ref).gives(CloseOutcome(False))
            << call(self.file.close)
        )
        return self.stage.ends(play)

    def reclaims(self, line: Line) -> Asked:
        """CREATE with SMB2_CREATE_DURABLE_HANDLE_RECONNECT, which reclaims resilient opens, too (3.3.5.9.7)."""
        return line.create("file", contexts=((ctx.DHNC, (self.file_id,)),))

    def asked(self, owner: str = "alice") -> DurableReconnect:
        """The question to the table then."""
        return some(
            DurableReconnect, persistent_id=self.file_id.persistent, version=1, client_guid=self.alice.guid,
            owner=owner, lease=None, persistent=False,
        )  # fmt: skip

    def reclaimed(self, play: Playbook, line: Line) -> Playbook:
        """It is found, reclaimed and answered."""
        request = OpenRequest(self.ref, self.alice.guid, 1, "alice", "share", "file")
        request.granted_access, request.share_access = c.FILE_ALL_ACCESS, 7
        request.durable = DurableRequest(3, timeout=TIMEOUT, resilient=True)
        back = Reconnected(request, OpenGrant(0, durable_timeout=TIMEOUT), self.kept)
        return (
            play
            << call(self.table.find_kept, self.asked()).gives(None)
            << call(self.table.reconnect, self.asked()).gives(back)
            << call(self.file.info).gives(self.file.facts())
            << line.created(self.again)
        )


# ----------------------------------------------------------------------------------------------------- resilient opens


@script.each(("asked", TIMEOUT, TIMEOUT), ("default", 0, 120_000), ("longest", 300_999, 300_999))
def it_is_kept_and_reclaimed(case: tuple[str, int, int]) -> Playbook:
    """Without oplock and lease; and closed under its new FileId."""
    r = Resilient()
    play = r.reclaimed(r.lost(r.asks(*case[1:])) >> r.back.comes() >> r.reclaims(r.back), r.back)
    return (
        play
        >> r.back.close(r.again)
        << call(r.table.close, r.ref).gives(CloseOutcome(False))
        << call(r.file.close)
        << r.back.answer()
    )


@script
def it_is_resilient_once_it_is_reclaimed() -> Playbook:
    """A second loss keeps it as the first."""
    r = Resilient()
    play = r.reclaimed(r.lost(r.asks()) >> r.back.comes() >> r.reclaims(r.back), r.back)
    play = (
        play
        >> r.back.drops()
        << call(r.table.keep, r.ref, unknown(Open))
        << call(r.table.disconnect, r.ref).gives(True)
    )
    return r.stage.ends(play)


@script.each(("v1", DURABLE_V1), ("v2", DURABLE_V2))
def a_durable_open_becomes_resilient(case: tuple[str, Context]) -> Playbook:
    """Open.IsDurable is FALSE then: that its oplock is broken does not end it."""
    r = Resilient(OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, durable_timeout=TIMEOUT), case[1])
    timer = r.stage.clock.timer("timer")
    play = (
        r.asks()
        >> r.table.breaks(BreakNotice(r.alice.guid, 1, (r.file_id.persistent,), c.OPLOCK_LEVEL_NONE))
        << r.alice.oplock_break(r.file_id, c.OPLOCK_LEVEL_NONE)
        << call(r.stage.clock.call_later, unknown(float), ANY_CALL).gives(timer)
        << r.table.told(True)
        >> r.alice.acknowledge(r.file_id, c.OPLOCK_LEVEL_NONE)
        << call(timer.cancel)
        << call(r.table.acknowledge_oplock, r.ref, c.OPLOCK_LEVEL_NONE).gives(c.OPLOCK_LEVEL_NONE)
        << r.alice.answer(0, OplockBreak(c.OPLOCK_LEVEL_NONE, r.file_id))
    )
    return r.lost(play)


@script
def its_time_is_over() -> Playbook:
    """The table removes it (MS-SMB2 3.3.2.3); the client that comes then finds none."""
    r = Resilient()
    return (
        r.lost(r.asks())
        >> r.table.purges(PurgedOpen(r.ref, "share", "file", CloseOutcome(False), r.kept))
        << call(r.file.close)
        >> r.back.comes()
        >> r.reclaims(r.back)
        << call(r.table.find_kept, r.asked()).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << r.back.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )


@script
def another_user_asks_for_it() -> Playbook:
    """Open.DurableOwner: it stays for its own user."""
    r = Resilient()
    bob = r.stage.line("bob", BOB)
    play = (
        r.lost(r.asks())
        >> bob.comes()
        >> r.reclaims(bob)
        << call(r.table.find_kept, r.asked("bob")).refuses(s.STATUS_ACCESS_DENIED)
        << bob.answer(s.STATUS_ACCESS_DENIED)
    )
    return r.reclaimed(play >> r.back.comes() >> r.reclaims(r.back), r.back)


NOT_DURABLE = ServerSettings(leases=True, durable_handles=False, multichannel=True)


@script.each(
    ("short", c.DIALECT_311, None, bytes(7), s.STATUS_INVALID_PARAMETER),
    ("too_long", c.DIALECT_311, None, pack("<II", 301_000, 0), s.STATUS_INVALID_PARAMETER),
    ("too_early", c.DIALECT_202, None, pack("<II", TIMEOUT, 0), s.STATUS_INVALID_DEVICE_REQUEST),
    ("switched_off", c.DIALECT_311, NOT_DURABLE, bytes(7), s.STATUS_NOT_SUPPORTED),
)  # fmt: skip
def it_is_refused(case: tuple[str, int, ServerSettings | None, bytes, int]) -> Playbook:
    """The table hears nothing of it, and the open ends with its connection."""
    _, dialect, settings, data, status = case
    r = Resilient(dialect=dialect, settings=settings)
    return r.gone(r.play >> resiliency(r.alice, r.file_id, data) << r.alice.answer(status))


@script
def the_table_refuses_it() -> Playbook:
    r = Resilient()
    play = (
        r.play
        >> resiliency(r.alice, r.file_id, pack("<II", TIMEOUT, 0))
        << call(r.table.make_resilient, r.ref, TIMEOUT).refuses(s.STATUS_INSUFFICIENT_RESOURCES)
        << r.alice.answer(s.STATUS_INSUFFICIENT_RESOURCES)
    )
    return r.gone(play)


# ---------------------------------------------------------------------------------------------- application instances


class Failover:
    """An application that has a file open through one client, and another client that opens it."""

    def __init__(self, dialect: int = c.DIALECT_311) -> None:
        stage = self.stage = Stage(dialect)
        self.table = stage.table
        self.first = stage.line("first").begin()
        self.second = stage.line("second", guid=b"S" * 16).begin()
        self.old, self.old_id = stage.file("file"), FileId.unknown("old")
        self.new, self.new_id = stage.file("file"), FileId.unknown("new")
        grant = OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, durable_timeout=TIMEOUT)
        self.play = stage.opens(self.first, self.old, self.old_id, grant, DURABLE_V2, INSTANCE)

    def opens(self, *contexts: Context) -> Playbook:
        """The second client opens the file."""
        play = self.play >> self.second.create("file", contexts=contexts)
        if any(name == ctx.DH2Q for name, _ in contexts):
            play = play << call(self.table.find_replay, self.second.guid, GUID).gives(None)
        return play << call(self.stage.volume.create, some(CreateIntent, name="file")).gives(self.new.opened())

    def asked(self, durable: DurableRequest | None) -> OpenRequest:
        """The question to the table then."""
        ref = self.new_id.ref(self.new)
        return some(OpenRequest, ref=ref, client_guid=self.second.guid, durable=durable)


WANTED = DurableRequest(2, GUID, TIMEOUT, False, APPLICATION)
AGE = (3, 4)


@script.each(
    ("durable", c.DIALECT_311, (DURABLE_V2, INSTANCE), WANTED),
    ("version", c.DIALECT_311, (DURABLE_V2, INSTANCE, VERSION), replace(WANTED, app_instance_version=AGE)),
    # SMB2_CREATE_APP_INSTANCE_VERSION is valid in 3.1.1 alone
    ("version_in_302", c.DIALECT_302, (DURABLE_V2, INSTANCE, VERSION), WANTED),
    # 3.3.5.9.13 asks for no durable request beside it
    ("alone", c.DIALECT_311, (INSTANCE, VERSION), DurableRequest(0, b"", 0, False, APPLICATION, AGE)),
    ("durable_v1", c.DIALECT_311, (DURABLE_V1, INSTANCE), DurableRequest(1, b"", 0, False, APPLICATION)),
    ("none", c.DIALECT_210, (INSTANCE, VERSION), None),
)  # fmt: skip
def the_table_is_told_of_the_instance(case: tuple[str, int, tuple[Context, ...], DurableRequest | None]) -> Playbook:
    """It closes the old open before it grants the new one; the first client's FileId names nothing then."""
    _, dialect, contexts, durable = case
    if dialect < c.DIALECT_300:
        stage = Stage(dialect)
        alice, file, file_id = stage.line().begin(), stage.file("file"), FileId.unknown()
        return (
            stage.play
            >> alice.create("file", contexts=contexts)
            << call(stage.volume.create, some(CreateIntent, name="file")).gives(file.opened())
            << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file), durable=None)).gives(OpenGrant(0))
            << alice.created(file_id)
        )
    f = Failover(dialect)
    return (
        f.opens(*contexts)
        << call(f.table.open, f.asked(durable)).gives(OpenGrant(0))
        << f.second.created(f.new_id)
        >> f.table.purges(PurgedOpen(f.old_id.ref(f.old), "share", "file", CloseOutcome(False), None))
        << call(f.old.close)
        >> f.first.close(f.old_id)
        << f.first.answer(s.STATUS_FILE_CLOSED)
    )


@script
def an_older_version_is_refused() -> Playbook:
    """STATUS_FILE_FORCED_CLOSED: the file of the new open is closed, the old open goes on."""
    f = Failover()
    return (
        f.opens(DURABLE_V2, INSTANCE, VERSION)
        << call(f.table.open, f.asked(replace(WANTED, app_instance_version=AGE))).refuses(FORCED_CLOSED)
        << call(f.new.close)
        << f.second.answer(FORCED_CLOSED)
        >> f.first.close(f.old_id)
        << call(f.table.close, f.old_id.ref(f.old)).gives(CloseOutcome(False))
        << call(f.old.close)
        << f.first.answer()
    )


@script.each(("instance", c.DIALECT_311, (INSTANCE,)), ("version", c.DIALECT_302, (INSTANCE, VERSION)))
def with_a_reconnect_it_does_not_count(case: tuple[str, int, tuple[Context, ...]]) -> Playbook:
    """SMB2_CREATE_DURABLE_HANDLE_RECONNECT_V2 is processed as if it were alone."""
    f, kept = Failover(case[1]), unknown(Open, "kept")
    ref, back = f.old_id.ref(f.old), f.stage.line("back")
    wanted = (ctx.DH2C, (f.old_id, GUID, pack("<I", 0)))
    asked = some(DurableReconnect, persistent_id=f.old_id.persistent, version=2, client_guid=f.first.guid)
    request = OpenRequest(ref, f.first.guid, 1, "alice", "share", "file")
    request.durable = WANTED
    grant = OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, durable_timeout=TIMEOUT)
    play = f.play >> f.first.drops() << call(f.table.keep, ref, kept) << call(f.table.disconnect, ref).gives(True)
    return (
        f.stage.ends(play)
        >> back.comes()
        >> back.create("file", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(wanted, *case[2]))
        << call(f.table.find_kept, asked).gives(None)
        << call(f.table.reconnect, asked).gives(Reconnected(request, grant, kept))
        << call(f.old.info).gives(f.old.facts())
        << back.created(f.old_id.again(), level=c.OPLOCK_LEVEL_BATCH)
    )


# ----------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()


@pytest.mark.parametrize("name", script.names)
def test_each_step_counts(name: str) -> None:
    assert script.check_each_step(name)
