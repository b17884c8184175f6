# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE in order over all ports (MS-SMB2 3.3.5.9): what is opened, asked, emptied, answered, and taken back."""
from __future__ import annotations

from struct import pack

import pytest
from playbook import Playbook, call, some, unknown
from stage import ANY_CALL, Scripts, Stage
from stage_messages import FileId

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb import status as s
from ksmbd.smb.ports import (
    CloseOutcome,
    CreateIntent,
    CreateResult,
    DurableRequest,
    LeaseGrant,
    LeaseRequest,
    OpenGrant,
    OpenRequest,
    ShareConfig,
)
from ksmbd.smb.settings import ServerSettings

script = Scripts()

KEY = b"lease key       "
GUID = b"create guid     "
PARENT = (1, 100)
RWH = c.LEASE_READ_CACHING | c.LEASE_WRITE_CACHING | c.LEASE_HANDLE_CACHING
LEASE_V1 = (ctx.RQLS, (pack("<16sIIQ", KEY, RWH, 0, 0),))
LEASE_V2 = (ctx.RQLS, (pack("<16sIIQ16sHH", KEY, RWH, 0, 0, bytes(16), 3, 0),))
DURABLE_V1 = (ctx.DHNQ, (bytes(16),))
DURABLE_V2 = (ctx.DH2Q, (pack("<II8s16s", 60_000, 0, b"", GUID),))
PERSISTENT = (ctx.DH2Q, (pack("<II8s16s", 60_000, 2, b"", GUID),))


# ------------------------------------------------------------------------------------------------------ what goes well


@script
def an_existing_file() -> Playbook:
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, some(CreateIntent, name="old", disposition=c.FILE_OPEN)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file), created=False)).gives(OpenGrant(0))
        << alice.created(file_id)
        >> alice.close(file_id)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(False))
        << call(file.close)
        << alice.answer()
    )


@script
def a_new_file() -> Playbook:
    """Its directory has changed, but only once it is answered."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("new"), FileId.unknown()
    return (
        stage.play
        >> alice.create("new", c.FILE_CREATE, attributes=c.FILE_ATTRIBUTE_HIDDEN)
        << call(
            stage.volume.create,
            some(CreateIntent, name="new", disposition=c.FILE_CREATE, attributes=c.FILE_ATTRIBUTE_HIDDEN),
        ).gives(file.made())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file), created=True)).gives(OpenGrant(0))
        << call(stage.table.directory_changed, PARENT, b"", alice.guid)
        << alice.created(file_id, c.FILE_CREATED)
    )


@script.each(
    ("overwrite", c.FILE_OVERWRITE, False, c.FILE_OVERWRITTEN),
    ("overwrite_if", c.FILE_OVERWRITE_IF, False, c.FILE_OVERWRITTEN),
    ("supersede", c.FILE_SUPERSEDE, True, c.FILE_SUPERSEDED),
)
def an_existing_file_is_emptied(case: tuple[str, int, bool, int]) -> Playbook:
    """Not before the open table has agreed (MS-FSA 2.1.5.1.2.1)."""
    _, disposition, supersede, action = case
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", disposition, attributes=c.FILE_ATTRIBUTE_ARCHIVE)
        << call(stage.volume.create, some(CreateIntent, disposition=disposition)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, disposition=disposition)).gives(OpenGrant(0))
        << call(file.overwrite, c.FILE_ATTRIBUTE_ARCHIVE, supersede, ())
        << call(file.info).gives(file.facts())
        << alice.created(file_id, action)
    )


@script.each(("overwrite_if", c.FILE_OVERWRITE_IF), ("supersede", c.FILE_SUPERSEDE), ("open_if", c.FILE_OPEN_IF))
def what_was_not_there_is_not_emptied(case: tuple[str, int]) -> Playbook:
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("new"), FileId.unknown()
    return (
        stage.play
        >> alice.create("new", case[1])
        << call(stage.volume.create, some(CreateIntent, disposition=case[1])).gives(file.made())
        << call(stage.table.open, some(OpenRequest, created=True)).gives(OpenGrant(0))
        << call(stage.table.directory_changed, PARENT, b"", alice.guid)
        << alice.created(file_id, c.FILE_CREATED)
    )


@script
def an_existing_directory() -> Playbook:
    """A directory has leases alone: no oplock is asked for (MS-SMB2 3.3.5.9)."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("folder", directory=True), FileId.unknown()
    asked = some(OpenRequest, is_directory=True, oplock_level=c.OPLOCK_LEVEL_NONE)
    return (
        stage.play
        >> alice.create("folder", options=c.FILE_DIRECTORY_FILE, oplock=c.OPLOCK_LEVEL_BATCH)
        << call(stage.volume.create, some(CreateIntent, options=c.FILE_DIRECTORY_FILE)).gives(file.opened())
        << call(stage.table.open, asked).gives(OpenGrant(0))
        << alice.created(file_id)
        >> alice.close(file_id)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(False))
        << call(stage.table.delete_pending, file.key).gives(False)
        << call(file.close)
        << alice.answer()
    )


