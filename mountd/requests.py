# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers the engine's requests from the configuration, the accounts and the sessions: one method for each message."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from ksmbd import debug, limits, log
from ksmbd.ipc.answers import TREE_ERRORS
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, RpcFlag, TreeRequestFlag, TreeStatus, UserFlag
from ksmbd.ipc.messages import ACCOUNT_SIZE, HASH_SIZE
from ksmbd.ipc.options import ACCOUNT, CLIENT_NAME, DIALECT, IS_GUEST, LOCAL, MAPPED, PEER, number, required, switch
from ksmbd.refusals import refused
from ksmbd.smb.status import STATUS_ACCESS_DENIED, status_name
from mountd.accounts import Accounts
from mountd.config import Configuration, share_key
from mountd.failedlogons import FailedLogons
from mountd.hostnames import HostNames, Look
from mountd.hosts import Names, NoNames, host_names
from mountd.kerberos.admission import realm_user
from mountd.kerberos.host import KerberosHost
from mountd.login import Login, decide
from mountd.parameters import PROTOCOLS
from mountd.personal import Who
from mountd.rpc.host import Backend, PipeHost
from mountd.sessions import Sessions
from mountd.sharesecurity import ShareSecurity, obeyed
from mountd.sharing import TreeAnswer, TreeRequest, decide_tree_connect, share_response
from mountd.unixnames import NameResolver
from mountd.unixusers import SystemUsers, UnixUsers
from mountd.userlookups import UserLookups

GROUPS_MAX: Final = limits.GROUPS_PER_USER.value
"""Supplementary groups of a user that are sent to the engine at most."""
NOTE_INTERVAL: Final = 1000
"""Different log lines of `say` that are remembered, so that each is logged once."""


