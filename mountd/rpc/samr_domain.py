# SPDX-License-Identifier: GPL-2.0-or-later
"""The account database that samr shows (MS-SAMR 3.1.1): two domains, the users of the server's own, and the aliases of
BUILTIN. A user is an account of ksmbdpwd.db that has a Unix account; nothing can be changed through samr."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmbd.smb.sid import BUILTIN_ADMINISTRATORS, BUILTIN_USERS, Sid
from ksmbd.smb.status import (
    STATUS_NO_SUCH_ALIAS,
    STATUS_NO_SUCH_DOMAIN,
    STATUS_NO_SUCH_GROUP,
    STATUS_NO_SUCH_USER,
    NtStatusError,
)
from ksmbd.smb.unix_sids import domain_sid, uid_of, user_sid
from mountd.rpc.names import MEMBER, NONE_NAME, Question, UnixAccount
from mountd.rpc.service import Caller
from mountd.rpc.translation import NONE_RID
from mountd.rpc.well_known import ALIASES, BUILTIN, BUILTIN_NAME, SidUse

GROUP_ATTRIBUTES: Final = 7
"""SE_GROUP_MANDATORY, ENABLED_BY_DEFAULT, ENABLED (MS-SAMR 2.2.1.10)."""
USER_NORMAL_ACCOUNT: Final = 0x10
USER_DONT_EXPIRE_PASSWORD: Final = 0x200
"""UserAccountControl (MS-SAMR 2.2.1.12)."""


class Server:
    """What a handle of SamrConnect stands for."""


@dataclass(frozen=True)
class Domain:
    """A domain: its name and its SID."""

    name: str
    sid: Sid

    @property
    def is_builtin(self) -> bool:
        """Whether it is BUILTIN."""
        return self.sid == BUILTIN


@dataclass(frozen=True)
class User:
    """A user of the server's domain."""

    account: UnixAccount
    rid: int
    domain: Domain

    @property
    def control(self) -> int:
        """UserAccountControl."""
        return USER_NORMAL_ACCOUNT | USER_DONT_EXPIRE_PASSWORD


@dataclass(frozen=True)
class Group:
    """The group of all users of the server's domain."""

    rid: int
    name: str
    domain: Domain
    description: str = "Ordinary users"


@dataclass(frozen=True)
class Alias:
    """An alias of BUILTIN."""

    rid: int
    name: str
    domain: Domain


@dataclass(frozen=True)
class Principal:
    """A user, group or alias by name, as LookupNames and LookupIds see it."""

    rid: int
    name: str
    use: SidUse


class Database:
    """The accounts, as the caller's operation sees them. Methods that need the users raise Unanswered."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        facts = caller.facts()
        self.account_domain = Domain(facts.netbios_name.upper(), domain_sid(facts.sub_authorities))
        self.builtin = Domain(BUILTIN_NAME, BUILTIN)

    @property
    def domains(self) -> tuple[Domain, Domain]:
        """Both domains."""
        return self.account_domain, self.builtin

    def domain(self, sid: Sid) -> Domain:
        """The domain with this SID. Raises STATUS_NO_SUCH_DOMAIN."""
        found = next((domain for domain in self.domains if domain.sid == sid), None)
        if found is None:
            raise NtStatusError(STATUS_NO_SUCH_DOMAIN, str(sid))
        return found

    def domain_named(self, name: str) -> Domain:
        """The domain with this name. Raises STATUS_NO_SUCH_DOMAIN."""
        found = next((domain for domain in self.domains if domain.name == name.upper()), None)
        if found is None:
            raise NtStatusError(STATUS_NO_SUCH_DOMAIN, name)
        return found

    def users(self, domain: Domain) -> list[User]:
        """The users of a domain by RID; BUILTIN has none. One whose RID does not fit is left out."""
        if domain.is_builtin:
            return []
        found = ((account, user_sid(domain.sid, account.uid)) for account in self._caller.names.accounts())
        return [User(account, sid.rid, domain) for account, sid in found if sid.domain == domain.sid]

    def groups(self, domain: Domain) -> list[Group]:
        """The groups of a domain."""
        return [] if domain.is_builtin else [Group(NONE_RID, NONE_NAME, domain)]

    def aliases(self, domain: Domain) -> list[Alias]:
        """The aliases of a domain, by RID."""
        return [Alias(sid.rid, name, domain) for sid, name in ALIASES.items()] if domain.is_builtin else []

    def principals(self, domain: Domain) -> list[Principal]:
        """All of them."""
        return [
            *(Principal(user.rid, user.account.name, SidUse.USER) for user in self.users(domain)),
            *(Principal(group.rid, group.name, SidUse.GROUP) for group in self.groups(domain)),
            *(Principal(alias.rid, alias.name, SidUse.ALIAS) for alias in self.aliases(domain)),
        ]

    def user(self, domain: Domain, rid: int) -> User:
        """The user with this RID. Raises STATUS_NO_SUCH_USER."""
        uid = None if domain.is_builtin else uid_of(domain.sid, domain.sid.child(rid))
        account = None if uid is None else self._caller.names.account(Question(MEMBER, str(uid)))
        if account is None:
            raise NtStatusError(STATUS_NO_SUCH_USER, str(rid))
        return User(account, rid, domain)

    def group(self, domain: Domain, rid: int) -> Group:
        """The group with this RID. Raises STATUS_NO_SUCH_GROUP."""
        found = next((group for group in self.groups(domain) if group.rid == rid), None)
        if found is None:
            raise NtStatusError(STATUS_NO_SUCH_GROUP, str(rid))
        return found

    def alias(self, domain: Domain, rid: int) -> Alias:
        """The alias with this RID. Raises STATUS_NO_SUCH_ALIAS."""
        found = next((alias for alias in self.aliases(domain) if alias.rid == rid), None)
        if found is None:
            raise NtStatusError(STATUS_NO_SUCH_ALIAS, str(rid))
        return found

    def alias_members(self, alias: Alias) -> list[Sid]:
        """The members of an alias: root is an administrator, all users are Users."""
        sid = BUILTIN.child(alias.rid)
        domain = self.account_domain.sid
        if sid == BUILTIN_ADMINISTRATORS:
            return [user_sid(domain, 0)]
        return [domain.child(NONE_RID)] if sid == BUILTIN_USERS else []

    def aliases_of(self, domain: Domain, sids: list[Sid]) -> list[int]:
        """The RIDs of the aliases of a domain that one of the SIDs is a member of."""
        return [alias.rid for alias in self.aliases(domain) if not set(sids).isdisjoint(self.alias_members(alias))]
