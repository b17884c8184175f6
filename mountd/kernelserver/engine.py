# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives the kernel's server: starts and stops it, and answers its requests. It stands where mountd.engine.Engine does.

Where mountd dies, the kernel keeps its clients, and a new mountd goes on with them. It does not send its settings then:
the kernel takes them only while it serves nobody.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from ksmbd import log
from ksmbd.ipc.channel import Congested, PeerGone
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event, TreeFlag, TreeStatus, UserFlag
from ksmbd.ipc.genetlink import KernelChannel, NoFamily
from ksmbd.ipc.settings import EngineSettings
from ksmbd.refusals import refused
from mountd.config import share_key
from mountd.kernelserver import startup
from mountd.kernelserver.control import RESET, RUNNING, STARTUP, KernelControl
from mountd.kernelserver.pipes import KernelPipes
from mountd.kernelserver.replies import plain, refusal
from mountd.loop import Loop, Timer

NO_MODULE: Final = "the kernel has no SMBD_GENL family: load its server (modprobe ksmbd), or leave out --engine=kernel"
LOOK: Final = 0.1
"""Seconds between two looks at the server's state while it starts or stops."""
WATCH: Final = 2.0
"""Seconds between two looks while it runs."""
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 15.0
KERNEL_WAITS: Final = 2.0
"""Seconds for which the kernel waits for a reply."""
RETRY: Final = 0.01
ADDRESS_UNTOLD: Final = "an address that the kernel does not tell"
ASKED: Final = frozenset((
    Event.LOGIN_REQUEST, Event.LOGIN_REQUEST_EXT, Event.SHARE_CONFIG_REQUEST, Event.TREE_CONNECT_REQUEST,
    Event.TREE_DISCONNECT_REQUEST, Event.LOGOUT_REQUEST, Event.RPC_REQUEST, Event.SPNEGO_AUTHEN_REQUEST,
))  # fmt: skip
"""What the kernel asks or tells."""


