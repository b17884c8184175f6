# SPDX-License-Identifier: GPL-2.0-or-later
"""Unix users and groups are looked up in threads: a slow directory delays only those who need it."""

from __future__ import annotations

import grp
import os
import pwd
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd import limits
from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import Event, TreeStatus, UserFlag
from ksmbd.kernel.groups import group_list
from ksmbd.overriding import override
from mountd.loop import Loop
from mountd.requests import Requests
from mountd.unixusers import UnixUser
from mountd.userlookups import STRANGERS, THREADS, UserLookups

TEXT = "[s]\npath = /s\nread only = no\nvalid users = @staff @empty\n[f]\npath = /f\nforce user = media\n"


class SlowUsers(FakeUsers):
    """A directory that does not answer some names until the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: set[str] = set()
        self.go_on = threading.Event()
        self.asked: list[str] = []
        self.broken: set[str] = set()

    @override
    def user(self, name: str) -> UnixUser | None:
        self.asked.append(name)
        if name in self.slow:
            self.go_on.wait(60)
        if name in self.broken:
            raise OSError(5, "Input/output error")
        return super().user(name)


class Office:
    """Requests with threads for users, and the loop that serves them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.system = SlowUsers()
        self.lookups = UserLookups(self.loop, self.system)
        self.replies: list[Message] = []
        known = accounts("ann", "bob", "slow", "smbonly", *(f"slow{number}" for number in range(20)))
        self.requests = Requests(configuration(TEXT), known, LocalServices(), self.lookups)
        self.requests.reply = lambda slot, message: self.replies.append(decode(encode(message)))

    def send(self, event: Event, slot: int = 1, **fields: Any) -> None:
        reply = self.requests.answer(slot, decode(encode(Message(event, fields=fields))))
        if reply is not None:
            self.replies.append(decode(encode(reply)))

    def log_on(self, account: str, handle: int = 1, slot: int = 1) -> None:
        self.send(Event.LOGIN_REQUEST, slot, handle=handle, account=account)

    def until(self, done: Callable[[], bool]) -> None:
        """Serve until something is so."""
        timer = self.loop.call_later(60, self.loop.stop)
        while not done():
            self.loop.call_later(0.001, self.loop.stop)
            self.loop.run()
        timer.cancel()

    def reply(self) -> Message:
        """The next one."""
        self.until(lambda: bool(self.replies))
        return self.replies.pop(0)


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.system.go_on.set()
    made.lookups.close(60)
    made.loop.close()


def test_a_log_on_is_answered_later(office: Office) -> None:
    office.log_on("ann")
    assert office.replies == []
    reply = office.reply()
    assert (reply.event, reply.fields["uid"], reply.handle) == (Event.LOGIN_RESPONSE, 1001, 1)
    assert reply.fields["status"] == UserFlag.OK | UserFlag.EXTENSION
    assert len(office.lookups) == 0


def test_a_slow_directory_holds_up_nobody_else(office: Office) -> None:
    office.system.slow = {"slow"}
    office.log_on("slow", 1)
    for handle, account in ((2, "ann"), (3, "bob")):
        office.log_on(account, handle)
        assert office.reply().handle == handle
    office.send(Event.HEARTBEAT_REQUEST, handle=4)
    assert office.reply().handle == 4
    assert len(office.lookups) == 1
    office.system.go_on.set()
    assert office.reply().handle == 1


def test_names_that_nobody_knows_do_not_hold_up_users(office: Office) -> None:
    strangers = [f"stranger{number}" for number in range(STRANGERS + THREADS + 5)]
    office.system.slow = set(strangers)
    for number, name in enumerate(strangers):
        office.log_on(name, 100 + number)
    office.log_on("ann", 7)
    assert office.reply().handle == 7


def test_groups_and_forced_users_are_looked_up_too(office: Office) -> None:
    office.send(
        Event.TREE_CONNECT_REQUEST, handle=5, session_id=1, connect_id=1, account="ann", account_flags=1, share="s",
        peer_addr="192.0.2.1",
    )
    assert office.replies == []
    assert office.reply().fields["status"] == TreeStatus.OK
    assert len(office.requests.sessions) == 1
    office.send(Event.SHARE_CONFIG_REQUEST, handle=6, share_name="f")
    assert office.reply().fields["force_uid"] == 0xFFFF  # 100001 does not fit the field; the attribute has it


def test_a_change_of_groups_is_seen_at_the_next_log_on(office: Office) -> None:
    def groups() -> bytes:
        office.send(Event.LOGIN_REQUEST_EXT, handle=1, account="ann")
        return bytes(office.reply().fields["payload"])

    before = groups()
    office.system.users["ann"] = UnixUser("ann", 1001, 1001, (1001,))
    after = groups()
    assert (len(before), len(after)) == (8, 4)


def test_a_broken_directory_refuses_and_is_told(office: Office) -> None:
    office.system.broken = {"ann"}
    office.log_on("ann", 9)
    reply = office.reply()
    assert (reply.event, reply.handle) == (Event.FAILED, 9)


def test_a_process_that_has_ended_gets_no_answer(office: Office) -> None:
    office.system.slow = {"slow"}
    office.log_on("slow", 1, slot=2)
    office.send(Event.HELLO, slot=2)
    office.system.go_on.set()
    office.until(lambda: len(office.lookups) == 0)
    assert office.replies == []


def test_too_many_that_wait_are_refused(office: Office) -> None:
    office.system.slow = {f"slow{number}" for number in range(20)}
    most = limits.LOOKUPS.value
    for number in range(most):
        office.log_on(f"slow{number % 20}", number)
    assert office.replies == []
    office.log_on("ann", 5000)
    assert (office.reply().event, len(office.lookups)) == (Event.FAILED, most)


def test_groups_are_those_of_the_system() -> None:
    for entry in pwd.getpwall():
        expected = sorted(set(os.getgrouplist(entry.pw_name, entry.pw_gid)))
        assert list(group_list(entry.pw_name, entry.pw_gid)) == expected
    assert group_list("no-such-user", grp.getgrall()[0].gr_gid) == (grp.getgrall()[0].gr_gid,)
