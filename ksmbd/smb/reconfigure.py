# SPDX-License-Identifier: GPL-2.0-or-later
"""Applies a changed configuration to those who are connected.

mountd is asked again about each user and each tree connect. A session whose account may no longer log on is closed. A
tree connect is closed (its client gets STATUS_NETWORK_NAME_DELETED) where the share is gone or moved, where the user
may no longer connect to it, works as another Unix user than before, or must encrypt from now on. Otherwise it goes on
with the new parameters. Where it may no longer write, opens lose the right to write data, so that a WRITE fails with
STATUS_MEDIA_WRITE_PROTECTED, and whatever else changes files fails by TreeConnect's `read_only`.
"""
from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from ksmbd.smb.model import Server, Session, TreeConnect
from ksmbd.smb.open_life import restore_writes, withdraw_writes
from ksmbd.smb.ports import Identity, ShareConfig, TreeConnectResult
from ksmbd.smb.server_application import end_session, end_tree
from ksmbd.smb.session_state import SessionState
from ksmbd.smb.status import NtStatusError
from ksmbd.smb.teardown import wait_for
from ksmbd.smb.tree_connect import Question, client_of, maximal_access, question_of, rights_on_share, share_of_user

logger = logging.getLogger("ksmbd.smb")


class Reconfiguration:
    """One reload, applied to all sessions of a worker."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._accounts: dict[str, bool] = {}
        """Account -> whether it may log on."""
        self._answers: dict[Question, TreeConnectResult] = {}
        self.changed: Counter[str] = Counter()
        """How many sessions, tree connects and files were closed."""
        self.gone: set[str] = set()
        """Names of shares, case-folded, that do not exist any longer."""

    async def apply(self) -> None:
        """Go through all sessions. Where mountd does not answer, what is connected stays as it is."""
        time_slice = self._server.scheduler.time_slice(self)
        await self._close_what_is_gone()
        for session in list(self._server.sessions.values()):
            if session.identity is None or session.state in (SessionState.IN_PROGRESS, SessionState.DELETED):
                continue
            try:
                await self._check(session, session.identity)
            except NtStatusError as error:
                logger.warning("session %#x: not checked after a reload: %s", session.session_id, error)
            if time_slice.is_over():
                await time_slice.renew()

    async def _close_what_is_gone(self) -> None:
        """Close the tree connects to shares that do not exist any longer, before anything else is asked."""
        trees = [tree for session in self._server.sessions.values() for tree in session.tree_connects.values()]
        known: dict[str, bool] = {}
        for tree in trees:
            if tree.share.personal:
                continue  # each session is asked about
            name = tree.share.name.casefold()
            if name not in known:
                try:
                    known[name] = await self._server.daemon.share_config(tree.share.name) is not None
                except NtStatusError:
                    known[name] = True
            if not known[name]:
                self.gone.add(name)
                await self._end_tree(tree)

    async def _check(self, session: Session, identity: Identity) -> None:
        if not await self._may_log_on(identity):
            self.changed.update(
                sessions=1, tree_connects=len(session.tree_connects), files=len(session.opens)
            )
            logger.info("%s may not log on any longer: session closed", identity.account)
            await wait_for(end_session(session))
            return
        for tree in list(session.tree_connects.values()):
            if not tree.closed:
                await self._check_tree(tree, identity)

    async def _may_log_on(self, identity: Identity) -> bool:
        if identity.is_guest:
            return True  # each share decides
        account = identity.account
        if account not in self._accounts:
            response = await self._server.daemon.login(account, mapped=True)
            self._accounts[account] = response.admitted and not response.refusal
        return self._accounts[account]

    async def _check_tree(self, tree: TreeConnect, identity: Identity) -> None:
        daemon = self._server.daemon
        share = await daemon.share_config(tree.share.name)
        connection = next(iter(tree.session.channels), None)
        if share is not None and share.personal:
            if connection is None:
                return  # it has no client now
            share = await daemon.personal_share(tree.share.name, client_of(tree.session, connection))
        if share is None:
            self.gone.add(tree.share.name.casefold())
            await self._end_tree(tree)
            return
        question = question_of(tree.session, identity, connection, share)
        if question not in self._answers:
            self._answers[question] = await daemon.check_tree_connect(*question)
        answer = self._answers[question]
        if tree.closed:
            return
        share = share_of_user(share, answer)
        if answer.status or not self._update(tree, share, answer, identity, question.peer):
            await self._end_tree(tree)

    def _update(
        self, tree: TreeConnect, share: ShareConfig, answer: TreeConnectResult, identity: Identity, peer: str
    ) -> bool:
        """Use the new parameters on a tree connect. False: it must be closed."""
        read_only = not answer.writable and not share.is_pipe
        if share == tree.share and read_only == tree.read_only and answer.is_admin == tree.is_admin:
            return answer.is_guest == tree.is_guest
        if _works_as(share, answer) != _works_as(tree.share, tree):
            return False
        if share.encrypt and not (tree.encrypt_data or tree.session.encrypt_data):
            return False  # the client learns of it when it connects again
        if tree.volume is not None:
            user = rights_on_share(identity, share, answer.is_admin, answer.is_guest)
            try:
                volume = self._server.files.volume(share, replace(user, address=peer), read_only)
            except NtStatusError:
                return False  # its folder is gone
            tree.volume.close()
            tree.volume = volume
            tree.maximal_access = maximal_access(volume, read_only) & ~share.withheld
        tree.share = share
        tree.encrypt_data = share.encrypt and tree.session.sealer is not None
        if read_only != tree.read_only:
            tree.read_only = read_only
            for open_ in tree.opens:
                (withdraw_writes if read_only else restore_writes)(open_)
        return True

    async def _end_tree(self, tree: TreeConnect) -> None:
        if not tree.closed:
            self.changed.update(tree_connects=1, files=sum(1 for _ in tree.opens))
            await wait_for(end_tree(tree))


def _works_as(share: ShareConfig, tree: TreeConnect | TreeConnectResult) -> tuple[object, ...]:
    """What an open file keeps of the share: its place, and the Unix user that it works as."""
    return (
        share.path, share.is_pipe, share.force_uid, share.force_gid, share.guest, tree.is_admin, tree.is_guest,
    )  # fmt: skip