class KernelEngine:
    """The kernel's server."""

    def __init__(
        self,
        loop: Loop,
        settings: EngineSettings,
        answer: Callable[[int, Message], Message | None],
        control: KernelControl | None = None,
        connect: Callable[[], KernelChannel] = KernelChannel.open,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answer(0, message)` returns the reply to a message, or None."""
        self._loop = loop
        self.settings = settings
        self._answer = answer
        self._control = control if control is not None else KernelControl()
        self._connect = connect
        self._clock = clock
        self._channel: KernelChannel | None = None
        self._pipes = KernelPipes(answer)
        self._trees: dict[int, tuple[Message, float]] = {}
        """Handle -> a tree connect that is not answered yet, and when it came."""
        self.granted: dict[tuple[int, int], TreeFlag] = {}
        """(session, tree connect) -> the flags of the reply."""
        self._shares: dict[str, dict[str, object]] = {}
        """Key of a share -> what the kernel was told of it."""
        self._stale: set[str] = set()
        """Keys of shares of which the kernel may have been told something else than holds now."""
        self._encrypts = False
        """It was started so that it encrypts with all clients."""
        self._successor = False
        """Another mountd has told it of shares before."""
        self._listens = False
        self._stopping = False
        self._deadline = 0.0
        self._timer: Timer | None = None
        self._retry: Timer | None = None
        self._killer: threading.Thread | None = None
        self.on_exit: Callable[[int], None] = lambda status: None
        """Called when the kernel's server has ended: 0; 1 where it has not come up."""

    @property
    def running(self) -> bool:
        """Whether the kernel's server is driven from here."""
        return self._channel is not None

    @property
    def workers(self) -> int:
        """0: there are none that could be asked."""
        return 0

    @property
    def pid(self) -> int:
        """0: it has no process."""
        return 0

    # --------------------------------------------------------------------------------------------- beginning and end

    def start(self) -> None:
        """Send the settings. Raises OSError, ValueError."""
        self._stopping = self._listens = False
        self._encrypts = self.settings.smb3_encryption == "mandatory"
        try:
            channel = self._connect()
        except NoFamily:
            raise OSError(NO_MODULE) from None
        try:
            devices = startup.devices(self.settings)
            self._successor = self._control.state() == RUNNING
            if not self._successor and (device := startup.taken(self.settings.tcp_port, devices)):
                raise OSError(f"another server listens on TCP port {self.settings.tcp_port} of {device}")
            self._begin(channel, startup.starting_up(self.settings, devices))
        except BaseException:
            channel.close()
            raise
        self._channel = channel
        self._loop.add_reader(channel.fileno(), self._take)
        self._deadline = self._clock() + START_SECONDS
        self._look()

    def _begin(self, channel: KernelChannel, message: Message) -> None:
        """Send STARTING_UP. Raises OSError with the reason for the administrator."""
        try:
            channel.start(message)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise OSError("the kernel's server takes its settings from root alone (CAP_NET_ADMIN)") from None
            if self._successor:
                raise OSError("another daemon drives the kernel's server: stop that first") from None
            if self._control.state() == RESET:
                raise OSError("the kernel's server still ends its connections: try again") from None
            raise OSError(f"the kernel's server refuses its settings: {error.strerror} (dmesg may say why)") from None
        if self._successor:
            log.warning(
                "the kernel's server runs already: it keeps its clients, and the [global] that it was started with"
            )

    def stop(self) -> None:
        """Begin to stop the kernel's server; `on_exit` is called at the end."""
        if self._channel is None or self._stopping:
            return
        self._stopping = True
        self._deadline = self._clock() + STOP_SECONDS
        # It returns when all connections have ended, and until then the loop serves their requests.
        self._killer = threading.Thread(target=self._kill, name="kill_server", daemon=True)
        self._killer.start()
        self._arm(LOOK)

    def _kill(self) -> None:
        try:
            self._control.kill()
        except OSError as error:
            log.error(f"the kernel's server cannot be stopped: {error.strerror} ({error.filename})")

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Look at the server's state, and see what it means."""
        state = self._control.state()
        if self._stopping:
            if self._killer is not None and not self._killer.is_alive():
                self._ended(0)
            elif self._clock() > self._deadline:
                log.warning(f"the kernel's server has not ended its connections in {STOP_SECONDS:g} s")
                self._ended(0)
            else:
                self._arm(LOOK)
        elif state == RUNNING:
            self._arm(WATCH)
            if not self._listens:
                self._listens = True
                self._tell_listening()
        elif self._listens or state not in (STARTUP, RESET):
            self._ended(0)
        elif self._clock() > self._deadline:
            log.error(f"the kernel's server did not come up in {START_SECONDS:g} s (dmesg may say why)")
            self._ended(1)
        else:
            self._arm(LOOK)

    def _tell_listening(self) -> None:
        names = startup.devices(self.settings) or [""]
        port = self.settings.tcp_port
        addresses = [f"[::%{name}]:{port}" if name else f"[::]:{port}" for name in names]
        self._answer(0, Message(Event.LISTENING, addresses=addresses))

    def _ended(self, status: int) -> None:
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        self._timer = self._retry = None
        if self._channel is not None:
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        self._trees.clear()
        self.granted.clear()
        self._shares.clear()
        self._stale.clear()
        self._pipes = KernelPipes(self._answer)
        self.on_exit(status)

    # ------------------------------------------------------------------------------------------------------ messages

    def broadcast(self, event: Event, numbers: Mapping[Attribute, int] | None = None) -> None:
        """After a RELOAD, the kernel is told with the next tree connect to a share that it has changed."""
        if event is Event.RELOAD:
            self._stale.update(self._shares)

    def reply(self, slot: int, message: Message) -> None:
        """Send a reply that `answer` did not return at once."""
        passed = self._pipes.passed(message)
        if passed is not None:
            self._send(passed, None)

    def _take(self) -> None:
        assert self._channel is not None
        for message in self._channel.receive():
            if message.event in ASKED:
                self._handle(message)
            elif message.event is not Event.HEARTBEAT_REQUEST:  # which awaits no reply
                log.peer(f"ipc: the kernel sent {message.event.name}, which is not for ksmbd.mountd", "kernel sent")

    def _handle(self, message: Message) -> None:
        if message.event is Event.TREE_CONNECT_REQUEST:
            self._trees[message.handle] = message, self._clock()
        elif message.event is Event.TREE_DISCONNECT_REQUEST:
            self.granted.pop((message.fields["session_id"], message.fields["connect_id"]), None)
        try:
            reply = self._ask(message)
        except Exception as error:  # noqa: BLE001  one request must not end the daemon
            log.exception(f"{message.event.name} from the kernel failed", error)
            reply = refusal(message)
        if reply is not None:
            self._send(reply, message)
        _tell_refused(message, reply)

    def _ask(self, message: Message) -> Message | None:
        if message.event is Event.RPC_REQUEST:
            return self._pipes.take(message)
        return self._answer(0, message)

    def _send(self, reply: Message, request: Message | None) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            made = plain(reply, self._encrypts)
            if made.event is Event.SHARE_CONFIG_RESPONSE:
                self._told(made)
            if made.event is Event.TREE_CONNECT_RESPONSE and not self._connected(made, reply.fields["status"]):
                return
            channel.send(made)
        except ValueError as error:
            log.error(f"ipc: {reply.event.name} cannot be sent: {error}")
            instead = refusal(request) if request is not None else None
            if instead is not None and instead is not reply:
                self._send(instead, None)
        except (Congested, PeerGone, OSError) as error:
            log.error(f"ipc: {reply.event.name} was not sent: {type(error).__name__}", "ipc unsent")
        except Exception as error:  # noqa: BLE001  one reply must not end the daemon
            log.exception(f"ipc: {reply.event.name} for the kernel failed", error)
        self._arm_retry()

    def _arm_retry(self) -> None:
        if self._retry is None and self._channel is not None and self._channel.backlog:
            self._retry = self._loop.call_later(RETRY, self._flush)

    def _flush(self) -> None:
        self._retry = None
        if self._channel is None:
            return
        try:
            self._channel.flush()
        except (PeerGone, OSError, ValueError) as error:
            log.error(f"ipc: replies were not sent: {type(error).__name__}", "ipc unsent")
        self._arm_retry()

    # -------------------------------------------------------------------------------------------------------- shares

    def _told(self, made: Message) -> None:
        """The kernel is told of a share."""
        key = share_key(str(made.fields.get("share_name", "")))
        self._stale.discard(key)
        if made.fields.get("flags"):
            self._shares[key] = _content(made)
        else:
            self._shares.pop(key, None)

    def _connected(self, made: Message, decided: int) -> bool:
        """Complete the reply to a tree connect. Returns whether it comes in time: the kernel has given a late one up.
        `decided` is the status that mountd has counted it with: the kernel tells the end of those alone that it has
        made."""
        request, came = self._trees.pop(made.handle, (None, 0.0))
        if request is None or decided != TreeStatus.OK:
            return True
        late = self._clock() - came > KERNEL_WAITS
        if late or made.fields["status"] != TreeStatus.OK:
            ids = {name: request.fields[name] for name in ("session_id", "connect_id")}
            self._answer(0, Message(Event.TREE_DISCONNECT_REQUEST, ids))
            return not late
        flags = TreeFlag(made.fields["connection_flags"])
        self.granted[request.fields["session_id"], request.fields["connect_id"]] = flags
        if self._changed(request.text("share")):
            made.fields["connection_flags"] |= int(TreeFlag.UPDATE)
        return True

    def _changed(self, name: str) -> bool:
        """Whether the kernel may still have another configuration of a share, which it keeps while clients use it."""
        key = share_key(name)
        if key in self._shares and key not in self._stale:
            return False
        if key not in self._shares and not self._successor:
            return False
        question = Message(Event.SHARE_CONFIG_REQUEST, {"handle": 0, "share_name": name.encode()})
        reply = self._answer(0, question)
        if reply is None:
            return False
        if self._shares.get(key) != _content(plain(reply, self._encrypts)):
            return True
        self._stale.discard(key)
        return False


def _tell_refused(message: Message, reply: Message | None) -> None:
    """Tell the administrator of a refused log-on. The kernel tells of a wrong password with the end of the session."""
    event = message.event
    if event is Event.LOGOUT_REQUEST and message.fields["account_flags"] & UserFlag.BAD_PASSWORD:
        reason = "wrong password"
    elif event is Event.LOGIN_REQUEST and reply is not None and reply.fields["status"] & UserFlag.BAD_USER:
        reason = "unknown user"
    elif event is Event.LOGIN_REQUEST and reply is not None and reply.fields["status"] & UserFlag.BAD_UID:
        reason = "no Unix account of that name"
    else:
        return
    refused("log-on", ADDRESS_UNTOLD, reason, account=message.text("account"))


def _content(message: Message) -> dict[str, object]:
    """What a message says of a share."""
    return {name: value for name, value in message.fields.items() if name != "handle"}
