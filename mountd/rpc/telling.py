# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects the facts for the RPC services (mountd/rpc/facts.py) from configuration and sessions."""

from __future__ import annotations

import base64
from typing import Protocol

from mountd import personal, rpclogon, sharesecurity
from mountd.config import ShareSettings, share_key
from mountd.parameters import CAP
from mountd.rpc.facts import Facts, Level, ShareFacts
from mountd.sessions import Sessions
from mountd.sharesecurity import ShareSecurity, may_read
from mountd.sharing import hidden_shares
from mountd.variables import Unsafe


class ServerView(rpclogon.ServerView, sharesecurity.ServerView, Protocol):
    """The parts of the daemon from which the facts are collected."""

    @property
    def sessions(self) -> Sessions: ...
    @property
    def share_security(self) -> ShareSecurity: ...


def level_of(server: ServerView, account: str, restricted: bool) -> Level:
    """What a caller may be told. `restricted`: anonymous or guest. Administrators are root, and whom IPC$ names in
    `admin users`."""
    if restricted or not account:
        return Level.NAMES
    user = server.users.user(account)
    if user is not None and user.uid == 0:
        return Level.SESSIONS
    share = server.configuration.share("ipc$")
    named = share is not None and account.casefold() in (name.casefold() for name in share.admin_users)
    return Level.SESSIONS if named else Level.SHARES


def facts(server: ServerView, level: Level, kerberos: bool = False) -> Facts:
    """The current facts of a level. `kerberos`: log-ons with it can be checked."""
    configuration, sessions = server.configuration, server.sessions
    settings = configuration.settings
    seen = sessions.all() if level >= Level.SESSIONS else []
    return Facts(
        netbios_name=settings.netbios_name,
        sub_authorities=server.sub_authorities,
        workgroup=settings.workgroup,
        server_string=settings.server_string,
        max_sessions=settings.max_active_sessions,
        deadtime=settings.deadtime,
        ntlm=settings.ntlm_auth != "disabled",
        kerberos=kerberos,
        dfs=settings.host_msdfs,
        shares={
            share_key(share.name): _share(server, share, level)
            for share in sorted(configuration.all_shares(), key=lambda share: share_key(share.name))
        },
        accounts=len({session.account for session in seen}),
    )


def _share(server: ServerView, share: ShareSettings, level: Level) -> ShareFacts:
    detailed = level >= Level.SHARES
    has_path = bool(share.path) and not share.is_ipc
    return ShareFacts(
        name=share.name,
        comment=share.comment,
        is_ipc=share.is_ipc,
        browseable=share.browseable,
        served=has_path or share.is_ipc or share is server.configuration.homes,
        max_connections=share.max_connections,
        path=share.full_path(server.configuration.settings) if detailed and has_path else "",
        uses=server.sessions.connections(share_key(share.name)) if detailed else 0,
        unlimited=share.max_connections >= CAP,
        is_dfs_root=share.msdfs_root and server.configuration.settings.host_msdfs,
        security=_security(server, share) if level is Level.SESSIONS and not share.is_ipc else "",
    )


def _security(server: ServerView, share: ShareSettings) -> str:
    return base64.b64encode(server.share_security.encoded(share.name)).decode("ascii")


def own_home(server: ServerView, account: str, restricted: bool, address: str) -> ShareFacts | None:
    """The share of the user's own home (mountd/personal.py), which lists show to that user alone; None: there is none,
    or it is not shown. `restricted`: a guest, or anonymous."""
    configuration = server.configuration
    if configuration.homes is None or restricted or not account:
        return None
    try:
        share = personal.resolve(personal.HOMES, personal.Who(account, peer=address), configuration, server.users)
    except Unsafe:
        return None
    if share is None or not share.browseable or configuration.share(share.name) is not None:
        return None
    return _share(server, share, Level.SHARES)


def hidden(server: ServerView, account: str, restricted: bool) -> list[str]:
    """The keys of the shares that lists of shares leave out for a user (`access based share enum`)."""
    found = hidden_shares(account, restricted, server.configuration, server.users)
    for key, share in server.configuration.shares.items():
        descriptor = server.share_security.descriptor(key)
        if share.access_based_share_enum and descriptor is not None and key not in found:
            if not may_read(descriptor, account, share, server, restricted):
                found.append(key)
    return found
