# SPDX-License-Identifier: GPL-2.0-or-later
"""`interfaces`: what its words mean, what is listened on for them, and what comes and goes."""
from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from ksmbd import log
from ksmbd.conn.contract import StartError
from ksmbd.conn.tcp import listening, options
from ksmbd.conn.tcp.listening import Listening, targets_of
from ksmbd.conn.tcp.options import ANY, BindTarget
from ksmbd.ipc.settings import EngineSettings
from ksmbd.kernel import interface_patterns, local_addresses
from ksmbd.kernel.interface_patterns import InterfacePattern, parse
from ksmbd.kernel.local_addresses import State
from ksmbd.process.listeners import Listeners

NOW = State(
    {"lo": 1, "eth0": 2, "eth1": 3, "wlan0": 4},
    (("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "192.0.2.7"), ("eth0", "192.0.2.8"), ("eth0", "2001:db8::7"),
     ("eth0", "fe80::7%eth0"), ("eth1", "198.51.100.7")),
)  # fmt: skip


def hosts(*items: str, now: State = NOW) -> list[str]:
    """Where the words make us listen: addresses, and %name for a whole interface."""
    targets, _ = targets_of(map(parse, items), now)
    return [f"%{t.device}" if t.device else t.host for t in targets if t.family == socket.AF_INET or not t.device]


@pytest.mark.parametrize("items, told", [
    (["lo"], ["%lo"]), (["l*"], ["%lo"]), (["eth*"], ["%eth0", "%eth1"]), (["*"], ["%lo", "%eth0", "%eth1", "%wlan0"]),
    (["eth[0]"], ["%eth0"]), (["eth?", "lo"], ["%eth0", "%eth1", "%lo"]), (["192.0.2.7"], ["192.0.2.7"]),
    (["127.0.0.0/8"], ["127.0.0.1"]), (["127.0.0.1/255.0.0.0"], ["127.0.0.1"]), (["192.0.2.7/24"], ["192.0.2.7"]),
    (["192.0.2.1/24"], ["192.0.2.7", "192.0.2.8"]), (["192.0.2.255/24"], ["192.0.2.7", "192.0.2.8"]),
    (["0.0.0.0/0"], ["127.0.0.1", "192.0.2.7", "192.0.2.8", "198.51.100.7"]), (["2001:db8::/32"], ["2001:db8::7"]),
    (["::/0"], ["::1", "2001:db8::7"]), (["fe80::7"], ["fe80::7%eth0"]), (["::1"], ["::1"]),
    (["lo", "127.0.0.1", "192.0.2.7"], ["%lo", "192.0.2.7"]),  # an address of an interface that is served as a whole
    (["127.0.0.1;capability=RSS,speed=10000000000"], ["127.0.0.1"]),
    (["lo;speed=1000", "eth1;if_index=9"], ["%lo", "%eth1"]),
])  # fmt: skip
def test_what_words_mean(items: list[str], told: list[str]) -> None:
    assert hosts(*items) == told
    assert targets_of(map(parse, items), NOW)[1] == []


def test_what_is_not_there_is_named() -> None:
    words = [parse(item) for item in ("lo", "ppp9", "br-*", "203.0.113.1", "10.0.0.0/8", "example")]
    assert targets_of(words, NOW)[1] == ["ppp9", "br-*", "203.0.113.1", "10.0.0.0/8", "example"]


@pytest.mark.parametrize("item", [
    "", ";speed=1", "300.1.1.1", "127.0.0.1/40", "::1%", "eth0;fast=yes", "eth0;speed=quick", "eth0;capability=TURBO",
    "a name", "a-name-that-is-too-long", "1.2.3.4/x", "eth0;if_index=-1",
])  # fmt: skip
def test_what_is_no_word(item: str) -> None:
    with pytest.raises(ValueError):
        parse(item)


def test_options() -> None:
    assert parse("eth0;speed=1000000,capability=rss,capability=RDMA,if_index=7,options=dynamic") == InterfacePattern(
        "eth0", speed=1_000_000, capability=3, index=7
    )
    assert parse("eth0;capability=NONE").capability == 0 and parse("eth0").capability is None
    assert interface_patterns.parse("lo;").text == "lo"


# ------------------------------------------------------------------------------------------------- the sockets


class Site:
    """What the machine has, as the test says, and what was said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = State({"lo": 1}, (("lo", "127.0.0.1"),))
        self.lines: list[str] = []
        for kind in ("warning", "info", "error"):
            monkeypatch.setattr(log, kind, self.lines.append)
        self.opened: list[Listening] = []
        self.broken: dict[str, int] = {}
        real = options.open_listener

        def open_listener(target: BindTarget, port: int, share_port: bool = True) -> socket.socket:
            if target.host in self.broken:
                raise OSError(self.broken[target.host], "broken")
            return real(BindTarget(target.family, "::1" if ":" in target.host else "127.0.0.1"), 0, share_port)

        monkeypatch.setattr(listening, "open_listener", open_listener)

    def listen(self, *interfaces: str, workers: int = 1, only: bool = True) -> Listening:
        settings = EngineSettings(tcp_port=4445, bind_interfaces_only=only, interfaces=interfaces)
        self.opened.append(Listening(settings, workers, lambda: self.now))
        return self.opened[-1]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(monkeypatch)
    yield made
    for one in made.opened:
        one.close()


def places(made: Listening) -> list[BindTarget]:
    return [group.target for group in made.groups]


def test_without_bind_interfaces_only_it_is_everywhere(site: Site) -> None:
    made = site.listen("eth9", only=False)
    assert places(made) == list(ANY) and not made.follows and site.lines == []
    assert made.update() == ([], [])


def test_one_socket_a_worker(site: Site) -> None:
    made = site.listen("127.0.0.1", workers=3)
    assert [len(row) for row in Listeners([made], 3).rows()] == [1, 1, 1] and len(made.groups[0].sockets) == 3


def test_a_missing_interface_is_warned_of_once_and_taken_up_when_it_comes(site: Site) -> None:
    made = site.listen("lo", "ppp9", "203.0.113.5")
    assert {target.device for target in places(made)} == {"lo"}
    assert len([line for line in site.lines if "ppp9 is not there" in line]) == 1
    assert len([line for line in site.lines if "203.0.113.5 is not there" in line]) == 1
    assert made.update() == ([], []) and len(site.lines) == 2
    site.now = State({"lo": 1, "ppp9": 7}, (("lo", "127.0.0.1"), ("ppp9", "203.0.113.5")))
    new, gone = made.update()
    assert {group.target.device for group in new} == {"ppp9"} and gone == []
    site.now = State({"lo": 1}, (("lo", "127.0.0.1"),))
    new, gone = made.update()
    assert new == [] and {group.target.device for group in gone} == {"ppp9"}
    assert len([line for line in site.lines if "ppp9 is not there" in line]) == 2
    for group in gone:
        group.close()


def test_an_interface_that_was_made_anew_is_listened_on_anew(site: Site) -> None:
    site.now = State({"tun0": 5}, ())
    made = site.listen("tun0")
    site.now = State({"tun0": 6}, ())
    new, gone = made.update()
    assert {group.index for group in gone} == {5} and {group.index for group in new} == {6}
    assert len(new) == len(gone) == len(made.groups)
    for group in gone:
        group.close()


def test_nothing_there_is_no_reason_to_end(site: Site) -> None:
    made = site.listen("ppp9")
    assert made.groups == [] and Listeners([made], 1).rows() == [[]]
    assert any("nobody can connect" in line for line in site.lines)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENODEV])
def test_what_is_gone_when_it_is_bound_comes_later(site: Site, number: int) -> None:
    site.broken["127.0.0.1"] = number
    made = site.listen("127.0.0.1")
    assert made.groups == []
    site.broken.clear()
    assert [group.target.host for group in made.update()[0]] == ["127.0.0.1"]


def test_a_port_that_is_taken_stops_the_start_and_is_one_line_later(site: Site) -> None:
    site.broken["127.0.0.1"] = errno.EADDRINUSE
    with pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1 port 4445"):
        site.listen("127.0.0.1")
    site.broken.clear()
    made = site.listen("127.0.0.1", "203.0.113.5")
    site.broken["203.0.113.5"] = errno.EADDRINUSE
    site.now = State({"lo": 1}, (("lo", "127.0.0.1"), ("lo", "203.0.113.5")))
    for _ in range(3):
        assert made.update() == ([], [])
    assert len([line for line in site.lines if "203.0.113.5 port 4445" in line]) == 1
    site.broken.clear()
    assert len(made.update()[0]) == 1


def test_this_machine() -> None:
    now = local_addresses.state()
    assert ("lo", "127.0.0.1") in now.addresses and now.interfaces["lo"] == socket.if_nametoindex("lo")
