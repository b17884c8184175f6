# SPDX-License-Identifier: GPL-2.0-or-later
"""CREATE of a file that a disconnected open with FILE_DELETE_ON_CLOSE has given up for it, and deleted (MS-SMB2
3.3.4.6, MS-FSA 2.1.5.5): the name is looked for again."""
from __future__ import annotations

import pytest
from playbook import Playbook, call, some, unknown
from scripted_files import ScriptedFile
from stage import Scripts, Stage
from stage_messages import FileId

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import CreateIntent, FileInfo, OpenGrant, OpenRequest

script = Scripts()
PARENT = (1, 100)


def deleted(file: ScriptedFile) -> FileInfo:
    """What it is like once it has no name any longer."""
    facts = file.facts()
    facts.number_of_links = 0
    return facts


@script
def the_file_is_made_anew() -> Playbook:
    stage = Stage()
    alice, old, new, file_id = stage.line().begin(), stage.file("old"), stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", c.FILE_OPEN_IF)
        << call(stage.volume.create, some(CreateIntent, name="old", later=True)).gives(old.opened())
        << call(stage.table.open, unknown(OpenRequest)).refuses(s.STATUS_DELETE_PENDING)
        << call(old.info).gives(deleted(old))
        << call(old.close)
        << call(stage.volume.create, some(CreateIntent, name="old", disposition=c.FILE_OPEN_IF)).gives(new.made())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(new), created=True)).gives(OpenGrant(0))
        << call(stage.table.directory_changed, PARENT, b"", alice.guid)
        << alice.created(file_id, c.FILE_CREATED)
    )


@script
def the_file_is_not_found_again() -> Playbook:
    stage = Stage()
    alice, old = stage.line().begin(), stage.file("old")
    return (
        stage.play
        >> alice.create("old", c.FILE_OPEN)
        << call(stage.volume.create, unknown(CreateIntent)).gives(old.opened())
        << call(stage.table.open, unknown(OpenRequest)).refuses(s.STATUS_DELETE_PENDING)
        << call(old.info).gives(deleted(old))
        << call(old.close)
        << call(stage.volume.create, unknown(CreateIntent)).refuses(s.STATUS_OBJECT_NAME_NOT_FOUND)
        << alice.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )


@script
def another_open_still_has_it() -> Playbook:
    """A file that is to be deleted, and is there."""
    stage = Stage()
    alice, old = stage.line().begin(), stage.file("old")
    return (
        stage.play
        >> alice.create("old", c.FILE_OPEN_IF)
        << call(stage.volume.create, unknown(CreateIntent)).gives(old.opened())
        << call(stage.table.open, unknown(OpenRequest)).refuses(s.STATUS_DELETE_PENDING)
        << call(old.info).gives(old.facts())
        << call(old.close)
        << alice.answer(s.STATUS_DELETE_PENDING)
    )


@script
def another_worker_deletes_it() -> Playbook:
    """The CREATE waits for that worker."""
    stage = Stage()
    alice, old, new, file_id = stage.line().begin(), stage.file("old"), stage.file("old"), FileId.unknown()
    granted, async_id = stage.later(OpenGrant), unknown(int, "AsyncId")
    return (
        stage.play
        >> alice.create("old", c.FILE_OPEN_IF)
        << call(stage.volume.create, some(CreateIntent, later=True)).gives(old.opened())
        << call(stage.table.open, unknown(OpenRequest)).pends(granted)
        << alice.pending(async_id)
        >> granted.fails(s.STATUS_DELETE_PENDING)
        << call(old.info).gives(deleted(old))
        << call(old.close)
        << call(stage.volume.create, some(CreateIntent, later=False)).gives(new.made())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(new), created=True)).gives(OpenGrant(0))
        << call(stage.table.directory_changed, PARENT, b"", alice.guid)
        << alice.created(file_id, c.FILE_CREATED)
    )


# -------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("name", script.names)
def test_script(name: str) -> None:
    script.make(name).play()


@pytest.mark.parametrize("name", script.names)
def test_each_step_counts(name: str) -> None:
    assert script.check_each_step(name)
