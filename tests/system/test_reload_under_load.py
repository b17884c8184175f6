# SPDX-License-Identifier: GPL-2.0-or-later
"""Reloads and closing while clients open, write and close: nothing is left behind, and who may is served afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress

import pytest
from controlling import control, listed
from rawclient import BenchError, ConnectionEnded, RawClient, status_of
from server import KsmbdServer, StartKsmbd

from ksmbd.smb import constants as c
from ksmbd.smb.status import status_name

CLIENTS, CREATES = 4, 40
OPLOCKS = (c.OPLOCK_LEVEL_NONE, c.OPLOCK_LEVEL_II, c.OPLOCK_LEVEL_EXCLUSIVE, c.OPLOCK_LEVEL_BATCH)
CHANGES = ("read only", "same", "valid users", "gone", "close", "moved", "user", "close file")


class Load:
    """Clients of two users that work until `stop`, and count what they are answered."""

    def __init__(self, server: KsmbdServer) -> None:
        self.server = server
        self.seen: Counter[str] = Counter()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        user = ("user", "ann")[number % 2]
        while not self.stop.is_set():
            # It is put out, or may not come in.
            with suppress(BenchError, ConnectionEnded), RawClient(self.server, user=user) as client:
                for _ in range(CREATES):
                    if self.stop.is_set() or not self._use(client, chance):
                        break

    def _use(self, client: RawClient, chance: random.Random) -> bool:
        """Open, write and mostly close a file. False: the session or the tree connect is gone."""
        body = bytearray(client.create_body(f"file{chance.randrange(6)}", 0x12019F, c.FILE_OPEN_IF))
        body[3] = chance.choice(OPLOCKS)
        client.credits -= 1
        reply = client.reply(client.post(c.CREATE, bytes(body)))
        self.seen[status_name(status_of(reply))] += 1
        if status_of(reply):
            return "DELETED" not in status_name(status_of(reply))
        file = bytes(reply[128:144])
        self.seen[status_name(client.status(c.WRITE, client.write_body(file, 0, 4) + b"data"))] += 1
        if chance.random() < 0.7:
            client.status(c.CLOSE, client.close_body(file))
        return True


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_left_behind(start_ksmbd: StartKsmbd, workers: int) -> None:
    server = start_ksmbd(
        workers=workers, users={"user": "secret", "ann": "pw"},
        options={"max ip connections": "200", "durable handles": "yes", "smb2 leases": "yes"},
    )  # fmt: skip
    config, users = server.config.read_text(), server.pwddb.read_text()
    texts = {
        "read only": config.replace("read only = no", "read only = yes"),
        "valid users": config + "\tvalid users = user\n",
        "gone": config.replace("[share]", "[away]"),
        "moved": config.replace("/shares/share", "/shares"),
    }
    load = Load(server)
    try:
        for change in (*CHANGES, "same"):
            server.config.write_text(texts.get(change, config))
            kept = [line for line in users.splitlines(keepends=True) if change != "user" or not line.startswith("ann:")]
            server.pwddb.write_text("".join(kept))
            if change.startswith("close"):
                control(server, "--close", "127.0.0.1" if change == "close" else "share/file1")
            else:
                result = control(server, "-r")
                assert (result.returncode, result.stderr) == (0, ""), change
    finally:
        load.end()
    assert load.seen["STATUS_SUCCESS"] and load.seen["STATUS_NETWORK_NAME_DELETED"], load.seen
    with RawClient(server, user="ann") as client:
        client.open("afterwards")
    server.wait_stats("sessions: 0")
    control(server, "--close", "share")
    found = listed(server)
    assert not any(found[kind] for kind in ("sessions", "tree_connects", "files", "locks")), found
    used = {row["name"]: row["used"] for row in found["budgets"] if row["name"] != "descriptors"}
    assert not any(used.values()), used