@script
def a_new_stream() -> Playbook:
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old:notes", stream="notes"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old:notes", c.FILE_OPEN_IF)
        << call(stage.volume.create, some(CreateIntent, name="old", stream="notes")).gives(file.made())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << call(stage.table.directory_changed, PARENT, b"", alice.guid)
        << alice.created(file_id, c.FILE_CREATED)
    )


@script
def maximal_access_is_asked_last() -> Playbook:
    """MS-SMB2 3.3.5.9.5; where it fails the context says so, and the CREATE succeeds."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", contexts=((ctx.MXAC, ()),))
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, unknown(OpenRequest)).gives(OpenGrant(0))
        << call(file.maximal_access).refuses(s.STATUS_ACCESS_DENIED)
        << alice.created(file_id, others=(ctx.MXAC,))
    )


@script
def a_file_is_deleted_when_it_is_closed() -> Playbook:
    """Whether it can be is asked before the open table is (MS-FSA 2.1.5.1.2), and it goes before its directory is said
    to have changed."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", options=c.FILE_DELETE_ON_CLOSE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(file.check_delete)
        << call(stage.table.open, some(OpenRequest, options=c.FILE_DELETE_ON_CLOSE)).gives(OpenGrant(0))
        << alice.created(file_id)
        >> alice.close(file_id)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(True))
        << call(file.unlink)
        << call(stage.table.directory_changed, PARENT, b"", alice.guid)
        << call(file.close)
        << alice.answer()
    )


# --------------------------------------------------------------------------------------- oplocks, leases, durable opens


@script
def a_batch_oplock() -> Playbook:
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_BATCH)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, oplock_level=c.OPLOCK_LEVEL_BATCH, lease=None, durable=None))
        .gives(OpenGrant(c.OPLOCK_LEVEL_BATCH))
        << alice.created(file_id, level=c.OPLOCK_LEVEL_BATCH)
    )  # fmt: skip


@script
def a_share_without_oplocks() -> Playbook:
    stage = Stage(share=ShareConfig("share", "/srv", oplocks=False))
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_LEASE, contexts=(LEASE_V2,))
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, oplock_level=0, lease=None)).gives(OpenGrant(0))
        << alice.created(file_id)
    )


