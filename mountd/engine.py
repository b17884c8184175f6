# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts, stops and talks to the engine, a child process. mountd/server.py restarts it when it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ksmbd import log
from ksmbd.ipc.channel import Channel, Congested, PeerGone, make_pair
from ksmbd.ipc.codec import Message
from ksmbd.ipc.constants import Attribute, Event
from ksmbd.ipc.settings import EngineSettings
from ksmbd.log_targets import ENVIRONMENT, RELAY
from mountd.loop import Loop, Timer

EXIT_CONFIG: Final = 78
"""The engine's exit status where a restart would fail the same way (EX_CONFIG of sysexits.h)."""
FIRST_DELAY: Final = 0.5
"""Seconds before the first restart; each further one doubles it."""
LAST_DELAY: Final = 30.0
"""The longest delay before a restart, in seconds."""
STEADY_SECONDS: Final = 60.0
"""After this time an engine counts as steady: it is restarted after FIRST_DELAY again."""
ORDERLY_SECONDS: Final = 12.0
"""Seconds that the engine may take to stop in order before it gets SIGTERM."""
TERM_SECONDS: Final = 3.0
"""Seconds from SIGTERM to SIGKILL of all its processes."""
RETRY: Final = 0.01
"""Seconds until messages to a process with a full socket are tried again."""
BACKLOG_MAX: Final = 256
"""Replies that may wait for a process before no more requests are taken from it."""
PIPE_SIZE: Final = 1 << 20
"""Bytes of the engine's log lines that wait for this process; further lines are lost."""

COMMAND: Final = (sys.executable, "-m", "ksmbd.process.forker")


