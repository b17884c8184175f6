# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine without a protocol: takes its sockets and settings as the real one does, asks mountd what the test wants.

Started by mountd in place of ksmbd.process.forker. It says LISTENING, writes what it learnt as JSON to
RUNDIR/engine.json, then obeys the file RUNDIR/engine.do at its start: `die`, `config`, `deaf`.
"""
from __future__ import annotations

import heapq
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from ksmbd.ipc.channel import Channel
from ksmbd.ipc.client import NetlinkDaemon
from ksmbd.ipc.settings import announce_listening, receive_settings
from ksmbd.kernel import prctl
from ksmbd.smb.waiting import Future


class Clock:
    """Real time and its timers."""

    def __init__(self) -> None:
        self.timers: list[Any] = []

    def monotonic(self) -> float:
        return time.monotonic()

    def filetime(self) -> int:
        return 0

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self.timers, timer)
        return timer


class Timer:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call = when, call

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when

    def cancel(self) -> None:
        self.call = lambda: None


def run(daemons: list[NetlinkDaemon], clock: Clock, until: Callable[[], bool]) -> None:
    """Serve the daemons until something holds."""
    while not until():
        while clock.timers and clock.timers[0].when <= time.monotonic():
            heapq.heappop(clock.timers).call()
        wait = max(0.0, clock.timers[0].when - time.monotonic()) if clock.timers else 1.0
        for ready in select.select(daemons, [], [], min(wait, 1.0))[0]:
            ready.on_readable()


def ask(daemons: list[NetlinkDaemon], clock: Clock, future: Future[Any]) -> Any:
    run(daemons, clock, lambda: future.done)
    return future.result()


def main() -> int:
    """Serve until told to stop."""
    prctl.signal_when_parent_dies(signal.SIGTERM)
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    rundir = arguments["--rundir"]
    try:
        with open(os.path.join(rundir, "engine.do")) as stream:
            what = stream.read().strip()
    except FileNotFoundError:
        what = ""
    if what == "config":
        return 78
    channels = [Channel.inherited(int(word)) for word in arguments["--netlink"].split(",")]
    settings = receive_settings(channels[0])
    clock = Clock()
    daemons = [NetlinkDaemon(channel, clock, settings.ipc_timeout) for channel in channels]
    stopped: list[bool] = []
    reloads: list[bool] = []
    for daemon in daemons:
        daemon.start()
        daemon.on_reload = lambda: reloads.append(True)
    daemons[0].on_shutdown = lambda: stopped.append(True)
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        daemons[0].on_shutdown = lambda: None
    report: dict[str, Any] = {"port": settings.tcp_port, "workers": settings.workers, "pid": os.getpid()}
    worker = daemons[1]
    login = ask(daemons, clock, worker.login("root"))
    report["login"] = [login.admitted, login.account, login.uid, list(login.groups), login.nt_hash.hex()]
    share = ask(daemons, clock, worker.share_config("docs"))
    report["share"] = [share.name, share.path, share.comment, share.change_notify]
    tree = ask(daemons, clock, worker.tree_connect(7, 1, "root", False, "docs", "127.0.0.1"))
    report["tree"] = [tree.status, tree.writable]
    handle = ask(daemons, clock, worker.rpc_open("srvsvc", "root", False))
    ask(daemons, clock, worker.rpc_write(handle, b"\5\0\0\3\x10\0\0\0\xff\xff"))
    ask(daemons, clock, worker.rpc_write(handle, bytes(60_000)))
    worker.rpc_close(handle)
    many = [daemons[i % len(daemons)].login("root") for i in range(500)]
    run(daemons, clock, lambda: all(future.done for future in many))
    report["many"] = sum(future.result().uid == 0 for future in many)
    report["ports"] = [[channel._own_port, channel._peer_port] for channel in channels]
    path = os.path.join(rundir, "engine.json")
    with open(path + ".new", "w") as stream:
        json.dump(report, stream)
    os.rename(path + ".new", path)
    announce_listening(channels[0], [f"127.0.0.1:{settings.tcp_port}"])
    run(daemons, clock, lambda: bool(stopped) or len(reloads) == len(daemons))
    if stopped:
        return 0
    renamed = ask(daemons, clock, worker.share_config("docs"))
    with open(path + ".reloaded", "w") as stream:
        stream.write(renamed.comment)
    announce_listening(channels[0], ["reloaded"])
    run(daemons, clock, lambda: bool(stopped))
    return 0


if __name__ == "__main__":
    sys.exit(main())
