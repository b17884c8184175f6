# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the sessions and their tree connects, as the engine's processes report them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from ksmbd.limit import address_group


@dataclass
class Session:
    """A session that has tree connects. Times are in seconds since the epoch."""

    account: str
    peer: str
    guest: bool
    started: float = field(default_factory=time.time)
    active: float = field(default_factory=time.time)
    """Time of the last tree connect or disconnect."""
    opens: int = 0
    """Number of open files, as the engine has last reported it."""
    trees: dict[int, str] = field(default_factory=dict)
    """Connect id -> key of the share."""


class Sessions:
    """All sessions that have tree connects; a session without any is removed."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[int, int], Session] = {}
        self._shares: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        """Account -> number of sessions; "" counts all guests and anonymous users."""
        self._guests: Counter[str] = Counter()
        """Address group -> number of guest and anonymous sessions."""
        self.version = 0
        """Changes with every change of the sessions."""

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        """The sessions, oldest first."""
        return sorted(self._sessions.values(), key=lambda session: session.started)

    def by_id(self) -> list[tuple[int, Session]]:
        """(session id, session) of all processes, oldest first."""
        found = [(session_id, session) for (_, session_id), session in self._sessions.items()]
        return sorted(found, key=lambda pair: pair[1].started)

    def find(self, slot: int, session_id: int) -> Session | None:
        """The session with this id in the process `slot`; None: there is none."""
        return self._sessions.get((slot, session_id))

    def full(self, maximum: int, account: str, peer: str, guest: bool) -> bool:
        """Whether one more session of this user would exceed a limit: `maximum` in all, seven eighths of it for one
        user or for all guests together, half of it for the guests of one address."""
        if len(self._sessions) >= maximum or self._users[_user(account, guest)] >= maximum - maximum // 8:
            return True
        return guest and self._guests[address_group(peer)] >= max(maximum // 2, 1)

    def connections(self, share: str) -> int:
        """The number of sessions that have tree connects to a share, which is given by its key."""
        return self._shares[share]

    def connect(
        self, slot: int, session_id: int, connect_id: int, share: str, account: str, peer: str, guest: bool
    ) -> None:
        """Add a tree connect."""
        session = self._sessions.get((slot, session_id))
        if session is None:
            session = self._sessions[slot, session_id] = Session(account, peer, guest)
            self._users[_user(account, guest)] += 1
            if guest:
                self._guests[address_group(peer)] += 1
        if connect_id not in session.trees:
            self.version += 1
            session.active = time.time()
            if share not in session.trees.values():
                self._shares[share] += 1
            session.trees[connect_id] = share

    def disconnect(self, slot: int, session_id: int, connect_id: int) -> None:
        """Remove a tree connect."""
        session = self._sessions.get((slot, session_id))
        share = session.trees.pop(connect_id, None) if session is not None else None
        if session is None or share is None:
            return
        session.active = time.time()
        self.version += 1
        if share not in session.trees.values():
            _less(self._shares, share)
        if not session.trees:
            self._end(self._sessions.pop((slot, session_id)))

    def forget(self, slot: int) -> None:
        """Remove all sessions of a process that has ended."""
        for key in [key for key in self._sessions if key[0] == slot]:
            session = self._sessions.pop(key)
            self.version += 1
            for share in set(session.trees.values()):
                _less(self._shares, share)
            self._end(session)

    def _end(self, session: Session) -> None:
        _less(self._users, _user(session.account, session.guest))
        if session.guest:
            _less(self._guests, address_group(session.peer))

def _user(account: str, guest: bool) -> str:
    return "" if guest else account.casefold()


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
