# SPDX-License-Identifier: GPL-2.0-or-later
"""What callers leave in pipes is bounded: pipes by user and in all, bytes by pipe, guests and in all; given back."""
from __future__ import annotations

from dataclasses import replace

import pytest
from mountd_doubles import FakeServer, LocalServices

from ksmbd import limits
from ksmbd.ipc.answers import pipe_data
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, RpcStatus
from ksmbd.ipc.messages import RPC_CHUNK
from mountd.rpc import pdu
from mountd.rpc.facts import Level, decode
from mountd.rpc.frames import ANSWER_MAX, Answer, Answers, BadAnswer, Kind, Request, Requests, Status
from mountd.rpc.host import PipeHost
from mountd.rpc.services import Services
from mountd.rpc.srvsvc import INTERFACE

TEXT = "[docs]\npath = /srv/docs\ncomment = words\n[IPC$]\nadmin users = bob\n"
SRVSVC = RpcFlag.SRVSVC
BIND = pdu.encode(
    pdu.Ptype.BIND, pdu.WHOLE, 1,
    (4280).to_bytes(2, "little") * 2 + bytes(4) + b"\1\0\0\0" + b"\0\0\1\0" + INTERFACE.syntax.encode()
    + pdu.NDR32.encode(),
)  # fmt: skip


def begun(size: int) -> bytes:
    """The first fragment of a request whose last one never comes."""
    return pdu.encode(pdu.Ptype.REQUEST, pdu.Pfc.FIRST_FRAG, 2, bytes(4) + b"\0\0\x0f\0" + bytes(size))


class Site(FakeServer):
    """A host of pipes over services in this process, with a clock that the test turns."""

    def __init__(self) -> None:
        super().__init__(TEXT)
        self.backend = LocalServices()
        self.now = 100.0
        self.host = PipeHost(self, self.backend, lambda: self.now)
        self.later: list[tuple[int, Message]] = []
        self.host.reply = lambda slot, message: self.later.append((slot, message))
        self.handle = 0

    def ask(
        self, handle: int, flags: RpcFlag, payload: bytes = b"", account: str = "", slot: int = 1, size: int = 32768
    ) -> Message | None:
        fields = {"handle": handle, "flags": int(flags), "payload": payload, "payload_sz": len(payload)}
        numbers = {Attribute.SIZE: size}
        reply = self.host.handle(slot, Message(Event.RPC_REQUEST, fields, numbers, {Attribute.ACCOUNT: account}))
        return reply if reply is not None or not self.later else self.later.pop()[1]

    def status(self, *arguments: object, **options: object) -> int:
        reply = self.ask(*arguments, **options)  # type: ignore[arg-type]
        assert reply is not None
        return int(reply.fields["flags"])

    def open(self, account: str = "", slot: int = 1, guest: bool = False) -> int:
        """A new pipe's handle, or minus its status."""
        self.handle += 1
        flags = RpcFlag.OPEN | SRVSVC | (RpcFlag.RESTRICTED_CONTEXT if guest else RpcFlag(0))
        status = self.status(self.handle, flags, account=account, slot=slot)
        return self.handle if status == RpcStatus.OK else -status

    def write(self, handle: int, data: bytes, slot: int = 1) -> int:
        for start in range(0, len(data), RPC_CHUNK):
            status = self.status(handle, RpcFlag.WRITE | SRVSVC, data[start : start + RPC_CHUNK], slot=slot)
            if status:
                return status
        return RpcStatus.OK


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    for name, value in (
        ("PIPES", 8), ("PIPES_PER_USER", 4), ("RPC_HELD", 20_000), ("RPC_HELD_BY_GUESTS", 40_000),
        ("RPC_HELD_IN_ALL", 60_000),
    ):  # fmt: skip
        monkeypatch.setattr(limits, name, replace(getattr(limits, name), value=value))
    return Site()


def test_a_user_has_so_many_pipes_and_others_have_theirs(site: Site) -> None:
    mine = [site.open("ann") for _ in range(4)]
    assert min(mine) > 0
    assert site.open("ANN", slot=2) == -RpcStatus.NOMEM, "in whatever process and spelling"
    others = [site.open("bob") for _ in range(4)]
    assert min(others) > 0
    assert site.open("media") == -RpcStatus.NOMEM, "in all"
    assert site.status(mine[0], RpcFlag.CLOSE | SRVSVC) == RpcStatus.OK
    assert site.open("media") > 0


def test_anonymous_callers_and_guests_are_one_user(site: Site) -> None:
    pipes = [site.open(""), site.open("", slot=2), site.open("a guest", guest=True), site.open("another", guest=True)]
    assert min(pipes) > 0
    assert site.open("") == site.open("a third", guest=True) == -RpcStatus.NOMEM
    assert site.open("ann") > 0, "users have theirs"