@script.each(
    ("202_v1", c.DIALECT_202, 1, False),
    ("210_v1", c.DIALECT_210, 1, True),
    ("210_v2", c.DIALECT_210, 2, False),
    ("300_v2", c.DIALECT_300, 2, True),
    ("311_v1", c.DIALECT_311, 1, True),
)
def a_lease(case: tuple[str, int, int, bool]) -> Playbook:
    """Only a dialect that knows its version asks for one (MS-SMB2 3.3.5.9.8, 3.3.5.9.11)."""
    _, dialect, version, known = case
    stage = Stage(dialect)
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    asked = LeaseRequest(KEY, RWH, version, 0, b"", 3 if version == 2 else 0) if known else None
    granted = LeaseGrant(KEY, RWH, version, 0, b"", 4 if version == 2 else 0) if known else None
    level = c.OPLOCK_LEVEL_LEASE if known else c.OPLOCK_LEVEL_NONE
    return (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_LEASE, contexts=(LEASE_V1 if version == 1 else LEASE_V2,))
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, oplock_level=level, lease=asked)).gives(OpenGrant(level, granted))
        << alice.created(file_id, level=level, lease=granted)
    )


@script.each(
    ("batch", c.OPLOCK_LEVEL_BATCH, ()),
    ("level_2", c.OPLOCK_LEVEL_II, None),
)
def durable_v1(case: tuple[str, int, tuple[int, ...] | None]) -> Playbook:
    """It takes a batch oplock (MS-SMB2 3.3.5.9.6)."""
    _, granted, durable = case
    stage = Stage(c.DIALECT_210)
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(DURABLE_V1,))
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, durable=DurableRequest(1))).gives(OpenGrant(granted, durable=True))
        << alice.created(file_id, level=granted, durable=durable)
    )


@script.each(("handle", RWH, (60_000, 0)), ("read", c.LEASE_READ_CACHING, None))
def durable_v2_with_a_lease(case: tuple[str, int, tuple[int, ...] | None]) -> Playbook:
    """It takes handle caching (MS-SMB2 3.3.5.9.10). What has this CreateGuid is asked before anything is opened."""
    _, state, durable = case
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    granted = LeaseGrant(KEY, state, 2, 0, b"", 4)
    asked = some(
        OpenRequest, durable=DurableRequest(2, GUID, 60_000), lease=LeaseRequest(KEY, RWH, 2, 0, b"", 3)
    )
    return (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_LEASE, contexts=(LEASE_V2, DURABLE_V2))
        << call(stage.table.find_replay, alice.guid, GUID).gives(None)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, asked)
        .gives(OpenGrant(c.OPLOCK_LEVEL_LEASE, granted, True, durable_timeout=60_000))
        << alice.created(file_id, level=c.OPLOCK_LEVEL_LEASE, lease=granted, durable=durable)
    )  # fmt: skip


