# SPDX-License-Identifier: GPL-2.0-or-later
"""What mountd asks a worker and tells it: lists, closing, and a reload, which is applied to those who are connected."""
from __future__ import annotations

import json
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, Final

from ksmbd import log
from ksmbd.ipc.activity import KINDS, Target
from ksmbd.oplock.report import report
from ksmbd.oplock.store import Store
from ksmbd.process.activity import Activity, Answering, share_of
from ksmbd.process.closing import close, close_kept, close_share, names
from ksmbd.process.traced_keys import TracedKeys
from ksmbd.smb.model import Open, Server
from ksmbd.smb.reconfigure import Reconfiguration
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.teardown import wait_for
from ksmbd.smb.waiting import Future, Task

KEYS_PART: Final = 64
"""Sessions whose keys go into one part of an answer."""


class Questions:
    """Answers Event.QUESTION (ksmbd.ipc.activity), and obeys RELOAD."""

    def __init__(self, server: Server, store: Store, activity: Activity, traced: TracedKeys) -> None:
        self._server = server
        self._store = store
        self._activity = activity
        self._traced = traced
        self._applied: Future[Mapping[str, int]] = Future.of({})
        """Complete when the last RELOAD is applied: how many sessions, tree connects and files were closed."""

    def answer(self, question: str, answering: Answering) -> None:
        """Answer a question, at once or later. One that is not understood gets an empty answer and a log line."""
        try:
            asked: dict[str, Any] = json.loads(question)
            match asked["ask"]:
                case "list":
                    kinds = [kind for kind in asked["kinds"] if kind in KINDS]
                    self._run(self._activity.list(kinds, answering), answering)
                    return
                case "keys":
                    self._keys(int(asked["after"]), answering)
                case "close":
                    target = Target(**asked["target"])
                    if target.problem:
                        raise ValueError(target.problem)
                    self._run(self._close(target, answering), answering)
                    return
                case "reloaded":
                    self._applied.add_callback(lambda applied: _tell(answering, applied.result()))
                    return
                case _:
                    raise ValueError("not a question")
        except (ValueError, TypeError, KeyError) as error:
            log.warning(f"ipc: ksmbd.mountd asked {question[:100]!r}: {error}")
            answering.end()

    def _run(self, answer: Coroutine[Any, None, None], answering: Answering) -> None:
        """Run what answers a question; where it fails, the answer ends nevertheless."""

        def done(task: Task[None]) -> None:
            if task.error is not None:
                log.exception("a question of ksmbd.mountd was not answered", task.error)
                answering.end()

        Task(answer, done).start()

    def reloaded(self) -> None:
        """Apply a changed configuration to those who are connected, after an earlier one."""
        before, self._applied = self._applied, Future()
        Task(self._apply(before, self._applied)).start()

    async def _apply(self, before: Future[Mapping[str, int]], applied: Future[Mapping[str, int]]) -> None:
        change = Reconfiguration(self._server)
        try:
            ended: Future[None] = Future()
            before.add_callback(lambda _: ended.set_result(None))
            await wait_for(ended)
            await change.apply()
            time_slice = self._server.scheduler.time_slice(self)
            for share in change.gone:
                await close_share(self._server, share, self.share_of, change.changed, time_slice)
                await close_kept(
                    self._server, partial(names, Target(share=share)), self._activity.kept, change.changed, time_slice
                )
        except Exception as error:  # noqa: BLE001  whoever waits for the reload must not wait for ever
            log.exception("a reload was not applied to all who are connected", error)
        applied.set_result(change.changed)

    async def _close(self, target: Target, answering: Answering) -> None:
        time_slice = self._server.scheduler.time_slice(answering)
        closed = await close(self._server, target, self.share_of, time_slice)
        await close_kept(
            self._server, lambda entry: names(target, entry), self._activity.kept, closed, time_slice
        )
        _tell(answering, closed)

    def _keys(self, after: int, answering: Answering) -> None:
        """Answer with keys, some in each part."""
        rows = [vars(row) for row in self._traced.rows(after)]
        for at in range(0, len(rows), KEYS_PART):
            answering.part(json.dumps({"keys": rows[at : at + KEYS_PART]}))
        answering.end()

    def share_of(self, open_: Open) -> str:
        """The name of the share of an open, also while its client is disconnected."""
        state = None
        if open_.tree is None and open_.ref is not None:
            try:
                state = report(self._store, open_.ref)
            except NtStatusError:
                state = None
        return share_of(open_, state)


def _tell(answering: Answering, counts: Mapping[str, int]) -> None:
    counted = {kind: count for kind, count in counts.items() if count}
    if counted:
        answering.part(json.dumps(counted))
    answering.end()
