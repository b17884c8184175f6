# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker with clients of its own and the open table that workers have, for the tests of lists and of closing."""
from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "smb"))

import create_messages as m
from fake_clock import FakeClock
from fake_files import FakeFiles, FakeVolume
from fakes import FakeDaemon, FakeSecurity
from script import Client

from ksmbd.oplock.report import kept_opens
from ksmbd.oplock.settings import OplockSettings
from ksmbd.oplock.store_dict import DictStore
from ksmbd.oplock.table import LocalOpenTable
from ksmbd.process.activity import Activity
from ksmbd.process.questions import Questions
from ksmbd.process.traced_keys import TracedKeys
from ksmbd.smb import constants as c
from ksmbd.smb.model import Server
from ksmbd.smb.ports import ShareConfig
from ksmbd.smb.settings import ServerSettings


class Answer:
    """What mountd receives; `congested` while it does not read."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.ends = 0
        self.congested = False

    def part(self, text: str) -> None:
        assert not self.ends
        self.sizes.append(len(text))
        self.parts.append(json.loads(text))

    def end(self) -> None:
        self.ends += 1

    def over(self) -> bool:
        """Whether it has ended, once."""
        assert self.ends < 2
        return self.ends == 1

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return [row for part in self.parts for row in part.get(kind, [])]


class Bench:
    """A worker with one client, and the open table that workers have."""

    def __init__(self) -> None:
        clock, self.store, daemon = FakeClock(), DictStore(), FakeDaemon()
        daemon.shares["SHARE"] = ShareConfig("share", "/srv")
        daemon.shares["IPC$"] = ShareConfig("IPC$", "", is_pipe=True)
        self.table = LocalOpenTable(self.store, clock, OplockSettings())
        settings = ServerSettings(min_dialect=c.DIALECT_202, leases=True, durable_handles=True)
        self.server = Server(settings, FakeSecurity(), FakeFiles(FakeVolume()), self.table, daemon, clock)
        self.client = Client(self.server).ready()
        self.heard = {self.client.transport: clock.now}
        activity = Activity(
            self.server, self.store, 3, lambda transport: self.heard[transport],  # type: ignore[index]
            lambda: [("opens", 1, 2, "opens of a worker")], partial(kept_opens, self.store, (0, 0)),
        )  # fmt: skip
        self.daemon = daemon
        self.questions = Questions(self.server, self.store, activity, TracedKeys(self.server, 3))

    @property
    def clock(self) -> Any:
        return self.server.clock

    def create(self, name: str, client: Client | None = None, **more: Any) -> bytes:
        """Open a file that exists; its FileId."""
        client = client or self.client
        client.volume.add(name, b"content")
        reply = client.ask(c.CREATE, m.create(name, **more))
        assert reply.status == 0
        return reply.body[64:80]

    def ask(self, *kinds: str) -> Answer:
        answer = Answer()
        self.questions.answer(json.dumps({"ask": "list", "kinds": kinds}), answer)
        return answer

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """All rows of a kind, to the end."""
        answer = self.ask(kind)
        self.turns()
        assert answer.over()
        return answer.rows(kind)

    def close(self, **target: str) -> dict[str, int]:
        """Close what is named, to the end; how many of each."""
        answer = Answer()
        self.questions.answer(json.dumps({"ask": "close", "target": target}), answer)
        self.turns()
        assert answer.over()
        counts: dict[str, Any] = {}
        for part in answer.parts:
            counts.update(part)
        return counts

    def another(self, peer: str = "192.0.2.9", account: str = "") -> Client:
        """One more client, logged on and connected."""
        client = Client(self.server)
        client.transport.peer = peer
        client.guid = b"H" * 16
        self.heard[client.transport] = self.clock.now
        client.ready()
        if account:
            session = self.server.sessions[client.session_id]
            assert session.identity is not None
            session.identity = replace(session.identity, account=account)
        return client

    def turns(self) -> int:
        """Run what is due, a piece each; how many there were."""
        count = 0
        while due := [timer for timer in self.clock.timers if timer.due <= self.clock.now and not timer.cancelled]:
            self.clock.timers.remove(due[0])
            due[0].call()
            count += 1
        return count