@script.each(("available", True, 2), ("not_available", False, 0))
def a_persistent_open(case: tuple[str, bool, int]) -> Playbook:
    """Only where the share is continuously available (MS-SMB2 3.3.5.9.10)."""
    _, available, flags = case
    stage = Stage(share=ShareConfig("share", "/srv", continuous_availability=available))
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    handle = b"handle" if available else b""
    asked = some(OpenRequest, durable=DurableRequest(2, GUID, 60_000, available, handle=handle))
    play = (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_BATCH, contexts=(PERSISTENT,))
        << call(stage.table.find_replay, alice.guid, GUID).gives(None)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
    )
    if available:
        play = play << call(file.handle).gives(b"handle")
    return (
        play
        << call(stage.table.open, asked)
        .gives(OpenGrant(c.OPLOCK_LEVEL_BATCH, None, True, available, 60_000))
        << alice.created(file_id, level=c.OPLOCK_LEVEL_BATCH, durable=(60_000, flags))
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- waiting


@script
def it_waits_for_somebodys_cache() -> Playbook:
    """What the file was like before is asked anew: its holder may have written it back."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    granted = stage.later(OpenGrant)
    return (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).pends(granted)
        << alice.pending(unknown(int, "AsyncId"))
        >> granted.comes(OpenGrant(c.OPLOCK_LEVEL_II))
        << call(file.info).gives(file.facts())
        << alice.created(file_id, level=c.OPLOCK_LEVEL_II)
    )


@script
def it_is_emptied_only_once_the_cache_is_back() -> Playbook:
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    granted = stage.later(OpenGrant)
    return (
        stage.play
        >> alice.create("old", c.FILE_OVERWRITE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, unknown(OpenRequest)).pends(granted)
        << alice.pending(unknown(int, "AsyncId"))
        >> granted.comes(OpenGrant(0))
        << call(file.overwrite, 0, False, ())
        << call(file.info).gives(file.facts())
        << alice.created(file_id, c.FILE_OVERWRITTEN)
    )


class Waiting:
    """A CREATE of a file, new or not, that waits for somebody's cache."""

    def __init__(self, made: bool) -> None:
        stage = self.stage = Stage()
        self.alice = stage.line().begin()
        self.file, self.file_id = stage.file("file"), FileId.unknown()
        self.granted = stage.later(OpenGrant)
        self.async_id = unknown(int, "AsyncId")
        self.create = self.alice.create("file", c.FILE_OPEN_IF)
        self.play = (
            stage.play
            >> self.create
            << call(stage.volume.create, unknown(CreateIntent)).gives(self.file.made() if made else self.file.opened())
            << call(stage.table.open, some(OpenRequest, ref=self.file_id.ref(self.file))).pends(self.granted)
            << self.alice.pending(self.async_id)
        )


@script.each(("made", True), ("opened", False))
def a_cancel_while_it_waits(case: tuple[str, bool]) -> Playbook:
    """The waiter is withdrawn before what it waited for is taken back (MS-SMB2 3.3.5.16)."""
    w = Waiting(case[1])
    play = w.play >> w.alice.cancel(w.async_id) << w.granted.cancelled()
    if case[1]:
        play = play << call(w.file.undo_create)
    return play << call(w.file.close) << w.alice.answer(s.STATUS_CANCELLED, async_id=w.async_id)


@script.each(("made", True), ("opened", False))
def the_connection_is_lost_while_it_waits(case: tuple[str, bool]) -> Playbook:
    """Nothing is answered; the session ends when nothing of the request is left (MS-SMB2 3.3.7.1)."""
    w = Waiting(case[1])
    play = w.play >> w.alice.drops() << w.granted.cancelled()
    if case[1]:
        play = play << call(w.file.undo_create)
    return w.stage.ends(play << call(w.file.close))


@script.each(("made", True), ("opened", False))
def it_is_refused_after_it_waited(case: tuple[str, bool]) -> Playbook:
    w = Waiting(case[1])
    play = w.play >> w.granted.fails(s.STATUS_SHARING_VIOLATION)
    if case[1]:
        play = play << call(w.file.undo_create)
    return play << call(w.file.close) << w.alice.answer(s.STATUS_SHARING_VIOLATION, async_id=w.async_id)


@script
def the_tree_connect_ends_while_it_waits() -> Playbook:
    """What waits on it is cancelled (MS-SMB2 3.3.5.8), and answered first."""
    w = Waiting(True)
    return (
        w.play
        >> w.alice.asks("TREE_DISCONNECT", c.TREE_DISCONNECT, lambda: b"\x04\0\0\0")
        << call(w.stage.volume.close)
        << call(w.stage.daemon.tree_disconnect, unknown(int), 1)
        << w.granted.cancelled()
        << call(w.file.undo_create)
        << call(w.file.close)
        << w.alice.answer(s.STATUS_CANCELLED, to=w.create, async_id=w.async_id)
        << w.alice.answer()
    )


# --------------------------------------------------------------------------------------------------- beside local ones


class BesideLocal:
    """A CREATE beside local processes that the table has granted; one of those has a lease, so it tries again later."""

    def __init__(self, made: bool = False) -> None:
        stage = self.stage = Stage()
        self.alice = stage.line().begin()
        self.file, self.local, self.file_id = stage.file("file"), stage.local(), FileId.unknown()
        self.ref = self.file_id.ref(self.file)
        self.timer = stage.clock.timer("pause")
        self.async_id = unknown(int, "AsyncId")
        grant = OpenGrant(c.OPLOCK_LEVEL_BATCH)
        result = self.file.made(self.local) if made else self.file.opened(self.local)
        self.play = (
            stage.play
            >> self.alice.create("file", c.FILE_OVERWRITE_IF, oplock=c.OPLOCK_LEVEL_BATCH)
            << call(stage.volume.create, unknown(CreateIntent)).gives(result)
            << call(stage.table.open, some(OpenRequest, ref=self.ref, local=self.local)).gives(grant)
            << call(stage.table.admit, self.ref, self.local, grant).gives(None)
            << call(stage.clock.call_later, 0.002, ANY_CALL).gives(self.timer)
            << self.alice.pending(self.async_id)
        )


@script
def a_local_process_gives_its_lease_back() -> Playbook:
    """The file's data is opened, and emptied, only then; less may be granted than the table did."""
    b = BesideLocal()
    return (
        b.play
        >> b.timer.fires()
        << call(b.stage.table.admit, b.ref, b.local, OpenGrant(c.OPLOCK_LEVEL_BATCH))
        .gives(OpenGrant(c.OPLOCK_LEVEL_II))
        << call(b.file.overwrite, 0, False, ())
        << call(b.file.info).gives(b.file.facts())
        << b.alice.created(b.file_id, c.FILE_OVERWRITTEN, level=c.OPLOCK_LEVEL_II)
    )  # fmt: skip


@script.each(("made", True), ("opened", False))
def a_local_process_keeps_its_lease(case: tuple[str, bool]) -> Playbook:
    b = BesideLocal(case[1])
    play = (
        b.play
        >> b.stage.clock.passes(90)
        >> b.timer.fires()
        << call(b.stage.table.admit, b.ref, b.local, OpenGrant(c.OPLOCK_LEVEL_BATCH)).gives(None)
        << call(b.stage.table.close, b.ref).gives(CloseOutcome(False))
    )
    if case[1]:
        play = play << call(b.file.undo_create)
    return play << call(b.file.close) << b.alice.answer(s.STATUS_SHARING_VIOLATION)


@script
def a_cancel_between_two_tries() -> Playbook:
    """The pause ends with it."""
    b = BesideLocal()
    return (
        b.play
        >> b.alice.cancel(b.async_id)
        << call(b.timer.cancel)
        << call(b.stage.table.close, b.ref).gives(CloseOutcome(False))
        << call(b.file.close)
        << b.alice.answer(s.STATUS_CANCELLED)
    )


# ------------------------------------------------------------------------------------------------------------ refusals


@script.each(
    ("options", {"options": 0x80000000}, s.STATUS_INVALID_PARAMETER),
    ("disposition", {"disposition": 6}, s.STATUS_INVALID_PARAMETER),
    ("not_supported", {"options": c.FILE_OPEN_BY_FILE_ID}, s.STATUS_NOT_SUPPORTED),
    ("access", {"access": 0}, s.STATUS_ACCESS_DENIED),
    ("attributes", {"attributes": 0x40}, s.STATUS_INVALID_PARAMETER),
    (
        "directory", {"options": c.FILE_DIRECTORY_FILE, "disposition": c.FILE_OVERWRITE_IF},
        s.STATUS_INVALID_PARAMETER,
    ),
    (
        "delete", {"options": c.FILE_DELETE_ON_CLOSE, "access": c.FILE_READ_DATA}, s.STATUS_INVALID_PARAMETER,
    ),
    ("contexts", {"contexts": (DURABLE_V1, DURABLE_V2)}, s.STATUS_INVALID_PARAMETER),
    ("twice", {"contexts": (DURABLE_V2, DURABLE_V2)}, s.STATUS_INVALID_PARAMETER),
)  # fmt: skip
def what_is_wrong_by_itself(case: tuple[str, dict[str, int], int]) -> Playbook:
    """No port hears of it."""
    stage = Stage()
    alice = stage.line().begin()
    _, fields, status = case
    return stage.play >> alice.create("old", **fields) << alice.answer(status)  # type: ignore[arg-type]


@script.each(("write", c.FILE_WRITE_DATA, c.FILE_OPEN), ("create", c.FILE_READ_DATA, c.FILE_CREATE))
def a_share_that_is_read_only(case: tuple[str, int, int]) -> Playbook:
    stage = Stage(writable=False)
    alice = stage.line().begin()
    return stage.play >> alice.create("old", case[2], access=case[1]) << alice.answer(s.STATUS_ACCESS_DENIED)


@script.each(("dacl", c.WRITE_DAC), ("all", c.GENERIC_ALL), ("one_of_two", c.FILE_READ_DATA | c.WRITE_OWNER))
def what_the_share_s_descriptor_withholds(case: tuple[str, int]) -> Playbook:
    """MS-SMB2 3.3.5.9: DesiredAccess beyond TreeConnect.MaximalAccess."""
    stage = Stage(share=ShareConfig("share", "/srv", withheld=c.WRITE_DAC | c.WRITE_OWNER))
    alice = stage.line().begin()
    return stage.play >> alice.create("old", access=case[1]) << alice.answer(s.STATUS_ACCESS_DENIED)


@script
def all_that_is_not_withheld() -> Playbook:
    withheld = c.WRITE_DAC | c.WRITE_OWNER
    stage = Stage(share=ShareConfig("share", "/srv", withheld=withheld))
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    asked = some(OpenRequest, granted_access=c.FILE_ALL_ACCESS & ~withheld)
    return (
        stage.play
        >> alice.create("old", access=c.MAXIMUM_ALLOWED)
        << call(stage.volume.create, some(CreateIntent, desired_access=c.MAXIMUM_ALLOWED)).gives(
            file.opened()._replace(granted_access=c.FILE_ALL_ACCESS))
        << call(stage.table.open, asked).gives(OpenGrant(0))
        << alice.created(file_id)
    )


@script
def one_open_too_many() -> Playbook:
    """Nothing is opened for it."""
    stage = Stage(settings=ServerSettings(max_open_files=0))
    alice = stage.line().begin()
    return stage.play >> alice.create("new", c.FILE_CREATE) << alice.answer(s.STATUS_TOO_MANY_OPENED_FILES)


@script.each(c.FILE_OPEN, c.FILE_CREATE, c.FILE_OPEN_IF, c.FILE_OVERWRITE, c.FILE_OVERWRITE_IF, c.FILE_SUPERSEDE)
def the_file_system_refuses(disposition: int) -> Playbook:
    """The open table is not asked."""
    stage = Stage()
    alice = stage.line().begin()
    return (
        stage.play
        >> alice.create("old", disposition)
        << call(stage.volume.create, some(CreateIntent, disposition=disposition)).refuses(s.STATUS_ACCESS_DENIED)
        << alice.answer(s.STATUS_ACCESS_DENIED)
    )


@script.each(("made", c.FILE_CREATE, True), ("opened", c.FILE_OPEN, False))
def it_could_not_be_deleted(case: tuple[str, int, bool]) -> Playbook:
    _, disposition, made = case
    stage = Stage()
    alice, file = stage.line().begin(), stage.file("file")
    play = (
        stage.play
        >> alice.create("file", disposition, options=c.FILE_DELETE_ON_CLOSE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.made() if made else file.opened())
        << call(file.check_delete).refuses(s.STATUS_CANNOT_DELETE)
    )
    if made:
        play = play << call(file.undo_create)
    return play << call(file.close) << alice.answer(s.STATUS_CANNOT_DELETE)


@script.each(
    ("open", c.FILE_OPEN, False),
    ("create", c.FILE_CREATE, True),
    ("overwrite", c.FILE_OVERWRITE, False),
    ("supersede", c.FILE_SUPERSEDE, False),
    ("supersede_new", c.FILE_SUPERSEDE, True),
)
def the_open_table_refuses(case: tuple[str, int, bool]) -> Playbook:
    """Nothing is emptied; what was made goes, and what was there stays as it was."""
    _, disposition, made = case
    stage = Stage()
    alice, file = stage.line().begin(), stage.file("file")
    play = (
        stage.play
        >> alice.create("file", disposition)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.made() if made else file.opened())
        << call(stage.table.open, unknown(OpenRequest)).refuses(s.STATUS_SHARING_VIOLATION)
    )
    if made:
        play = play << call(file.undo_create)
    return play << call(file.close) << alice.answer(s.STATUS_SHARING_VIOLATION)