class Requests:
    """Handles all messages. `slot` numbers the engine's processes: 0 is the forker, then come the workers."""

    def __init__(
        self,
        configuration: Configuration,
        accounts: Accounts,
        services: Backend,
        users: UnixUsers | UserLookups | None = None,
        on_listening: Callable[[list[str]], None] = lambda addresses: None,
        names: HostNames | None = None,
        unix_names: NameResolver | None = None,
        sub_authorities: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """`users`: UserLookups looks them up in threads."""
        self.configuration = configuration
        self.accounts = accounts
        self._lookups = users if isinstance(users, UserLookups) else None
        if isinstance(users, UserLookups):
            users.is_known = self._is_known
            users = users.users
        self.users: UnixUsers = users if users is not None else SystemUsers()
        self.sessions = Sessions()
        self.sub_authorities = sub_authorities
        """The a, b, c of the server's domain S-1-5-21-a-b-c."""
        self.share_security = ShareSecurity()
        self.failed_logons = FailedLogons()
        self.pipes = PipeHost(self, services, names=unix_names)
        self.pids: dict[int, int] = {}
        """Slot -> process id, from HELLO."""
        self.reply: Callable[[int, Message], None] = lambda slot, message: None
        """Sends a reply that `answer` did not return at once to the process `slot`."""
        self.pipes.reply = self._reply_later
        self.kerberos = KerberosHost(self)
        self.kerberos.reply = self._reply_later
        self.pipes.tickets = self.kerberos
        self.pipes.run = self.kerberos.run = self._run
        self.on_answer: Callable[[int, Message], None] = lambda slot, message: None
        """Takes a part of an answer to a question (mountd.questions)."""
        self._names = names
        self._lives: dict[int, int] = {}
        """Slot -> how often its process has changed, so that late replies for a dead process are dropped."""
        self._on_listening = on_listening
        self._said: set[str] = set()
        self._handlers: Mapping[Event, Callable[[int, Message], Message | None]] = {
            Event.HEARTBEAT_REQUEST: self._heartbeat,
            Event.HELLO: self._hello,
            Event.LISTENING: self._listening,
            Event.LOGIN_REQUEST: self._login,
            Event.LOGIN_REQUEST_EXT: self._login_ext,
            Event.SHARE_CONFIG_REQUEST: self._share_config,
            Event.TREE_CONNECT_REQUEST: self._tree_connect,
            Event.TREE_DISCONNECT_REQUEST: self._tree_disconnect,
            Event.LOGOUT_REQUEST: self._logout,
            Event.RPC_REQUEST: self.pipes.handle,
            Event.SPNEGO_AUTHEN_REQUEST: self.kerberos.handle,
            Event.ANSWER: self._answered,
        }
        self._expect_names()

    def reload(self, configuration: Configuration, accounts: Accounts) -> None:
        """Use this configuration and these accounts from now on."""
        self.configuration = configuration
        self.accounts = accounts
        self._said.clear()
        self._expect_names()

    def _is_known(self, name: str) -> bool:
        """Whether a user's name is in the user database, or in the configuration as a guest's or forced user's."""
        if name in self.accounts or name == self.configuration.settings.guest_account:
            return True
        return any(name in (share.force_user, share.guest_account) for share in self.configuration.all_shares())

    def _expect_names(self) -> None:
        """Look up the names in `hosts allow` and `hosts deny` now, and log problems."""
        if self._names is None:
            return
        shares = self.configuration.all_shares()
        listed = [name for share in shares for name in host_names((*share.hosts_allow, *share.hosts_deny))]
        self._names.on_failure = lambda query, why: self.say(
            f"hosts allow, hosts deny: {query[1]} cannot be looked up ({why}): who might be meant is refused"
            if why
            else f"hosts allow, hosts deny: {query[1]} has no address and means nobody"
        )
        self._names.expect(listed)

    def answer(self, slot: int, message: Message) -> Message | None:
        """Handle a message. Returns the reply; None where there is none, or where it is sent later by `reply`."""
        if debug.mask[0] & debug.IPC:
            log.debug(debug.IPC, f"from ksmbd/{slot}: {message.event.name} handle {message.handle}")
        handler = self._handlers.get(message.event)
        if handler is None:
            log.warning(f"ipc: ksmbd/{slot} sent {message.event.name}, which is not for ksmbd.mountd")
            return None
        if self._lookups is None or not _asks_for_users(message):
            return _with_handle(handler(slot, message), message)
        return self._looked_up(slot, message, handler)

    def _looked_up(
        self, slot: int, message: Message, handler: Callable[[int, Message], Message | None]
    ) -> Message | None:
        """Handle a message by a handler that asks for Unix users. Returns the reply, or None where it comes later."""
        replies: list[Message] = []
        at_once = True

        def deliver(reply: Message | None) -> None:
            if reply is not None and at_once:
                replies.append(reply)
            elif reply is not None:
                self.reply(slot, reply)

        self._run(
            slot,
            lambda: deliver(_with_handle(handler(slot, message), message)),
            lambda why: deliver(self.refused(message, why)),
        )
        at_once = False
        return replies[0] if replies else None

    def _run(self, slot: int, decide: Callable[[], None], failed: Callable[[str], None]) -> None:
        """Call what decides by Unix users, as long as the process `slot` lives (mountd.userlookups.Run)."""
        if self._lookups is None:
            decide()
            return
        life = self._lives.get(slot, 0)
        self._lookups.run(
            lambda: decide() if self._lives.get(slot, 0) == life else None,
            lambda why: failed(why) if self._lives.get(slot, 0) == life else None,
        )

    def _reply_later(self, slot: int, message: Message) -> None:
        self.reply(slot, message)

    def refused(self, message: Message, reason: str) -> Message:
        """The reply FAILED to a request."""
        return Message(Event.FAILED, numbers={Attribute.HANDLE: message.handle}, texts={Attribute.REASON: reason})

    def forget(self, slot: int) -> None:
        """Drop the sessions and pipes of a process of the engine that has ended."""
        self._lives[slot] = self._lives.get(slot, 0) + 1
        self.sessions.forget(slot)
        self.pipes.forget(slot)
        self.kerberos.forget(slot)
        self.pids.pop(slot, None)

    def say(self, note: str) -> None:
        """Log a warning, each text once until the next reload; '' is ignored."""
        if note and note not in self._said and len(self._said) < NOTE_INTERVAL:
            self._said.add(note)
            log.warning(note)

    # ------------------------------------------------------------------------------------------------- the engine

    def _heartbeat(self, slot: int, message: Message) -> Message:
        return Message(Event.HEARTBEAT_REQUEST, fields={"handle": message.handle})

    def _hello(self, slot: int, message: Message) -> None:
        self.forget(slot)
        self.pids[slot] = message.numbers.get(Attribute.PID, 0)

    def _answered(self, slot: int, message: Message) -> None:
        self.on_answer(slot, message)

    def _listening(self, slot: int, message: Message) -> None:
        self._on_listening(message.addresses)

    # ------------------------------------------------------------------------------------------------------ users

    def _decide(self, message: Message) -> Login:
        login = decide(
            message.text("account"), self.accounts, self.configuration, self.users, MAPPED in message.options
        )
        self.say(login.note)
        return login

    def _login(self, slot: int, message: Message) -> Message:
        login = self._of_realm(message, self._decide(message))
        status = login.status
        if self.failed_logons.are_too_many(message.text("account")):
            status |= UserFlag.DELAY_SESSION
        fields = {"status": int(status), "account": _field(login.account, ACCOUNT_SIZE)}
        if login.unix is not None:
            fields.update(uid=login.unix.uid, gid=login.unix.gid)
        if login.nt_hash:
            fields.update(hash_sz=len(login.nt_hash), hash=login.nt_hash[:HASH_SIZE])
        return Message(Event.LOGIN_RESPONSE, fields=fields)

    def _of_realm(self, message: Message, login: Login) -> Login:
        """`login`, or where the question is about a session's user who is not in the user database and has logged on
        with Kerberos, that user's."""
        account = message.text("account")
        if MAPPED not in message.options or self.accounts.find(account) is not None:
            return login
        if realm_user(account, self.configuration, self.users) is None:
            return login
        return Login(UserFlag.OK | UserFlag.EXTENSION, account, unix=self.users.user(account))

    def _login_ext(self, slot: int, message: Message) -> Message:
        login = self._of_realm(message, self._decide(message))
        groups = login.unix.groups if login.unix is not None else ()
        if len(groups) > GROUPS_MAX:
            log.warning(f"user {login.account} is in {len(groups)} groups; the first {GROUPS_MAX} count")
            groups = groups[:GROUPS_MAX]
        payload = struct.pack(f"={len(groups)}I", *groups)
        return Message(Event.LOGIN_RESPONSE_EXT, fields={"ngroups": len(groups), "payload": payload})

    def _logout(self, slot: int, message: Message) -> None:
        """Count a failed log-on (BAD_PASSWORD), or reset the count at a log-off. Tree connects end by their own
        messages."""
        if message.fields["account_flags"] & UserFlag.BAD_PASSWORD:
            self.failed_logons.count(message.text("account"))
        else:
            self.failed_logons.forget(message.text("account"))

    # ----------------------------------------------------------------------------------------------------- shares

    def _share_config(self, slot: int, message: Message) -> Message:
        who = _who(message)
        reply, note = share_response(message.text("share_name"), self.configuration, self.users, who)
        self.say(note)
        return reply

    def _tree_connect(self, slot: int, message: Message, asked: bool = False) -> Message | None:
        """Decide on TREE_CONNECT. `asked`: host names were looked up for it already."""
        fields = message.fields
        request = TreeRequest(
            account=message.text("account"),
            account_flags=UserFlag(fields["account_flags"]),
            share=message.text("share"),
            peer=message.text("peer_addr"),
            client=_who(message),
        )
        look = self._names.look() if self._names is not None else None
        check = bool(fields["flags"] & TreeRequestFlag.CHECK)
        if check:
            names: Names = NoNames() if look is None else look
            answer = decide_tree_connect(request, self.configuration, self.accounts, self.users, -1, names)
        else:
            answer = self._decide_tree(slot, fields["session_id"], fields["connect_id"], request, look)
        if answer.undecided and not asked and self._names is not None and look is not None and look.wanted:
            life = self._lives.get(slot, 0)
            if self._names.resolve(look.wanted, lambda: self._tree_again(slot, message, life)):
                return None
        answer = obeyed(answer, request, self, self.share_security)
        self.say(answer.note)
        if answer.why and not check:
            status = status_name(TREE_ERRORS.get(answer.status, STATUS_ACCESS_DENIED))
            refused("tree connect", request.peer, answer.why, status, share=request.share, account=request.account)
        if answer.status is TreeStatus.OK and not check:
            share = share_key(request.share)
            self.sessions.connect(
                slot, fields["session_id"], fields["connect_id"], share, request.account, request.peer,
                request.is_guest,
            )
        reply = {"handle": message.handle, "status": int(answer.status), "connection_flags": int(answer.flags)}
        numbers = {Attribute.WITHHELD: answer.withheld} if answer.withheld else {}
        return Message(Event.TREE_CONNECT_RESPONSE, fields=reply, numbers=numbers)

    def _tree_again(self, slot: int, message: Message, life: int) -> None:
        if self._lives.get(slot, 0) != life:
            return

        def again(slot: int, message: Message) -> Message | None:
            return self._tree_connect(slot, message, asked=True)

        reply = self._looked_up(slot, message, again)
        if reply is not None:
            self.reply(slot, reply)

    def _decide_tree(
        self, slot: int, session_id: int, connect_id: int, request: TreeRequest, look: Look | None
    ) -> TreeAnswer:
        session = self.sessions.find(slot, session_id)
        maximum = self.configuration.settings.max_active_sessions
        if session is None and self.sessions.full(maximum, request.account, request.peer, request.is_guest):
            return TreeAnswer(TreeStatus.TOO_MANY_SESSIONS, why="`max active sessions`")
        if session is not None and connect_id in session.trees:
            return TreeAnswer(TreeStatus.CONN_EXIST)
        share = share_key(request.share)
        connections = self.sessions.connections(share)
        if session is not None and share in session.trees.values():
            connections -= 1  # a session counts once per share, however often it connects
        names: Names = NoNames() if look is None else look
        return decide_tree_connect(request, self.configuration, self.accounts, self.users, connections, names)

    def _tree_disconnect(self, slot: int, message: Message) -> None:
        self.sessions.disconnect(slot, message.fields["session_id"], message.fields["connect_id"])


_LOOKED_UP: Final = (Event.LOGIN_REQUEST, Event.LOGIN_REQUEST_EXT, Event.SHARE_CONFIG_REQUEST,
                     Event.TREE_CONNECT_REQUEST)  # fmt: skip
"""Messages whose handlers ask for Unix users, before anything else."""


def _asks_for_users(message: Message) -> bool:
    if message.event is Event.RPC_REQUEST:
        return bool(message.fields["flags"] & RpcFlag.OPEN)
    return message.event in _LOOKED_UP


def _with_handle(reply: Message | None, message: Message) -> Message | None:
    if reply is not None and "handle" not in reply.fields and reply.event is not Event.FAILED:
        reply.fields["handle"] = message.handle
    return reply


def _who(message: Message) -> Who | None:
    """The session that a request is for, where it says so. Raises WireError."""
    options = message.options
    if ACCOUNT not in options:
        return None
    revision = number(options, DIALECT)
    return Who(
        options[ACCOUNT], switch(options, IS_GUEST), required(options, PEER), required(options, CLIENT_NAME),
        required(options, LOCAL), next((name for name, known in PROTOCOLS.items() if known == revision), ""),
    )  # fmt: skip


def _field(text: str, size: int) -> str:
    """A text for a fixed field of `size` bytes; '' where it does not fit, which no checked name does."""
    return text if len(text.encode("utf-8", "surrogateescape")) < size else ""