def test_the_guests_pipe_that_was_idle_longest_goes(site: Site) -> None:
    pipes = [site.open("") for _ in range(4)]
    site.now += limits.PIPE_IDLE.value + 1
    assert site.write(pipes[0], BIND) == RpcStatus.OK
    new = site.open("", slot=2)
    assert new > 0
    assert site.write(pipes[1], BIND) == RpcStatus.BROKEN_PIPE, "it was idle longest"
    assert site.status(pipes[0], RpcFlag.READ | SRVSVC) == RpcStatus.OK
    assert site.status(pipes[1], RpcFlag.CLOSE | SRVSVC) == RpcStatus.OK
    assert site.host.users.count("") == len(site.backend.services) == 4


def test_a_pipe_that_waits_for_an_answer_is_nobody_elses(site: Site) -> None:
    pipes = [site.open("") for _ in range(4)]
    site.backend.held = []
    assert all(site.ask(pipe, RpcFlag.READ | SRVSVC) is None for pipe in pipes)
    site.now += limits.PIPE_IDLE.value + 1
    assert site.open("") == -RpcStatus.NOMEM
    assert site.status(pipes[0], RpcFlag.READ | SRVSVC) == RpcStatus.NOMEM, "one thing after the other"
    for answer in site.backend.held:
        site.backend.on_answer(answer)
    assert [message.fields["flags"] for _, message in site.later] == [RpcStatus.OK] * 4


@pytest.mark.parametrize("way", ["close", "engine", "services"])
def test_everything_goes_back_to_zero(site: Site, way: str) -> None:
    pipes = [site.open("", slot=1 + n % 2) for n in range(4)] + [site.open("ann") for _ in range(3)]
    for n, pipe in enumerate(pipes):
        slot = 1 + n % 2 if n < 4 else 1
        site.write(pipe, BIND + begun(5000), slot)
    assert site.backend.services.purse.total > 7 * 5000
    if way == "close":
        for n, pipe in enumerate(pipes):
            assert site.status(pipe, RpcFlag.CLOSE | SRVSVC, slot=1 + n % 2 if n < 4 else 1) == RpcStatus.OK
    elif way == "engine":
        site.host.forget(1)
        site.host.forget(2)
    else:
        site.backend.die()
    purse = site.backend.services.purse
    assert (len(site.host), site.host.total.used, site.host.users.used, len(site.host.users)) == (0, 0, 0, 0)
    assert (len(site.backend.services), purse.total, purse.guests) == (0, 0, 0)
    assert [site.open("ann") > 0 for _ in range(4)] == [True] * 4


def test_services_that_die_break_the_pipes_and_answer_who_waits(site: Site) -> None:
    pipe, other = site.open("ann"), site.open("ann")
    site.backend.held = []
    assert site.ask(pipe, RpcFlag.READ | SRVSVC) is None
    site.backend.serving = False
    site.backend.die()
    ((slot, message),) = site.later
    assert (slot, message.fields["flags"]) == (1, RpcStatus.BROKEN_PIPE)
    site.later.clear()
    assert site.status(other, RpcFlag.WRITE | SRVSVC, b"x") == RpcStatus.BROKEN_PIPE
    assert site.open("ann") == -RpcStatus.PIPE_BUSY
    site.backend.serving = True
    assert site.open("ann") > 0


def test_a_stream_that_is_full_refuses_one_request(site: Site) -> None:
    pipe = site.open("ann")
    site.backend.room = False
    assert site.status(pipe, RpcFlag.WRITE | SRVSVC, BIND) == RpcStatus.NOMEM
    site.backend.room = True
    assert site.write(pipe, BIND) == RpcStatus.OK


def fault_of(site: Site, pipe: int) -> int:
    reply = site.ask(pipe, RpcFlag.READ | SRVSVC)
    assert reply is not None
    data, _ = pipe_data(reply)
    return int.from_bytes(data[24:28], "little") if data[2:3] == bytes([pdu.Ptype.FAULT]) else 0


def test_bytes_of_one_pipe_of_guests_and_of_all(site: Site) -> None:
    guests = [site.open("") for _ in range(4)]
    for pipe in guests[:2]:
        assert site.write(pipe, BIND + begun(18_000)) == RpcStatus.OK
    assert site.write(guests[2], BIND + begun(10_000)) == RpcStatus.OK, "taken, and answered with a fault"
    assert fault_of(site, guests[2]) == pdu.Fault.REMOTE_NO_MEMORY
    assert site.write(guests[2], BIND) == RpcStatus.BROKEN_PIPE
    users = [site.open("ann") for _ in range(4)]
    assert site.write(users[0], BIND + begun(19_999)) == RpcStatus.OK
    assert fault_of(site, users[0]) == pdu.Fault.REMOTE_NO_MEMORY, "one pipe"
    for pipe in users[1:3]:
        site.write(pipe, BIND + begun(15_000))
    assert fault_of(site, users[1]) == 0 and fault_of(site, users[2]) == pdu.Fault.REMOTE_NO_MEMORY, "in all"
    assert site.write(users[3], BIND) == RpcStatus.OK and fault_of(site, users[3]) == 0, "others are served"
    assert site.backend.services.purse.total <= limits.RPC_HELD_IN_ALL.value


