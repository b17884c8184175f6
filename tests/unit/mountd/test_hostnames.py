# SPDX-License-Identifier: GPL-2.0-or-later
"""Look-ups: off the loop, kept for a while, bounded, and closed where no name server answers."""
from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from mountd_doubles import FakeUsers, LocalServices, accounts, configuration

from ksmbd import limits, log
from ksmbd.address import Address
from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import Event, TreeStatus
from mountd import hostnames
from mountd.hostnames import FAILED_SECONDS, KEPT_SECONDS, Answer, HostNames, Query, forward, reverse
from mountd.hosts import PeerNames
from mountd.loop import Loop
from mountd.requests import Requests

A = ipaddress.ip_address("192.0.2.1")


class Resolver:
    """Answers of the test's, each when it lets it go."""

    def __init__(self) -> None:
        self.answers: dict[Query, Answer | Exception] = {}
        self.asked: list[Query] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, query: Query) -> Answer:
        self.asked.append(query)
        self.go.wait(30)
        answer = self.answers.get(query, frozenset() if query[0] == "name" else PeerNames())
        if isinstance(answer, Exception):
            raise answer
        return answer


class Site:
    def __init__(self, loop: Loop) -> None:
        self.loop, self.resolver, self.now = loop, Resolver(), 1000.0
        self.names = HostNames(loop, self.resolver, lambda: self.now)

    def ask(self, *queries: Query) -> None:
        """Look up, and wait in the loop."""
        assert self.names.resolve(queries, self.loop.stop)
        self.loop.run()


@pytest.fixture
def site() -> Iterator[Site]:
    loop = Loop()
    made = Site(loop)
    yield made
    made.resolver.go.set()
    made.names.close(30)
    loop.close()
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_work)")]


def addresses(site: Site, name: str) -> tuple[frozenset[Address] | None, bool]:
    look = site.names.look()
    return look.addresses(name), bool(look.wanted)


def test_an_answer_is_kept_for_a_while(site: Site) -> None:
    site.resolver.answers["name", "a"] = frozenset({A})
    assert addresses(site, "a") == (None, True)
    site.ask(("name", "a"))
    assert addresses(site, "a") == (frozenset({A}), False)
    site.now += KEPT_SECONDS + 1
    assert addresses(site, "a") == (None, True)


def test_a_failure_is_not_known_and_asked_again(site: Site) -> None:
    told: list[tuple[Query, str]] = []
    site.names.on_failure = lambda query, why: told.append((query, why))
    site.resolver.answers["name", "a"] = socket.gaierror(socket.EAI_AGAIN, "no name server")
    site.ask(("name", "a"))
    assert addresses(site, "a") == (None, False), "not known, and not to be asked at once"
    assert told == [(("name", "a"), "no name server")]
    site.now += FAILED_SECONDS + 1
    assert addresses(site, "a") == (None, True)
    site.resolver.answers["name", "a"] = frozenset({A})
    site.ask(("name", "a"))
    site.now += KEPT_SECONDS + 1
    site.resolver.answers["name", "a"] = OSError("gone again")
    site.ask(("name", "a"))
    assert addresses(site, "a") == (frozenset({A}), False), "what was known counts meanwhile"


