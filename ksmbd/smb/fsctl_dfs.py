# SPDX-License-Identifier: GPL-2.0-or-later
"""FSCTL_DFS_GET_REFERRALS and _EX (MS-SMB2 3.3.5.15.2, MS-DFSC 3.2.5.1): the targets of a DFS root, and of a link."""
from __future__ import annotations

from dataclasses import replace

from ksmbd.smb import dfs
from ksmbd.smb.constants import FSCTL_DFS_GET_REFERRALS_EX
from ksmbd.smb.create_names import parse_name
from ksmbd.smb.fsctl import Control, Output
from ksmbd.smb.ports import ShareConfig
from ksmbd.smb.status import (
    STATUS_BUFFER_OVERFLOW,
    STATUS_FS_DRIVER_REQUIRED,
    STATUS_NOT_FOUND,
    NtStatusError,
)
from ksmbd.smb.tree_connect import client_of, question_of, rights_on_share, share_of_user


async def dfs_get_referrals(control: Control) -> Output:
    """Answer with the referrals of a path. Raises STATUS_FS_DRIVER_REQUIRED without `host msdfs`, STATUS_NOT_FOUND for
    a path that is neither a DFS root nor below a link, STATUS_BUFFER_OVERFLOW."""
    if not control.request.server.settings.dfs:
        raise NtStatusError(STATUS_FS_DRIVER_REQUIRED, "no DFS")
    level, path = dfs.read_request(control.input, control.code == FSCTL_DFS_GET_REFERRALS_EX)
    parts = dfs.components(path)
    if len(parts) < 2:  # the referrals of domains are those of domain controllers
        raise NtStatusError(STATUS_NOT_FOUND, "no path of a share")
    referral = await _referral(control, path, parts)
    if not dfs.last_offset_fits(referral):
        raise NtStatusError(STATUS_NOT_FOUND, "more targets than a referral holds")
    answer = dfs.encode(level, referral)
    control.need(len(answer), STATUS_BUFFER_OVERFLOW)
    return Output(answer)


async def _referral(control: Control, path: str, parts: list[str]) -> dfs.Referral:
    request = control.request
    session, server = request.session, request.server
    identity = session.identity
    share = await control.settle(server.daemon.share_config(parts[1]))
    if share is not None and share.personal:
        share = await control.settle(server.daemon.personal_share(parts[1], client_of(session, request.connection)))
    if share is None or share.is_pipe or not (share.msdfs_root or share.msdfs_proxy) or identity is None:
        raise NtStatusError(STATUS_NOT_FOUND, "no DFS root")
    if share.msdfs_proxy:
        targets = dfs.targets_of(share.msdfs_proxy)
        if not targets:
            raise NtStatusError(STATUS_NOT_FOUND, "`msdfs proxy` without a path of a share")
        return dfs.Referral(dfs.consumed(path, 2), targets, False)  # to storage, as with Samba
    name = parse_name("\\".join(parts[2:])).path if len(parts) > 2 else ""
    link = await _link(control, share, name) if name else None
    if link is not None:
        return dfs.Referral(dfs.consumed(path, 2 + link.depth), link.targets, False)
    if name:
        raise NtStatusError(STATUS_NOT_FOUND, "no link")
    return dfs.Referral(dfs.consumed(path, 2), ("\\" + "\\".join(parts[:2]),), True)


async def _link(control: Control, share: ShareConfig, name: str) -> dfs.Link | None:
    """The link on the way to a name, found with the rights that the user has on the share. Raises the NtStatusError
    with which a TREE_CONNECT would be refused."""
    request = control.request
    identity = request.session.identity
    assert identity is not None
    question = question_of(request.session, identity, request.connection, share)
    answer = await control.settle(request.server.daemon.check_tree_connect(*question))
    if answer.status:
        raise NtStatusError(answer.status, share.name)
    share = share_of_user(share, answer)
    user = replace(rights_on_share(identity, share, answer.is_admin, answer.is_guest), address=question.peer)
    volume = request.server.files.volume(share, user, True)
    try:
        return volume.dfs_link(name)
    finally:
        volume.close()
