# SPDX-License-Identifier: GPL-2.0-or-later
"""Translates SIDs to names and names to SIDs (MS-LSAT 3.1.4.5 to 3.1.4.11), without side effects.

In this order: well-known SIDs, the server's own domain (its users, and the group None of all of them), Unix users and
groups under `Unix User` and `Unix Group`, as with Samba, and users by their SIDs on a former server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ksmbd.smb.former_sids import is_account
from ksmbd.smb.sid import Sid
from ksmbd.smb.unix_sids import domain_sid, gid_of, group_sid, uid_of, user_sid
from mountd.rpc.facts import Facts
from mountd.rpc.names import FORMER, GID, GROUP, NAME_MAX, NONE_NAME, UID, USER, Names, Question
from mountd.rpc.well_known import (
    DOMAINS,
    NAMES,
    UNIX_GROUP_NAME,
    UNIX_USER_NAME,
    SidUse,
)

NONE_RID: Final = 513
"""DOMAIN_GROUP_RID_USERS: the primary group of all users (MS-DTYP 2.4.2.4)."""


@dataclass(frozen=True)
class Translated:
    """A SID and its name. `domain_sid` is that of the domain which the name belongs to."""

    sid: Sid
    use: SidUse
    name: str
    domain: str
    domain_sid: Sid


class Translator:
    """Translates with the names that the caller's operation has."""

    def __init__(self, facts: Facts, names: Names) -> None:
        self._names = names
        self.domain = domain_sid(facts.sub_authorities)
        self.domain_name = facts.netbios_name.upper()
        self._workgroup = facts.workgroup.upper()

    # --------------------------------------------------------------------------------------------- SIDs to names

    def sids(self, sids: Sequence[Sid | None]) -> list[Translated | None]:
        """The names of SIDs; None: it has none. Raises Unanswered."""
        self._names.want(question for sid in sids if sid is not None for question in self._questions_of(sid))
        return [None if sid is None else self._name_of(sid) for sid in sids]

    def _questions_of(self, sid: Sid) -> Iterable[Question]:
        uid, gid = uid_of(self.domain, sid), gid_of(self.domain, sid)
        if sid in NAMES:
            return
        if uid is not None:
            yield Question(UID, str(uid))
        elif gid is not None:
            yield Question(GID, str(gid))
        elif is_account(sid) and sid.domain != self.domain:
            yield Question(FORMER, str(sid))

    def _name_of(self, sid: Sid) -> Translated | None:
        known = NAMES.get(sid)
        if known is not None:
            return Translated(sid, known.use, known.name, known.domain, sid.domain if known.name else sid)
        if sid == self.domain:
            return Translated(sid, SidUse.DOMAIN, "", self.domain_name, sid)
        if sid == self.domain.child(NONE_RID):
            return self._of_domain(sid, SidUse.GROUP, NONE_NAME)
        for question in self._questions_of(sid):
            if question.kind == UID:
                user = self._names.account(question)
                if user is not None:
                    return self._of_domain(sid, SidUse.USER, user.name)
            elif question.kind == FORMER:
                return self._former(sid, question)
            else:
                group = self._names.group(question)
                if group is not None:
                    return self._of_domain(sid, SidUse.GROUP, group.name)
        return None

    def _former(self, sid: Sid, question: Question) -> Translated | None:
        """The name of a SID of a former server (mountd/sidhistory.py): the user's here, below the server's name."""
        user, group = self._names.account(question), self._names.group(question)
        if user is not None:
            return Translated(sid, SidUse.USER, user.name, self.domain_name, sid.domain)
        return None if group is None else Translated(sid, SidUse.GROUP, group.name, self.domain_name, sid.domain)

    def _of_domain(self, sid: Sid, use: SidUse, name: str) -> Translated:
        if sid.domain == self.domain:
            return Translated(sid, use, name, self.domain_name, self.domain)
        domain = UNIX_USER_NAME if use is SidUse.USER else UNIX_GROUP_NAME
        return Translated(sid, use, name, domain, DOMAINS[domain])

    # --------------------------------------------------------------------------------------------- names to SIDs

    def names(self, names: Sequence[str]) -> list[Translated | None]:
        """The SIDs of names: `NAME`, `DOMAIN\\NAME` or `NAME@DOMAIN`; None: there is none. Raises Unanswered."""
        parts = [_split(name) for name in names]
        self._names.want(question for domain, name in parts for question in self._questions_about(domain, name))
        return [self._sid_of(domain, name) for domain, name in parts]

    def _questions_about(self, domain: str, name: str) -> Iterable[Question]:
        domain = domain.upper()
        if not name or len(name) > NAME_MAX or _well_known(domain, name) is not None:
            return
        if domain in ("", self.domain_name, self._workgroup, UNIX_USER_NAME.upper()):
            yield Question(USER, name)
        if domain in ("", self.domain_name, self._workgroup, UNIX_GROUP_NAME.upper()):
            yield Question(GROUP, name)

    def _sid_of(self, domain: str, name: str) -> Translated | None:
        known = _well_known(domain.upper(), name)
        if known is not None:
            return self._name_of(known)
        ours = domain.upper() in ("", self.domain_name, self._workgroup)
        if ours and name.upper() == NONE_NAME.upper():
            return self._name_of(self.domain.child(NONE_RID))
        if ours and (name.upper() == self.domain_name or (domain and not name)):
            return self._name_of(self.domain)
        for question in self._questions_about(domain, name):
            if question.kind == USER:
                user = self._names.account(question)
                if user is not None:
                    return self._of_domain(user_sid(self.domain, user.uid), SidUse.USER, user.name)
            else:
                group = self._names.group(question)
                if group is not None:
                    return self._of_domain(group_sid(group.gid), SidUse.GROUP, group.name)
        return None


def _split(name: str) -> tuple[str, str]:
    """(domain, name)."""
    domain, separator, rest = name.partition("\\")
    if separator:
        return domain, rest
    rest, separator, domain = name.rpartition("@")
    return (domain, rest) if separator else ("", name)


def _well_known(domain: str, name: str) -> Sid | None:
    """The well-known SID of a name in a domain in upper case, or without a domain."""
    return _WELL_KNOWN.get((domain, name.upper()))


def _spellings() -> Iterable[tuple[tuple[str, str], Sid]]:
    for sid, named in NAMES.items():
        if named.name:
            yield (named.domain.upper(), named.name.upper()), sid
            yield ("", named.name.upper()), sid
        else:
            yield ("", named.domain.upper()), sid
            yield (named.domain.upper(), ""), sid


_WELL_KNOWN: Final = dict(_spellings())