@script.each(("overwrite", c.FILE_OVERWRITE, False), ("supersede", c.FILE_SUPERSEDE, True))
def it_cannot_be_emptied(case: tuple[str, int, bool]) -> Playbook:
    _, disposition, supersede = case
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", disposition)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << call(file.overwrite, 0, supersede, ()).refuses(s.STATUS_DISK_FULL)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(False))
        << call(file.close)
        << alice.answer(s.STATUS_DISK_FULL)
    )


@script
def it_cannot_be_answered() -> Playbook:
    """The open is out of all tables again before its file is closed."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    made = CreateResult(file, c.FILE_CREATED, c.FILE_ALL_ACCESS)
    return (
        stage.play
        >> alice.create("old", c.FILE_CREATE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(made)
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << call(file.info).refuses(s.STATUS_UNEXPECTED_IO_ERROR)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(False))
        << call(file.undo_create)
        << call(file.close)
        << alice.answer(s.STATUS_UNEXPECTED_IO_ERROR)
    )


@script
def its_folders_leases_cannot_be_broken() -> Playbook:
    """The open table fails before the CREATE is answered: nothing of it stays."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("new"), FileId.unknown()
    return (
        stage.play
        >> alice.create("new", c.FILE_CREATE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.made())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << call(stage.table.directory_changed, PARENT, b"", alice.guid).refuses(s.STATUS_INSUFFICIENT_RESOURCES)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(False))
        << call(file.undo_create)
        << call(file.close)
        << alice.answer(s.STATUS_INSUFFICIENT_RESOURCES)
    )