def test_replies_that_nobody_reads_count_until_they_are_read(site: Site) -> None:
    pipe = site.open("ann")
    assert site.write(pipe, BIND) == RpcStatus.OK
    held = site.backend.services.purse.total
    assert held > 0
    assert site.status(pipe, RpcFlag.READ | SRVSVC, size=10) == RpcStatus.MORE_DATA
    assert site.backend.services.purse.total == held - 10
    assert site.status(pipe, RpcFlag.READ | SRVSVC) == RpcStatus.OK
    assert site.backend.services.purse.total == 0


def told(site: Site) -> list[Request]:
    return [request for request in site.backend.sent if request.kind == Kind.FACTS]


def test_services_know_no_more_than_the_open_pipes_may_be_told(site: Site) -> None:
    site.sessions.connect(1, 1, 1, "docs", "ann", "192.0.2.1", False)
    guest = site.open("")
    site.write(guest, BIND)
    facts = decode(told(site)[-1].payload)
    assert list(facts.shares) == ["docs", "ipc$"] and facts.shares["docs"].comment == "words"
    assert (facts.shares["docs"].path, facts.shares["docs"].uses, facts.accounts) == ("", 0, 0)
    user = site.open("ann")
    site.write(user, BIND)
    facts = decode(told(site)[-1].payload)
    assert (facts.shares["docs"].path, facts.shares["docs"].uses, facts.accounts) == ("/srv/docs", 1, 0)
    admin = site.open("bob")
    site.write(admin, BIND)
    facts = decode(told(site)[-1].payload)
    assert facts.accounts == 1
    count = len(told(site))
    site.write(guest, b"")
    assert len(told(site)) == count, "nothing has changed"
    site.sessions.disconnect(1, 1, 1)
    site.ask(user, RpcFlag.WRITE | SRVSVC, b"\5")
    assert decode(told(site)[-1].payload).accounts == 0
    for pipe in (user, admin):
        site.status(pipe, RpcFlag.CLOSE | SRVSVC)
    site.ask(guest, RpcFlag.WRITE | SRVSVC, b"\5")
    assert decode(told(site)[-1].payload).shares["docs"].path == "", "taken back when the last who may hear it is gone"


def test_callers_are_told_by_their_own_level(site: Site) -> None:
    assert [site.open(name) > 0 for name in ("", "ann", "bob", "root")] == [True] * 4
    levels = [request.argument for request in site.backend.sent if request.kind == Kind.OPEN]
    assert levels == [Level.NAMES, Level.SHARES, Level.SESSIONS, Level.SESSIONS]
    assert site.open("root", guest=True) > 0
    assert site.backend.sent[-1].argument == Level.NAMES


def test_frames_survive_any_cut() -> None:
    requests = [
        Request(Kind.WRITE, 7, 1 << 40, b"abc"), Request(Kind.READ, 0, 2, b""), Request(Kind.FACTS, 0, 0, b"{}"),
    ]  # fmt: skip
    data = b"".join(request.encode() for request in requests)
    for step in (1, 5, 16, len(data)):
        splitter = Requests()
        got = [r for i in range(0, len(data), step) for r in splitter.take(data[i : i + step])]
        assert got == requests


def test_an_answer_that_is_too_long_is_none() -> None:
    assert next(Answers().take(Answer(Status.DONE, 3, bytes(ANSWER_MAX)).encode())).payload == bytes(ANSWER_MAX)
    with pytest.raises(BadAnswer):
        list(Answers().take(Answer(Status.DONE, 3, bytes(ANSWER_MAX + 1)).encode()))
    assert ANSWER_MAX == RPC_CHUNK


def test_a_defect_ends_one_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    services = Services()
    for number in (1, 2):
        services.take(Request(Kind.OPEN, 1, number, b"srvsvc"))
    broken = services._pipes[1]
    monkeypatch.setattr(broken, "write", lambda data: 1 // 0)
    monkeypatch.setattr("ksmbd.log.exception", lambda text, error: None)
    assert services.take(Request(Kind.WRITE, 0, 1, b"x")) == Answer(Status.BROKEN, 1, b"")
    assert services.take(Request(Kind.WRITE, 0, 2, BIND)) == Answer(Status.DONE, 2, b"")
    assert len(services) == 1


def test_every_pipe_has_its_services() -> None:
    """The daemon opens what PIPES names, without knowing the services, which are another process's."""
    from ksmbd.ipc.constants import PIPES
    from mountd.rpc.services import SERVICES

    assert set(PIPES) == set(SERVICES)
