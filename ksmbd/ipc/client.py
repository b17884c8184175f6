# SPDX-License-Identifier: GPL-2.0-or-later
"""Implements the port `Daemon` (ksmbd/smb/ports/daemon.py) by requests to ksmbd.mountd: NetlinkDaemon.

There is one object per process and socket. It never blocks: the event loop watches `fileno()` and calls
`on_readable()`.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from ksmbd import debug, log
from ksmbd.ipc.answering import Answering
from ksmbd.ipc.answers import fits, groups, login_response, share_config, spnego_response, tree_result
from ksmbd.ipc.channel import Channel
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, TreeRequestFlag, UserFlag
from ksmbd.ipc.exchange import Exchange
from ksmbd.ipc.options import MAPPED, YES, client_options
from ksmbd.ipc.pipes import Pipes
from ksmbd.smb.ports import Client, Clock, LoginResponse, ShareConfig, SpnegoResponse, TreeConnectResult
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_BAD_NETWORK_NAME,
    STATUS_INSUFF_SERVER_RESOURCES,
    WireError,
)
from ksmbd.smb.waiting import Future


class NetlinkDaemon:
    """ksmbd.mountd as the engine's processes see it. `ipc_timeout` is in seconds, 0: wait for ever."""

    def __init__(self, channel: Channel, clock: Clock, ipc_timeout: float = 0) -> None:
        self._channel = channel
        self._exchange = Exchange(channel, clock, ipc_timeout, self._lost)
        self._pipes = Pipes(self._exchange)
        self._shares: dict[str, ShareConfig] = {}
        self._generation = 0
        self.on_lost: Callable[[str], None] = lambda reason: None
        """Called once when mountd is gone or silent for longer than `ipc timeout`."""
        self.on_reload: Callable[[], None] = lambda: None
        """Called when the configuration has changed, after the cache of shares was emptied."""
        self.on_debug: Callable[[int], None] = lambda components: None
        """Called when a reload says that other debug components are on."""
        self.on_shutdown: Callable[[], None] = lambda: None
        """Called when mountd tells the engine to stop."""
        self.on_question: Callable[[str, Answering], None] = lambda question, answering: answering.end()
        """Answers a question of mountd (ksmbd.ipc.activity), at once or later."""

    def start(self) -> None:
        """Send HELLO.

        Messages that wait on the socket already are read later: answers to a dead predecessor are ignored, and
        SHUTTING_DOWN and RELOAD apply to this process."""
        self._exchange.post(Message(Event.HELLO, numbers={Attribute.PID: os.getpid()}))

    def watch(self) -> None:
        """With `ipc timeout`, ask mountd at intervals whether it still answers, for `on_lost`. One process of the
        engine does so for all. That mountd has ended is seen without questions, by its pidfd."""
        self._exchange.arm_heartbeat()

    def fileno(self) -> int:
        """The socket's descriptor, which is readable when a message has arrived."""
        return self._channel.fileno()

    def close(self) -> None:
        """Fail all waiting requests, stop the timers and close the socket."""
        self._exchange.lose("closed", notify=False)
        self._channel.close()

    def on_readable(self) -> None:
        """Process the messages that have arrived. Never raises."""
        for message in self._exchange.receive():
            try:
                self._handle(message)
            except WireError as error:
                log.warning(f"ipc: malformed {message.event.name} from ksmbd.mountd: {error}")
                self._exchange.fail(message.handle, STATUS_INSUFF_SERVER_RESOURCES)

    # ----------------------------------------------------------------------------------------- accounts and shares

    def login(self, account: str, mapped: bool = False) -> Future[LoginResponse]:
        """Look up an account; '' is the anonymous user. Sends LOGIN_REQUEST, and LOGIN_REQUEST_EXT for the groups."""
        options = {MAPPED: YES} if mapped else {}
        future: Future[LoginResponse] = Future()

        def answered(message: Message) -> None:
            response = login_response(message)
            if not message.fields["status"] & UserFlag.EXTENSION:
                future.set_result(response)
                return

            def complete(reply: Message) -> None:
                future.set_result(replace(response, groups=groups(reply)))

            more = Message(Event.LOGIN_REQUEST_EXT, fields={"account": account}, options=options)
            self._exchange.request(more, complete, future)

        if not fits(account, 47):
            return Future.of(LoginResponse(account, b"", 0, 0))
        request = Message(Event.LOGIN_REQUEST, fields={"account": account}, options=options)
        self._exchange.request(request, answered, future)
        return future

    def logout(self, account: str, failed: bool) -> None:
        """Report that a session of the account has ended, or with `failed` that a log-on with its name has failed."""
        if fits(account, 47):
            flags = UserFlag.BAD_PASSWORD if failed else UserFlag(0)
            self._exchange.post(Message(Event.LOGOUT_REQUEST, fields={"account": account, "account_flags": int(flags)}))

    def share_config(self, name: str) -> Future[ShareConfig | None]:
        """Look up a share by its name, without regard to case; None: there is no such share. The answer is cached until
        RELOAD."""
        key = name.casefold()
        known = self._shares.get(key)
        if known is not None:
            return Future.of(known)
        if not name or not fits(name, 63):
            return Future.of(None)
        future: Future[ShareConfig | None] = Future()
        generation = self._generation

        def answered(message: Message) -> None:
            share = share_config(message)
            if share is not None and generation == self._generation and not share.personal:
                self._shares[key] = share
            future.set_result(share)

        self._exchange.request(Message(Event.SHARE_CONFIG_REQUEST, fields={"share_name": name}), answered, future)
        return future

    def personal_share(self, name: str, client: Client) -> Future[ShareConfig | None]:
        """What a share is for one session, which is not cached."""
        future: Future[ShareConfig | None] = Future()

        def answered(message: Message) -> None:
            share = share_config(message)
            if share is not None:
                share.personal = True
            future.set_result(share)

        request = Message(Event.SHARE_CONFIG_REQUEST, fields={"share_name": name}, options=client_options(client))
        self._exchange.request(request, answered, future)
        return future

    def tree_connect(
        self,
        session_id: int,
        connect_id: int,
        account: str,
        is_guest: bool,
        share: str,
        peer: str,
        client: Client | None = None,
    ) -> Future[TreeConnectResult]:
        """Ask whether this session may use the share. `peer` is the client's address."""
        ids = session_id, connect_id
        return self._tree_connect(account, is_guest, share, peer, client, ids)

    def check_tree_connect(
        self, account: str, is_guest: bool, share: str, peer: str, client: Client | None = None
    ) -> Future[TreeConnectResult]:
        """Ask again about a user who is connected."""
        return self._tree_connect(account, is_guest, share, peer, client, None)

    def _tree_connect(
        self, account: str, is_guest: bool, share: str, peer: str, client: Client | None, ids: tuple[int, int] | None
    ) -> Future[TreeConnectResult]:
        if not fits(share, 63):
            return Future.of(TreeConnectResult(STATUS_BAD_NETWORK_NAME))
        if not fits(account, 47) or not fits(peer, 63):
            return Future.of(TreeConnectResult(STATUS_ACCESS_DENIED))
        future: Future[TreeConnectResult] = Future()
        flags = TreeRequestFlag.CHECK if ids is None else TreeRequestFlag(0)
        flags |= TreeRequestFlag.SMB2 | (TreeRequestFlag.IPV6 if ":" in peer else TreeRequestFlag(0))
        account_flags = UserFlag.GUEST_ACCOUNT if is_guest else UserFlag(0)
        fields = {
            "session_id": ids[0] if ids else 0, "connect_id": ids[1] if ids else 0, "account": account,
            "account_flags": int(account_flags), "share": share, "peer_addr": peer, "flags": int(flags),
        }  # fmt: skip

        def answered(message: Message) -> None:
            future.set_result(tree_result(message))

        options = client_options(client) if client is not None else {}
        self._exchange.request(Message(Event.TREE_CONNECT_REQUEST, fields=fields, options=options), answered, future)
        return future

    def tree_disconnect(self, session_id: int, connect_id: int) -> None:
        """Report that a tree connect has ended."""
        fields = {"session_id": session_id, "connect_id": connect_id}
        self._exchange.post(Message(Event.TREE_DISCONNECT_REQUEST, fields=fields))

    def spnego_authen(self, blob: bytes, mechanism_list: bytes = b"") -> Future[SpnegoResponse]:
        """Check a Kerberos token. Sends SPNEGO_AUTHEN_REQUEST, and LOGIN_REQUEST_EXT for the groups."""
        if len(blob) > 0xFFFF - 16:
            return Future.of(SpnegoResponse(LoginResponse("", b"", 0, 0), reason="a token of more than 64 KiB"))
        future: Future[SpnegoResponse] = Future()

        def answered(message: Message) -> None:
            response = spnego_response(message)
            if not response.account.admitted or not message.fields["status"] & UserFlag.EXTENSION:
                future.set_result(response)
                return

            def complete(more: Message) -> None:
                response.account = replace(response.account, groups=groups(more))
                future.set_result(response)

            fields = {"account": response.account.account}
            request = Message(Event.LOGIN_REQUEST_EXT, fields=fields, options={MAPPED: YES})
            self._exchange.request(request, complete, future)

        message = Message(Event.SPNEGO_AUTHEN_REQUEST, fields={"blob_len": len(blob), "payload": blob})
        if mechanism_list:
            message.texts[Attribute.BODY] = mechanism_list.hex()
        self._exchange.request(message, answered, future)
        return future

    def spnego_verify(self, number: int, mic: bytes) -> Future[SpnegoResponse]:
        """Check a client's mechListMIC: a second SPNEGO_AUTHEN_REQUEST."""
        future: Future[SpnegoResponse] = Future()

        def answered(message: Message) -> None:
            future.set_result(spnego_response(message))

        fields = {"blob_len": len(mic), "payload": mic}
        message = Message(Event.SPNEGO_AUTHEN_REQUEST, fields=fields, numbers={Attribute.HANDLE: number})
        self._exchange.request(message, answered, future)
        return future

    # ------------------------------------------------------------------------------------------------------- pipes

    def rpc_open(self, pipe: str, account: str, restricted: bool, address: str = "") -> Future[int]:
        """See Pipes.open."""
        return self._pipes.open(pipe, account, restricted, address)

    def rpc_write(self, handle: int, data: bytes) -> Future[None]:
        """See Pipes.write."""
        return self._pipes.write(handle, data)

    def rpc_read(self, handle: int, size: int) -> Future[tuple[bytes, bool]]:
        """See Pipes.read."""
        return self._pipes.read(handle, size)

    def rpc_peek(self, handle: int) -> Future[tuple[bytes, bool]]:
        """See Pipes.peek."""
        return self._pipes.peek(handle)

    def rpc_transceive(self, handle: int, data: bytes, size: int) -> Future[tuple[bytes, bool]]:
        """See Pipes.transceive."""
        return self._pipes.transceive(handle, data, size)

    def rpc_close(self, handle: int) -> None:
        """See Pipes.close."""
        self._pipes.close(handle)

    # --------------------------------------------------------------------------------------------- what mountd says

    def _lost(self, reason: str) -> None:
        self.on_lost(reason)

    def _handle(self, message: Message) -> None:
        event = message.event
        if debug.mask[0] & debug.IPC:
            log.debug(debug.IPC, f"from mountd: {event.name} handle {message.handle}")
        if event is Event.HEARTBEAT_REQUEST:
            return
        if event is Event.RELOAD:
            self._generation += 1
            self._shares.clear()
            self.on_reload()
            if Attribute.DEBUG in message.numbers:
                self.on_debug(message.numbers[Attribute.DEBUG])
        elif event is Event.SHUTTING_DOWN:
            self.on_shutdown()
        elif event is Event.QUESTION:
            answering = Answering(self._exchange, self._channel, message.handle)
            self.on_question(message.texts.get(Attribute.BODY, ""), answering)
        elif event is Event.FAILED:
            self._exchange.fail(message.handle, STATUS_INSUFF_SERVER_RESOURCES)
        else:
            self._exchange.answer(message)
