# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers the questions of the RPC services (mountd/rpc/names.py) from passwd, group and NSS, in threads of their own:
a slow directory (LDAP, sssd, winbind) delays only the client that asks for a name."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from ksmbd import log
from mountd.lookup_threads import TimedLookups
from mountd.loop import Loop
from mountd.rpc.names import (
    ACCOUNTS,
    FORMER,
    GID,
    GROUP,
    MEMBER,
    NONE_NAME,
    UID,
    USER,
    Found,
    Question,
    UnixAccount,
    UnixGroup,
)
from mountd.unixusers import spellings

THREADS: Final = 2
_GECOS_MAX: Final = 256

Answers = dict[Question, Found]
Former = Mapping[str, tuple[int, ...]]
"""SIDs of a former server -> the user's uid here; () is the group of all users (mountd.rpc.translation.NONE_NAME)."""
NO_FORMER: Final[Former] = {}
Then = Callable[[Answers], None]


class NameResolver(Protocol):
    """Looks names up for the RPC services."""

    def resolve(self, questions: Sequence[Question], accounts: Sequence[str], then: Then) -> bool:
        """Call `then` with the answers, later or before it returns. `accounts`: the names of the server's users.
        Returns False where too many callers wait already."""


def find(question: Question) -> Found:
    """The answer to one question about a user or group."""
    try:
        if question.kind in (USER, UID):
            by_name = question.kind == USER
            return _account(pwd.getpwnam(question.value) if by_name else pwd.getpwuid(int(question.value)))
        by_name = question.kind == GROUP
        group = grp.getgrnam(question.value) if by_name else grp.getgrgid(int(question.value))
        return UnixGroup(group.gr_name, group.gr_gid)
    except (KeyError, ValueError, OverflowError, UnicodeError):
        return None


def _account(entry: pwd.struct_passwd) -> UnixAccount:
    full_name = entry.pw_gecos.partition(",")[0][:_GECOS_MAX]
    return UnixAccount(entry.pw_name, entry.pw_uid, entry.pw_gid, full_name, entry.pw_dir)


def answers(
    questions: Iterable[Question], accounts: Iterable[str], look: Callable[[Question], Found] = find,
    former: Former = NO_FORMER,
) -> Answers:
    """The answers to all questions. A user is looked up by the spellings of the name, as at a log-on."""
    found: Answers = {}
    names = list(accounts)
    for question in questions:
        if question.kind == ACCOUNTS:
            users = (_user(name, look) for name in names)
            found[question] = tuple(sorted({user for user in users if user is not None}, key=lambda user: user.uid))
        elif question.kind == MEMBER:
            found[question] = _member(int(question.value), names, look)
        elif question.kind == FORMER:
            found[question] = _former(former.get(question.value), look)
        elif question.kind == USER:
            found[question] = _user(question.value, look)
        elif question.kind in (GROUP, UID, GID):
            found[question] = look(question)
    return found


def _former(of: tuple[int, ...] | None, look: Callable[[Question], Found]) -> Found:
    if of is None:
        return None
    return look(Question(UID, str(of[0]))) if of else UnixGroup(NONE_NAME, 0)


def _member(uid: int, accounts: list[str], look: Callable[[Question], Found]) -> UnixAccount | None:
    """The account that has a uid. Those of its name are looked up first: a uid with several names is rare."""
    known = look(Question(UID, str(uid)))
    likely = known.name if isinstance(known, UnixAccount) else None
    if likely is None:
        return None
    for name in sorted(accounts, key=lambda name: likely not in spellings(name)):
        user = _user(name, look)
        if user is not None and user.uid == uid:
            return user
    return None


def _user(name: str, look: Callable[[Question], Found]) -> UnixAccount | None:
    for spelling in spellings(name):
        user = look(Question(USER, spelling))
        if isinstance(user, UnixAccount):
            return user
    return None


class DirectNames:
    """Answers at once, in the caller's thread."""

    def __init__(self, look: Callable[[Question], Found] = find) -> None:
        self._look = look
        self.former: Former = NO_FORMER

    def resolve(self, questions: Sequence[Question], accounts: Sequence[str], then: Then) -> bool:
        """See NameResolver."""
        then(answers(questions, accounts, self._look, self.former))
        return True


class _Job(NamedTuple):
    """One call of `resolve`."""

    questions: tuple[Question, ...]
    accounts: tuple[str, ...]


class UnixNames:
    """Answers in threads. What has no answer after LOOKUP_SECONDS counts as not found."""

    def __init__(self, loop: Loop, look: Callable[[Question], Found] = find) -> None:
        self.former: Former = NO_FORMER

        def resolve(job: _Job) -> Answers:
            return answers(job.questions, job.accounts, look, self.former)

        self._lookups = TimedLookups(loop, resolve, THREADS)

    def __len__(self) -> int:
        """The number of callers that wait."""
        return len(self._lookups)

    def close(self, seconds: float = 0.0) -> None:
        """Stop the threads, as LookupThreads.close does."""
        self._lookups.close(seconds)

    def resolve(self, questions: Sequence[Question], accounts: Sequence[str], then: Then) -> bool:
        """See NameResolver."""
        job = _Job(tuple(questions), tuple(accounts))

        def answered(found: Answers | None, why: str) -> None:
            if why:
                log.peer(f"names cannot be looked up: {why}")
            then(found if found is not None else dict.fromkeys(job.questions))

        return self._lookups.start(job, answered)