def test_a_slow_name_server_keeps_nobody_longer_than_a_bound(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOKUP_SECONDS", replace(limits.LOOKUP_SECONDS, value=0))
    site.resolver.go.clear()
    site.ask(("name", "slow"))
    assert addresses(site, "slow") == (None, False) and len(site.names) == 0
    site.resolver.go.set()
    site.resolver.answers["name", "slow"] = frozenset({A})
    site.names.on_failure = lambda query, why: None
    monkeypatch.setattr(limits, "LOOKUP_SECONDS", replace(limits.LOOKUP_SECONDS, value=30))
    site.now += FAILED_SECONDS + 1
    site.ask(("name", "slow"))
    assert addresses(site, "slow")[0] is not None


def test_those_who_wait_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOKUPS", replace(limits.LOOKUPS, value=3))
    site.resolver.go.clear()
    for number in range(3):
        assert site.names.resolve([("peer", f"192.0.2.{number}")], lambda: None)
    assert not site.names.resolve([("peer", "192.0.2.9")], lambda: None)
    site.resolver.go.set()


def test_clients_addresses_are_remembered_in_a_bounded_number(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NAMES_KEPT", replace(limits.NAMES_KEPT, value=2))
    site.ask(("name", "listed"))
    for number in range(4):
        site.ask(("peer", f"192.0.2.{number}"))
    known = [not (look := site.names.look()).names_of(ipaddress.ip_address(f"192.0.2.{n}")) or not look.wanted
             for n in range(4)]  # fmt: skip
    assert len(site.names._peers) == 2 and len(known) == 4
    assert addresses(site, "listed") == (frozenset(), False), "clients do not push out what is listed"


def test_a_query_goes_out_once(site: Site) -> None:
    site.resolver.go.clear()
    done: list[int] = []

    def resolved(number: int) -> None:
        done.append(number)
        site.loop.stop()

    for number in range(3):
        site.names.resolve([("name", "a")], partial(resolved, number))
    site.resolver.go.set()
    while len(done) < 3:
        site.loop.run()
    assert site.resolver.asked == [("name", "a")]


# ------------------------------------------------------------------------------------------------------ the requests


TEXT = "[s]\npath = /s\n{}\n[open]\npath = /o\n"


class Office:
    def __init__(self, site: Site, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.advice: list[str] = []
        monkeypatch.setattr(log, "warning", self.advice.append)
        self.site, self.later = site, []  # type: tuple[Site, list[tuple[int, Message]]]
        self.requests = Requests(
            configuration(TEXT.format(line)), accounts("ann"), LocalServices(), FakeUsers(), names=site.names
        )
        self.requests.reply = self.answered

    def answered(self, slot: int, message: Message) -> None:
        self.later.append((slot, message))
        self.site.loop.stop()

    def connect(self, share: str = "s", tree: int = 1, slot: int = 1, peer: str = str(A)) -> int | None:
        fields = {
            "handle": 7, "session_id": 1, "connect_id": tree, "account": "ann", "account_flags": 1, "share": share,
            "peer_addr": peer, "flags": 0,
        }  # fmt: skip
        reply = self.requests.answer(slot, decode(encode(Message(Event.TREE_CONNECT_REQUEST, fields))))
        return None if reply is None else int(reply.fields["status"])

    def wait(self) -> int:
        while not self.later:
            self.site.loop.run()
        slot, message = self.later.pop()
        assert (slot, message.handle) == (1, 7)
        return int(message.fields["status"])


@pytest.mark.parametrize("line, client, status", [
    ("hosts deny = evil.example", frozenset({A}), TreeStatus.HOST_DENIED),
    ("hosts deny = evil.example", frozenset(), TreeStatus.OK),
    ("hosts deny = evil.example", OSError("no name server"), TreeStatus.HOST_DENIED),
    ("hosts allow = evil.example", frozenset({A}), TreeStatus.OK),
    ("hosts allow = evil.example", OSError("no name server"), TreeStatus.HOST_DENIED),
])  # fmt: skip
def test_a_name_is_looked_up_while_others_are_served(
    site: Site, monkeypatch: pytest.MonkeyPatch, line: str, client: Answer | Exception, status: TreeStatus
) -> None:
    site.resolver.answers["name", "evil.example"] = client
    site.resolver.go.clear()
    office = Office(site, line, monkeypatch)
    assert office.connect() is None
    assert office.connect("open", 2) == TreeStatus.OK, "a share without names waits for nothing"
    site.resolver.go.set()
    assert office.wait() == status
    assert office.requests.sessions.connections("s") == (status is TreeStatus.OK)
    assert office.connect(tree=3) == status, "known now"


@pytest.mark.parametrize("change", [
    lambda office: office.requests.forget(1), lambda office: office.requests.answer(1, Message(Event.HELLO))
])  # fmt: skip
def test_who_asked_from_a_dead_process_is_not_connected(
    site: Site, monkeypatch: pytest.MonkeyPatch, change: Callable[[Office], object]
) -> None:
    site.resolver.go.clear()
    office = Office(site, "hosts deny = evil.example", monkeypatch)
    assert office.connect() is None
    change(office)
    site.resolver.go.set()
    site.ask(("name", "evil.example"))
    assert office.later == [] and office.requests.sessions.connections("s") == 0


def test_a_name_that_is_nobodys_is_told_of_at_the_start(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.resolver.answers["name", "lost.example"] = OSError("no name server")
    office = Office(site, "hosts deny = nobody.example lost.example", monkeypatch)
    site.ask(("name", "nobody.example"), ("name", "lost.example"))
    assert any("nobody.example has no address and means nobody" in line for line in office.advice)
    assert any("lost.example cannot be looked up (no name server)" in line for line in office.advice)


# ------------------------------------------------------------------------------------------ the system's answers


def test_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, port: None, type: int) -> list[object]:  # noqa: A002  the real one's name
        if name == "lost":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        if name == "nobody":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(2, 1, 6, "", (text, 0)) for text in (str(A), "::ffff:192.0.2.7", "fe80::1%2")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert forward("host") == frozenset(map(ipaddress.ip_address, (str(A), "192.0.2.7", "fe80::1")))
    assert forward("nobody") == frozenset()
    with pytest.raises(OSError):
        forward("lost")


def test_reverse_believes_what_leads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyaddr", lambda address: ("Good.example.", ["liar.example"], [address]))
    monkeypatch.setattr(
        hostnames, "forward", lambda name: frozenset({A}) if name == "good.example" else frozenset()
    )
    assert reverse(str(A)) == PeerNames(("good.example",), ("liar.example",))

    def unknown(address: str) -> object:
        raise socket.herror(1, "Unknown host")

    monkeypatch.setattr(socket, "gethostbyaddr", unknown)
    assert reverse(str(A)) == PeerNames()
