# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks up Unix users and groups in threads, so that a slow directory (LDAP, sssd, winbind) delays only those who need
it.

What decides by users and groups is plain code that asks a UnixUsers for them. `UserLookups.run` calls it; where it asks
for what is not known yet, it is left by an exception, the name is looked up in a thread, and it is called again from
its beginning. So it must have no effects before it has asked for all that it needs. Nothing is kept longer than for one
`run`: each log-on sees the groups of the moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ksmbd import log
from mountd.lookup_threads import TimedLookups
from mountd.loop import Loop
from mountd.unixusers import SystemUsers, UnixUser, UnixUsers
from mountd.usernamescript import Script

THREADS: Final = 8
"""For the users of the user database, and what the configuration names."""
STRANGERS: Final = 2
"""Threads for names that the server does not know, so that these cannot hold up the others."""
ROUNDS: Final = 4096
"""Names that one decision may ask for: all groups of a long list."""

Run = Callable[[int, Callable[[], None], Callable[[str], None]], None]
"""Takes the slot of the engine's process that a decision is for, and what UserLookups.run takes. Nothing is called any
more once that process has ended."""

Answer = UnixUser | int | str | None


class Query(NamedTuple):
    """What is looked up: `user` or `group` by name, `group name` by gid, the user that a name is `mapped` to by a
    script."""

    kind: str
    value: str | int
    script: Script | None = None


class NameWantedError(Exception):
    """A decision needs this query answered."""

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self.query = query


class KnownUsers:
    """The users and groups that decisions see. While `known` is set, it has what they may use, and any other query is
    left by NameWantedError; otherwise the system is asked at once."""

    def __init__(self, system: UnixUsers) -> None:
        self._system = system
        self.known: dict[Query, Answer] | None = None

    def user(self, name: str) -> UnixUser | None:
        """See UnixUsers."""
        found = self._answer(Query("user", name))
        return found if isinstance(found, UnixUser) else None

    def group(self, name: str) -> int | None:
        """See UnixUsers."""
        found = self._answer(Query("group", name))
        return found if isinstance(found, int) else None

    def group_name(self, gid: int) -> str | None:
        """See UnixUsers."""
        found = self._answer(Query("group name", gid))
        return found if isinstance(found, str) else None

    def mapped(self, script: Script, name: str) -> str | None:
        """See UnixUsers."""
        found = self._answer(Query("mapped", name, script))
        return found if isinstance(found, str) else None

    def _answer(self, query: Query) -> Answer:
        if self.known is None:
            return ask(self._system, query)
        if query not in self.known:
            raise NameWantedError(query)
        return self.known[query]


def ask(system: UnixUsers, query: Query) -> Answer:
    """Ask the system. Raises OSError where its databases cannot be asked."""
    if query.kind == "user":
        return system.user(str(query.value))
    if query.script is not None:
        return system.mapped(query.script, str(query.value))
    return system.group(str(query.value)) if query.kind == "group" else system.group_name(int(query.value))


class UserLookups:
    """Runs decisions, and looks up what they ask for."""

    def __init__(self, loop: Loop, system: UnixUsers | None = None) -> None:
        source = system if system is not None else SystemUsers()
        self.users = KnownUsers(source)
        self.is_known: Callable[[str], bool] = lambda name: True
        """Whether the server knows a user's name."""

        def resolve(query: Query) -> Answer:
            return ask(source, query)

        self._lookups = TimedLookups(loop, resolve, THREADS, STRANGERS)

    def __len__(self) -> int:
        """The number of decisions that wait."""
        return len(self._lookups)

    def close(self, seconds: float = 0.0) -> None:
        """Stop the threads, as LookupThreads.close does."""
        self._lookups.close(seconds)

    def run(self, decide: Callable[[], None], failed: Callable[[str], None]) -> None:
        """Call `decide`, at once and again when it has been left for a name. It calls nobody back when it is left.
        `failed` is called instead where a name cannot be looked up. What `decide` raises in this call is passed on;
        later it is logged and `failed`."""
        known: dict[Query, Answer] = {}
        wanted = self._attempt(decide, known)
        if wanted is not None:
            self._look_up(wanted, decide, failed, known)

    def _attempt(self, decide: Callable[[], None], known: dict[Query, Answer]) -> Query | None:
        before, self.users.known = self.users.known, known
        try:
            decide()
        except NameWantedError as error:
            return error.query
        finally:
            self.users.known = before
        return None

    def _look_up(
        self, query: Query, decide: Callable[[], None], failed: Callable[[str], None], known: dict[Query, Answer]
    ) -> None:
        def answered(answer: Answer, why: str) -> None:
            if why:
                log.peer(f"{query.kind} {str(query.value)[:80]!r} cannot be looked up: {why}")
                failed(why)
                return
            known[query] = answer
            try:
                wanted = self._attempt(decide, known)
            except Exception as error:  # noqa: BLE001  one request must not end the daemon
                log.exception("a request failed after its names were looked up", error)
                failed(type(error).__name__)
                return
            if wanted is not None:
                self._look_up(wanted, decide, failed, known)

        stranger = query.kind in ("user", "mapped") and not self.is_known(str(query.value))
        if len(known) >= ROUNDS or not self._lookups.start(query, answered, 1 if stranger else 0):
            failed("too many names are being looked up")