@script.each(("asked_by_others", 0, True), ("asked_by_itself", c.FILE_DELETE_ON_CLOSE, False))
def an_open_that_fails_deletes_for_others_alone(case: tuple[str, int, bool]) -> Playbook:
    """Somebody has asked for the file's end meanwhile, and this was the last open that held it up."""
    _, options, unlinked = case
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    play = (
        stage.play
        >> alice.create("old", c.FILE_OVERWRITE, options=options)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
    )
    if options:
        play = play << call(file.check_delete)
    play = (
        play
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << call(file.overwrite, 0, False, ()).refuses(s.STATUS_DISK_FULL)
        << call(stage.table.close, file_id.ref(file)).gives(CloseOutcome(True))
    )
    if unlinked:
        play = play << call(file.unlink)
    return play << call(file.close) << alice.answer(s.STATUS_DISK_FULL)


@script
def what_cannot_be_undone_does_not_hold_up_the_rest() -> Playbook:
    """The client hears of the first failure."""
    stage = Stage()
    alice, file = stage.line().begin(), stage.file("new")
    return (
        stage.play
        >> alice.create("new", c.FILE_CREATE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.made())
        << call(stage.table.open, unknown(OpenRequest)).refuses(s.STATUS_DELETE_PENDING)
        << call(file.undo_create).refuses(s.STATUS_ACCESS_DENIED)
        << call(file.close)
        << alice.answer(s.STATUS_DELETE_PENDING)
    )


# -------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()


@pytest.mark.parametrize("name", script.names)
def test_each_step_counts(name: str) -> None:
    assert script.check_each_step(name)