class Engine:
    """The engine process, or its successor after a restart."""

    def __init__(
        self,
        loop: Loop,
        settings: EngineSettings,
        rundir: str,
        statedir: str,
        answer: Callable[[int, Message], Message | None],
        refused: Callable[[Message, str], Message],
        command: Sequence[str] = COMMAND,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """`answer(slot, message)` returns the reply to a message of the engine's process `slot`, or None; `refused`
        makes the reply FAILED. `on_line` gets each line that the engine prints on stderr, of JSON where its log made
        it; None: the engine inherits mountd's stderr."""
        self._loop = loop
        self.settings = settings
        self._rundir = rundir
        self._statedir = statedir
        self._answer = answer
        self._refused = refused
        self._command = list(command)
        self._on_line = on_line
        self._lines = b""
        self._pipe = -1
        """Where the lines of the engine come from."""
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._channels: list[Channel] = []
        self._theirs: list[socket.socket] = []
        self._paused: set[int] = set()
        """Slots whose requests are not read for now."""
        self._retry: Timer | None = None
        self._escalation: Timer | None = None
        self._stopping = False
        self.on_exit: Callable[[int], None] = lambda status: None
        """Called when the engine has ended, with its exit status, negative for a signal. Its sockets are closed."""

    @property
    def running(self) -> bool:
        """Whether the engine runs."""
        return self._process is not None

    @property
    def workers(self) -> int:
        """The number of workers that have a channel, 0 while the engine does not run."""
        return max(len(self._channels) - 1, 0)

    @property
    def pid(self) -> int:
        """The forker's process id, 0 without one."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Make the sockets, send the settings, and start the process. Raises OSError, ValueError."""
        self._stopping = False
        stderr: int | None = None
        try:
            for _ in range(1 + self.settings.workers):
                ours, theirs = make_pair()
                self._channels.append(ours)
                self._theirs.append(theirs)
            for message in self.settings.messages():
                self._channels[0].send(message)
            descriptors = [sock.fileno() for sock in self._theirs]
            stderr = self._make_pipe()
            self._process = subprocess.Popen(
                [
                    *self._command,
                    "--rundir", self._rundir,
                    "--statedir", self._statedir,
                    "--netlink", ",".join(map(str, descriptors)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=None if stderr is None else subprocess.DEVNULL,
                stderr=stderr,
                env=None if stderr is None else {**os.environ, ENVIRONMENT: RELAY},
                pass_fds=descriptors,
                # ^C in the terminal goes to mountd only, which stops the engine in order.
                process_group=0,
                cwd="/",
            )  # fmt: skip
        except BaseException:
            self._close_channels()
            self._close_pipe()
            raise
        finally:
            if stderr is not None:
                os.close(stderr)
        for slot, channel in enumerate(self._channels):
            self._watch(slot, channel)
        if self._pipe >= 0:
            self._loop.add_reader(self._pipe, self._readable)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    def _make_pipe(self) -> int | None:
        """Open the pipe of the engine's lines, where somebody takes them. Returns the engine's end."""
        if self._on_line is None:
            return None
        self._pipe, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # more than this process may have
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return theirs

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def broadcast(self, event: Event, numbers: Mapping[Attribute, int] | None = None) -> None:
        """Send a message without other content to all processes of the engine."""
        for channel in self._channels:
            self._post(channel, Message(event, numbers=dict(numbers or {})))

    def reply(self, slot: int, message: Message) -> None:
        """Send a message to the process `slot`, such as a reply that `answer` did not return at once. Ignored where the
        process is gone."""
        if slot < len(self._channels):
            self._post(self._channels[slot], message, message)

    def stop(self) -> None:
        """Begin to stop the engine: SHUTTING_DOWN, then SIGTERM, then SIGKILL, each after its time. `on_exit` is called
        at the end."""
        if self._process is None or self._stopping:
            return
        self._stopping = True
        self._post(self._channels[0], Message(Event.SHUTTING_DOWN))
        self._escalation = self._loop.call_later(ORDERLY_SECONDS, self._terminate)

    def _terminate(self) -> None:
        log.warning(f"the engine did not stop in {ORDERLY_SECONDS:g} s: SIGTERM")
        self._signal(signal.SIGTERM)
        self._escalation = self._loop.call_later(TERM_SECONDS, self._kill)

    def _kill(self) -> None:
        log.warning(f"the engine did not stop in {TERM_SECONDS:g} s after SIGTERM: SIGKILL")
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)  # its own group: see start
            else:
                self._process.send_signal(number)
        except ProcessLookupError:
            pass  # it has just ended

    def _ended(self) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = process.wait()
        for slot in range(len(self._channels)):
            self._take(slot)  # messages sent just before the end
        if self._escalation is not None:
            self._escalation.cancel()
            self._escalation = None
        try:
            os.killpg(process.pid, signal.SIGKILL)  # workers that have outlived their forker
        except (ProcessLookupError, PermissionError):
            pass
        while self._pipe >= 0 and self._take_lines():
            pass
        self._drop_pipe()
        for slot, channel in enumerate(self._channels):
            if slot not in self._paused:
                self._loop.remove_reader(channel.fileno())
        self._close_channels()
        self.on_exit(status)

    def _readable(self) -> None:
        self._take_lines()

    def _take_lines(self) -> bool:
        """Pass the lines that the engine has printed to `on_line`. Returns whether there may be more."""
        assert self._on_line is not None
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return False
        if not data:
            self._drop_pipe()
            return False
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode("utf-8", "replace"))
        return True

    def _drop_pipe(self) -> None:
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            self._close_pipe()

    def _close_channels(self) -> None:
        for channel in self._channels:
            channel.close()
        for sock in self._theirs:
            sock.close()
        self._channels.clear()
        self._theirs.clear()
        self._paused.clear()

    # --------------------------------------------------------------------------------------------------- messages

    def _watch(self, slot: int, channel: Channel) -> None:
        self._loop.add_reader(channel.fileno(), lambda: self._take(slot))

    def _take(self, slot: int) -> None:
        """Answer the received messages. While too many replies wait, requests are left in the socket, which slows the
        sender down."""
        channel = self._channels[slot]
        for message in channel.receive():
            try:
                reply = self._answer(slot, message)
            except Exception as error:  # noqa: BLE001  one request must not end the daemon
                log.exception(f"{message.event.name} from ksmbd/{slot} failed", error)
                reply = self._refused(message, type(error).__name__)
            if reply is not None:
                self._post(channel, reply, message)
        if channel.backlog >= BACKLOG_MAX and slot not in self._paused:
            self._paused.add(slot)
            self._loop.remove_reader(channel.fileno())

    def _post(self, channel: Channel, message: Message, request: Message | None = None) -> None:
        try:
            channel.send(message)
        except ValueError as error:
            log.error(f"ipc: {message.event.name} cannot be sent: {error}")
            if request is not None and message.event is not Event.FAILED:
                self._post(channel, self._refused(request, str(error)))
        except (Congested, PeerGone, OSError) as error:
            log.error(f"ipc: {message.event.name} was not sent: {type(error).__name__}")
        self._arm_retry()

    def _arm_retry(self) -> None:
        if self._retry is None and any(channel.backlog for channel in self._channels):
            self._retry = self._loop.call_later(RETRY, self._flush)

    def _flush(self) -> None:
        self._retry = None
        for channel in self._channels:
            try:
                channel.flush()
            except (PeerGone, OSError, ValueError) as error:
                log.error(f"ipc: replies were not sent: {type(error).__name__}")
        for slot in [slot for slot in self._paused if self._channels[slot].backlog < BACKLOG_MAX]:
            self._paused.discard(slot)
            self._watch(slot, self._channels[slot])
        self._arm_retry()
