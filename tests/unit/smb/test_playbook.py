# SPDX-License-Identifier: GPL-2.0-or-later
"""The Playbook finds what differs, says where, and finds what is left."""
from __future__ import annotations

import pytest
from playbook import Act, Departure, Playbook, call, some, unknown, value_of
from stage import ANY_CALL, Line, Stage
from stage_messages import FileId

from ksmbd.smb import constants as c
from ksmbd.smb import status as s
from ksmbd.smb.ports import CloseOutcome, CreateIntent, OpenGrant, OpenRef, OpenRequest


def overwriting(stage: Stage, alice: Line) -> Playbook:
    """Five steps in their order."""
    file, file_id = stage.file("old"), FileId.unknown()
    return (
        stage.play
        >> alice.create("old", c.FILE_OVERWRITE)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file), oplock_level=0)).gives(OpenGrant(0))
        << call(file.overwrite, 0, False, ())
        << call(file.info).gives(file.facts())
        << alice.created(file_id, c.FILE_OVERWRITTEN)
    )


def difference(play: Playbook) -> list[str]:
    """The lines that differ, without arguments."""
    with pytest.raises(AssertionError) as caught:
        play.play()
    return [line.split("(")[0] for line in str(caught.value).splitlines() if line[0] in "-+"]


def test_the_right_order() -> None:
    stage = Stage()
    overwriting(stage, stage.line().begin()).play()


def test_two_steps_that_changed_places() -> None:
    """A server that emptied the file before it asked the open table would do what this script has."""
    stage = Stage()
    play = overwriting(stage, stage.line().begin())
    play.steps[2], play.steps[3] = play.steps[3], play.steps[2]
    assert difference(play) == ["+ << table.open", "- << table.open"]


def test_a_step_that_the_script_does_not_have() -> None:
    stage = Stage()
    play = overwriting(stage, stage.line().begin())
    del play.steps[3]
    assert difference(play) == ["- << old.info", "- << alice.gets", "+ << old.overwrite"]


def test_a_step_that_does_not_happen() -> None:
    stage = Stage()
    play = overwriting(stage, stage.line().begin())
    play.steps.insert(2, call(stage.table.delete_pending, (1, 101)).gives(False))
    assert difference(play) == ["- << table.delete_pending"]


def test_another_argument() -> None:
    """It is shown with the fields that the script names."""
    stage = Stage()
    alice, file = stage.line().begin(), stage.file("old")
    play = (
        stage.play
        >> alice.create("old", oplock=c.OPLOCK_LEVEL_II)
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, oplock_level=c.OPLOCK_LEVEL_BATCH)).gives(OpenGrant(0))
        << alice.created(FileId.unknown())
    )
    with pytest.raises(AssertionError) as caught:
        play.play()
    text = str(caught.value)
    assert "- << table.open(OpenRequest(oplock_level=9, ...)) gives OpenGrant(oplock_level=0)" in text
    assert "+ << table.open(OpenRequest(oplock_level=1, ...)) gives OpenGrant(oplock_level=0)" in text


def test_another_answer_to_the_client() -> None:
    stage = Stage()
    alice = stage.line().begin()
    play = (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, unknown(CreateIntent)).refuses(s.STATUS_ACCESS_DENIED)
        << alice.answer(s.STATUS_OBJECT_NAME_NOT_FOUND)
    )
    with pytest.raises(AssertionError, match=r"(?s)- .*OBJECT_NAME_NOT_FOUND.*\+ .*ACCESS_DENIED"):
        play.play()


def test_another_answer_than_the_first_one_stood_for() -> None:
    """What is unknown is what was met first."""
    stage = Stage()
    alice, file, other = stage.line().begin(), stage.file("old"), stage.file("other", key=(1, 102))
    file_id = FileId.unknown()
    play = (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << alice.created(file_id)
        >> alice.create("other")
        << call(stage.volume.create, unknown(CreateIntent)).gives(other.opened())
        << call(stage.table.open, unknown(OpenRequest)).gives(OpenGrant(0))
        << alice.created(file_id)
    )
    assert difference(play) == ["- << alice.gets", "+ << alice.gets"]


def test_what_is_not_known_yet_cannot_be_sent() -> None:
    stage = Stage()
    alice = stage.line().begin()
    play = stage.play >> alice.close(FileId.unknown()) << alice.answer()
    assert difference(play) == ["- << alice.gets", "+ << <FileId.Persistent> is not known yet"]
    with pytest.raises(Departure):
        value_of(FileId.unknown())


def test_a_wait_that_is_left() -> None:
    stage = Stage()
    alice, file, granted = stage.line().begin(), stage.file("old"), stage.later(OpenGrant)
    (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, unknown(OpenRequest)).pends(granted)
        << alice.pending(unknown(int))
    )
    with pytest.raises(AssertionError, match=r"(?s)left.*old.*grant is pending|left.*grant is pending.*old"):
        stage.play.play()


def test_a_file_and_an_open_that_are_left() -> None:
    """A server that forgot them in all its ways back would pass a script that forgets them, too."""
    stage = Stage()
    alice, file, file_id = stage.line().begin(), stage.file("old"), FileId.unknown()
    play = (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, unknown(CreateIntent)).gives(file.opened())
        << call(stage.table.open, some(OpenRequest, ref=file_id.ref(file))).gives(OpenGrant(0))
        << alice.created(file_id)
    )

    def forget() -> str:
        stage.server.opens.clear()
        return ""

    play.left = {"a fault": forget, **play.left}
    with pytest.raises(AssertionError, match=r"files that no Open has: \['old'\], opens of the table: \[OpenRef"):
        play.play()


def test_a_timer_that_is_left() -> None:
    stage = Stage()
    timer = stage.clock.timer("timer")

    def ask() -> None:
        stage.clock.call_later(3.0, ask)

    play = stage.play >> Act("a timer is asked for", ask) << call(stage.clock.call_later, 3.0, ANY_CALL).gives(timer)
    with pytest.raises(AssertionError, match="timer was not cancelled"):
        play.play()


def test_what_a_call_brings_about_before_it_is_answered() -> None:
    """Its consequences are next; a server that went on before them would be found."""
    stage = Stage()
    alice, bob, file = stage.line().begin(), stage.line("bob").begin(), stage.file("old")
    late = bob.asks("ECHO", c.ECHO, lambda: b"\x04\0\0\0")
    play = (
        stage.play
        >> alice.create("old")
        << call(stage.volume.create, unknown(CreateIntent)).does(late).gives(file.opened())
        << bob.answer(to=late)
        << call(stage.table.open, unknown(OpenRequest)).gives(OpenGrant(0))
        << alice.created(FileId.unknown())
    )
    play.steps[2], play.steps[3] = play.steps[3], play.steps[2]
    assert difference(play) == ["+ << bob.gets", "- << bob.gets"]


def test_a_step_without_an_answer_is_refused() -> None:
    stage = Stage()
    with pytest.raises(AssertionError, match="what does it give"):
        stage.play << call(stage.table.close, unknown(OpenRef))
    with pytest.raises(AssertionError, match="cannot wait"):
        call(stage.table.close, unknown(OpenRef)).pends(stage.later(CloseOutcome))
    with pytest.raises(TypeError, match="OpenRequest has no oplock"):
        some(OpenRequest, oplock=1)
    with pytest.raises(TypeError):
        call(stage.table.close)  # type: ignore[call-overload]
